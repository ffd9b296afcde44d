//! The coded data of one scan: taken from the file in pieces, freed of what is stuffed between its bytes, read bit by bit.

use super::fault::{Failure, Fault};
use super::header::MAX_COMPONENTS;
use super::huffman::{MAX_BITS, Table, extend};
use super::raw::Raw;

/// Bytes that the coded unit of a scan takes at most: 10 blocks of 64 coefficients of 32 bits are 2560.
const UNIT: usize = 4096;

/// Bytes before the next one that are kept, to look back on.
const KEPT: usize = 8;

/// Zeros at the end of coded data that may belong to it; more are what a file is filled up with.
const FINAL_ZEROS: usize = 2;

/// What ends a piece of coded data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Marker(u8),
    Bytes,
}

/// The coded data of one scan with what is carried from one block to the next.
pub struct Coded<'a> {
    raw: Raw<'a>,
    /// The next byte of `raw`.
    at: usize,
    /// Coded bytes without what was stuffed between them.
    window: Vec<u8>,
    /// Bytes that the window may hold.
    most: usize,
    /// What follows the window; `None` for more of it.
    end: Option<End>,
    place: Place,
    /// Units between two restart markers, or 0, and until the next one.
    restart: u32,
    left: u32,
    markers: u8,
    pub state: State,
}

/// Where in the window the next bit is.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    at: usize,
    ahead: u64,
    count: u32,
}

/// What one block leaves for the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    pub last_dc: [i32; MAX_COMPONENTS],
    /// Blocks that have no coefficients in a progressive scan.
    pub run: u32,
}

impl<'a> Coded<'a> {
    /// The data that `raw` begins with, of which `most` bytes are held at a time; `restart` units between two markers.
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

    /// Decodes units by `unit` until it has done `count` of them. In between restart markers are taken where they are due.
    ///
    /// # Errors
    /// What `unit` fails with; [`Fault::CutOff`] where the data ends before the units do.
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

    /// Passes over what is left before the next restart marker, which must be the one that is due.
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

    /// Takes the 0xFF that comes next: itself where a 0 follows, which is stuffed behind it; otherwise the data ends.
    fn marker(&mut self) -> Result<(), Failure> {
        loop {
            match self.raw.bytes().get(self.at + 1).copied() {
                Some(0) => {
                    self.window.push(0xFF);
                    self.at += 2;
                    return Ok(());
                }
                // A marker may be preceded by any number of them.
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

    /// Looks at what follows the last unit. A file that was made in full length before it was written ends with zeros,
    /// which are codes too.
    ///
    /// # Errors
    /// [`Fault::CutOff`] where units were read from such zeros.
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
                // Nothing but zeros so far: what was read before them is kept.
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
    /// Bits that are ahead at least after [`Bits::refill`].
    pub const REFILLED: u32 = 56;

    /// Makes sure that [`Bits::REFILLED`] bits at least are ahead; behind the end of the data they are zeros.
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
            // What was looked at before may lie there already.
            let mask = (!0_u64).checked_shl(64 - *count).unwrap_or(0);
            *ahead &= mask;
            *ahead |= u64::from(self.data.get(*at).copied().unwrap_or(0)) << (56 - *count);
            *at += 1;
            *count += 8;
        }
    }

    /// Whether more was read than there is.
    #[inline(always)]
    fn is_over(&self) -> bool {
        self.place.at > self.data.len() && self.place.at - (self.place.count / 8) as usize > self.data.len()
    }

    /// The bits that are ahead, however many.
    #[inline(always)]
    pub fn known(&self) -> u64 {
        self.place.ahead
    }

    /// The next bits, from the highest down: 32 at least.
    #[inline(always)]
    pub fn ahead(&mut self) -> u64 {
        if self.place.count < 32 {
            self.refill();
        }
        self.place.ahead
    }

    /// Passes over `bits` of what is ahead.
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
                // Behind the end there are zeros, which may be no code.
                let left = (self.data.len() * 8 + self.place.count as usize).saturating_sub(self.place.at * 8);
                Err(if left < MAX_BITS { Fault::CutOff } else { Fault::Damaged("a code that no table has") })
            }
        }
    }
}
