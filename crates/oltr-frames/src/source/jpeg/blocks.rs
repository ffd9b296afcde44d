//! The coefficients of blocks, as sequential and progressive scans code them (T.81, F.2.2 and G.1.2).

use super::fault::Fault;
use super::huffman::{Bits, Table};

/// Coefficients of one block, row by row.
pub type Block = [i16; 64];

/// Where the coefficients lie that are coded one after another.
#[rustfmt::skip]
pub const ZIGZAG: [u8; 64] = [
     0,  1,  8, 16,  9,  2,  3, 10, 17, 24, 32, 25, 18, 11,  4,  5,
    12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13,  6,  7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
    58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

const OVERRUN: Fault = Fault::Damaged("a block of more than 64 coefficients");

fn at(index: usize) -> usize {
    usize::from(ZIGZAG[index])
}

/// A whole block of a sequential picture; `block` is all zero before, `last_dc` the DC of the one before.
pub fn sequential(bits: &mut Bits, dc: &Table, ac: &Table, last_dc: &mut i32, block: &mut Block) -> Result<(), Fault> {
    let length = bits.symbol(dc)?;
    *last_dc = last_dc.wrapping_add(bits.signed(length.into())?);
    block[0] = *last_dc as i16;
    let mut index = 1;
    while index < 64 {
        let symbol = bits.symbol(ac)?;
        let (run, length) = (usize::from(symbol >> 4), symbol & 15);
        if length == 0 {
            if run != 15 {
                break;
            }
            index += 16;
            continue;
        }
        index += run;
        if index > 63 {
            return Err(OVERRUN);
        }
        block[at(index)] = bits.signed(length.into())? as i16;
        index += 1;
    }
    Ok(())
}

/// The first bits of the DC coefficient.
pub fn dc_first(bits: &mut Bits, dc: &Table, low: u8, last_dc: &mut i32, block: &mut Block) -> Result<(), Fault> {
    let length = bits.symbol(dc)?;
    *last_dc = last_dc.wrapping_add(bits.signed(length.into())?);
    block[0] = (*last_dc << low) as i16;
    Ok(())
}

/// One more bit of the DC coefficient.
pub fn dc_refine(bits: &mut Bits, low: u8, block: &mut Block) -> Result<(), Fault> {
    block[0] |= (bits.take(1)? << low) as i16;
    Ok(())
}

/// The first bits of the coefficients from `first` to `last`; `run` counts the blocks that have none of them.
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
        let symbol = bits.symbol(ac)?;
        let (zeros, length) = (symbol >> 4, symbol & 15);
        if length == 0 {
            if zeros < 15 {
                *run = (1 << zeros) - 1 + bits.take(zeros.into())?;
                break;
            }
            index += 16;
            continue;
        }
        index += usize::from(zeros);
        if index > 63 {
            return Err(OVERRUN);
        }
        block[at(index)] = (bits.signed(length.into())? << low) as i16;
        index += 1;
    }
    Ok(())
}

/// One more bit of the coefficients from `first` to `last`.
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
                    *run = (1 << zeros) + bits.take(zeros.into())?;
                    break;
                }
                0 => {}
                // A new coefficient is one bit long, whatever its length is said to be.
                _ => new = if bits.take(1)? == 1 { bit } else { -bit },
            }
            while index <= last {
                let coefficient = &mut block[at(index)];
                if *coefficient != 0 {
                    refine(bits, bit, coefficient)?;
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
                refine(bits, bit, coefficient)?;
            }
            index += 1;
        }
        *run -= 1;
    }
    Ok(())
}

fn refine(bits: &mut Bits, bit: i16, coefficient: &mut i16) -> Result<(), Fault> {
    if bits.take(1)? == 1 && *coefficient & bit == 0 {
        *coefficient = coefficient.wrapping_add(if *coefficient > 0 { bit } else { -bit });
    }
    Ok(())
}
