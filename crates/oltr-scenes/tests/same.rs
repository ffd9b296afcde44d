//! The same boxes on every machine, whatever its instructions: checked here, without AVX2, and on emulated ARM cores
//! (`cross/emulate scenes`).

mod world;

use oltr_scenes::{Settings, ThingState};
use world::{FISH, OTHER, Watch, ground};

/// What [`boxes_are_those_of_every_machine`] found when what is found was last meant to change.
const FOUND: u64 = 16_159_940_205_554_122_792;

/// A digest of all that was told of a scene with noise, light, a shaken camera and things that cross. It is made of
/// products and sums alone: functions like the sine differ from system to system.
#[test]
fn boxes_are_those_of_every_machine() {
    let back = ground(60);
    let mut watch = Watch::new(&Settings::default());
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |number: u64| digest = (digest ^ number).wrapping_mul(0x0000_0100_0000_01b3);
    let mut told = 0;
    for step in 0..240_i32 {
        let mut picture = back.clone();
        let gain = 1.0 + (step % 60) as f32 / 400.0;
        picture.light(|x, _| gain + x / 3200.0);
        picture = picture.moved(step % 3 - 1, step / 2 % 3 - 1);
        picture.thing(-40.0 + (step % 90) as f32 * 5.0, 60.0, 40.0, 24.0, FISH);
        picture.thing(320.0 - (step % 110) as f32 * 4.0, 80.0, 40.0, 30.0, OTHER);
        picture.rectangle(200.0 + (step % 7) as f32, 150.0, 6.0, 40.0, [60.0, 20.0, -20.0]);
        watch.show(&picture);
        for region in watch.scene.regions() {
            let area = region.area;
            [area.x as u64, area.y as u64, area.width.into(), area.height.into()].into_iter().for_each(&mut add);
            add(region.pixels);
        }
        for thing in watch.scene.things() {
            add(thing.id);
            add((thing.state == ThingState::Seen).into());
            [thing.area.x as u64, thing.area.y as u64, thing.area.width.into(), thing.area.height.into()]
                .into_iter()
                .for_each(&mut add);
            told += 1;
        }
    }
    assert!(told > 200, "{told} boxes");
    assert_eq!(digest, FOUND, "boxes differ from those of other machines, or what is found has changed");
}
