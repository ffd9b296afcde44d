//! The coefficients of blocks, as sequential and progressive scans code them (T.81, F.2.2 and G.1.2).

use super::bits::Bits;
use super::fault::Fault;
use super::huffman::Table;
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

/// A whole block of a sequential picture; `block` is all zero before, `last_dc` the DC of the one before. Of each
/// coefficient that is not zero a bit is set in what comes back.
#[inline(always)]
pub fn sequential(bits: &mut Bits, dc: &Table, ac: &Table, last_dc: &mut i32, block: &mut Block) -> Result<u64, Fault> {
    *last_dc = last_dc.wrapping_add(difference(bits, dc)?);
    block[0] = *last_dc as i16;
    let mut used = 1;
    let mut index = 1;
    while index < 64 {
        let ahead = bits.ahead();
        let entry = ac.entry(ahead);
        let (run, value);
        if !entry.has_more() {
            bits.pass(entry.length());
            (run, value) = (entry.run(), entry.value());
        } else if entry.length() != 0 {
            bits.pass(entry.length());
            (run, value) = (entry.run(), bits.signed(entry.size()));
        } else {
            let symbol = bits.searched(ac, ahead)?;
            value = bits.signed(u32::from(symbol & 15));
            run = if symbol & 15 == 0 && symbol != 0xF0 { super::huffman::Entry::END } else { (symbol >> 4).into() };
        }
        index += run;
        if index > 63 {
            // Neither the end of a block nor a run of zeros is a coefficient.
            if value == 0 {
                break;
            }
            return Err(OVERRUN);
        }
        let place = ZIGZAG[index];
        block[usize::from(place & 63)] = value as i16;
        used |= 1 << (place & 63);
        index += 1;
    }
    Ok(used)
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

/// The first bits of the coefficients from `first` to `last`; `run` counts the blocks that have none of them.
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
                // A new coefficient is one bit long, whatever its length is said to be.
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
