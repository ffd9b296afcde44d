//! `/metrics` for Prometheus.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oltr::bundle::Shot;
use oltr::decide::Decision;
use oltr::decide::events::Event;
use oltr::sink::{EventResult, Stats, StoreStats};
use oltr::{Answer, clock};

use super::About;
use super::drift::{Figure, Signal};

/// Upper bounds of the histogram of inferences, in seconds.
const BOUNDS: [f64; 10] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];

/// Label values of decisions and groups of classes.
const DECISIONS: [&str; 3] = ["known", "open", "unclassified"];
const SHOTS: [&str; 4] = ["many", "medium", "few", "none"];

/// Counters of the classifying thread in addition to [`Stats`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    inferences: [u64; BOUNDS.len() + 1],
    inference_sum: Duration,
    age: Duration,
    frames: u64,
    open: u64,
    reachability: f64,
    events: [[u64; SHOTS.len()]; DECISIONS.len()],
    ended: u64,
    ended_reachability: f64,
    /// Drift of the last events.
    pub drift: Signal,
}

impl Tally {
    fn inference(&mut self, time: Duration) {
        let place = BOUNDS.iter().position(|bound| time.as_secs_f64() <= *bound).unwrap_or(BOUNDS.len());
        self.inferences[place] += 1;
        self.inference_sum += time;
    }

    /// A frame was processed. `inference` is zero if the network did not run.
    pub fn looked(&mut self, inference: Duration, age: Duration) {
        if !inference.is_zero() {
            self.inference(inference);
        }
        self.age = age;
    }

    /// A frame or a crop was classified.
    pub fn frame(&mut self, answer: &Answer) {
        self.frames += 1;
        self.open += u64::from(answer.decision == Decision::Open);
        if answer.reachability.is_finite() {
            self.reachability += f64::from(answer.reachability);
        }
    }

    /// An event began.
    pub fn event(&mut self, e: &EventResult) {
        let decision = match e.change.event.label {
            Decision::Open => 1,
            Decision::Unclassified => 2,
            _ => 0,
        };
        let shot = match e.names.shot(e.change.event.label) {
            Some(Shot::Many) => 0,
            Some(Shot::Medium) => 1,
            Some(Shot::Few) => 2,
            _ => 3,
        };
        self.events[decision][shot] += 1;
    }

    /// An event ended. `drift` is computed from the last ones.
    pub fn ended(&mut self, event: &Event, drift: Signal) {
        let reachability = f64::from(event.mean_reachability());
        if event.label != Decision::Unclassified && reachability.is_finite() {
            self.ended += 1;
            self.ended_reachability += reachability;
        }
        self.drift = drift;
    }
}

/// The text of a page of metrics.
pub fn text(
    about: &About,
    tally: &Tally,
    stats: &Stats,
    store: Option<StoreStats>,
    refused: u64,
    planned: u64,
) -> String {
    let mut out = String::with_capacity(8 << 10);
    let head = |out: &mut String, name: &str, kind: &str, help: &str| {
        let _ = writeln!(out, "# HELP oltr_{name} {help}\n# TYPE oltr_{name} {kind}");
    };
    let one = |out: &mut String, name: &str, kind: &str, help: &str, value: f64| {
        head(out, name, kind, help);
        let _ = writeln!(out, "oltr_{name} {value}");
    };
    head(&mut out, "build_info", "gauge", "Version of the program, kernels in use, bundle.");
    let (version, isa, bundle) = (env!("CARGO_PKG_VERSION"), escaped(&about.isa), escaped(&about.bundle));
    let _ = writeln!(out, "oltr_build_info{{version=\"{version}\",isa=\"{isa}\",bundle=\"{bundle}\"}} 1");
    let count = |out: &mut String, name: &str, help: &str, value: u64| one(out, name, "counter", help, value as f64);
    count(&mut out, "frames_captured_total", "Frames taken from the source.", stats.captured);
    count(&mut out, "frames_classified_total", "Frames classified.", stats.classified);
    head(&mut out, "frames_dropped_total", "counter", "Frames not classified, by reason.");
    let _ = writeln!(out, "oltr_frames_dropped_total{{reason=\"overflow\"}} {}", stats.dropped);
    let _ = writeln!(out, "oltr_frames_dropped_total{{reason=\"spacing\"}} {}", stats.skipped);
    count(&mut out, "decode_errors_total", "Frames that were damaged or could not be classified.", stats.decode_errors);
    one(&mut out, "source_connected", "gauge", "Whether the source is there.", f64::from(u8::from(stats.connected)));
    count(&mut out, "source_reconnects_total", "Times that the source went away and came back.", stats.reconnects);
    head(&mut out, "events_total", "counter", "Events announced, by decision and by how often the class was trained.");
    for (decision, of) in DECISIONS.iter().zip(&tally.events) {
        for (shot, n) in SHOTS.iter().zip(of) {
            let _ = writeln!(out, "oltr_events_total{{decision=\"{decision}\",shot=\"{shot}\"}} {n}");
        }
    }
    head(&mut out, "inference_duration_seconds", "histogram", "Time of the network for a frame.");
    let mut sum = 0;
    for (bound, n) in BOUNDS.iter().zip(&tally.inferences) {
        sum += n;
        let _ = writeln!(out, "oltr_inference_duration_seconds_bucket{{le=\"{bound}\"}} {sum}");
    }
    sum += tally.inferences[BOUNDS.len()];
    let _ = writeln!(out, "oltr_inference_duration_seconds_bucket{{le=\"+Inf\"}} {sum}");
    let _ = writeln!(out, "oltr_inference_duration_seconds_sum {}", tally.inference_sum.as_secs_f64());
    let _ = writeln!(out, "oltr_inference_duration_seconds_count {sum}");
    one(&mut out, "frame_age_seconds", "gauge", "Age of the last frame at its decision.", tally.age.as_secs_f64());
    let silent = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(stats.silent);
    if stats.captured > 0 {
        let help = "When the source last gave a frame, in seconds since 1970.";
        one(&mut out, "last_frame_timestamp_seconds", "gauge", help, silent.as_secs_f64());
    }
    if planned > 0 {
        one(&mut out, "memory_planned_bytes", "gauge", "Memory that was planned.", planned as f64);
    }
    if tally.frames > 0 {
        let n = tally.frames as f64;
        let help = "Share of frames, or of cuts of things, that are open, since the start.";
        one(&mut out, "open_ratio", "gauge", help, tally.open as f64 / n);
        let help = "Mean reachability of frames, or of cuts of things, since the start.";
        one(&mut out, "reachability_mean", "gauge", help, tally.reachability / n);
    }
    head(&mut out, "event_reachability", "summary", "Mean reachability of events that ended.");
    let _ = writeln!(out, "oltr_event_reachability_sum {}", tally.ended_reachability);
    let _ = writeln!(out, "oltr_event_reachability_count {}", tally.ended);
    drift(&mut out, &tally.drift);
    if let Some(store) = store {
        one(&mut out, "store_bytes", "gauge", "Bytes of the store.", store.bytes as f64);
        one(&mut out, "store_records", "gauge", "Records in the store.", store.records as f64);
        count(&mut out, "store_evicted_total", "Records given up to make room.", store.evicted);
        count(&mut out, "store_lost_total", "Events that could not be kept.", store.dropped + store.not_kept);
    }
    count(&mut out, "http_refused_total", "Requests that were refused because too many clients were there.", refused);
    let uptime = Duration::from_nanos(clock::monotonic_ns()).saturating_sub(stats.now) + stats.uptime;
    one(&mut out, "uptime_seconds", "gauge", "Time since the stream began.", uptime.as_secs_f64());
    out
}

/// The figures of the last events compared with the bundle's calibration.
fn drift(out: &mut String, signal: &Signal) {
    let figures = [("open", &signal.open), ("reachability", &signal.reachability)];
    let mut all = |name: &str, help: &str, of: &dyn Fn(&Figure) -> Option<f64>| {
        let values = figures.map(|(figure, values)| of(values).map(|value| (figure, value)));
        if values.iter().any(Option::is_some) {
            let _ = writeln!(out, "# HELP oltr_drift_{name} {help}\n# TYPE oltr_drift_{name} gauge");
        }
        for (figure, value) in values.into_iter().flatten() {
            let _ = writeln!(out, "oltr_drift_{name}{{figure=\"{figure}\"}} {value}");
        }
    };
    let some = signal.events > 0;
    all("now", "Share of the last events that is open, and their mean reachability.", &|figure| {
        some.then_some(figure.now)
    });
    all("usual", "The same of the known photos of the calibration.", &|figure| figure.usual);
    all("limit", "Beyond which there is reason to worry: open above, reachability below.", &|figure| figure.limit);
    all("worry", "Whether it is beyond.", &|figure| Some(f64::from(u8::from(figure.worry))));
    let help = "Events that the figures of drift are of.";
    let _ = writeln!(out, "# HELP oltr_drift_events {help}\n# TYPE oltr_drift_events gauge");
    let _ = writeln!(out, "oltr_drift_events {}", signal.events);
}

/// A value of a label.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn metrics_are_as_the_format_has_them() {
        let about = About {
            source: "x".into(),
            bundle: "a \"name\"\n\\".into(),
            isa: "avx2".into(),
            side: 1,
            planned: AtomicU64::new(0),
            region: None,
            ignored: Vec::new(),
            mask: None,
        };
        let stats = Stats { captured: 3, classified: 2, dropped: 1, connected: true, ..Stats::default() };
        let store = Some(StoreStats::default());
        let mut tally = Tally { frames: 2, open: 1, ..Tally::default() };
        tally.inference(Duration::from_millis(7));
        tally.inference(Duration::from_secs(9));
        let open = Figure { now: 0.3, usual: Some(0.05), limit: Some(0.17), worry: true };
        tally.drift = Signal { events: 100, open, reachability: Figure { now: 1.5, ..Figure::default() } };
        let text = text(&about, &tally, &stats, store, 0, 7);
        let mut kind = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                kind = rest.into();
                continue;
            }
            if line.starts_with('#') {
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
            let base = name.split('{').next().unwrap();
            let (of, kind) = kind.split_once(' ').unwrap();
            assert!(base == of || matches!(kind, "histogram" | "summary") && base.starts_with(of), "{line} after {of}");
            assert_eq!(kind == "counter", base.ends_with("_total"), "{line}");
            assert!(base.starts_with("oltr_") && base.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
        }
        assert!(text.contains("bundle=\"a \\\"name\\\"\\n\\\\\"} 1\n"), "{text}");
        for line in
            ["now{figure=\"open\"} 0.3", "limit{figure=\"open\"} 0.17", "worry{figure=\"open\"} 1", "events 100"]
        {
            assert!(text.contains(&format!("\noltr_drift_{line}\n")), "{line}: {text}");
        }
        assert!(!text.contains("oltr_drift_limit{figure=\"reachability\"}"));
        assert!(text.contains("bucket{le=\"0.01\"} 1\n") && text.contains("bucket{le=\"+Inf\"} 2\n"));
    }
}
