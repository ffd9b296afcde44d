//! `oltr store`: shows the contents of a store of events.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oltr::text::counted;
use oltr::{Error, Result};
use oltr_store::disk::RealDisk;
use oltr_store::{Checked, Listed, Reader, event_of};
use serde_json::{Map, Value, json};

use super::args::{Common, StoreAction, StoreArgs};
use super::exit::Exit;
use super::output::{BAD, Output};
use super::table::{Align, Cell, Column, Shrink, Table, printable};

/// Runs the command.
pub fn run(args: &StoreArgs, common: &Common) -> anyhow::Result<Exit> {
    match &args.action {
        StoreAction::List { features, dir } if common.json => {
            let (mut reader, mut out) = (open(dir)?, Output::new());
            reader.learn_times().map_err(error)?;
            each(&reader, &mut |listed| out.json(&record(listed, *features)))?;
            Ok(Exit::Success)
        }
        StoreAction::List { dir, .. } => {
            let mut reader = open(dir)?;
            reader.learn_times().map_err(error)?;
            list(&reader)
        }
        StoreAction::Check { dir } => check(&open(dir)?, common),
        StoreAction::Stats { dir } => stats(&open(dir)?, common),
    }
}

/// The store in `dir`, to be read.
///
/// # Errors
/// As [`Reader::open`].
pub fn open(dir: &Path) -> Result<Reader> {
    Reader::open(dir, Arc::new(RealDisk)).map_err(error)
}

/// An error of the store as one of the library's.
pub fn error(e: oltr_store::Error) -> Error {
    match e {
        oltr_store::Error::Io { path, cause } => Error::io(path, cause),
        oltr_store::Error::Busy { path } => {
            Error::Busy { path, reason: "another process writes it; try again when that is done".into() }
        }
        oltr_store::Error::Deciding { path } => {
            Error::Busy { path, reason: "another process holds the log of reviews; try again when that is done".into() }
        }
        oltr_store::Error::Full { path, reason } => Error::Io { path, cause: std::io::Error::other(reason) },
        oltr_store::Error::Bad { subject, reason } => Error::BadInput { subject, reason },
        e => Error::Internal(e.to_string()),
    }
}

/// Calls `f` with each record.
///
/// # Errors
/// Errors of the store and of `f`.
pub fn each(reader: &Reader, f: &mut dyn FnMut(&Listed) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut failed = None;
    let read = reader.each(&mut |listed| {
        failed = f(&listed).err();
        Ok(failed.is_none())
    });
    match failed {
        Some(e) => Err(e),
        None => Ok(read.map_err(error)?),
    }
}

/// `oltr.record/1`: the event's last line with the record's id in place of the event's.
pub fn record(listed: &Listed, features: bool) -> Value {
    listed.to_json(features)
}

/// The text at `path` of a record.
pub fn text<'a>(line: &'a Value, path: &str) -> &'a str {
    line.pointer(path).and_then(Value::as_str).unwrap_or("")
}

fn list(reader: &Reader) -> anyhow::Result<Exit> {
    let mut out = Output::new();
    let columns = vec![
        Column::new("ID", Align::Right, Shrink::Never).hold(["100000"]),
        Column::new("TIME", Align::Left, Shrink::Never).hold(["2026-01-01 00:00:00Z"]),
        Column::new("SHOWS", Align::Left, Shrink::Middle).hold(["a class with a name"]),
        Column::new("REVIEW", Align::Left, Shrink::Middle).hold(["a class with a name"]),
        Column::new("LASTED", Align::Right, Shrink::Never).hold(["1000.0 s"]).spare(2),
        Column::new("PICTURE", Align::Left, Shrink::Middle).hold(["pictures/000000001/000000000256.jpg"]).spare(1),
    ];
    let table = Table::new(columns, out.width());
    out.line(&table.header())?;
    each(reader, &mut |listed| {
        let line = record(listed, false);
        let time = text(&line, "/last/wall").replace('T', " ");
        let time = time.split_once('.').map_or(time.clone(), |(seconds, _)| format!("{seconds}Z"));
        let lasted = line["duration_ms"].as_f64().map(|ms| format!("{:.1} s", ms / 1e3)).unwrap_or_default();
        let cells: Vec<Cell> = vec![
            listed.record.id.to_string().into(),
            printable(&time).into_owned().into(),
            printable(listed.record.label.as_deref().unwrap_or(&listed.record.decision)).into_owned().into(),
            printable(listed.review.map_or("", |review| review.said.text())).into_owned().into(),
            lasted.into(),
            printable(listed.picture().unwrap_or("")).into_owned().into(),
        ];
        out.line(&table.row(&cells))
    })?;
    Ok(Exit::Success)
}

fn check(reader: &Reader, common: &Common) -> anyhow::Result<Exit> {
    let Checked { records, findings } = reader.check().map_err(error)?;
    let mut out = Output::new();
    let whole = !findings.iter().any(|finding| finding.broken);
    if common.json {
        let findings: Vec<Value> = findings
            .iter()
            .map(|f| json!({"path": f.path.display().to_string(), "finding": f.what, "broken": f.broken}))
            .collect();
        out.json(&json!({"schema": "oltr.store-check/1", "whole": whole, "records": records, "findings": findings}))?;
    } else {
        for f in &findings {
            out.line(&printable(&format!("{}: {}", f.path.display(), f.what)))?;
        }
        let styled = if whole { "whole".to_string() } else { format!("{BAD}not whole{BAD:#}") };
        out.line(&format!("{}, {styled}", counted(records, "record")))?;
    }
    Ok(if whole { Exit::Success } else { Exit::Differs })
}

fn stats(reader: &Reader, common: &Common) -> anyhow::Result<Exit> {
    let stats = reader.stats().map_err(error)?;
    let mut out = Output::new();
    let wall = |text: &Option<String>| {
        let event: Value = serde_json::from_str(event_of(text.as_deref()?)?).ok()?;
        event.pointer("/last/wall").cloned()
    };
    let (oldest, newest) = (wall(&stats.oldest), wall(&stats.newest));
    if common.json {
        let of = |count: fn(&oltr_store::tally::Tally) -> u64| -> Map<String, Value> {
            let all = stats.classes.iter().map(|tally| (name(&tally.class).to_string(), count(tally)));
            all.filter(|(_, n)| *n > 0).map(|(class, n)| (class, n.into())).collect()
        };
        out.json(&json!({
            "schema": "oltr.store-stats/1",
            "records": stats.records,
            "pictures": stats.pictures,
            "reviewed": stats.reviewed,
            "bytes": stats.bytes,
            "oldest": oldest,
            "newest": newest,
            "seen": of(|tally| tally.seen),
            "evicted": of(|tally| tally.evicted),
        }))?;
        return Ok(Exit::Success);
    }
    let text = |value: &Option<Value>| value.as_ref().and_then(Value::as_str).unwrap_or("-").to_string();
    out.line(&format!(
        "{}, {} with a picture, {} reviewed; {} bytes; from {} to {}",
        counted(stats.records, "record"),
        stats.pictures,
        stats.reviewed,
        stats.bytes,
        printable(&text(&oldest)),
        printable(&text(&newest))
    ))?;
    let rows: Vec<Vec<Cell>> = stats
        .classes
        .iter()
        .map(|tally| {
            let last = Duration::from_secs(u64::from(tally.last_day) * 86_400);
            let last = humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + last.min(LATEST)).to_string();
            vec![
                printable(name(&tally.class)).into_owned().into(),
                tally.seen.to_string().into(),
                tally.evicted.to_string().into(),
                last[..10].to_string().into(),
            ]
        })
        .collect();
    let columns = vec![
        Column::new("CLASS", Align::Left, Shrink::Middle),
        Column::new("SEEN", Align::Right, Shrink::Never),
        Column::new("GIVEN UP", Align::Right, Shrink::Never),
        Column::new("LAST DAY", Align::Left, Shrink::Never),
    ];
    let table = Table::fit(columns, &rows, out.width());
    out.line(&table.header())?;
    rows.iter().try_for_each(|row| out.line(&table.row(row)))?;
    Ok(Exit::Success)
}

/// The last second of the year 9999, beyond which no date is written.
const LATEST: Duration = Duration::from_secs(253_402_300_799);

fn name(class: &str) -> &str {
    if class.is_empty() { "open" } else { class }
}
