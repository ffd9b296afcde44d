//! Who is who after things met: by what the network sees of them, not by their ways alone. Pure.
//!
//! Two things that merge are followed on by their ways. Where both turned round meanwhile, each goes on under the other's number.
//! Cuts after the meeting are held against those before: where they fit crosswise, the numbers are changed.

use std::num::NonZeroU64;

/// Numbers of a sketch of a feature.
const NUMBERS: usize = 128;

/// Cuts that are wanted of each thing after a meeting, and that must be known from before.
const WANTED: u32 = 2;

/// Crosswise must fit so much better than straight on, as a share of it: the way alone is right mostly.
const BETTER: f32 = 0.7;

/// A feature of any length in a few numbers that keep its distances, and the mean of some.
///
/// Each number of a feature goes to one place, by a fixed sign (a count sketch): distances are kept on average.
#[derive(Clone, Debug, PartialEq)]
pub struct Sketch {
    sum: [f32; NUMBERS],
    count: u32,
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch { sum: [0.0; NUMBERS], count: 0 }
    }
}

impl Sketch {
    /// Takes the feature of one more cut; one that holds what is no number is passed over.
    pub fn add(&mut self, feature: &[f32]) {
        let length = feature.iter().map(|number| number * number).sum::<f32>().sqrt();
        if !length.is_finite() || length <= 0.0 {
            return;
        }
        for (index, number) in feature.iter().enumerate() {
            // As good as by chance, and the same on every machine.
            let mixed = (index as u32).wrapping_mul(0x9E37_79B9) ^ 0x5BD1_E995;
            let mixed = (mixed ^ mixed >> 15).wrapping_mul(0x85EB_CA6B);
            // Short features are kept as they are.
            let (place, sign) = match feature.len() <= NUMBERS {
                true => (index, 1.0),
                false => ((mixed >> 8) as usize % NUMBERS, if mixed >> 31 == 0 { 1.0 } else { -1.0 }),
            };
            self.sum[place] += sign * number / length;
        }
        self.count += 1;
    }

    fn join(&mut self, other: &Sketch) {
        self.sum.iter_mut().zip(other.sum).for_each(|(sum, more)| *sum += more);
        self.count += other.count;
    }

    /// The square of the distance between the means.
    fn distance(&self, other: &Sketch) -> f32 {
        let (own, others) = (self.count.max(1) as f32, other.count.max(1) as f32);
        self.sum.iter().zip(other.sum).map(|(a, b)| (a / own - b / others) * (a / own - b / others)).sum()
    }
}

/// What is known of the look of a thing.
#[derive(Clone, Debug, Default)]
pub struct Likeness {
    /// Before the last meeting, and where there was none all along.
    before: Sketch,
    /// Since it.
    after: Sketch,
    /// Whom it met; numbers of things begin at 1.
    met: Option<NonZeroU64>,
    /// How many cuts it had then.
    cuts: u32,
}

impl Likeness {
    /// Takes the feature of a cut.
    pub fn add(&mut self, feature: &[f32]) {
        if self.met.is_some() { self.after.add(feature) } else { self.before.add(feature) }
    }

    /// It is in one piece with the thing `other`, and has `cuts` so far.
    pub fn meet(&mut self, other: u64, cuts: usize) {
        // Where it was not settled who is who since the last meeting, what was seen between belongs to neither.
        match self.met {
            Some(_) => self.after = Sketch::default(),
            None => self.cuts = u32::try_from(cuts).unwrap_or(u32::MAX),
        }
        self.met = NonZeroU64::new(other);
    }

    /// Whom it met, and the cuts that it had then.
    pub fn met(&self) -> Option<(u64, usize)> {
        self.met.map(|other| (other.get(), self.cuts as usize))
    }

    /// Whether a cut is wanted to tell who it is.
    pub fn is_curious(&self) -> bool {
        self.met.is_some() && self.before.count >= WANTED && self.after.count < WANTED
    }

    /// Forgets the meeting: the other one is gone, or it is settled.
    pub fn part(&mut self) {
        self.before.join(&std::mem::take(&mut self.after));
        self.met = None;
    }

    /// Exchanges with another what was seen since they met.
    pub fn exchange(&mut self, other: &mut Likeness) {
        std::mem::swap(&mut self.after, &mut other.after);
    }

    /// Whether each is the other since they met; `None` while too little was seen.
    pub fn is_crossed(&self, other: &Likeness) -> Option<bool> {
        let known = |of: &Likeness| of.before.count >= WANTED && of.after.count >= WANTED;
        if !known(self) || !known(other) {
            return None;
        }
        let straight = self.before.distance(&self.after) + other.before.distance(&other.after);
        let crossed = self.before.distance(&other.after) + other.before.distance(&self.after);
        Some(crossed < straight * BETTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A feature of `length` that is much like others of its `kind`.
    fn feature(kind: u32, seed: u32, length: usize) -> Vec<f32> {
        let next = |mut state: u32| {
            state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            ((state >> 9) as f32 / (1 << 22) as f32) - 1.0
        };
        (0..length as u32).map(|i| next(kind * 7919 + i) + 0.4 * next(seed * 104_729 + i)).collect()
    }

    #[test]
    fn who_is_who_is_told_by_features_of_any_length() {
        for length in [2, 16, 128, 129, 512, 2048] {
            let mut things = [Likeness::default(), Likeness::default()];
            let mut seed = 0;
            let mut see = |thing: &mut Likeness, kind| {
                seed += 1;
                thing.add(&feature(kind, seed, length));
            };
            for _ in 0..4 {
                see(&mut things[0], 1);
                see(&mut things[1], 2);
            }
            things[0].meet(2, 4);
            things[1].meet(1, 4);
            let [a, b] = &mut things;
            assert_eq!(a.is_crossed(b), None);
            assert!(a.is_curious());
            let (mut c, mut d) = (a.clone(), b.clone());
            for _ in 0..2 {
                see(a, 1);
                see(b, 2);
                see(&mut c, 2);
                see(&mut d, 1);
            }
            assert_eq!((a.is_crossed(b), c.is_crossed(&d)), (Some(false), Some(true)), "{length}");
            c.exchange(&mut d);
            assert_eq!(c.is_crossed(&d), Some(false));
            c.part();
            assert!(c.met().is_none() && !c.is_curious());
        }
    }

    #[test]
    fn those_that_look_alike_and_what_is_no_number_change_nothing() {
        let (mut a, mut b) = (Likeness::default(), Likeness::default());
        for seed in 0..8 {
            if seed == 4 {
                a.meet(2, 4);
                b.meet(1, 4);
            }
            a.add(&feature(1, seed, 64));
            b.add(&feature(1, 100 + seed, 64));
        }
        assert_eq!(a.is_crossed(&b), Some(false));
        let mut wrong = Sketch::default();
        for feature in [&[f32::NAN, 1.0][..], &[f32::INFINITY], &[0.0; 9], &[], &[f32::MAX; 3]] {
            wrong.add(feature);
        }
        assert_eq!(wrong, Sketch::default());
    }
}
