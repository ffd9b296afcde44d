//! Things that move, stop, cross and leave, on small pictures made in code.

mod world;

use std::time::Duration;

use oltr_scenes::{Area, EndReason, Mask, Settings, ThingState};
use world::{FISH, HEIGHT, OTHER, WIDTH, Watch, ground};

/// A thing that crosses the picture is one thing, its boxes are where it is, and it ends when it left.
#[test]
fn what_crosses_is_one_thing() {
    let back = ground(1);
    let mut watch = Watch::new(&Settings::default());
    watch.rest(&back, 30);
    let (mut seen, mut apart) = (0, 0);
    for step in 0..110 {
        let x = -40.0 + step as f32 * 4.0;
        let mut picture = back.clone();
        picture.thing(x, 100.0, 40.0, 24.0, FISH);
        watch.show(&picture);
        for thing in watch.scene.things().iter().filter(|thing| thing.clean) {
            seen += 1;
            let (at, _) = thing.area.center();
            apart = apart.max((at as f32 - (x + 20.0)).abs() as u32);
            assert!((32..=52).contains(&thing.area.width) && (18..=34).contains(&thing.area.height), "{thing:?}");
        }
    }
    watch.rest(&back, 10);
    assert_eq!(watch.ended.len(), 1, "{:?}", watch.ended);
    let ended = &watch.ended[0];
    assert_eq!((ended.thing.id, ended.reason), (1, EndReason::Left));
    assert!(seen > 50 && apart <= 4, "seen {seen} times, up to {apart} pixels apart");
    let path = &ended.thing.path;
    assert!(path.first().unwrap().x < 60 && path.last().unwrap().x > 260, "{path:?}");
    assert!(path.windows(2).all(|pair| pair[0].time < pair[1].time));
    assert!(ended.thing.way > 200 && ended.thing.merged == 0, "{ended:?}");
    assert_eq!(watch.scene.counts().seen, 1);
    assert!(watch.camera.is_empty());
}

/// Ids, once given, are not given again, and things are told in their order.
#[test]
fn numbers_go_up() {
    let back = ground(2);
    let mut watch = Watch::new(&Settings::default());
    watch.rest(&back, 30);
    for round in 0..3 {
        for step in 0..50 {
            let mut picture = back.clone();
            picture.thing(-40.0 + step as f32 * 8.0, 60.0 + 40.0 * round as f32, 40.0, 24.0, FISH);
            watch.show(&picture);
        }
        watch.rest(&back, 10);
    }
    let ids: Vec<u64> = watch.ended.iter().map(|ended| ended.thing.id).collect();
    assert_eq!(ids, [1, 2, 3]);
}

/// Two that cross keep their ways: the one that came from the left goes on to the right.
#[test]
fn ways_survive_a_crossing() {
    for (seed, gap) in [(3, 0.0), (4, 10.0), (5, -10.0)] {
        let back = ground(seed);
        let mut watch = Watch::new(&Settings::default());
        watch.rest(&back, 30);
        let mut merged = false;
        for step in 0..62 {
            let mut picture = back.clone();
            picture.thing(-40.0 + step as f32 * 6.0, 100.0, 40.0, 24.0, FISH);
            picture.thing(320.0 - step as f32 * 6.0, 100.0 + gap, 40.0, 24.0, OTHER);
            watch.show(&picture);
            merged |= watch.scene.things().iter().any(|thing| thing.state == ThingState::Merged && !thing.clean);
        }
        watch.rest(&back, 20);
        assert_eq!(watch.ended.len(), 2, "{:?}", watch.ended);
        assert!(merged);
        for ended in &watch.ended {
            let (from, to) = (ended.thing.first_area.center().0, ended.thing.last_area.center().0);
            assert!((from - to).abs() > 200 && ended.thing.merged > 0, "{ended:?}");
        }
    }
}

/// Two that enter side by side and part are two.
#[test]
fn what_parts_is_two_things() {
    let back = ground(6);
    let mut watch = Watch::new(&Settings::default());
    watch.rest(&back, 110);
    for step in 0..80 {
        let mut picture = back.clone();
        let apart = step as f32 * 0.5;
        picture.thing(-40.0 + step as f32 * 5.0, 100.0 - apart, 40.0, 24.0, FISH);
        picture.thing(-40.0 + step as f32 * 5.0, 124.0 + apart, 40.0, 24.0, FISH);
        watch.show(&picture);
        if step == 60 {
            let things = watch.scene.things();
            assert!(things.len() == 2 && things.iter().all(|thing| thing.area.height < 40), "{things:?}");
        }
    }
    watch.rest(&back, 20);
    assert_eq!(watch.ended.len(), 2, "{:?}", watch.ended);
}

/// What comes in where something has just left is another thing.
#[test]
fn what_comes_in_is_not_what_left() {
    let back = ground(14);
    let mut watch = Watch::new(&Settings::default());
    watch.rest(&back, 110);
    for step in 0..128 {
        let mut picture = back.clone();
        let x = if step < 64 { 280 - 5 * step } else { -40 + 5 * (step - 64) };
        picture.thing(x as f32, 100.0, 40.0, 24.0, FISH);
        watch.show(&picture);
    }
    watch.finish();
    assert_eq!(watch.ended.len(), 2, "{:?}", watch.ended);
    assert!(watch.ended.iter().all(|ended| ended.thing.way < 300), "{:?}", watch.ended);
}

/// A thing that stops stays a thing for as long as told, ends, and is then ground.
#[test]
fn what_stops_becomes_ground() {
    stop(false);
}

/// It is a thing again when it leaves.
#[test]
fn what_stopped_is_found_when_it_leaves() {
    stop(true);
}

fn stop(leaves: bool) {
    let back = ground(7);
    let mut settings = Settings::default();
    settings.stay = Duration::from_secs(8);
    let mut watch = Watch::new(&settings);
    watch.rest(&back, 110);
    let at = |x: f32| {
        let mut picture = back.clone();
        picture.thing(x, 100.0, 40.0, 24.0, FISH);
        picture
    };
    for step in 0..40 {
        watch.show(&at(-40.0 + step as f32 * 5.0));
    }
    assert_eq!(watch.scene.things().len(), 1);
    let since = watch.time();
    while watch.ended.is_empty() {
        watch.show(&at(155.0));
        assert!(watch.time() - since < Duration::from_secs(20), "it never ended");
    }
    let lasted = watch.time() - since;
    assert_eq!(watch.ended[0].reason, EndReason::Stayed);
    assert!((6..=10).contains(&lasted.as_secs()), "{lasted:?}");
    for _ in 0..200 {
        watch.show(&at(155.0));
    }
    assert_eq!(watch.things(), 1);
    let still = watch.scene.foreground().cells.iter().filter(|&&cell| cell != 0).count();
    assert_eq!(still, 0, "it is ground");
    if !leaves {
        return;
    }
    for step in 0..45 {
        watch.show(&at(155.0 + step as f32 * 5.0));
    }
    watch.rest(&back, 100);
    assert_eq!(watch.ended.len(), 2, "the thing that left, and no ghost: {:?}", watch.ended);
    assert!(watch.ended[1].thing.last_area.x > 250);
    let ghost = watch.scene.foreground().cells.iter().filter(|&&cell| cell != 0).count();
    assert_eq!(ghost, 0);
}

/// A thing that was there from the start is found when it leaves, and where it was is no thing.
#[test]
fn what_was_there_from_the_start_is_found_when_it_leaves() {
    for wait in [0, 5, 40, 120] {
        let back = ground(8);
        let mut watch = Watch::new(&Settings::default());
        for step in -wait..45 {
            let mut picture = back.clone();
            picture.thing(140.0 + step.max(0) as f32 * 5.0, 100.0, 40.0, 24.0, FISH);
            watch.show(&picture);
        }
        watch.rest(&back, 120);
        assert_eq!(watch.ended.len(), 1, "after {wait} frames: {:?}", watch.ended);
        assert!(watch.ended[0].thing.last_area.x > 240, "{:?}", watch.ended);
    }
}

/// Nothing is found where a mask is black or an area is ignored.
#[test]
fn masks_and_ignored_areas_hide() {
    let crossing = |settings: &Settings| {
        let back = ground(9);
        let mut watch = Watch::new(settings);
        watch.rest(&back, 30);
        for step in 0..62 {
            let mut picture = back.clone();
            picture.thing(-40.0 + step as f32 * 6.0, 30.0, 40.0, 24.0, FISH);
            picture.thing(320.0 - step as f32 * 6.0, 180.0, 40.0, 24.0, OTHER);
            watch.show(&picture);
        }
        watch.rest(&back, 20);
        watch.ended.iter().map(|ended| ended.thing.last_area.y).collect::<Vec<i32>>()
    };
    assert_eq!(crossing(&Settings::default()).len(), 2);
    let mut settings = Settings::default();
    // Of another size than the frame.
    settings.mask = Some(Mask::new(4, 2, &[0, 0, 0, 0, 255, 255, 255, 255]).unwrap());
    let found = crossing(&settings);
    assert!(found.len() == 1 && found[0] > 120, "{found:?}");
    let mut settings = Settings::default();
    settings.ignore.push(Area { x: 0, y: 120, width: WIDTH as u32, height: 5000 }).unwrap();
    let found = crossing(&settings);
    assert!(found.len() == 1 && found[0] < 120, "{found:?}");
}

/// Sizes that are not looked for are not found.
#[test]
fn sizes_are_kept_to() {
    let found = |min: f32, max: f32| {
        let back = ground(10);
        let mut settings = Settings::default();
        (settings.min_size, settings.max_size) = (min, max);
        let mut watch = Watch::new(&settings);
        watch.rest(&back, 30);
        for step in 0..62 {
            let mut picture = back.clone();
            picture.thing(-40.0 + step as f32 * 6.0, 100.0, 40.0, 24.0, FISH);
            watch.show(&picture);
        }
        watch.finish();
        watch.ended.len()
    };
    assert_eq!([found(0.02, 0.9), found(0.3, 0.9), found(0.0, 0.05)], [1, 0, 0]);
}

/// An arm reaches into the picture from above: it is larger than two fifths of the frame, lies across its box, and has no room to
/// come as far as it is long.
#[test]
fn an_arm_that_reaches_in_is_a_thing() {
    let back = ground(15);
    let mut watch = Watch::new(&Settings::default());
    watch.rest(&back, 110);
    for step in 0..60 {
        let mut picture = back.clone();
        let reach = (step * 6).min(200);
        for row in 0..reach {
            let x = 330.0 - row as f32 * 1.1 - reach as f32 * 0.3;
            picture.rectangle(x, row as f32, 70.0, 1.0, FISH);
        }
        watch.show(&picture);
    }
    watch.finish();
    assert_eq!(watch.ended.len(), 1, "{:?}", watch.ended);
}

/// More things than wanted are counted and passed over.
#[test]
fn a_crowd_is_counted() {
    let back = ground(11);
    let mut settings = Settings::default();
    settings.max_things = 2;
    let mut watch = Watch::new(&settings);
    watch.rest(&back, 30);
    for step in 0..40 {
        let mut picture = back.clone();
        for lane in 0..5 {
            picture.thing(-40.0 + step as f32 * 6.0, 8.0 + 46.0 * lane as f32, 40.0, 20.0, FISH);
        }
        watch.show(&picture);
        assert!(watch.scene.things().len() <= 2);
    }
    assert_eq!(watch.scene.things().len(), 2);
    assert_eq!(watch.scene.counts().crowded, 3, "each once");
}

/// The rate of the frames changes little: what is seen four times as often is the same thing.
#[test]
fn rates_do_not_matter() {
    for rate in [5, 10, 25, 60] {
        let back = ground(12);
        let mut watch = Watch::new(&Settings::default());
        watch.rate = rate;
        watch.rest(&back, 3 * rate);
        for step in 0..6 * rate {
            let mut picture = back.clone();
            picture.thing(-40.0 + step as f32 * 60.0 / rate as f32, 100.0, 40.0, 24.0, FISH);
            watch.show(&picture);
        }
        watch.rest(&back, 2 * rate);
        assert_eq!(watch.ended.len(), 1, "at {rate} frames a second: {:?}", watch.ended);
    }
}

/// At the end of the stream what is present ends.
#[test]
fn the_end_ends_all() {
    let back = ground(13);
    let mut watch = Watch::new(&Settings::default());
    watch.rest(&back, 30);
    for step in 0..30 {
        let mut picture = back.clone();
        picture.thing(-40.0 + step as f32 * 6.0, HEIGHT as f32 / 2.0, 40.0, 24.0, FISH);
        watch.show(&picture);
    }
    assert!(watch.ended.is_empty());
    watch.finish();
    assert_eq!(watch.ended[0].reason, EndReason::Finished);
    assert!(watch.scene.things().is_empty());
}

/// What turns out to be the other after a merge changes numbers.
#[test]
fn numbers_are_swapped() {
    let back = ground(6);
    let mut watch = Watch::new(&Settings::default());
    watch.rest(&back, 30);
    for step in 0..30 {
        let mut picture = back.clone();
        picture.thing(-40.0 + step as f32 * 6.0, 60.0, 40.0, 24.0, FISH);
        picture.thing(320.0 - step as f32 * 6.0, 160.0, 40.0, 24.0, OTHER);
        watch.show(&picture);
    }
    let areas = |watch: &Watch| [1, 2].map(|id| watch.scene.things().iter().find(|thing| thing.id == id).unwrap().area);
    let [a, b] = areas(&watch);
    assert!(!watch.scene.swap(1, 3) && !watch.scene.swap(0, 1) && watch.scene.swap(1, 1));
    assert_eq!(areas(&watch), [a, b]);
    assert!(watch.scene.swap(1, 2));
    assert_eq!(areas(&watch), [b, a]);
    let first = watch.scene.things()[0].first_area;
    assert!((first.y - 60).abs() < 20, "the beginning stays with the number: {first:?}");
}
