//! The static memory plan: which buffer lies where in the arena.

/// Alignment of every buffer: a cache line, and the widest vector.
pub const ALIGN: usize = 64;

/// A buffer and the steps between which its bytes matter, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Size; 0 for what needs no place.
    pub bytes: usize,
    /// The step that writes it.
    pub first: usize,
    /// The last step that reads it.
    pub last: usize,
}

impl Buffer {
    fn overlaps(&self, other: &Buffer) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    fn size(&self) -> usize {
        self.bytes.next_multiple_of(ALIGN)
    }
}

/// Where each buffer begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Offset of each buffer, a multiple of [`ALIGN`].
    pub offsets: Vec<usize>,
    /// Bytes of the arena.
    pub size: usize,
    /// The largest sum of buffers alive at one step: a lower bound of any plan's size.
    pub live: usize,
}

/// Places the buffers so that no two that are alive at the same step overlap.
///
/// Greedy by size, each at the lowest gap that holds it: on the chains that networks are, it comes within a few per
/// cent of the lower bound.
pub fn plan(buffers: &[Buffer]) -> Plan {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(buffers[*i].bytes), buffers[*i].first));
    let mut offsets = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut size = 0;
    for i in order {
        let buffer = &buffers[i];
        // Neighbours in the order of their offsets, so that one sweep finds the lowest gap.
        let mut neighbours: Vec<usize> = placed.iter().copied().filter(|p| buffers[*p].overlaps(buffer)).collect();
        neighbours.sort_by_key(|p| offsets[*p]);
        let mut at = 0;
        for p in neighbours {
            if offsets[p] >= at + buffer.size() {
                break;
            }
            at = at.max(offsets[p] + buffers[p].size());
        }
        offsets[i] = at;
        size = size.max(at + buffer.size());
        placed.push(i);
    }
    let steps = buffers.iter().map(|b| b.last + 1).max().unwrap_or(0);
    let alive = |step: usize| buffers.iter().filter(|b| (b.first..=b.last).contains(&step)).map(Buffer::size).sum();
    Plan { offsets, size, live: (0..steps).map(alive).max().unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_chain_needs_its_two_largest_neighbours() {
        let chain: Vec<Buffer> = [640, 1280, 64, 2560]
            .iter()
            .enumerate()
            .map(|(i, b)| Buffer { bytes: *b, first: i, last: i + 1 })
            .collect();
        let plan = plan(&chain);
        assert_eq!((plan.size, plan.live), (2624, 2624));
    }

    proptest! {
        #[test]
        fn what_lives_together_lies_apart(raw in prop::collection::vec((0usize..5000, 0usize..20, 0usize..6), 1..40)) {
            let buffers: Vec<Buffer> =
                raw.iter().map(|(bytes, first, len)| Buffer { bytes: *bytes, first: *first, last: first + len }).collect();
            let plan = plan(&buffers);
            prop_assert!(plan.size >= plan.live);
            for (i, a) in buffers.iter().enumerate() {
                prop_assert_eq!(plan.offsets[i] % ALIGN, 0);
                prop_assert!(plan.offsets[i] + a.bytes <= plan.size);
                for (j, b) in buffers.iter().enumerate().skip(i + 1) {
                    let apart = plan.offsets[i] + a.bytes <= plan.offsets[j] || plan.offsets[j] + b.bytes <= plan.offsets[i];
                    prop_assert!(!a.overlaps(b) || apart, "{:?} and {:?}", a, b);
                }
            }
        }
    }
}
