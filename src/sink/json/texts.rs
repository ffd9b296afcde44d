//! Texts from outside in lines of bounded length.

use serde::{Serialize, Serializer};

/// Bytes of each thing's label in a line that would otherwise be too long.
pub const SHORT_LABEL: usize = 64;

/// A text from outside. Writes at most `most` bytes of it, then an ellipsis.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    text: &'a str,
    most: usize,
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.text.len() <= self.most {
            return serializer.serialize_str(self.text);
        }
        let end = self.text.floor_char_boundary(self.most);
        serializer.collect_str(&format_args!("{}…", &self.text[..end]))
    }
}

/// How long texts from outside may be.
#[derive(Clone, Copy, Debug)]
pub struct Texts {
    /// Bytes of each text that are written.
    pub most: usize,
}

impl Texts {
    pub fn of(self, text: &str) -> Text<'_> {
        Text { text, most: self.most }
    }
}
