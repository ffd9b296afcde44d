//! Escapes texts from outside for display: names of files, classes, operators, labels and devices may contain anything.
//!
//! A character that controls a terminal, starts a new log line or disguises a name becomes a readable escape: `\n`,
//! `\u{1b}`, `\u{202e}`. [`Error`](crate::Error) escapes its messages itself. The program escapes everything else that
//! it shows with these functions. JSON keeps every name exact: [`Json`] uses JSON's escapes for these characters.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Most characters of a name in a message. A longer one loses its middle. Linux allows paths of 4096 bytes, but a name
/// of more than a few lines is unreadable.
const MOST_NAME: usize = 512;

/// Most characters of a message, including the names in it.
const MOST_MESSAGE: usize = 4096;

/// Whether `c` must be escaped: a control character, one that changes the direction of text, one without width, or one
/// that ends a line.
pub fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

fn push(c: char, to: &mut impl fmt::Write) -> fmt::Result {
    match c {
        '\n' => to.write_str("\\n"),
        '\r' => to.write_str("\\r"),
        '\t' => to.write_str("\\t"),
        c if is_hidden(c) => write!(to, "\\u{{{:x}}}", u32::from(c)),
        c => to.write_char(c),
    }
}

/// A number with its noun: `1 photo`, `2 photos`, `0 classes`.
pub fn counted(n: impl TryInto<u64>, one: &str) -> String {
    let n = n.try_into().unwrap_or(u64::MAX);
    let end = match one {
        _ if n == 1 => "",
        one if one.ends_with('s') => "es",
        _ => "s",
    };
    format!("{n} {one}{end}")
}

/// Characters that start a formula in a spreadsheet.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// `text` as a cell of a table. An apostrophe before a text that starts like a formula stops a spreadsheet from
/// computing it. [`of_cell`] removes that apostrophe, and no other.
pub fn cell(text: &str) -> Cow<'_, str> {
    match text.trim_start_matches('\'').starts_with(FORMULA) {
        true => Cow::Owned(format!("'{text}")),
        false => Cow::Borrowed(text),
    }
}

/// The text that [`cell`] wrote.
pub fn of_cell(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(text) if text.trim_start_matches('\'').starts_with(FORMULA) => text,
        _ => cell,
    }
}

/// `text` in one line, with escapes for what [`is_hidden`].
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return text.into();
    }
    Shown { text, most: usize::MAX }.to_string().into()
}

/// As [`printable`], but keeps line breaks.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c != '\n' && is_hidden(c)) {
        return text.into();
    }
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n").into()
}

/// A file name as one line: bytes that are not UTF-8 become `\xff`.
pub fn printable_os(name: &OsStr) -> String {
    let mut shown = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        shown.push_str(&printable(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// `text` for the text of HTML or SVG and for its attributes.
pub fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A name in a message.
pub(crate) fn name(text: &str) -> impl fmt::Display + '_ {
    Shown { text, most: MOST_NAME }
}

/// The text of a message with the names in it.
pub(crate) fn message(text: &str) -> impl fmt::Display + '_ {
    Shown { text, most: MOST_MESSAGE }
}

/// A path in a message.
pub(crate) fn path(path: &Path) -> String {
    let shown = printable_os(path.as_os_str());
    // Existing escapes contain no hidden characters, so they are not escaped again.
    Shown { text: &shown, most: MOST_NAME }.to_string()
}

/// Displays text in one line, without its middle if it is longer than `most` characters.
struct Shown<'a> {
    text: &'a str,
    most: usize,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Counts bytes first, because that is cheap.
        if self.text.len() <= self.most || self.text.chars().nth(self.most).is_none() {
            return self.text.chars().try_for_each(|c| push(c, f));
        }
        let half = self.most / 2;
        self.text.chars().take(half).try_for_each(|c| push(c, f))?;
        f.write_char('…')?;
        let end = self.text.char_indices().rev().nth(half.saturating_sub(1)).map_or(0, |(at, _)| at);
        self.text[end..].chars().try_for_each(|c| push(c, f))
    }
}

/// A JSON formatter that keeps every text exact and writes no character that [`is_hidden`]: terminal controls beyond
/// ASCII and direction marks become escapes such as `\u202e`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Formatter for Json {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_hidden(*c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Writes `value` as JSON in one line, as [`Json`] does.
///
/// # Errors
/// As [`serde_json::to_writer`].
pub fn write_json(out: impl io::Write, value: &impl Serialize) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, Json))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind that must not reach a terminal.
    const HOSTILE: &str = "\x1b]0;t\x07\r\n\u{9b}31m\u{7f}\u{202e}\u{2066}\u{200b}\u{feff}\u{2028}\u{2029}\u{e0041}";

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(1u64, "photo"), "1 photo");
        assert_eq!([0, 2].map(|n: usize| counted(n, "known class")), ["0 known classes", "2 known classes"]);
        assert_eq!(counted(-1, "photo"), "18446744073709551615 photos", "what cannot be is many");
    }

    #[test]
    fn nothing_that_is_hidden_is_left() {
        for shown in [
            printable(HOSTILE).into_owned(),
            printable_lines(HOSTILE).replace('\n', ""),
            html(HOSTILE),
            name(HOSTILE).to_string(),
            message(HOSTILE).to_string(),
            path(Path::new(HOSTILE)),
            printable_os(OsStr::new(HOSTILE)),
        ] {
            assert!(!shown.chars().any(is_hidden), "{shown:?}");
        }
        assert_eq!(printable("a\x1b[31m\nb\tc\u{202e}"), "a\\u{1b}[31m\\nb\\tc\\u{202e}");
        assert_eq!(printable_lines("a\n\x1bb"), "a\n\\u{1b}b");
        assert_eq!(html("<a href='x'>&\"\x1b"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\\u{1b}");
    }

    #[test]
    fn texts_cannot_become_formulas_and_come_back_as_they_were() {
        assert_eq!(cell("=HYPERLINK(\"x\")"), "'=HYPERLINK(\"x\")");
        assert_eq!([cell("-1"), cell("@a"), cell("+b"), cell("\tc")], ["'-1", "'@a", "'+b", "'\tc"]);
        assert_eq!([cell("a=b"), cell(""), cell("'tis")], ["a=b", "", "'tis"]);
        for text in ["=a", "'=a", "''=a", "'a", "''", "", "a", "-1", "'"] {
            assert_eq!(of_cell(&cell(text)), text);
        }
    }

    #[test]
    fn names_of_people_stay_as_they_are() {
        for plain in ["Größe.jpg", "茶碗", "café\u{301}", "🦊.png", "a b\\c", "ة", "नमस्ते"] {
            assert!(matches!(printable(plain), Cow::Borrowed(_)), "{plain}");
            assert_eq!(name(plain).to_string(), plain);
        }
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_not_text_stay_distinct() {
        use std::os::unix::ffi::OsStrExt;
        let shown = |bytes: &[u8]| printable_os(OsStr::from_bytes(bytes));
        assert_eq!(shown(b"a\xff\x1b.jpg"), "a\\xff\\u{1b}.jpg");
        assert_ne!(shown(b"a\xff"), shown(b"a\xfe"));
    }

    #[test]
    fn long_names_lose_their_middle() {
        let long = format!("{}{}", "a".repeat(100_000), "z".repeat(100_000));
        let shown = name(&long).to_string();
        assert_eq!(shown.chars().count(), MOST_NAME + 1);
        assert!(shown.starts_with("aaa") && shown.contains("a…z") && shown.ends_with("zzz"));
        let exact = "ä".repeat(MOST_NAME);
        assert_eq!(name(&exact).to_string(), exact);
    }

    #[test]
    fn json_is_exact_and_holds_nothing_hidden() {
        let mut bytes = Vec::new();
        let value = [HOSTILE, "\"\\/", "茶\u{10ffff}", ""];
        write_json(&mut bytes, &value).unwrap();
        let json = String::from_utf8(bytes).unwrap();
        assert!(!json.chars().any(is_hidden), "{json}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), value);
        let mut plain = Vec::new();
        write_json(&mut plain, &("a", 1.5, [true], None::<u8>)).unwrap();
        assert_eq!(plain, br#"["a",1.5,[true],null]"#);
    }
}
