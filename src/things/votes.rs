//! What all cuts of one thing say together. Pure.

use heapless::Vec;
use oltr_scenes::Area;

use super::settings::MOST_CUTS;
use crate::decide::Decision;
use crate::decide::consensus::Observation;

/// What one cut of a thing said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// The answer, and the frame that the cut is of.
    pub answer: Observation,
    /// Where the thing was in it.
    pub area: Area,
}

/// The cuts of one thing, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Votes {
    looks: Vec<Look, MOST_CUTS>,
}

impl Votes {
    /// Takes one more; beyond [`MOST_CUTS`] it is passed over.
    pub fn add(&mut self, look: Look) {
        let _ = self.looks.push(look);
    }

    /// Exchanges the cuts from `own` on with those of another from `others` on.
    pub fn exchange(&mut self, own: usize, other: &mut Votes, others: usize) {
        let (own, others) = (own.min(self.looks.len()), others.min(other.looks.len()));
        let tail: Vec<Look, MOST_CUTS> = self.looks[own..].iter().copied().collect();
        self.looks.truncate(own);
        let _ =
            self.looks.extend_from_slice(&other.looks[others..][..(other.looks.len() - others).min(MOST_CUTS - own)]);
        other.looks.truncate(others);
        let _ = other.looks.extend_from_slice(&tail[..tail.len().min(MOST_CUTS - others)]);
    }

    /// All cuts.
    pub fn looks(&self) -> &[Look] {
        &self.looks
    }

    /// What they say together: open where more than nine tenths are; else the label with the largest sum of probabilities, the
    /// first of equals. Without a cut nothing was classified.
    pub fn decision(&self) -> Decision {
        if self.looks.is_empty() {
            return Decision::Unclassified;
        }
        let open = self.supporters(Decision::Open).count();
        if 10 * open > 9 * self.looks.len() {
            return Decision::Open;
        }
        let sum = |label| self.supporters(label).map(|look| f64::from(look.answer.probability)).sum::<f64>();
        let labels = self.looks.iter().map(|look| look.answer.decision).filter(|label| *label != Decision::Open);
        let best = labels.reduce(|best, label| if sum(label) > sum(best) { label } else { best });
        best.unwrap_or(Decision::Open)
    }

    /// The cuts that say `label`.
    pub fn supporters(&self, label: Decision) -> impl Iterator<Item = &Look> {
        self.looks.iter().filter(move |look| look.answer.decision == label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn votes(of: &[(Decision, f32)]) -> Votes {
        let mut votes = Votes::default();
        for (frame, (decision, probability)) in (0..).zip(of) {
            let (time, reachability, nearest) = (Duration::from_secs(frame), 1.0, 0);
            let (decision, probability) = (*decision, *probability);
            let answer = Observation { frame, time, decision, probability, reachability, nearest, named: None };
            votes.add(Look { answer, area: Area::default() });
        }
        votes
    }

    #[test]
    fn cuts_agree_on_open_by_number_and_on_a_label_by_probability() {
        use Decision::{Enrolled, Known, Open, Unclassified};
        for (cuts, expected) in [
            (&[][..], Unclassified),
            (&[(Open, 0.9)], Open),
            (&[(Known(3), 0.1)], Known(3)),
            (&[(Open, 0.9), (Open, 0.9), (Known(3), 0.1)], Known(3)),
            (&[(Open, 0.9), (Known(3), 0.1), (Open, 0.9), (Open, 0.9)], Known(3)),
            // Two that are unsure weigh less than one that is sure.
            (&[(Known(3), 0.3), (Known(5), 0.9), (Known(3), 0.3)], Known(5)),
            (&[(Known(3), 0.5), (Known(5), 0.9), (Known(3), 0.5)], Known(3)),
            (&[(Known(3), 0.5), (Known(5), 0.5)], Known(3)),
            (&[(Enrolled(0), 0.5), (Open, 0.5), (Known(0), 0.4)], Enrolled(0)),
        ] {
            assert_eq!(votes(cuts).decision(), expected, "{cuts:?}");
        }
        // 18 of 20 are not more than nine tenths.
        let mut all = [(Open, 0.9); 20];
        all[0] = (Known(3), 0.1);
        assert_eq!(votes(&all).decision(), Open);
        all[1] = (Known(3), 0.1);
        assert_eq!(votes(&all).decision(), Known(3));
        assert_eq!(votes(&[(Open, 0.1); MOST_CUTS + 9]).looks().len(), MOST_CUTS);
        let (mut a, mut b) = (votes(&[(Open, 0.1); 3]), votes(&[(Known(1), 0.9); MOST_CUTS]));
        a.exchange(2, &mut b, 1);
        assert_eq!((a.looks().len(), b.looks().len()), (MOST_CUTS, 2));
        assert_eq!((a.decision(), b.decision()), (Known(1), Known(1)));
        a.exchange(99, &mut b, 99);
        assert_eq!((a.looks().len(), b.looks().len()), (MOST_CUTS, 2));
    }
}
