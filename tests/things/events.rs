//! From a scene to events.

use std::sync::atomic::Ordering;
use std::time::Duration;

use oltr::decide::Decision;
use oltr::decide::events::{EndReason, Phase};
use oltr::pipeline::{Control, Ended};
use oltr::things::{Area, MOST_CUTS, Mask, Settings, ThingState};

use super::scene::{Film, HEIGHT, SIDE, Shot, Square, WIDTH, passage};
use super::{Notes, reason, run, run_until};

/// The background is learnt before the first thing arrives.
const WARM: u64 = 120;

/// Frames that a passage takes.
const PASSAGE: u64 = 60;

fn squares(square: Option<Square>) -> Shot {
    Shot::Squares(square.into_iter().collect())
}

/// One passage, and `after` frames after it.
fn one_passage(after: u64) -> impl FnMut(u64) -> Shot + Send {
    move |frame| if frame < WARM + PASSAGE + after { squares(passage(frame, WARM)) } else { Shot::End }
}

#[test]
fn a_square_that_moves_is_one_event() {
    let mut notes = Notes::default();
    let report = run(&mut Film::recording(one_passage(40)), &Settings::default(), &mut notes);
    assert_eq!(report.ended, Ended::Input);
    let ends = notes.of(|phase| matches!(phase, Phase::End(_)));
    let [end] = ends[..] else { panic!("{ends:?}") };
    assert!(matches!(reason(end), EndReason::Left | EndReason::Gone), "{end:?}");
    assert!(matches!(end.label, Decision::Known(_) | Decision::Open), "{end:?}");
    // Cropped every third clean frame, up to the maximum. All crops agree because they look alike.
    assert!((8..=MOST_CUTS as u32).contains(&end.crops), "{end:?}");
    assert!(end.frames >= 1 && end.frames <= u64::from(end.crops), "{end:?}");
    assert!(end.seen >= 35 && end.steps >= 5, "{end:?}");
    // Its times follow from the frame rate, however fast the frames came.
    let lasted = end.last - end.first;
    assert!((Duration::from_secs(4)..Duration::from_secs(7)).contains(&lasted), "{lasted:?}");
    // The reported positions are right.
    let mut reported = 0;
    for (frame, things) in &notes.frames {
        let Some((x, y, width, height)) = passage(*frame, WARM) else {
            continue;
        };
        for thing in things.iter().filter(|thing| thing.state == ThingState::Seen) {
            let truth = Area { x, y, width, height }.clipped(WIDTH, HEIGHT);
            let (common, area) = (truth.common(thing.area).pixels() as f64, thing.area.pixels() as f64);
            let iou = common / (truth.pixels() as f64 + area - common);
            assert!(iou > 0.45, "frame {frame}: {:?} for {truth:?}", thing.area);
            reported += 1;
        }
    }
    assert!(reported >= 30, "{reported} boxes");
    for (_, _, region, area) in &notes.cuts {
        assert!(region.width >= area.width && region.width <= SIDE * 2, "{region} of {area:?}");
    }
    assert!(notes.cuts.iter().any(|(_, _, _, area)| *area == end.best), "the best box is that of a cut: {end:?}");
    assert_eq!(report.stats.captured, WARM + PASSAGE + 40);
    assert!(notes.failures.is_empty());
}

#[test]
fn updates_come_no_more_often_than_is_asked() {
    for (every, expected) in [(Duration::from_secs(1), 3..6), (Duration::ZERO, 25..60)] {
        let mut notes = Notes::default();
        let settings = Settings { update_every: every, ..Settings::default() };
        run(&mut Film::recording(one_passage(40)), &settings, &mut notes);
        let updates = notes.of(|phase| *phase == Phase::Update).len();
        assert!(expected.contains(&updates), "{updates} updates with {every:?}");
    }
}

#[test]
fn a_mask_and_ignored_areas_hide_what_moves_in_them() {
    let band = |from: u32, to: u32| {
        (0..WIDTH * HEIGHT).map(|i| if (from..to).contains(&(i / WIDTH)) { 0 } else { 255 }).collect::<Vec<u8>>()
    };
    let mut masked = Settings::default();
    masked.scene.mask = Some(Mask::new(WIDTH, HEIGHT, &band(60, 160)).unwrap());
    let mut ignored = Settings::default();
    ignored.scene.ignore.push(Area { x: 0, y: 60, width: WIDTH, height: 100 }).unwrap();
    let mut elsewhere = Settings::default();
    elsewhere.scene.mask = Some(Mask::new(WIDTH, HEIGHT, &band(200, 240)).unwrap());
    for (settings, events) in [(masked, 0), (ignored, 0), (elsewhere, 1)] {
        let mut notes = Notes::default();
        run(&mut Film::recording(one_passage(40)), &settings, &mut notes);
        assert_eq!(notes.of(|phase| *phase == Phase::New).len(), events);
        assert_eq!(notes.cuts.is_empty(), events == 0);
    }
}

#[test]
fn a_thing_ends_with_the_stream() {
    let mut notes = Notes::default();
    let report = run(
        &mut Film::recording(|frame| if frame < WARM + 30 { squares(passage(frame, WARM)) } else { Shot::End }),
        &Settings::default(),
        &mut notes,
    );
    let ends = notes.of(|phase| matches!(phase, Phase::End(_)));
    assert_eq!(ends.iter().map(|report| reason(report)).collect::<Vec<_>>(), [EndReason::Finished]);
    assert_eq!(report.stats.things.unwrap().seen, 1);
}

#[test]
fn a_thing_ends_where_a_stop_is_asked_for() {
    let control = Control::default();
    let mut notes = Notes::default();
    let stop = control.stop.clone();
    notes.after = Some(Box::new(move |frame| stop.store(frame >= WARM + 30, Ordering::Relaxed)));
    let report = run_until(&mut Film::recording(one_passage(40)), &Settings::default(), &mut notes, &control);
    assert_eq!(report.ended, Ended::Stopped);
    let ends = notes.of(|phase| matches!(phase, Phase::End(_)));
    assert_eq!(ends.iter().map(|report| reason(report)).collect::<Vec<_>>(), [EndReason::Finished]);
}

#[test]
fn things_end_where_the_frames_change_their_size_and_are_found_again() {
    let mut notes = Notes::default();
    let change = WARM + 30;
    let script = move |frame| match frame {
        _ if frame < change => squares(passage(frame, WARM)),
        _ if frame < change + WARM => Shot::Sized(200, 160, Vec::new()),
        _ if frame < change + WARM + PASSAGE + 40 => {
            let square = passage(frame, change + WARM).map(|(x, y, width, height)| (x, y - 50, width, height));
            Shot::Sized(200, 160, square.into_iter().collect())
        }
        _ => Shot::End,
    };
    run(&mut Film::recording(script), &Settings::default(), &mut notes);
    let ends = notes.of(|phase| matches!(phase, Phase::End(_)));
    assert_eq!(ends.len(), 2, "{ends:?}");
    assert_eq!(reason(ends[0]), EndReason::Camera);
    assert!(notes.cuts.iter().any(|(thing, ..)| *thing == ends[1].thing));
}

#[test]
fn a_live_source_that_falls_silent_ends_its_things() {
    let mut notes = Notes::default();
    let script = |frame| match frame {
        _ if frame < WARM + 30 => squares(passage(frame, WARM)),
        _ if frame < WARM + 45 => Shot::Silence,
        _ => Shot::End,
    };
    let mut settings = Settings { gap: Duration::from_millis(300), ..Settings::default() };
    // Its times are those of a fast machine, or of a slow one.
    settings.scene.min_way = 0.0;
    // All frames are taken, so that the thing is in view when the silence begins.
    let mut film = Film::live(script);
    film.before = Box::new(|step| {
        if step < WARM + 30 {
            std::thread::sleep(Duration::from_millis(15));
        }
    });
    run(&mut film, &settings, &mut notes);
    if let Some(end) = notes.of(|phase| matches!(phase, Phase::End(_))).last() {
        assert_eq!(reason(end), EndReason::Silence, "{:?}", notes.events);
    }
}

#[test]
fn noise_black_frames_and_a_single_frame_are_no_things() {
    let shots: [fn(u64) -> Shot; 4] = [
        |frame| if frame < 200 { squares(None) } else { Shot::End },
        |frame| if frame < 50 { Shot::Flat(0) } else { Shot::End },
        |frame| if frame < 1 { squares(passage(9, 0)) } else { Shot::End },
        |_| Shot::End,
    ];
    for (place, shot) in shots.into_iter().enumerate() {
        let mut notes = Notes::default();
        let report = run(&mut Film::recording(shot), &Settings::default(), &mut notes);
        assert!(notes.events.is_empty() && notes.cuts.is_empty(), "{place}: {:?}", notes.events);
        assert_eq!(report.stats.things.unwrap().seen, 0);
    }
}

#[test]
fn what_was_never_clean_is_unclassified() {
    let mut notes = Notes::default();
    // Along the upper border for its whole path.
    let script = |frame: u64| match passage(frame, WARM) {
        _ if frame >= WARM + PASSAGE + 40 => Shot::End,
        square => Shot::Squares(square.into_iter().map(|(x, _, w, h)| (x, -6, w, h)).collect()),
    };
    run(&mut Film::recording(script), &Settings::default(), &mut notes);
    let ends = notes.of(|phase| matches!(phase, Phase::End(_)));
    let [end] = ends[..] else { panic!("{ends:?}") };
    assert_eq!((end.label, end.crops, end.frames), (Decision::Unclassified, 0, 0));
    assert!(!end.best.is_empty(), "{end:?}");
}
