//! Writes results to stdout: lines for people, coloured on a terminal; JSON lines for programs.

use std::io::{self, Write};
use std::os::fd::AsFd;

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use oltr::text::printable;
use oltr::{Error, ErrorKind, text};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use super::exit;
use super::text::{shorten, wrap};

/// Something went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Something to look at.
pub const NOTABLE: Style = AnsiColor::Yellow.on_default();
/// Something went wrong.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Titles of columns and sections.
pub const TITLE: Style = Style::new().bold();
/// No style.
pub const PLAIN: Style = Style::new();

/// Standard output without the standard library's buffer. It waits for its reader even if another process made it
/// non-blocking: writes are whole lines, and half a line is worse than a late one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stdout = io::stdout();
        loop {
            match rustix::io::write(stdout.as_fd(), bytes) {
                Ok(n) => return Ok(n),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    match poll(&mut [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::OUT)], None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(e) => return Err(e.into()),
                    }
                }
                // As in the standard library: a closed output accepts everything.
                Err(Errno::BADF) => return Ok(bytes.len()),
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Output of results. Each line is written at once and flushed, so that a reader gets it without delay.
pub struct Output {
    /// Drops colours unless stdout is a terminal and `NO_COLOR` is not set.
    stdout: anstream::AutoStream<Box<dyn Write>>,
    /// Columns that a table may take.
    width: usize,
    /// Whether a terminal or `COLUMNS` gives the width.
    wraps: bool,
}

/// Columns of files and pipes, if `COLUMNS` is not set.
const DEFAULT_WIDTH: usize = 80;

/// Widths that `COLUMNS` may name.
const WIDTHS: std::ops::RangeInclusive<usize> = 20..=10_000;

/// Columns of the fields' names, including the blanks after them.
const NAMES: usize = 14;

/// Longest line of running text, even on a wider terminal: longer lines are hard to read.
const LINE: usize = 100;

impl Output {
    /// Standard output.
    pub fn new() -> Output {
        let terminal = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
        let variable = || std::env::var("COLUMNS").ok()?.trim().parse().ok();
        let width = terminal.or_else(variable).filter(|width| WIDTHS.contains(width));
        let stdout =
            anstream::AutoStream::new(Box::new(Stdout) as Box<dyn Write>, anstream::AutoStream::choice(&io::stdout()));
        Output { stdout, width: width.unwrap_or(DEFAULT_WIDTH), wraps: width.is_some() }
    }

    /// Columns of a table: the terminal's, else the variable `COLUMNS`, else 80.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Writes a named value, in lines that fit.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn field(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        let name = printable(name);
        let name = shorten(&name, NAMES - 1);
        let begin = format!("{name}{}", " ".repeat(NAMES - name.width()));
        let lines = wrap(&printable(value), self.width.min(LINE).saturating_sub(NAMES).max(1));
        let begins = std::iter::once(begin).chain(std::iter::repeat(" ".repeat(NAMES)));
        lines.iter().zip(begins).try_for_each(|(line, begin)| self.line(&format!("{begin}{line}")))
    }

    /// Writes `text` in lines that fit, each after `indent` blanks.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn paragraph(&mut self, indent: usize, text: &str) -> anyhow::Result<()> {
        let width = self.width.min(LINE).saturating_sub(indent).max(1);
        wrap(&printable(text), width).iter().try_for_each(|line| self.line(&format!("{:indent$}{line}", "")))
    }

    /// Writes `text` after `indent` blanks. Wraps it if a terminal or `COLUMNS` gives the width; otherwise writes one
    /// line, so that a program reading the pipe gets it in one piece.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn remark(&mut self, indent: usize, text: &str) -> anyhow::Result<()> {
        match self.wraps {
            true => self.paragraph(indent, text),
            false => self.line(&format!("{:indent$}{}", "", printable(text))),
        }
    }

    /// Writes one line of text, which may contain [`Style`]s.
    ///
    /// # Errors
    /// [`io::Error`]; a broken pipe ends the program quietly.
    pub fn line(&mut self, text: &str) -> anyhow::Result<()> {
        write(&mut self.stdout, format!("{text}\n").as_bytes())
    }

    /// Writes a piece of a line, to be overwritten by the next, on a terminal.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn piece(&mut self, text: &str) -> anyhow::Result<()> {
        write(&mut self.stdout, text.as_bytes())
    }

    /// Writes `value` as one line of JSON.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let mut line = Vec::new();
        text::write_json(&mut line, value).context("internal error: a result cannot be written as JSON")?;
        line.push(b'\n');
        write(&mut Stdout, &line)
    }
}

fn write(stdout: &mut impl Write, bytes: &[u8]) -> anyhow::Result<()> {
    stdout.write_all(bytes).and_then(|()| stdout.flush()).context("standard output")
}

/// An input that failed, at its place among the results: `oltr.error/1`.
#[derive(Debug, Serialize)]
pub struct ErrorLine<'a> {
    schema: &'static str,
    /// The input as it was given.
    source: &'a str,
    /// [`ErrorKind`], for programs.
    kind: &'static str,
    /// What is wrong and the remedy, for people.
    error: String,
    /// The path as a relative URL, where that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    source_url: Option<String>,
}

impl<'a> ErrorLine<'a> {
    /// The line for `error` of `source`.
    pub fn new(source: &'a str, error: &Error) -> ErrorLine<'a> {
        let kind: ErrorKind = error.kind();
        ErrorLine { schema: "oltr.error/1", source, kind: kind.as_str(), error: exit::message(error), source_url: None }
    }

    /// Adds the URL of `source`, if its path is not UTF-8.
    pub fn with_url(self, url: Option<String>) -> ErrorLine<'a> {
        ErrorLine { source_url: url, ..self }
    }
}

/// Milliseconds of `time` to the microsecond, for JSON.
pub fn millis(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// `value` as valid JSON: infinity becomes the largest number.
pub fn finite(value: f32) -> f32 {
    value.clamp(f32::MIN, f32::MAX)
}

/// `bytes` for people: `1.5 MiB`.
pub fn bytes(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{:.1} KiB", value / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", value / f64::from(1 << 20)),
        _ => format!("{:.1} GiB", value / f64::from(1 << 30)),
    }
}

/// `shape` for people: `1×3×224×224`.
pub fn shape(shape: &[usize]) -> String {
    match shape {
        [] => "scalar".into(),
        _ => shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn numbers_for_people() {
        assert_eq!([bytes(1023), bytes(1536), bytes(3 << 19)], ["1023 B", "1.5 KiB", "1.5 MiB"]);
        assert_eq!(bytes(5 << 30), "5.0 GiB");
        assert_eq!([shape(&[]), shape(&[1, 3, 224])], ["scalar", "1×3×224"]);
    }

    #[test]
    fn numbers_for_json() {
        assert_eq!(millis(Duration::from_nanos(1_234_567)), 1.235);
        assert_eq!(finite(f32::INFINITY), f32::MAX);
        assert_eq!(finite(0.5), 0.5);
    }

    #[test]
    fn an_error_line_has_the_fields_of_its_schema() {
        let error = Error::BadImage { subject: "a.jpg".into(), reason: "is empty".into() };
        assert_eq!(
            serde_json::to_string(&ErrorLine::new("a.jpg", &error)).unwrap(),
            r#"{"schema":"oltr.error/1","source":"a.jpg","kind":"bad-image","error":"a.jpg: is empty"}"#
        );
    }
}
