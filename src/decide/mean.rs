//! The joint result of all frames of one thing: their mean logits and mean reachability, instead of votes.
//!
//! A vote loses how sure a frame was. The mean keeps that, and a single blurred frame changes it little. The mean is
//! judged by the threshold of a single frame. Consecutive frames are much alike, so their mean scatters hardly less
//! than one of them, and a threshold for n independent frames would promise too much.
//!
//! Memory is taken once, for as many classes as the network has.

use crate::error::{Error, Result};
use crate::scores::{self, Scores};

/// Sums over the frames of one thing.
#[derive(Clone, Debug, PartialEq)]
pub struct Mean {
    logits: Vec<f32>,
    distances: Vec<f32>,
    reachability: f64,
    frames: u32,
}

impl Mean {
    /// No frame yet, of a network with `classes` classes.
    pub fn new(classes: usize) -> Mean {
        Mean { logits: vec![0.0; classes], distances: vec![0.0; classes], reachability: 0.0, frames: 0 }
    }

    /// Forgets all frames.
    pub fn clear(&mut self) {
        self.logits.fill(0.0);
        self.distances.fill(0.0);
        (self.reachability, self.frames) = (0.0, 0);
    }

    /// The mean logits.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// The mean distances; all 0 for a network without centroids.
    pub fn distances(&self) -> &[f32] {
        &self.distances
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Mean>() + size_of_val(&self.logits[..]) + size_of_val(&self.distances[..])
    }

    /// Frames so far.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Adds a frame: `logits` as the session returns them, and `distances`, empty for a network without centroids.
    /// Allocates nothing.
    ///
    /// # Errors
    /// [`Error::BadInput`] for the wrong number of classes, and as [`scores::score`]. That frame is not counted.
    pub fn observe(&mut self, logits: &[f32], distances: &[f32]) -> Result<()> {
        let scores = scores::score(logits, distances)?;
        if logits.len() != self.logits.len() {
            let reason = format!("{} for {} classes", logits.len(), self.logits.len());
            return Err(Error::BadInput { subject: "logits".into(), reason });
        }
        if self.frames == u32::MAX {
            return Ok(());
        }
        let n = (self.frames + 1) as f32;
        // Means that move by a share of the difference overflow no sum.
        let towards = |mean: &mut [f32], values: &[f32]| {
            mean.iter_mut().zip(values).for_each(|(m, x)| *m += (x.min(f32::MAX) - *m) / n);
        };
        towards(&mut self.logits, logits);
        towards(&mut self.distances, distances);
        self.reachability += (f64::from(scores.reachability) - self.reachability) / f64::from(n);
        self.frames += 1;
        Ok(())
    }

    /// The joint scores of all frames, as [`Judge::together`](crate::Judge::together) judges them: class and
    /// probability of the mean logits, the mean reachability, and the class with the smallest mean distance. `None`
    /// before the first frame.
    pub fn scores(&self) -> Option<Scores> {
        (self.frames > 0).then_some(())?;
        let (class, probability) = scores::most_probable(&self.logits).ok()?;
        let nearest = if self.reachability == 0.0 {
            class
        } else {
            (0..self.distances.len()).min_by(|a, b| self.distances[*a].total_cmp(&self.distances[*b]))?
        };
        let reachability = self.reachability as f32;
        Some(Scores { class, probability, nearest, distance: 10.0 / reachability, reachability })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sure_frame_outweighs_two_that_waver() {
        let mut mean = Mean::new(2);
        assert_eq!(mean.scores(), None);
        mean.observe(&[1.0, 1.1], &[10.0, 10.0]).unwrap();
        mean.observe(&[1.0, 1.1], &[10.0, 10.0]).unwrap();
        mean.observe(&[4.0, 0.0], &[2.5, 20.0]).unwrap();
        let s = mean.scores().unwrap();
        assert_eq!((s.class, s.nearest, mean.frames()), (0, 0, 3));
        assert!((s.reachability - 2.0).abs() < 1e-6 && (s.distance - 5.0).abs() < 1e-5, "{s:?}");
        // Mean logits 2 and 11/15.
        let p = 1.0 / (1.0 + (0.733_333_3f32 - 2.0).exp());
        assert!((s.probability - p).abs() < 1e-6, "{s:?}");
        mean.clear();
        assert_eq!((mean.scores(), mean.frames()), (None, 0));
    }

    #[test]
    fn one_frame_is_what_it_says_itself() {
        let (logits, distances) = ([0.25, -1.0, 2.5], [4.0, 3.0, 9.0]);
        let mut mean = Mean::new(3);
        mean.observe(&logits, &distances).unwrap();
        let (one, s) = (scores::score(&logits, &distances).unwrap(), mean.scores().unwrap());
        assert_eq!((s.class, s.nearest, s.probability), (one.class, one.nearest, one.probability));
        assert!((s.reachability - one.reachability).abs() < 1e-6);
    }

    #[test]
    fn frames_that_are_no_numbers_are_not_counted() {
        let mut mean = Mean::new(2);
        assert!(mean.observe(&[f32::NAN, 0.0], &[1.0, 1.0]).is_err());
        assert!(mean.observe(&[0.0; 3], &[1.0; 3]).is_err());
        assert_eq!(mean.frames(), 0);
        // Without distances, and at infinite ones, it stays a number.
        mean.observe(&[0.0, 1.0], &[]).unwrap();
        assert_eq!(mean.scores().map(|s| (s.class, s.nearest, s.reachability)), Some((1, 1, 0.0)));
        mean.clear();
        mean.observe(&[3e38, 0.0], &[f32::INFINITY, f32::INFINITY]).unwrap();
        mean.observe(&[3e38, 0.0], &[0.0, f32::INFINITY]).unwrap();
        assert!(mean.scores().is_some_and(|s| s.reachability.is_finite()));
    }
}
