//! A year of events in a small store: the quota holds at every moment, and rare events are still there.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use common::{Rng, SimDisk};
use oltr_store::{NewRecord, Reader, Settings, Store};

const FOLDER: &str = "/store";

/// Nanoseconds that this thread was on the processor.
fn on_processor() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Stores `events` events of skewed classes within `quota` and prints the cost.
fn year(events: u64, quota: u64, features: usize) {
    let disk = SimDisk::steady();
    let settings = Settings { quota, free: 0 };
    let (mut store, _) = Store::open(Path::new(FOLDER), settings, Arc::new(disk.clone())).unwrap();
    let mut rng = Rng(1);
    let mut most = 0;
    let (began, mut tenth) = (Instant::now(), Vec::new());
    let mut before = on_processor();
    let mut rare = Vec::new();
    for i in 0..events {
        // Half are of one class, a quarter of the next, and so on. One in a thousand is open, and two hundred are of a
        // rare class.
        let class = (rng.next() | 1 << 20).trailing_zeros();
        let open = i % 1000 == 7;
        let is_rare = i % (events / 200) == 3;
        let label = if is_rare { "rare".to_string() } else { format!("class{class}") };
        let numbers: Vec<f32> =
            (0..features).map(|k| (k as u32 * (class + 1) % 17) as f32 + rng.below(100) as f32 / 50.0).collect();
        let event = format!(
            "{{\"schema\":\"oltr.event/1\",\"seq\":{i},\"id\":\"00000000-0-{i}\",\"type\":\"end\",\"label\":\"{label}\",\"pad\":\"{}\"}}",
            "x".repeat(500)
        );
        let new = NewRecord {
            event: &event,
            event_id: "e",
            decision: if open { "open" } else { "known" },
            label: (!open).then_some(label.as_str()),
            nearest: Some("class0"),
            special: open,
            day: 20_000 + (i * 365 / events) as u32,
            features: Some(&numbers),
            ..NewRecord::default()
        };
        let picture = vec![1; 300 + rng.below(600) as usize];
        let id = store.append(&new, (i % 3 == 0).then_some(&picture[..])).unwrap();
        if is_rare {
            rare.push(id);
        }
        if i % 64 == 0 || store.bytes() > quota {
            most = most.max(disk.used());
            assert!(disk.used() <= quota && store.bytes() <= quota, "{} of {quota} after {i}", disk.used());
        }
        if (i + 1) % (events / 10) == 0 {
            let now = on_processor();
            tenth.push((now - before) as f64 / 1e3 / (events / 10) as f64);
            before = now;
        }
    }
    let counts = store.counts();
    let (records, bytes) = (store.records(), store.bytes());
    store.close().unwrap();
    let (mut open, mut kept_rare, mut classes) = (0, 0, std::collections::BTreeMap::<String, usize>::new());
    let reader = Reader::open(Path::new(FOLDER), Arc::new(disk.clone())).unwrap();
    reader
        .each(&mut |listed| {
            open += u64::from(listed.record.label.is_none());
            kept_rare += usize::from(listed.record.label.as_deref() == Some("rare"));
            *classes.entry(listed.record.class().into()).or_default() += 1;
            Ok(true)
        })
        .unwrap();
    let per_event = counts.written as f64 / events as f64;
    println!(
        "{events} events into {} MiB in {:.1} s: at most {most} bytes on disk; {records} records of {bytes} bytes left, {} given \
         up; {per_event:.0} bytes written an event, {} syncs; µs of the processor an event by tenths, the test's own work among them, {tenth:.0?}; {open} open, {kept_rare} \
         rare; {classes:?}",
        quota >> 20,
        began.elapsed().as_secs_f64(),
        counts.evicted,
        counts.syncs
    );
    assert_eq!((kept_rare, open), (rare.len(), events / 1000), "what is rare and what is open is all there");
    // Classes 14 and up have a few events in two hundred thousand.
    assert!(classes.len() >= 10, "{classes:?}");
    // Compaction included, each event is written less than twice.
    let given = 500.0 + 200.0 + 400.0 + features as f64 * 2.7 + 200.0;
    assert!(per_event < 2.5 * given, "{per_event} bytes an event");
    // The state is written again at the end.
    let more = disk.written() - counts.written;
    assert!(more < 64 << 10, "{more} bytes were written that were not counted");
}

#[test]
fn a_year_of_a_few_thousand_events() {
    year(20_000, 4 << 20, 32);
}

/// Full size: cargo test -p oltr-store --release --test year -- --ignored --nocapture
#[test]
#[ignore = "takes minutes"]
fn a_year_in_an_hour() {
    year(200_000, 64 << 20, 512);
}
