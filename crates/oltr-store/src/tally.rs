//! Counts per class over the whole life of the store, including evicted events.

use serde::{Deserialize, Serialize};

/// Most classes that are counted separately. Events of further classes count as one class without a name.
pub const MAX_CLASSES: usize = 4096;

/// Whether an event is the first of its class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Novelty {
    /// Whether it is the first stored event of this class.
    pub first_ever: bool,
    /// Whether it is the first of its class on this day.
    pub first_today: bool,
    /// Days since the last event of its class. `None` for the first one, or if the clock went back.
    pub days_since: Option<u32>,
}

/// Counts of one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The class; empty for open events.
    pub class: String,
    /// Stored events.
    pub seen: u64,
    /// Evicted events.
    pub evicted: u64,
    /// The day of the last one, in days since 1970.
    pub last_day: u32,
}

/// Counts of all classes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tallies {
    /// Sorted by class.
    all: Vec<Tally>,
}

impl Tallies {
    /// One for each class, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Tally> {
        self.all.iter()
    }

    /// Novelty of an event of `class` on `day`. Open events have an empty class and are never the first ever: each may
    /// show a different thing.
    pub fn novelty(&self, class: &str, day: u32) -> Novelty {
        match self.all.binary_search_by(|tally| tally.class.as_str().cmp(class)) {
            Ok(i) => {
                let last = self.all[i].last_day;
                Novelty { first_ever: false, first_today: last != day, days_since: day.checked_sub(last) }
            }
            Err(_) => Novelty {
                // Beyond the limit the answer is unknown.
                first_ever: !class.is_empty() && self.all.len() < MAX_CLASSES,
                first_today: true,
                days_since: None,
            },
        }
    }

    /// An event of `class` was seen on `day`.
    pub fn see(&mut self, class: &str, day: u32) {
        if let Some(tally) = self.of(class) {
            tally.seen += 1;
            tally.last_day = day;
        }
    }

    /// Counts `events` of `class` as evicted.
    pub fn evict(&mut self, class: &str, events: u64) {
        if let Some(tally) = self.of(class) {
            tally.evicted += events;
        }
    }

    fn of(&mut self, class: &str) -> Option<&mut Tally> {
        match self.all.binary_search_by(|tally| tally.class.as_str().cmp(class)) {
            Ok(i) => self.all.get_mut(i),
            Err(i) if self.all.len() < MAX_CLASSES => {
                self.all.insert(i, Tally { class: class.into(), seen: 0, evicted: 0, last_day: 0 });
                self.all.get_mut(i)
            }
            Err(_) => None,
        }
    }

    /// Sorts tallies read from a file, and drops duplicates and those beyond the limit.
    pub(crate) fn settle(&mut self) {
        self.all.sort_by(|a, b| a.class.cmp(&b.class));
        self.all.dedup_by(|a, b| a.class == b.class);
        self.all.truncate(MAX_CLASSES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new() {
        let mut all = Tallies::default();
        let new = |first_ever, first_today, days_since| Novelty { first_ever, first_today, days_since };
        assert_eq!(all.novelty("cup", 10), new(true, true, None));
        assert_eq!(all.novelty("", 10), new(false, true, None));
        all.see("cup", 10);
        assert_eq!(all.novelty("cup", 10), new(false, false, Some(0)));
        assert_eq!(all.novelty("cup", 13), new(false, true, Some(3)));
        // The clock went back by a year, so the number of days is unknown.
        all.see("cup", 400);
        assert_eq!(all.novelty("cup", 35), new(false, true, None));
        all.see("cup", 35);
        assert_eq!(all.novelty("cup", 35), new(false, false, Some(0)));
        assert_eq!(all.novelty("eel", 35), new(true, true, None));
    }

    #[test]
    fn classes_are_bounded() {
        let mut all = Tallies::default();
        for i in 0..MAX_CLASSES + 10 {
            all.see(&format!("{i:05}"), 1);
        }
        assert_eq!(all.iter().count(), MAX_CLASSES);
        assert!(!all.novelty("another", 2).first_ever);
    }
}
