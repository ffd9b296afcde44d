//! Which frames are classified, when, and how the others are reported.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use oltr::decide::consensus::{Rule, Rules};
use oltr::decide::events;
use oltr::pipeline::{Control, Ended, Settings};
use oltr::queue::Overflow;

use super::{ByValue, Fake, Recorder, Step, run, run_with};

const MS: Duration = Duration::from_millis(1);

/// `frames` frames of class 0, then the end.
fn frames(frames: u64) -> impl FnMut(u64) -> Step + Send {
    move |step| if step < frames { Step::Frame(0) } else { Step::End }
}

#[test]
fn a_file_is_classified_frame_by_frame() {
    let (report, sink) = run(&mut Fake::new(false, frames(100)), &Settings::default());
    let report = report.unwrap();
    assert_eq!((report.ended, report.stats.classified, report.stats.dropped), (Ended::Input, 100, 0));
    assert_eq!(sink.frames(), (0..100).collect::<Vec<_>>());
    // The third frame makes the event, the end of the input ends it, and the statistics come last.
    assert!(sink.text().starts_with("f0 f1 f2 +1 f3") && sink.text().ends_with("f99 -1 s"), "{}", sink.text());
}

#[test]
fn a_slow_sink_makes_a_camera_drop_and_all_is_counted() {
    for depth in [1, 3, 16] {
        let settings = Settings { depth: Some(depth), ..Settings::default() };
        let sink = Recorder { slow: 2 * MS, ..Recorder::default() };
        let mut source = Fake::new(true, frames(500)).fps(5000.0);
        let classifier = &mut ByValue::new(Duration::ZERO);
        let (report, sink) = run_with(&mut source, classifier, sink, &Control::default(), &settings);
        let stats = report.unwrap().stats;
        assert_eq!(stats.captured, 500);
        assert!(stats.dropped > 200, "{stats:?}");
        let results = sink.frames();
        assert_eq!(results.len() as u64, stats.classified);
        assert!(results.is_sorted(), "in the order of their capture");
        assert_eq!(results.last(), Some(&499), "the newest is never dropped");
        // The sum of the reported drops equals all drops before the result.
        let mut passed = 0;
        for (seq, dropped) in results.iter().zip(&sink.dropped) {
            passed += dropped;
            // Up to `depth` frames in the queue behind it may already have replaced others.
            assert!(passed >= seq - results.iter().position(|s| s == seq).unwrap() as u64, "{seq}: {passed}");
        }
        assert_eq!(passed, stats.dropped, "the last result reports all drops");
    }
}

#[test]
fn the_overflow_rule_can_be_chosen() {
    let sink = || Recorder { slow: 2 * MS, ..Recorder::default() };
    let classifier = &mut ByValue::new(Duration::ZERO);
    let mut run_as = |live, overflow| {
        let settings = Settings { overflow: Some(overflow), ..Settings::default() };
        let mut source = Fake::new(live, frames(60));
        run_with(&mut source, classifier, sink(), &Control::default(), &settings).0.unwrap().stats
    };
    assert_eq!(run_as(true, Overflow::Block).classified, 60);
    assert!(run_as(false, Overflow::DropOldest).dropped > 30);
}

/// The promise: with a queue of one, a classified frame is younger than two inferences plus one frame interval.
#[test]
fn a_classified_frame_is_never_stale() {
    let (inference, frame) = (200 * MS, Duration::from_secs_f64(1.0 / 60.0));
    let mut source = Fake::new(true, frames(240)).fps(60.0);
    let classifier = &mut ByValue::new(inference);
    let (report, sink) =
        run_with(&mut source, classifier, Recorder::default(), &Control::default(), &Settings::default());
    let stats = report.unwrap().stats;
    assert!((5..=25).contains(&stats.classified), "{stats:?}");
    let oldest = *sink.ages.iter().max().unwrap();
    assert!(oldest < 2 * sink.inference + frame, "{oldest:?}, inference {:?}", sink.inference);
    println!("at most {oldest:?} old, inference up to {:?}", sink.inference);
    assert!(sink.ages.iter().all(|age| *age >= inference));
}

#[test]
fn every_nth_frame_is_taken() {
    let settings = Settings { every: NonZeroU32::new(4), ..Settings::default() };
    let (report, sink) = run(&mut Fake::new(false, frames(10)), &settings);
    assert_eq!(sink.frames(), [0, 4, 8]);
    let stats = report.unwrap().stats;
    assert_eq!((stats.captured, stats.skipped), (3, 7));
}

#[test]
fn a_camera_is_thinned_out_and_a_file_waits() {
    let settings = Settings { spacing: Some(50 * MS), ..Settings::default() };
    let stats = run(&mut Fake::new(true, frames(100)).fps(100.0), &settings).0.unwrap().stats;
    // One second at 20 a second.
    assert!((10..=21).contains(&stats.captured) && stats.captured + stats.skipped == 100, "{stats:?}");
    let begin = Instant::now();
    let stats = run(&mut Fake::new(false, frames(11)), &settings).0.unwrap().stats;
    assert_eq!((stats.captured, stats.skipped), (11, 0));
    assert!(begin.elapsed() >= 500 * MS, "{:?}", begin.elapsed());
}

#[test]
fn a_stop_finishes_the_frame_in_hand() {
    let control = Control::default();
    let mut classifier = ByValue { stops: Some(control.stop.clone()), ..ByValue::new(100 * MS) };
    let mut source = Fake::new(true, |_| Step::Frame(0)).fps(200.0);
    let (report, sink) = run_with(&mut source, &mut classifier, Recorder::default(), &control, &Settings::default());
    let report = report.unwrap();
    assert_eq!((report.ended, report.stats.classified, sink.frames().len()), (Ended::Stopped, 2, 2));
    assert_eq!(sink.results.last().unwrap(), "s");
}

#[test]
fn statistics_come_when_asked_for_and_when_due() {
    let control = Control::default();
    control.stats.store(true, Ordering::Relaxed);
    let settings = Settings { stats_every: Some(100 * MS), ..Settings::default() };
    let mut source = Fake::new(true, frames(45)).fps(100.0);
    let classifier = &mut ByValue::new(Duration::ZERO);
    let (_, sink) = run_with(&mut source, classifier, Recorder::default(), &control, &settings);
    // Once at once, up to four times when due, once at the end.
    assert!((3..=6).contains(&sink.stats.len()), "{}", sink.stats.len());
    assert!(sink.stats.is_sorted_by_key(|s| (s.now, s.captured)));
    let sum: u64 = sink.stats.iter().map(|s| s.interval.captured).sum();
    assert_eq!(sum, 45, "intervals do not overlap");
    assert_eq!(sink.stats.iter().filter(|s| s.last).count(), 1);
}

#[test]
fn nothing_waits_for_a_silent_source() {
    let mut source = Fake::new(true, |step| match step {
        0..3 => Step::Frame(0),
        3..8 => Step::Silence,
        _ => Step::End,
    });
    let rule = Rule { window: 1, begin: 1, keep: 1, min_duration: Duration::ZERO };
    let events = events::Settings { rules: Rules::all(rule), gap: 200 * MS, ..Default::default() };
    let (_, sink) = run(&mut source, &Settings { events, ..Settings::default() });
    // The event ends while the source is silent, not when it ends.
    assert!(sink.text().ends_with("-1 s"), "{}", sink.text());
    assert!(sink.ticks >= 6, "{}", sink.ticks);
}

#[test]
fn a_size_that_changes_is_taken_as_it_comes() {
    let mut source = Fake::new(false, |step| match step {
        0..20 => Step::Sized(8 + step as u32, 60 - step as u32),
        _ => Step::End,
    });
    let (report, sink) = run(&mut source, &Settings::default());
    assert_eq!((report.unwrap().stats.classified, sink.frames().len()), (20, 20));
}
