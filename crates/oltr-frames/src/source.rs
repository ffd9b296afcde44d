//! Where pictures come from.
//!
//! Photos are found ([`photos`]) and decoded ([`photo`]) one by one. What gives frames one after another is a
//! [`FrameSource`]: the pipeline reads any through it, a user's own too.

pub mod ahead;
pub mod camera;
pub mod files;
pub mod jpeg;
mod late;
mod patient;
pub mod photo;
pub mod photos;
pub mod stream;
pub mod watch;

pub use late::LateDecoder;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::limits::Limits;
use crate::preprocess::Preprocess;
use crate::source::photo::Decode;

/// Notes that the frame of a number was reported. Its error is that of [`FrameSource::confirm`].
pub type Note = Box<dyn FnMut(u64) -> Result<()> + Send>;

/// What gives frames one after another.
///
/// # Example
/// A source of its own: three gray frames.
/// ```
/// # use oltr_frames as oltr;
/// use std::time::Duration;
/// use oltr::source::{Bounds, FrameSource, Next};
/// use oltr::{Frame, Geometry, Limits, PixelFormat, Result, Stamp};
///
/// struct Fog { seq: u64 }
///
/// impl FrameSource for Fog {
///     fn name(&self) -> &str {
///         "fog"
///     }
///     fn is_live(&self) -> bool {
///         false
///     }
///     fn bounds(&self) -> Bounds {
///         Bounds { frame_bytes: 64 * 64, decoder_bytes: 0 }
///     }
///     fn next(&mut self, frame: &mut Frame, _patience: Duration) -> Result<Next> {
///         if self.seq == 3 {
///             return Ok(Next::End);
///         }
///         frame.reshape(Geometry::new(PixelFormat::Gray, 64, 64), &Limits::default())?.fill(128);
///         frame.set_stamp(Stamp { seq: self.seq, mono_ns: oltr::clock::monotonic_ns() });
///         self.seq += 1;
///         Ok(Next::Frame)
///     }
/// }
///
/// let mut source = Fog { seq: 0 };
/// let mut frame = Frame::with_capacity(source.bounds().frame_bytes);
/// while let Next::Frame = source.next(&mut frame, Duration::from_millis(100))? {}
/// assert_eq!(frame.stamp().seq, 2);
/// # Ok::<(), oltr::Error>(())
/// ```
pub trait FrameSource: Send {
    /// What results call it: a path, `-`, `v4l2:/dev/video0`.
    fn name(&self) -> &str;

    /// Whether frames come at a pace of their own, so that an old one is better dropped than waited for.
    fn is_live(&self) -> bool;

    /// Whether the times of frames are those of a recording, so that pauses in their arrival mean nothing.
    fn is_recording(&self) -> bool {
        false
    }

    /// What it needs of memory, known before the first frame.
    fn bounds(&self) -> Bounds;

    /// Waits up to `patience` for a frame and reads it into `frame`, whose geometry, stamp and label it sets. The
    /// [`RegionOfInterest`](crate::RegionOfInterest) is the caller's: it is reset.
    ///
    /// After [`Next::Waiting`] part of a frame may lie in `frame`: the same one must be handed in again, untouched (a
    /// source that reads in parts refuses another with [`Error::BadInput`]). After [`Next::Damaged`], [`Next::End`] or
    /// an error its content means nothing.
    ///
    /// Frames may change in size and format from one to the next; none exceeds [`Bounds::frame_bytes`]: one that would is
    /// [`Next::Damaged`], and an error where all that follow would.
    ///
    /// # Errors
    /// [`Error::Unavailable`] for a camera that is gone, from which [`FrameSource::reconnect`] may recover; anything else
    /// is final, [`Error::Io`] for one.
    fn next(&mut self, frame: &mut Frame, patience: Duration) -> Result<Next>;

    /// What notes for a source that a frame was reported, given its number, from whichever thread reports it; asked for
    /// once, before the first frame. What remembers across restarts what it gave has one, so that a process that is
    /// killed tells nothing twice. [`FrameSource::confirm`] follows.
    fn note(&mut self) -> Option<Note> {
        None
    }

    /// The photo that will be the frame `index` frames after the next one, where that is known and it is a file. Damaged
    /// ones count too.
    fn coming(&self, index: usize) -> Option<&Path> {
        let _ = index;
        None
    }

    /// Tells that all frames up to number `seq` are done with: classified and the results written, or dropped for good.
    /// What remembers across restarts what it gave records it now; within a second it is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`] if that cannot be recorded.
    fn confirm(&mut self, seq: u64) -> Result<()> {
        let _ = seq;
        Ok(())
    }

    /// Tells that `count` of the [`Next::Damaged`] it gave are done with: told, or dropped for good.
    ///
    /// # Errors
    /// As [`FrameSource::confirm`].
    fn confirm_damages(&mut self, count: u64) -> Result<()> {
        let _ = count;
        Ok(())
    }

    /// Tells that frame `seq` could not be classified, for a reason that another run may not have: what remembers what it
    /// gave does not remember this one. Called before [`FrameSource::confirm`] is for this frame.
    fn refuse(&mut self, seq: u64) {
        let _ = seq;
    }

    /// Tells, before the first frame, that nothing but the input of a network with `settings` is made of frames. A source of
    /// photos then gives that at once ([`Frame::is_input`]), decoded as `decode` says, with `jobs` threads; others do
    /// nothing. [`FrameSource::bounds`] may be less afterwards.
    fn read_for(&mut self, settings: &Preprocess, decode: Decode, jobs: usize) {
        let _ = (settings, decode, jobs);
    }

    /// Tells, before the first frame, that frames may be dropped before anyone examines them, so that decoding each were a
    /// waste. Whether encoded frames are then given as they came ([`Frame::is_coded`]), for a [`LateDecoder`].
    fn leave_coded(&mut self) -> bool {
        false
    }

    /// Keeps to `limits` from now on, which are no larger than those that the source was opened with. What cannot be
    /// opened within less does nothing.
    fn restrict(&mut self, limits: &Limits) {
        let _ = limits;
    }

    /// Tries once to make the source deliver again after [`Error::Unavailable`], [`Next::End`] or a long silence; what
    /// was read in part is dropped.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if that did not work (it may later), or if the source cannot do it at all.
    fn reconnect(&mut self) -> Result<()> {
        let reason = "this source cannot be opened again; start anew".into();
        Err(Error::Unavailable { subject: self.name().into(), reason })
    }
}

/// What a source needs of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of the largest frame: the capacity that [`Frame::with_capacity`] is to be called with.
    pub frame_bytes: usize,
    /// Bytes that the source itself takes at most, for its buffers, a decoder, or those that a driver maps.
    pub decoder_bytes: usize,
}

/// What [`FrameSource::next`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// A frame.
    Frame,
    /// Nothing yet, for as long as the caller had patience.
    Waiting,
    /// A frame that is no picture was passed over; the next one may be good. It has a number of its own, so that
    /// [`Stamp::seq`](crate::Stamp) shows the gap.
    Damaged(Damage),
    /// The end of the input. One that ends in the middle of a frame gives [`Next::Damaged`] first, with the offset of
    /// that frame.
    End,
}

/// What was wrong with a frame, or with what lay between two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it began: bytes since the start of the input, for a source that is one.
    pub offset: Option<u64>,
    /// What kind of error it is.
    pub kind: ErrorKind,
    /// What is wrong, and the remedy.
    pub reason: String,
    /// The photo's path, where it was to be one.
    pub photo: Option<PathBuf>,
}
