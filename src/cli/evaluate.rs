//! `oltr evaluate`: measures a bundle on labelled photos.

use std::collections::HashMap;
use std::path::Path;

use oltr::DisplayNames;
use oltr::bundle::{Bundle, Rule};
use oltr::evaluate::{Comparison, Evaluation, GateResult, Subject, Told, compare};
use oltr::inference::{self, InferenceRun, answers};
use oltr::metrics::{Answer, Interval, McNemar};
use oltr::scores::ScoreKind;
use oltr::text::counted;
use oltr::{Error, Model};
use serde::Serialize;

use super::args::{Common, EvaluateArgs};
use super::exit::Exit;
use super::output::{BAD, GOOD, Output, TITLE};
use super::read;
use super::report;
use super::study::{Study, figure, percent};
use super::table::{Align, Cell, Column, Shrink, Table, printable, shorten};

/// Terminal cells of the name of a bundle or split in a sentence.
const SUBJECT: usize = 30;

/// Rows of a table of weak classes and of mistakes.
const ROWS: usize = 8;

/// Runs the command.
pub fn run(args: &EvaluateArgs, common: &Common) -> anyhow::Result<Exit> {
    if args.compare.is_none() && args.gate.iter().any(|gate| gate.to_string().starts_with("drift")) {
        return Err(
            Error::Config("a gate on drift compares two bundles; name the other one with --compare".into()).into()
        );
    }
    let study = Study::new(&args.photos, &args.split, common)?;
    let model = common.load(args.file.as_deref())?;
    let bundle = model.try_bundle()?;
    let taxonomy = read::taxonomy(args.taxonomy.as_deref())?.or(bundle.taxonomy.clone()).unwrap_or_default();
    let listed = read::listed(args.species_list.as_deref(), bundle)?;
    let keep = inference::Options {
        logits: bundle.open.names.is_some(),
        listed: listed.as_ref(),
        ..inference::Options::default()
    };
    let Some(run) = study.run_keeping(&model, &study.photos, keep)? else { return Ok(Exit::Success) };
    let subject = Subject {
        bundle,
        sha256: model.sha256(),
        split: &args.split,
        labels: &study.photos,
        cluster: args.photos.cluster.as_deref(),
        taxonomy: &taxonomy,
    };
    let evaluation = Evaluation::new(&subject, &run)?;
    let comparison = match &args.compare {
        Some(path) => match Compared::new(path, common, &study, bundle, &run)? {
            Some(compared) => Some(compared),
            None => return Ok(Exit::Success),
        },
        None => None,
    };
    let names = DisplayNames::new(bundle);
    let mut document = Document { evaluation: &evaluation, comparison, gates: Vec::new(), names, written: None };
    let figures = serde_json::to_value(&document)?;
    document.gates = args.gate.iter().map(|gate| gate.check(&figures)).collect::<oltr::Result<_>>()?;

    if let Some(folder) = &args.report {
        let remarks = document.remarks();
        let (labels, records, images) = (&study.photos[..], &run.records[..], study.images());
        let (names, failures) = (&document.names, &run.failures[..]);
        let evaluation = &evaluation;
        let material = report::Material { bundle, names, evaluation, labels, records, failures, images, remarks };
        let written = report::write(folder, &material, &common.options().limits)?;
        log::info!("wrote {}", written.page.display());
        document.written = Some(written);
    }
    let mut out = Output::new();
    if common.json {
        out.json(&document)?;
    } else {
        document.print(&mut out)?;
    }
    let failed = document.gates.iter().any(|gate| !gate.met);
    Ok(match (failed, run.failures.is_empty()) {
        (true, _) => Exit::Differs,
        (false, true) => Exit::Success,
        (false, false) => Exit::Data,
    })
}

/// The printed `oltr.evaluation/1`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    evaluation: &'a Evaluation,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<Compared>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gates: Vec<GateResult>,
    /// Display names of the classes.
    #[serde(skip)]
    names: DisplayNames,
    /// The files of the report.
    #[serde(skip)]
    written: Option<report::Written>,
}

/// The other bundle, and the differences.
#[derive(Debug, Serialize)]
struct Compared {
    other: String,
    other_sha256: String,
    #[serde(flatten)]
    comparison: Comparison,
}

impl Compared {
    /// Runs the bundle at `path` on the photos of `study`; `None` if a signal requested a stop.
    fn new(
        path: &Path,
        common: &Common,
        study: &Study,
        first: &Bundle,
        run: &InferenceRun,
    ) -> anyhow::Result<Option<Compared>> {
        let other = common.load(Some(path))?;
        let Some(theirs) = study.run(&other)? else { return Ok(None) };
        let theirs_by_photo = by_photo(&other, first, &theirs)?;
        let ours = answers(first, &run.records);
        // Photos that only one of the bundles could read are in neither list.
        let pairs = run.records.iter().zip(ours);
        let (a, b): (Vec<_>, Vec<_>) = pairs.filter_map(|(r, a)| Some((a, *theirs_by_photo.get(&r.photo)?))).unzip();
        let comparison = compare(&a, &b)?;
        let (other, other_sha256) = (other.name().to_string(), other.sha256().to_string());
        Ok(Some(Compared { other, other_sha256, comparison }))
    }
}

/// The answers of `model` by photo, with class indices of `first`. Classes that `first` lacks follow.
fn by_photo(model: &Model, first: &Bundle, run: &InferenceRun) -> oltr::Result<HashMap<usize, Answer>> {
    let other = model.try_bundle()?;
    let mut positions: HashMap<&str, usize> =
        first.classes.iter().enumerate().map(|(i, c)| (c.id.as_str(), i)).collect();
    let mut place = |class: usize| {
        let next = positions.len();
        *positions.entry(other.classes[class].id.as_str()).or_insert(next)
    };
    let all: Vec<usize> = (0..other.classes.len()).map(&mut place).collect();
    let answers = answers(other, &run.records);
    let answer = |a: Answer| Answer { truth: a.truth.map(|t| all[t]), label: all[a.label], open: a.open };
    Ok(run.records.iter().zip(answers).map(|(record, a)| (record.photo, answer(a))).collect())
}

impl Document<'_> {
    /// Comparison and gates in sentences.
    fn remarks(&self) -> Vec<String> {
        let compared =
            self.comparison.iter().map(|c| format!("Compared with {}: {}.", c.other, c.sentences().join("; ")));
        compared.chain(self.gates.iter().map(sentence)).collect()
    }

    fn print(&self, out: &mut Output) -> anyhow::Result<()> {
        let e = self.evaluation;
        let (name, split) = (shorten(&e.model.name, SUBJECT), shorten(&e.split, SUBJECT));
        let of = e.classes.iter().filter(|c| c.photos > 0).count();
        out.paragraph(
            0,
            &format!(
                "{name} on '{split}': {} of {}, {} unknown of {}",
                counted(e.known, "known photo"),
                counted(of, "class"),
                e.open,
                e.open_classes.len()
            ),
        )?;
        self.accuracies(out)?;
        self.open_figures(out)?;
        self.scores(out)?;
        self.names(out)?;
        self.weakest(out)?;
        self.taken_for_known(out)?;
        if let Some(compared) = &self.comparison {
            out.line(&format!("\n{TITLE}COMPARED WITH{TITLE:#} {}", printable(&compared.other)))?;
            compared.sentences().iter().try_for_each(|sentence| out.paragraph(0, sentence))?;
        }
        for gate in &self.gates {
            let style = if gate.met { GOOD } else { BAD };
            out.line(&format!("{style}{}{style:#}", printable(&sentence(gate))))?;
        }
        if let Some(report::Written { page, answers }) = &self.written {
            out.line("")?;
            out.field("report", &page.display().to_string())?;
            out.field("all answers", &answers.display().to_string())?;
        }
        let t = e.throughput;
        log::info!(
            "{:.1} photos/s, {} at a time; of each {:.1} ms decode, {:.1} ms preprocess, {:.1} ms inference",
            t.photos_per_second,
            t.jobs,
            t.decode_ms,
            t.preprocess_ms,
            t.inference_ms
        );
        Ok(())
    }

    fn accuracies(&self, out: &mut Output) -> anyhow::Result<()> {
        let (closed, open) = (&self.evaluation.closed, &self.evaluation.open_set);
        let rows = [
            ("all photos", closed.top1, "closed.top1", open.top1, "open_set.top1"),
            ("mean of classes", closed.overall_macro, "closed.overall_macro", open.overall_macro, ""),
            ("many-shot classes", closed.many, "", open.many, ""),
            ("medium-shot classes", closed.medium, "", open.medium, ""),
            ("few-shot classes", closed.few, "", open.few, ""),
        ];
        let rows: Vec<Vec<Cell>> = rows
            .into_iter()
            .map(|(name, closed, c, open, o)| {
                vec![name.into(), self.with_interval(closed, c).into(), self.with_interval(open, o).into()]
            })
            .collect();
        section(out, &["ACCURACY", "CLOSED SET", "OPEN SET"], &rows)
    }

    fn open_figures(&self, out: &mut Output) -> anyhow::Result<()> {
        let e = self.evaluation;
        let o = &e.open_set;
        let f = format!("F-measure ({})", o.f_formula);
        let rule = match e.rule.rule {
            Rule::Both => "reachability and probability",
            rule => ScoreKind::of_rule(rule).name(),
        };
        let thresholds = match (e.rule.rule, e.rule.per_class) {
            (Rule::MaxProbability, _) => format!("{}", e.rule.probability),
            (Rule::Reachability, 0) => format!("{}", e.rule.reachability),
            (Rule::Both, 0) => format!("{} and {}", e.rule.reachability, e.rule.probability),
            (Rule::Reachability | Rule::Both, n) => format!("{n} of classes, {} for others", e.rule.reachability),
            _ => format!("{}", e.rule.limit.unwrap_or_default()),
        };
        let calibration_error = match e.closed.calibration_error_unscaled {
            Some(before) if e.rule.temperature != 1.0 => {
                format!(
                    "{} ({before:.3} without the temperature of {})",
                    figure(e.closed.calibration_error),
                    e.rule.temperature
                )
            }
            _ => figure(e.closed.calibration_error),
        };
        let rows = [
            (f.as_str(), figure(o.f_measure), "open_set.f_measure"),
            ("  precision", figure(o.precision), ""),
            ("  recall", figure(o.recall), ""),
            ("known called open", percent(o.known_called_open), "open_set.known_called_open"),
            ("open called known", percent(o.open_called_known), "open_set.open_called_known"),
            ("calibration error", calibration_error, ""),
            ("rule", format!("{rule}, threshold {thresholds}"), ""),
        ];
        let rows: Vec<Vec<Cell>> = rows
            .into_iter()
            .map(|(name, value, path)| {
                vec![name.into(), format!("{value}{}", self.interval(path, value.contains('%'))).into()]
            })
            .collect();
        section(out, &["OPEN SET", "VALUE"], &rows)
    }

    fn scores(&self, out: &mut Output) -> anyhow::Result<()> {
        if self.evaluation.open == 0 || self.evaluation.known == 0 {
            return out.line("\nno photos of unknown classes: the open-set figures are not defined");
        }
        let rows: Vec<Vec<Cell>> = ScoreKind::ALL
            .into_iter()
            .map(|kind| {
                let s = &self.evaluation.scores[kind.name()];
                vec![kind.name().into(), figure(s.auroc).into(), figure(s.fpr95).into(), figure(s.oscr).into()]
            })
            .collect();
        section(out, &["SCORE", "AUROC", "FPR95", "OSCR"], &rows)
    }

    /// Figures of names above the classes.
    fn names(&self, out: &mut Output) -> anyhow::Result<()> {
        let Some(names) = &self.evaluation.names else { return Ok(()) };
        let ranks = |told: &Told| {
            let of = told.ranks.iter().map(|of| format!("{} {} ({} right)", of.rank.word(), of.told, of.right));
            let none = (told.unnamed > 0).then(|| format!("none {}", told.unnamed));
            of.chain(none).collect::<Vec<_>>().join(", ")
        };
        let rows: Vec<Vec<Cell>> = [
            ("known, class right", &names.known_right),
            ("known, class wrong", &names.known_wrong),
            ("known, called open", &names.known_open),
            ("unknown, taken for known", &names.unknown_accepted),
            ("unknown, called open", &names.unknown_open),
        ]
        .into_iter()
        .map(|(what, told)| vec![what.into(), told.photos.to_string().into(), ranks(told).into()])
        .collect();
        section(out, &["PHOTOS", "NUMBER", "NAMED BY"], &rows)
    }

    fn weakest(&self, out: &mut Output) -> anyhow::Result<()> {
        let mut classes: Vec<_> =
            self.evaluation.classes.iter().filter(|c| c.open_set.is_some_and(|a| a < 1.0)).collect();
        classes.sort_by(|a, b| a.open_set.partial_cmp(&b.open_set).unwrap_or(std::cmp::Ordering::Equal));
        let rows: Vec<Vec<Cell>> = classes
            .into_iter()
            .take(ROWS)
            .map(|c| {
                vec![
                    self.names.of_id(&c.class).into(),
                    percent(c.open_set).into(),
                    percent(c.closed).into(),
                    format!("{} of {}", c.called_open, c.photos).into(),
                    c.train_count.to_string().into(),
                ]
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        section(out, &["WEAKEST CLASSES", "OPEN SET", "CLOSED SET", "CALLED OPEN", "TRAINED ON"], &rows)
    }

    fn taken_for_known(&self, out: &mut Output) -> anyhow::Result<()> {
        let mut classes: Vec<_> = self.evaluation.open_classes.iter().filter(|c| !c.taken_for.is_empty()).collect();
        classes.sort_by(|a, b| (a.called_open * b.photos).cmp(&(b.called_open * a.photos)));
        let rows: Vec<Vec<Cell>> = classes
            .into_iter()
            .take(ROWS)
            .map(|c| {
                let most = &c.taken_for[0];
                vec![
                    c.class.as_str().into(),
                    format!("{} of {}", c.called_open, c.photos).into(),
                    format!("{} ({})", self.names.of_id(&most.class), most.photos).into(),
                ]
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        section(out, &["UNKNOWN CLASSES", "CALLED OPEN", "MOSTLY TAKEN FOR"], &rows)
    }

    fn with_interval(&self, share: Option<f64>, path: &str) -> String {
        format!("{}{}", percent(share), self.interval(path, true))
    }

    /// The interval of the figure at `path` in brackets, if it has one.
    fn interval(&self, path: &str, percent: bool) -> String {
        match self.evaluation.intervals.of.get(path) {
            Some(Some(Interval { low, high })) if percent => format!(" ({:.1}–{:.1})", low * 100.0, high * 100.0),
            Some(Some(Interval { low, high })) => format!(" ({low:.3}–{high:.3})"),
            _ => String::new(),
        }
    }
}

impl Compared {
    fn sentences(&self) -> [String; 2] {
        let c = &self.comparison;
        let kinds = [
            (c.known_to_open, "known here and open there"),
            (c.open_to_known, "open here and known there"),
            (c.other_class, "of another class"),
        ];
        let kinds: Vec<String> = kinds.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        let kinds = if kinds.is_empty() { String::new() } else { format!(": {}", kinds.join(", ")) };
        let McNemar { only_first, only_second, p } = c.mcnemar;
        [
            format!("{} of {} differ ({:.2} %){kinds}", c.changed, counted(c.photos, "decision"), c.drift * 100.0),
            format!(
                "right only here: {}, right only there: {only_second}; McNemar's p = {p:.3}",
                counted(only_first, "photo")
            ),
        ]
    }
}

/// Result of a gate as a sentence.
fn sentence(gate: &GateResult) -> String {
    let value = gate.value.map_or("not defined".into(), |v| format!("{v:.4}"));
    format!("gate {}: {value}, {}", gate.gate, if gate.met { "met" } else { "NOT MET" })
}

/// A table with an empty line before it, its first column to the left, the others to the right.
fn section(out: &mut Output, titles: &[&'static str], rows: &[Vec<Cell>]) -> anyhow::Result<()> {
    let mut columns = vec![Column::new(titles[0], Align::Left, Shrink::Middle)];
    columns.extend(titles[1..].iter().map(|title| Column::new(title, Align::Left, Shrink::Middle)));
    let table = Table::fit(columns, rows, out.width());
    out.line("")?;
    out.line(&table.header())?;
    rows.iter().try_for_each(|row| out.line(&table.row(row)))
}
