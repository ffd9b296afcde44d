//! Photos that were handed out and of which no entry says yet that they were told of.
//!
//! A line to somebody else and an entry of one's own cannot be written in one step. So the intention is written before, and
//! where a run ended in between, the next one knows which photos it may tell of once more. It stands in a line like an
//! entry's, with another checksum, which earlier versions pass over as a damaged one.

use super::super::identity::{Key, Keys};
use super::{keys_of, text_of};

/// Photos that are remembered: more than are in hand at a time, in all queues and threads together.
const MOST: usize = 64;

/// What turns the checksum of an entry into that of another kind of line: of a photo that is handed out, and of one that
/// was taken back before anybody was told of it.
const HANDED_OUT: u32 = 0xFFFF_FFFF;
const TAKEN_BACK: u32 = 0x0F0F_0F0F;

/// Bytes of memory that they take.
pub const BYTES: usize = MOST * size_of::<Keys>();

/// Those photos, the newest last.
#[derive(Debug, Default)]
pub struct Begun(Vec<Keys>);

impl Begun {
    /// Whether a photo that is this one is among them.
    pub fn has(&self, photo: Keys) -> bool {
        self.0.iter().any(|begun| begun.matches(photo))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one; the oldest goes where they are too many.
    pub fn add(&mut self, photo: Keys) {
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push(photo);
    }

    /// Takes out those that are this photo; whether there were any.
    pub fn settle(&mut self, photo: Keys) -> bool {
        let before = self.0.len();
        self.0.retain(|begun| !begun.matches(photo));
        self.0.len() < before
    }

    /// Takes in a line that is no entry; whether it is of one of these kinds.
    pub fn read(&mut self, line: &[u8]) -> bool {
        if let Some(keys) = keys_of(line, HANDED_OUT) {
            self.add(Keys(keys));
            return true;
        }
        let back: Option<[Key; 3]> = keys_of(line, TAKEN_BACK);
        back.map(|keys| self.settle(Keys(keys))).is_some()
    }

    /// The lines that say the same to who reads the file next.
    pub fn text(&self) -> String {
        self.0.iter().map(|photo| Begun::line(*photo)).collect()
    }

    /// The line of a photo that is handed out.
    pub fn line(photo: Keys) -> String {
        text_of(photo, HANDED_OUT)
    }

    /// The line of one that is taken back.
    pub fn back(photo: Keys) -> String {
        text_of(photo, TAKEN_BACK)
    }
}
