//! Frames that are decoded when they are needed.

use super::jpeg::{self, Room};
use crate::error::Result;
use crate::frame::Frame;
use crate::limits::Limits;

/// Decodes frames that a source left encoded; see [`FrameSource::leave_coded`](super::FrameSource::leave_coded).
#[derive(Debug)]
pub struct LateDecoder {
    limits: Limits,
    room: Room,
    /// Target of the next decoding; it is swapped with the encoded frame.
    spare: Frame,
}

impl LateDecoder {
    /// A decoder for frames of at most `frame_bytes`, for which memory is taken now.
    pub fn new(frame_bytes: usize, limits: &Limits) -> LateDecoder {
        LateDecoder { limits: limits.clone(), room: Room::default(), spare: Frame::with_capacity(frame_bytes) }
    }

    /// Decodes `frame` if it is encoded. Messages name its source `subject`.
    ///
    /// # Errors
    /// As [`jpeg::decode`]; the frame is then unchanged.
    pub fn decode(&mut self, subject: &str, frame: &mut Frame) -> Result<()> {
        if !frame.is_coded() {
            return Ok(());
        }
        jpeg::decode(subject, frame.data(), &self.limits, &mut self.room, &mut self.spare)?;
        frame.set_encoded_itself();
        let roi = frame.geometry().roi;
        frame.swap_picture(&mut self.spare);
        frame.set_roi(roi);
        Ok(())
    }
}
