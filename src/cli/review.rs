//! `oltr review`: people's reviews of the events in a store.

mod enrol;
mod groups;
mod serve;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use oltr::text::counted;
use oltr::{Error, Result};
use oltr_store::disk::RealDisk;
use oltr_store::{Review, Reviews, Said};

use super::args::{Common, ReviewAction, ReviewArgs};
use super::exit::{self, Exit};
use super::output::Output;
use super::store;
use super::table::printable;

/// Most records in one review.
pub const MAX_AT_ONCE: usize = 5000;

/// Runs the command.
pub fn run(args: &ReviewArgs, common: &Common) -> anyhow::Result<Exit> {
    match &args.action {
        ReviewAction::Set { by, dir, id, label } => set(dir, id, label, by.as_deref(), common),
        ReviewAction::Labels { split, dir } => labels(dir, split.as_deref(), common),
        ReviewAction::Groups { dir } => groups::run(dir, common),
        ReviewAction::Enrol { dry_run, undo, enrolled, dir, name } => {
            enrol::run(dir, name, enrolled.as_deref(), enrol::Mode::of(*dry_run, *undo), common)
        }
        ReviewAction::Serve { listen, by, dir } => serve::run(dir, *listen, by.as_deref(), common),
    }
}

/// Default name of the reviewer.
pub fn somebody(by: Option<&str>) -> String {
    let named = by.map(String::from);
    let user = || ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let name = named.or_else(user).filter(|name| !name.trim().is_empty()).unwrap_or_else(|| "somebody".into());
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// Records the review `said` by `by` for the records `ids` of the store in `dir`.
///
/// # Errors
/// As [`Reviews::add`].
pub fn decide(dir: &Path, ids: &[u64], said: &Said, by: &str) -> Result<()> {
    let wall = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let review = |id: &u64| Review { id: *id, said: said.clone(), by: by.into(), wall: wall.clone() };
    let reviews: Vec<Review> = ids.iter().map(review).collect();
    let mut there: Option<std::collections::BTreeSet<u64>> = None;
    let mut exists = |id: u64| {
        if there.is_none() {
            // No record is evicted while the log is locked.
            let reader = oltr_store::Reader::open(dir, Arc::new(RealDisk))?;
            let mut found = std::collections::BTreeSet::new();
            reader.some(ids, &mut |listed| {
                found.insert(listed.record.id);
                Ok(())
            })?;
            there = Some(found);
        }
        Ok(there.as_ref().is_some_and(|there| there.contains(&id)))
    };
    Reviews::of(dir).add(&RealDisk, &reviews, &mut exists).map_err(store::error)
}

fn set(dir: &Path, id: &str, label: &str, by: Option<&str>, common: &Common) -> anyhow::Result<Exit> {
    let said = Said::parse(label).map_err(store::error)?;
    let reader = store::open(dir)?;
    let ids = ids_of(&reader, id)?;
    if ids.is_empty() || ids.len() > MAX_AT_ONCE {
        let reason = "is no record of the store; 'oltr store list' numbers them".to_string();
        return Err(Error::BadInput { subject: format!("record '{id}'"), reason }.into());
    }
    decide(dir, &ids, &said, &somebody(by))?;
    if common.json {
        let mut out = Output::new();
        let reader = store::open(dir)?;
        let mut lines = Vec::new();
        let read = reader.some(&ids, &mut |listed| {
            lines.push(store::record(&listed, false));
            Ok(())
        });
        read.map_err(store::error)?;
        return lines.iter().try_for_each(|line| out.json(line)).map(|()| Exit::Success);
    }
    if log::log_enabled!(log::Level::Warn) {
        exit::say(&format!("{}: {}", counted(ids.len(), "record"), printable(said.text())));
    }
    Ok(Exit::Success)
}

/// The records that `text` names: numbers, `alike:17` for the group of open events that contains 17, `-19` to leave one
/// out of it, or an event's own id.
fn ids_of(reader: &oltr_store::Reader, text: &str) -> anyhow::Result<Vec<u64>> {
    let bad = |subject: String, reason: &str| Error::BadInput { subject, reason: reason.into() };
    let (mut ids, mut without, mut groups) = (Vec::new(), Vec::new(), None);
    for part in text.split(',').map(str::trim) {
        if let Ok(id) = part.parse() {
            ids.push(id);
        } else if let Some(id) = part.strip_prefix("alike:").and_then(|id| id.trim().parse().ok()) {
            let groups = match &mut groups {
                Some(groups) => groups,
                None => groups.insert(groups::open_groups(reader)?),
            };
            let group = groups.iter().find(|(group, _)| group.ids.contains(&id));
            let none = "is no open event without a review; 'oltr review groups' lists them";
            ids.extend(&group.ok_or_else(|| bad(format!("record {id}"), none))?.0.ids);
        } else if let Some(id) = part.strip_prefix('-').and_then(|id| id.trim().parse::<u64>().ok()) {
            without.push(id);
        } else {
            let mut found = Vec::new();
            store::each(reader, &mut |listed| {
                if listed.record.event_id == part {
                    found.push(listed.record.id);
                }
                Ok(())
            })?;
            if found.is_empty() {
                let none = "is no record of the store; 'oltr store list' numbers them";
                return Err(bad(format!("record '{part}'"), none).into());
            }
            ids.extend(found);
        }
    }
    if let Some(stranger) = without.iter().find(|id| !ids.contains(id)) {
        return Err(bad(format!("record {stranger}"), "is taken out of what it is not among").into());
    }
    let mut seen = std::collections::BTreeSet::new();
    ids.retain(|id| !without.contains(id) && seen.insert(*id));
    Ok(ids)
}

/// Splits in turn: the split to evaluate gets a row first.
const SPLITS: [&str; 3] = ["test", "val", "train"];

fn labels(dir: &Path, split: Option<&str>, common: &Common) -> anyhow::Result<Exit> {
    let reader = store::open(dir)?;
    let (bytes_name, bytes) = common.model_bytes(None)?;
    let hash = oltr::model::graph_sha256(&bytes_name, &bytes, &common.options().limits)?;
    let model = oltr::Model::from_bytes(&bytes_name, &bytes, &common.options())?;
    let bundle = model.try_bundle()?;
    let classes = &bundle.classes;
    // By id, or by name if the name is unique.
    let known = |label: &str| {
        let by_id = classes.iter().find(|class| class.id == label);
        let mut named = classes.iter().filter(|class| class.name == label);
        by_id.or_else(|| named.next().filter(|_| named.next().is_none())).map(|class| class.id.clone())
    };
    // In the order of the reviews, so that a row keeps its split when others are added.
    let mut order: Vec<u64> = Vec::new();
    for review in Reviews::of(dir).all(&RealDisk).map_err(store::error)? {
        order.push(review.id);
    }
    // Picture, class, role and event of each.
    let mut rows: BTreeMap<u64, (String, String, &str, String)> = BTreeMap::new();
    let (mut bare, mut nothing) = (0, 0);
    // Reviews of this network's decisions, and others.
    let (mut own, mut others) = (0, 0);
    store::each(&reader, &mut |listed| {
        let Some(review) = listed.review else { return Ok(()) };
        match &listed.record.graph {
            Some(graph) if *graph != hash => others += 1,
            _ => own += 1,
        }
        let (class, role) = match &review.said {
            Said::Nothing => {
                nothing += 1;
                return Ok(());
            }
            Said::Open => ("open".to_string(), "unknown"),
            Said::Label(label) => match known(label) {
                Some(id) => (id, "known"),
                None => (label.clone(), "unknown"),
            },
        };
        match listed.picture() {
            Some(picture) => {
                rows.insert(listed.record.id, (picture.into(), class, role, listed.record.event_id.to_string()));
            }
            None => bare += 1,
        }
        Ok(())
    })?;
    // A bundle defines which classes are known. The built-in bundle does not fit another network's store.
    if common.model(None).is_none() && own == 0 && others > 0 {
        let reason = "saw none of these events, another network did; name its bundle with --model".into();
        return Err(Error::BadInput { subject: format!("the bundle '{}'", bundle.name), reason }.into());
    }
    let mut text = csv::WriterBuilder::new().delimiter(b'\t').from_writer(Vec::new());
    text.write_record(["path", "class", "role", "split", "cluster"])?;
    let mut turns: BTreeMap<String, usize> = BTreeMap::new();
    let mut written = 0;
    for id in order {
        let Some((path, class, role, event)) = rows.remove(&id) else { continue };
        let turn = turns.entry(class.clone()).or_default();
        let split = split.unwrap_or(SPLITS[*turn % SPLITS.len()]);
        *turn += 1;
        written += 1;
        text.write_record([&path, &class, role, split, &event])?;
    }
    let text = String::from_utf8(text.into_inner()?).context("internal error: labels are no text")?;
    Output::new().piece(&text)?;
    if bare > 0 {
        log::warn!("left out: {} that were decided about, without a picture", counted(bare, "event"));
    }
    if nothing > 0 {
        log::info!("left out: {}, as nothing is shown", counted(nothing, "event"));
    }
    if written == 0 {
        log::warn!("{}: nothing with a picture was decided about yet", printable(&dir.display().to_string()));
    }
    Ok(Exit::Success)
}
