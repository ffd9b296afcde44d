//! Cameras: their modes, the choice of one, and frames until the camera disappears.
//!
//! The device is behind a trait, so that this file is tested without one. `v4l2` implements it for Video4Linux.

#[cfg(all(feature = "v4l2", target_os = "linux", target_pointer_width = "64"))]
pub mod v4l2;

use std::time::{Duration, Instant};

use super::stream::bounded_bytes;
use super::{Bounds, Damage, FrameSource, Next, jpeg};
use crate::clock::monotonic_ns;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Color, Frame, Geometry, Matrix, PixelFormat, Range, Stamp};
use crate::limits::Limits;

/// Encodings of cameras that oltr reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Uncompressed pixels.
    Raw(PixelFormat),
    /// JPEG pictures.
    Mjpeg,
}

impl Encoding {
    /// All encodings, the best first: raw pictures need no decoding, and grey ones show less.
    pub const ALL: [Encoding; 4] = [
        Encoding::Raw(PixelFormat::Nv12),
        Encoding::Raw(PixelFormat::Yuyv422),
        Encoding::Mjpeg,
        Encoding::Raw(PixelFormat::Gray),
    ];

    /// Short name: `nv12`, `mjpeg`.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Raw(format) => format.name(),
            Encoding::Mjpeg => "mjpeg",
        }
    }
}

/// A mode that a camera offers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offer {
    /// How they are transmitted.
    pub encoding: Encoding,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Highest frame rate, if the camera states it.
    pub fps: Option<f64>,
}

/// The requested mode.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wish {
    /// Width and height; the nearest offer is chosen. `None` for 640×480.
    pub size: Option<(u32, u32)>,
    /// Frames per second. `None` for the camera's default, but at least 10 if possible.
    pub fps: Option<f64>,
    /// How pictures are transmitted.
    pub encoding: Option<Encoding>,
    /// Weights of the channels in luma, where BT.601 is wrong.
    pub matrix: Option<Matrix>,
    /// Black and white, where limited range (full for gray) is wrong.
    pub range: Option<Range>,
}

impl Wish {
    /// The size that is wanted.
    fn size(&self) -> (u32, u32) {
        self.size.unwrap_or((640, 480))
    }
}

/// The best offer for `wish`: nearest size, then frame rate, then encoding.
pub fn choose(offers: &[Offer], wish: &Wish) -> Option<Offer> {
    let (width, height) = wish.size();
    let fps = wish.fps.unwrap_or(10.0);
    let distance = |offer: &Offer| {
        let size = u64::from(offer.width.abs_diff(width)) + u64::from(offer.height.abs_diff(height));
        let slow = offer.fps.map_or(0.0, |most| (fps - most).max(0.0));
        let rank = Encoding::ALL.iter().position(|e| *e == offer.encoding);
        // In tenths of a frame, so that 29.97 equals 30.
        (size, (slow * 10.0) as u64, rank)
    };
    let suits = |offer: &&Offer| wish.encoding.is_none_or(|encoding| encoding == offer.encoding);
    offers.iter().filter(suits).min_by_key(|offer| distance(offer)).copied()
}

/// Error text: none of `offers` suits `wish`.
pub fn unsuited(offers: &[Offer], wish: &Wish) -> String {
    let mut names: Vec<&str> = offers.iter().map(|offer| offer.encoding.name()).collect();
    names.sort_unstable();
    names.dedup();
    match wish.encoding {
        Some(wanted) if !names.is_empty() => {
            format!("offers no pictures as {}, but as {}", wanted.name(), names.join(", "))
        }
        _ => "offers no pictures that oltr reads".into(),
    }
}

/// The mode that a device was set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// How pictures are transmitted.
    pub encoding: Encoding,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bytes from one row of the first plane to the next; unused for JPEG.
    pub stride: usize,
    /// Bytes of the buffers that the driver maps, all together.
    pub mapped_bytes: usize,
}

/// A camera that is on.
pub trait Device: Send {
    /// Waits for a picture until `deadline`. Returns whether there is one.
    ///
    /// # Errors
    /// Errors of the system, for example if the camera is gone.
    fn wait(&mut self, deadline: Instant) -> std::io::Result<bool>;

    /// Calls `take` with the bytes of the picture, and whether the driver reports them as intact.
    ///
    /// # Errors
    /// As [`Device::wait`].
    fn picture(&mut self, take: &mut dyn FnMut(&[u8], bool)) -> std::io::Result<()>;
}

/// Switches a camera on, the first time and after it vanished.
pub trait Switch: Send {
    /// Name of the camera in results.
    fn name(&self) -> &str;

    /// Switches it on.
    ///
    /// # Errors
    /// [`Error::Unavailable`] for a camera that is missing or in use.
    fn on(&mut self) -> Result<(Mode, Box<dyn Device>)>;
}

/// Bytes that a decoder takes for each pixel of a progressive picture, and its copy of the encoded one at most.
const DECODER_BYTES_PER_PIXEL: usize = 16 + 3;

/// Frames from a camera.
///
/// Pictures that the driver marks as faulty, that are too short or that cannot be decoded are damage. An unplugged
/// camera is [`Error::Unavailable`], and [`FrameSource::reconnect`] looks for it again. It may come back with another
/// mode, within the memory that was planned.
pub struct Camera {
    switch: Box<dyn Switch>,
    device: Option<Box<dyn Device>>,
    mode: Mode,
    bounds: Bounds,
    color: (Option<Matrix>, Option<Range>),
    limits: Limits,
    room: jpeg::Room,
    /// Whether pictures stay encoded.
    coded: bool,
    seq: u64,
}

impl Camera {
    /// Switches a camera on.
    ///
    /// # Errors
    /// As [`Switch::on`]; [`Error::Limit`] for frames beyond `limits`.
    pub fn new(mut switch: Box<dyn Switch>, wish: &Wish, limits: &Limits) -> Result<Camera> {
        let (mode, device) = switch.on()?;
        let bounds = bounds(switch.name(), mode, limits)?;
        let (limits, room) = (limits.clone(), jpeg::Room::default());
        let color = (wish.matrix, wish.range);
        Ok(Camera { switch, device: Some(device), mode, bounds, color, limits, room, coded: false, seq: 0 })
    }

    /// The mode that the camera is set to.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    fn disconnected(&mut self, cause: std::io::Error) -> Error {
        self.device = None;
        let reason = format!("the camera is gone ({cause}); plug it in again");
        Error::Unavailable { subject: self.switch.name().into(), reason }
    }

    /// Converts a picture to a frame, or returns the reason why it is damaged.
    fn read(&mut self, bytes: &[u8], sound: bool, frame: &mut Frame) -> Result<(), String> {
        if !sound {
            return Err("the driver reports lost data; check the cable and the bandwidth of the bus".into());
        }
        let Mode { encoding, width, height, stride, .. } = self.mode;
        let Encoding::Raw(format) = encoding else {
            let name = self.switch.name();
            let kept = if self.coded { jpeg::keep(name, bytes, &self.limits, frame) } else { Ok(false) };
            let decoded = match kept {
                Ok(true) => Ok(()),
                Ok(false) => jpeg::decode(name, bytes, &self.limits, &mut self.room, frame),
                Err(e) => Err(e),
            };
            return match decoded {
                Ok(()) => Ok(()),
                Err(Error::BadImage { reason, .. }) => Err(reason),
                Err(e) => Err(e.to_string()),
            };
        };
        let mut geometry = Geometry::new(format, width, height);
        let default = if format == PixelFormat::Gray { Range::Full } else { Range::Limited };
        geometry.color = Color { matrix: self.color.0.unwrap_or_default(), range: self.color.1.unwrap_or(default) };
        let into = frame.reshape_padded(geometry, stride, &self.limits).map_err(|e| e.to_string())?;
        // Drivers may leave the padding of the last row out.
        let last = format.plane(format.planes() - 1, width, height, stride);
        let needed = last.offset + last.len();
        if bytes.len() < needed {
            return Err(format!("the picture has {} bytes, {width}x{height} needs {needed}", bytes.len()));
        }
        let length = bytes.len().min(into.len());
        into[..length].copy_from_slice(&bytes[..length]);
        Ok(())
    }
}

fn bounds(name: &str, mode: Mode, limits: &Limits) -> Result<Bounds> {
    let Mode { encoding, width, height, stride, mapped_bytes } = mode;
    let (format, stride) = match encoding {
        Encoding::Raw(format) => (format, stride),
        Encoding::Mjpeg => (PixelFormat::Rgb24, PixelFormat::Rgb24.row_bytes(width)),
    };
    let frame_bytes = bounded_bytes(name, format, (width, height), stride, limits)?;
    let decoder = match encoding {
        Encoding::Raw(_) => 0,
        Encoding::Mjpeg => (frame_bytes / 3).saturating_mul(DECODER_BYTES_PER_PIXEL),
    };
    Ok(Bounds { frame_bytes, decoder_bytes: mapped_bytes.saturating_add(decoder) })
}

impl FrameSource for Camera {
    fn name(&self) -> &str {
        self.switch.name()
    }

    fn is_live(&self) -> bool {
        true
    }

    fn bounds(&self) -> Bounds {
        self.bounds
    }

    fn leave_coded(&mut self) -> bool {
        self.coded = self.mode.encoding == Encoding::Mjpeg;
        self.coded
    }

    fn next(&mut self, frame: &mut Frame, patience: Duration) -> Result<Next> {
        let Some(mut device) = self.device.take() else {
            return Err(self.disconnected(std::io::ErrorKind::NotConnected.into()));
        };
        match device.wait(Instant::now() + patience) {
            Ok(true) => {}
            Ok(false) => {
                self.device = Some(device);
                return Ok(Next::Waiting);
            }
            Err(e) => return Err(self.disconnected(e)),
        }
        let mut read = None;
        if let Err(e) = device.picture(&mut |bytes, sound| read = Some(self.read(bytes, sound, frame))) {
            return Err(self.disconnected(e));
        }
        self.device = Some(device);
        let seq = self.seq;
        match read {
            None => Ok(Next::Waiting),
            Some(read) => {
                self.seq += 1;
                match read {
                    Ok(()) => {
                        frame.set_label("");
                        frame.set_stamp(Stamp { seq, mono_ns: monotonic_ns() });
                        Ok(Next::Frame)
                    }
                    Err(reason) => {
                        Ok(Next::Damaged(Damage { offset: None, kind: ErrorKind::BadImage, reason, photo: None }))
                    }
                }
            }
        }
    }

    fn reconnect(&mut self) -> Result<()> {
        // The old device must be closed before the driver opens another.
        self.device = None;
        let unavailable = |e: Error, name: &str| match e {
            e @ Error::Unavailable { .. } => e,
            e => Error::Unavailable { subject: name.into(), reason: e.to_string() },
        };
        let (mode, device) = self.switch.on().map_err(|e| unavailable(e, self.switch.name()))?;
        let name = self.switch.name();
        let Bounds { frame_bytes, decoder_bytes } =
            bounds(name, mode, &self.limits).map_err(|e| unavailable(e, name))?;
        if frame_bytes > self.bounds.frame_bytes || decoder_bytes > self.bounds.decoder_bytes {
            let Mode { width, height, .. } = mode;
            let reason = format!("the camera came back with {width}x{height}, more than memory was planned for");
            return Err(Error::Unavailable { subject: name.into(), reason });
        }
        (self.mode, self.device) = (mode, Some(device));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(encoding: Encoding, width: u32, height: u32, fps: f64) -> Offer {
        Offer { encoding, width, height, fps: Some(fps) }
    }

    /// Modes of a common webcam.
    fn webcam() -> Vec<Offer> {
        let yuyv = Encoding::Raw(PixelFormat::Yuyv422);
        vec![
            offer(Encoding::Mjpeg, 640, 480, 30.0),
            offer(Encoding::Mjpeg, 1280, 720, 30.0),
            offer(yuyv, 640, 480, 30.0),
            offer(yuyv, 1280, 720, 7.5),
        ]
    }

    #[test]
    fn the_nearest_offer_is_chosen() {
        let choose = |wish: Wish| choose(&webcam(), &wish).unwrap();
        assert_eq!(choose(Wish::default()), webcam()[2], "no decoding where it is not needed");
        let large = Wish { size: Some((1280, 720)), ..Wish::default() };
        assert_eq!(choose(large.clone()), webcam()[1], "7.5 frames a second are few");
        assert_eq!(choose(Wish { fps: Some(5.0), ..large.clone() }), webcam()[3]);
        assert_eq!(choose(Wish { encoding: Some(Encoding::Mjpeg), fps: Some(5.0), ..large }), webcam()[1]);
        assert_eq!(choose(Wish { size: Some((600, 500)), ..Wish::default() }), webcam()[2]);
        let nv12 = Wish { encoding: Some(Encoding::Raw(PixelFormat::Nv12)), ..Wish::default() };
        assert_eq!(super::choose(&webcam(), &nv12), None);
        assert_eq!(unsuited(&webcam(), &nv12), "offers no pictures as nv12, but as mjpeg, yuyv422");
        assert_eq!(unsuited(&[], &nv12), "offers no pictures that oltr reads");
    }
}
