//! Photos as frames, in the order in which they were named.

use std::path::PathBuf;
use std::time::Duration;

use super::photo::Decoder;
use super::photos::Input;
use super::stream::Stdin;
use super::{Bounds, Damage, FrameSource, Next};
use crate::clock::monotonic_ns;
use crate::error::{Error, Result};
use crate::frame::{Frame, Stamp};
use crate::limits::Limits;

/// The photos that [`photos::find`](super::photos::find) found, one after another; the label of a frame is the photo's
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
    decoder: Decoder,
    bounds: Bounds,
    seq: u64,
}

/// What decoding photos takes, as [`Decoder`] states it.
pub(super) fn bounds(limits: &Limits) -> Bounds {
    let pixels = usize::try_from(limits.photo_pixels).unwrap_or(usize::MAX);
    let file = usize::try_from(limits.photo_bytes).unwrap_or(usize::MAX);
    Bounds {
        frame_bytes: pixels.saturating_mul(3),
        decoder_bytes: file.saturating_mul(2).saturating_add(pixels.saturating_mul(16)),
    }
}

impl Photos {
    /// A source called `name` of the photos `inputs`.
    pub fn new(name: &str, inputs: Vec<Input>, limits: &Limits) -> Photos {
        let (inputs, decoder) = (inputs.into_iter(), Decoder::new(limits));
        Photos { name: name.into(), inputs, decoder, bounds: bounds(limits), seq: 0 }
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
        self.bounds
    }

    fn restrict(&mut self, limits: &Limits) {
        (self.decoder, self.bounds) = (Decoder::new(limits), bounds(limits));
    }

    fn next(&mut self, frame: &mut Frame, _patience: Duration) -> Result<Next> {
        let Some(input) = self.inputs.next() else {
            return Ok(Next::End);
        };
        let seq = self.seq;
        self.seq += 1;
        let (label, read) = match input {
            Input::File(path) => {
                let read = self.decoder.read(&path, frame);
                (path, read)
            }
            Input::Stdin => (PathBuf::from("-"), self.decoder.read_from("-", Stdin, frame)),
            Input::Unusable { error, .. } => return damaged(error),
        };
        match read {
            Ok(()) => {
                frame.set_path(&label);
                frame.set_stamp(Stamp { seq, mono_ns: monotonic_ns() });
                Ok(Next::Frame)
            }
            Err(error) => damaged(error),
        }
    }
}

/// One photo that is none does not end the rest.
pub(super) fn damaged(error: Error) -> Result<Next> {
    match error {
        e @ (Error::Internal(_) | Error::Config(_)) => Err(e),
        e => Ok(Next::Damaged(Damage { offset: None, kind: e.kind(), reason: e.to_string() })),
    }
}
