//! Candidates for boxes in fixed memory.

use heapless::Vec;

/// Boxes that one output may hold; the largest usual ones have 25 200.
pub const MOST_BOXES: usize = 1 << 17;

/// Boxes of one frame that are compared with each other: those with the highest scores.
pub const MOST_CANDIDATES: usize = 256;

/// Of two boxes with so much in common, as a share of what both cover, the one with the lower score goes.
pub const OVERLAP: f32 = 0.45;

/// A box and its score.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Candidate {
    /// Left, top, right, bottom in pixels of the network's input.
    pub corners: [f32; 4],
    pub score: f32,
}

/// The best boxes so far.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    best: Vec<Candidate, MOST_CANDIDATES>,
    /// The place of the lowest score, once there is no more room.
    lowest: Option<usize>,
}

impl Candidates {
    pub fn clear(&mut self) {
        self.best.clear();
        self.lowest = None;
    }

    pub fn len(&self) -> usize {
        self.best.len()
    }

    /// Takes a box, in the place of the one with the lowest score where there is no room. What is no box is passed over.
    pub fn add(&mut self, candidate: Candidate) {
        let [left, top, right, bottom] = candidate.corners;
        let is_box = candidate.corners.iter().all(|number| number.is_finite()) && right > left && bottom > top;
        if !is_box || !candidate.score.is_finite() {
            return;
        }
        let Err(candidate) = self.best.push(candidate) else { return };
        let lowest = self.lowest.unwrap_or_else(|| self.find_lowest());
        if candidate.score > self.best[lowest].score {
            self.best[lowest] = candidate;
            self.lowest = None;
        } else {
            self.lowest = Some(lowest);
        }
    }

    fn find_lowest(&self) -> usize {
        let lower = |a: usize, b: usize| if self.best[b].score < self.best[a].score { b } else { a };
        (0..self.best.len()).reduce(lower).unwrap_or(0)
    }

    /// Sorts by score and takes out boxes that one with a higher score overlaps.
    pub fn suppress(&mut self) {
        self.best.sort_unstable_by(|a, b| {
            b.score
                .total_cmp(&a.score)
                .then_with(|| a.corners.partial_cmp(&b.corners).unwrap_or(std::cmp::Ordering::Equal))
        });
        let mut kept = 0;
        for place in 0..self.best.len() {
            let one = self.best[place];
            if self.best[..kept].iter().all(|other| overlap(one.corners, other.corners) < OVERLAP) {
                self.best[kept] = one;
                kept += 1;
            }
        }
        self.best.truncate(kept);
        self.lowest = None;
    }

    pub fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.best.iter()
    }
}

/// What two boxes have in common, as a share of what both cover.
pub fn overlap(a: [f32; 4], b: [f32; 4]) -> f32 {
    let side = |first: usize| (a[first + 2].min(b[first + 2]) - a[first].max(b[first])).max(0.0);
    let area = |corners: [f32; 4]| (corners[2] - corners[0]) * (corners[3] - corners[1]);
    let common = side(0) * side(1);
    let all = area(a) + area(b) - common;
    if all > 0.0 { common / all } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(x: f32, score: f32) -> Candidate {
        Candidate { corners: [x, 0.0, x + 10.0, 10.0], score }
    }

    #[test]
    fn of_boxes_that_overlap_the_best_stays() {
        let mut candidates = Candidates::default();
        for candidate in [one(0.0, 0.5), one(1.0, 0.9), one(2.0, 0.7), one(30.0, 0.3)] {
            candidates.add(candidate);
        }
        candidates.suppress();
        assert_eq!(candidates.iter().copied().collect::<std::vec::Vec<_>>(), [one(1.0, 0.9), one(30.0, 0.3)]);
    }

    #[test]
    fn the_best_of_a_million_are_kept_and_what_is_no_box_is_not() {
        let mut candidates = Candidates::default();
        for i in 0..1_000_000u32 {
            // Every score once, in an order that jumps.
            let place = i.wrapping_mul(387_420_489) % 1_000_000;
            candidates.add(one(20.0 * (place % 1000) as f32, place as f32 / 1e6));
        }
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            candidates.add(one(wrong, 1.0));
            candidates.add(one(0.0, wrong));
        }
        candidates.add(Candidate { corners: [5.0, 5.0, 5.0, 9.0], score: 1.0 });
        candidates.add(Candidate { corners: [9.0, 5.0, 5.0, 9.0], score: 1.0 });
        candidates.suppress();
        assert!(candidates.len() <= MOST_CANDIDATES);
        assert_eq!(candidates.iter().next().map(|c| c.score), Some(999_999.0 / 1e6));
        assert!(candidates.iter().all(|c| c.score > 0.999));
    }
}
