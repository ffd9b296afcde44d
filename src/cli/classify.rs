//! `oltr classify`: a known class or open, for each photo.

use std::io;
use std::time::{Duration, Instant};

use oltr::bundle::{Bundle, Names, Shot};
use oltr::calibrate::Calibration;
use oltr::decide::{Decider, Decision};
use oltr::enrol::Enrolments;
use oltr::explain::{Case, Explanation, explain};
use oltr::scores;
use oltr::source::photo::Decoder;
use oltr::source::photos::{self, Input};
use oltr::{Error, ErrorKind, Frame, Model, Outputs, Result, Session};
use serde::Serialize;

use super::args::{ClassifyArgs, Common};
use super::attention;
use super::enrol;
use super::exit::{self, Exit};
use super::output::{ErrorLine, GOOD, NOTABLE, Output, finite, millis};
use super::shutdown::Shutdown;
use super::table::{Align, Cell, Column, Shrink, Table, printable, shorten};

/// Classes in `top` of a JSON line unless `--top` says how many.
const DEFAULT_TOP: usize = 5;

/// Blanks before what is said below a photo's row.
const TOP_INDENT: usize = 4;

/// Runs the command.
pub fn run(args: &ClassifyArgs, common: &Common) -> anyhow::Result<Exit> {
    let shutdown = Shutdown::on_signals()?;
    let limits = common.options().limits;
    let photos = photos::find(&args.inputs, &limits)?;
    let model = common.load(None)?;
    if args.attention.is_some() {
        attention::check(&model)?;
        if photos.len() != 1 {
            let reason = format!("--attention draws over one photo, {} were named", photos.len());
            return Err(Error::Config(reason).into());
        }
    }
    let enrolments = if args.no_enrolled { None } else { enrol::for_use(args.enrolled.as_deref(), common)? };
    let top = args.top.unwrap_or(if common.json { DEFAULT_TOP } else { 0 });
    let classifier = Classifier { enrolments, explain: args.explain, ..Classifier::new(&model, top)? };
    let mut reporter = Reporter::new(&photos, &classifier, common.json)?;
    let mut session = model.session()?;
    let mut decoder = Decoder::new(&limits);
    let mut frame = Frame::default();
    let mut tally = Tally::default();
    for photo in photos {
        if shutdown.requested() {
            log::info!("stopped by a signal; {} photos done", tally.classified);
            return Ok(Exit::Success);
        }
        let source = source_of(&photo);
        match decode(photo, &mut decoder, &mut frame).and_then(|decode| {
            let mut classification = classifier.classify(&source, session.run(&frame)?)?;
            classification.latency_ms = latency(decode, &session);
            if let Some((path, attention)) = args.attention.as_ref().zip(session.attention()) {
                attention::write(path, &frame, &attention, &classifier.bundle.preprocess)?;
            }
            Ok(classification)
        }) {
            Ok(classification) => {
                tally.classified += 1;
                reporter.result(&classification)?;
            }
            Err(error) => {
                tally.failed(&error);
                reporter.failure(&source, &error)?;
            }
        }
    }
    Ok(tally.exit())
}

/// A photo as it was named.
fn source_of(photo: &Input) -> String {
    match photo {
        Input::File(path) | Input::Unusable { input: path, .. } => path.display().to_string(),
        Input::Stdin => "-".into(),
    }
}

/// Decodes `photo` into `frame`; how long that took.
fn decode(photo: Input, decoder: &mut Decoder, frame: &mut Frame) -> Result<Duration> {
    let begin = Instant::now();
    match photo {
        Input::File(path) => decoder.read(path, frame)?,
        Input::Stdin => decoder.read_from("standard input", io::stdin().lock(), frame)?,
        Input::Unusable { error, .. } => return Err(error),
    }
    Ok(begin.elapsed())
}

fn latency(decode: Duration, session: &Session) -> Latency {
    let times = session.times();
    Latency { decode: millis(decode), preprocess: millis(times.preprocess), inference: millis(times.inference) }
}

/// What became of the photos so far.
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

    /// Where there was nothing to read at all, it was the command that named it wrongly; otherwise it was the data.
    fn exit(self) -> Exit {
        match self {
            Tally { not_found: 0, unreadable: 0, .. } => Exit::Success,
            Tally { classified: 0, unreadable: 0, .. } => Exit::NoInput,
            _ => Exit::Data,
        }
    }
}

/// `oltr.classification/1`. Fields keep their order; new ones are added at the end of their object.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Classification<'a> {
    schema: &'static str,
    source: &'a str,
    decision: &'static str,
    /// Id of the class; `None` if open.
    label: Option<&'a str>,
    /// Its place among the logits; `None` if open.
    class: Option<usize>,
    /// Of the most probable class, 0..1.
    probability: f32,
    /// 10 / distance of the nearest centroid.
    reachability: f32,
    /// The reachability that a frame of the most probable class needs.
    threshold: f32,
    nearest: Nearest<'a>,
    /// Shot group of the class; `None` if open.
    shot: Option<Shot>,
    top: Vec<Candidate<'a>>,
    latency_ms: Latency,
    model: ModelId<'a>,
    /// Name of the class for people; `None` if open.
    name: Option<&'a str>,
    /// The enrolled class that the photo is of, whose name is then `label`, and `class` none.
    #[serde(skip_serializing_if = "Option::is_none")]
    enrolled: Option<EnrolledAs<'a>>,
    /// Why, where `--explain` asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explanation>,
}

/// The enrolled class of a photo.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct EnrolledAs<'a> {
    label: &'a str,
    /// Distance to its centroid.
    distance: f32,
    /// Distance up to which photos are of it.
    radius: f32,
}

/// The class whose centroid is nearest.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Nearest<'a> {
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

/// From the outputs of one frame to what is said about it.
struct Classifier<'a> {
    bundle: &'a Bundle,
    decider: Decider,
    model: ModelId<'a>,
    top: usize,
    enrolments: Option<Enrolments>,
    explain: bool,
    /// How the thresholds came about; what is usual for each class.
    calibration: Option<Calibration>,
}

impl<'a> Classifier<'a> {
    /// # Errors
    /// [`Error::Metadata`], [`Error::BadModel`] for a graph that is no classifier.
    fn new(model: &'a Model, top: usize) -> Result<Classifier<'a>> {
        let bundle = model.bundle().ok_or_else(|| Error::Metadata {
            model: model.name().into(),
            key: "oltr.classes",
            reason:
                "is missing: classify needs the classes of the model; export it as a bundle, or use 'oltr inspect', \
                     'oltr bench' and 'oltr verify', which work without"
                    .into(),
        })?;
        for output in ["logits", "distances"] {
            if !model.outputs().iter().any(|port| port.name == output) {
                return Err(Error::BadModel {
                    model: model.name().into(),
                    reason: format!(
                        "the graph has no output '{output}', which classify needs; export the bundle again"
                    ),
                });
            }
        }
        let id = ModelId { name: &bundle.name, sha256: model.sha256() };
        let calibration = Calibration::of(&bundle.open);
        let decider = Decider::new(bundle);
        Ok(Classifier { bundle, decider, model: id, top, enrolments: None, explain: false, calibration })
    }

    /// What `outputs` say of the frame `source`; latencies are left to be filled in.
    fn classify<'s>(&'s self, source: &'s str, outputs: &Outputs) -> Result<Classification<'s>> {
        let scores = scores::score(&outputs.logits, &outputs.distances)?;
        let verdict = self.decider.decide(&scores);
        let found = self.enrolments.as_ref().and_then(|e| e.find(&outputs.features, &outputs.distances, &self.decider));
        let enrolled =
            found.map(|f| EnrolledAs { label: f.class.name(), distance: f.distance, radius: f.class.radius() });
        let class = match verdict.decision {
            Decision::Known(class) if enrolled.is_none() => Some(class),
            Decision::Known(_) | Decision::Enrolled(_) | Decision::Open => None,
        };
        let of = |class: usize| &self.bundle.classes[class];
        let candidate = |(class, probability)| {
            let known = of(class);
            Candidate { label: &known.id, class, probability, name: &known.name }
        };
        let nearest = of(scores.nearest);
        Ok(Classification {
            schema: "oltr.classification/1",
            source,
            decision: if class.is_some() || enrolled.is_some() { "known" } else { "open" },
            label: enrolled.map(|e| e.label).or(class.map(|c| of(c).id.as_str())),
            class,
            probability: scores.probability,
            reachability: scores.reachability,
            threshold: verdict.threshold,
            nearest: Nearest {
                label: &nearest.id,
                class: scores.nearest,
                distance: finite(scores.distance),
                name: &nearest.name,
            },
            shot: class.map(|c| of(c).shot()),
            top: scores::top(&outputs.logits, self.top).into_iter().map(candidate).collect(),
            latency_ms: Latency::default(),
            model: self.model,
            name: enrolled.map(|e| e.label).or(class.map(|c| of(c).name.as_str())),
            enrolled,
            explanation: self.explain.then(|| {
                let Outputs { distances, .. } = outputs;
                let calibration = self.calibration.as_ref();
                let case = Case { bundle: self.bundle, calibration, scores: &scores, distances, verdict: &verdict };
                let explanation = explain(&case);
                match enrolled {
                    Some(enrolled) => Explanation { text: because_enrolled(enrolled, &explanation), ..explanation },
                    None => explanation,
                }
            }),
        })
    }
}

/// Why a photo is of an enrolled class; what would have been said of it otherwise follows.
fn because_enrolled(enrolled: EnrolledAs, otherwise: &Explanation) -> String {
    let EnrolledAs { label, distance, radius } = enrolled;
    format!(
        "{label}, enrolled on this device: its centroid is {distance:.2} away, within its radius of {radius:.2}, and \
         by its own spread nearer than any known class. Without it: {}",
        otherwise.text
    )
}

/// Says what was found, as it is found.
enum Reporter {
    Json(Output),
    Person(Output, Table, Names),
}

impl Reporter {
    fn new(photos: &[Input], classifier: &Classifier, json: bool) -> anyhow::Result<Reporter> {
        let mut out = Output::new();
        if json {
            return Ok(Reporter::Json(out));
        }
        let sources: Vec<String> = photos.iter().map(source_of).collect();
        let names = Names::new(classifier.bundle);
        let enrolled = classifier.enrolments.as_ref().map_or(&[][..], Enrolments::classes);
        let enrolled: Vec<String> = enrolled.iter().map(|class| names.of_enrolled(class.name())).collect();
        let columns = vec![
            Column::new("PHOTO", Align::Left, Shrink::Path).hold(sources.iter().map(String::as_str)),
            Column::new("SHOWS", Align::Left, Shrink::Middle)
                .hold(names.iter().chain(enrolled.iter().map(String::as_str)).chain(["open"])),
            Column::new("PROBABILITY", Align::Right, Shrink::Never).short("PROB.").hold(["100.0 %"]),
            Column::new("REACHABILITY", Align::Right, Shrink::Never),
            Column::new("RESEMBLES", Align::Left, Shrink::Middle).hold(names.iter()),
        ];
        let table = Table::new(columns, out.width());
        out.line(&table.header())?;
        Ok(Reporter::Person(out, table, names))
    }

    fn result(&mut self, c: &Classification) -> anyhow::Result<()> {
        let Latency { decode, preprocess, inference } = c.latency_ms;
        log::info!("{}: decode {decode} ms, preprocess {preprocess} ms, inference {inference} ms", printable(c.source));
        match self {
            Reporter::Json(out) => out.json(c),
            Reporter::Person(out, table, names) => {
                out.line(&table.row(&cells(c, names)))?;
                let room = out.width();
                c.top.iter().try_for_each(|candidate| out.line(&describe(candidate, names, room)))?;
                c.explanation.iter().try_for_each(|why| out.remark(TOP_INDENT, &why.text))
            }
        }
    }

    fn failure(&mut self, source: &str, error: &Error) -> anyhow::Result<()> {
        match self {
            Reporter::Json(out) => out.json(&ErrorLine::new(source, error)),
            Reporter::Person(..) => {
                log::error!("{}", printable(&exit::message(error)));
                Ok(())
            }
        }
    }
}

fn cells<'a>(c: &'a Classification, names: &'a Names) -> [Cell<'a>; 5] {
    let shows = match (c.class, c.enrolled) {
        (_, Some(enrolled)) => Cell(names.of_enrolled(enrolled.label).into(), GOOD),
        (Some(class), None) => Cell(names.of(class).into(), GOOD),
        (None, None) => Cell("open".into(), NOTABLE),
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

fn describe(candidate: &Candidate, names: &Names, width: usize) -> String {
    let name = printable(names.of(candidate.class));
    let begin = format!("{:TOP_INDENT$}{:>7}  ", "", percent(candidate.probability));
    let room = width.saturating_sub(begin.len());
    format!("{begin}{}", shorten(&name, room))
}

fn percent(probability: f32) -> String {
    format!("{:.1} %", probability * 100.0)
}

#[cfg(test)]
#[path = "../../tests/common/bundle.rs"]
mod example;

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle() -> Bundle {
        let mut bundle = example::bundle(&[("c1", 120), ("c2", 50), ("c3", 4)]);
        for (class, name) in bundle.classes.iter_mut().zip(["cup", "moth", "eel"]) {
            class.name = name.into();
        }
        bundle
    }

    fn classifier(bundle: &Bundle) -> Classifier<'_> {
        let model = ModelId { name: &bundle.name, sha256: "00" };
        let decider = Decider::new(bundle);
        Classifier { bundle, decider, model, top: 2, enrolments: None, explain: false, calibration: None }
    }

    fn outputs(logits: [f32; 3], distances: [f32; 3]) -> Outputs {
        Outputs { logits: logits.into(), distances: distances.into(), features: vec![] }
    }

    #[test]
    fn a_known_photo_names_its_class() {
        let bundle = bundle();
        let classifier = classifier(&bundle);
        let outputs = outputs([0.0, 1.0, 3.0], [20.0, 10.0, 12.5]);
        let c = classifier.classify("a.jpg", &outputs).unwrap();
        assert_eq!((c.decision, c.label, c.class, c.name), ("known", Some("c3"), Some(2), Some("eel")));
        assert_eq!((c.reachability, c.threshold, c.shot), (1.0, 0.5, Some(Shot::Few)));
        // The nearest centroid may be another class's.
        assert_eq!((c.nearest.label, c.nearest.class, c.nearest.distance), ("c2", 1, 10.0));
        assert_eq!(c.top.iter().map(|t| t.class).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(c.top[0].probability, c.probability);
    }

    #[test]
    fn an_open_photo_has_no_class_but_says_what_it_resembles() {
        let bundle = bundle();
        let classifier = classifier(&bundle);
        let c = classifier.classify("a.jpg", &outputs([0.0, 1.0, 3.0], [25.0, 26.0, f32::INFINITY])).unwrap();
        assert_eq!((c.decision, c.label, c.class, c.shot, c.name), ("open", None, None, None, None));
        assert_eq!((c.nearest.label, c.top[0].label), ("c1", "c3"));
        let cells = cells(&c, &Names::new(&bundle)).map(|cell| cell.0.into_owned());
        assert_eq!(cells, ["a.jpg", "open", "84.4 %", "0.40 < 0.50", "cup"].map(String::from));
    }

    #[test]
    fn json_holds_numbers_even_at_the_ends_of_their_range() {
        let bundle = bundle();
        let classifier = classifier(&bundle);
        for d in [0.0, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY] {
            let outputs = outputs([0.0, 1e30, 0.0], [d; 3]);
            let json = serde_json::to_value(classifier.classify("a.jpg", &outputs).unwrap()).unwrap();
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
