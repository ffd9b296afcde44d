//! Fits text into terminal cells: wraps it, or shortens it at the least informative part.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Replaces the omitted part of a name.
const ELLIPSIS: &str = "…";

/// Wraps `text` into lines of at most `width` terminal cells. Breaks a word only if it is longer than a line.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let options = textwrap::Options::new(width).word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(text, options).into_iter().map(Cow::into_owned).collect()
}

/// `text` in at most `width` terminal cells, its middle left out.
pub fn shorten(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width { text.into() } else { middle(text, width).into() }
}

/// `text` in at most `width` terminal cells, its middle left out even if all of it would fit.
pub fn middle(text: &str, width: usize) -> String {
    let room = width.saturating_sub(ELLIPSIS.width());
    let begin = prefix(text, room.div_ceil(2));
    let end = suffix(&text[begin.len()..], room - begin.width());
    format!("{begin}{ELLIPSIS}{end}")
}

/// Shortens a path: keeps the whole file name if it fits, and as many of the first folders as fit. Of a single long
/// name, keeps the start.
pub fn path(text: &str, width: usize) -> String {
    let Some(slash) = text.rfind('/') else { return middle(text, width) };
    let (folders, name) = text.split_at(slash);
    match width.checked_sub(ELLIPSIS.width() + name.width()) {
        Some(room) => {
            let begin = prefix(folders, room);
            let whole = begin.rfind('/').filter(|slash| *slash > 0).map_or(begin, |slash| &begin[..=slash]);
            format!("{whole}{ELLIPSIS}{name}")
        }
        None => middle(&name[1..], width),
    }
}

/// The longest prefix of `text` that fits into `width` terminal cells, without splitting a grapheme.
fn prefix(text: &str, width: usize) -> &str {
    let fits = |(i, grapheme): (usize, &str)| Some(i + grapheme.len()).filter(|end| text[..*end].width() <= width);
    text.grapheme_indices(true).map_while(fits).last().map_or("", |end| &text[..end])
}

/// The longest end of `text` that `width` terminal cells hold.
fn suffix(text: &str, width: usize) -> &str {
    let fits = |(i, _): (usize, &str)| Some(i).filter(|begin| text[*begin..].width() <= width);
    text.grapheme_indices(true).rev().map_while(fits).last().map_or("", |begin| &text[begin..])
}
