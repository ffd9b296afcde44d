//! Display names of classes.
//!
//! One rule for every table, page and sentence: people read the name of a class. Its id follows in brackets if the name
//! alone is ambiguous. Programs read the id, which is `label` in JSON.

use std::collections::HashMap;

use crate::answer::Names;
use crate::bundle::{Bundle, Class};
use crate::decide::Decision;

/// Display names of a bundle's classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisplayNames {
    /// In the order of the logits.
    names: Vec<String>,
    /// Places of the ids.
    ids: HashMap<String, usize>,
    /// In the order of their enrolment.
    enrolled: Vec<String>,
}

impl DisplayNames {
    /// The names of the classes of `bundle`.
    pub fn new(bundle: &Bundle) -> DisplayNames {
        let mut bearers: HashMap<&str, usize> = HashMap::new();
        for class in &bundle.classes {
            *bearers.entry(class.name.trim()).or_default() += 1;
        }
        let alone = |class: &Class| bearers.get(class.name.trim()) == Some(&1);
        DisplayNames {
            names: bundle.classes.iter().map(|class| display(class, alone(class))).collect(),
            ids: bundle.classes.iter().enumerate().map(|(i, class)| (class.id.clone(), i)).collect(),
            enrolled: Vec::new(),
        }
    }

    /// The names of all that can be answered, enrolled classes too.
    pub fn of_all(names: Names) -> DisplayNames {
        let known = DisplayNames::new(names.bundle());
        let enrolled = names.enrolled().map(|name| known.of_enrolled(name)).collect();
        DisplayNames { enrolled, ..known }
    }

    /// Display name of a decision: the class, or `open`.
    pub fn of_decision(&self, decision: Decision) -> &str {
        match decision {
            Decision::Known(place) => self.of(place),
            Decision::Enrolled(place) => self.enrolled.get(place).map_or("?", String::as_str),
            Decision::Open => "open",
            Decision::Unclassified => "unclassified",
        }
    }

    /// Display name of the class at index `place` of the logits.
    pub fn of(&self, place: usize) -> &str {
        self.names.get(place).map_or("?", String::as_str)
    }

    /// Display name of the class `id`. An id that is not in the bundle, such as an unknown class, is its own name.
    pub fn of_id<'a>(&'a self, id: &'a str) -> &'a str {
        self.ids.get(id).map_or(id, |place| self.of(*place))
    }

    /// Display name of an enrolled class: its name, marked `enrolled` if a class of the bundle has the same name.
    pub fn of_enrolled(&self, name: &str) -> String {
        if self.names.iter().any(|known| known == name) { format!("{name} (enrolled)") } else { name.into() }
    }

    /// All known classes and then all enrolled ones.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.iter().chain(self.enrolled.iter().map(String::as_str))
    }

    /// All known classes, in the order of the logits.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

/// The rule. `alone`: no other class has the same name.
fn display(class: &Class, alone: bool) -> String {
    match class.name.trim() {
        "" => class.id.clone(),
        name if alone || name == class.id => name.into(),
        name => format!("{name} ({})", class.id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::example;

    fn names(classes: &[(&str, &str)]) -> DisplayNames {
        let mut bundle = example::bundle(&classes.iter().map(|(id, _)| (*id, 9)).collect::<Vec<_>>());
        for (class, (_, name)) in bundle.classes.iter_mut().zip(classes) {
            class.name = (*name).into();
        }
        DisplayNames::new(&bundle)
    }

    #[test]
    fn people_read_names_and_ids_only_where_a_name_does_not_suffice() {
        let names = names(&[("Faces_easy", "face"), ("gull_1", "gull"), ("gull_2", " gull"), ("cup", ""), ("x", "x")]);
        let all: Vec<&str> = names.iter().collect();
        assert_eq!(all, ["face", "gull (gull_1)", "gull (gull_2)", "cup", "x"]);
        assert_eq!((names.of(0), names.of(9)), ("face", "?"));
    }

    #[test]
    fn ids_of_other_classes_stand_for_themselves() {
        let names = names(&[("Faces_easy", "face")]);
        assert_eq!((names.of_id("Faces_easy"), names.of_id("heron")), ("face", "heron"));
    }

    #[test]
    fn an_enrolled_class_is_not_taken_for_one_of_the_bundle() {
        let names = names(&[("Faces_easy", "face")]);
        assert_eq!([names.of_enrolled("face"), names.of_enrolled("moon")], ["face (enrolled)", "moon"]);
    }
}
