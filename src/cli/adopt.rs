//! `oltr adopt` and `oltr refit`: make bundles with open-set rules from labelled photos.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use oltr::adopt::classifier::{Found, Reading};
use oltr::adopt::{self, Weighed, open_classifier, with_metric};
use oltr::bundle::{Bundle, Class, Preprocess, Rule};
use oltr::calibrate::{Choice, PerClass, Settings, calibrate, fit_temperature, worth};
use oltr::inference::{self, InferenceRun};
use oltr::labels::Label;
use oltr::text::counted;
use oltr::{Error, Model, atomic, model};

use super::args::{AdoptArgs, Common, RefitArgs};
use super::calibrate::{Report, refuse_same};
use super::exit::Exit;
use super::output::Output;
use super::read;
use super::study::Study;
use super::table::printable;

/// Longest file of classes.
const MAX_CLASSES_FILE: u64 = 16 << 20;

/// The part that both commands share, after they have a bundle to start from.
struct Making<'a> {
    name: &'a str,
    study: &'a Study<'a>,
    common: &'a Common,
    output: &'a Path,
    target: oltr::calibrate::Target,
    choice: Choice,
}

/// Runs `adopt`.
pub fn adopt(args: &AdoptArgs, common: &Common) -> anyhow::Result<Exit> {
    refuse_same(Some(&args.classifier), &args.output)?;
    let study = Study::new(&args.photos, "val", common)?;
    let limits = common.options().limits;
    let name = args.classifier.display().to_string();
    let bytes = model::read_file(&args.classifier, &limits)?;
    let classes = classes(args, study.all())?;
    let reading = Reading {
        classes: classes.len(),
        size: args.size,
        features: args.features.as_deref(),
        logits_only: args.logits_only,
    };
    let title = args.output.file_stem().map_or_else(|| "adopted".into(), |stem| stem.to_string_lossy().into_owned());
    let preprocess = |size| preprocess(args, size);
    let (opened, found) = open_classifier(&name, &bytes, &title, classes, preprocess, &reading, &limits)?;
    log::info!("{}", found_text(&found));
    let making = Making {
        name: &name,
        study: &study,
        common,
        output: &args.output,
        target: args.target,
        choice: args.score.unwrap_or(Choice::Auto),
    };
    making.finish(&opened, !args.logits_only)
}

/// Runs `refit`.
pub fn refit(args: &RefitArgs, common: &Common) -> anyhow::Result<Exit> {
    refuse_same(common.model(args.file.as_deref()), &args.output)?;
    let study = Study::new(&args.photos, "val", common)?;
    let (name, bytes) = common.model_bytes(args.file.as_deref())?;
    let making = Making {
        name: &name,
        study: &study,
        common,
        output: &args.output,
        target: args.target,
        choice: args.score.unwrap_or(Choice::Rule(Rule::Reachability)),
    };
    making.finish(&bytes, true)
}

impl Making<'_> {
    /// Fits the metric to the training photos, calibrates on val, writes the bundle.
    fn finish(&self, opened: &[u8], metric: bool) -> anyhow::Result<Exit> {
        let options = self.common.options();
        let limits = &options.limits;
        let mut bytes = opened.to_vec();
        if metric {
            let model = Model::undivided(self.name, opened, &options)?;
            let bundle = model.try_bundle()?;
            if !model.outputs().iter().any(|output| output.name == "features") {
                return Err(Error::BadModel {
                    model: self.name.into(),
                    reason: "has no output 'features' to take distances of; export it with one, or use 'oltr adopt'"
                        .into(),
                }
                .into());
            }
            let known = |split: &str| -> oltr::Result<Vec<Label>> {
                Ok(self.study.split(split)?.into_iter().filter(|label| label.known).collect())
            };
            let train = known("train")?;
            if train.is_empty() {
                return Err(Error::BadInput {
                    subject: "labels".into(),
                    reason: "has no known photo in the split 'train'; the distances are measured from those".into(),
                }
                .into());
            }
            warn_of_missing(bundle, &train);
            let Some(train) = self.infer(&model, &train)? else { return Ok(Exit::Success) };
            let photos = self.study.split("val")?;
            let Some(val) = self.infer(&model, &photos)? else { return Ok(Exit::Success) };
            let temperature = fit_temperature(&val.records, 1.0).unwrap_or(1.0);
            let settings = self.settings(Choice::Rule(Rule::Reachability));
            let mut weigh = |bundle: &Bundle, records: &[inference::Record]| worth(bundle, &photos, records, &settings);
            let made_of = adopt::Photos { train: &train.records, val: &val.records, temperature };
            let (with, shape, weighed) = with_metric(self.name, opened, bundle, &made_of, limits, &mut weigh)?;
            log::info!("metric: {shape}");
            weighed.iter().for_each(|weighed| log::info!("weighed on val: {}", worth_text(weighed)));
            bytes = with;
        }
        let model = Model::undivided(self.name, &bytes, &options)?;
        let bundle = model.try_bundle()?;
        let photos = self.study.split("val")?;
        let keep = inference::Options { logits: true, ..inference::Options::default() };
        let Some(run) = self.study.run_keeping(&model, &photos, keep)? else { return Ok(Exit::Success) };
        let run = whole(run)?;
        let hash = model::graph_sha256(self.name, &bytes, limits)?;
        let settings = Settings { graph_sha256: &hash, ..self.settings(self.choice) };
        let calibrated = calibrate(bundle, &photos, &run.records, &settings)?;
        for warning in &calibrated.warnings {
            log::warn!("{warning}");
        }
        let bytes = model::with_open(self.name, &bytes, &calibrated.open, limits)?;
        // Check that it loads before it is written.
        Model::from_bytes(self.name, &bytes, &options)?;
        atomic::write(self.output, &bytes)?;
        let output = self.output.display().to_string();
        let report = Report::new(&output, &bundle.open, &calibrated);
        let mut out = Output::new();
        if self.common.json {
            out.json(&report)?;
        } else {
            report.print(&mut out)?;
            out.line("")?;
            out.field("wrote", &output)?;
            out.field("next", "oltr evaluate says how good it is on the split test")?;
        }
        Ok(Exit::Success)
    }

    fn settings(&self, choice: Choice) -> Settings<'static> {
        Settings {
            target: self.target,
            choice: Some(choice),
            per_class: PerClass::Auto,
            names: None,
            split: "val",
            graph_sha256: "",
        }
    }

    fn infer(&self, model: &Model, photos: &[Label]) -> anyhow::Result<Option<InferenceRun>> {
        let keep = inference::Options { logits: true, features: true, ..inference::Options::default() };
        self.study.run_keeping(model, photos, keep)?.map(whole).transpose()
    }
}

/// Returns `run` if every photo could be read: distances and thresholds from a part of the photos would not match
/// the labels.
fn whole(run: InferenceRun) -> anyhow::Result<InferenceRun> {
    let InferenceRun { failures, .. } = run;
    match failures.into_iter().next() {
        Some((_, error)) => Err(error.into()),
        None => Ok(InferenceRun { failures: Vec::new(), ..run }),
    }
}

/// Warns of classes without photos: no frame will be near them.
fn warn_of_missing(bundle: &Bundle, train: &[Label]) {
    let seen: BTreeSet<&str> = train.iter().map(|label| label.class.as_str()).collect();
    let missing: Vec<&str> =
        bundle.classes.iter().filter(|c| !seen.contains(&*c.id) && !seen.contains(&*c.name)).map(|c| &*c.id).collect();
    if let Some(first) = missing.first() {
        log::warn!(
            "{} without a photo in the split 'train', '{}' for one: distances to it rest on the network alone",
            counted(missing.len(), "class"),
            printable(first)
        );
    }
}

fn worth_text(weighed: &Weighed) -> String {
    let Weighed { shape, worth, difference } = weighed;
    let less = match difference {
        None => "chosen".into(),
        Some([low, high]) => format!("worth less by {:.1} to {:.1} points (95 %)", low * 100.0, high * 100.0),
    };
    format!("{shape}: worth {:.1} points, {less}", worth * 100.0)
}

fn found_text(found: &Found) -> String {
    format!(
        "pictures of {0}x{0}, channels {1}; logits '{2}'{3}; features {4}",
        found.size,
        if found.channels_last { "last" } else { "first" },
        printable(&found.logits),
        if found.softmax { " before the softmax" } else { "" },
        found.features.as_ref().map_or("none".into(), |name| format!("'{}'", printable(name)))
    )
}

/// The classes in the order of the logits: from `--classes`, else the known ones of the labels, sorted by id.
fn classes(args: &AdoptArgs, labels: &[Label]) -> anyhow::Result<Vec<Class>> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for label in labels.iter().filter(|label| label.known) {
        *counts.entry(&label.class).or_default() += u64::from(label.split == "train");
    }
    let Some(path) = &args.classes else {
        return Ok(counts
            .into_iter()
            .map(|(id, train_count)| Class { id: id.into(), name: id.into(), train_count })
            .collect());
    };
    let bad = |reason: String| Error::BadInput { subject: path.display().to_string(), reason };
    let text = read::text(path, MAX_CLASSES_FILE)?;
    let mut seen = BTreeSet::new();
    let mut classes = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (id, name) = line.split_once('\t').unwrap_or((line, line));
        if !seen.insert(id) {
            return Err(bad(format!("names the class '{id}' twice")).into());
        }
        let train_count = counts.get(id).or_else(|| counts.get(name)).copied().unwrap_or(0);
        classes.push(Class { id: id.into(), name: name.into(), train_count });
    }
    let names: BTreeSet<&str> = classes.iter().flat_map(|c| [&*c.id, &*c.name]).collect();
    let lacking: Vec<&str> = counts.keys().copied().filter(|id| !names.contains(id)).collect();
    if let Some(first) = lacking.first() {
        return Err(bad(format!(
            "lacks {} of the labels, '{first}' for one; write ids as the labels do, or give such photos the role unknown",
            counted(lacking.len(), "known class")
        ))
        .into());
    }
    Ok(classes)
}

fn preprocess(args: &AdoptArgs, size: u32) -> Preprocess {
    let (mean, std) = args.preset.values();
    Preprocess {
        size,
        resize: args.resize.into(),
        resize_to: args.resize_to,
        mean: args.mean.unwrap_or(mean),
        std: args.std.unwrap_or(std),
        pad_color: None,
    }
}
