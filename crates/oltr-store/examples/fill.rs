//! Fills a store with made-up events and reports the cost: cargo run -p oltr-store --example fill -- DIR EVENTS MIB
//! [PICTURE.jpg]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use oltr_store::disk::RealDisk;
use oltr_store::{NewRecord, Settings, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let folder = PathBuf::from(args.next().ok_or("a folder is missing")?);
    let mut number = |what: &str| -> Result<u64, Box<dyn std::error::Error>> {
        Ok(args.next().ok_or(what.to_string())?.to_str().ok_or(what.to_string())?.parse()?)
    };
    let (events, mib) = (number("the number of events is missing")?, number("MiB are missing")?);
    let picture = args.next().map(std::fs::read).transpose()?;
    let settings = Settings { quota: mib << 20, free: 64 << 20 };
    let (mut store, opened) = Store::open(&folder, settings, Arc::new(RealDisk))?;
    opened.notes.iter().for_each(|note| println!("{note}"));
    let began = Instant::now();
    for i in 0..events {
        let class = (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40 | 1 << 12).trailing_zeros();
        let open = i % 10 == 3;
        let label = if i % 100 == 7 { "<script>alert(1)</script>".to_string() } else { format!("class {class}") };
        let features: Vec<f32> = (0..64u64).map(|k| ((k * 7 + u64::from(class) * 13 + i % 3) % 11) as f32).collect();
        let label_json = if open { "null".into() } else { format!("{label:?}") };
        let decision = if open { "open" } else { "known" };
        let event = format!(
            "{{\"schema\":\"oltr.event/1\",\"id\":\"fill-{i}\",\"type\":\"end\",\"decision\":\"{decision}\",\"label\":{label_json},\
             \"last\":{{\"wall\":\"2026-0{}-1{}T10:00:00.000Z\"}},\"duration_ms\":3000.0,\"best\":{{\"nearest\":{{\"label\":\"class \
             {class}\"}}}}}}",
            1 + i * 9 / events.max(1),
            i % 10
        );
        let new = NewRecord {
            event: &event,
            event_id: &format!("fill-{i}"),
            decision,
            label: (!open).then_some(label.as_str()),
            nearest: Some("class 0"),
            special: open,
            day: 20_000 + (i * 365 / events.max(1)) as u32,
            features: Some(&features),
            limit: Some(20.0),
            unit: Some(1.5),
            ..NewRecord::default()
        };
        store.append(&new, picture.as_deref())?;
    }
    let counts = store.counts();
    println!(
        "{events} events in {:.1} s: {} records of {} bytes, {} given up, {:.0} bytes written an event, {} syncs",
        began.elapsed().as_secs_f64(),
        store.records(),
        store.bytes(),
        counts.evicted,
        counts.written as f64 / events.max(1) as f64,
        counts.syncs
    );
    store.close()?;
    Ok(())
}
