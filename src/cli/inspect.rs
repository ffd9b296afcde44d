//! `oltr inspect`: what a model consists of and how it runs here.

use std::collections::BTreeMap;

use oltr::Model;
use oltr::bundle::{Bundle, Open, Preprocess, Resize, Rule, Shot};
use oltr::model::{Port, Step, Summary};
use serde::Serialize;
use serde_json::Value;

use super::args::{Common, InspectArgs};
use super::exit::Exit;
use super::output::{Output, TITLE, bytes, shape};
use super::table::{Align, Cell, Column, Shrink, Table, printable};

/// Runs the command.
pub fn run(args: &InspectArgs, common: &Common) -> anyhow::Result<Exit> {
    let model = common.load(args.file.as_deref())?;
    let report = Report::new(&model);
    let mut out = Output::new();
    if common.json {
        out.json(&report)?;
    } else {
        report.print(&mut out)?;
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
    /// All metadata of the file, as it stands there.
    metadata: &'a BTreeMap<String, String>,
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
    preprocess: &'a Preprocess,
    open: &'a Open,
    card: &'a serde_json::Value,
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
        let Summary { file_bytes, isa, weights_bytes, arena_bytes, scratch_bytes, operators, quantisation, steps } =
            model.summary();
        Report {
            schema: "oltr.inspect/1",
            model: model.name(),
            sha256: model.sha256(),
            file_bytes: *file_bytes,
            bundle: model.bundle().map(BundleReport::new),
            inputs: ports(model.inputs()),
            outputs: ports(model.outputs()),
            quantisation,
            operators,
            isa,
            memory: Memory { weights_bytes: *weights_bytes, arena_bytes: *arena_bytes, scratch_bytes: *scratch_bytes },
            steps,
            metadata: model.metadata(),
        }
    }

    fn print(&self, out: &mut Output) -> anyhow::Result<()> {
        out.line(&format!("{TITLE}{}{TITLE:#}, {}", printable(self.model), bytes(self.file_bytes)))?;
        field(out, "sha256", self.sha256)?;
        field(out, "inputs", &list(&self.inputs))?;
        field(out, "outputs", &list(&self.outputs))?;
        field(out, "quantisation", self.quantisation)?;
        field(out, "kernels", self.isa)?;
        let Memory { weights_bytes: weights, arena_bytes: arena, scratch_bytes: scratch } = self.memory;
        let sum = bytes(weights.saturating_add(arena).saturating_add(scratch));
        let [weights, arena, scratch] = [weights, arena, scratch].map(bytes);
        field(out, "memory", &format!("{sum}: {weights} weights, {arena} arena, {scratch} scratch"))?;
        match &self.bundle {
            Some(bundle) => bundle.print(out)?,
            None => field(out, "bundle", "no: the file names no classes (oltr.classes), so it cannot classify photos")?,
        }
        let other = self.metadata.iter().filter(|(key, _)| !key.starts_with("oltr."));
        for (key, value) in other {
            field(out, key, value)?;
        }
        self.print_operators(out)?;
        self.print_steps(out)
    }

    fn print_operators(&self, out: &mut Output) -> anyhow::Result<()> {
        let columns =
            vec![Column::new("OPERATOR", Align::Left, Shrink::End), Column::new("COUNT", Align::Right, Shrink::Never)];
        let rows = self.operators.iter().map(|(name, count)| vec![name.into(), count.to_string().into()]);
        print_table(out, columns, &rows.collect::<Vec<_>>())
    }

    fn print_steps(&self, out: &mut Output) -> anyhow::Result<()> {
        let columns = vec![
            Column::new("STEP", Align::Left, Shrink::Start),
            Column::new("OPERATOR", Align::Left, Shrink::End),
            Column::new("TYPE", Align::Left, Shrink::Never),
            Column::new("SHAPE", Align::Left, Shrink::Never),
            Column::new("MMAC", Align::Right, Shrink::Never),
            Column::new("PROGRAM", Align::Right, Shrink::Never),
            Column::new("KERNEL", Align::Left, Shrink::End),
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
            preprocess: &bundle.preprocess,
            open: &bundle.open,
            card: &bundle.card,
        }
    }

    fn print(&self, out: &mut Output) -> anyhow::Result<()> {
        field(out, "bundle", self.name)?;
        let Groups { many, medium, few } = self.groups;
        let count = self.classes.len();
        field(out, "classes", &format!("{count}: {many} many-shot, {medium} medium-shot, {few} few-shot"))?;
        for (shot, title) in [(Shot::Many, "many-shot"), (Shot::Medium, "medium-shot"), (Shot::Few, "few-shot")] {
            let names: Vec<_> = self.classes.iter().filter(|c| c.shot == shot).map(|c| c.name).collect();
            if !names.is_empty() {
                field(out, title, &names.join(", "))?;
            }
        }
        field(out, "preprocess", &describe_preprocess(self.preprocess))?;
        field(out, "open if", &describe_open(self.open))?;
        if !self.open.calibration.is_null() {
            field(out, "calibration", &plain(&self.open.calibration))?;
        }
        match self.card {
            Value::Null => Ok(()),
            Value::Object(card) => card.iter().try_for_each(|(key, value)| field(out, key, &plain(value))),
            card => field(out, "card", &plain(card)),
        }
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
    };
    match open.per_class.as_ref().map_or(0, BTreeMap::len) {
        0 => rule,
        n => format!("{rule}; {n} class(es) with a threshold of their own"),
    }
}

/// `value` on one line: text as it is, anything else as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn ports(ports: &[Port]) -> Vec<PortReport<'_>> {
    ports.iter().map(|port| PortReport { name: &port.name, shape: &port.shape }).collect()
}

fn list(ports: &[PortReport]) -> String {
    ports.iter().map(|port| format!("{} {}", port.name, shape(port.shape))).collect::<Vec<_>>().join(", ")
}

/// Columns of the names of fields.
const NAMES: usize = 14;

fn field(out: &mut Output, name: &str, value: &str) -> anyhow::Result<()> {
    out.line(&format!("{:NAMES$}{}", printable(name), printable(value)))
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
    fn the_rule_is_told_as_it_is_applied() {
        let mut open = Open {
            rule: Rule::Reachability,
            reachability: 0.5,
            probability: 0.1,
            per_class: None,
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
