use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::decide::consensus::Rule;
use crate::decide::testing::{bundle, frames, observation};

const OPEN: Decision = Decision::Open;
const A: Decision = Decision::Known(0);
const B: Decision = Decision::Known(2);

/// Every frame begins or ends an event at once.
fn immediate() -> Settings {
    let rule = Rule { window: 1, begin: 1, keep: 1, min_duration: Duration::ZERO };
    Settings { rules: Rules::all(rule), linger: Duration::ZERO, ..Settings::default() }
}

fn tracker(settings: Settings) -> Tracker {
    Tracker::new(&bundle(), settings, &Limits::default()).unwrap()
}

/// All changes of a stream, including those at its end.
fn run(mut tracker: Tracker, frames: &[Observation]) -> std::vec::Vec<Change> {
    let mut all = std::vec::Vec::new();
    for o in frames {
        all.extend(tracker.observe(o).1);
    }
    all.extend(tracker.finish());
    all
}

/// A label for each letter: A, B, or o for open.
fn story(letters: &str, fps: f64) -> std::vec::Vec<Observation> {
    let decision = |c| match c {
        'A' => A,
        'B' => B,
        _ => OPEN,
    };
    let frame = |(i, c)| observation(i as u64, fps, decision(c), 0.5);
    letters.chars().enumerate().map(frame).collect()
}

/// `+A` for a new event, `=A` for an update, `-A` for an end.
fn summary(changes: &[Change]) -> String {
    let one = |c: &Change| {
        let phase = match c.phase {
            Phase::New => '+',
            Phase::Update => '=',
            Phase::End(_) => '-',
        };
        let label = match c.event.label {
            OPEN => 'o',
            A => 'A',
            _ => 'B',
        };
        format!("{phase}{label}")
    };
    changes.iter().map(one).collect::<std::vec::Vec<_>>().join(" ")
}

#[test]
fn an_event_has_a_beginning_and_an_end() {
    let (linger, update_every) = (Duration::from_millis(500), Duration::from_secs(9));
    let settings = Settings { linger, update_every, ..Settings::default() };
    // Three of five frames begin the event. Two of five, then half a second, end it.
    let changes = run(tracker(settings), &story("AAAAAAAAAAAAoooooooooo", 10.0));
    assert_eq!(summary(&changes), "+A +o -A -o");
    let [begin, _, end, _] = changes.as_slice() else { panic!() };
    assert_eq!((begin.event.id, begin.event.frames), (1, 3));
    assert_eq!((begin.event.first, begin.event.last), (Duration::ZERO, Duration::from_millis(200)));
    assert_eq!((end.event.frames, end.phase), (12, Phase::End(EndReason::Gone)));
    assert_eq!(end.event.duration(), Duration::from_millis(1100));
}

#[test]
fn updates_come_no_faster_than_asked_for() {
    let settings = Settings { update_every: Duration::from_secs(1), ..immediate() };
    let changes = run(tracker(settings), &story(&"A".repeat(35), 10.0));
    assert_eq!(summary(&changes), "+A =A =A =A -A");
    assert_eq!(changes.last().unwrap().phase, Phase::End(EndReason::Finished));
}

#[test]
fn what_passes_quickly_is_no_event() {
    let mut settings = immediate();
    settings.rules.few.min_duration = Duration::from_millis(300);
    let changes = run(tracker(settings), &story("AABBBABBBBBA", 10.0));
    // Three frames of B are not long enough, five are.
    assert_eq!(summary(&changes), "+A -A +A -A +B -B +A -A");
    let b = changes.iter().find(|c| c.event.label == B).unwrap();
    assert_eq!((b.event.first, b.event.frames), (Duration::from_millis(600), 4));
}

#[test]
fn a_stream_that_wavers_makes_one_event_for_each_label() {
    let settings = Settings { linger: Duration::from_secs(1), ..immediate() };
    assert_eq!(summary(&run(tracker(settings), &story(&"AAABBB".repeat(2), 10.0))), "+A +B -A -B");
}

#[test]
fn silence_ends_events() {
    let settings = Settings { gap: Duration::from_secs(3), ..immediate() };
    let mut tracker = tracker(settings);
    assert_eq!(summary(&tracker.observe(&observation(0, 1.0, A, 0.5)).1), "+A");
    assert_eq!(summary(&tracker.silence(Duration::from_secs(3))), "");
    let changes = tracker.silence(Duration::from_millis(3001));
    assert_eq!(changes[0].phase, Phase::End(EndReason::Silence));
    assert_eq!(summary(&tracker.silence(Duration::from_secs(9))), "");
    // The next frame reports it too, if `silence` was not called in between.
    assert_eq!(summary(&tracker.observe(&observation(10, 1.0, A, 0.5)).1), "+A");
    assert_eq!(summary(&tracker.observe(&observation(20, 1.0, A, 0.5)).1), "-A +A");
}

#[test]
fn best_and_mean_are_those_of_the_events_own_frames() {
    let settings = Settings { linger: Duration::from_secs(9), ..immediate() };
    for (label, ps, best) in [(A, [0.2, 0.8, 0.5], 1), (OPEN, [0.2, 0.1, 0.6], 1)] {
        let mut frames: std::vec::Vec<_> = (0..3).map(|i| observation(i, 10.0, label, ps[i as usize])).collect();
        // A frame with another label in between is not counted.
        frames.insert(1, Observation { frame: 9, ..observation(0, 10.0, B, 1.0) });
        let changes = run(tracker(settings), &frames);
        let end = changes.iter().rfind(|c| c.event.label == label).unwrap().event;
        assert_eq!((end.frames, end.best.frame), (3, best));
        assert!((end.mean_probability() - ps.iter().sum::<f32>() / 3.0).abs() < 1e-6);
        assert!((end.mean_reachability() - ps.iter().sum::<f32>() / 1.5).abs() < 1e-6);
    }
}

#[test]
fn the_event_seen_longest_ago_makes_room() {
    let settings = Settings { linger: Duration::from_secs(9), ..immediate() };
    let limits = Limits::with(|limits| limits.open_events = 2);
    let tracker = Tracker::new(&bundle(), settings, &limits).unwrap();
    let changes = run(tracker, &story("ABo", 10.0));
    assert_eq!(summary(&changes), "+A +B -A +o -B -o");
    assert_eq!(changes[2].phase, Phase::End(EndReason::Crowded));
    let none = Limits::with(|limits| limits.open_events = 0);
    assert!(Tracker::new(&bundle(), settings, &none).is_err());
}

fn settings() -> impl Strategy<Value = Settings> {
    let rule = (1..10usize, 0..10usize, 0..10usize, 0..8u64).prop_map(|(begin, more, less, tenths)| Rule {
        window: begin + more,
        begin,
        keep: begin.saturating_sub(less).max(1),
        min_duration: Duration::from_millis(tenths * 100),
    });
    let ms = Duration::from_millis;
    (rule.clone(), rule, 0..15u64, 0..10u64).prop_map(move |(known, open, linger, every)| Settings {
        rules: Rules { open, ..Rules::all(known) },
        linger: ms(linger * 100),
        update_every: ms(every * 100),
        ..Settings::default()
    })
}

proptest! {
    /// Each event is new once, then updated, then ended once. Its numbers are those of its frames.
    #[test]
    fn events_are_well_formed(frames in frames(), settings in settings(), most in 1..5usize) {
        let limits = Limits::with(|limits| limits.open_events = most);
        let changes = run(Tracker::new(&bundle(), settings, &limits).unwrap(), &frames);
        let mut open: BTreeMap<u64, Event> = BTreeMap::new();
        let mut last_id = 0;
        for Change { phase, event } in &changes {
            let rule = if event.label == OPEN { settings.rules.open } else { settings.rules.many };
            let own = |o: &&Observation| o.decision == event.label && (event.first..=event.last).contains(&o.time);
            let own = frames.iter().filter(own);
            let p: std::vec::Vec<f32> = own.clone().map(|o| o.probability).collect();
            prop_assert!(event.frames >= rule.keep as u64 && event.frames <= p.len() as u64, "{event:?} {}", p.len());
            prop_assert!(own.clone().any(|o| *o == event.best));
            prop_assert!(event.duration() >= rule.min_duration);
            let (low, high) = p.iter().fold((1.0f32, 0.0f32), |(a, b), x| (a.min(*x), b.max(*x)));
            prop_assert!((low - 1e-5..=high + 1e-5).contains(&event.mean_probability()));
            match phase {
                Phase::New => {
                    prop_assert_eq!(event.id, last_id + 1);
                    last_id = event.id;
                    prop_assert!(open.values().all(|other| other.label != event.label));
                    open.insert(event.id, *event);
                }
                Phase::Update => {
                    let before = open.insert(event.id, *event);
                    prop_assert!(before.is_some_and(|b| b.first == event.first && b.frames <= event.frames));
                }
                Phase::End(_) => prop_assert!(open.remove(&event.id).is_some()),
            }
            prop_assert!(open.len() <= most);
        }
        prop_assert!(open.is_empty(), "every event ends");
    }

    /// If every frame counts, events are the runs of equal decisions.
    #[test]
    fn without_smoothing_events_are_runs(frames in frames()) {
        let changes = run(tracker(immediate()), &frames);
        let ends = changes.iter().filter(|c| matches!(c.phase, Phase::End(_)));
        let events: std::vec::Vec<_> = ends.map(|c| (c.event.label, c.event.frames)).collect();
        let runs = frames.chunk_by(|a, b| a.decision == b.decision);
        let runs: std::vec::Vec<_> = runs.map(|run| (run[0].decision, run.len() as u64)).collect();
        prop_assert_eq!(events, runs);
    }
}
