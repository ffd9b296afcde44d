//! Why a frame came out as it did, in one or two sentences.

use serde::Serialize;

use crate::answer::{Answer, EnrolledAs};
use crate::bundle::Bundle;
use crate::calibrate::Calibration;
use crate::decide::Decision;
use crate::names::DisplayNames;
use crate::scores::ScoreKind;

/// Classes that an explanation names.
const NEAREST: usize = 3;

/// What decided about a frame, by what margin, and what it lies near to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// For people.
    pub text: String,
    /// The score that decided: `reachability` or `max-probability`.
    pub decided_by: &'static str,
    /// Its value.
    pub value: f32,
    /// What it was held against.
    pub threshold: f32,
    /// `value / threshold − 1`: below 0 the frame is open. `None` where the threshold is 0.
    pub margin: Option<f64>,
    /// The classes with the nearest centroids, nearest first.
    pub nearest: Vec<Neighbour>,
}

/// A class near to a frame.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Neighbour {
    /// Id of the class.
    pub label: String,
    /// Its place among the logits.
    pub class: usize,
    /// Distance of the frame to its centroid.
    pub distance: f32,
    /// 95 % of the photos of this class lie nearer than this, if the bundle was calibrated with photos of it.
    pub usual: Option<f64>,
}

/// Explains `answer`; `distances` are the network's, as many as `bundle` has classes. `calibration` is how the rule came
/// about, if [`calibrate`](crate::calibrate::calibrate) says so.
pub fn explain(answer: &Answer, distances: &[f32], bundle: &Bundle, calibration: Option<&Calibration>) -> Explanation {
    let Answer { decided_by, value, limit, .. } = *answer;
    let open = answer.by_rule == Decision::Open;
    let nearest = neighbours(distances, bundle, calibration);
    let names = DisplayNames::new(bundle);
    let named = names.of(answer.most_probable);
    let mut text = match answer.enrolled {
        None => String::new(),
        Some(EnrolledAs { label, distance, radius }) => format!(
            "{label}, enrolled on this device: its centroid is {distance:.2} away, within its radius of {radius:.2}, \
             and by its own spread nearer than any known class. Without it: "
        ),
    };
    text += &if open { "Open: ".to_string() } else { format!("{named}: ") };
    let sign = if open { "below" } else { "at least" };
    let what = match decided_by {
        ScoreKind::MaxProbability => "the largest probability",
        ScoreKind::Reachability => "the reachability",
        ScoreKind::DistanceRatio => "the ratio of the two nearest distances",
        ScoreKind::MaxLogit => "the largest logit",
        ScoreKind::Energy => "the energy of the logits",
        ScoreKind::Entropy => "the negative entropy of the probabilities",
        ScoreKind::Margin => "the lead of the largest probability",
    };
    text += &format!("{what}, {value:.3}, is {sign} the threshold of {limit:.3}");
    if let Some(margin) = answer.margin().filter(|m| m.abs() < 10.0) {
        text += &format!(" (by {:.1} %)", margin.abs() * 100.0);
    }
    text += ". ";
    if let Some(first) = nearest.first() {
        let name = names.of(first.class);
        text += &format!("The nearest centroid is that of {name}, {:.2} away", first.distance);
        text += &match first.usual {
            Some(usual) if f64::from(first.distance) <= usual => {
                format!(", where its own photos lie (95 % within {usual:.2})")
            }
            Some(usual) => format!(", beyond where its own photos lie (95 % within {usual:.2})"),
            None => String::new(),
        };
        let others: Vec<String> =
            nearest[1..].iter().map(|n| format!("{} {:.2}", names.of(n.class), n.distance)).collect();
        text += &if others.is_empty() { ".".into() } else { format!("; then {}.", others.join(", ")) };
        if first.class != answer.most_probable && !open {
            text += &format!(" The classifier names {named} all the same.");
        }
    }
    Explanation { text, decided_by: decided_by.name(), value, threshold: limit, margin: answer.margin(), nearest }
}

fn neighbours(distances: &[f32], bundle: &Bundle, calibration: Option<&Calibration>) -> Vec<Neighbour> {
    let mut order: Vec<usize> = (0..distances.len().min(bundle.classes.len())).collect();
    order.sort_by(|a, b| distances[*a].total_cmp(&distances[*b]));
    order.truncate(NEAREST);
    let neighbour = |class: usize| {
        let label = &bundle.classes[class].id;
        let usual = calibration.and_then(|c| c.spread.get(label)).map(|spread| spread.q95);
        Neighbour { label: label.clone(), class, distance: distances[class].min(f32::MAX), usual }
    };
    order.into_iter().map(neighbour).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Judge;
    use crate::bundle::Rule;
    use crate::bundle::example;
    use crate::calibrate::{Data, Promised, Rates, Spread};
    use crate::model::Outputs;

    fn bundle(rule: Rule) -> Bundle {
        let mut bundle = example::bundle(&["cup", "eel", "moth", "ant"].map(|id| (id, 9)));
        bundle.classes.iter_mut().for_each(|class| class.name = format!("a {}", class.id));
        (bundle.open.rule, bundle.open.reachability, bundle.open.probability) = (rule, 1.0, 0.5);
        bundle
    }

    fn explained(rule: Rule, logits: [f32; 4], distances: [f32; 4]) -> Explanation {
        let bundle = bundle(rule);
        let outputs = Outputs { logits: logits.into(), distances: distances.into(), features: vec![] };
        let answer = Judge::new(&bundle).answer(&outputs).unwrap();
        let calibration = Calibration {
            target: String::new(),
            split: String::new(),
            data: Data { known: 0, known_classes: 0, open: 0, open_classes: 0 },
            reached: Rates::default(),
            promised: Promised::default(),
            score: String::new(),
            known_scores: None,
            open_scores: None,
            weighed: Vec::new(),
            names: Vec::new(),
            spread: [("eel".to_string(), Spread { photos: 5, median: 7.0, q95: 9.0 })].into(),
            graph_sha256: String::new(),
            runtime: String::new(),
        };
        explain(&answer, &distances, &bundle, Some(&calibration))
    }

    #[test]
    fn an_open_frame_says_how_far_it_is() {
        let e = explained(Rule::Reachability, [9.0, 0.0, 0.0, 0.0], [12.5, 12.0, 16.0, 20.0]);
        assert_eq!((e.decided_by, e.threshold), ("reachability", 1.0));
        assert!((e.margin.unwrap() - (10.0 / 12.0 - 1.0)).abs() < 1e-6);
        assert_eq!(
            e.nearest.iter().map(|n| (n.label.as_str(), n.usual)).collect::<Vec<_>>(),
            [("eel", Some(9.0)), ("cup", None), ("moth", None)]
        );
        assert_eq!(
            e.text,
            "Open: the reachability, 0.833, is below the threshold of 1.000 (by 16.7 %). The nearest centroid is that \
             of a eel, 12.00 away, beyond where its own photos lie (95 % within 9.00); then a cup 12.50, a moth 16.00."
        );
    }

    #[test]
    fn a_known_frame_says_what_named_it() {
        let e = explained(Rule::Reachability, [9.0, 0.0, 0.0, 0.0], [8.5, 8.0, 16.0, 20.0]);
        assert!(e.text.starts_with("a cup: the reachability, 1.250, is at least the threshold"), "{}", e.text);
        assert!(e.text.contains("where its own photos lie (95 % within 9.00)"), "{}", e.text);
        assert!(e.text.ends_with("The classifier names a cup all the same."), "{}", e.text);
    }

    #[test]
    fn of_both_scores_the_one_that_decided_is_told() {
        let near = [8.0, 20.0, 20.0, 20.0];
        let sure = explained(Rule::Both, [9.0, 0.0, 0.0, 0.0], near);
        assert_eq!((sure.decided_by, sure.margin.unwrap() > 0.0), ("reachability", true));
        let unsure = explained(Rule::Both, [0.1, 0.0, 0.0, 0.0], near);
        assert_eq!((unsure.decided_by, unsure.threshold), ("max-probability", 0.5));
        assert!(unsure.text.starts_with("Open: the largest probability"), "{}", unsure.text);
        assert_eq!(explained(Rule::MaxProbability, [0.0; 4], near).decided_by, "max-probability");
    }
}
