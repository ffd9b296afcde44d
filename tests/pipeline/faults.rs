//! Sources, classifiers and sinks that fail.

use std::time::{Duration, Instant};

use oltr::pipeline::{Backoff, Control, Ended, Settings};
use oltr::{Error, ErrorKind};

use super::{ByValue, Fake, Recorder, Step, run, run_with};

const MS: Duration = Duration::from_millis(1);

/// Tries again after 20 ms, 40 ms, then every 50 ms.
fn reconnecting(attempts: u32) -> Settings {
    let backoff = Backoff { first: 20 * MS, longest: 50 * MS, attempts };
    Settings { reconnect: Some(backoff), ..Settings::default() }
}

/// Five frames, a disconnection, five frames, the end.
fn comes_back(step: u64) -> Step {
    match step {
        5 => Step::Gone,
        11.. => Step::End,
        _ => Step::Frame(0),
    }
}

#[test]
fn a_camera_that_vanishes_ends_the_stream() {
    let (report, sink) = run(&mut Fake::new(true, comes_back).fps(100.0), &Settings::default());
    assert_eq!(report.unwrap_err().kind(), ErrorKind::Unavailable);
    // Frames from before the failure are classified, their event ends, and all are counted.
    assert!(sink.text().ends_with("f4 -1 s"), "{}", sink.text());
    let stats = sink.stats.last().unwrap();
    assert_eq!((stats.captured, stats.classified + stats.dropped, stats.connected), (5, 5, false));
}

#[test]
fn a_camera_that_returns_goes_on() {
    let mut source = Fake::new(true, comes_back).fps(100.0);
    source.stays_away = 3;
    let attempts = source.attempts.clone();
    let begin = Instant::now();
    let (report, sink) = run(&mut source, &reconnecting(9));
    // After the end of the input the one attempt to reopen succeeds, and the input ends again.
    let stats = report.unwrap().stats;
    assert_eq!((stats.captured, sink.frames().last()), (10, Some(&9)));
    assert!(stats.reconnects >= 1 && begin.elapsed() >= 160 * MS);
    let attempts = attempts.lock().unwrap();
    let pauses: Vec<Duration> = attempts.windows(2).take(3).map(|w| w[1] - w[0]).collect();
    for (pause, expected) in pauses.iter().zip([40, 50, 50]) {
        assert!(*pause >= expected * MS, "{pauses:?}");
    }
}

#[test]
fn attempts_end() {
    let mut source = Fake::new(true, comes_back);
    source.stays_away = 100;
    let attempts = source.attempts.clone();
    let (report, _) = run(&mut source, &reconnecting(4));
    assert_eq!(report.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(attempts.lock().unwrap().len(), 4);
}

#[test]
fn a_stop_does_not_wait_for_a_lost_source() {
    let mut source = Fake::new(true, |_| Step::Gone);
    source.stays_away = u32::MAX;
    let control = Control::default();
    let stop = control.stop.clone();
    std::thread::spawn(move || {
        std::thread::sleep(100 * MS);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let backoff = Backoff { first: 60_000 * MS, longest: 60_000 * MS, attempts: 9 };
    let settings = Settings { reconnect: Some(backoff), ..Settings::default() };
    let begin = Instant::now();
    let classifier = &mut ByValue::new(Duration::ZERO);
    let (report, _) = run_with(&mut source, classifier, Recorder::default(), &control, &settings);
    assert_eq!(report.unwrap().ended, Ended::Stopped);
    assert!(begin.elapsed() < 5000 * MS, "{:?}", begin.elapsed());
}

#[test]
fn silence_is_a_loss_where_it_is_said_to_be() {
    let script = |step| if step < 3 { Step::Frame(0) } else { Step::Silence };
    let settings = Settings { source_timeout: Some(250 * MS), ..Settings::default() };
    let begin = Instant::now();
    let (report, _) = run(&mut Fake::new(true, script), &settings);
    let error = report.unwrap_err();
    assert!(matches!(&error, Error::Unavailable { reason, .. } if reason.contains("0.25 s")), "{error}");
    assert!(begin.elapsed() >= 250 * MS && begin.elapsed() < 5000 * MS, "{:?}", begin.elapsed());
}

#[test]
fn damaged_frames_are_reported_in_order() {
    let script = |step| match step {
        2 | 4 | 5 => Step::Damaged,
        7.. => Step::End,
        _ => Step::Frame(0),
    };
    let (report, sink) = run(&mut Fake::new(false, script), &Settings::default());
    assert_eq!(sink.text(), "f0 f1 !2 f3 +1 !4 !5 f6 -1 s");
    let stats = report.unwrap().stats;
    assert_eq!((stats.captured, stats.classified, stats.decode_errors), (4, 4, 3));
}

#[test]
fn a_flood_of_damage_is_bounded_and_counted() {
    let script = |step| if step < 1000 { Step::Damaged } else { Step::End };
    // A source that can wait loses no damage report.
    let (report, sink) = run(&mut Fake::new(false, script), &Settings::default());
    assert_eq!((report.unwrap().stats.decode_errors, sink.results.len()), (1000, 1001));
    let (report, sink) = run(&mut Fake::new(true, script), &Settings::default());
    assert_eq!(report.unwrap().stats.decode_errors, 1000);
    assert!(sink.results.len() <= 1001);
}

#[test]
fn one_frame_that_cannot_be_classified_is_one_frame() {
    let mut classifier = ByValue { refused: Some(1), ..ByValue::new(Duration::ZERO) };
    let script = |step| if step < 6 { Step::Frame((step % 2) as u8) } else { Step::End };
    let (report, sink) = run_with(
        &mut Fake::new(false, script),
        &mut classifier,
        Recorder::default(),
        &Control::default(),
        &Settings::default(),
    );
    assert!(sink.text().starts_with("f0 !outside f2 !outside f4"), "{}", sink.text());
    let stats = report.unwrap().stats;
    assert_eq!((stats.captured, stats.classified, stats.dropped, stats.decode_errors), (6, 3, 3, 3));
}

#[test]
fn what_fails_for_good_ends_the_stream() {
    let script = |step| if step < 100 { Step::Frame((step / 50) as u8) } else { Step::End };
    let mut classifier = ByValue { broken: Some(1), ..ByValue::new(Duration::ZERO) };
    let (settings, control) = (Settings::default(), Control::default());
    let (report, sink) =
        run_with(&mut Fake::new(false, script), &mut classifier, Recorder::default(), &control, &settings);
    assert_eq!(report.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(sink.frames().last(), Some(&49));

    let full = Recorder { fails_at: Some(7), ..Recorder::default() };
    let mut classifier = ByValue::new(Duration::ZERO);
    let (report, sink) = run_with(&mut Fake::new(true, |_| Step::Frame(0)), &mut classifier, full, &control, &settings);
    assert_eq!(report.unwrap_err().kind(), ErrorKind::Io);
    assert!(sink.stats.is_empty(), "a sink that failed gets no more results");

    let script = |step| if step < 5 { Step::Frame(0) } else { Step::Broken };
    let (report, sink) = run(&mut Fake::new(false, script), &settings);
    assert_eq!(report.unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(sink.frames().len(), 5, "what came before is classified");
}

#[test]
fn a_source_that_panics_does_not_hang_the_pipeline() {
    let script = |step| if step < 5 { Step::Frame(0) } else { Step::Panics };
    let (report, sink) = run(&mut Fake::new(false, script), &Settings::default());
    assert_eq!(report.unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(sink.frames().len(), 5);
}

#[test]
fn settings_that_cannot_be_kept_are_refused() {
    for (settings, kind) in [
        (Settings { depth: Some(0), ..Settings::default() }, ErrorKind::Config),
        (Settings { depth: Some(17), ..Settings::default() }, ErrorKind::Limit),
    ] {
        let (report, sink) = run(&mut Fake::new(false, |_| Step::End), &settings);
        assert_eq!(report.unwrap_err().kind(), kind);
        assert!(sink.results.is_empty());
    }
}

/// A disk that no longer answers: everything is reported before the pipeline waits for it.
#[test]
fn a_stuck_source_is_reported_in_time() {
    let script = |step| match step {
        0..4 => Step::Frame(0),
        4 => Step::Stuck(3000),
        _ => Step::End,
    };
    let settings = Settings { source_timeout: Some(500 * MS), ..Settings::default() };
    let (report, sink) = run(&mut Fake::new(false, script), &settings);
    let error = report.unwrap_err();
    assert!(matches!(&error, Error::Unavailable { reason, .. } if reason.contains("does not answer")), "{error}");
    assert!(sink.text().starts_with("f0 f1 f2 +1 f3") && sink.text().ends_with("-1 s stuck"), "{}", sink.text());
    assert!(sink.stuck.is_some_and(|said| said.contains("does not answer")));
    let stats = sink.stats.last().unwrap();
    assert!(stats.last && stats.stuck && !stats.connected, "{stats:?}");

    // With retries, the pipeline continues when the system call returns.
    let script = |step| match step {
        0 => Step::Frame(0),
        1 => Step::Stuck(2000),
        2 => Step::Frame(0),
        _ => Step::End,
    };
    let settings = Settings { source_timeout: Some(500 * MS), ..reconnecting(1) };
    let (report, sink) = run(&mut Fake::new(false, script), &settings);
    let stats = report.unwrap().stats;
    assert_eq!((stats.classified, sink.frames().len(), sink.stuck), (2, 2, None));
    assert_eq!(sink.results.iter().filter(|results| results.starts_with('!')).count(), 1, "{:?}", sink.results);
}

/// A stop ends the events even if the source is stuck.
#[test]
fn a_stop_does_not_wait_for_a_source_that_does_not_return() {
    let script = |step| if step < 2 { Step::Frame(0) } else { Step::Stuck(6000) };
    let control = Control::default();
    // The stop comes in the second frame, while the source is being called for a third.
    let mut classifier = ByValue { stops: Some(control.stop.clone()), ..ByValue::new(500 * MS) };
    let (report, sink) =
        run_with(&mut Fake::new(false, script), &mut classifier, Recorder::default(), &control, &Settings::default());
    assert_eq!(report.unwrap().ended, Ended::Stopped);
    assert!(sink.text().ends_with("s stuck"), "{}", sink.text());
}

/// A folder without new photos is not lost, and a writer that left is not an error.
#[test]
fn only_live_sources_are_lost_by_silence() {
    let script = |step| if step < 8 { Step::Silence } else { Step::End };
    let settings = Settings { source_timeout: Some(200 * MS), ..Settings::default() };
    assert!(run(&mut Fake::new(false, script), &settings).0.is_ok());

    let script = |step| match step {
        0 | 8 => Step::Frame(0),
        2..8 => Step::Silence,
        _ => Step::End,
    };
    let settings = Settings { stats_every: Some(50 * MS), ..reconnecting(1) };
    let (_, sink) = run(&mut Fake::new(true, script), &settings);
    let between: Vec<_> = sink.stats.iter().filter(|s| s.captured == 1 && s.reconnects == 1).collect();
    assert!(!between.is_empty() && between.iter().all(|s| !s.connected), "{:?}", sink.stats);
}
