//! `oltr inspect`: the contents of a model, and how it runs here.

mod card;

use std::collections::BTreeMap;

use oltr::DisplayNames;
use oltr::Model;
use oltr::bundle::{Bundle, Open, Preprocess, Resize, Rule, Shot, Subject};
use oltr::model::{Coverage, Port, Step, Summary};
use oltr::scores::ScoreKind;
use serde::Serialize;
use serde_json::Value;

use super::args::{Common, InspectArgs};
use super::exit::Exit;
use super::output::{Output, TITLE, bytes, shape};
use super::table::{Align, Cell, Column, Shrink, Table, printable, shorten};

/// Runs the command.
pub fn run(args: &InspectArgs, common: &Common) -> anyhow::Result<Exit> {
    let model = common.load(args.file.as_deref())?;
    let report = Report::new(&model);
    let mut out = Output::new();
    if common.json {
        out.json(&report)?;
    } else {
        report.print_head(&mut out)?;
        match (args.card, args.classes) {
            (false, false) => report.print(&mut out)?,
            (card, classes) => {
                if classes {
                    report.print_classes(&mut out)?;
                }
                if card {
                    card::print(report.bundle.as_ref().map_or(&Value::Null, |bundle| bundle.card), &mut out)?;
                }
            }
        }
    }
    Ok(Exit::Success)
}

/// `oltr.inspect/1`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: &'static str,
    model: &'a str,
    sha256: &'a str,
    file_bytes: u64,
    /// `null` for a graph that is no bundle.
    bundle: Option<BundleReport<'a>>,
    inputs: Vec<PortReport<'a>>,
    outputs: Vec<PortReport<'a>>,
    quantisation: &'a str,
    operators: &'a BTreeMap<String, usize>,
    isa: &'a str,
    memory: Memory,
    steps: &'a [Step],
    /// All metadata of the file, unchanged.
    metadata: &'a BTreeMap<String, String>,
    /// How much runs in int8.
    int8: &'a Coverage,
}

#[derive(Debug, Serialize)]
struct PortReport<'a> {
    name: &'a str,
    shape: &'a [usize],
}

#[derive(Debug, Serialize)]
struct Memory {
    weights_bytes: u64,
    arena_bytes: u64,
    scratch_bytes: u64,
}

#[derive(Debug, Serialize)]
struct BundleReport<'a> {
    name: &'a str,
    groups: Groups,
    classes: Vec<ClassReport<'a>>,
    #[serde(skip)]
    names: DisplayNames,
    preprocess: &'a Preprocess,
    open: &'a Open,
    card: &'a serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'static str>,
}

/// Classes of each shot group.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Groups {
    many: usize,
    medium: usize,
    few: usize,
}

#[derive(Debug, Serialize)]
struct ClassReport<'a> {
    id: &'a str,
    name: &'a str,
    train_count: u64,
    shot: Shot,
}

impl<'a> Report<'a> {
    fn new(model: &'a Model) -> Report<'a> {
        let Summary {
            file_bytes,
            isa,
            weights_bytes,
            arena_bytes,
            scratch_bytes,
            operators,
            quantisation,
            coverage,
            steps,
        } = model.summary();
        Report {
            schema: "oltr.inspect/1",
            model: model.name(),
            sha256: model.sha256(),
            file_bytes: *file_bytes,
            bundle: model.bundle().map(BundleReport::new),
            inputs: ports(model.inputs()),
            outputs: ports(model.outputs()),
            quantisation,
            int8: coverage,
            operators,
            isa,
            memory: Memory { weights_bytes: *weights_bytes, arena_bytes: *arena_bytes, scratch_bytes: *scratch_bytes },
            steps,
            metadata: model.metadata(),
        }
    }

    /// Which model it is.
    fn print_head(&self, out: &mut Output) -> anyhow::Result<()> {
        let size = bytes(self.file_bytes);
        let name = printable(self.model);
        let name = shorten(&name, out.width().saturating_sub(size.len() + 2));
        out.line(&format!("{TITLE}{name}{TITLE:#}, {size}"))?;
        out.field("sha256", self.sha256)
    }

    fn print(&self, out: &mut Output) -> anyhow::Result<()> {
        out.field("inputs", &list(&self.inputs))?;
        out.field("outputs", &list(&self.outputs))?;
        out.field("quantisation", self.quantisation)?;
        out.field("int8", &printable(&self.int8.to_string()))?;
        out.field("kernels", self.isa)?;
        let Memory { weights_bytes: weights, arena_bytes: arena, scratch_bytes: scratch } = self.memory;
        let sum = bytes(weights.saturating_add(arena).saturating_add(scratch));
        let [weights, arena, scratch] = [weights, arena, scratch].map(bytes);
        out.field("memory", &format!("{sum}: {weights} weights, {arena} arena, {scratch} scratch"))?;
        match &self.bundle {
            Some(bundle) => bundle.print(out)?,
            None => {
                out.field("bundle", "no: the file names no classes (oltr.classes), so it cannot classify photos")?
            }
        }
        let other = self.metadata.iter().filter(|(key, _)| !key.starts_with("oltr."));
        for (key, value) in other {
            out.field(key, value)?;
        }
        self.print_operators(out)?;
        self.print_steps(out)
    }

    /// The classes with their ids, as files of labels name them.
    fn print_classes(&self, out: &mut Output) -> anyhow::Result<()> {
        let Some(bundle) = &self.bundle else {
            return out.field("classes", "none: the file names no classes (oltr.classes)");
        };
        let columns = vec![
            Column::new("ID", Align::Left, Shrink::Middle),
            Column::new("NAME", Align::Left, Shrink::Middle),
            Column::new("TRAINED ON", Align::Right, Shrink::Never),
            Column::new("GROUP", Align::Left, Shrink::Never),
        ];
        let row = |class: &ClassReport<'a>| -> Vec<Cell<'a>> {
            vec![class.id.into(), class.name.into(), class.train_count.to_string().into(), class.shot.word().into()]
        };
        print_table(out, columns, &bundle.classes.iter().map(row).collect::<Vec<_>>())
    }

    fn print_operators(&self, out: &mut Output) -> anyhow::Result<()> {
        let columns = vec![
            Column::new("OPERATOR", Align::Left, Shrink::Middle),
            Column::new("COUNT", Align::Right, Shrink::Never),
        ];
        let rows = self.operators.iter().map(|(name, count)| vec![name.into(), count.to_string().into()]);
        print_table(out, columns, &rows.collect::<Vec<_>>())
    }

    fn print_steps(&self, out: &mut Output) -> anyhow::Result<()> {
        let columns = vec![
            Column::new("STEP", Align::Left, Shrink::Path),
            Column::new("OPERATOR", Align::Left, Shrink::Middle),
            Column::new("TYPE", Align::Left, Shrink::Never),
            Column::new("SHAPE", Align::Left, Shrink::Middle),
            Column::new("MMAC", Align::Right, Shrink::Never),
            Column::new("PROGRAM", Align::Right, Shrink::Never).short("PROG.").spare(1),
            Column::new("KERNEL", Align::Left, Shrink::Middle),
        ];
        let cells = |step: &'a Step| -> Vec<Cell<'a>> {
            let macs = if step.macs > 0 { format!("{:.2}", step.macs as f64 / 1e6) } else { String::new() };
            let (program, kernel) = match step.program {
                Some(program) => (program.to_string(), step.kernel.as_str()),
                None => (String::new(), "tract"),
            };
            let shape = shape(&step.shape);
            vec![
                step.name.as_str().into(),
                step.op.as_str().into(),
                step.dtype.as_str().into(),
                shape.into(),
                macs.into(),
                program.into(),
                kernel.into(),
            ]
        };
        print_table(out, columns, &self.steps.iter().map(cells).collect::<Vec<_>>())
    }
}

impl<'a> BundleReport<'a> {
    fn new(bundle: &'a Bundle) -> BundleReport<'a> {
        let class = |c: &'a oltr::bundle::Class| ClassReport {
            id: &c.id,
            name: &c.name,
            train_count: c.train_count,
            shot: c.shot(),
        };
        BundleReport {
            name: &bundle.name,
            groups: Groups::of(bundle),
            classes: bundle.classes.iter().map(class).collect(),
            names: DisplayNames::new(bundle),
            preprocess: &bundle.preprocess,
            open: &bundle.open,
            card: &bundle.card,
            subject: bundle.subject.map(Subject::word),
        }
    }

    fn print(&self, out: &mut Output) -> anyhow::Result<()> {
        out.field("bundle", self.name)?;
        let Groups { many, medium, few } = self.groups;
        let count = self.classes.len();
        out.field("classes", &format!("{count}: {many} many-shot, {medium} medium-shot, {few} few-shot"))?;
        for shot in [Shot::Many, Shot::Medium, Shot::Few] {
            let of = self.classes.iter().zip(self.names.iter()).filter(|(class, _)| class.shot == shot);
            let names: Vec<_> = of.map(|(_, name)| name).collect();
            if !names.is_empty() {
                out.field(&format!("{}-shot", shot.word()), &names.join(", "))?;
            }
        }
        if let Some(subject) = self.subject {
            out.field(
                "trained on",
                if subject == "crop" { "things cut out of pictures (crop)" } else { "whole pictures (frame)" },
            )?;
        }
        out.field("preprocess", &describe_preprocess(self.preprocess))?;
        out.field("open if", &describe_open(self.open))?;
        if !self.open.calibration.is_null() {
            out.field("calibration", &plain(&self.open.calibration))?;
        }
        out.field("more", "'oltr inspect --classes' lists the ids of the classes, --card shows the card")
    }
}

impl Groups {
    fn of(bundle: &Bundle) -> Groups {
        let mut groups = Groups::default();
        for class in &bundle.classes {
            match class.shot() {
                Shot::Many => groups.many += 1,
                Shot::Medium => groups.medium += 1,
                Shot::Few => groups.few += 1,
            }
        }
        groups
    }
}

fn describe_preprocess(p: &Preprocess) -> String {
    let size = p.size;
    let geometry = match p.resize {
        Resize::ShorterSide => {
            format!("shorter side to {}, centre {size}×{size}", p.resize_to.unwrap_or(size))
        }
        Resize::Pad => format!("longer side to {size}, padded to {size}×{size}"),
        Resize::Stretch => format!("stretched to {size}×{size}"),
    };
    format!("RGB, {geometry}, mean {:?}, standard deviation {:?}", p.mean, p.std)
}

fn describe_open(open: &Open) -> String {
    let reachability = format!("reachability (10 / nearest distance) < {}", open.reachability);
    let probability = format!("largest probability < {}", open.probability);
    let rule = match open.rule {
        Rule::Reachability => reachability,
        Rule::MaxProbability => probability,
        Rule::Both => format!("{reachability} or {probability}"),
        other => format!("{} < {}", ScoreKind::of_rule(other).name(), open.limit.unwrap_or_default()),
    };
    let rule = match open.temperature {
        Some(temperature) => format!("{rule}; logits are divided by {temperature}"),
        None => rule,
    };
    let rule = match open.per_class.as_ref().map_or(0, BTreeMap::len) {
        0 => rule,
        n => format!("{rule}; {n} class(es) with a threshold of their own"),
    };
    match &open.names {
        None => rule,
        Some(names) => {
            format!("{rule}; the narrowest name that is right in {} % of cases is reported", names.share * 100.0)
        }
    }
}

/// `value` on one line: a text unchanged, an object as its entries, anything else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| format!("{key} {}", plain(value))).collect::<Vec<_>>().join(", ")
        }
        value => value.to_string(),
    }
}

fn ports(ports: &[Port]) -> Vec<PortReport<'_>> {
    ports.iter().map(|port| PortReport { name: &port.name, shape: &port.shape }).collect()
}

fn list(ports: &[PortReport]) -> String {
    ports.iter().map(|port| format!("{} {}", port.name, shape(port.shape))).collect::<Vec<_>>().join(", ")
}

fn print_table(out: &mut Output, columns: Vec<Column>, rows: &[Vec<Cell>]) -> anyhow::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let table = Table::fit(columns, rows, out.width());
    out.line("")?;
    out.line(&table.header())?;
    rows.iter().try_for_each(|row| out.line(&table.row(row)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_shown_as_it_is_applied() {
        let mut open = Open {
            rule: Rule::Reachability,
            reachability: 0.5,
            probability: 0.1,
            per_class: None,
            limit: None,
            temperature: None,
            names: None,
            calibration: Value::Null,
        };
        assert_eq!(describe_open(&open), "reachability (10 / nearest distance) < 0.5");
        open.rule = Rule::MaxProbability;
        assert_eq!(describe_open(&open), "largest probability < 0.1");
        open.rule = Rule::Both;
        open.per_class = Some(BTreeMap::from([("cup".into(), 0.7)]));
        let both = "reachability (10 / nearest distance) < 0.5 or largest probability < 0.1";
        assert_eq!(describe_open(&open), format!("{both}; 1 class(es) with a threshold of their own"));
    }
}
