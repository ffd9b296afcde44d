//! `oltr classify`: a known class or open, for each photo.

mod file;
mod things;

use std::io::IsTerminal;

use oltr::bundle::{Class, Shot};
use oltr::calibrate::Calibration;
use oltr::explain::{Explanation, explain};
use oltr::origin::Origin;
use oltr::scores;
use oltr::sink::json::StillFields;
use oltr::source::photo::Decode;
use oltr::source::photos;
use oltr::text::counted;
use oltr::{Answer, Classifier, DisplayNames, EnrolledAs, Error, ErrorKind, Frame, Names, Nearest, Outputs, Told};
use serde::Serialize;

use super::args::{ClassifyArgs, Common};
use super::attention;
use super::enrol;
use super::exit::{self, Exit};
use super::naming::with_name;
use super::output::{ErrorLine, GOOD, NOTABLE, Output, finite, millis};
use super::read;
use super::reading::{self, Photo, Photos};
use super::shutdown::Shutdown;
use super::table::{Align, Cell, Column, Shrink, Table, printable, shorten};
use file::{Report, Sources};

/// Default number of classes in `top` of a JSON line.
const DEFAULT_TOP: usize = 5;

/// Indentation of the lines below a photo's row.
const TOP_INDENT: usize = 4;

/// Runs the command.
pub fn run(args: &ClassifyArgs, common: &Common) -> anyhow::Result<Exit> {
    let shutdown = Shutdown::on_signals()?;
    let limits = common.options().limits;
    let found = photos::search(&args.inputs, &limits)?;
    if let Some(text) = found.passed_over() {
        log::warn!("{text}");
    }
    let mut photos = found.inputs;
    let sources = Sources::new(&photos, args, common.json)?;
    let enrolled = enrol::file_for_use(args.enrolled.as_deref(), common).filter(|_| !args.no_enrolled);
    let (model, enrolments) = enrol::load_with(enrolled.as_deref(), common)?;
    if args.attention.is_some() {
        attention::check(&model)?;
        if photos.len() != 1 {
            let reason = format!("--attention draws over one photo, {} were named", photos.len());
            return Err(Error::Config(reason).into());
        }
    }
    let in_full = common.json || args.output.is_some();
    let top = args.top.unwrap_or(if in_full { DEFAULT_TOP } else { 0 });
    let mut classifier = Classifier::new(&model)?;
    if let Some(enrolments) = &enrolments {
        classifier = classifier.with_enrolments(enrolments);
    }
    let listed = read::listed(args.species_list.as_deref(), classifier.names().bundle())?;
    if let Some(listed) = &listed {
        classifier = classifier.with_listed(listed);
    }
    let bundle = classifier.names().bundle();
    let wanted = Wanted {
        top,
        explain: args.explain,
        calibration: Calibration::of(&bundle.open),
        model: ModelId { name: &bundle.name, sha256: model.sha256() },
    };
    let mut reporter = match Report::begin(args, classifier.names(), wanted.model)? {
        Some(report) => {
            report.retain(&mut photos, &sources);
            Reporter::File(report)
        }
        None => Reporter::new(&sources, classifier.names(), common.json)?,
    };
    let mut tally = Tally::default();
    // On a terminal, the rows of the table show the progress.
    let hidden = common.quiet || std::io::stdout().is_terminal();
    let bar = reading::bar(photos.len(), &printable(&bundle.name), hidden);
    let (total, mut done) = (photos.len(), 0);
    // The overlay needs the whole photo; there is one.
    let (mut first, mut frame) = (None, Frame::default());
    if args.attention.is_some() {
        first = photos.pop().map(|input| Ok(reading::whole(input, &bundle.preprocess, &limits, &mut frame)));
    }
    if args.scene.things {
        let mut spent = (0.0, 0.0);
        let mut photos = things::Photos::new(photos, args, common, &model)?;
        while !shutdown.requested() {
            let Some(looked) = photos.next(&mut classifier)? else { break };
            done += 1;
            let things::Looked { path, is_stdin, times, decode, frame, still } = looked;
            let (source, url) = (sources.of(&path, is_stdin), photos::url_of(&path).filter(|_| !is_stdin));
            match times.and_then(|times| Ok((times, classifier.judge().answer(classifier.outputs())?))) {
                Ok((times, answer)) => {
                    let names = answer.names();
                    let mut c = wanted.tell(&source, &answer, classifier.outputs());
                    (c.latency_ms.decode, c.source_url, c.origin) = (millis(decode), url, frame.origin().clone());
                    c.latency_ms.preprocess = millis(times.preprocess);
                    c.latency_ms.inference = millis(times.inference);
                    c.still = Some(StillFields::whole(still, names));
                    tally.classified += 1;
                    reporter.result(&c)?;
                }
                Err(error) if matches!(error.kind(), ErrorKind::Internal | ErrorKind::Config) => {
                    return Err(error.into());
                }
                Err(error) => {
                    tally.failed(&error);
                    reporter.failure(&source, url, &error)?;
                }
            }
            reading::advance(&bar, &mut spent, decode.as_secs_f64(), 0.0);
        }
        bar.finish_and_clear();
        return conclude(done, total, reporter, &sources, tally);
    }
    let mut photos = Photos::new(photos, &bundle.preprocess, &args.reading, common, bar);
    while let Some(photo) = first.take().or_else(|| photos.next(&|| shutdown.requested())) {
        let Photo { path, is_stdin, seen } = photo?;
        done += 1;
        let source = sources.of(&path, is_stdin);
        let url = photos::url_of(&path).filter(|_| !is_stdin);
        let mut spent = (0.0, 0.0);
        match seen.and_then(|(seen, pixels)| {
            let answer = classifier.classify_pixels(&pixels)?;
            if let Some((to, attention)) = args.attention.as_ref().zip(classifier.session().attention()) {
                attention::write(to, &frame, &attention, &bundle.preprocess)?;
            }
            spent = ((seen.decode + seen.preprocess).as_secs_f64(), answer.inference.as_secs_f64());
            let mut classification = wanted.tell(&source, &answer, classifier.outputs());
            classification.latency_ms.decode = millis(seen.decode);
            classification.latency_ms.preprocess = millis(seen.preprocess + answer.preprocess);
            classification.source_url = url.clone();
            classification.origin = seen.origin;
            classification.decode = seen.decoded.name();
            Ok(classification)
        }) {
            Ok(classification) => {
                tally.classified += 1;
                reporter.result(&classification)?;
            }
            Err(error) => {
                tally.failed(&error);
                reporter.failure(&source, url, &error)?;
            }
        }
        photos.done(spent.0, spent.1);
    }
    conclude(done, total, reporter, &sources, tally)
}

/// Prints the summary after `done` of `total` photos.
fn conclude(done: usize, total: usize, reporter: Reporter, sources: &Sources, tally: Tally) -> anyhow::Result<Exit> {
    if done < total {
        log::info!("stopped by a signal; {} done", counted(tally.classified, "photo"));
        reporter.interrupted();
        return Ok(Exit::Success);
    }
    reporter.finish(sources)?;
    Ok(tally.exit())
}

/// Counts of the photos so far.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    classified: usize,
    not_found: usize,
    unreadable: usize,
}

impl Tally {
    fn failed(&mut self, error: &Error) {
        match error.kind() {
            ErrorKind::NotFound => self.not_found += 1,
            _ => self.unreadable += 1,
        }
    }

    /// If no input existed, the command line was wrong; otherwise the data.
    fn exit(self) -> Exit {
        match self {
            Tally { not_found: 0, unreadable: 0, .. } => Exit::Success,
            Tally { classified: 0, unreadable: 0, .. } => Exit::NoInput,
            _ => Exit::Data,
        }
    }
}

/// `oltr.classification/1`. Fields keep their order, and new ones are added at the end of their object.
#[derive(Clone, Debug, Serialize)]
struct Classification<'a> {
    schema: &'static str,
    source: &'a str,
    decision: &'static str,
    /// Id of the class; `None` if open.
    label: Option<&'a str>,
    /// Index among the logits; `None` if open.
    class: Option<usize>,
    /// Probability of the most probable class, 0..1.
    probability: f32,
    /// 10 / distance of the nearest centroid.
    reachability: f32,
    /// The reachability that a frame of the most probable class needs.
    threshold: f32,
    nearest: NearestFields<'a>,
    /// Shot group of the class; `None` if open.
    shot: Option<Shot>,
    top: Vec<Candidate<'a>>,
    latency_ms: Latency,
    model: ModelId<'a>,
    /// Display name of the class; `None` if open.
    name: Option<&'a str>,
    /// The enrolled class of the photo. Its name is then `label`, and `class` is null.
    #[serde(skip_serializing_if = "Option::is_none")]
    enrolled: Option<EnrolledFields<'a>>,
    /// Explanation, with `--explain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explanation>,
    /// The photo's path as a relative URL, where that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    source_url: Option<String>,
    /// How the photo was decoded: `exact` or `fast`.
    decode: &'static str,
    /// `taken`, `place` and `camera`.
    #[serde(flatten)]
    origin: Origin,
    /// `still` and `things`, in thing mode.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    still: Option<StillFields<'a>>,
    /// The narrowest name that is right as often as the bundle promises, if it has a taxonomy.
    #[serde(skip_serializing_if = "Option::is_none")]
    taxon: Option<Option<Told<'a>>>,
    /// The species list, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    species_list: Option<ListFields>,
}

/// Number of classes on a species list.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct ListFields {
    /// Classes that can be the answer.
    classes: usize,
    /// Classes of the bundle.
    of: usize,
}

/// The enrolled class of a photo.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct EnrolledFields<'a> {
    label: &'a str,
    /// Distance to its centroid.
    distance: f32,
    /// Distance up to which photos are of it.
    radius: f32,
}

/// The nearest class.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct NearestFields<'a> {
    label: &'a str,
    class: usize,
    distance: f32,
    name: &'a str,
}

/// One of the most probable classes.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Candidate<'a> {
    label: &'a str,
    class: usize,
    probability: f32,
    name: &'a str,
}

/// Milliseconds of each stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Latency {
    decode: f64,
    preprocess: f64,
    inference: f64,
}

/// Which model spoke.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct ModelId<'a> {
    name: &'a str,
    sha256: &'a str,
}

/// The requested output for each photo.
struct Wanted<'a> {
    /// Classes in `top`.
    top: usize,
    /// Whether to explain decisions.
    explain: bool,
    /// The calibration: usual values for each class.
    calibration: Option<Calibration>,
    model: ModelId<'a>,
}

impl<'a> Wanted<'a> {
    /// The line of `source` for `answer` and `outputs`. The caller fills in the decoding time.
    fn tell(&self, source: &'a str, answer: &Answer<'a>, outputs: &Outputs) -> Classification<'a> {
        let bundle = answer.names().bundle();
        let candidate = |(class, probability): (usize, f32)| {
            let known: &'a Class = &bundle.classes[class];
            Candidate { label: &known.id, class, probability, name: &known.name }
        };
        let Nearest { label, name, class, distance } = answer.nearest;
        let explained = || explain(answer, &outputs.distances, bundle, self.calibration.as_ref());
        Classification {
            schema: "oltr.classification/1",
            source,
            decision: answer.word(),
            label: answer.label,
            class: answer.class(),
            probability: answer.probability,
            reachability: answer.reachability,
            threshold: answer.threshold,
            nearest: NearestFields { label, class, distance: finite(distance), name },
            shot: answer.shot,
            top: scores::top(&outputs.logits, self.top).into_iter().map(candidate).collect(),
            latency_ms: Latency {
                decode: 0.0,
                preprocess: millis(answer.preprocess),
                inference: millis(answer.inference),
            },
            model: self.model,
            name: answer.name,
            enrolled: answer.enrolled.map(|EnrolledAs { label, distance, radius }| EnrolledFields {
                label,
                distance,
                radius,
            }),
            explanation: self.explain.then(explained),
            source_url: None,
            decode: Decode::Exact.name(),
            origin: Origin::default(),
            still: None,
            taxon: answer.told(),
            species_list: answer.names().listed().map(|l| ListFields { classes: l.classes(), of: l.of() }),
        }
    }
}

/// Prints results as they come.
enum Reporter {
    File(Box<Report>),
    Json(Output),
    Table(Output, Table, DisplayNames),
}

impl Reporter {
    fn new(sources: &Sources, names: Names, json: bool) -> anyhow::Result<Reporter> {
        let mut out = Output::new();
        if json {
            return Ok(Reporter::Json(out));
        }
        let names = DisplayNames::of_all(names);
        let columns = vec![
            Column::new("PHOTO", Align::Left, Shrink::Path).hold(sources.all()),
            Column::new("SHOWS", Align::Left, Shrink::Middle).hold(names.all().chain(["open"])),
            Column::new("PROBABILITY", Align::Right, Shrink::Never).short("PROB.").hold(["100.0 %"]),
            Column::new("REACHABILITY", Align::Right, Shrink::Never),
            Column::new("RESEMBLES", Align::Left, Shrink::Middle).hold(names.iter()),
        ];
        let table = Table::new(columns, out.width());
        out.line(&table.header())?;
        Ok(Reporter::Table(out, table, names))
    }

    fn result(&mut self, c: &Classification) -> anyhow::Result<()> {
        let Latency { decode, preprocess, inference } = c.latency_ms;
        log::info!("{}: decode {decode} ms, preprocess {preprocess} ms, inference {inference} ms", printable(c.source));
        match self {
            Reporter::File(report) => report.result(c),
            Reporter::Json(out) => out.json(c),
            Reporter::Table(out, table, names) => {
                out.line(&table.row(&cells(c, names)))?;
                let room = out.width();
                c.top.iter().try_for_each(|candidate| out.line(&describe(candidate, names, room)))?;
                c.explanation.iter().try_for_each(|why| out.remark(TOP_INDENT, &why.text))
            }
        }
    }

    fn failure(&mut self, source: &str, url: Option<String>, error: &Error) -> anyhow::Result<()> {
        match self {
            Reporter::File(report) => report.failure(source, url, error),
            Reporter::Json(out) => out.json(&ErrorLine::new(source, error).with_url(url)),
            Reporter::Table(..) => {
                log::error!("{}", printable(&exit::message(error)));
                Ok(())
            }
        }
    }
}

impl Reporter {
    /// All photos were seen.
    fn finish(self, sources: &Sources) -> anyhow::Result<()> {
        match self {
            Reporter::File(report) => report.finish(sources),
            Reporter::Json(_) | Reporter::Table(..) => Ok(()),
        }
    }

    /// Some photos were not.
    fn interrupted(&self) {
        if let Reporter::File(report) = self {
            report.interrupted();
        }
    }
}

fn cells<'a>(c: &'a Classification, names: &'a DisplayNames) -> [Cell<'a>; 5] {
    let shows = match (c.class, c.enrolled) {
        (_, Some(enrolled)) => Cell(names.of_enrolled(enrolled.label).into(), GOOD),
        (Some(class), None) => Cell(with_name(Some(names.of(class)), c.taxon).into(), GOOD),
        (None, None) => Cell(with_name(None, c.taxon).into(), NOTABLE),
    };
    let sign = if c.reachability < c.threshold { '<' } else { '≥' };
    [
        c.source.into(),
        shows,
        percent(c.probability).into(),
        format!("{:.2} {sign} {:.2}", c.reachability, c.threshold).into(),
        names.of(c.nearest.class).into(),
    ]
}

fn describe(candidate: &Candidate, names: &DisplayNames, width: usize) -> String {
    let name = printable(names.of(candidate.class));
    let begin = format!("{:TOP_INDENT$}{:>7}  ", "", percent(candidate.probability));
    let room = width.saturating_sub(begin.len());
    format!("{begin}{}", shorten(&name, room))
}

fn percent(probability: f32) -> String {
    format!("{:.1} %", probability * 100.0)
}

#[cfg(test)]
#[path = "../bundle/example.rs"]
mod example;

#[cfg(test)]
mod tests {
    use super::*;
    use oltr::Judge;
    use oltr::bundle::Bundle;

    fn bundle() -> Bundle {
        let mut bundle = example::bundle(&[("c1", 120), ("c2", 50), ("c3", 4)]);
        for (class, name) in bundle.classes.iter_mut().zip(["cup", "moth", "eel"]) {
            class.name = name.into();
        }
        bundle
    }

    fn classification_of<T>(logits: [f32; 3], distances: [f32; 3], look: impl FnOnce(&Classification) -> T) -> T {
        let bundle = bundle();
        let outputs = Outputs { logits: logits.into(), distances: distances.into(), features: vec![] };
        let answer = Judge::new(&bundle).answer(&outputs).unwrap();
        let model = ModelId { name: &bundle.name, sha256: "00" };
        look(&Wanted { top: 2, explain: false, calibration: None, model }.tell("a.jpg", &answer, &outputs))
    }

    #[test]
    fn a_known_photo_lists_the_most_probable_classes() {
        classification_of([0.0, 1.0, 3.0], [20.0, 10.0, 12.5], |c| {
            assert_eq!((c.decision, c.label, c.class, c.name), ("known", Some("c3"), Some(2), Some("eel")));
            assert_eq!((c.nearest.label, c.nearest.class, c.nearest.distance), ("c2", 1, 10.0));
            assert_eq!(c.top.iter().map(|t| t.class).collect::<Vec<_>>(), [2, 1]);
            assert_eq!(c.top[0].probability, c.probability);
        });
    }

    #[test]
    fn an_open_photo_has_a_row_that_says_what_it_resembles() {
        classification_of([0.0, 1.0, 3.0], [25.0, 26.0, f32::INFINITY], |c| {
            assert_eq!((c.nearest.label, c.top[0].label), ("c1", "c3"));
            let bundle = bundle();
            let cells = cells(c, &DisplayNames::new(&bundle)).map(|cell| cell.0.into_owned());
            assert_eq!(cells, ["a.jpg", "open", "84.4 %", "0.40 < 0.50", "cup"].map(String::from));
        });
    }

    #[test]
    fn json_holds_numbers_even_at_the_ends_of_their_range() {
        for d in [0.0, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY] {
            let json = classification_of([0.0, 1e30, 0.0], [d; 3], |c| serde_json::to_value(c).unwrap());
            for number in [&json["reachability"], &json["probability"], &json["nearest"]["distance"]] {
                assert!(number.is_number(), "{d}: {json}");
            }
        }
    }

    #[test]
    fn the_exit_code_tells_what_was_wrong() {
        let tally = |classified, not_found, unreadable| Tally { classified, not_found, unreadable }.exit();
        assert_eq!(tally(3, 0, 0), Exit::Success);
        assert_eq!(tally(0, 2, 0), Exit::NoInput);
        assert_eq!(tally(1, 2, 0), Exit::Data);
        assert_eq!(tally(0, 2, 1), Exit::Data);
        assert_eq!(tally(5, 0, 1), Exit::Data);
    }
}
