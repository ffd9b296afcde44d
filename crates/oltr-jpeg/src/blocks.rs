//! The coefficients of blocks, as sequential and progressive scans code them (T.81, F.2.2 and G.1.2).

use super::bits::Bits;
use super::fault::Fault;
use super::huffman::{Entry, LOOKUP_BITS, SKIP_BITS, Skips, Table};
use super::tables::ZIGZAG;

/// Coefficients of one block, row by row.
pub type Block = [i16; 64];

const OVERRUN: Fault = Fault::Damaged("a block of more than 64 coefficients");

fn at(index: usize) -> usize {
    usize::from(ZIGZAG[index])
}

/// The difference of a DC coefficient to the one before.
#[inline(always)]
fn difference(bits: &mut Bits, dc: &Table) -> Result<i32, Fault> {
    let ahead = bits.ahead();
    let entry = dc.entry(ahead);
    if !entry.has_more() {
        bits.pass(entry.length());
        return Ok(entry.value());
    }
    let size = bits.searched(dc, ahead)?;
    Ok(bits.signed(size.into()))
}

// Several lookups follow one refill: a branch predictor could not predict whether bits are missing at a lookup.

/// Looks, and steps over several coefficients, for which the bits suffice that are ahead after a refill.
const LOOKS: u32 = Bits::REFILLED / LOOKUP_BITS;
const STEPS: u32 = Bits::REFILLED / SKIP_BITS;

/// Result of one lookup in a sequential picture.
struct Step {
    /// Zeros before the coefficient; [`Entry::END`] at the end of the block.
    run: usize,
    /// The coefficient; zero for 16 zeros and for the end.
    value: i32,
    /// Whether the code is longer than a lookup.
    long: bool,
}

/// The next coefficient of a sequential picture, where a look is ahead at least.
#[inline(always)]
fn coefficient(bits: &mut Bits, ac: &Table) -> Result<Step, Fault> {
    let entry = ac.entry(bits.known());
    if !entry.has_more() {
        bits.pass(entry.length());
        return Ok(Step { run: entry.run(), value: entry.value(), long: false });
    }
    if entry.length() != 0 {
        bits.pass(entry.length());
        return Ok(Step { run: entry.run(), value: bits.signed(entry.size()), long: true });
    }
    let ahead = bits.ahead();
    let symbol = bits.searched(ac, ahead)?;
    let value = bits.signed(u32::from(symbol & 15));
    let ends = symbol & 15 == 0 && symbol != 0xF0;
    Ok(Step { run: if ends { Entry::END } else { (symbol >> 4).into() }, value, long: true })
}

/// Decodes a block of a sequential picture. `block` must be zero, and `last_dc` is the DC of the previous block.
/// Returns a bit for each coefficient that is not zero. With `skips`, coefficients after number `last` in coding order
/// may be left out.
#[inline(always)]
pub fn sequential(
    bits: &mut Bits,
    (dc, ac, skips): (&Table, &Table, Option<&Skips>),
    last: usize,
    last_dc: &mut i32,
    block: &mut Block,
) -> Result<u64, Fault> {
    *last_dc = last_dc.wrapping_add(difference(bits, dc)?);
    block[0] = *last_dc as i16;
    let mut used = 1;
    let mut index = 1;
    while index <= last {
        bits.refill();
        for _ in 0..LOOKS {
            let Step { run, value, long } = coefficient(bits, ac)?;
            index += run;
            if index > 63 {
                // Neither the end of a block nor a run of zeros is a coefficient.
                return if value == 0 { Ok(used) } else { Err(OVERRUN) };
            }
            let place = ZIGZAG[index];
            block[usize::from(place & 63)] = value as i16;
            used |= 1 << (place & 63);
            index += 1;
            if long || index > last {
                break;
            }
        }
    }
    if let Some(skips) = skips {
        pass_over(bits, ac, skips, index)?;
    }
    Ok(used)
}

/// Skips the coefficients of a block from number `index` on.
#[inline(always)]
fn pass_over(bits: &mut Bits, ac: &Table, skips: &Skips, mut index: usize) -> Result<(), Fault> {
    while index < 64 {
        bits.refill();
        for _ in 0..STEPS {
            let skip = skips.at(bits.known());
            if index + skip.coefficients() < 64 {
                bits.pass(skip.length());
                index += skip.coefficients();
                if skip.ends() {
                    return Ok(());
                }
                continue;
            }
            // No whole code is available, or the last of these codes may belong to the next block.
            let Step { run, value, .. } = coefficient(bits, ac)?;
            index += run + 1;
            if index > 64 && value != 0 {
                return Err(OVERRUN);
            }
            break;
        }
    }
    Ok(())
}

/// The first bits of the DC coefficient.
#[inline(always)]
pub fn dc_first(bits: &mut Bits, dc: &Table, low: u8, last_dc: &mut i32, block: &mut Block) -> Result<(), Fault> {
    *last_dc = last_dc.wrapping_add(difference(bits, dc)?);
    block[0] = (*last_dc << low) as i16;
    Ok(())
}

/// One more bit of the DC coefficient.
#[inline(always)]
pub fn dc_refine(bits: &mut Bits, low: u8, block: &mut Block) {
    block[0] |= (bits.take(1) << low) as i16;
}

/// Decodes the first bits of the coefficients from `first` to `last`. `run` counts the following blocks without any.
#[inline(always)]
pub fn ac_first(
    bits: &mut Bits,
    ac: &Table,
    (first, last, low): (u8, u8, u8),
    run: &mut u32,
    block: &mut Block,
) -> Result<(), Fault> {
    if *run > 0 {
        *run -= 1;
        return Ok(());
    }
    let (mut index, last) = (usize::from(first), usize::from(last));
    while index <= last {
        let ahead = bits.ahead();
        let entry = ac.entry(ahead);
        let (zeros, value);
        if !entry.has_more() && entry.value() != 0 {
            bits.pass(entry.length());
            (zeros, value) = (entry.run(), entry.value());
        } else {
            let symbol = bits.searched(ac, ahead)?;
            let length = u32::from(symbol & 15);
            zeros = usize::from(symbol >> 4);
            if length == 0 {
                if zeros < 15 {
                    *run = (1 << zeros) - 1 + bits.take(zeros as u32);
                    break;
                }
                index += 16;
                continue;
            }
            value = bits.signed(length);
        }
        index += zeros;
        if index > 63 {
            return Err(OVERRUN);
        }
        block[at(index)] = (value << low) as i16;
        index += 1;
    }
    Ok(())
}

/// One more bit of the coefficients from `first` to `last`.
#[inline(always)]
pub fn ac_refine(
    bits: &mut Bits,
    ac: &Table,
    (first, last, low): (u8, u8, u8),
    run: &mut u32,
    block: &mut Block,
) -> Result<(), Fault> {
    let bit = 1_i16 << low;
    let (mut index, last) = (usize::from(first), usize::from(last));
    if *run == 0 {
        while index <= last {
            let symbol = bits.symbol(ac)?;
            let (mut zeros, length) = (symbol >> 4, symbol & 15);
            let mut new = 0;
            match length {
                0 if zeros < 15 => {
                    *run = (1 << zeros) + bits.take(zeros.into());
                    break;
                }
                0 => {}
                // A new coefficient has one bit, whatever length its code states.
                _ => new = if bits.take(1) == 1 { bit } else { -bit },
            }
            while index <= last {
                let coefficient = &mut block[at(index)];
                if *coefficient != 0 {
                    refine(bits, bit, coefficient);
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                index += 1;
            }
            if new != 0 {
                if index > 63 {
                    return Err(OVERRUN);
                }
                block[at(index)] = new;
            }
            index += 1;
        }
    }
    if *run > 0 {
        while index <= last {
            let coefficient = &mut block[at(index)];
            if *coefficient != 0 {
                refine(bits, bit, coefficient);
            }
            index += 1;
        }
        *run -= 1;
    }
    Ok(())
}

#[inline(always)]
fn refine(bits: &mut Bits, bit: i16, coefficient: &mut i16) {
    if bits.take(1) == 1 && *coefficient & bit == 0 {
        *coefficient = coefficient.wrapping_add(if *coefficient > 0 { bit } else { -bit });
    }
}

#[cfg(test)]
mod tests {
    use super::super::bits::Coded;
    use super::super::fault::Failure;
    use super::super::huffman::Tables;
    use super::super::raw::Raw;
    use super::super::tables::STANDARD;
    use super::*;

    /// Decodes the starts of blocks, up to number `last`, from `bytes`. Also returns what ended them.
    fn blocks(bytes: &[u8], dc: &Table, ac: &Table, skips: Option<&Skips>, last: usize) -> (Vec<Vec<i16>>, String) {
        let mut coded = Coded::new(Raw::Whole(bytes), 0, 0);
        let mut blocks = Vec::new();
        let end = coded.units(10_000, |_, bits, state| {
            let mut block = [0; 64];
            let kept = if skips.is_some() { last } else { 63 };
            let used = sequential(bits, (dc, ac, skips), kept, &mut state.last_dc[0], &mut block)?;
            for (place, coefficient) in block.iter().enumerate() {
                assert!(*coefficient == 0 || used >> place & 1 == 1);
            }
            blocks.push((0..=last).map(|index| block[at(index)]).collect());
            Ok(())
        });
        let end = match end {
            Ok(()) => "enough".into(),
            Err(Failure::Fault(fault)) => fault.to_string(),
            Err(Failure::Io(e)) => e.to_string(),
        };
        (blocks, end)
    }

    #[test]
    fn what_is_passed_over_changes_nothing_before_and_behind_it() {
        let mut tables = Tables::default();
        tables.define(&STANDARD[4..]).unwrap();
        let mut random = 1_u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 56) as u8
        };
        let (mut all, mut ends) = (0, std::collections::BTreeSet::new());
        for round in 0..400 {
            // Few set bits in some rounds (short codes), many in others (long or invalid codes).
            let byte = |_| match round % 3 {
                0 => next() & next(),
                1 => next() | next() & 0x55,
                _ => next() | next(),
            };
            // As in a file, where 0xFF begins a marker.
            let bytes = (0..600).map(byte).flat_map(|byte| [byte, 0].into_iter().take(1 + usize::from(byte == 0xFF)));
            let bytes: Vec<u8> = bytes.collect();
            for place in 0..2 {
                let (dc, ac) = (tables.dc[place].as_deref().unwrap(), tables.ac[place].as_deref().unwrap());
                let skips = Skips::new(ac);
                for last in [0, 4, 24] {
                    let right = blocks(&bytes, dc, ac, None, last);
                    assert_eq!(blocks(&bytes, dc, ac, Some(&skips), last), right, "round {round}, up to {last}");
                    all += right.0.len();
                    ends.insert(right.1);
                }
            }
        }
        assert!(all > 10_000, "{all} blocks");
        // The faults were met too.
        assert!(ends.len() >= 3, "{ends:?}");
    }
}
