//! The picture of `--mask`: reads it, serves it for drawing, and saves it while a stream runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use oltr::atomic;
use oltr::source::photo;
use oltr::things::detector::DetectorFinder;
use oltr::things::{Camera, Expected, Finder, Gate, Mask, Regions, State};
use oltr::{Error, Frame, Limits, PixelFormat, Result};

use super::super::http::MAX_BODY;

/// Start of a PNG: its signature, then length and name of its first chunk.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

/// Memory of saving: a body, its picture at 64 and at 24 bits per pixel, and its PNG; one at a time.
pub const BYTES: u64 = 5 << 20;

/// The mask that the picture at `path` draws.
///
/// # Errors
/// As [`photo::read`]; [`Error::BadInput`] if all of it is black.
pub fn read(path: &Path, limits: &Limits) -> Result<Mask> {
    mask_of(&photo::read(path, limits)?, &path.display().to_string())
}

fn mask_of(frame: &Frame, subject: &str) -> Result<Mask> {
    Mask::new(frame.width(), frame.height(), &luma_of(frame)).map_err(|e| match e {
        Error::BadInput { reason, .. } => Error::BadInput { subject: subject.into(), reason },
        e => e,
    })
}

fn luma_of(frame: &Frame) -> Vec<u8> {
    debug_assert_eq!(frame.format(), PixelFormat::Rgb24);
    let bright = |pixel: &[u8; 3]| {
        let [r, g, b] = pixel.map(u32::from);
        ((77 * r + 150 * g + 29 * b) >> 8) as u8
    };
    (0..frame.height()).flat_map(|y| frame.row(y).as_chunks::<3>().0).map(bright).collect()
}

/// The mask of a running stream, shared by the page's threads and the classifying thread.
#[derive(Debug)]
pub struct Drawn {
    path: PathBuf,
    /// Whether it may be saved.
    allowed: bool,
    /// Counts up with each mask that was saved.
    version: AtomicU64,
    /// The mask; `None` if the whole frame is used.
    mask: Mutex<Option<Mask>>,
    /// Held by the one who saves.
    saving: Mutex<()>,
}

/// Why a mask was not saved.
#[derive(Debug)]
pub enum Refused {
    /// It may not be drawn.
    Forbidden,
    /// Another client is saving a mask at this moment.
    Busy,
    /// The picture is not one.
    Picture(String),
    /// It could not be written.
    Failed(String),
}

impl Drawn {
    /// The mask in the file at `path`, which is `mask` now, and may be saved if `allowed`.
    ///
    /// # Errors
    /// [`Error::Config`] if it may be saved and `path` cannot be a regular file.
    pub fn new(path: &Path, allowed: bool, mask: Option<Mask>) -> Result<Arc<Drawn>> {
        let no = |reason: &str| {
            let path = path.display();
            Err(Error::Config(format!("{path}: {reason}, and --allow-mask saves to regular files only; name one")))
        };
        match fs::symlink_metadata(path) {
            Ok(meta) if allowed && meta.is_symlink() => return no("is a link"),
            Ok(meta) if allowed && !meta.is_file() => return no("is no file"),
            _ => {}
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if allowed && !folder.is_dir() {
            return no("its folder is not there");
        }
        let (version, saving) = (AtomicU64::new(1), Mutex::default());
        Ok(Arc::new(Drawn { path: path.into(), allowed, version, mask: Mutex::new(mask), saving }))
    }

    /// Whether it may be saved.
    pub fn is_allowed(&self) -> bool {
        self.allowed
    }

    /// A number that changes with each mask.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Mask>> {
        self.mask.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mask as a PNG of `width` × `height` pixels; white parts are used.
    ///
    /// # Errors
    /// [`Error::Internal`] if it cannot be encoded.
    pub fn png(&self, width: u32, height: u32) -> Result<Vec<u8>> {
        let (columns, rows) = (width as usize, height as usize);
        let mut luma = vec![255; columns * rows];
        if let Some(mask) = self.lock().as_ref() {
            for (place, luma) in luma.iter_mut().enumerate() {
                *luma = if mask.shows(place % columns, columns, place / columns, rows) { 255 } else { 0 };
            }
        }
        encode(&luma, width, height)
    }

    /// Saves the PNG `bytes`, which must have `width` × `height` pixels, and uses it from now on.
    ///
    /// # Errors
    /// Why it was not saved. File and mask are then unchanged.
    pub fn save(&self, bytes: &[u8], width: u32, height: u32) -> std::result::Result<u64, Refused> {
        if !self.allowed {
            return Err(Refused::Forbidden);
        }
        let Ok(_saving) = self.saving.try_lock() else { return Err(Refused::Busy) };
        let sides = bytes.strip_prefix(PNG).and_then(|rest| rest.as_chunks::<4>().0.get(..2));
        let Some(&[across, down]) = sides else { return Err(Refused::Picture("this is no PNG".into())) };
        let sides = (u32::from_be_bytes(across), u32::from_be_bytes(down));
        let other = |(across, down): (u32, u32)| {
            let text = format!("the picture has {across}x{down} pixels; a mask has {width}x{height}, as /mask.png");
            Err(Refused::Picture(text))
        };
        if sides != (width, height) {
            return other(sides);
        }
        let limits = Limits::with(|limits| {
            limits.photo_side = width.max(height);
            limits.photo_pixels = u64::from(width) * u64::from(height);
            limits.photo_bytes = MAX_BODY as u64;
        });
        let wrong = |e: Error| Refused::Picture(e.to_string());
        let frame = photo::decode("the mask", bytes, &limits).map_err(wrong)?;
        // It may contain an orientation.
        if (frame.width(), frame.height()) != (width, height) {
            return other((frame.width(), frame.height()));
        }
        let mut luma = luma_of(&frame);
        drop(frame);
        let mask = Mask::new(width, height, &luma).map_err(wrong)?;
        // The saved picture is made here, in black and white: nothing else of the upload is stored.
        luma.iter_mut().for_each(|luma| *luma = if *luma >= 64 { 255 } else { 0 });
        let failed = |e: Error| Refused::Failed(e.to_string());
        let png = encode(&luma, width, height).map_err(failed)?;
        atomic::write_regular(&self.path, &png).map_err(failed)?;
        *self.lock() = Some(mask);
        let version = self.version.fetch_add(1, Ordering::AcqRel) + 1;
        log::info!("{}: a mask was drawn and saved; it holds from now on", self.path.display());
        Ok(version)
    }
}

fn encode(luma: &[u8], width: u32, height: u32) -> Result<Vec<u8>> {
    let mut png = Vec::with_capacity(16 << 10);
    let written = PngEncoder::new(&mut png).write_image(luma, width, height, ExtendedColorType::L8);
    written.map_err(|e| Error::Internal(format!("the mask: {e}")))?;
    Ok(png)
}

/// A finder with a mask.
pub trait Masked: Finder {
    /// Uses `mask` from the next frame on.
    fn set_mask(&mut self, mask: Option<Mask>);
}

impl Masked for Gate {
    fn set_mask(&mut self, mask: Option<Mask>) {
        Gate::set_mask(self, mask);
    }
}

impl Masked for DetectorFinder {
    fn set_mask(&mut self, mask: Option<Mask>) {
        DetectorFinder::set_mask(self, mask);
    }
}

/// A finder whose mask may change between two frames.
#[derive(Debug)]
pub struct Following<F> {
    finder: F,
    drawn: Arc<Drawn>,
    seen: u64,
}

impl<F: Masked> Following<F> {
    /// `finder`, which has the mask that `drawn` has now.
    pub fn new(finder: F, drawn: Arc<Drawn>) -> Following<F> {
        let seen = drawn.version();
        Following { finder, drawn, seen }
    }
}

impl<F: Masked> Finder for Following<F> {
    fn find(&mut self, frame: &Frame, time: Duration, expected: &[Expected], regions: &mut Regions) -> Result<()> {
        let version = self.drawn.version();
        if version != self.seen {
            self.seen = version;
            self.finder.set_mask(self.drawn.lock().clone());
        }
        self.finder.find(frame, time, expected, regions)
    }

    fn state(&self) -> State {
        self.finder.state()
    }

    fn camera(&self) -> Option<Camera> {
        self.finder.camera()
    }

    fn is_anew(&self) -> bool {
        self.finder.is_anew()
    }

    fn bytes(&self) -> usize {
        self.finder.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(allowed: bool) -> (tempfile::TempDir, Arc<Drawn>) {
        let folder = tempfile::tempdir().unwrap();
        let drawn = Drawn::new(&folder.path().join("mask.png"), allowed, None).unwrap();
        (folder, drawn)
    }

    #[test]
    fn what_is_saved_is_read_and_shown_again() {
        let (folder, drawn) = drawn(true);
        let luma: Vec<u8> = (0..400 * 320).map(|i| if i % 400 < 130 || i / 400 > 200 { 255 } else { 0 }).collect();
        let sent = encode(&luma, 400, 320).unwrap();
        assert_eq!(drawn.save(&sent, 400, 320).unwrap(), 2);
        let saved = read(&folder.path().join("mask.png"), &Limits::default()).unwrap();
        assert_eq!(Some(saved), *drawn.lock());
        // The displayed mask equals the saved one, after any number of rounds.
        let shown = drawn.png(400, 320).unwrap();
        let before = drawn.lock().clone();
        drawn.save(&shown, 400, 320).unwrap();
        assert_eq!(*drawn.lock(), before);
        assert_eq!(drawn.png(400, 320).unwrap(), shown);
    }

    #[test]
    fn what_is_no_mask_changes_nothing() {
        let (folder, drawn) = drawn(true);
        let white = encode(&[255; 64 * 48], 64, 48).unwrap();
        drawn.save(&white, 64, 48).unwrap();
        let jpeg = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/photos/cup.jpg")).unwrap();
        let mut huge = white.clone();
        huge[16..24].copy_from_slice(&[0xFF; 8]);
        let others = [vec![], jpeg, white[..40].to_vec(), huge, encode(&[0; 64 * 48], 64, 48).unwrap()];
        for (case, bytes) in others.iter().enumerate() {
            assert!(matches!(drawn.save(bytes, 64, 48), Err(Refused::Picture(_))), "{case}");
        }
        for (width, height) in [(48, 64), (63, 48), (64, 49)] {
            let Err(Refused::Picture(said)) = drawn.save(&white, width, height) else { panic!("{width}x{height}") };
            assert!(said.contains("64x48"), "{said}");
        }
        // Truncated or damaged at any place: an error or a mask, but no panic.
        for cut in 0..white.len() {
            let _ = drawn.save(&white[..cut], 64, 48);
            let mut spoilt = white.clone();
            spoilt[cut] ^= 0x55;
            let _ = drawn.save(&spoilt, 64, 48);
        }
        assert!(read(&folder.path().join("mask.png"), &Limits::default()).is_ok());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_what_is_allowed_is_saved_and_only_to_files() {
        let (folder, forbidden) = drawn(false);
        let white = encode(&[255; 64 * 48], 64, 48).unwrap();
        assert!(matches!(forbidden.save(&white, 64, 48), Err(Refused::Forbidden)));
        assert!(!folder.path().join("mask.png").exists());
        let (folder, drawn) = drawn(true);
        std::os::unix::fs::symlink("elsewhere", folder.path().join("mask.png")).unwrap();
        assert!(matches!(drawn.save(&white, 64, 48), Err(Refused::Failed(_))));
        assert!(!folder.path().join("elsewhere").exists());
        for place in [folder.path().join("mask.png"), folder.path().into(), "/dev/null".into(), "/none/mask.png".into()]
        {
            assert!(matches!(Drawn::new(&place, true, None), Err(Error::Config(_))), "{}", place.display());
            assert!(Drawn::new(&place, false, None).is_ok(), "{}", place.display());
        }
    }
}
