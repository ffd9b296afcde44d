//! Weights split so that products of bytes do not saturate.
//!
//! `vpmaddubsw` adds two products of bytes in 16 bits and saturates. It cannot where two neighbouring weights, of one sign,
//! are together no more than [`MOST`]: 255 times that fits. In trained networks one pair in a hundred is larger, for few
//! weights are near the largest of their channel. What such a pair has too much is taken from one of its weights and
//! multiplied in a step of its own. An *extra* step may begin at any activation, so that one serves up to three
//! neighbouring pairs, of every lane.

/// Channels of a vector.
pub(crate) const LANES: usize = 8;

/// Largest sum of two neighbouring weights of one sign, and smallest negated.
const MOST: i16 = 128;

/// A step that is multiplied beside those of the run.
#[derive(Clone, Debug)]
pub(crate) struct OverflowStep {
    /// Its first activation, from the start of the run.
    pub place: usize,
    /// `[lane][activation]`.
    pub weights: [[i16; 4]; LANES],
}

/// Whether no activations can make these neighbours saturate.
fn safe(a: i16, b: i16) -> bool {
    overflow(a, b) == 0
}

/// What neighbours have too much together: those of one sign, for others cannot be so large.
fn overflow(a: i16, b: i16) -> i16 {
    let sum = a + b;
    sum - sum.clamp(-MOST, MOST)
}

/// About as many extra steps as [`split`] gives for all channels of a layer, which have `terms` weights each, in runs of
/// `run`.
pub(crate) fn extra_steps(weights: &[i8], terms: usize, run: usize) -> usize {
    let mut pairs = vec![false; run.div_ceil(2)];
    let mut count = 0;
    for vector in weights.chunks(terms * LANES) {
        for first in (0..terms).step_by(run) {
            pairs.fill(false);
            for channel in vector.chunks(terms) {
                for (large, pair) in pairs.iter_mut().zip(channel[first..first + run].chunks_exact(2)) {
                    *large |= !safe(i16::from(pair[0]), i16::from(pair[1]));
                }
            }
            let mut at = 0;
            while let Some(next) = pairs[at..].iter().position(|large| *large) {
                count += 1;
                // An extra step serves three pairs.
                at = (at + next + 3).min(pairs.len());
            }
        }
    }
    count
}

/// Makes the weights of a run safe, `[activation][lane]`, whole steps of four activations: takes what is too much, and puts
/// it into extra steps, which are all that `steps` holds then.
pub(crate) fn split(weights: &mut [i16], steps: &mut Vec<OverflowStep>) {
    let positions = weights.len() / LANES;
    steps.clear();
    for first in (0..positions).step_by(2) {
        for lane in 0..LANES {
            let overflow = overflow(weights[first * LANES + lane], weights[(first + 1) * LANES + lane]);
            if overflow == 0 {
                continue;
            }
            // Either weight can give it; the second is in more windows of those to come.
            let taken = [first, first + 1].into_iter().find(|place| match steps.last_mut() {
                Some(extra) => extra.take(*place, lane, overflow),
                None => false,
            });
            let place = taken.unwrap_or_else(|| {
                let mut extra = OverflowStep { place: (first + 1).min(positions - 4), weights: [[0; 4]; LANES] };
                assert!(extra.take(first + 1, lane, overflow), "an empty step takes any overflow");
                steps.push(extra);
                first + 1
            });
            weights[place * LANES + lane] -= overflow;
        }
    }
}

impl OverflowStep {
    /// Takes a weight for an activation, if it has that and stays safe.
    fn take(&mut self, place: usize, lane: usize, weight: i16) -> bool {
        let Some(slot) = place.checked_sub(self.place).filter(|slot| *slot < 4) else { return false };
        let weights = &mut self.weights[lane];
        let fits = weights[slot] == 0 && safe(weight, weights[slot ^ 1]);
        if fits {
            weights[slot] = weight;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_split_is_safe_and_adds_up() {
        let mut steps = Vec::new();
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as i64
        };
        for (case, positions) in [4, 8, 8, 12, 40, 64, 64, 64, 64, 400].into_iter().enumerate() {
            let whole: Vec<i16> = (0..positions * LANES)
                .map(|_| match case {
                    0 | 1 => -128,
                    2 => 127,
                    3..5 => [-128, 127][(next() % 2) as usize],
                    5 => 64,
                    _ if next() % 6 == 0 => (next() % 256 - 128) as i16,
                    _ => (next() % 129 - 64) as i16,
                })
                .collect();
            let mut weights = whole.clone();
            split(&mut weights, &mut steps);
            let mut sum = weights.clone();
            for OverflowStep { place, weights } in &steps {
                assert!(place + 4 <= positions);
                for (lane, weights) in weights.iter().enumerate() {
                    assert!(safe(weights[0], weights[1]) && safe(weights[2], weights[3]));
                    for (i, weight) in weights.iter().enumerate() {
                        assert!((-128..=127).contains(weight));
                        sum[(place + i) * LANES + lane] += weight;
                    }
                }
            }
            assert_eq!(sum, whole, "case {case}");
            for place in (0..positions).step_by(2) {
                for lane in 0..LANES {
                    let [a, b] = [place, place + 1].map(|place| weights[place * LANES + lane]);
                    assert!(
                        (-128..=127).contains(&a) && (-128..=127).contains(&b) && safe(a, b),
                        "case {case}: {a} {b}"
                    );
                }
            }
            let of_lane = |lane| whole[lane..].iter().step_by(LANES).map(|w| *w as i8);
            let channels: Vec<i8> = (0..LANES).flat_map(of_lane).collect();
            let estimate = extra_steps(&channels, positions, positions);
            assert!(
                (estimate..=estimate * 3 / 2 + 1).contains(&steps.len()),
                "case {case}: {} for {estimate}",
                steps.len()
            );
            // No more than there are steps; none where nothing is too much.
            assert!(steps.len() <= positions / 4 * 2, "case {case}: {} extra steps", steps.len());
            assert_eq!(steps.is_empty(), case == 5);
        }
    }
}
