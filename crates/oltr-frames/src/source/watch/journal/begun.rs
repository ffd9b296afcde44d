//! Photos that were handed out and are not recorded as reported yet.
//!
//! Printing a result and recording it cannot be one atomic step. So a line in the journal states the intention first.
//! If a run is killed in between, the next run knows which photos may already have been reported. Such a line looks
//! like an entry with a wrong checksum, so earlier versions skip it as damaged.

use super::super::identity::{Key, Keys};
use super::{keys_of, text_of};

/// Most photos that are remembered: more than all queues and threads hold at a time.
const MOST: usize = 64;

/// XORed with the checksum of an entry, these mark other kinds of lines: a photo that is handed out, and one that was
/// taken back without being reported.
const HANDED_OUT: u32 = 0xFFFF_FFFF;
const TAKEN_BACK: u32 = 0x0F0F_0F0F;

/// Bytes of memory that they take.
pub const BYTES: usize = MOST * size_of::<Keys>();

/// The photos, the newest last.
#[derive(Debug, Default)]
pub struct Begun(Vec<Keys>);

impl Begun {
    /// Whether the photo is among them.
    pub fn has(&self, photo: Keys) -> bool {
        self.0.iter().any(|begun| begun.matches(photo))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one, and drops the oldest if there are too many.
    pub fn add(&mut self, photo: Keys) {
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push(photo);
    }

    /// Removes the photo. Returns whether it was among them.
    pub fn settle(&mut self, photo: Keys) -> bool {
        let before = self.0.len();
        self.0.retain(|begun| !begun.matches(photo));
        self.0.len() < before
    }

    /// Parses a line that is not an entry. Returns whether it is of one of these kinds.
    pub fn read(&mut self, line: &[u8]) -> bool {
        if let Some(keys) = keys_of(line, HANDED_OUT) {
            self.add(Keys(keys));
            return true;
        }
        let back: Option<[Key; 3]> = keys_of(line, TAKEN_BACK);
        back.map(|keys| self.settle(Keys(keys))).is_some()
    }

    /// The lines that restore this list when the file is read.
    pub fn text(&self) -> String {
        self.0.iter().map(|photo| Begun::line(*photo)).collect()
    }

    /// The line of a photo that is handed out.
    pub fn line(photo: Keys) -> String {
        text_of(photo, HANDED_OUT)
    }

    /// The line of a photo that is taken back.
    pub fn back(photo: Keys) -> String {
        text_of(photo, TAKEN_BACK)
    }
}
