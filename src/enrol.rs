//! Classes learnt on the device: a centroid and a spread from a few photos, kept in a small file beside the bundle.
//!
//! Enrolled classes are used after the graph. A frame is given an enrolled name if its direct feature lies within the
//! class's radius *and* nearer to the class's centroid than to the centroid of any known class; otherwise the bundle's
//! rule stands. So an enrolment can name what was open, and take a frame from a known class that is farther away; it
//! cannot make any other frame known.
//!
//! # Limits
//! - The features were trained for the known classes: what those do not need to tell apart, an enrolment cannot either.
//!   Two enrolled classes that look alike to the network are mixed up.
//! - Photos of one occasion (one fish, one background) give a radius for that occasion. Take them from several.
//! - It belongs to one network: centroids of another graph mean nothing, which is checked. Calibrating a bundle anew
//!   keeps its enrolments; training it anew does not.
//! - At most [`MAX_CLASSES`] classes with [`MAX_PHOTOS`] photos each, features of at most [`MAX_FEATURES`] numbers.
//!   Many classes, or many photos, deserve training.

mod file;

use heapless::{String as Name, Vec as Bounded};

use crate::bundle::Bundle;
use crate::calibrate::Calibration;
use crate::error::{Error, Result};
use crate::scores::Scores;

/// Most enrolled classes: a linear search through them costs less than one layer of a network.
pub const MAX_CLASSES: usize = 32;

/// Most photos that one class is enrolled from.
pub const MAX_PHOTOS: usize = 64;

/// Fewest photos: from one alone no spread can be told.
pub const MIN_PHOTOS: usize = 2;

/// Most numbers of a feature (the published ones have 512, of ResNet-152 2048).
pub const MAX_FEATURES: usize = 2048;

/// Most bytes of a name.
pub const MAX_NAME: usize = 64;

/// Photos' worth of the usual distance in that of a class: with five photos half of it is its own.
const PRIOR_PHOTOS: f32 = 5.0;

/// The radius over the mean distance of a photo to the centroid of the others.
const SLACK: f32 = 1.15;

/// What a bundle says about distances, before any photo of a new class is seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// The distance at which photos of known classes usually lie from their centroids.
    pub usual: f32,
    /// The distance beyond which the bundle calls everything open.
    pub limit: f32,
}

impl Prior {
    /// Of `bundle`: the median over its classes of their median distances if it was calibrated with photos of them,
    /// else the limit; the limit is that of its reachability threshold.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a bundle without a reachability threshold: it says of nothing that it is too far away.
    pub fn of(bundle: &Bundle) -> Result<Prior> {
        let limit = 10.0 / bundle.open.reachability;
        if !limit.is_finite() {
            let reason = "has no reachability threshold to bound a new class with; calibrate it first".into();
            return Err(Error::BadInput { subject: format!("bundle '{}'", bundle.name), reason });
        }
        let calibration = Calibration::of(&bundle.open);
        let mut medians: Vec<f64> = calibration.iter().flat_map(|c| c.spread.values()).map(|s| s.median).collect();
        medians.sort_by(f64::total_cmp);
        let usual = medians.get(medians.len() / 2).map_or(limit, |median| *median as f32);
        Ok(Prior { usual: usual.min(limit), limit })
    }
}

/// One enrolled class.
#[derive(Clone, Debug, PartialEq)]
pub struct Enrolled {
    name: Name<MAX_NAME>,
    photos: usize,
    radius: f32,
    /// D numbers.
    centroid: Box<[f32]>,
}

impl Enrolled {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Photos that it was enrolled from.
    pub fn photos(&self) -> usize {
        self.photos
    }

    /// Distance from the centroid up to which frames are given its name.
    pub fn radius(&self) -> f32 {
        self.radius
    }

    /// The mean of its photos' features, D numbers.
    pub fn centroid(&self) -> &[f32] {
        &self.centroid
    }

    /// A class from the features of its photos.
    ///
    /// The radius is the mean distance of each photo to the centroid of the others, shrunk towards `prior.usual` (a
    /// handful of photos says little about a spread), and some slack; at most `prior.limit`.
    ///
    /// # Errors
    /// [`Error::BadInput`] for an empty or overlong name, fewer than [`MIN_PHOTOS`] or more than [`MAX_PHOTOS`] photos,
    /// features of unequal length or of more than [`MAX_FEATURES`] numbers, or a number that is not finite.
    pub fn new(name: &str, features: &[Vec<f32>], prior: Prior) -> Result<Enrolled> {
        let bad = |reason: String| Error::BadInput { subject: format!("class '{name}'"), reason };
        let n = features.len();
        if !(MIN_PHOTOS..=MAX_PHOTOS).contains(&n) {
            return Err(bad(format!("{n} photos; enrol it from {MIN_PHOTOS} to {MAX_PHOTOS}")));
        }
        let length = features[0].len();
        if length == 0 || length > MAX_FEATURES || features.iter().any(|f| f.len() != length) {
            return Err(bad(format!("its features must be equally long, 1 to {MAX_FEATURES} numbers")));
        }
        if features.iter().flatten().any(|x| !x.is_finite()) {
            return Err(bad("the network computed a feature that is not a number".into()));
        }
        let sum: Vec<f64> = (0..length).map(|i| features.iter().map(|f| f64::from(f[i])).sum()).collect();
        let centroid: Box<[f32]> = sum.iter().map(|s| (s / n as f64) as f32).collect();
        let to_others = |f: &Vec<f32>| {
            let square = |(i, x): (usize, &f32)| {
                let others = (sum[i] - f64::from(*x)) / (n - 1) as f64;
                (f64::from(*x) - others).powi(2)
            };
            f.iter().enumerate().map(square).sum::<f64>().sqrt()
        };
        let own = (features.iter().map(to_others).sum::<f64>() / n as f64) as f32;
        let shrunk = (n as f32 * own + PRIOR_PHOTOS * prior.usual) / (n as f32 + PRIOR_PHOTOS);
        Enrolled::from_parts(name, n, (SLACK * shrunk).min(prior.limit), centroid)
    }

    /// A class as it was stored; looks at everything.
    fn from_parts(name: &str, photos: usize, radius: f32, centroid: Box<[f32]>) -> Result<Enrolled> {
        let bad = |reason: String| Error::BadInput { subject: format!("class '{name}'"), reason };
        let trimmed = name.trim();
        let name = Name::try_from(trimmed).map_err(|_| bad(format!("its name is longer than {MAX_NAME} bytes")))?;
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(bad("a name must have letters, and no line breaks or other control characters".into()));
        }
        if !(radius.is_finite() && radius >= 0.0) || centroid.iter().any(|x| !x.is_finite()) {
            return Err(bad("its radius or centroid is not a number; check the photos and the bundle".into()));
        }
        if centroid.is_empty() || centroid.len() > MAX_FEATURES || photos > MAX_PHOTOS {
            return Err(bad(format!("has {} numbers and {photos} photos, which is out of bounds", centroid.len())));
        }
        Ok(Enrolled { name, photos, radius, centroid })
    }

    /// ‖v − c‖₂ of a feature of the same length.
    fn distance(&self, feature: &[f32]) -> f32 {
        let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
        feature.iter().zip(&self.centroid).map(square).sum::<f64>().sqrt() as f32
    }
}

/// The enrolled classes of one graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Enrolments {
    graph_sha256: String,
    classes: Bounded<Enrolled, MAX_CLASSES>,
}

/// An enrolled class that a frame is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match<'a> {
    /// The class.
    pub class: &'a Enrolled,
    /// Distance of the frame to its centroid.
    pub distance: f32,
}

impl Enrolments {
    /// No class yet, for the graph with this [hash](crate::model::graph_sha256).
    pub fn new(graph_sha256: &str) -> Enrolments {
        Enrolments { graph_sha256: graph_sha256.into(), classes: Bounded::new() }
    }

    /// Hash of the graph whose features these are.
    pub fn graph_sha256(&self) -> &str {
        &self.graph_sha256
    }

    /// The classes, in the order of their enrolment.
    pub fn classes(&self) -> &[Enrolled] {
        &self.classes
    }

    /// Adds `class`, or replaces the one of that name.
    ///
    /// # Errors
    /// [`Error::BadInput`] if [`MAX_CLASSES`] are enrolled, or the features of the others are of another length.
    pub fn add(&mut self, class: Enrolled) -> Result<()> {
        let bad = |reason: String| Error::BadInput { subject: format!("class '{}'", class.name), reason };
        let others = self.classes.iter().find(|other| other.name != class.name).map(|other| other.centroid.len());
        if let Some(length) = others.filter(|length| *length != class.centroid.len()) {
            return Err(bad(format!("its features have {} numbers, the others {length}", class.centroid.len())));
        }
        match self.classes.iter_mut().find(|other| other.name == class.name) {
            Some(other) => *other = class,
            None => {
                let full = format!("{MAX_CLASSES} classes are enrolled; remove one, or train a bundle with them");
                self.classes
                    .push(class)
                    .map_err(|class| Error::BadInput { subject: format!("class '{}'", class.name), reason: full })?;
            }
        }
        Ok(())
    }

    /// Removes the class `name`.
    ///
    /// # Errors
    /// [`Error::BadInput`] naming those that are there if there is none of that name.
    pub fn remove(&mut self, name: &str) -> Result<Enrolled> {
        match self.classes.iter().position(|class| class.name == name) {
            Some(i) => Ok(self.classes.remove(i)),
            None => {
                let names: Vec<&str> = self.classes.iter().map(Enrolled::name).collect();
                let there = if names.is_empty() { "none".into() } else { names.join(", ") };
                let reason = format!("is not enrolled; enrolled are: {there}");
                Err(Error::BadInput { subject: format!("class '{name}'"), reason })
            }
        }
    }

    /// The enrolled class that a frame with this `feature` (D numbers) and these `scores` is of: the nearest one, if the
    /// frame lies within its radius and nearer to it than to any known class. Allocates nothing.
    pub fn find(&self, feature: &[f32], scores: &Scores) -> Option<Match<'_>> {
        let fitting = self.classes.iter().filter(|class| class.centroid.len() == feature.len());
        let nearest = fitting
            .map(|class| Match { class, distance: class.distance(feature) })
            .min_by(|a, b| a.distance.total_cmp(&b.distance))?;
        (nearest.distance <= nearest.class.radius && nearest.distance < scores.distance).then_some(nearest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enrolled(name: &str, at: [f32; 2]) -> Enrolled {
        let features = [[at[0] - 1.0, at[1]], [at[0] + 1.0, at[1]]].map(Vec::from);
        Enrolled::new(name, &features, Prior { usual: 2.0, limit: 100.0 }).unwrap()
    }

    fn scores(distance: f32) -> Scores {
        Scores { class: 0, probability: 0.5, nearest: 0, distance, reachability: 10.0 / distance }
    }

    #[test]
    fn centroid_and_radius_of_a_worked_example() {
        // Each photo is 2 from the other; two photos of 2 and five of `usual` 9: (4 + 45) / 7 = 7.
        let class =
            Enrolled::new(" eel ", &[vec![0.0, 1.0], vec![2.0, 1.0]], Prior { usual: 9.0, limit: 100.0 }).unwrap();
        assert_eq!((class.name(), class.photos(), class.centroid()), ("eel", 2, &[1.0, 1.0][..]));
        assert!((class.radius() - SLACK * 7.0).abs() < 1e-5);
        let narrow = Enrolled::new("eel", &[vec![0.0], vec![2.0]], Prior { usual: 9.0, limit: 3.0 }).unwrap();
        assert_eq!(narrow.radius(), 3.0);
    }

    #[test]
    fn a_frame_is_of_a_class_within_its_radius_and_nearer_than_any_known_one() {
        let mut all = Enrolments::new("h");
        all.add(enrolled("a", [0.0, 0.0])).unwrap();
        all.add(enrolled("b", [10.0, 0.0])).unwrap();
        let radius = all.classes()[0].radius();
        let name = |feature: [f32; 2], known| all.find(&feature, &scores(known)).map(|m| m.class.name().to_string());
        assert_eq!(name([0.5, 0.0], 9.0).as_deref(), Some("a"));
        assert_eq!(name([9.0, 0.0], 9.0).as_deref(), Some("b"));
        assert_eq!(all.find(&[3.0, 4.0], &scores(9.0)).map(|m| m.distance), None);
        assert!(name([radius, 0.0], 9.0).is_some() && name([radius + 0.01, 0.0], 9.0).is_none());
        // A known class is as near, or nearer.
        assert_eq!(name([1.0, 0.0], 1.0), None);
        assert_eq!(name([1.0, 0.0], 1.01).as_deref(), Some("a"));
        // Features of another network.
        assert_eq!(all.find(&[0.0; 3], &scores(9.0)), None);
        assert_eq!(Enrolments::new("h").find(&[0.0; 2], &scores(9.0)), None);
    }

    #[test]
    fn classes_are_replaced_and_removed_by_name() {
        let mut all = Enrolments::new("h");
        all.add(enrolled("a", [0.0, 0.0])).unwrap();
        all.add(enrolled("a", [5.0, 0.0])).unwrap();
        assert_eq!(all.classes().len(), 1);
        assert_eq!(all.classes()[0].centroid(), [5.0, 0.0]);
        let message = all.remove("b").unwrap_err().to_string();
        assert!(message.contains("'b'") && message.contains("enrolled are: a"), "{message}");
        assert_eq!(all.remove("a").unwrap().name(), "a");
        assert!(all.classes().is_empty());
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        let two = [vec![0.0], vec![1.0]];
        for (name, features) in [
            ("a", &two[..1]),
            ("a", &vec![vec![0.0]; MAX_PHOTOS + 1][..]),
            ("a", &[vec![0.0], vec![1.0, 2.0]]),
            ("a", &[vec![], vec![]]),
            ("a", &[vec![f32::NAN], vec![0.0]]),
            ("a", &[vec![0.0; MAX_FEATURES + 1], vec![0.0; MAX_FEATURES + 1]]),
            ("  ", &two),
            ("a\nb", &two),
            (&"x".repeat(MAX_NAME + 1), &two),
        ] {
            assert!(
                Enrolled::new(name, features, Prior { usual: 1.0, limit: 10.0 }).is_err(),
                "{name:?} {}",
                features.len()
            );
        }
        assert!(Enrolled::new(&"x".repeat(MAX_NAME), &two, Prior { usual: 1.0, limit: 10.0 }).is_ok());
        let mut all = Enrolments::new("h");
        for i in 0..MAX_CLASSES {
            all.add(enrolled(&i.to_string(), [0.0, 0.0])).unwrap();
        }
        assert!(all.add(enrolled("more", [0.0, 0.0])).unwrap_err().to_string().contains("32 classes"));
        all.add(enrolled("7", [1.0, 0.0])).unwrap();
        let mut one = Enrolments::new("h");
        one.add(enrolled("a", [0.0, 0.0])).unwrap();
        assert!(one.add(Enrolled::new("b", &two, Prior { usual: 1.0, limit: 1.0 }).unwrap()).is_err());
    }
}
