//! Video4Linux cameras: `/dev/videoN`, with mapped buffers of the driver.
//!
//! Uses the crate linuxvideo, which needs no C library, and no unsafe code here. The crate lacks three things. The
//! driver's time and number of a buffer: a frame's time is when it is taken from the driver, which is its arrival
//! unless the reader is behind. The colour space of a format: a [`Wish`] overrides the usual one. Formats with several
//! buffers: cameras behind an image signal processor are read through libcamera (`rpicam-vid -o - | oltr stream -`).

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use linuxvideo::format::{FrameIntervals, FrameSizes, PixFormat, PixelFormat as FourCc};
use linuxvideo::stream::ReadStream;
use linuxvideo::{BufType, CapabilityFlags, Device as Node, Fract};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Camera, Device, Encoding, Mode, Offer, Switch, Wish, choose, unsuited};
use crate::error::{Error, Result};
use crate::frame::PixelFormat;
use crate::limits::Limits;

/// Prefix of the name of a source.
pub const SCHEME: &str = "v4l2:";

/// Mapped buffers; the crate requests this many.
const BUFFERS: usize = 2;

/// Description of `/dev/videoN`.
#[derive(Clone, Debug)]
pub struct Info {
    /// The device.
    pub path: PathBuf,
    /// The maker's name.
    pub card: String,
    /// The kernel's driver.
    pub driver: String,
    /// The bus that it is connected to.
    pub bus: String,
    /// Modes that oltr can read.
    pub offers: Vec<Offer>,
    /// Other formats, as four characters each.
    pub other: Vec<String>,
}

/// Every camera that can be opened, in the order of its number, and why others cannot.
///
/// # Errors
/// [`Error::Io`] if `/dev` cannot be read.
pub fn list() -> Result<Vec<Result<Info>>> {
    let entries = std::fs::read_dir("/dev").map_err(|e| Error::io("/dev", e))?;
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix("video")?.parse::<u32>().ok();
    let mut paths: Vec<(u32, PathBuf)> =
        entries.flatten().map(|e| e.path()).filter_map(|p| Some((number(&p)?, p))).collect();
    paths.sort();
    let infos = paths.into_iter().map(|(_, path)| info(&path));
    // Other nodes (metadata, encoders) are no cameras.
    Ok(infos.filter(|i| !matches!(i, Ok(None))).filter_map(Result::transpose).collect())
}

/// Describes `path`; `None` if it is not a camera.
fn info(path: &Path) -> Result<Option<Info>> {
    let node = node(path)?;
    let failed = |e| Error::io(path, e);
    let capabilities = node.capabilities().map_err(failed)?;
    if !capabilities.device_capabilities().contains(CapabilityFlags::VIDEO_CAPTURE) {
        return Ok(None);
    }
    let (offers, other) = offers(&node, (640, 480)).map_err(failed)?;
    let text = |s: &str| s.to_string();
    let (card, driver) = (text(capabilities.card()), text(capabilities.driver()));
    Ok(Some(Info { path: path.into(), card, driver, bus: text(capabilities.bus_info()), offers, other }))
}

/// Switches the camera at `path` (with or without [`SCHEME`]) on.
///
/// # Errors
/// [`Error::Unavailable`] for a camera that is missing or in use, has no mode that oltr can read, or refuses the
/// format; [`Error::Limit`] for frames larger than `limits`.
pub fn open(path: &str, wish: &Wish, limits: &Limits) -> Result<Camera> {
    let path = path.strip_prefix(SCHEME).unwrap_or(path);
    let switch = AtPath { name: format!("{SCHEME}{path}"), path: path.into(), wish: wish.clone() };
    Camera::new(Box::new(switch), wish, limits)
}

fn node(path: &Path) -> Result<Node> {
    Node::open(path).map_err(|e| {
        let subject = path.display().to_string();
        let reason = match e.kind() {
            io::ErrorKind::NotFound => {
                "is not there; plug the camera in, or look for it with `oltr cameras`".to_string()
            }
            io::ErrorKind::PermissionDenied => "may not be opened; join the group 'video'".to_string(),
            _ => format!("is no camera ({e}); `oltr cameras` lists what is there"),
        };
        Error::Unavailable { subject, reason }
    })
}

/// The four characters of each encoding.
fn encoding(code: FourCc) -> Option<Encoding> {
    match &code.as_fourcc() {
        b"NV12" => Some(Encoding::Raw(PixelFormat::Nv12)),
        b"YUYV" => Some(Encoding::Raw(PixelFormat::Yuyv422)),
        b"GREY" => Some(Encoding::Raw(PixelFormat::Gray)),
        b"MJPG" | b"JPEG" => Some(Encoding::Mjpeg),
        _ => None,
    }
}

fn four_cc(node: &Node, wanted: Encoding) -> io::Result<Option<FourCc>> {
    for format in node.formats(BufType::VIDEO_CAPTURE) {
        let code = format?.pixel_format();
        if encoding(code) == Some(wanted) {
            return Ok(Some(code));
        }
    }
    Ok(None)
}

/// The modes that oltr can read, and the four characters of each other format. Of a range of sizes, the one nearest to
/// `size`.
fn offers(node: &Node, size: (u32, u32)) -> io::Result<(Vec<Offer>, Vec<String>)> {
    let (mut offers, mut other) = (Vec::new(), Vec::new());
    for format in node.formats(BufType::VIDEO_CAPTURE) {
        let code = format?.pixel_format();
        let Some(encoding) = encoding(code) else {
            other.push(code.to_string());
            continue;
        };
        let sizes: Vec<(u32, u32)> = match node.frame_sizes(code)? {
            FrameSizes::Discrete(sizes) => sizes.iter().map(|s| (s.width(), s.height())).collect(),
            FrameSizes::Stepwise(range) | FrameSizes::Continuous(range) => {
                let width = nearest(size.0, range.min_width(), range.max_width(), range.step_width());
                vec![(width, nearest(size.1, range.min_height(), range.max_height(), range.step_height()))]
            }
        };
        for (width, height) in sizes {
            let intervals = node.frame_intervals(code, width, height).ok();
            let shortest = intervals.and_then(|intervals| match intervals {
                FrameIntervals::Discrete(all) => all.iter().map(|i| seconds(i.fract())).min_by(f64::total_cmp),
                FrameIntervals::Stepwise(range) | FrameIntervals::Continuous(range) => Some(seconds(range.min())),
            });
            let fps = shortest.filter(|s| *s > 0.0 && s.is_finite()).map(|s| 1.0 / s);
            offers.push(Offer { encoding, width, height, fps });
        }
    }
    Ok((offers, other))
}

fn seconds(interval: &Fract) -> f64 {
    f64::from(interval.numerator()) / f64::from(interval.denominator())
}

/// The step of a range that is nearest to `wanted`.
fn nearest(wanted: u32, min: u32, max: u32, step: u32) -> u32 {
    let step = step.max(1);
    let steps = (wanted.clamp(min, max.max(min)) - min + step / 2) / step;
    min.saturating_add(steps.saturating_mul(step)).min(max)
}

/// A camera by its path.
struct AtPath {
    name: String,
    path: PathBuf,
    wish: Wish,
}

impl AtPath {
    fn refused(&self, what: &str) -> Error {
        let reason = format!("{what}; `oltr cameras` lists what it offers");
        Error::Unavailable { subject: self.name.clone(), reason }
    }
}

impl Switch for AtPath {
    fn name(&self) -> &str {
        &self.name
    }

    fn on(&mut self) -> Result<(Mode, Box<dyn Device>)> {
        let failed = |what: &str, e: io::Error| self.refused(&format!("{what} ({e})"));
        let node = node(&self.path)?;
        let (offers, other) =
            offers(&node, self.wish.size()).map_err(|e| failed("it does not say what it offers", e))?;
        let Some(offer) = choose(&offers, &self.wish) else {
            let other = if other.is_empty() { String::new() } else { format!("; besides {}", other.join(", ")) };
            return Err(self.refused(&format!("{}{other}", unsuited(&offers, &self.wish))));
        };
        let code = four_cc(&node, offer.encoding).map_err(|e| failed("it does not say what it offers", e))?;
        let code = code.ok_or_else(|| self.refused("no longer offers what it did"))?;
        let device = node
            .video_capture(PixFormat::new(offer.width, offer.height, code))
            .map_err(|e| failed("it refuses the format, or is in use", e))?;
        // The driver may have chosen another mode.
        let format = device.format();
        let (width, height, image) = (format.width(), format.height(), format.size_image() as usize);
        let encoding = encoding(format.pixel_format())
            .ok_or_else(|| self.refused("insists on a format that oltr does not read"))?;
        let stride = match encoding {
            Encoding::Raw(f) => (format.bytes_per_line() as usize).max(f.row_bytes(width)),
            Encoding::Mjpeg => 0,
        };
        let mut rate = offer.fps.map_or("its own rate".into(), |fps| format!("at most {fps:.1} frames a second"));
        if let Some(fps) = self.wish.fps.filter(|fps| *fps > 0.0) {
            let interval = Fract::new(1000, ((fps * 1000.0).round() as u32).max(1));
            // Some cameras ignore this. The pipeline accepts any rate.
            match device.set_frame_interval(interval) {
                Ok(set) => rate = format!("{:.1} frames a second", 1.0 / seconds(&set)),
                Err(e) => log::warn!("{}: keeps its own frame rate ({e})", self.name),
            }
        }
        log::info!("{}: {} {width}x{height}, {rate}", self.name, encoding.name());
        let stream = device.into_stream().map_err(|e| failed("it does not start, or is in use", e))?;
        let mode = Mode { encoding, width, height, stride, mapped_bytes: image.saturating_mul(BUFFERS) };
        Ok((mode, Box::new(Stream(stream))))
    }
}

/// A camera that is on.
struct Stream(ReadStream);

impl Device for Stream {
    fn wait(&mut self, deadline: Instant) -> io::Result<bool> {
        loop {
            let patience = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(patience).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
            let mut polled = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
            match poll(&mut polled, Some(&timeout)) {
                Ok(0) => return Ok(false),
                // Taking a buffer from a disconnected camera could block without end.
                Ok(_) if polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) => {
                    return Err(io::ErrorKind::NotConnected.into());
                }
                Ok(_) => return Ok(true),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn picture(&mut self, take: &mut dyn FnMut(&[u8], bool)) -> io::Result<()> {
        self.0.dequeue(|buffer| {
            take(&buffer, !buffer.is_error());
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_a_range_are_its_steps() {
        assert_eq!(nearest(640, 16, 1920, 16), 640);
        assert_eq!(nearest(650, 16, 1920, 16), 656);
        assert_eq!(nearest(5000, 16, 1920, 16), 1920);
        assert_eq!(nearest(1, 16, 1920, 0), 16);
    }

    #[test]
    fn other_devices_are_refused() {
        let open = |path: &str| open(path, &Wish::default(), &Limits::default()).map(|_| ()).unwrap_err();
        assert!(matches!(open("v4l2:/dev/video987"), Error::Unavailable { .. }));
        assert!(matches!(open("/dev/null"), Error::Unavailable { .. }));
        assert!(list().is_ok());
    }
}
