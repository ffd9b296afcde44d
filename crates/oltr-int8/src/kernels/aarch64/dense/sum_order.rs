//! What the weights of [`super::widening`] allow: how many products may be added up in 16 bits, and the order of chunks that
//! follows.

use std::ops::Range;

use crate::kernels::aarch64::dense::direct::Weights;
use crate::kernels::aarch64::dense::widening_tile::CHANNELS;
use crate::kernels::window::{CHUNK, Chunk};

/// Terms of a chunk that are added up in different lanes.
const HALF: usize = CHUNK / 2;

/// Partners that are tried for a chunk before it counts as shallow.
const TRIES: usize = 12;

/// The weights of four channels at a chunk.
pub(crate) struct Packed {
    pub offset: u32,
    pub weights: [[i8; CHUNK]; CHANNELS],
    /// Sums of the two magnitudes that share a lane.
    magnitudes: [u16; CHANNELS * HALF],
    largest: u16,
}

impl Packed {
    /// A chunk for channels `first` and on, or the two halves of one whose products would not fit.
    pub fn new(layer: &Weights, first: usize, chunk: &Chunk) -> Vec<Packed> {
        let mut weights = [[0; CHUNK]; CHANNELS];
        for (channel, weights) in weights.iter_mut().enumerate() {
            let of = layer.of(first + channel, chunk.place..chunk.place + chunk.len);
            weights[..of.len()].copy_from_slice(of);
        }
        let whole = Packed::of(chunk.offset, weights);
        if whole.largest < 2 * u16::from(i8::MIN.unsigned_abs()) {
            return vec![whole];
        }
        let half = |lanes: Range<usize>| {
            let kept = weights.map(|w| std::array::from_fn(|at| if lanes.contains(&at) { w[at] } else { 0 }));
            Packed::of(chunk.offset, kept)
        };
        vec![half(0..HALF), half(HALF..CHUNK)]
    }

    fn of(offset: u32, weights: [[i8; CHUNK]; CHANNELS]) -> Packed {
        let magnitudes: [u16; CHANNELS * HALF] = std::array::from_fn(|i| {
            let (weights, at) = (&weights[i / HALF], i % HALF);
            u16::from(weights[at].unsigned_abs()) + u16::from(weights[at + HALF].unsigned_abs())
        });
        let largest = magnitudes.iter().copied().max().unwrap_or(0);
        Packed { offset, weights, magnitudes, largest }
    }

    /// Whether four products of this and the other chunk fit 16 bits in every lane.
    fn pairs_with(&self, other: &Packed) -> bool {
        self.magnitudes.iter().zip(&other.magnitudes).all(|(a, b)| a + b <= 255)
    }
}

/// What the chunks of four channels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// One.
    One,
    /// Two. `deep`: four products fit 16 bits. `half`: the second chunk's weights are zero beyond the first eight.
    Two { deep: bool, half: bool },
    /// One shallow chunk, so many deep pairs, other shallow chunks.
    Many { pairs: usize },
}

impl Order {
    /// Deep pairs that follow a shallow chunk.
    pub fn pairs(self) -> usize {
        if let Order::Many { pairs } = self { pairs } else { 0 }
    }
}

/// Orders chunks. Large weights look for small ones first, for they have the least choice.
pub(crate) fn order(mut left: Vec<Packed>) -> (Vec<Packed>, Order) {
    match &left[..] {
        [_] => return (left, Order::One),
        [first, second] => {
            let half = second.weights.iter().all(|weights| weights[HALF..].iter().all(|w| *w == 0));
            let deep = first.pairs_with(second);
            return (left, Order::Two { deep, half });
        }
        _ => {}
    }
    left.sort_by_key(|chunk| chunk.largest);
    let (mut deep, mut shallow) = (Vec::with_capacity(left.len()), Vec::new());
    while let Some(large) = left.pop() {
        match left.iter().take(TRIES).position(|small| large.pairs_with(small)) {
            Some(small) => deep.extend([large, left.remove(small)]),
            None => shallow.push(large),
        }
    }
    if shallow.is_empty() {
        shallow.extend(deep.drain(deep.len() - 2..));
    }
    let pairs = deep.len() / 2;
    let mut order: Vec<Packed> = shallow.pop().into_iter().collect();
    order.extend(deep);
    order.extend(shallow);
    (order, Order::Many { pairs })
}
