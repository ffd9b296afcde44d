//! The options of `oltr stream`.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use oltr::decide::{consensus, events};
use oltr::pipeline::{Backoff, Grouping, Settings, keep};
use oltr::queue::Overflow;
use oltr::source::camera::Encoding;
use oltr::source::stream::{self, Layout, RawFormat};
use oltr::{Error, Limits, Matrix, PixelFormat, Range, Rect, RegionOfInterest, Result, Rotation};

use super::super::byte_size::ByteSize;
use super::super::reading_args::ReadingArgs;
use super::parse::{rate, region};
use super::store::StoreArgs;
use super::things::ThingsArgs;

/// Classify a camera or a stream of frames, live.
///
/// Each frame is known or open by the model's rule. The consensus of the last frames makes events with a beginning and
/// an end. Photos are answered one by one, unless --burst or --consensus groups them. Memory is bounded: frames that a
/// camera delivers too fast are dropped and counted, and the newest is kept.
///
/// SOURCE is a file, a FIFO or - (standard input) with YUV4MPEG2, a sequence of JPEG pictures or a multipart stream, or
/// raw frames (--format, --size); photos, folders and patterns; or a camera, v4l2:/dev/video0. Other video can be piped
/// through ffmpeg.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  oltr stream v4l2:/dev/video0              a camera, until Ctrl-C
  ffmpeg -nostdin -v error -rtsp_transport tcp -i rtsp://camera/1 -an -pix_fmt yuv420p -f yuv4mpegpipe - | oltr stream --json -
  ffmpeg -nostdin -v error -i clip.mp4 -an -pix_fmt yuv420p -f yuv4mpegpipe - | oltr stream --recording -
  curl -sN http://camera/mjpeg | oltr stream -
  rpicam-vid -t 0 --codec yuv420 --width 1280 --height 720 -o - | oltr stream --format yuv420p --size 1280x720 -
  oltr stream --per-frame clip.mjpeg        each frame, not only events
  oltr stream --consensus 3/5,few=4/8 --min-duration 1s --max-memory 96MiB v4l2:/dev/video0
  oltr stream --things v4l2:/dev/video0     what moves before a fixed camera, one event a thing
  oltr stream --json --watch trap/incoming --state trap/seen.json   photos as they arrive, each once
  oltr stream --burst 60s card/DCIM         one event for the photos of a minute, by the time taken

SIGUSR1 prints statistics; SIGINT, SIGTERM and SIGHUP finish the frame that is being computed and exit 0. At the end
of the input the exit code is 65 if a frame was damaged; 69 says that the source is gone. A live source that gives
nothing for 10 seconds is reported on stderr.")]
pub struct StreamArgs {
    /// Source of the frames: see above
    #[arg(value_name = "SOURCE", required_unless_present = "watch")]
    pub source: Vec<OsString>,
    /// Follow a folder that fills with photos: each is taken once, when it is complete
    #[arg(long, value_name = "DIR", conflicts_with = "source", help_heading = "Source")]
    pub watch: Option<PathBuf>,
    /// With --watch: state file of the photos that were taken, so that a restart does not take them again
    #[arg(long, value_name = "FILE", requires = "watch", help_heading = "Source")]
    pub state: Option<PathBuf>,
    /// With --watch: interval between searches of the folder, in addition to the system's events [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, requires = "watch")]
    #[arg(help_heading = "Source")]
    pub search_every: Option<Duration>,
    // What is read, as the library says it.
    #[arg(long, value_name = "NAME", requires = "size", help_heading = "Source", help = formats())]
    pub format: Option<PixelFormat>,
    /// Size of raw frames, or the size to request from a camera
    #[arg(long, value_name = "WxH", value_parser = size, help_heading = "Source")]
    pub size: Option<(u32, u32)>,
    /// Bytes from one row of raw frames to the next, if rows are padded: of the first plane, or of each
    #[arg(long, value_name = "N[,N[,N]]", requires = "format", value_parser = stride, help_heading = "Source")]
    pub stride: Option<Layout>,
    /// Layout of raw frames: as ffmpeg writes them, or as GStreamer's fdsink and filesink do [default: tight]
    #[arg(long, value_enum, requires = "format", conflicts_with = "stride", help_heading = "Source")]
    pub layout: Option<LayoutName>,
    /// The pipe delivers a recording: take every frame, and compute its time from the frame rate, as for a file
    #[arg(long, help_heading = "Source")]
    pub recording: bool,
    /// Frames per second to request from a camera, or of a recording that does not state it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000), help_heading = "Source")]
    pub fps: Option<u32>,
    /// Encoding of a camera's pictures [default: the best one for size and rate]
    #[arg(long, value_enum, help_heading = "Source")]
    pub encoding: Option<EncodingName>,
    /// Range of luma and chroma [default: the format's own]
    #[arg(long, value_enum, help_heading = "Source")]
    pub range: Option<RangeName>,
    /// Matrix of luma and chroma [default: the format's own]
    #[arg(long, value_enum, help_heading = "Source")]
    pub matrix: Option<MatrixName>,
    /// Timeout after which a silent live source is lost, and any that does not answer: 10s, 2m [default: none]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "Source")]
    pub source_timeout: Option<Duration>,
    /// Retry a source that is lost or not there yet, up to N times in a row, with growing pauses [default without N: no
    /// limit]
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "4294967295")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..), help_heading = "Source")]
    pub reconnect: Option<u32>,
    /// Largest frame that is accepted; smaller takes less memory [default with --max-memory: 1920x1080, for photos what
    /// fits]
    #[arg(long, value_name = "WxH", value_parser = size, help_heading = "Source")]
    pub max_frame: Option<(u32, u32)>,

    /// Use only this part of each frame, in pixels
    #[arg(long, value_name = "X,Y,W,H", value_parser = region, help_heading = "Frames")]
    pub roi: Option<Rect>,
    /// Turn frames clockwise
    #[arg(long, value_name = "DEGREES", value_parser = rotation, default_value = "0", help_heading = "Frames")]
    pub rotate: Rotation,
    /// Take one frame in every N
    #[arg(long, value_name = "N", help_heading = "Frames")]
    pub every: Option<NonZeroU32>,
    /// Take at most F frames per second: a camera's other frames are skipped, a file waits
    #[arg(long, value_name = "F", value_parser = rate, help_heading = "Frames")]
    pub max_fps: Option<f64>,
    /// What to do with frames that arrive too fast [default: drop-oldest for cameras, pipes and FIFOs, block for files
    /// and with --recording]
    #[arg(long, value_enum, help_heading = "Frames")]
    pub overflow: Option<OverflowName>,
    /// Length of the queue of frames [default: 1 for a camera, else 2]
    #[arg(long, value_name = "N", help_heading = "Frames")]
    pub queue: Option<usize>,

    // Photos with --roi or --rotate use neither.
    #[command(flatten, next_help_heading = "Photos")]
    pub reading: ReadingArgs,

    /// How many of the last frames must agree: K/N, or K/N:KEEP where fewer are enough to continue; for single groups
    /// as many=, medium=, few=, open= [default: 3/5:2; photos are answered one by one]
    #[arg(long, value_name = "RULES", value_parser = rules, help_heading = "Events")]
    pub consensus: Option<consensus::Rules>,
    /// Photos at most this far apart make one event, by the decision of most of them [default: none, with --store 60s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "consensus")]
    #[arg(help_heading = "Events")]
    pub burst: Option<Duration>,
    /// Time of photos for events [default: exif, if a photo has one]
    #[arg(long, value_enum, value_name = "CLOCK", help_heading = "Events")]
    pub time: Option<TimeName>,
    /// How long they must agree before it is an event
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "0s")]
    #[arg(help_heading = "Events")]
    pub min_duration: Duration,
    /// Time without agreement after which an event ends
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "2s")]
    #[arg(help_heading = "Events")]
    pub linger: Duration,
    /// A pause between frames after which all events end
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "10s")]
    #[arg(help_heading = "Events")]
    pub gap: Duration,
    /// The least time between two updates of an event
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1s")]
    #[arg(help_heading = "Events")]
    pub update_interval: Duration,

    /// File of enrolled classes, as written by 'oltr enrol' [default: next to the model, if it exists]
    #[arg(long, value_name = "FILE", help_heading = "Frames")]
    pub enrolled: Option<PathBuf>,
    /// Leave enrolled classes out
    #[arg(long, conflicts_with = "enrolled", help_heading = "Frames")]
    pub no_enrolled: bool,
    /// Species list with one class or taxon per line: no other class can be the answer
    #[arg(long, value_name = "FILE", help_heading = "Frames")]
    pub species_list: Option<PathBuf>,

    #[command(flatten)]
    pub scene: ThingsArgs,
    /// With --mask and --listen: let the mask be drawn on the page and saved to the file, which may still be missing
    #[arg(long, requires_all = ["mask", "listen"], help_heading = "Things")]
    pub allow_mask: bool,

    /// Print each frame too
    #[arg(long, help_heading = "Output")]
    pub per_frame: bool,
    /// Interval between lines of statistics: 30s, 5m [default: at the end only]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "Output")]
    pub stats_interval: Option<Duration>,
    /// Serve a page for aiming the camera, with /metrics and /health: 127.0.0.1:8484, 0.0.0.0:8484
    #[arg(long, value_name = "ADDRESS", help_heading = "Output")]
    pub listen: Option<std::net::SocketAddr>,
    /// Run this command for each event that begins or ends, with its line of JSON on standard input
    #[arg(long, value_name = "COMMAND", help_heading = "Output")]
    pub on_event: Option<String>,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Default distance between photos of a burst with a store.
const STORED_BURST: Duration = Duration::from_secs(60);

/// Default largest frame with bounded memory.
const DEFAULT_MAX_FRAME: (u32, u32) = (1920, 1080);

impl StreamArgs {
    /// The limits of `common`, with those of frames. With bounded memory, those of `photos` are chosen to fit.
    pub fn limits(&self, mut limits: Limits, max_memory: Option<ByteSize>, photos: bool) -> Limits {
        let largest = self.max_frame.or(max_memory.filter(|_| !photos).map(|_| self.largest_frame()));
        if let Some((width, height)) = largest {
            // Four bytes per pixel: no format takes more.
            let pixels = u64::from(width) * u64::from(height);
            limits.photo_side = limits.photo_side.min(width.max(height));
            limits.photo_pixels = limits.photo_pixels.min(pixels);
            // No encoding takes more either, except for the data outside of the pixels.
            limits.photo_bytes = limits.photo_bytes.min(pixels.saturating_mul(4).saturating_add(1 << 20));
            limits.frame_bytes = limits.frame_bytes.min(pixels.saturating_mul(4).try_into().unwrap_or(usize::MAX));
        }
        limits
    }

    /// Width and height of the largest frame where memory is bounded.
    fn largest_frame(&self) -> (u32, u32) {
        let raw = self.size.filter(|_| self.format.is_some());
        self.max_frame.or(raw).unwrap_or(DEFAULT_MAX_FRAME)
    }

    /// Adds the remedy to `error` if not even the model fits into memory; other errors stay as they are.
    pub fn with_first_remedy(&self, error: Error) -> Error {
        match error {
            Error::Limit { subject, what: "memory_bytes", value, limit } => Error::Config(format!(
                "{subject}: needs more than {value} bytes of memory, {value} to load the model and more to run it; \
                 --max-memory allows {limit}; use a smaller model, or allow more: without --max-memory, -v prints what \
                 takes how much"
            )),
            error => error,
        }
    }

    /// Adds the remedy to `error` if a stream, or even small `photos`, do not fit into memory; other errors stay as
    /// they are.
    pub fn with_remedy(&self, error: Error, photos: bool) -> Error {
        match error {
            Error::Limit { subject, what: "memory_bytes", value, limit } if photos && self.max_frame.is_none() => {
                Error::Config(format!(
                    "{subject}: needs {value} bytes of memory for photos of 640x480 and more for larger ones, \
                     --max-memory allows {limit}; allow more (--max-memory {}MiB); -v prints what takes how much",
                    value.div_ceil(1 << 20)
                ))
            }
            Error::Limit { subject, what: "memory_bytes", value, limit } => {
                let mib = |bytes: u64| bytes.div_ceil(1 << 20);
                let (width, height) = self.largest_frame();
                Error::Config(format!(
                    "{subject}: needs {value} bytes of memory, --max-memory allows {limit}; allow more (--max-memory \
                     {}MiB), accept smaller frames only (--max-frame, now {width}x{height}), or let fewer wait \
                     (--queue 1); -v prints what takes how much",
                    mib(value)
                ))
            }
            error => error,
        }
    }

    /// How the pipeline is to work.
    ///
    /// # Errors
    /// As [`consensus::Rules::check`].
    pub fn settings(&self, limits: &Limits, photos: bool) -> Result<Settings> {
        let mut rules = self.consensus.unwrap_or_default();
        for rule in [&mut rules.many, &mut rules.medium, &mut rules.few, &mut rules.open] {
            rule.min_duration = self.min_duration;
        }
        rules.check(limits)?;
        Ok(Settings {
            depth: self.queue,
            overflow: self.overflow.map(|overflow| match overflow {
                OverflowName::DropOldest => Overflow::DropOldest,
                OverflowName::Block => Overflow::Block,
            }),
            every: self.every,
            spacing: self.max_fps.map(|fps| Duration::from_secs_f64(1.0 / fps)),
            roi: RegionOfInterest { region: self.roi, rotation: self.rotate },
            source_timeout: self.source_timeout,
            reconnect: self.reconnect.map(|attempts| Backoff { attempts, ..Backoff::default() }),
            stats_every: self.stats_interval,
            events: events::Settings { rules, linger: self.linger, gap: self.gap, update_every: self.update_interval },
            grouping: match self.burst {
                Some(apart) => Grouping::Bursts(apart),
                None if photos && self.consensus.is_none() && self.store.is_on() => Grouping::Bursts(STORED_BURST),
                None if photos && self.consensus.is_none() => Grouping::Alone,
                None => Grouping::Consensus,
            },
            by_taken: photos && self.time != Some(TimeName::Arrival),
            keep_encoded: if self.store.store.is_some() { keep::PICTURE_BYTES } else { 0 },
        })
    }

    /// How bytes become frames.
    pub fn stream_settings(&self, limits: &Limits) -> stream::Settings {
        let layout = self.stride.or(self.layout.map(Layout::from)).unwrap_or_default();
        let raw =
            self.format.zip(self.size).map(|(format, (width, height))| RawFormat { format, width, height, layout });
        let matrix = self.matrix.map(|matrix| match matrix {
            MatrixName::Bt601 => Matrix::Bt601,
            MatrixName::Bt709 => Matrix::Bt709,
        });
        let range = self.range.map(|range| match range {
            RangeName::Full => Range::Full,
            RangeName::Limited => Range::Limited,
        });
        stream::Settings {
            raw,
            matrix,
            range,
            // Reopening a FIFO would lose what a writer has begun to send.
            timeout: self.source_timeout.filter(|_| self.reconnect.is_none()),
            recording: self.recording,
            rate: self.fps.map(|fps| (fps, 1)),
            room: self.max_frame.map_or(0, |_| limits.frame_bytes),
        }
    }
}

/// The values of `--format`.
fn formats() -> String {
    let name = |format: &PixelFormat| format!("{} ({})", format.name(), format.other_names().join(", "));
    format!("Pixel format of raw frames: {}", PixelFormat::ALL.iter().map(name).collect::<Vec<_>>().join(", "))
}

/// As [`Layout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LayoutName {
    /// Rows follow each other
    Tight,
    /// Rows of each plane are padded to 4 bytes, luma with halved chroma to an even number of rows
    Gstreamer,
}

impl From<LayoutName> for Layout {
    fn from(name: LayoutName) -> Layout {
        match name {
            LayoutName::Tight => Layout::Tight,
            LayoutName::Gstreamer => Layout::Gstreamer,
        }
    }
}

/// As [`Encoding`], by the names that cameras have for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EncodingName {
    /// JPEG pictures
    #[value(aliases = ["mjpeg", "jpeg", "MJPG", "JPEG"])]
    Mjpg,
    /// 4:2:2, luma and chroma by turns
    #[value(aliases = ["yuyv422", "yuy2", "YUYV", "YUY2"])]
    Yuyv,
    /// 4:2:0, luma first
    #[value(aliases = ["NV12"])]
    Nv12,
    /// Luma alone
    #[value(aliases = ["gray", "gray8", "GREY", "Y800"])]
    Grey,
}

impl From<EncodingName> for Encoding {
    fn from(name: EncodingName) -> Encoding {
        match name {
            EncodingName::Mjpg => Encoding::Mjpeg,
            EncodingName::Yuyv => Encoding::Raw(PixelFormat::Yuyv422),
            EncodingName::Nv12 => Encoding::Raw(PixelFormat::Nv12),
            EncodingName::Grey => Encoding::Raw(PixelFormat::Gray),
        }
    }
}

/// The time of photos for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TimeName {
    /// The photo's EXIF time; without one, its arrival
    Exif,
    /// When it arrived
    Arrival,
}

/// As [`Range`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RangeName {
    /// 0 to 255, as JPEG
    Full,
    /// 16 to 235, as video
    Limited,
}

/// As [`Matrix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MatrixName {
    /// Standard definition, JPEG
    Bt601,
    /// High definition
    Bt709,
}

/// As [`Overflow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OverflowName {
    /// The newest frame wins
    DropOldest,
    /// The source waits
    Block,
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let parsed = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    parsed.filter(|(w, h)| *w > 0 && *h > 0).ok_or_else(|| "a size is written as 1280x720".into())
}

fn stride(text: &str) -> Result<Layout, String> {
    let numbers: Option<Vec<usize>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[n]) if n > 0 => Ok(Layout::Stride(n)),
        Some(&[a, b]) if a > 0 && b > 0 => Ok(Layout::Strides([a, b, b])),
        Some(&[a, b, c]) if a > 0 && b > 0 && c > 0 => Ok(Layout::Strides([a, b, c])),
        _ => Err("bytes from one row to the next: 324, or 324,164,164 for each plane".into()),
    }
}

fn rotation(text: &str) -> Result<Rotation, String> {
    let turned = text.parse().ok().and_then(Rotation::from_degrees);
    turned.ok_or_else(|| "frames are turned by 0, 90, 180 or 270 degrees".into())
}

/// Parses `3/5`, `3/5:2`, `3/5,few=4/8:3,open=2/5`: a rule for all, then rules of single groups.
fn rules(text: &str) -> Result<consensus::Rules, String> {
    let mut rules = consensus::Rules::default();
    for part in text.split(',') {
        match part.trim().split_once('=') {
            None => rules = consensus::Rules::all(rule(part)?),
            Some(("many", r)) => rules.many = rule(r)?,
            Some(("medium", r)) => rules.medium = rule(r)?,
            Some(("few", r)) => rules.few = rule(r)?,
            Some(("open", r)) => rules.open = rule(r)?,
            Some((group, _)) => {
                return Err(format!("'{group}' is no group; there are many, medium, few and open"));
            }
        }
    }
    rules.check(&Limits::default()).map_err(|e| e.to_string())?;
    Ok(rules)
}

fn rule(text: &str) -> Result<consensus::Rule, String> {
    let help = || format!("'{text}' is no rule; 3/5 means three of the last five frames, 3/5:2 that two keep it");
    let number = |text: &str| text.trim().parse::<usize>().map_err(|_| help());
    let (begin, rest) = text.split_once('/').ok_or_else(help)?;
    let begin = number(begin)?;
    let (window, keep) = match rest.split_once(':') {
        Some((window, keep)) => (number(window)?, number(keep)?),
        // One frame less than begins a consensus keeps it.
        None => (number(rest)?, begin.saturating_sub(1).max(1)),
    };
    Ok(consensus::Rule { window, begin, keep, min_duration: Duration::ZERO })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_given_for_all_and_for_groups() {
        let of = |begin, window, keep| consensus::Rule { window, begin, keep, min_duration: Duration::ZERO };
        let parsed = rules("3/5:2").unwrap();
        assert_eq!(parsed, consensus::Rules::default());
        let parsed = rules("1/1, few=4/8 ,open=2/6:1").unwrap();
        assert_eq!(
            [parsed.many, parsed.medium, parsed.few, parsed.open],
            [of(1, 1, 1), of(1, 1, 1), of(4, 8, 3), of(2, 6, 1)]
        );
        for wrong in ["", "3", "5/3", "0/3", "3/5:4", "3/5:0", "some=3/5", "3/5/7", "a/b", "3/500"] {
            assert!(rules(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_and_regions() {
        assert_eq!(size("1280x720"), Ok((1280, 720)));
        for wrong in ["1280", "0x7", "axb", "1x2x3", "-1x2", ""] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(stride("324"), Ok(Layout::Stride(324)));
        assert_eq!(stride("324,164"), Ok(Layout::Strides([324, 164, 164])));
        for wrong in ["0", "", "1,", "1,2,3,4", "a"] {
            assert!(stride(wrong).is_err(), "{wrong}");
        }
        assert_eq!(region("1,2, 3,4"), Ok(Rect { x: 1, y: 2, width: 3, height: 4 }));
        for wrong in ["1,2,3", "1,2,0,4", "1,2,3,4,5", "1,2,3,4,x", ""] {
            assert!(region(wrong).is_err(), "{wrong}");
        }
        assert_eq!(rotation("270"), Ok(Rotation::ThreeQuarters));
        assert!(rotation("45").is_err() && rate("0").is_err() && rate("nan").is_err());
    }
}
