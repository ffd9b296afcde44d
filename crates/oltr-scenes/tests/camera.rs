//! What is no thing: light, leaves, snow; and what happens to the camera itself.

mod world;

use oltr_scenes::{Camera, EndReason, Mask, Settings, State};
use world::{Canvas, FISH, HEIGHT, Random, WIDTH, Watch, ground};

/// Nothing moves: nothing is found.
#[test]
fn noise_is_nothing() {
    for noise in [0, 5, 20] {
        let back = ground(20);
        let mut watch = Watch::new(&Settings::default());
        watch.noise = noise;
        watch.rest(&back, 200);
        assert_eq!((watch.things(), watch.camera.len()), (0, 0), "noise {noise}");
        assert_eq!(watch.scene.state(), State::Watching);
    }
}

/// A step of the exposure is no thing, up or down, at once or by and by; what moves meanwhile is found all the same.
#[test]
fn light_is_nothing() {
    for (gain, frames) in [(1.3, 1.0), (0.75, 1.0), (1.25, 3.0), (0.6, 60.0), (1.5, 100.0)] {
        let back = ground(21);
        let mut watch = Watch::new(&Settings::default());
        for step in 0..260 {
            let mut picture = back.clone();
            picture.thing(-40.0 + (step as f32 - 120.0) * 5.0, 100.0, 40.0, 24.0, FISH);
            let share = ((step as f32 - 150.0) / frames).clamp(0.0, 1.0);
            picture.light(|_, _| 1.0 + (gain - 1.0) * share);
            watch.show(&picture);
        }
        watch.finish();
        assert_eq!(watch.ended.len(), 1, "gain {gain} in {frames} frames: {:?}", watch.ended);
    }
}

/// A net of light that wanders over all of the ground, as below waves.
#[test]
fn waves_of_light_are_nothing() {
    let back = ground(22);
    let mut watch = Watch::new(&Settings::default());
    for step in 0..300 {
        let t = step as f32;
        let mut picture = back.clone();
        picture.light(|x, y| {
            let net = ((x + 10.0 * (y / 23.0 + t / 11.0).sin()) / 15.0 + t / 9.0).sin().abs()
                * ((y + 10.0 * (x / 26.0 - t / 13.0).sin()) / 13.0 - t / 10.0).sin().abs();
            1.0 + 0.14 * (3.0 * (-6.0 * net).exp() - 0.6)
        });
        watch.show(&picture);
    }
    watch.finish();
    assert_eq!(watch.ended.len(), 0, "{:?}", watch.ended);
}

/// The shadow of a cloud that takes a fifth of the light: its edges are soft. Of one that takes a quarter comes a thing.
#[test]
fn the_shadow_of_a_cloud_is_nothing() {
    for width in [90.0, 160.0] {
        let back = ground(35);
        let mut watch = Watch::new(&Settings::default());
        watch.rest(&back, 110);
        for step in 0..150 {
            let mut picture = back.clone();
            let (x, y) = (-200.0 + step as f32 * 5.0, 90.0);
            picture.light(|column, row| {
                let apart = ((column - x) / width).hypot((row - y) / 70.0);
                1.0 - 0.2 * (2.0 - 2.0 * apart).clamp(0.0, 1.0)
            });
            watch.show(&picture);
        }
        watch.finish();
        assert_eq!(watch.ended.len(), 0, "{:?}", watch.ended);
    }
}

/// Leaves and blades sway: they go nowhere. 17 fields of dark blades on a ground of strong contrast, 40 seconds each.
#[test]
fn leaves_are_nothing() {
    for (field, blades) in (0..16).map(|seed| (seed, seed)).chain([(23, 5)]) {
        let back = ground(field);
        let mut watch = Watch::new(&Settings::default());
        for step in 0..400 {
            let mut picture = back.clone();
            let mut random = Random::new(blades);
            for _ in 0..25 {
                let (x, y) = (random.below(WIDTH as u32) as f32, 60.0 + random.below(140) as f32);
                let (phase, bend) = (random.below(628) as f32 / 100.0, 3.0 + random.below(9) as f32);
                let sway = bend * ((step as f32 / 6.0 + phase).sin() + 0.4 * (step as f32 / 2.1 + phase).sin());
                picture.rectangle(x + sway, y, 5.0, 40.0, [60.0, 20.0, -20.0]);
            }
            watch.show(&picture);
        }
        watch.finish();
        assert_eq!(watch.ended.len(), 0, "field {field}: {:?}", watch.ended);
    }
}

/// Snow falls, rain too: each flake is too small to be a thing.
#[test]
fn snow_is_nothing() {
    for fall in [3.0, 23.0] {
        let back = ground(24);
        let mut watch = Watch::new(&Settings::default());
        for step in 0..200 {
            let mut picture = back.clone();
            let mut random = Random::new(9);
            for _ in 0..80 {
                let (x, y) = (random.below(WIDTH as u32) as f32, random.below(HEIGHT as u32) as f32);
                let y = (y + step as f32 * (fall + random.below(3) as f32)) % HEIGHT as f32;
                picture.rectangle(x, y, 2.0, 2.0, [230.0, 0.0, 0.0]);
            }
            watch.show(&picture);
        }
        watch.finish();
        assert_eq!(watch.ended.len(), 0, "{:?}", watch.ended);
    }
}

/// The camera shakes by less than a cell of the small picture.
#[test]
fn a_shaken_camera_sees_nothing() {
    let back = ground(25);
    let mut watch = Watch::new(&Settings::default());
    let mut random = Random::new(3);
    for _ in 0..200 {
        watch.show(&back.moved(random.below(3) as i32 - 1, random.below(3) as i32 - 1));
    }
    watch.finish();
    assert_eq!((watch.ended.len(), watch.camera.len()), (0, 0), "{:?}", watch.ended);
}

fn gray(canvas: &Canvas) -> Canvas {
    // Infra-red light comes from the camera: other things are bright.
    let shine = |pixel: &[f32; 3]| [(250.0 - pixel[0] + 3.0 * pixel[1]).clamp(20.0, 240.0), 0.0, 0.0];
    Canvas { pixels: canvas.pixels.iter().map(shine).collect() }
}

/// The switch to infra-red is told once, and so is the day that comes back; nothing becomes a thing by it.
#[test]
fn night_and_day_are_told() {
    let back = ground(26);
    let mut watch = Watch::new(&Settings::default());
    watch.rest(&back, 60);
    watch.rest(&gray(&back), 150);
    assert_eq!(watch.told(), [Camera::Night]);
    assert!(watch.is_watching());
    let mut picture = gray(&back);
    for step in 0..62 {
        picture.clone_from(&gray(&back));
        picture.thing(-40.0 + step as f32 * 6.0, 100.0, 40.0, 24.0, [240.0, 0.0, 0.0]);
        watch.show(&picture);
    }
    watch.rest(&gray(&back), 20);
    watch.rest(&back, 150);
    assert_eq!(watch.told(), [Camera::Night, Camera::Day]);
    assert_eq!(watch.things(), 1, "{:?}", watch.ended);
}

/// Colours that go by and by, without anything else, are night too.
#[test]
fn colours_that_fade_are_night() {
    let back = ground(27);
    let mut watch = Watch::new(&Settings::default());
    for step in 0..200 {
        let mut picture = back.clone();
        let share = 1.0 - (step as f32 / 100.0).clamp(0.0, 1.0);
        picture.pixels.iter_mut().for_each(|pixel| *pixel = [pixel[0], pixel[1] * share, pixel[2] * share]);
        watch.show(&picture);
    }
    assert_eq!((watch.told(), watch.things()), (vec![Camera::Night], 0));
}

/// A camera that is turned elsewhere ends what was there, tells so, and finds what moves there.
#[test]
fn a_moved_camera_is_told() {
    let (back, elsewhere) = (ground(28), ground(29));
    let mut watch = Watch::new(&Settings::default());
    watch.rest(&back, 110);
    let at = |back: &Canvas, step: i32| {
        let mut picture = back.clone();
        picture.thing(-40.0 + step as f32 * 6.0, 100.0, 40.0, 24.0, FISH);
        picture
    };
    for step in 0..30 {
        watch.show(&at(&back, step));
    }
    assert_eq!(watch.scene.things().len(), 1);
    watch.rest(&elsewhere, 60);
    assert_eq!(watch.told(), [Camera::Settling, Camera::Moved]);
    assert_eq!((watch.ended.len(), watch.ended[0].reason), (1, EndReason::Camera));
    assert!(watch.scene.things().is_empty());
    for step in 0..62 {
        watch.show(&at(&elsewhere, step));
    }
    watch.rest(&elsewhere, 20);
    assert_eq!(watch.ended.len(), 2);
    assert_eq!(watch.scene.counts().frames, u64::from(watch.number));
    assert_eq!(watch.camera.len(), 2);
}

/// A camera that is hit swings for a while: nothing is found in what it shows meanwhile.
#[test]
fn a_swinging_camera_settles() {
    let back = ground(30);
    let mut watch = Watch::new(&Settings::default());
    watch.rest(&back, 110);
    for step in 0..40 {
        let swing = (40.0 * (step as f32 / 1.3).sin()) as i32;
        watch.show(&back.moved(swing, swing / 2));
    }
    watch.rest(&back, 60);
    assert_eq!(watch.told(), [Camera::Settling]);
    assert_eq!(watch.things(), 0);
    assert!(watch.is_watching());
}

/// Settings that look at the upper tenth only.
fn upper_tenth() -> Settings {
    let mut settings = Settings::default();
    let luma: Vec<u8> = (0..10).map(|row| if row == 0 { 255 } else { 0 }).collect();
    settings.mask = Some(Mask::new(1, 10, &luma).unwrap());
    settings
}

/// What is masked decides nothing: not whether the picture holds still, and not whether it is night.
#[test]
fn what_is_masked_decides_nothing() {
    let back = ground(34);
    let mut watch = Watch::new(&upper_tenth());
    watch.rest(&back, 110);
    for step in 0..40 {
        let swing = (40.0 * (step as f32 / 1.3).sin()) as i32;
        watch.show(&back.moved(swing, 0));
        // At first the swing comes back to where it began too soon to be told.
        assert!(step < 24 || watch.scene.state() == State::Settling, "{step}: what is shown swings");
    }
    watch.rest(&back, 60);
    assert!(watch.is_watching());
    assert_eq!(watch.told(), [Camera::Settling]);

    // So little colour that without that of what is masked the whole would have none.
    let mut pale = back.clone();
    pale.pixels.iter_mut().for_each(|pixel| *pixel = [pixel[0], pixel[1] / 5.0, pixel[2] / 5.0]);
    let mut night = pale.clone();
    night.pixels[WIDTH * HEIGHT / 10..].iter_mut().for_each(|pixel| (pixel[1], pixel[2]) = (0.0, 0.0));
    let mut watch = Watch::new(&upper_tenth());
    watch.rest(&pale, 110);
    watch.rest(&night, 100);
    assert_eq!(watch.told(), []);
}

/// A flash of a few frames ends nothing.
#[test]
fn a_flash_is_waited_for() {
    let back = ground(31);
    let mut watch = Watch::new(&Settings::default());
    watch.rest(&back, 110);
    for step in 0..62 {
        let mut picture = back.clone();
        picture.thing(-40.0 + step as f32 * 6.0, 100.0, 40.0, 24.0, FISH);
        if (30..32).contains(&step) {
            picture.pixels.iter_mut().for_each(|pixel| *pixel = [250.0, 0.0, 0.0]);
        }
        watch.show(&picture);
    }
    watch.rest(&back, 20);
    assert_eq!((watch.ended.len(), watch.camera.len()), (1, 0), "{:?} {:?}", watch.ended, watch.camera);
}

fn flat(luma: f32) -> Canvas {
    Canvas { pixels: vec![[luma, 14.0, -14.0]; WIDTH * HEIGHT] }
}

/// A hand over the lens, and a dark room: told, and told once; afterwards things are found again.
#[test]
fn covered_and_dark_are_told() {
    for (picture, camera, state) in
        [(flat(60.0), Camera::Covered, State::Covered), (flat(0.0), Camera::Dark, State::Dark)]
    {
        let back = ground(32);
        let mut watch = Watch::new(&Settings::default());
        watch.rest(&back, 110);
        watch.rest(&picture, 200);
        assert_eq!((watch.told(), watch.scene.state()), (vec![camera], state));
        watch.rest(&back, 60);
        assert_eq!(watch.told(), [camera, Camera::Settling]);
        assert!(watch.is_watching());
        for step in 0..62 {
            let mut picture = back.clone();
            picture.thing(-40.0 + step as f32 * 6.0, 100.0, 40.0, 24.0, FISH);
            watch.show(&picture);
        }
        watch.rest(&back, 20);
        assert_eq!(watch.things(), 1, "{camera:?}: {:?}", watch.ended);
    }
}

/// A camera that is dark from the start says so, and sees once there is light.
#[test]
fn black_frames_are_dark() {
    let mut watch = Watch::new(&Settings::default());
    watch.noise = 2;
    watch.rest(&flat(0.0), 50);
    assert_eq!((watch.told(), watch.scene.state()), (vec![Camera::Dark], State::Dark));
    let back = ground(33);
    watch.rest(&back, 60);
    assert_eq!((watch.told(), watch.things()), (vec![Camera::Dark, Camera::Settling], 0));
    assert!(watch.is_watching());
}
