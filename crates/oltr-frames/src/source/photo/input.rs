//! Photos as a network sees them, without the whole photo in memory where its format allows that.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use image::ImageFormat;
use oltr_jpeg::{Data, Rows, Scale, ScanIndex};

use super::{Decoder, format, metadata, piece};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::frame::origin::Origin;
use crate::limits::Limits;
use crate::preprocess::{Placement, Preprocess, Preprocessor, RowResampler, Stored};
use crate::source::jpeg;

/// How closely photos are decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Decode {
    /// Every pixel, as the training code does it.
    #[default]
    Exact,
    /// Decodes a JPEG at a reduced size by its coefficients, at least twice the network's size. The lost detail is
    /// finer than the network sees.
    Fast,
}

impl Decode {
    /// Name on the command line and in answers: `exact` or `fast`.
    pub fn name(self) -> &'static str {
        match self {
            Decode::Exact => "exact",
            Decode::Fast => "fast",
        }
    }

    /// The reduction for a JPEG of `width` × `height` (upright).
    fn scale(self, settings: &Preprocess, (width, height): (u32, u32)) -> Result<Scale> {
        let Placement { source, width, height, .. } = Placement::new(settings, width, height)?;
        let (across, down) = (source.right - source.left, source.bottom - source.top);
        let suffices = |scale: &Scale| {
            let factor = scale.factor() as f32;
            across / factor >= 2.0 * width as f32 && down / factor >= 2.0 * height as f32
        };
        Ok(match self {
            Decode::Exact => Scale::Full,
            Decode::Fast => Scale::ALL.into_iter().find(suffices).unwrap_or_default(),
        })
    }
}

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Width and height of the whole photo, upright.
    pub size: (u32, u32),
    /// How it was decoded. [`Decode::Exact`] even if fast was requested, for a small photo or another format.
    pub decoded: Decode,
    /// Reading and decoding.
    pub decode: Duration,
    /// Time of scaling to the network's size.
    pub preprocess: Duration,
    /// Time, place and camera of the photo.
    pub origin: Origin,
}

/// Reads photos one after another directly to the pixels of a network's input, `size` × `size` × RGB.
///
/// The result equals [`Preprocessor`] on the frame of [`Decoder`], bit for bit unless fast decoding is requested.
///
/// # Memory
/// For a JPEG: a few rows, and the file if it comes from a FIFO. For another format: as [`Decoder`], and the frame.
///
/// # Example
/// ```
/// # use oltr_frames as oltr;
/// # std::env::set_current_dir("../..").expect("the folder that holds the examples");
/// use oltr::Limits;
/// use oltr::preprocess::{Preprocess, Resize};
/// use oltr::source::photo::{Decode, InputReader};
///
/// let (size, mean, std) = (224, [127.0; 3], [128.0; 3]);
/// let settings = Preprocess { size, resize: Resize::Stretch, resize_to: None, mean, std, pad_color: None };
/// let mut reader = InputReader::new(&settings, Decode::Exact, &Limits::default());
/// let mut pixels = vec![0; 224 * 224 * 3];
/// let seen = reader.read("examples/photos/cup.jpg", &mut pixels)?;
/// assert_eq!(seen.decoded, Decode::Exact);
/// # Ok::<(), oltr::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct InputReader {
    settings: Preprocess,
    mode: Decode,
    decoder: Decoder,
    rows: Option<RowResampler>,
    frame: Frame,
    preprocessor: Option<Preprocessor>,
}

impl InputReader {
    /// A reader for a network with these `settings` that keeps to `limits`.
    pub fn new(settings: &Preprocess, mode: Decode, limits: &Limits) -> InputReader {
        InputReader {
            settings: settings.clone(),
            mode,
            decoder: Decoder::new(limits),
            rows: None,
            frame: Frame::default(),
            preprocessor: None,
        }
    }

    /// Bytes that [`InputReader::read`] writes.
    pub fn output_len(&self) -> usize {
        self.settings.size as usize * self.settings.size as usize * 3
    }

    /// Pixels of a side of the input.
    pub fn side(&self) -> u32 {
        self.settings.size
    }

    /// Reads the photo at `path` into `pixels`.
    ///
    /// # Errors
    /// As [`Decoder::read`] and [`Preprocessor::run`].
    pub fn read(&mut self, path: impl AsRef<Path>, pixels: &mut [u8]) -> Result<Seen> {
        let begin = Instant::now();
        self.check(pixels)?;
        let (subject, mut file) = self.decoder.open(path.as_ref())?;
        let Some(index) = self.decoder.begin(&subject, &mut file)? else {
            return self.fetched(&subject, begin, pixels);
        };
        let length = file.size();
        let (single, most) = (index.is_one_scan(), self.decoder.limits.photo_bytes);
        let at = |into: &mut [u8], first| piece(&file, most, into, first);
        let mut rest = &file;
        let head = std::mem::take(&mut self.decoder.file);
        let data = if single { Data::Parts(&head, &mut rest) } else { Data::At(&at) };
        let seen = self.jpeg(&subject, &index, &head, data, length, begin, pixels);
        self.decoder.file = head;
        seen
    }

    /// Reads `reader` to its end and decodes it into `pixels`. Messages name it `subject`.
    ///
    /// # Errors
    /// As [`InputReader::read`].
    pub fn read_from(&mut self, subject: &str, reader: impl Read, pixels: &mut [u8]) -> Result<Seen> {
        let begin = Instant::now();
        self.check(pixels)?;
        self.decoder.fetch(subject, reader)?;
        self.fetched(subject, begin, pixels)
    }

    /// Decodes the photo `bytes` into `pixels` without copying them. Messages name it `subject`.
    ///
    /// # Errors
    /// As [`InputReader::read`].
    pub fn decode(&mut self, subject: &str, bytes: &[u8], pixels: &mut [u8]) -> Result<Seen> {
        let begin = Instant::now();
        self.check(pixels)?;
        let length = bytes.len() as u64;
        if length > self.decoder.limits.photo_bytes {
            return Err(self.decoder.too_long(subject, length));
        }
        self.whole(subject, bytes, begin, pixels)
    }

    fn check(&self, pixels: &[u8]) -> Result<()> {
        if pixels.len() == self.output_len() {
            return Ok(());
        }
        let reason = format!("the output holds {} bytes, must hold {}", pixels.len(), self.output_len());
        Err(Error::BadInput { subject: "preprocess".into(), reason })
    }

    /// The file that was fetched.
    fn fetched(&mut self, subject: &str, begin: Instant, pixels: &mut [u8]) -> Result<Seen> {
        let bytes = std::mem::take(&mut self.decoder.file);
        let seen = self.whole(subject, &bytes, begin, pixels);
        self.decoder.file = bytes;
        seen
    }

    /// Decodes a file in memory.
    fn whole(&mut self, subject: &str, bytes: &[u8], begin: Instant, pixels: &mut [u8]) -> Result<Seen> {
        match format(bytes) {
            Some(ImageFormat::Jpeg) => self.whole_jpeg(subject, bytes, begin, pixels),
            _ => self.whole_frame(subject, bytes, begin, pixels),
        }
    }

    fn whole_jpeg(&mut self, subject: &str, bytes: &[u8], begin: Instant, pixels: &mut [u8]) -> Result<Seen> {
        let length = bytes.len() as u64;
        let failed = |fault| jpeg::bad(subject, fault, length);
        jpeg::check(subject, oltr_jpeg::size(bytes).map_err(failed)?, &self.decoder.limits)?;
        let index = ScanIndex::new(bytes).map_err(failed)?;
        self.jpeg(subject, &index, bytes, Data::Whole(bytes), length, begin, pixels)
    }

    /// Decodes a JPEG whose headers are in `head`.
    #[allow(clippy::too_many_arguments, reason = "one call for both ways in which a file is read")]
    fn jpeg<'a>(
        &mut self,
        subject: &str,
        index: &'a ScanIndex,
        head: &'a [u8],
        data: Data<'a>,
        length: u64,
        begin: Instant,
        pixels: &mut [u8],
    ) -> Result<Seen> {
        let (orientation, origin) = metadata::read(head, ImageFormat::Jpeg);
        let (width, height) = (index.header.width.into(), index.header.height.into());
        let stored = Stored { width, height, reduced: 1, orientation };
        let scale = self.mode.scale(&self.settings, stored.upright())?;
        let stored = Stored { reduced: scale.factor(), ..stored };
        let resampler = match &mut self.rows {
            Some(rows) if rows.stored() == stored => rows,
            rows => rows.insert(RowResampler::new(&self.settings, stored)?),
        };
        resampler.begin(&self.settings, pixels);
        let size = self.settings.size as usize;
        let mut square = Square { resampler, pixels, size, spent: Duration::ZERO };
        let decoded = oltr_jpeg::decode(index, data, scale, &mut self.decoder.room, &mut square);
        decoded.map_err(|e| jpeg::failure(subject, e, length))?;
        let decoded = if scale == Scale::Full { Decode::Exact } else { Decode::Fast };
        let preprocess = square.spent;
        let decode = begin.elapsed().saturating_sub(preprocess);
        Ok(Seen { size: stored.upright(), decoded, decode, preprocess, origin })
    }

    /// Decodes a photo of another format by way of a frame.
    fn whole_frame(&mut self, subject: &str, bytes: &[u8], begin: Instant, pixels: &mut [u8]) -> Result<Seen> {
        self.decoder.decode(subject, bytes, &mut self.frame)?;
        let decode = begin.elapsed();
        let preprocessor = match &mut self.preprocessor {
            Some(preprocessor) => preprocessor,
            none => none.insert(Preprocessor::new(&self.settings, self.frame.geometry())?),
        };
        preprocessor.run(&self.frame, pixels)?;
        let size = (self.frame.width(), self.frame.height());
        let (preprocess, origin) = (begin.elapsed() - decode, self.frame.origin().clone());
        Ok(Seen { size, decoded: Decode::Exact, decode, preprocess, origin })
    }
}

/// Writes rows into the network's input.
struct Square<'a> {
    resampler: &'a mut RowResampler,
    pixels: &'a mut [u8],
    size: usize,
    spent: Duration,
}

impl Rows for Square<'_> {
    fn row(&mut self, rows: [&[u8]; 3]) {
        let begin = Instant::now();
        self.resampler.row(rows, self.pixels, self.size);
        self.spent += begin.elapsed();
    }
}
