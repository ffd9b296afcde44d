//! One answer: a picture goes in, a known class, an enrolled class or *open* comes out.
//!
//! A [`Classifier`] puts a session, the rule of its bundle and the enrolled classes together. A [`Judge`] is the same
//! without the network: a pure function of its outputs. [`Names`] turns a decision into the label that programs compare
//! and the name that people read; nothing else does.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::bundle::taxonomy::TaxonIds;
use crate::bundle::{Bundle, Class, Rank, Shot};
use crate::decide::events::Event;
use crate::decide::listed::Listed;
use crate::decide::mean::Mean;
use crate::decide::naming::{Namer, Taxon};
use crate::decide::{Decider, Decision, Verdict};
use crate::enrol::{Enrolled, Enrolments};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::model::{Model, Outputs, Session};
use crate::scores::{self, ScoreKind, Scores};

/// What one picture shows, and why. A [`Judge`] makes it.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Known, enrolled or open, with the index of the class.
    pub decision: Decision,
    /// Id of the known class, or the name of the enrolled one; `None` if open.
    pub label: Option<&'a str>,
    /// Name of the class for people; `None` if open.
    pub name: Option<&'a str>,
    /// Shot group of the known class; `None` if enrolled or open.
    pub shot: Option<Shot>,
    /// The class with the largest logit, whatever was decided.
    pub most_probable: usize,
    /// Softmax probability of that class, 0..1.
    pub probability: f32,
    /// 10 / distance to the nearest centroid.
    pub reachability: f32,
    /// The reachability that a picture of the most probable class needs.
    pub threshold: f32,
    /// The class whose centroid is nearest: what the picture resembles.
    pub nearest: Nearest<'a>,
    /// What the rule of the bundle says by itself, without enrolled classes: known or open.
    pub by_rule: Decision,
    /// The score that the rule decided by.
    pub decided_by: ScoreKind,
    /// The value of that score.
    pub value: f32,
    /// What the value was held against.
    pub limit: f32,
    /// The enrolled class, where the decision is one.
    pub enrolled: Option<EnrolledAs<'a>>,
    /// The narrowest name that is right as often as the bundle promises; of an open picture the group that it lies near.
    /// `None` where no name is, and always of a bundle without [names](crate::bundle::Naming).
    pub taxon: Option<Taxon<'a>>,
    /// From the picture to the network's input.
    pub preprocess: Duration,
    /// From the network's input to its outputs.
    pub inference: Duration,
    names: Names<'a>,
}

impl<'a> Answer<'a> {
    /// Labels and names of all that could have been answered.
    pub fn names(&self) -> Names<'a> {
        self.names
    }

    /// Whether it names a class, known or enrolled.
    pub fn is_known(&self) -> bool {
        self.decision != Decision::Open
    }

    /// The word for the decision in JSON: `known` or `open`. An enrolled class is known.
    pub fn word(&self) -> &'static str {
        self.decision.word()
    }

    /// The class among the logits; `None` if enrolled or open.
    pub fn class(&self) -> Option<usize> {
        match self.decision {
            Decision::Known(class) => Some(class),
            Decision::Enrolled(_) | Decision::Open | Decision::Unclassified => None,
        }
    }

    /// The scores of the network's outputs alone.
    pub fn scores(&self) -> Scores {
        let Nearest { class, distance, .. } = self.nearest;
        Scores {
            class: self.most_probable,
            probability: self.probability,
            nearest: class,
            distance,
            reachability: self.reachability,
        }
    }

    /// [`Answer::taxon`] as JSON has it; `None` for a bundle without names, which says nothing of it.
    pub fn told(&self) -> Option<Option<Told<'a>>> {
        self.names.tell(self.taxon)
    }

    /// How far the deciding score lies from its limit: `value / limit − 1`, below 0 where the rule says open. `None` where
    /// the limit is 0.
    pub fn margin(&self) -> Option<f64> {
        (self.limit > 0.0).then(|| f64::from(self.value) / f64::from(self.limit) - 1.0)
    }
}

/// A name with its rank, as JSON has it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Told<'a> {
    /// How much it takes in.
    pub rank: Rank,
    /// The taxon; of one class its name for people.
    pub name: &'a str,
    /// Sum of the probabilities of its classes, 0..1.
    pub probability: f32,
    /// Its numbers in catalogues; of one class those of [`Told::of`].
    #[serde(flatten)]
    pub ids: TaxonIds,
    /// Of one class: the narrowest taxon that it is of, where the bundle knows one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<OfTaxon<'a>>,
}

/// A taxon that a class is of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OfTaxon<'a> {
    /// How much it takes in.
    pub rank: Rank,
    /// Its name.
    pub name: &'a str,
}

impl fmt::Display for Answer<'_> {
    /// `known cup` or `open`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "known {name}"),
            None => f.write_str("open"),
        }
    }
}

/// The known class whose centroid is nearest to a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearest<'a> {
    /// Its id.
    pub label: &'a str,
    /// Its name for people.
    pub name: &'a str,
    /// Its index among the logits.
    pub class: usize,
    /// Distance to its centroid; infinite where the network says so.
    pub distance: f32,
}

/// An enrolled class that a picture is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EnrolledAs<'a> {
    /// Its name, which is its label too.
    pub label: &'a str,
    /// Distance to its centroid.
    pub distance: f32,
    /// Distance up to which pictures are of it.
    pub radius: f32,
}

/// Labels and names of decisions: the classes of a bundle and those enrolled beside it.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    bundle: &'a Bundle,
    enrolled: &'a [Enrolled],
    listed: Option<&'a Listed>,
}

impl fmt::Debug for Names<'_> {
    /// The bundle by its name: its classes would drown what stands beside it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Names({}, {} enrolled)", self.bundle.name, self.enrolled.len())
    }
}

impl<'a> Names<'a> {
    /// Names of the classes of `bundle`.
    pub fn new(bundle: &'a Bundle) -> Names<'a> {
        Names { bundle, enrolled: &[], listed: None }
    }

    /// Names the classes of `enrolments` too.
    pub fn with_enrolments(self, enrolments: &'a Enrolments) -> Names<'a> {
        Names { enrolled: enrolments.classes(), ..self }
    }

    /// Answers are of listed classes only.
    pub fn with_listed(self, listed: &'a Listed) -> Names<'a> {
        Names { listed: Some(listed), ..self }
    }

    /// The list of classes that can be answered, where there is one.
    pub fn listed(self) -> Option<&'a Listed> {
        self.listed
    }

    /// The bundle.
    pub fn bundle(self) -> &'a Bundle {
        self.bundle
    }

    /// The known class with this index among the logits.
    pub fn class(self, index: usize) -> Option<&'a Class> {
        self.bundle.classes.get(index)
    }

    /// Id of a known class, or the name of an enrolled one; `None` for open.
    pub fn label(self, decision: Decision) -> Option<&'a str> {
        match decision {
            Decision::Known(index) => self.class(index).map(|class| class.id.as_str()),
            Decision::Enrolled(index) => self.enrolled.get(index).map(Enrolled::name),
            Decision::Open | Decision::Unclassified => None,
        }
    }

    /// The name for people; `None` for open.
    pub fn name(self, decision: Decision) -> Option<&'a str> {
        match decision {
            Decision::Known(index) => self.class(index).map(|class| class.name.as_str()),
            Decision::Enrolled(_) | Decision::Open | Decision::Unclassified => self.label(decision),
        }
    }

    /// The name of what `event` is of, as JSON has it; `None` for a bundle without names, which says nothing of it.
    pub fn told_of(self, event: &Event) -> Option<Option<Told<'a>>> {
        self.tell(event.taxon(self.bundle))
    }

    fn tell(self, taxon: Option<Taxon<'a>>) -> Option<Option<Told<'a>>> {
        self.bundle.open.names.as_ref()?;
        let taxonomy = self.bundle.taxonomy.as_ref();
        Some(taxon.map(|Taxon { rank, name, class, probability }| {
            let class = self.class(class).filter(|_| rank == Rank::Label);
            let of = class.and_then(|class| taxonomy?.classes.get(&class.id)?.iter().next());
            let of = of.map(|(rank, name)| OfTaxon { rank: *rank, name });
            let ids = taxonomy.and_then(|taxonomy| taxonomy.ids.get(of.map_or(name, |of| of.name)));
            Told { rank, name, probability, ids: ids.copied().unwrap_or_default(), of }
        }))
    }

    /// Shot group of a known class.
    pub fn shot(self, decision: Decision) -> Option<Shot> {
        match decision {
            Decision::Known(index) => self.class(index).map(Class::shot),
            Decision::Enrolled(_) | Decision::Open | Decision::Unclassified => None,
        }
    }

    /// Names of the enrolled classes, in the order of their enrolment.
    pub fn enrolled(self) -> impl Iterator<Item = &'a str> {
        self.enrolled.iter().map(Enrolled::name)
    }
}

/// From a network's outputs to an answer.
#[derive(Clone, Debug)]
pub struct Judge<'a> {
    names: Names<'a>,
    decider: Decider,
    namer: Option<Namer<'a>>,
    enrolments: Option<&'a Enrolments>,
}

impl<'a> Judge<'a> {
    /// Judges by the rule of `bundle`.
    pub fn new(bundle: &'a Bundle) -> Judge<'a> {
        let namer = Namer::new(bundle).filter(|_| bundle.open.names.is_some());
        Judge { names: Names::new(bundle), decider: Decider::new(bundle), namer, enrolments: None }
    }

    /// Gives pictures that are of one of `enrolments` its name, whatever the rule says of them.
    pub fn with_enrolments(self, enrolments: &'a Enrolments) -> Judge<'a> {
        Judge { names: self.names.with_enrolments(enrolments), enrolments: Some(enrolments), ..self }
    }

    /// Names of what it can answer.
    pub fn names(&self) -> Names<'a> {
        self.names
    }

    /// The rule.
    pub fn decider(&self) -> &Decider {
        &self.decider
    }

    /// What `outputs` say. The times are zero. Allocates nothing.
    ///
    /// # Errors
    /// As [`scores::score`] for outputs that are no numbers; [`Error::BadInput`] for more logits than the bundle has
    /// classes.
    pub fn answer(&self, outputs: &Outputs) -> Result<Answer<'a>> {
        let scores = scores::score(&outputs.logits, &outputs.distances)?;
        let found = self.enrolments.and_then(|e| e.find(&outputs.features, &outputs.distances, &self.decider));
        let other = self.decider.other_score().map(|kind| kind.of(&outputs.logits, &outputs.distances) as f32);
        let answer = self.by_rule_with(&scores, other.unwrap_or(f32::NAN))?;
        Ok(match found {
            None => {
                let told = self.namer.as_ref().and_then(|namer| namer.told(&outputs.logits, answer.decision));
                Answer { taxon: told, ..answer }
            }
            Some(found) => {
                let (decision, label) = (Decision::Enrolled(found.index), found.class.name());
                let enrolled = EnrolledAs { label, distance: found.distance, radius: found.class.radius() };
                Answer {
                    decision,
                    label: Some(label),
                    name: Some(label),
                    shot: None,
                    enrolled: Some(enrolled),
                    ..answer
                }
            }
        })
    }

    /// What the rule says of `scores`, without enrolled classes; a rule that examines another score than these says open.
    /// Allocates nothing.
    ///
    /// # Errors
    /// [`Error::BadInput`] for scores of a class that the bundle does not have.
    pub fn by_rule(&self, scores: &Scores) -> Result<Answer<'a>> {
        self.by_rule_with(scores, f32::NAN)
    }

    /// What the rule says of frames whose outputs have this mean, without enrolled classes; `None` before the first frame.
    /// Allocates nothing.
    pub fn together(&self, mean: &Mean) -> Option<Answer<'a>> {
        let scores = mean.scores()?;
        let other = self.decider.other_score().map(|kind| kind.of(mean.logits(), mean.distances()) as f32);
        let answer = self.by_rule_with(&scores, other.unwrap_or(f32::NAN)).ok()?;
        let taxon = self.namer.as_ref().and_then(|namer| namer.told(mean.logits(), answer.decision));
        Some(Answer { taxon, ..answer })
    }

    fn by_rule_with(&self, scores: &Scores, other: f32) -> Result<Answer<'a>> {
        let Scores { class, probability, nearest, distance, reachability } = *scores;
        let resembled = self.names.class(nearest).filter(|_| self.names.class(class).is_some());
        let resembled = resembled.ok_or_else(|| Error::BadInput {
            subject: "logits".into(),
            reason: format!("the bundle has {} classes, fewer than the network", self.names.bundle.classes.len()),
        })?;
        let Verdict { decision, threshold, decided_by, value, limit } = self.decider.decide_by(scores, other);
        Ok(Answer {
            decision,
            label: self.names.label(decision),
            name: self.names.name(decision),
            shot: self.names.shot(decision),
            most_probable: class,
            probability,
            reachability,
            threshold,
            nearest: Nearest { label: &resembled.id, name: &resembled.name, class: nearest, distance },
            by_rule: decision,
            decided_by,
            value,
            limit,
            enrolled: None,
            taxon: None,
            preprocess: Duration::ZERO,
            inference: Duration::ZERO,
            names: self.names,
        })
    }
}

/// Classifies pictures with a model: by the rule of its bundle and the classes enrolled beside it.
///
/// # Example
/// ```
/// # #[cfg(feature = "demo-model")] {
/// use oltr::{Classifier, Limits, Model, source::photo};
///
/// let model = Model::builtin(&Default::default())?;
/// let mut classifier = Classifier::new(&model)?;
/// let cup = photo::read("examples/photos/cup.jpg", &Limits::default())?;
/// let answer = classifier.classify(&cup)?;
/// assert_eq!(answer.to_string(), "known cup");
/// assert!(answer.reachability >= answer.threshold);
/// # }
/// # Ok::<(), oltr::Error>(())
/// ```
#[derive(Debug)]
pub struct Classifier<'a> {
    judge: Judge<'a>,
    session: Session,
}

impl<'a> Classifier<'a> {
    /// A classifier with a session of its own.
    ///
    /// # Errors
    /// [`Error::Metadata`] for a graph without classes; as [`Model::session`].
    pub fn new(model: &'a Model) -> Result<Classifier<'a>> {
        Ok(Classifier { judge: Judge::new(model.try_bundle()?), session: model.session()? })
    }

    /// Gives pictures that are of one of `enrolments` its name, whatever the rule says of them.
    pub fn with_enrolments(self, enrolments: &'a Enrolments) -> Classifier<'a> {
        Classifier { judge: self.judge.with_enrolments(enrolments), ..self }
    }

    /// Answers with listed classes only.
    pub fn with_listed(self, listed: &'a Listed) -> Classifier<'a> {
        let names = self.judge.names.with_listed(listed);
        Classifier { judge: Judge { names, ..self.judge }, ..self }
    }

    /// Names of what it can answer.
    pub fn names(&self) -> Names<'a> {
        self.judge.names()
    }

    /// What it judges the network's outputs by.
    pub fn judge(&self) -> &Judge<'a> {
        &self.judge
    }

    /// The session of the network.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What `frame` shows. Allocates nothing.
    ///
    /// # Errors
    /// As [`Session::run`] and [`Judge::answer`]: [`Error::BadImage`], [`Error::BadInput`] and [`Error::Limit`] concern
    /// this frame, any other all of them.
    pub fn classify(&mut self, frame: &Frame) -> Result<Answer<'a>> {
        self.session.run(frame)?;
        self.answer()
    }

    /// As [`Classifier::classify`] for a picture that is preprocessed already, see [`Session::run_pixels`].
    ///
    /// # Errors
    /// As [`Classifier::classify`], and [`Session::run_pixels`].
    pub fn classify_pixels(&mut self, pixels: &[u8]) -> Result<Answer<'a>> {
        self.session.run_pixels(pixels)?;
        self.answer()
    }

    /// What the outputs of the session say.
    fn answer(&mut self) -> Result<Answer<'a>> {
        if let Some(listed) = self.judge.names.listed {
            listed.apply(self.session.outputs_mut());
        }
        let answer = self.judge.answer(self.session.outputs())?;
        let times = self.session.times();
        Ok(Answer { preprocess: times.preprocess, inference: times.inference, ..answer })
    }

    /// The network's outputs for the last frame that was classified, without what a list leaves out.
    pub fn outputs(&self) -> &Outputs {
        self.session.outputs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::example;

    fn bundle() -> Bundle {
        let mut bundle = example::bundle(&[("c1", 120), ("c2", 50), ("c3", 4)]);
        for (class, name) in bundle.classes.iter_mut().zip(["cup", "moth", "eel"]) {
            class.name = name.into();
        }
        bundle
    }

    fn outputs(logits: [f32; 3], distances: [f32; 3], features: &[f32]) -> Outputs {
        Outputs { logits: logits.into(), distances: distances.into(), features: features.into() }
    }

    #[test]
    fn a_known_picture_names_its_class() {
        let bundle = bundle();
        let a = Judge::new(&bundle).answer(&outputs([0.0, 1.0, 3.0], [20.0, 10.0, 12.5], &[])).unwrap();
        assert_eq!((a.word(), a.label, a.class(), a.name), ("known", Some("c3"), Some(2), Some("eel")));
        assert_eq!((a.reachability, a.threshold, a.shot), (1.0, 0.5, Some(Shot::Few)));
        // The nearest centroid may be another class's.
        assert_eq!((a.nearest.label, a.nearest.class, a.nearest.distance), ("c2", 1, 10.0));
        assert_eq!((a.most_probable, a.decided_by, a.margin()), (2, ScoreKind::Reachability, Some(1.0)));
        assert_eq!(a.to_string(), "known eel");
    }

    #[test]
    fn an_open_picture_has_no_class_but_says_what_it_resembles() {
        let bundle = bundle();
        let judge = Judge::new(&bundle);
        let a = judge.answer(&outputs([0.0, 1.0, 3.0], [25.0, 26.0, f32::INFINITY], &[])).unwrap();
        assert_eq!((a.word(), a.label, a.class(), a.shot, a.name), ("open", None, None, None, None));
        assert_eq!((a.nearest.name, a.most_probable, a.is_known()), ("cup", 2, false));
        assert!((a.margin().unwrap() + 0.2).abs() < 1e-6);
        assert_eq!(a.to_string(), "open");
    }

    #[test]
    fn an_enrolled_class_overrules_the_rule_and_keeps_what_it_said() {
        let bundle = bundle();
        let mut enrolments = Enrolments::new("h");
        enrolments.add(Enrolled::new("newt", &[vec![0.0, 0.0], vec![2.0, 0.0]], 20.0).unwrap()).unwrap();
        let judge = Judge::new(&bundle).with_enrolments(&enrolments);
        let open = [25.0, 26.0, 30.0];
        let a = judge.answer(&outputs([0.0, 1.0, 3.0], open, &[1.0, 0.0])).unwrap();
        assert_eq!((a.decision, a.by_rule, a.class(), a.shot), (Decision::Enrolled(0), Decision::Open, None, None));
        assert_eq!((a.word(), a.label, a.name), ("known", Some("newt"), Some("newt")));
        assert_eq!(a.enrolled.map(|e| (e.label, e.distance)), Some(("newt", 0.0)));
        assert_eq!(judge.names().enrolled().collect::<Vec<_>>(), ["newt"]);
        // Too far from it: as if it were not there.
        let far = judge.answer(&outputs([0.0, 1.0, 3.0], open, &[9.0, 0.0])).unwrap();
        assert_eq!((far.decision, far.enrolled), (Decision::Open, None));
    }

    #[test]
    fn outputs_that_are_no_answer_are_refused() {
        let bundle = bundle();
        let judge = Judge::new(&bundle);
        assert!(judge.answer(&outputs([f32::NAN, 0.0, 0.0], [1.0; 3], &[])).is_err());
        let four = Outputs { logits: vec![0.0, 0.0, 0.0, 9.0], distances: vec![1.0; 4], features: vec![] };
        assert!(judge.answer(&four).unwrap_err().to_string().contains("3 classes"));
    }
}
