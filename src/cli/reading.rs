//! Reads photos in several threads and yields them in order.

use std::path::PathBuf;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use oltr::bundle::Preprocess;
use oltr::preprocess::Preprocessor;
use oltr::source::ahead::{Ahead, Panicked};
use oltr::source::photo::{Decode, Decoder, InputReader, Seen};
use oltr::source::photos::Input;
use oltr::source::stream::Stdin;
use oltr::{Error, Frame, Limits, Result};

use super::args::Common;
use super::reading_args::ReadingArgs;

/// Memory of one photo while it is read: rows, a part of its file, and tables. Photos that are not JPEGs, or have
/// several scans, need their full size.
const PHOTO_BYTES: u64 = 4 << 20;

/// A photo as the network sees it, or why there is none.
#[derive(Debug)]
pub struct Photo {
    /// The path as given; `-` for standard input.
    pub path: PathBuf,
    /// Whether it came on standard input.
    pub is_stdin: bool,
    /// What was read, with the pixels of the network's input.
    pub seen: Result<(Seen, Vec<u8>)>,
}

/// Photos that are read ahead.
pub struct Photos {
    ahead: Ahead<Input, Photo>,
    bar: ProgressBar,
    /// Seconds spent on all photos so far: decoding, and the network.
    spent: (f64, f64),
}

impl Photos {
    /// Begins to read `inputs` for a network with `settings`.
    pub fn new(
        inputs: Vec<Input>,
        settings: &Preprocess,
        args: &ReadingArgs,
        common: &Common,
        bar: ProgressBar,
    ) -> Photos {
        let limits = common.options().limits;
        let jobs = jobs(args.jobs(common.threads), &limits).min(inputs.len().max(1));
        let settings = settings.clone();
        let decode = args.decode.into();
        let worker = |_| {
            let mut reader = InputReader::new(&settings, decode, &limits);
            Box::new(move |input| read(input, &mut reader)) as _
        };
        Photos { ahead: Ahead::new(inputs, jobs, worker), bar, spent: (0.0, 0.0) }
    }

    /// The next photo; `None` after the last, or if `stop` returns true.
    ///
    /// # Errors
    /// [`Error::Internal`] if a decoder panicked.
    pub fn next(&mut self, stop: &dyn Fn() -> bool) -> Option<Result<Photo>> {
        let next = self.ahead.next(stop)?;
        Some(next.map_err(|Panicked| Error::Internal("a thread that reads photos panicked".into())))
    }

    /// Counts a photo that is done with.
    pub fn done(&mut self, decode: f64, inference: f64) {
        advance(&self.bar, &mut self.spent, decode, inference);
    }
}

impl Drop for Photos {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Number of photos that fit into `Limits::memory_bytes` at one time.
fn jobs(wanted: usize, limits: &Limits) -> usize {
    let room = limits.memory_bytes.map_or(u64::MAX, |limit| limit / 2 / PHOTO_BYTES);
    wanted.min(usize::try_from(room).unwrap_or(usize::MAX)).max(1)
}

fn read(input: Input, reader: &mut InputReader) -> Photo {
    let mut pixels = vec![0; reader.output_len()];
    let (path, is_stdin, seen) = match input {
        Input::File(path) => {
            let seen = reader.read(&path, &mut pixels);
            (path, false, seen)
        }
        Input::Stdin => ("-".into(), true, reader.read_from("standard input", Stdin, &mut pixels)),
        Input::Unusable { input, error } => (input, false, Err(error)),
    };
    Photo { path, is_stdin, seen: seen.map(|seen| (seen, pixels)) }
}

/// Reads a whole photo: decodes it into `frame` and preprocesses it.
pub fn whole(input: Input, settings: &Preprocess, limits: &Limits, frame: &mut Frame) -> Photo {
    let begin = Instant::now();
    let mut decoder = Decoder::new(limits);
    let (path, is_stdin, decoded) = match input {
        Input::File(path) => {
            let decoded = decoder.read(&path, frame);
            (path, false, decoded)
        }
        Input::Stdin => ("-".into(), true, decoder.read_from("standard input", Stdin, frame)),
        Input::Unusable { input, error } => (input, false, Err(error)),
    };
    let seen = decoded.and_then(|()| {
        let decode = begin.elapsed();
        let mut preprocessor = Preprocessor::new(settings, frame.geometry())?;
        let mut pixels = vec![0; preprocessor.output_len()];
        preprocessor.run(frame, &mut pixels)?;
        let preprocess = begin.elapsed() - decode;
        let (size, origin) = ((frame.width(), frame.height()), frame.origin().clone());
        Ok((Seen { size, decoded: Decode::Exact, decode, preprocess, origin }, pixels))
    });
    Photo { path, is_stdin, seen }
}

/// A progress bar over `photos`. Hidden with `quiet`, or if standard error is not a terminal.
pub fn bar(photos: usize, name: &str, quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let template = "{prefix} {wide_bar} {pos}/{len} photos, {per_sec}{msg}, {eta} left";
    let style = ProgressStyle::with_template(template).map(|style| {
        style.with_key("per_sec", |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{:.1}/s", state.per_sec());
        })
    });
    let bar = ProgressBar::with_draw_target(Some(photos as u64), target);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.with_prefix(name.to_string())
}

/// Counts one photo on `bar`, and shows the share of time of each part.
pub fn advance(bar: &ProgressBar, spent: &mut (f64, f64), decode: f64, inference: f64) {
    *spent = (spent.0 + decode, spent.1 + inference);
    let all = spent.0 + spent.1;
    if !bar.is_hidden() && all > 0.0 {
        let share = |part: f64| (part / all * 100.0).round();
        bar.set_message(format!(" (decode {} %, network {} %)", share(spent.0), share(spent.1)));
    }
    bar.inc(1);
}
