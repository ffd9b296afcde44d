//! Huffman codes, and the bits that they are read from.

use super::fault::Fault;

/// Bits that are looked up at once; longer codes are searched for.
const LOOKUP_BITS: u32 = 9;

/// Bits of the longest code.
const MAX_BITS: usize = 16;

/// One table of codes.
#[derive(Clone, Debug)]
pub struct Table {
    /// For all that begins with a short code: its length and its symbol. A length of 0 stands for a longer code.
    lookup: [(u8, u8); 1 << LOOKUP_BITS],
    /// For each length the largest code, or -1 where there is none.
    largest: [i32; MAX_BITS + 1],
    /// For each length what is added to a code to find its symbol.
    offset: [i32; MAX_BITS + 1],
    symbols: [u8; 256],
}

impl Table {
    /// A table as a segment gives it: how many codes there are of each length, and their symbols.
    pub fn new(counts: &[u8; MAX_BITS], symbols: &[u8]) -> Result<Table, Fault> {
        let mut table = Table {
            lookup: [(0, 0); 1 << LOOKUP_BITS],
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
                    table.lookup[from..from + (1 << rest)].fill((length as u8, symbols[place]));
                }
                table.largest[length] = code as i32;
                (code, place) = (code + 1, place + 1);
            }
            code <<= 1;
        }
        Ok(table)
    }
}

/// The tables of a picture, those of DC and those of AC.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub dc: [Option<Table>; 4],
    pub ac: [Option<Table>; 4],
}

impl Tables {
    /// Takes the tables of one segment.
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
            *table = Some(Table::new(counts, symbols)?);
        }
        match body.is_empty() {
            true => Ok(()),
            false => Err(damaged),
        }
    }
}

/// The coded data of one scan, bit by bit.
#[derive(Clone, Debug)]
pub struct Bits<'a> {
    data: &'a [u8],
    at: usize,
    /// Bits that were read ahead, from the highest bit down.
    ahead: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub fn new(data: &'a [u8]) -> Bits<'a> {
        Bits { data, at: 0, ahead: 0, count: 0 }
    }

    /// Bytes of the data that were needed so far.
    pub fn consumed(&self) -> usize {
        self.at.saturating_sub((self.count / 8) as usize)
    }

    fn refill(&mut self) {
        while self.count <= 56 {
            let Some(byte) = self.data.get(self.at) else { return };
            let mut next = self.at + 1;
            if *byte == 0xFF {
                // A 0xFF in the data is followed by a 0; anything else is a marker, where the data ends.
                while self.data.get(next) == Some(&0xFF) {
                    next += 1;
                }
                if self.data.get(next) != Some(&0) {
                    return;
                }
                next += 1;
            }
            self.at = next;
            self.ahead |= u64::from(*byte) << (56 - self.count);
            self.count += 8;
        }
    }

    fn drop(&mut self, bits: u32) {
        self.ahead <<= bits;
        self.count -= bits;
    }

    /// The next `bits` (0 to 16) as a number.
    #[inline]
    pub fn take(&mut self, bits: u32) -> Result<u32, Fault> {
        if bits == 0 {
            return Ok(0);
        }
        if self.count < bits {
            self.refill();
            if self.count < bits {
                return Err(Fault::CutOff);
            }
        }
        let value = (self.ahead >> (64 - bits)) as u32;
        self.drop(bits);
        Ok(value)
    }

    /// A number of `bits` bits of T.81, F.2.2.1: a leading 0 stands for a negative one.
    #[inline]
    pub fn signed(&mut self, bits: u32) -> Result<i32, Fault> {
        if bits == 0 {
            return Ok(0);
        }
        let value = self.take(bits)? as i32;
        Ok(if value < 1 << (bits - 1) { value - (1 << bits) + 1 } else { value })
    }

    /// The next symbol of `table`.
    #[inline]
    pub fn symbol(&mut self, table: &Table) -> Result<u8, Fault> {
        if self.count < MAX_BITS as u32 {
            self.refill();
        }
        let (length, symbol) = table.lookup[(self.ahead >> (64 - LOOKUP_BITS)) as usize];
        if length != 0 {
            if self.count < length.into() {
                return Err(Fault::CutOff);
            }
            self.drop(length.into());
            return Ok(symbol);
        }
        for length in LOOKUP_BITS as usize + 1..=MAX_BITS {
            let code = (self.ahead >> (64 - length)) as i32;
            if code <= table.largest[length] {
                if self.count < length as u32 {
                    return Err(Fault::CutOff);
                }
                self.drop(length as u32);
                return Ok(table.symbols[((code + table.offset[length]) & 255) as usize]);
            }
        }
        Err(if self.count < MAX_BITS as u32 { Fault::CutOff } else { Fault::Damaged("a code that no table has") })
    }

    /// Passes over what is left before the next restart marker, which must be the one of this `number`.
    pub fn restart(&mut self, number: u8) -> Result<(), Fault> {
        (self.ahead, self.count) = (0, 0);
        loop {
            let Some(found) = self.data[self.at..].iter().position(|b| *b == 0xFF) else { return Err(Fault::CutOff) };
            self.at += found;
            let Some(fill) = self.data[self.at..].iter().position(|b| *b != 0xFF) else { return Err(Fault::CutOff) };
            let marker = self.data[self.at + fill];
            self.at += fill + 1;
            match marker {
                0 => {}
                _ if marker == 0xD0 | number => return Ok(()),
                _ => return Err(Fault::Damaged("a restart marker out of turn")),
            }
        }
    }
}
