//! Eviction order. Pure: takes the records, returns those to evict.
//!
//! 1. Records that a person reviewed as "nothing".
//! 2. Ordinary classes: always from the class that uses most bytes, down to [`LEAST`] events each. Common classes lose
//!    events before rare ones.
//! 3. Special events (open ones, and those of a class with few training photos) in the same way. Open events are
//!    grouped by the class that they resemble.
//! 4. The remaining events of ordinary classes, then the remaining special ones.
//!
//! Within a class, the day with most events loses one: the event whose picture is most like another's by the signatures
//! of their features. The oldest goes first among equals. Events that a person named, or called open, are never
//! evicted.

use std::collections::{BTreeMap, BinaryHeap};

use crate::feature::{NEAR, apart};

/// Events that a class keeps for as long as others have more.
pub const LEAST: usize = 8;

/// Most pictures of a class and day that others are compared with.
const LEADERS: usize = 64;

/// What the index keeps in memory for each record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The record.
    pub id: u64,
    /// Signature of its features, or 0.
    pub signature: u64,
    /// Bytes that it takes, with its picture.
    pub bytes: u32,
    /// Bytes of its line alone.
    pub line: u32,
    /// Which group it is of.
    pub group: u16,
    /// Its day: days since 1970, truncated to 16 bits.
    pub day: u16,
    /// Whether the record is special: open, or of a class with few training photos.
    pub special: bool,
    /// Its review.
    pub review: Reviewed,
}

/// The review of a record, as far as eviction needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reviewed {
    /// No review.
    #[default]
    Not,
    /// Named, or called open.
    Kept,
    /// Reviewed as "nothing".
    Nothing,
}

/// The remaining records of one group.
#[derive(Default)]
struct Group {
    /// By day: positions among the entries; the first to evict is last.
    days: BTreeMap<u16, Day>,
    records: usize,
    bytes: u64,
}

#[derive(Default)]
struct Day {
    positions: Vec<usize>,
    ordered: bool,
}

/// Positions in `entries` of the records to evict, so that at least `need` bytes become free. Fewer if the rest is
/// protected. With `ordinary` set, no special record is chosen.
pub fn choose(entries: &[Entry], need: u64, ordinary: bool) -> Vec<usize> {
    let (mut chosen, mut freed) = (Vec::new(), 0u64);
    let mut groups: [BTreeMap<u16, Group>; 2] = Default::default();
    for (place, entry) in entries.iter().enumerate() {
        match entry.review {
            Reviewed::Kept => {}
            Reviewed::Nothing if freed < need => {
                freed += u64::from(entry.bytes);
                chosen.push(place);
            }
            _ if entry.special && ordinary => {}
            _ => {
                let group = groups[usize::from(entry.special)].entry(entry.group).or_default();
                group.days.entry(entry.day).or_default().positions.push(place);
                group.records += 1;
                group.bytes += u64::from(entry.bytes);
            }
        }
    }
    for (kind, least) in [(0, LEAST), (1, LEAST), (0, 0), (1, 0)] {
        let groups = &mut groups[kind];
        let mut largest: BinaryHeap<(u64, u16)> =
            groups.iter().filter(|(_, g)| g.records > least).map(|(name, g)| (g.bytes, *name)).collect();
        while let Some((_, name)) = largest.pop().filter(|_| freed < need) {
            let Some(group) = groups.get_mut(&name) else { continue };
            let Some(place) = group.pop(entries) else { continue };
            let bytes = u64::from(entries[place].bytes);
            freed += bytes;
            group.bytes -= bytes;
            chosen.push(place);
            if group.records > least {
                largest.push((group.bytes, name));
            }
        }
        if freed >= need {
            break;
        }
    }
    chosen
}

impl Group {
    /// Takes out the record that is worth least.
    fn pop(&mut self, entries: &[Entry]) -> Option<usize> {
        // The oldest of the days that have most.
        let (day, _) = self.days.iter().rev().max_by_key(|(_, day)| day.positions.len())?;
        let day = *day;
        let bucket = self.days.get_mut(&day)?;
        if !bucket.ordered {
            order(&mut bucket.positions, entries);
            bucket.ordered = true;
        }
        let place = bucket.positions.pop();
        if bucket.positions.is_empty() {
            self.days.remove(&day);
        }
        self.records -= usize::from(place.is_some());
        place
    }
}

/// Sorts the records of one class and day. Records most like others come last, and the oldest last among equals.
fn order(positions: &mut Vec<usize>, entries: &[Entry]) {
    let mut leaders: Vec<u64> = Vec::with_capacity(LEADERS);
    // The newest record stays, and the records like it go.
    let mut likeness: Vec<(u32, u64, usize)> = Vec::with_capacity(positions.len());
    for place in positions.iter().rev() {
        let Entry { signature, id, .. } = entries[*place];
        let nearest = leaders.iter().map(|leader| apart(*leader, signature)).min().unwrap_or(64);
        if nearest > NEAR && signature != 0 && leaders.len() < LEADERS {
            leaders.push(signature);
        }
        likeness.push((nearest.min(NEAR + 1), id, *place));
    }
    likeness.sort_unstable_by(|a, b| b.cmp(a));
    positions.clear();
    positions.extend(likeness.into_iter().map(|(_, _, place)| place));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u64, group: u16, day: u16, special: bool) -> Entry {
        Entry { id, group, day, special, bytes: 100, line: 100, signature: id << 32 | id, review: Reviewed::Not }
    }

    /// A hundred of group 0, twelve of group 1, twenty special ones of group 2, nine of group 3.
    fn entries() -> Vec<Entry> {
        let counts = [(100, 0, false), (12, 1, false), (20, 2, true), (9, 3, true)];
        let all = counts.iter().flat_map(|(n, group, special)| (0..*n).map(move |i| (*group, i as u16 % 4, *special)));
        all.enumerate().map(|(i, (group, day, special))| entry(i as u64 + 1, group, day, special)).collect()
    }

    fn left(entries: &[Entry], gone: &[usize]) -> [usize; 4] {
        let mut left = [0; 4];
        let kept = entries.iter().enumerate().filter(|(place, _)| !gone.contains(place));
        kept.for_each(|(_, entry)| left[usize::from(entry.group)] += 1);
        left
    }

    #[test]
    fn common_classes_go_before_rare_ones_and_special_ones_last() {
        let entries = entries();
        for (need, ordinary, expected) in [
            (0, false, [100, 12, 20, 9]),
            (5000, false, [50, 12, 20, 9]),
            (9000, false, [11, 11, 20, 9]),
            (9600, false, [8, 8, 20, 9]),
            (10_000, false, [8, 8, 16, 9]),
            (10_900, false, [8, 8, 8, 8]),
            (11_700, false, [4, 4, 8, 8]),
            (12_500, false, [0, 0, 8, 8]),
            (13_700, false, [0, 0, 2, 2]),
            (99_999, false, [0, 0, 0, 0]),
            (99_999, true, [0, 0, 20, 9]),
        ] {
            assert_eq!(left(&entries, &choose(&entries, need, ordinary)), expected, "{need}");
        }
    }

    #[test]
    fn days_share_and_what_a_person_said_counts() {
        let mut entries = entries();
        let gone = choose(&entries, 6000, false);
        let mut days = [0; 4];
        entries
            .iter()
            .enumerate()
            .filter(|(i, e)| e.group == 0 && !gone.contains(i))
            .for_each(|(_, e)| days[usize::from(e.day)] += 1);
        assert_eq!(days, [10; 4]);
        for entry in &mut entries {
            entry.review = if entry.id % 2 == 0 { Reviewed::Kept } else { Reviewed::Nothing };
        }
        let gone = choose(&entries, 300, true);
        assert!(gone.len() == 3 && gone.iter().all(|place| entries[*place].id % 2 == 1));
        let all = choose(&entries, u64::MAX, false);
        assert!(all.iter().all(|place| entries[*place].review == Reviewed::Nothing));
    }

    #[test]
    fn near_identical_pictures_go_before_different_ones() {
        // Fifty events with nearly the same picture (a bit or two apart) and five others, of one class and day.
        let mut entries: Vec<Entry> = (0..55u64).map(|i| entry(i + 1, 0, 0, false)).collect();
        for (i, entry) in entries.iter_mut().enumerate() {
            entry.signature = match i % 11 {
                10 => 0x0123_4567_89ab_cdef_u64.wrapping_mul(i as u64 * 2 + 3) | 1,
                _ => 0xffff_0000_ffff_0000 ^ (1 << (i % 5)),
            };
        }
        let gone = choose(&entries, 4900, false);
        let kept: Vec<usize> = (0..55).filter(|i| !gone.contains(i)).collect();
        assert_eq!(kept, [10, 21, 32, 43, 53, 54], "the others, and the newest of the fifty");
    }
}
