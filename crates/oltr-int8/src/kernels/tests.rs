//! Every kernel set of this machine against the scalar set, bit for bit.
//!
//! A case is a layer and the values that go into it; [`check`] runs it on all sets. The tables hold sizes around the
//! edges of every tile in use; a property test draws sizes between them. All failures of a table are listed.

mod case;
mod convolutions;
mod elementwise;

use crate::kernels::KernelSet;

/// The sets under test: all that this machine has, emulated ones, and scalar with signed storage; or the one that
/// [`super::ISA_VARIABLE`] names, which must be there, so that a test meant for it cannot pass without it.
fn sets() -> Vec<&'static dyn KernelSet> {
    if std::env::var_os(super::ISA_VARIABLE).is_some_and(|name| !name.is_empty()) {
        return vec![super::select().unwrap_or_else(|message| panic!("{message}"))];
    }
    let mut sets = super::available();
    sets.push(&crate::kernels::scalar::SIGNED);
    sets.extend(super::emulated());
    sets
}

/// Channel counts at, below and above the edges of tiles and vectors, and of quarters of the former.
const EDGES: [usize; 17] = [1, 2, 3, 4, 7, 8, 9, 12, 15, 16, 17, 31, 32, 33, 48, 64, 65];

/// SplitMix64: small, seedable and the same on every machine.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Between 0 and 1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Which values the bytes and weights of a case take.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Values {
    /// Any of them.
    Random,
    /// Only the smallest and the largest: overflow and saturation show here.
    Extreme,
    /// All inputs 255 and all weights -128.
    Lowest,
    /// All inputs 255 and all weights 127.
    Highest,
}

impl Values {
    fn byte(self, rng: &mut Rng) -> u8 {
        match self {
            Values::Random => rng.next() as u8,
            Values::Extreme => rng.pick(&[0, 255]),
            Values::Lowest | Values::Highest => 255,
        }
    }

    fn weight(self, rng: &mut Rng) -> i8 {
        match self {
            Values::Random => rng.next() as i8,
            Values::Extreme => rng.pick(&[-128, 127]),
            Values::Lowest => -128,
            Values::Highest => 127,
        }
    }
}

/// The first place where two results differ.
fn difference<T: PartialEq + std::fmt::Debug>(got: &[T], wanted: &[T]) -> Option<String> {
    if got.len() != wanted.len() {
        return Some(format!("{} elements, wanted {}", got.len(), wanted.len()));
    }
    let at = got.iter().zip(wanted).position(|(got, wanted)| got != wanted)?;
    let count = got.iter().zip(wanted).filter(|(got, wanted)| got != wanted).count();
    Some(format!("{count} of {} differ, first at {at}: {:?}, wanted {:?}", got.len(), got[at], wanted[at]))
}

fn report(failures: &[String]) {
    let shown = failures.iter().take(40).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(failures.is_empty(), "{} failures:\n{shown}", failures.len());
}

#[test]
fn sets_are_found_by_name_and_scalar_is_always_there() {
    let all = super::available();
    assert_eq!(all.last().map(|set| set.isa()), Some("scalar"));
    assert_eq!(super::best().isa(), all[0].isa());
    for set in all {
        assert_eq!(super::by_name(set.isa()).map(|found| found.isa()), Some(set.isa()));
    }
    assert!(super::by_name("mmx").is_none());
}
