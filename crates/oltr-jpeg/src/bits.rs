//! The coded data of one scan: read from the file in pieces, without stuffed bytes, bit by bit.

use super::fault::{Failure, Fault};
use super::header::MAX_COMPONENTS;
use super::huffman::{MAX_BITS, Table, extend};
use super::raw::Raw;

/// Most bytes of a coded unit of a scan: 10 blocks of 64 coefficients of 32 bits are 2560.
const UNIT: usize = 4096;

/// Bytes kept before the current position, to look back on.
const KEPT: usize = 8;

/// Zeros at the end of coded data that may belong to it. More are padding of the file.
const FINAL_ZEROS: usize = 2;

/// The end of a piece of coded data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Marker(u8),
    Bytes,
}

/// The coded data of one scan, with the state that is carried from block to block.
pub struct Coded<'a> {
    raw: Raw<'a>,
    /// The next byte of `raw`.
    at: usize,
    /// Coded bytes without stuffed bytes.
    window: Vec<u8>,
    /// Bytes that the window may hold.
    most: usize,
    /// What follows the window; `None` for more coded data.
    end: Option<End>,
    place: Place,
    /// Units between two restart markers, or 0, and until the next one.
    restart: u32,
    left: u32,
    markers: u8,
    pub state: State,
}

/// Position of the next bit in the window.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    at: usize,
    ahead: u64,
    count: u32,
}

/// State carried from one block to the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    pub last_dc: [i32; MAX_COMPONENTS],
    /// Blocks that have no coefficients in a progressive scan.
    pub run: u32,
}

impl<'a> Coded<'a> {
    /// The coded data at the start of `raw`, with at most `most` bytes in memory and `restart` units between markers.
    pub fn new(raw: Raw<'a>, most: usize, restart: u32) -> Coded<'a> {
        Coded {
            raw,
            at: 0,
            window: Vec::new(),
            most: most.max(2 * UNIT),
            end: None,
            place: Place::default(),
            restart,
            left: restart,
            markers: 0,
            state: State::default(),
        }
    }

    /// Decodes `count` units with `unit`, and consumes the restart markers in between.
    ///
    /// # Errors
    /// Errors of `unit`; [`Fault::CutOff`] if the data ends early.
    #[inline(always)]
    pub fn units(
        &mut self,
        count: usize,
        mut unit: impl FnMut(usize, &mut Bits, &mut State) -> Result<(), Fault>,
    ) -> Result<(), Failure> {
        let mut done = 0;
        while done < count {
            self.prepare()?;
            let due = if self.restart == 0 { usize::MAX } else { self.left as usize };
            let limit = if self.end.is_some() { usize::MAX } else { self.window.len() - UNIT };
            let mut bits = Bits { data: &self.window, place: self.place };
            let (first, last) = (done, count.min(done.saturating_add(due)));
            let mut result = Ok(());
            while done < last && bits.place.at <= limit {
                result = unit(done, &mut bits, &mut self.state);
                done += 1;
                if result.is_err() || bits.is_over() {
                    break;
                }
            }
            let (over, place) = (bits.is_over(), bits.place);
            self.place = place;
            match result {
                _ if over => return Err(Fault::CutOff.into()),
                Err(fault) => return Err(fault.into()),
                Ok(()) => {}
            }
            if self.restart != 0 {
                self.left -= (done - first) as u32;
            }
        }
        Ok(())
    }

    /// Sees to it that a whole unit can be read, if the data holds one.
    fn prepare(&mut self) -> Result<(), Failure> {
        if self.restart != 0 && self.left == 0 {
            self.pass_restart()?;
        }
        if self.end.is_none() && self.window.len() < self.place.at + UNIT {
            self.fill()?;
        }
        Ok(())
    }

    /// Skips to the next restart marker, which must have the expected number.
    fn pass_restart(&mut self) -> Result<(), Failure> {
        while self.end.is_none() {
            self.place.at = self.window.len();
            self.fill()?;
        }
        match self.end {
            Some(End::Marker(marker)) if marker == 0xD0 | self.markers => {}
            Some(End::Marker(_)) => return Err(Fault::Damaged("a restart marker out of turn").into()),
            _ => return Err(Fault::CutOff.into()),
        }
        self.at += 2;
        self.markers = (self.markers + 1) % 8;
        self.left = self.restart;
        (self.end, self.state, self.place) = (None, State::default(), Place::default());
        self.window.clear();
        Ok(())
    }

    /// Fills the window up to `most` bytes, or to the end of the data.
    fn fill(&mut self) -> Result<(), Failure> {
        let used = self.place.at.saturating_sub(KEPT).min(self.window.len());
        self.window.drain(..used);
        self.place.at -= used;
        while self.window.len() < self.most && self.end.is_none() {
            let bytes = &self.raw.bytes()[self.at..];
            let bytes = &bytes[..bytes.len().min(self.most - self.window.len())];
            let plain = memchr::memchr(0xFF, bytes).unwrap_or(bytes.len());
            self.window.extend_from_slice(&bytes[..plain]);
            self.at += plain;
            if plain < bytes.len() {
                self.marker()?;
            } else if self.at == self.raw.bytes().len() && !self.raw.advance(&mut self.at)? {
                self.end = Some(End::Bytes);
            }
        }
        Ok(())
    }

    /// Handles a 0xFF: a literal byte if a stuffed 0 follows, otherwise the end of the data.
    fn marker(&mut self) -> Result<(), Failure> {
        loop {
            match self.raw.bytes().get(self.at + 1).copied() {
                Some(0) => {
                    self.window.push(0xFF);
                    self.at += 2;
                    return Ok(());
                }
                // Any number of 0xFF may precede a marker.
                Some(0xFF) => self.at += 1,
                Some(marker) => {
                    self.end = Some(End::Marker(marker));
                    return Ok(());
                }
                None if self.raw.advance(&mut self.at)? => {}
                None => {
                    self.end = Some(End::Bytes);
                    return Ok(());
                }
            }
        }
    }

    /// Checks the bytes after the last unit. A file whose space was allocated before it was written ends with zeros,
    /// which decode as codes.
    ///
    /// # Errors
    /// [`Fault::CutOff`] if units were decoded from such zeros.
    pub fn finish(&mut self) -> Result<(), Failure> {
        loop {
            let read = self.place.at - (self.place.count / 8) as usize;
            let (before, behind) = self.window.split_at(read.min(self.window.len()));
            if behind.iter().any(|b| *b != 0) || matches!(self.end, Some(End::Marker(_))) {
                return Ok(());
            }
            if self.end == Some(End::Bytes) {
                let zeros = before.iter().rev().take_while(|b| **b == 0).count();
                return if zeros > FINAL_ZEROS { Err(Fault::CutOff.into()) } else { Ok(()) };
            }
            if behind.is_empty() {
                self.fill()?;
            } else {
                // Only zeros so far: keep the bytes before them.
                self.window.truncate(read);
                self.place.at = self.place.at.min(read);
                self.place.count = 0;
                self.fill()?;
            }
        }
    }
}

/// Bits of a window.
pub struct Bits<'a> {
    data: &'a [u8],
    place: Place,
}

impl Bits<'_> {
    /// Bits available at least after [`Bits::refill`].
    pub const REFILLED: u32 = 56;

    /// Makes at least [`Bits::REFILLED`] bits available. After the end of the data they are zeros.
    #[inline(always)]
    pub fn refill(&mut self) {
        let Place { at, ahead, count } = &mut self.place;
        if let Some(bytes) = self.data.get(*at..).and_then(|d| d.first_chunk::<8>()) {
            *ahead |= u64::from_be_bytes(*bytes) >> *count;
            *at += ((63 - *count) >> 3) as usize;
            *count |= 56;
        } else {
            self.refill_at_end();
        }
    }

    #[cold]
    #[inline(never)]
    fn refill_at_end(&mut self) {
        let Place { at, ahead, count } = &mut self.place;
        while *count <= 56 {
            // Bits that were seen before may be there already.
            let mask = (!0_u64).checked_shl(64 - *count).unwrap_or(0);
            *ahead &= mask;
            *ahead |= u64::from(self.data.get(*at).copied().unwrap_or(0)) << (56 - *count);
            *at += 1;
            *count += 8;
        }
    }

    /// Whether more was read than exists.
    #[inline(always)]
    fn is_over(&self) -> bool {
        self.place.at > self.data.len() && self.place.at - (self.place.count / 8) as usize > self.data.len()
    }

    /// The bits that are ahead, however many.
    #[inline(always)]
    pub fn known(&self) -> u64 {
        self.place.ahead
    }

    /// The next bits, highest first: at least 32.
    #[inline(always)]
    pub fn ahead(&mut self) -> u64 {
        if self.place.count < 32 {
            self.refill();
        }
        self.place.ahead
    }

    /// Consumes `bits` bits.
    #[inline(always)]
    pub fn pass(&mut self, bits: u32) {
        self.place.ahead <<= bits;
        self.place.count -= bits;
    }

    /// The next `bits` (0 to 16) as a number.
    #[inline(always)]
    pub fn take(&mut self, bits: u32) -> u32 {
        let value = (self.ahead() >> 1 >> (63 - bits)) as u32;
        self.pass(bits);
        value
    }

    /// The next number of `size` (0 to 15) bits.
    #[inline(always)]
    pub fn signed(&mut self, size: u32) -> i32 {
        if size == 0 { 0 } else { extend(self.take(size), size) }
    }

    /// The next symbol of `table`.
    #[inline(always)]
    pub fn symbol(&mut self, table: &Table) -> Result<u8, Fault> {
        let ahead = self.ahead();
        self.searched(table, ahead)
    }

    /// The symbol that `ahead` begins with.
    #[inline]
    pub fn searched(&mut self, table: &Table, ahead: u64) -> Result<u8, Fault> {
        match table.search(ahead) {
            Some((length, symbol)) => {
                self.pass(length);
                Ok(symbol)
            }
            None => {
                // Zeros after the end may not be a code.
                let left = (self.data.len() * 8 + self.place.count as usize).saturating_sub(self.place.at * 8);
                Err(if left < MAX_BITS { Fault::CutOff } else { Fault::Damaged("a code that no table has") })
            }
        }
    }
}
