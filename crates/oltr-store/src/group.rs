//! Groups of events that look alike, by the features of their pictures. A person reviews each group at once instead of
//! each event.
//!
//! The first group to review is the largest one, and its example is the event in its middle: a name for it explains
//! most other events. The idea is from "Open Long-Tailed Recognition in a Dynamic World" (TPAMI 2022), which chooses
//! the samples to annotate from its memory of open samples.

use crate::feature::distance;

/// Most events that are grouped; the newest ones are taken.
pub const MAX_ITEMS: usize = 4096;

/// Most groups. Further events join the nearest group.
pub const MAX_GROUPS: usize = 512;

/// Pictures of one thing lie within this share of the distance at which a bundle calls a frame open. Chosen on the val
/// split of the fish: the smallest radius among those with the fewest mixed groups. 0.9 mixed species of the test
/// split.
const RADIUS: f32 = 0.85;

/// An event that may be grouped.
#[derive(Clone, Debug, Default)]
pub struct Item {
    /// The record.
    pub id: u64,
    /// Its feature.
    pub features: Vec<f32>,
    /// The distance at which the bundle calls a frame open.
    pub limit: Option<f32>,
}

/// Events that look alike.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// The records, those first that are nearest to the middle.
    pub ids: Vec<u64>,
    /// Mean distance to the middle, as a share of the distance at which the bundle calls a frame open.
    pub spread: f32,
}

#[derive(Default)]
struct Middle {
    sum: Vec<f32>,
    n: usize,
    mean: Vec<f32>,
}

impl Middle {
    /// How far another picture of the same thing may lie, as a share of the distance at which the bundle calls a frame
    /// open. The mean of a few pictures is itself off the true centre.
    fn radius(&self) -> f32 {
        RADIUS * (1.0 + 1.0 / self.n.max(1) as f32).sqrt()
    }

    fn add(&mut self, features: &[f32]) {
        self.sum.resize(features.len(), 0.0);
        self.sum.iter_mut().zip(features).for_each(|(sum, x)| *sum += x);
        self.n += 1;
        self.mean = self.sum.iter().map(|sum| sum / self.n as f32).collect();
    }
}

/// The groups of `items`, largest first; the newest first among equals. Each event without features is a group of its
/// own.
pub fn groups(items: &[Item]) -> Vec<Group> {
    let items = &items[items.len().saturating_sub(MAX_ITEMS)..];
    let limit = |item: &Item| {
        let norm = || item.features.iter().map(|x| x * x).sum::<f32>().sqrt();
        item.limit.filter(|limit| limit.is_finite() && *limit > 0.0).unwrap_or_else(|| norm().max(f32::MIN_POSITIVE))
    };
    let mut middles: Vec<Middle> = Vec::new();
    let nearest = |middles: &[Middle], item: &Item| {
        let of = |(i, m): (usize, &Middle)| (distance(&m.mean, &item.features), i);
        middles.iter().enumerate().map(of).min_by(|a, b| a.0.total_cmp(&b.0))
    };
    let with_features = || items.iter().filter(|item| !item.features.is_empty());
    for item in with_features() {
        match nearest(&middles, item) {
            Some((d, i))
                if d <= middles[i].radius() * limit(item) || (middles.len() >= MAX_GROUPS && d.is_finite()) =>
            {
                middles[i].add(&item.features);
            }
            _ if middles.len() < MAX_GROUPS => {
                middles.push(Middle::default());
                if let Some(last) = middles.last_mut() {
                    last.add(&item.features);
                }
            }
            _ => {}
        }
    }
    // A second pass, now that the centres are known.
    let mut members: Vec<Vec<(f32, u64)>> = vec![Vec::new(); middles.len()];
    let mut alone = Vec::new();
    for item in items {
        match nearest(&middles, item).filter(|(d, _)| d.is_finite() && !item.features.is_empty()) {
            Some((d, i)) => members[i].push((d / limit(item), item.id)),
            None => alone.push(Group { ids: vec![item.id], spread: 0.0 }),
        }
    }
    let mut groups: Vec<Group> = members
        .into_iter()
        .filter(|members| !members.is_empty())
        .map(|mut members| {
            members.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
            let spread = members.iter().map(|(d, _)| d).sum::<f32>() / members.len() as f32;
            Group { ids: members.into_iter().map(|(_, id)| id).collect(), spread }
        })
        .chain(alone)
        .collect();
    groups.sort_by(|a, b| b.ids.len().cmp(&a.ids.len()).then(b.ids.iter().max().cmp(&a.ids.iter().max())));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers between −1 and 1 that are as good as random.
    fn number(seed: u64) -> f32 {
        let mut z = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Shuffled events with their species: `counts[i]` events of species i.
    fn events(counts: &[usize]) -> Vec<(usize, Item)> {
        let mut all: Vec<(usize, Item)> = Vec::new();
        for (species, n) in counts.iter().enumerate() {
            for i in 0..*n {
                let middle = (0..64).map(|k| 3.0 * number(species as u64 * 1000 + k));
                let noise = (0..64).map(|k| number((species * 977 + i) as u64 * 64 + k + 1_000_000));
                let features = middle.zip(noise).map(|(a, b)| a + b).collect();
                all.push((species, Item { id: 0, features, limit: Some(9.0) }));
            }
        }
        all.sort_by(|a, b| {
            number(a.1.features[0].to_bits().into()).total_cmp(&number(b.1.features[0].to_bits().into()))
        });
        all.iter_mut().enumerate().for_each(|(i, (_, item))| item.id = i as u64 + 1);
        all
    }

    #[test]
    fn what_looks_alike_is_one_group_and_large_ones_come_first() {
        let events = events(&[20, 3, 7]);
        let items: Vec<Item> = events.iter().map(|(_, item)| item.clone()).collect();
        let groups = groups(&items);
        let of = |id: u64| events[id as usize - 1].0;
        let sizes: Vec<(usize, usize)> = groups.iter().map(|g| (of(g.ids[0]), g.ids.len())).collect();
        assert_eq!(sizes, [(0, 20), (2, 7), (1, 3)]);
        assert!(groups.iter().all(|g| g.ids.iter().all(|id| of(*id) == of(g.ids[0]))));
    }

    #[test]
    fn what_has_no_features_or_others_is_alone() {
        let item = |id, features: &[f32]| Item { id, features: features.into(), limit: None };
        let found = groups(&[item(1, &[]), item(2, &[1.0]), item(3, &[1.0, 2.0]), item(4, &[1.0]), item(5, &[0.0])]);
        assert_eq!(found.iter().map(|g| g.ids.len()).sum::<usize>(), 5);
        assert_eq!(found[0].ids, [4, 2]);
        assert!(groups(&[]).is_empty());
    }

    /// Decisions until `share` of `n` events have a name, where a decision names a whole group.
    fn labels(order: &[u64], groups: &[Group], share: f64, n: usize) -> usize {
        let (mut named, mut decisions) = (std::collections::BTreeSet::new(), 0);
        for id in order {
            if named.len() as f64 >= share * n as f64 {
                break;
            }
            if named.contains(id) {
                continue;
            }
            decisions += 1;
            named.extend(groups.iter().find(|g| g.ids.contains(id)).unwrap().ids.iter().copied());
        }
        decisions
    }

    /// The reviews that a person needs until nine tenths of the open events have a name: in this order, newest first,
    /// at random.
    #[test]
    fn those_that_explain_most_others_need_the_fewest_decisions() {
        let counts = [60, 30, 15, 8, 4, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1];
        let events = events(&counts);
        let items: Vec<Item> = events.iter().map(|(_, item)| item.clone()).collect();
        let groups = groups(&items);
        let n = items.len();
        let ours: Vec<u64> = groups.iter().map(|g| g.ids[0]).collect();
        let newest: Vec<u64> = (1..=n as u64).rev().collect();
        let random = |seed: u64| {
            let mut ids: Vec<u64> = (1..=n as u64).collect();
            ids.sort_by(|a, b| number(a * 31 + seed * 7919).total_cmp(&number(b * 31 + seed * 7919)));
            labels(&ids, &groups, 0.9, n)
        };
        let ours = labels(&ours, &groups, 0.9, n);
        let newest = labels(&newest, &groups, 0.9, n);
        let random = (0..50).map(random).sum::<usize>() as f64 / 50.0;
        println!("decisions until nine tenths have a name: {ours}; newest first {newest}; at random {random:.1}");
        assert!(ours <= newest && (ours as f64) < random, "{ours} {newest} {random}");
    }
}
