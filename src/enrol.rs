//! Enrolled classes, learnt on the device: a centroid and a spread from a few photos, in a small file next to the
//! bundle.
//!
//! Enrolled classes are applied after the graph. A frame gets an enrolled name if its direct feature lies within the
//! class's radius *and* nearer to that class than to any known one. Otherwise the bundle's rule decides. So an
//! enrolment can name an open frame, and can take a frame from a known class that is farther away. It cannot make any
//! other frame known.
//!
//! *Nearer* is measured in each class's own unit, because trained centroids and means of photos have different
//! distances from the photos of their classes. The unit of a known class is the distance at which the bundle calls a
//! frame open. The unit of an enrolled class is the mean distance of one of its photos from the mean of the others.
//!
//! # Limits
//! - The features were trained for the known classes. If those need no distinction between two things, enrolments
//!   cannot make it either: two enrolled classes that look alike to the network are mixed up.
//! - Photos of one occasion (one fish, one background) give a radius for that occasion. Take photos on several
//!   occasions.
//! - It belongs to one network: centroids of another graph mean nothing, which is checked. Calibrating a bundle again
//!   keeps its enrolments, training it again does not.
//! - At most [`MAX_CLASSES`] classes with [`MAX_PHOTOS`] photos each, features of at most [`MAX_FEATURES`] numbers.
//!   Many classes, or many photos, deserve training.

mod file;

use heapless::{String as Name, Vec as Bounded};

use crate::decide::Decider;
use crate::error::{Error, Result};

/// Most enrolled classes: a linear search through them costs less than one layer of a network.
pub const MAX_CLASSES: usize = 32;

/// Most photos that one class is enrolled from.
pub const MAX_PHOTOS: usize = 64;

/// Fewest photos: a single one gives no estimate of the spread.
pub const MIN_PHOTOS: usize = 2;

/// Most numbers of a feature (the published ones have 512, of ResNet-152 2048).
pub const MAX_FEATURES: usize = 2048;

/// Most bytes of a name.
pub const MAX_NAME: usize = 64;

/// The radius, divided by the class's unit. Chosen on the val split of the fish, where it loses few photos that are
/// nearer to the class than to any other.
const SLACK: f32 = 1.1;

/// Smallest spread, divided by the length of the mean feature: twice the rounding error of 16 bits.
const ROUNDING: f32 = 1.0 / 1024.0;

/// Largest spread, divided by the distance at which the bundle calls everything open. Photos of several things are as
/// far from each other as from known classes, and their class would accept almost anything. (On everyday photos of one
/// class have 0.5, of unrelated things 0.7 and more.)
const MAX_SPREAD: f32 = 0.8;

/// Largest scatter of the photos about their mean, over the length of their features. The distance above is in the
/// bundle's metric, where a network that knows few and similar things calls open what lies closer than photos of one
/// unknown species do; so a class must be scattered by both measures to be refused. (Photos of one unknown class come to
/// 0.34 on fish, 0.56 on everyday and 0.62 on plankton, unrelated ones to 0.44, 0.72 and 0.78.)
const MAX_SCATTER: f32 = 0.7;

/// One enrolled class.
#[derive(Clone, Debug, PartialEq)]
pub struct Enrolled {
    name: Name<MAX_NAME>,
    photos: usize,
    /// Mean distance of a photo to the mean of the others.
    spread: f32,
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

    /// Mean distance of one of its photos from the mean of the others: the unit of its distances.
    pub fn spread(&self) -> f32 {
        self.spread
    }

    /// Distance from the centroid up to which frames are given its name.
    pub fn radius(&self) -> f32 {
        SLACK * self.spread
    }

    /// The mean of its photos' features, D numbers.
    pub fn centroid(&self) -> &[f32] {
        &self.centroid
    }

    /// A class from the features of its photos. `limit` is the distance beyond which the bundle calls everything open,
    /// 10 / its reachability threshold.
    ///
    /// # Errors
    /// [`Error::BadInput`] for an empty or overlong name, fewer than [`MIN_PHOTOS`] or more than [`MAX_PHOTOS`] photos,
    /// features of unequal length or of more than [`MAX_FEATURES`] numbers, a number that is not finite, or photos that
    /// differ too much to show one thing.
    pub fn new(name: &str, features: &[Vec<f32>], limit: f32) -> Result<Enrolled> {
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
        let norm = |f: &Vec<f32>| f.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let long = (features.iter().map(norm).sum::<f64>() / n as f64) as f32;
        // To the mean of the others it is farther than to that of all.
        let scatter = own * ((n - 1) as f32 / n as f32).sqrt();
        if own > MAX_SPREAD * limit && scatter > MAX_SCATTER * long {
            return Err(bad(format!(
                "its photos have little in common for this network: they lie {own:.1} from each other, and what is \
                 {limit:.1} from a class is not of it; take photos that show the thing alike and large"
            )));
        }
        // Equal pictures have no spread, and features stored in 16 bits differ from the computed ones by rounding.
        let norm = centroid.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
        Enrolled::from_parts(name, n, own.max(norm * ROUNDING), centroid)
    }

    /// A class from its stored fields; checks them all.
    fn from_parts(name: &str, photos: usize, spread: f32, centroid: Box<[f32]>) -> Result<Enrolled> {
        let bad = |reason: String| Error::BadInput { subject: format!("class '{name}'"), reason };
        let trimmed = name.trim();
        let name = Name::try_from(trimmed).map_err(|_| bad(format!("its name is longer than {MAX_NAME} bytes")))?;
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(bad("a name must have letters, and no line breaks or other control characters".into()));
        }
        if !(spread.is_finite() && spread >= 0.0) || centroid.iter().any(|x| !x.is_finite()) {
            return Err(bad("its spread or centroid is not a number; check the photos and the bundle".into()));
        }
        if centroid.is_empty() || centroid.len() > MAX_FEATURES || photos > MAX_PHOTOS {
            return Err(bad(format!("has {} numbers and {photos} photos, which is out of bounds", centroid.len())));
        }
        Ok(Enrolled { name, photos, spread, centroid })
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
    /// Index in [`Enrolments::classes`].
    pub index: usize,
    /// The class.
    pub class: &'a Enrolled,
    /// Distance of the frame to its centroid.
    pub distance: f32,
}

impl Enrolments {
    /// No classes yet, for the graph with this [hash](crate::model::graph_sha256).
    pub fn new(graph_sha256: &str) -> Enrolments {
        Enrolments { graph_sha256: graph_sha256.into(), classes: Bounded::new() }
    }

    /// Hash of the graph that the features belong to.
    pub fn graph_sha256(&self) -> &str {
        &self.graph_sha256
    }

    /// The classes, in the order of their enrolment.
    pub fn classes(&self) -> &[Enrolled] {
        &self.classes
    }

    /// Bytes that they take, centroids and all.
    pub fn bytes(&self) -> usize {
        size_of_val(self) + self.classes.iter().map(|class| size_of_val(&*class.centroid)).sum::<usize>()
    }

    /// Adds `class`, or replaces the one of that name.
    ///
    /// # Errors
    /// [`Error::BadInput`] if [`MAX_CLASSES`] are enrolled, or if the features of the others have another length.
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
    /// [`Error::BadInput`] if there is no such class; the message lists those that exist.
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

    /// The enrolled class of a frame with this `feature` (D numbers) and these `distances` to the known classes. It is
    /// the nearest one in its own unit, if the frame lies within its radius and nearer to it than to any known class.
    /// The units of known classes are the limits of `decider`. Allocates nothing.
    pub fn find(&self, feature: &[f32], distances: &[f32], decider: &Decider) -> Option<Match<'_>> {
        self.find_within(feature, decider.unit(distances))
    }

    /// As [`Enrolments::find`], for a frame whose nearest known class is `known` units away, by [`Decider::unit`].
    pub fn find_within(&self, feature: &[f32], known: f32) -> Option<Match<'_>> {
        let fitting = self.classes.iter().enumerate().filter(|(_, class)| class.centroid.len() == feature.len());
        let matches = fitting.map(|(index, class)| Match { index, class, distance: class.distance(feature) });
        let within = matches.filter(|m| m.distance <= m.class.radius());
        let unit = |m: &Match| if m.distance == 0.0 { 0.0 } else { m.distance / m.class.spread };
        let nearest = within.min_by(|a, b| unit(a).total_cmp(&unit(b)))?;
        (unit(&nearest) < known).then_some(nearest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::bundle::example;

    /// Spread 2, radius 2.2.
    fn enrolled(name: &str, at: [f32; 2]) -> Enrolled {
        let features = [[at[0] - 1.0, at[1]], [at[0] + 1.0, at[1]]].map(Vec::from);
        Enrolled::new(name, &features, 100.0).unwrap()
    }

    /// Two known classes, open beyond distances of 10 and 5.
    fn decider() -> Decider {
        let mut bundle = example::bundle(&[("x", 9), ("y", 9)]);
        bundle.open.reachability = 1.0;
        bundle.open.per_class = Some([("y".to_string(), 2.0)].into());
        Decider::new(&bundle)
    }

    #[test]
    fn centroid_and_spread_of_a_worked_example() {
        // Each of two photos is 2 from the other. Of three, (0, 3, 6), the middle one is 0 from the mean of the others
        // and the outer ones 4.5.
        let class = Enrolled::new(" eel ", &[vec![0.0, 1.0], vec![2.0, 1.0]], 2.5).unwrap();
        assert_eq!((class.name(), class.photos(), class.centroid()), ("eel", 2, &[1.0, 1.0][..]));
        assert_eq!((class.spread(), class.radius()), (2.0, SLACK * 2.0));
        let three = Enrolled::new("eel", &[vec![0.0], vec![3.0], vec![6.0]], 100.0).unwrap();
        assert_eq!((three.spread(), three.centroid()), (3.0, &[3.0][..]));
        // Equal photos are matched with others that were rounded to 16 bits.
        assert_eq!(Enrolled::new("eel", &[vec![512.0], vec![512.0]], 100.0).unwrap().spread(), 0.5);
        let message = Enrolled::new("eel", &[vec![0.0], vec![2.0]], 2.4).unwrap_err().to_string();
        assert!(message.contains("little in common"), "{message}");
    }

    #[test]
    fn a_frame_is_of_a_class_within_its_radius_and_nearer_than_any_known_one() {
        let decider = decider();
        let mut all = Enrolments::new("h");
        all.add(enrolled("a", [0.0, 0.0])).unwrap();
        all.add(enrolled("b", [10.0, 0.0])).unwrap();
        let name = |feature: [f32; 2], known: [f32; 2]| {
            all.find(&feature, &known, &decider).map(|m| {
                assert_eq!(m.class, &all.classes()[m.index]);
                (m.class.name().to_string(), m.distance)
            })
        };
        let far = [20.0, 20.0];
        assert_eq!(name([0.5, 0.0], far), Some(("a".into(), 0.5)));
        assert_eq!(name([9.0, 0.0], far), Some(("b".into(), 1.0)));
        assert_eq!(name([3.0, 4.0], far), None);
        assert!(name([2.19, 0.0], far).is_some() && name([2.21, 0.0], far).is_none());
        // 1 is half of the spread; 5 of 10 or 2.5 of 5 is as near, which is not nearer.
        assert_eq!((name([1.0, 0.0], [5.0, 20.0]), name([1.0, 0.0], [20.0, 2.5])), (None, None));
        assert!(name([1.0, 0.0], [5.01, 2.51]).is_some());
        // On its own centroid an enrolled class wins. If a known class has its centroid there too, the known class
        // wins.
        assert!(name([0.0, 0.0], [0.1, 0.1]).is_some() && name([0.0, 0.0], [0.0, 9.0]).is_none());
        // Features of another network.
        assert_eq!(all.find(&[0.0; 3], &far, &decider), None);
        assert_eq!(Enrolments::new("h").find(&[0.0; 2], &far, &decider), None);
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
    fn photos_of_no_one_thing_are_refused_where_both_measures_say_so() {
        // Each of these lies 12.2 from the mean of the others, and 8.2 from that of all.
        let unlike = [vec![10.0, 0.0, 0.0], vec![0.0, 10.0, 0.0], vec![0.0, 0.0, 10.0]];
        let message = Enrolled::new("a", &unlike, 15.0).unwrap_err().to_string();
        assert!(message.contains("little in common") && message.contains("12.2"), "{message}");
        assert!(Enrolled::new("a", &unlike, 16.0).is_ok(), "near, for this bundle");
        // A network of a few similar things calls open what lies 2 from them.
        let alike = [vec![10.0, 2.0], vec![10.0, -2.0]];
        assert!(Enrolled::new("a", &alike, 2.0).is_ok(), "in one direction");
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
            assert!(Enrolled::new(name, features, 100.0).is_err(), "{name:?} {}", features.len());
        }
        assert!(Enrolled::new(&"x".repeat(MAX_NAME), &two, 100.0).is_ok());
        let mut all = Enrolments::new("h");
        for i in 0..MAX_CLASSES {
            all.add(enrolled(&i.to_string(), [0.0, 0.0])).unwrap();
        }
        assert!(all.add(enrolled("more", [0.0, 0.0])).unwrap_err().to_string().contains("32 classes"));
        all.add(enrolled("7", [1.0, 0.0])).unwrap();
        let mut one = Enrolments::new("h");
        one.add(enrolled("a", [0.0, 0.0])).unwrap();
        assert!(one.add(Enrolled::new("b", &two, 100.0).unwrap()).is_err());
    }
}
