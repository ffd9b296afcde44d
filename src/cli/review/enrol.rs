//! Enrols a class from reviewed events of a store, after a preview of its effect.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use oltr::enrol::{Enrolled, Enrolments, MAX_PHOTOS};
use oltr::text::counted;
use oltr::{Error, ErrorKind, atomic, model};
use oltr_store::{Listed, Reader, Said, event_of, feature};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::args::Common;
use super::super::enrol;
use super::super::exit::{self, Exit};
use super::super::output::Output;
use super::super::store;
use super::super::table::printable;

/// Pictures at most this far apart in time are of one occasion.
const OCCASION: Duration = Duration::from_secs(3600);

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Enrol,
    DryRun,
    Undo,
}

impl Mode {
    pub fn of(dry_run: bool, undo: bool) -> Mode {
        match (dry_run, undo) {
            (true, _) => Mode::DryRun,
            (_, true) => Mode::Undo,
            _ => Mode::Enrol,
        }
    }
}

/// Number of events that the class would take, with the 95 % interval of the share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Taken {
    of: u64,
    taken: u64,
    share: Option<f64>,
    interval: Option<[f64; 2]>,
}

impl Taken {
    fn new(of: u64, taken: u64) -> Taken {
        Taken { of, taken, share: (of > 0).then(|| taken as f64 / of as f64), interval: wilson(of, taken) }
    }

    fn sentence(&self) -> String {
        match self.interval {
            None => "none to judge by".into(),
            Some([low, high]) => {
                format!("{} of {} ({:.1} to {:.1} %)", self.taken, self.of, low * 100.0, high * 100.0)
            }
        }
    }
}

/// Wilson's interval at 95 %, which holds for few events too.
fn wilson(of: u64, taken: u64) -> Option<[f64; 2]> {
    const Z: f64 = 1.959_964;
    let (n, p) = (of as f64, taken as f64 / of as f64);
    let (middle, half) = (p + Z * Z / (2.0 * n), Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt());
    let scale = 1.0 + Z * Z / n;
    (of > 0).then(|| [(middle - half) / scale, (middle + half) / scale].map(|x| x.clamp(0.0, 1.0)))
}

/// `oltr.enrolment/1`: the events of a store that the class takes.
#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: &'static str,
    name: &'a str,
    dry_run: bool,
    /// Pictures that it is enrolled from, and pictures with its name.
    pictures: usize,
    named: usize,
    radius: f32,
    /// Occasions that the pictures are of.
    occasions: usize,
    /// Of the pictures with its name.
    own: Taken,
    /// Of the others that the network named, and that it called open.
    known: Taken,
    open: Taken,
    /// Of those that were reviewed with another name.
    others: Taken,
    /// Classes that lose events to it, with the number.
    taken_from: BTreeMap<String, u64>,
    /// Events that cannot be judged: from another network, or without features.
    not_judged: u64,
    enrolled: String,
    undo: Option<String>,
}

/// Runs the command.
pub fn run(dir: &Path, name: &str, file: Option<&Path>, mode: Mode, common: &Common) -> anyhow::Result<Exit> {
    let path = enrol::place(file, common)?;
    let reader = store::open(dir)?;
    let (bytes_name, bytes) = common.model_bytes(None)?;
    let hash = model::graph_sha256(&bytes_name, &bytes, &common.options().limits)?;
    if mode == Mode::Undo {
        return undo(&path, name.trim(), &hash);
    }
    let model = oltr::Model::from_bytes(&bytes_name, &bytes, &common.options())?;
    let limit = model.try_bundle()?.open_distance()?;
    let name = name.trim();
    let own = own(&reader, name, &hash)?;
    let bad = |reason: String| Error::BadInput { subject: format!("class '{name}'"), reason };
    if own.features.is_empty() {
        let reason = match own.named {
            0 => format!("no event in {} was given this name; 'oltr review set' gives it", dir.display()),
            n => format!(
                "{} of this name, but none with features of this network; give --model the one that saw them",
                counted(n, "event")
            ),
        };
        return Err(bad(reason).into());
    }
    let class = Enrolled::new(name, &own.features, limit)?;
    let read = || match Enrolments::read(&path, &hash) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Enrolments::new(&hash)),
        other => other,
    };
    let mut enrolments = read()?;
    enrolments.add(class.clone())?;
    let mut report = judge(&reader, &enrolments, &class, &own, &hash)?;
    report.enrolled = path.display().to_string();
    report.dry_run = mode == Mode::DryRun;
    warn(&report, &own);
    if mode == Mode::Enrol {
        // Read again: another process may have written it meanwhile.
        let lock = atomic::lock(&path)?;
        enrolments = read()?;
        let mut before = Before::read(&path)?;
        before.note(&enrolments, class.name())?;
        enrolments.add(class.clone())?;
        before.write(&path)?;
        enrolments.write(&path)?;
        drop(lock);
        let mut line = format!("oltr review enrol {} {} --undo", shell(&dir.display().to_string()), shell(name));
        if let Some(model) = common.model(None) {
            line += &format!(" --model {}", shell(&model.display().to_string()));
        }
        if let Some(file) = file {
            line += &format!(" --enrolled {}", shell(&file.display().to_string()));
        }
        report.undo = Some(line);
    }
    let mut out = Output::new();
    if common.json {
        out.json(&report)?;
        return Ok(Exit::Success);
    }
    let verb = if report.dry_run { "would take" } else { "takes" };
    out.line(&format!(
        "{}: {}, radius {:.2}; it {verb}",
        printable(name),
        counted(report.pictures, "picture"),
        report.radius
    ))?;
    for (what, taken) in [
        ("its own pictures", report.own),
        ("events that the network named", report.known),
        ("open events", report.open),
        ("events that a person named otherwise", report.others),
    ] {
        out.line(&format!("  {what}: {}", taken.sentence()))?;
    }
    if let Some(undo) = &report.undo {
        out.line(&format!("to undo this: {}", printable(undo)))?;
    }
    Ok(Exit::Success)
}

/// Pictures with the name.
struct Own {
    ids: BTreeSet<u64>,
    features: Vec<Vec<f32>>,
    named: usize,
    occasions: usize,
}

fn is_of(listed: &Listed, hash: &str) -> Option<Vec<f32>> {
    listed.record.graph.as_deref().filter(|graph| *graph == hash)?;
    feature::decode(listed.record.features.as_deref()?)
}

fn own(reader: &Reader, name: &str, hash: &str) -> anyhow::Result<Own> {
    let mut own = Own { ids: BTreeSet::new(), features: Vec::new(), named: 0, occasions: 0 };
    let mut times: Vec<SystemTime> = Vec::new();
    store::each(reader, &mut |listed| {
        if !listed.review.is_some_and(|review| matches!(&review.said, Said::Label(label) if label == name)) {
            return Ok(());
        }
        own.named += 1;
        own.ids.insert(listed.record.id);
        if let Some(features) = is_of(listed, hash) {
            own.features.push(features);
        }
        let event: Option<Value> = event_of(listed.text).and_then(|event| serde_json::from_str(event).ok());
        let time =
            event.as_ref().and_then(|event| humantime::parse_rfc3339(event.pointer("/last/wall")?.as_str()?).ok());
        times.extend(time);
        Ok(())
    })?;
    times.sort();
    let pauses = times.windows(2).filter(|two| two[1].duration_since(two[0]).is_ok_and(|pause| pause > OCCASION));
    own.occasions = usize::from(!times.is_empty()) + pauses.count();
    // If there are more than fit, some from all times.
    let n = own.features.len();
    if n > MAX_PHOTOS {
        own.features = (0..MAX_PHOTOS).map(|i| std::mem::take(&mut own.features[i * n / MAX_PHOTOS])).collect();
    }
    Ok(own)
}

fn judge<'a>(
    reader: &Reader,
    enrolments: &Enrolments,
    class: &'a Enrolled,
    own: &Own,
    hash: &str,
) -> anyhow::Result<Report<'a>> {
    let mut counts = [(0u64, 0u64); 4];
    let (mut taken_from, mut not_judged) = (BTreeMap::new(), 0);
    store::each(reader, &mut |listed| {
        let (Some(features), Some(unit)) = (is_of(listed, hash), listed.record.unit) else {
            not_judged += 1;
            return Ok(());
        };
        let takes = enrolments.find_within(&features, unit).is_some_and(|found| found.class.name() == class.name());
        let label = listed.record.label.as_deref().filter(|label| *label != class.name());
        let said = listed.review.map(|review| &review.said);
        let kind = match said {
            _ if own.ids.contains(&listed.record.id) => 0,
            Some(Said::Label(_)) => 3,
            _ if label.is_some() => 1,
            // An event that already has this label does not change.
            _ if listed.record.label.is_some() => return Ok(()),
            _ => 2,
        };
        counts[kind].0 += 1;
        counts[kind].1 += u64::from(takes);
        if takes && matches!(kind, 1 | 3) {
            *taken_from.entry(label.unwrap_or("open").to_string()).or_insert(0) += 1;
        }
        Ok(())
    })?;
    let [own_taken, known, open, others] = counts.map(|(of, taken)| Taken::new(of, taken));
    Ok(Report {
        schema: "oltr.enrolment/1",
        name: class.name(),
        dry_run: true,
        pictures: class.photos(),
        named: own.named,
        radius: class.radius(),
        occasions: own.occasions,
        own: own_taken,
        known,
        open,
        others,
        taken_from,
        not_judged,
        enrolled: String::new(),
        undo: None,
    })
}

fn warn(report: &Report, own: &Own) {
    if own.occasions <= 1 {
        log::warn!(
            "all pictures of '{}' are of one occasion (no hour lies between two of them): they may teach that occasion; name \
             some of other times",
            printable(report.name)
        );
    }
    if report.open.of > 0 && report.open.taken == 0 {
        log::warn!(
            "it takes none of the other open events ({}): if some of them show it too, name those as well; a class of few \
             views finds only these",
            report.open.of
        );
    }
    if report.others.taken > 0 {
        log::warn!("it takes {} that a person named otherwise", counted(report.others.taken, "event"));
    }
    if report.not_judged > 0 {
        let events = counted(report.not_judged, "event");
        log::info!("{events} cannot be judged: of another network, or without features");
    }
}

/// Classes before they were enrolled from a store, so that each enrolment can be undone separately.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Before {
    /// By name: a file of enrolled classes with the former class of this name alone; `None` if there was none.
    classes: BTreeMap<String, Option<String>>,
}

impl Before {
    fn path(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".before");
        name.into()
    }

    /// Reads the backup at `path`; empty if it is damaged.
    fn read(path: &Path) -> oltr::Result<Before> {
        let path = Before::path(path);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_else(|e| {
                log::warn!("{}: is damaged ({e}); what it remembered cannot be undone", path.display());
                Before::default()
            })),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Before::default()),
            Err(e) => Err(Error::io(path, e)),
        }
    }

    /// Records the class `name` in `enrolments`, and drops classes that no longer exist.
    fn note(&mut self, enrolments: &Enrolments, name: &str) -> oltr::Result<()> {
        self.classes.retain(|name, _| enrolments.classes().iter().any(|class| class.name() == name));
        let mut former = Enrolments::new(enrolments.graph_sha256());
        let class = enrolments.classes().iter().find(|class| class.name() == name);
        let text = class.map(|class| {
            former.add(class.clone())?;
            former.to_text()
        });
        self.classes.insert(name.into(), text.transpose()?);
        Ok(())
    }

    fn write(&self, path: &Path) -> oltr::Result<()> {
        let path = Before::path(path);
        if self.classes.is_empty() {
            return std::fs::remove_file(&path).map_err(|e| Error::io(path, e));
        }
        let bytes = serde_json::to_vec(self).map_err(|e| Error::Internal(e.to_string()))?;
        atomic::write(path, &bytes)
    }
}

/// Restores the class `name` as it was before its enrolment from a store. Others stay unchanged.
fn undo(path: &Path, name: &str, hash: &str) -> anyhow::Result<Exit> {
    let _lock = atomic::lock(path)?;
    let mut before = Before::read(path)?;
    let Some(former) = before.classes.remove(name) else {
        let reason = "was not enrolled from a store, or that was undone; 'oltr enrol remove' removes a class".into();
        return Err(Error::BadInput { subject: format!("class '{name}'"), reason }.into());
    };
    let mut enrolments = Enrolments::read(path, hash)?;
    match former {
        None => drop(enrolments.remove(name)?),
        Some(text) => {
            let former = Enrolments::parse(&text, &Before::path(path).display().to_string(), hash)?;
            former.classes().iter().try_for_each(|class| enrolments.add(class.clone()))?;
        }
    }
    match enrolments.classes().is_empty() {
        true => std::fs::remove_file(path).map_err(|e| Error::io(path, e))?,
        false => enrolments.write(path)?,
    }
    before.write(path)?;
    if log::log_enabled!(log::Level::Warn) {
        exit::say(&format!("{}: '{}' is what it was before it was enrolled", path.display(), printable(name)));
    }
    Ok(Exit::Success)
}

/// `text` as a shell reads it.
fn shell(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+,=@%:".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.into() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of R's `binom::binom.wilson`.
    #[test]
    fn intervals_are_wilsons() {
        let near = |of, taken, low: f64, high: f64| {
            let [a, b] = wilson(of, taken).unwrap();
            assert!((a - low).abs() < 1e-4 && (b - high).abs() < 1e-4, "{taken} of {of}: {a} {b}");
        };
        near(10, 0, 0.0, 0.27753);
        near(10, 5, 0.23659, 0.76341);
        near(100, 3, 0.01025, 0.08452);
        assert_eq!(wilson(0, 0), None);
    }
}
