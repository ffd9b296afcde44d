//! Photos as frames, in the order in which they were named.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ahead::Ahead;
use super::photo::{Decode, Decoder, InputReader};
use super::photos::Input;
use super::stream::Stdin;
use super::{Bounds, Damage, FrameSource, Next};
use crate::clock::monotonic_ns;
use crate::error::{Error, Result};
use crate::frame::{Frame, Stamp};
use crate::limits::Limits;
use crate::preprocess::Preprocess;

/// The photos that [`photos::find`](super::photos::find) found, one after another. A frame's label is the photo's
/// path. A photo that cannot be read is damage, and the next one follows.
///
/// # Example
/// ```
/// # use oltr_frames as oltr;
/// # std::env::set_current_dir("../..").expect("the folder that holds the examples");
/// use std::time::Duration;
/// use oltr::source::{FrameSource, Next, files::Photos, photos};
/// use oltr::{Frame, Limits};
///
/// let limits = Limits::default();
/// let mut source = Photos::new("examples", photos::find(["examples/photos"], &limits)?, &limits);
/// let mut frame = Frame::default();
/// assert_eq!(source.next(&mut frame, Duration::ZERO)?, Next::Frame);
/// assert_eq!(frame.label(), "examples/photos/astronaut.jpg");
/// # Ok::<(), oltr::Error>(())
/// ```
#[derive(Debug)]
pub struct Photos {
    name: String,
    inputs: std::vec::IntoIter<Input>,
    reader: Reader,
    /// The same photos, when several threads read them.
    ahead: Option<Ahead<Input, Read>>,
    seq: u64,
}

/// A photo that was read, or why there is none.
type Read = (PathBuf, Result<Frame>);

impl Photos {
    /// A source called `name` of the photos `inputs`.
    pub fn new(name: &str, inputs: Vec<Input>, limits: &Limits) -> Photos {
        Photos { name: name.into(), inputs: inputs.into_iter(), reader: Reader::new(limits), ahead: None, seq: 0 }
    }

    /// The next photo, read into `frame`.
    fn read(&mut self, frame: &mut Frame) -> Option<(PathBuf, Result<()>)> {
        if self.reader.jobs() == 1 {
            return Some(read(self.inputs.next()?, &mut self.reader, frame));
        }
        let ahead = self.ahead.get_or_insert_with(|| {
            let inputs = std::mem::take(&mut self.inputs);
            Ahead::new(inputs, self.reader.jobs(), |_| {
                let mut reader = self.reader.clone();
                Box::new(move |input| {
                    let mut frame = Frame::default();
                    let (label, read) = read(input, &mut reader, &mut frame);
                    (label, read.map(|()| frame))
                })
            })
        });
        let panicked = || Error::Internal("a thread that reads photos panicked".into());
        let (label, read) = ahead.next(&|| false)?.unwrap_or_else(|_| (PathBuf::new(), Err(panicked())));
        Some((label, read.and_then(|read| frame.copy(&read, self.reader.limits()))))
    }
}

/// Reads `input` into `frame`. Returns its label.
fn read(input: Input, reader: &mut Reader, frame: &mut Frame) -> (PathBuf, Result<()>) {
    match input {
        Input::File(path) => {
            let read = reader.read(&path, frame);
            (path, read)
        }
        Input::Stdin => ("-".into(), reader.read_from("-", Stdin, frame)),
        Input::Unusable { input, error } => (input, Err(error)),
    }
}

/// Reads photos into frames: the whole picture, or the network's input if nothing else is needed.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    limits: Limits,
    wanted: Option<(Preprocess, Decode, usize)>,
    whole: Decoder,
    input: Option<InputReader>,
}

impl Reader {
    pub fn new(limits: &Limits) -> Reader {
        Reader { limits: limits.clone(), wanted: None, whole: Decoder::new(limits), input: None }
    }

    /// As [`FrameSource::restrict`].
    pub fn restrict(&mut self, limits: &Limits) {
        (self.limits, self.whole) = (limits.clone(), Decoder::new(limits));
        let input = |(settings, decode, _): &(Preprocess, Decode, usize)| InputReader::new(settings, *decode, limits);
        self.input = self.wanted.as_ref().map(input);
    }

    /// As [`FrameSource::read_for`].
    pub fn read_for(&mut self, settings: &Preprocess, decode: Decode, jobs: usize) {
        self.wanted = Some((settings.clone(), decode, jobs));
        self.input = Some(InputReader::new(settings, decode, &self.limits));
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Threads that read.
    fn jobs(&self) -> usize {
        self.wanted.as_ref().map_or(1, |wanted| wanted.2)
    }

    /// Memory of frames and decoding; see [`Decoder`] and [`InputReader`].
    pub fn bounds(&self) -> Bounds {
        let pixels = usize::try_from(self.limits.photo_pixels).unwrap_or(usize::MAX);
        let file = usize::try_from(self.limits.photo_bytes).unwrap_or(usize::MAX);
        // For small pictures, a JPEG's scans and tables may exceed what other formats need.
        let decoder = file.saturating_add(pixels.saturating_mul(16).max(oltr_jpeg::MOST_FOR_SCANS));
        match &self.input {
            None => Bounds { frame_bytes: pixels.saturating_mul(3), decoder_bytes: decoder },
            // In addition to the decoder: a frame, which may be rotated, and queued frames.
            Some(input) => {
                let frame = input.output_len();
                let one = decoder.saturating_add(pixels.saturating_mul(6)).saturating_add(3 * frame);
                Bounds { frame_bytes: frame, decoder_bytes: one.saturating_mul(self.jobs()) }
            }
        }
    }

    /// As [`Decoder::read`].
    pub fn read(&mut self, path: &Path, frame: &mut Frame) -> Result<()> {
        match &mut self.input {
            None => self.whole.read(path, frame),
            Some(input) => {
                let seen = input.read(path, frame.make_input(input.side(), &self.limits)?)?;
                frame.set_origin(seen.origin);
                Ok(())
            }
        }
    }

    /// As [`Decoder::read_from`].
    pub fn read_from(&mut self, subject: &str, from: impl io::Read, frame: &mut Frame) -> Result<()> {
        match &mut self.input {
            None => self.whole.read_from(subject, from, frame),
            Some(input) => {
                let pixels = frame.make_input(input.side(), &self.limits)?;
                let seen = input.read_from(subject, from, pixels)?;
                frame.set_origin(seen.origin);
                Ok(())
            }
        }
    }
}

impl FrameSource for Photos {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        false
    }

    fn bounds(&self) -> Bounds {
        self.reader.bounds()
    }

    fn restrict(&mut self, limits: &Limits) {
        self.reader.restrict(limits);
    }

    fn read_for(&mut self, settings: &Preprocess, decode: Decode, jobs: usize) {
        self.reader.read_for(settings, decode, jobs);
    }

    fn coming(&self, index: usize) -> Option<&Path> {
        match self.inputs.as_slice().get(index)? {
            Input::File(path) => Some(path),
            Input::Stdin | Input::Unusable { .. } => None,
        }
    }

    fn next(&mut self, frame: &mut Frame, _patience: Duration) -> Result<Next> {
        let Some((label, read)) = self.read(frame) else {
            return Ok(Next::End);
        };
        let seq = self.seq;
        self.seq += 1;
        match read {
            Ok(()) => {
                frame.set_path(&label);
                frame.set_stamp(Stamp { seq, mono_ns: monotonic_ns() });
                Ok(Next::Frame)
            }
            Err(error) => damaged(label, error),
        }
    }
}

/// Reports an unreadable photo as damage, so that the remaining ones still follow.
pub(super) fn damaged(photo: PathBuf, error: Error) -> Result<Next> {
    match error {
        e @ (Error::Internal(_) | Error::Config(_)) => Err(e),
        e => Ok(Next::Damaged(Damage { offset: None, kind: e.kind(), reason: e.to_string(), photo: Some(photo) })),
    }
}
