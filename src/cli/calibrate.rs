//! `oltr calibrate`: chooses the thresholds of a bundle from labelled photos.

use std::collections::BTreeMap;
use std::path::Path;

use oltr::bundle::{Bundle, Rule, Taxonomy};
use oltr::calibrate::{
    Calibrated, Calibration, Choice, Named, Names, PerClass, Settings, Weighed, calibrate, only_names,
};
use oltr::scores::ScoreKind;
use oltr::text::counted;
use oltr::{Error, Model, atomic, inference, model};
use serde::Serialize;

use super::args::{CalibrateArgs, Common};
use super::exit::Exit;
use super::output::Output;
use super::read;
use super::study::{Study, percent};
use super::table::{Align, Cell, Column, Shrink, Table};

/// Default share of right names of each rank.
const NAMES: f64 = 0.9;

/// Message if names are requested but the bundle has no taxa.
const WITHOUT_TAXA: &str = "the bundle has no taxa to name photos by; name a table of them with --taxonomy";

/// Runs the command.
pub fn run(args: &CalibrateArgs, common: &Common) -> anyhow::Result<Exit> {
    let input = common.model(args.file.as_deref());
    refuse_same(input, &args.output)?;
    let study = Study::new(&args.photos, &args.split, common)?;
    let options = common.options();
    let limits = &options.limits;
    let (name, bytes) = common.model_bytes(args.file.as_deref())?;
    let load = if args.names_only { Model::from_bytes } else { Model::undivided };
    let model = load(&name, &bytes, &options)?;
    let table = read::taxonomy(args.taxonomy.as_deref())?;
    let bundle = model.try_bundle()?;
    let named = named(bundle, table.as_ref())?;
    let bundle = named.as_ref().unwrap_or(bundle);
    let keep = inference::Options { logits: true, ..inference::Options::default() };
    let Some(run) = study.run_keeping(&model, &study.photos, keep)? else { return Ok(Exit::Success) };
    if let Some((_, error)) = run.failures.into_iter().next() {
        // Thresholds from a part of the photos would not match the labels file.
        return Err(error.into());
    }
    let settings = Settings {
        target: args.target,
        choice: args.score.or(args.rule.map(|rule| Choice::Rule(rule.into()))),
        per_class: match (args.per_class, args.no_per_class) {
            (true, _) => PerClass::Always,
            (false, true) => PerClass::Never,
            (false, false) => PerClass::Auto,
        },
        names: names(args, bundle, table.as_ref())?,
        split: &args.split,
        graph_sha256: &model::graph_sha256(&name, &bytes, limits)?,
    };
    let calibrated = match settings.names {
        Some(names) if args.names_only => only_names(bundle, &study.photos, &run.records, &names)?,
        None if args.names_only => return Err(Error::Config(WITHOUT_TAXA.into()).into()),
        _ => calibrate(bundle, &study.photos, &run.records, &settings)?,
    };
    for warning in &calibrated.warnings {
        log::warn!("{warning}");
    }
    let mut new = model::with_open(&name, &bytes, &calibrated.open, limits)?;
    if let Some(taxonomy) = named.as_ref().and_then(|bundle| bundle.taxonomy.as_ref()) {
        new = model::with_metadata(&name, &new, &[(Taxonomy::KEY.into(), taxonomy.to_json())].into(), limits)?;
    }
    atomic::write(&args.output, &new)?;

    let output = args.output.display().to_string();
    let report = Report::new(&output, &bundle.open, &calibrated);
    let mut out = Output::new();
    if common.json {
        out.json(&report)?;
    } else {
        report.print(&mut out)?;
        out.line("")?;
        out.field("wrote", &output)?;
        out.field("next", "oltr evaluate with both bundles (--compare) says what the new one decides differently")?;
    }
    Ok(Exit::Success)
}

/// `bundle` with the taxa of its classes from `table`.
fn named(bundle: &Bundle, table: Option<&Taxonomy>) -> oltr::Result<Option<Bundle>> {
    let Some(table) = table else { return Ok(None) };
    match table.restricted(&bundle.classes) {
        Some(taxonomy) => Ok(Some(Bundle { taxonomy: Some(taxonomy), ..bundle.clone() })),
        None => Err(Error::BadInput {
            subject: "table of taxa".into(),
            reason: "says nothing of any class of the bundle; write ids as 'oltr inspect --classes' lists them".into(),
        }),
    }
}

/// The settings of names, if the bundle has taxa and they are requested.
fn names<'a>(args: &CalibrateArgs, bundle: &'a Bundle, table: Option<&'a Taxonomy>) -> oltr::Result<Option<Names<'a>>> {
    let Some(own) = &bundle.taxonomy else {
        return match args.names {
            None => Ok(None),
            Some(_) => Err(Error::Config(WITHOUT_TAXA.into())),
        };
    };
    let before = bundle.open.names.as_ref().map(|names| names.share);
    let share = args.names.or(before).unwrap_or(NAMES);
    Ok(Some(Names { share, taxonomy: table.unwrap_or(own) }))
}

/// Refuses to replace the input: the new bundle could not be compared with it.
pub fn refuse_same(input: Option<&Path>, output: &Path) -> oltr::Result<()> {
    let same = |input: &Path| match (input.canonicalize(), output.canonicalize()) {
        (Ok(input), Ok(output)) => input == output,
        _ => input == output,
    };
    match input.filter(|input| same(input)) {
        Some(input) => Err(Error::Config(format!(
            "--output is the model itself ({}); write the new bundle beside it, compare, then replace it",
            input.display()
        ))),
        None => Ok(()),
    }
}

/// `oltr.calibration/1`.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    schema: &'static str,
    output: &'a str,
    rule: Rule,
    reachability: f32,
    probability: f32,
    /// Reachability threshold before.
    reachability_before: f32,
    per_class: Option<&'a BTreeMap<String, f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<f32>,
    /// Divisor of the logits.
    temperature: f32,
    calibration: &'a Calibration,
    warnings: &'a [String],
}

impl<'a> Report<'a> {
    /// The report on `calibrated`, written to `output`.
    pub fn new(output: &'a str, before: &oltr::bundle::Open, calibrated: &'a Calibrated) -> Report<'a> {
        let open = &calibrated.open;
        Report {
            schema: "oltr.calibration/1",
            output,
            rule: open.rule,
            reachability: open.reachability,
            probability: open.probability,
            reachability_before: before.reachability,
            per_class: open.per_class.as_ref(),
            limit: open.limit,
            temperature: open.temperature(),
            calibration: &calibrated.calibration,
            warnings: &calibrated.warnings,
        }
    }

    /// For people.
    pub fn print(&self, out: &mut Output) -> anyhow::Result<()> {
        let c = self.calibration;
        let interval = |interval: Option<[f64; 2]>| match interval {
            Some([low, high]) => format!("{:.1} to {:.1} %", low * 100.0, high * 100.0),
            None => "–".into(),
        };
        out.paragraph(
            0,
            &format!(
                "{} on {} of {} and {} unknown of {}",
                c.target,
                counted(c.data.known, "known photo"),
                counted(c.data.known_classes, "class"),
                c.data.open,
                c.data.open_classes
            ),
        )?;
        let threshold = match self.rule {
            Rule::MaxProbability => format!("probability {}", self.probability),
            Rule::Reachability => format!("reachability {}", self.reachability),
            Rule::Both => format!("reachability {} and probability {}", self.reachability, self.probability),
            other => format!("{} {}", ScoreKind::of_rule(other).name(), self.limit.unwrap_or_default()),
        };
        let before = format!(" (reachability before: {})", self.reachability_before);
        let classes =
            self.per_class.map_or(String::new(), |p| format!("; {} with their own", counted(p.len(), "class")));
        out.paragraph(0, &format!("threshold: {threshold}{classes}{before}"))?;
        out.paragraph(0, &format!("temperature: {} (logits are divided by it)", self.temperature))?;
        let rows: Vec<Vec<Cell>> = [
            ("known photos accepted", percent(c.reached.known_accepted), interval(c.promised.known_accepted)),
            ("unknown photos called open", percent(c.reached.open_rejected), interval(c.promised.open_rejected)),
            ("F-measure", percent(c.reached.f_measure), interval(c.promised.f_measure)),
        ]
        .into_iter()
        .map(|(name, here, promised)| vec![name.into(), here.into(), promised.into()])
        .collect();
        let columns = vec![
            Column::new("SHARE OF", Align::Left, Shrink::Never),
            Column::new("ON THESE", Align::Right, Shrink::Never),
            Column::new("ON AS MANY OTHERS (95 %)", Align::Left, Shrink::Middle),
        ];
        print_table(out, columns, &rows)?;
        self.print_names(out)?;
        self.print_weighed(out)
    }

    /// Prints the names by rank.
    fn print_names(&self, out: &mut Output) -> anyhow::Result<()> {
        let row = |named: &Named| -> Vec<Cell> {
            let of = format!("{}{}", if named.open { "open, near " } else { "" }, named.rank.word());
            let right = named.right as f64 / named.told.max(1) as f64;
            let promised = named
                .promised
                .map_or("–".into(), |[low, high]| format!("{:.1} to {:.1} %", low * 100.0, high * 100.0));
            vec![of.into(), named.told.to_string().into(), percent(Some(right)).into(), promised.into()]
        };
        let rows: Vec<Vec<Cell>> = self.calibration.names.iter().map(row).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let columns = vec![
            Column::new("NAMES OF RANK", Align::Left, Shrink::Middle),
            Column::new("TOLD", Align::Right, Shrink::Never),
            Column::new("RIGHT", Align::Right, Shrink::Never),
            Column::new("OF OTHERS (95 %)", Align::Left, Shrink::Middle),
        ];
        print_table(out, columns, &rows)
    }

    /// The rules that were weighed, the chosen one first.
    fn print_weighed(&self, out: &mut Output) -> anyhow::Result<()> {
        let mut weighed: Vec<&Weighed> = self.calibration.weighed.iter().collect();
        if weighed.is_empty() {
            return Ok(());
        }
        weighed.sort_by(|a, b| a.difference.is_some().cmp(&b.difference.is_some()).then(b.worth.total_cmp(&a.worth)));
        let row = |w: &Weighed| -> Vec<Cell> {
            let name = if w.per_class { format!("{}, each class its own", w.score) } else { w.score.clone() };
            let less = match w.difference {
                Some([low, high]) => format!("{:.1} to {:.1} points", low * 100.0, high * 100.0),
                None => "chosen".into(),
            };
            let cells = [name, percent(Some(w.open_rejected)), percent(Some(w.open_set_macro)), less];
            cells.into_iter().map(Into::into).collect()
        };
        let rows: Vec<Vec<Cell>> = weighed.into_iter().map(row).collect();
        let columns = vec![
            Column::new("SCORE", Align::Left, Shrink::Middle),
            Column::new("OPEN", Align::Right, Shrink::Never),
            Column::new("NAMED", Align::Right, Shrink::Never),
            Column::new("WORTH LESS (95 %)", Align::Left, Shrink::Middle),
        ];
        print_table(out, columns, &rows)
    }
}

/// A table after an empty line.
fn print_table(out: &mut Output, columns: Vec<Column>, rows: &[Vec<Cell>]) -> anyhow::Result<()> {
    let table = Table::fit(columns, rows, out.width());
    out.line("")?;
    out.line(&table.header())?;
    rows.iter().try_for_each(|row| out.line(&table.row(row)))
}
