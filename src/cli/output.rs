//! Results on stdout: lines for people, coloured on a terminal; JSON lines for programs.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use oltr::{Error, ErrorKind, text};
use serde::Serialize;

use super::exit;

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

/// Where results go. Each line is written in one piece and flushed, so that whoever reads along gets it at once.
pub struct Output {
    /// Drops colours unless stdout is a terminal and `NO_COLOR` is not set.
    stdout: anstream::AutoStream<io::Stdout>,
    /// Columns of the terminal, `None` for files and pipes.
    width: Option<usize>,
}

impl Output {
    /// Standard output.
    pub fn new() -> Output {
        let width = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
        Output { stdout: anstream::stdout(), width }
    }

    /// Columns of the terminal, `None` for files and pipes, which take lines of any length.
    pub fn width(&self) -> Option<usize> {
        self.width
    }

    /// Writes one line of text, in which [`Style`]s may stand.
    ///
    /// # Errors
    /// [`io::Error`]; a broken pipe among them ends the program quietly.
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
        write(&mut io::stdout(), &line)
    }
}

fn write(stdout: &mut impl Write, bytes: &[u8]) -> anyhow::Result<()> {
    stdout.write_all(bytes).and_then(|()| stdout.flush()).context("standard output")
}

/// An input that could not be handled, at its place among the results: `oltr.error/1`.
#[derive(Debug, Serialize)]
pub struct ErrorLine<'a> {
    schema: &'static str,
    /// The input as it was given.
    source: &'a str,
    /// [`ErrorKind`], for programs.
    kind: &'static str,
    /// What is wrong and what to do, for people.
    error: String,
}

impl<'a> ErrorLine<'a> {
    /// What `error` says of `source`.
    pub fn new(source: &'a str, error: &Error) -> ErrorLine<'a> {
        let kind: ErrorKind = error.kind();
        ErrorLine { schema: "oltr.error/1", source, kind: kind.as_str(), error: exit::message(error) }
    }
}

/// Milliseconds of `time` to the microsecond, for JSON.
pub fn millis(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// `value` as JSON can say it: infinite as the largest number.
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
