//! Huffman tables that decode a coefficient with one lookup.

use std::sync::Arc;

use super::fault::Fault;

/// Bits of one lookup. Longer codes are searched. With 10, nine of ten coefficients of a good photo need one lookup,
/// and a picture's tables fit into the first-level cache of small cores.
pub const LOOKUP_BITS: u32 = 10;

/// Bits of the longest code.
pub const MAX_BITS: usize = 16;

/// One table of codes.
#[derive(Clone, Debug)]
pub struct Table {
    /// Entries for all bits that begin with a short code.
    entries: [Entry; 1 << LOOKUP_BITS],
    /// The largest code of each length, or -1.
    largest: [i32; MAX_BITS + 1],
    /// For each length, the offset from a code to its symbol.
    offset: [i32; MAX_BITS + 1],
    symbols: [u8; 256],
}

/// Result of a lookup: a symbol, and the number after it if the lookup contained that too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry(u32);

impl Entry {
    /// Flag: a number follows that must be read separately.
    const MORE: u32 = 1 << 6;
    /// Value of `run` if no coefficient follows in the block.
    pub const END: usize = 64;

    /// Entry of `symbol`, whose code has `length` bits, followed by the `rest` bits of the lookup.
    fn new(symbol: u8, length: u32, rest: u32) -> Entry {
        let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        match size {
            0 if run == 15 => Entry(length | run << 8),
            0 => Entry(length | (Entry::END as u32) << 8),
            _ if length + size <= LOOKUP_BITS => {
                let value = extend(rest >> (LOOKUP_BITS - length - size), size);
                Entry((length + size) | (run << 8) | ((value as u32) << 16))
            }
            _ => Entry(length | Entry::MORE | run << 8 | size << 16),
        }
    }

    /// Bits consumed; 0 for a code longer than a lookup.
    #[inline(always)]
    pub fn length(self) -> u32 {
        self.0 & 63
    }

    /// Whether [`Entry::size`] bits follow; otherwise [`Entry::value`] is known.
    #[inline(always)]
    pub fn has_more(self) -> bool {
        self.0 & Entry::MORE != 0
    }

    /// Number of zero coefficients before this one; [`Entry::END`] if none follow.
    #[inline(always)]
    pub fn run(self) -> usize {
        (self.0 >> 8 & 255) as usize
    }

    /// The coefficient; 0 for 16 zeros and for the end.
    #[inline(always)]
    pub fn value(self) -> i32 {
        self.0 as i32 >> 16
    }

    /// Bits of the coefficient.
    #[inline(always)]
    pub fn size(self) -> u32 {
        self.0 >> 16 & 15
    }
}

/// The number coded by `size` (1 to 15) `bits`, by T.81, F.2.2.1: a leading 0 means negative.
#[inline(always)]
pub fn extend(bits: u32, size: u32) -> i32 {
    let bits = bits as i32;
    if bits >> (size - 1) == 0 { bits - (1 << size) + 1 } else { bits }
}

impl Table {
    /// A table from a segment: the number of codes of each length, and the symbols.
    pub fn new(counts: &[u8; MAX_BITS], symbols: &[u8]) -> Result<Table, Fault> {
        let mut table = Table {
            entries: [Entry(Entry::MORE); 1 << LOOKUP_BITS],
            largest: [-1; MAX_BITS + 1],
            offset: [0; MAX_BITS + 1],
            symbols: [0; 256],
        };
        table.symbols[..symbols.len()].copy_from_slice(symbols);
        let (mut code, mut place) = (0_u32, 0_usize);
        for length in 1..=MAX_BITS {
            table.offset[length] = place as i32 - code as i32;
            for _ in 0..counts[length - 1] {
                if code >> length != 0 {
                    return Err(Fault::Damaged("a Huffman table with too many codes"));
                }
                if let Some(rest) = LOOKUP_BITS.checked_sub(length as u32) {
                    let from = (code << rest) as usize;
                    for (behind, entry) in table.entries[from..from + (1 << rest)].iter_mut().enumerate() {
                        *entry = Entry::new(symbols[place], length as u32, behind as u32);
                    }
                }
                table.largest[length] = code as i32;
                (code, place) = (code + 1, place + 1);
            }
            code <<= 1;
        }
        Ok(table)
    }

    /// The entry of the bits at the start of `ahead` (highest first).
    #[inline(always)]
    pub fn entry(&self, ahead: u64) -> Entry {
        self.entries[(ahead >> (64 - LOOKUP_BITS)) as usize]
    }

    /// Length and symbol of the code at the start of `ahead`, of any length; `None` if the table has no such code.
    #[inline]
    pub fn search(&self, ahead: u64) -> Option<(u32, u8)> {
        for length in 1..=MAX_BITS {
            let code = (ahead >> (64 - length)) as i32;
            if code <= self.largest[length] {
                return Some((length as u32, self.symbols[((code + self.offset[length]) & 255) as usize]));
            }
        }
        None
    }
}

/// Bits of one lookup for skipping coefficients: two or three of a good photo. With 13 a photo takes 1 % less time on
/// x86-64, but the tables fill the first-level cache of a small core.
pub const SKIP_BITS: u32 = 12;

/// How far the next bits lead through the coefficients of a block, for a [`Table`] of AC.
#[derive(Clone, Debug)]
pub struct Skips(Box<[Skip; 1 << SKIP_BITS]>);

/// Result of a skip lookup: the bits and the coefficients of the whole codes in it, and whether the last one ends the
/// block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip(u16);

impl Skip {
    /// Not skippable: more coefficients than a block has.
    const NONE: Skip = Skip(64 << 4);

    const END: u16 = 1 << 15;

    #[inline(always)]
    pub fn length(self) -> u32 {
        u32::from(self.0 & 15)
    }

    /// Number of coefficients including zeros, but not those after an end of block.
    #[inline(always)]
    pub fn coefficients(self) -> usize {
        usize::from(self.0 >> 4 & 127)
    }

    #[inline(always)]
    pub fn ends(self) -> bool {
        self.0 & Skip::END != 0
    }
}

impl Skips {
    /// Bytes that they take.
    pub const BYTES: usize = size_of::<Skip>() << SKIP_BITS;

    pub fn new(table: &Table) -> Skips {
        let mut skips = Box::new([Skip::NONE; 1 << SKIP_BITS]);
        for (bits, skip) in skips.iter_mut().enumerate() {
            let (mut length, mut coefficients) = (0, 0);
            while length < SKIP_BITS && coefficients < 64 {
                let entry = table.entry((bits as u64) << (64 - SKIP_BITS + length));
                // The bits shifted in are unknown.
                let taken = entry.length() + if entry.has_more() { entry.size() } else { 0 };
                if entry.length() == 0 || length + taken > SKIP_BITS {
                    break;
                }
                length += taken;
                if entry.run() == Entry::END {
                    *skip = Skip(length as u16 | coefficients << 4 | Skip::END);
                    break;
                }
                coefficients += entry.run() as u16 + 1;
                *skip = Skip(length as u16 | coefficients.min(64) << 4);
            }
        }
        Skips(skips)
    }

    /// The skip entry of the bits at the start of `ahead`.
    #[inline(always)]
    pub fn at(&self, ahead: u64) -> Skip {
        self.0[(ahead >> (64 - SKIP_BITS)) as usize]
    }
}

/// The DC and AC tables in force at one position of a picture.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub dc: [Option<Arc<Table>>; 4],
    pub ac: [Option<Arc<Table>>; 4],
}

impl Tables {
    /// Reads the tables of one segment.
    pub fn define(&mut self, mut body: &[u8]) -> Result<(), Fault> {
        let damaged = Fault::Damaged("a Huffman table of the wrong length");
        while let Some((head, rest)) = body.split_first_chunk::<17>() {
            let [place, counts @ ..] = head;
            let count = counts.iter().map(|c| usize::from(*c)).sum::<usize>();
            if count > 256 || count > rest.len() {
                return Err(damaged);
            }
            let (symbols, rest) = rest.split_at(count);
            body = rest;
            let tables = match place >> 4 {
                // A difference of DC has 16 bits at most.
                0 if symbols.iter().all(|s| *s <= 15) => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(Fault::Damaged("a Huffman table of no kind")),
            };
            let Some(table) = tables.get_mut(usize::from(place & 15)) else {
                return Err(Fault::Damaged("a Huffman table of a place that does not exist"));
            };
            *table = Some(Arc::new(Table::new(counts, symbols)?));
        }
        match body.is_empty() {
            true => Ok(()),
            false => Err(damaged),
        }
    }
}
