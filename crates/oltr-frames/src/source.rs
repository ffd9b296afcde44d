//! Sources of pictures.
//!
//! Photos are found ([`photos`]) and decoded ([`photo`]) one by one. A [`FrameSource`] yields a sequence of frames. The
//! pipeline reads any source through it, including a user's own.

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

/// Records that the frame with this number was reported. Errors as [`FrameSource::confirm`].
pub type Note = Box<dyn FnMut(u64) -> Result<()> + Send>;

/// A sequence of frames.
///
/// # Example
/// A user's source: three grey frames.
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
    /// Name in results: a path, `-`, `v4l2:/dev/video0`.
    fn name(&self) -> &str;

    /// Whether the source is live: frames come at their own pace, and old ones are dropped rather than queued.
    fn is_live(&self) -> bool;

    /// Whether frames have a recording's times, so that pauses in their arrival mean nothing.
    fn is_recording(&self) -> bool {
        false
    }

    /// Memory needs, known before the first frame.
    fn bounds(&self) -> Bounds;

    /// Waits up to `patience` for a frame and reads it into `frame`. Sets geometry, stamp and label, and resets the
    /// [`RegionOfInterest`](crate::RegionOfInterest), which belongs to the caller.
    ///
    /// After [`Next::Waiting`], `frame` may contain a part of the next frame: pass the same one again, unchanged. (A
    /// source that reads in parts refuses another with [`Error::BadInput`].) After [`Next::Damaged`], [`Next::End`] or
    /// an error its contents are unspecified.
    ///
    /// Frames may change in size and format. None exceeds [`Bounds::frame_bytes`]: a larger one is [`Next::Damaged`],
    /// or an error if all later ones would be larger.
    ///
    /// # Errors
    /// [`Error::Unavailable`] for a camera that is gone; [`FrameSource::reconnect`] may recover it. All other errors,
    /// such as [`Error::Io`], are final.
    fn next(&mut self, frame: &mut Frame, patience: Duration) -> Result<Next>;

    /// A callback that records a frame's number when the frame was reported, from the reporting thread. Requested once,
    /// before the first frame. Sources with a memory across restarts have one, so that no frame is reported twice after
    /// a kill. [`FrameSource::confirm`] follows.
    fn note(&mut self) -> Option<Note> {
        None
    }

    /// The photo that will be the frame `index` frames after the next one, where that is known and it is a file. Damaged
    /// ones count too.
    fn coming(&self, index: usize) -> Option<&Path> {
        let _ = index;
        None
    }

    /// All frames up to number `seq` are done: classified and written, or dropped for good. Sources with a memory
    /// across restarts record them now and sync within a second.
    ///
    /// # Errors
    /// [`Error::Io`] if they cannot be recorded.
    fn confirm(&mut self, seq: u64) -> Result<()> {
        let _ = seq;
        Ok(())
    }

    /// `count` more of the [`Next::Damaged`] are done: reported, or dropped for good.
    ///
    /// # Errors
    /// As [`FrameSource::confirm`].
    fn confirm_damages(&mut self, count: u64) -> Result<()> {
        let _ = count;
        Ok(())
    }

    /// Frame `seq` could not be classified for a reason that another run may not have. Sources with a memory do not
    /// record it. Called before [`FrameSource::confirm`] for this frame.
    fn refuse(&mut self, seq: u64) {
        let _ = seq;
    }

    /// Called before the first frame: only the input of a network with `settings` is needed. A source of photos then
    /// yields that directly ([`Frame::is_input`]), decoded as `decode` states, with `jobs` threads. Other sources
    /// ignore it. [`FrameSource::bounds`] may decrease.
    fn read_for(&mut self, settings: &Preprocess, decode: Decode, jobs: usize) {
        let _ = (settings, decode, jobs);
    }

    /// Called before the first frame: frames may be dropped unseen, so decoding each would be a waste. Returns whether
    /// frames then stay encoded ([`Frame::is_coded`]), for a [`LateDecoder`].
    fn leave_coded(&mut self) -> bool {
        false
    }

    /// Applies `limits` from now on. They are no larger than those that the source was opened with. A source that
    /// cannot work within less ignores them.
    fn restrict(&mut self, limits: &Limits) {
        let _ = limits;
    }

    /// Tries once to make the source deliver again after [`Error::Unavailable`], [`Next::End`] or a long silence. Drops
    /// a partly read frame.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if that failed (it may work later), or if the source does not support it.
    fn reconnect(&mut self) -> Result<()> {
        let reason = "this source cannot be opened again; start anew".into();
        Err(Error::Unavailable { subject: self.name().into(), reason })
    }
}

/// Memory needs of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of the largest frame, for [`Frame::with_capacity`].
    pub frame_bytes: usize,
    /// Most bytes that the source itself takes: its buffers, a decoder, or mapped buffers of a driver.
    pub decoder_bytes: usize,
}

/// Result of [`FrameSource::next`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// A frame.
    Frame,
    /// No frame yet within the caller's patience.
    Waiting,
    /// A damaged frame was skipped. The next one may be good. It has a number of its own, so that
    /// [`Stamp::seq`](crate::Stamp) shows the gap.
    Damaged(Damage),
    /// The end of the input. If that is within a frame, [`Next::Damaged`] with the frame's offset comes first.
    End,
}

/// Damage of a frame, or between two frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it began: bytes since the start of the input, if the source has one.
    pub offset: Option<u64>,
    /// Kind of the error.
    pub kind: ErrorKind,
    /// What is wrong, and the remedy.
    pub reason: String,
    /// Path of the damaged photo, for a source of photos.
    pub photo: Option<PathBuf>,
}
