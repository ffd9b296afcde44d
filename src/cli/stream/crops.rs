//! Saves crops of things as files, with the labels file that `calibrate` and `evaluate` read.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use oltr::decide::Decision;
use oltr::decide::events::Phase;
use oltr::preprocess::{Preprocess, Preprocessor, Resize};
use oltr::sink::{CutResult, EventResult};
use oltr::text::counted;
use oltr::things::{MOST_CUTS, MOST_THINGS};
use oltr::{Error, Frame, Names, Result};

/// Longest side of a saved crop: more than any network uses. Larger crops are reduced.
const SIDE: u32 = 512;

/// The file of labels in the folder.
const LABELS: &str = "labels.tsv";

/// Its first line.
const HEADER: &str = "path\tclass\trole\tsplit\tcluster\n";

/// Most crops of things that have not ended, so that their labels are not known yet.
const WAITING: usize = MOST_CUTS * MOST_THINGS;

/// A folder of cuts.
#[derive(Debug)]
pub struct Crops {
    folder: PathBuf,
    labels: File,
    /// Distinguishes the files of this run from those of other runs.
    run: String,
    /// Pictures that may still be written.
    left: u64,
    /// Thing and frame of each saved crop without a label.
    waiting: Vec<(u64, u64)>,
    pixels: Vec<u8>,
}

impl Crops {
    /// Saves up to `most` pictures in `folder`, including the existing ones.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be created, read or written.
    pub fn new(folder: &Path, most: u64) -> Result<Crops> {
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let entries = fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
        let is_picture = |entry: &fs::DirEntry| entry.path().extension().is_some_and(|kind| kind == "png");
        let there = entries.filter_map(std::result::Result::ok).filter(is_picture).count() as u64;
        let path = folder.join(LABELS);
        let open = OpenOptions::new().create(true).append(true).open(&path);
        let mut labels = open.map_err(|e| Error::io(&path, e))?;
        if labels.metadata().map_err(|e| Error::io(&path, e))?.len() == 0 {
            labels.write_all(HEADER.as_bytes()).map_err(|e| Error::io(&path, e))?;
        }
        let left = most.saturating_sub(there);
        if left == 0 {
            let there = counted(there, "picture");
            log::warn!("{}: holds {there} and may hold {most} (--save): no cut is kept", folder.display());
        }
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Ok(Crops {
            folder: folder.into(),
            labels,
            // Two runs may begin in one second.
            run: format!("{seconds:x}-{}", std::process::id()),
            left,
            waiting: Vec::with_capacity(WAITING),
            pixels: Vec::with_capacity((SIDE * SIDE * 3) as usize),
        })
    }

    /// Most bytes of memory, including the encoder's.
    pub fn bytes() -> usize {
        // The pixels, the same filtered and compressed, and a plan for a frame of any size.
        WAITING * size_of::<(u64, u64)>() + (SIDE * SIDE * 3) as usize * 4 + (2 << 20)
    }

    /// Keeps a cut, if there is room.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub fn cut(&mut self, result: &CutResult) -> Result<()> {
        if self.left == 0 || self.waiting.len() == WAITING {
            return Ok(());
        }
        let cut = &result.cut;
        let seq = cut.frame.stamp().seq;
        let (width, height) = self.pixels_of(cut.frame)?;
        let path = self.folder.join(self.name(cut.thing, seq));
        let mut file = File::create(&path).map_err(|e| Error::io(&path, e))?;
        let written = PngEncoder::new(&mut file).write_image(&self.pixels, width, height, ExtendedColorType::Rgb8);
        written.map_err(|e| match e {
            image::ImageError::IoError(cause) => Error::io(&path, cause),
            e => Error::Internal(format!("{}: {e}", path.display())),
        })?;
        match cut.burst {
            // Crops of a photo are labelled separately. Those of a burst mostly show the same thing, so the burst is
            // their cluster.
            Some(burst) => {
                let answer = &cut.answer;
                let line = self.line(cut.thing, seq, answer.names(), answer.decision, &format!("burst-{burst}"));
                self.labels.write_all(line.as_bytes()).map_err(|e| Error::io(self.folder.join(LABELS), e))?;
            }
            None => self.waiting.push((cut.thing, seq)),
        }
        self.left -= 1;
        if self.left == 0 {
            log::warn!("{}: is full; no more cuts are kept (--save allows more)", self.folder.display());
        }
        Ok(())
    }

    /// Labels the crops of a thing that ended.
    ///
    /// # Errors
    /// [`Error::Io`] if the labels cannot be written.
    pub fn event(&mut self, result: &EventResult) -> Result<()> {
        let (Phase::End(_), Some(of)) = (result.change.phase, &result.thing) else { return Ok(()) };
        let (id, label) = (of.thing.id, result.change.event.label);
        let mut lines = String::new();
        for (_, seq) in self.waiting.iter().filter(|(thing, _)| *thing == id) {
            lines += &self.line(id, *seq, result.names, label, &format!("thing-{id}"));
        }
        self.waiting.retain(|(thing, _)| *thing != id);
        self.labels.write_all(lines.as_bytes()).map_err(|e| Error::io(self.folder.join(LABELS), e))
    }

    /// The line in the labels file for a crop of `label`.
    fn line(&self, thing: u64, seq: u64, names: Names, label: Decision, cluster: &str) -> String {
        let (class, role) = match (label, names.label(label)) {
            (Decision::Open, _) | (_, None) => ("open", "unknown"),
            (_, Some(class)) => (class, "known"),
        };
        format!("{}\t{class}\t{role}\tval\t{}-{cluster}\n", self.name(thing, seq), self.run)
    }

    fn name(&self, thing: u64, seq: u64) -> String {
        format!("{}-thing-{thing}-frame-{seq}.png", self.run)
    }

    /// Fills `pixels` with RGB of the region of interest of `frame`. Returns columns and rows.
    fn pixels_of(&mut self, frame: &Frame) -> Result<(u32, u32)> {
        let roi = frame.geometry().roi;
        let (width, height) = roi.region.map_or((frame.width(), frame.height()), |r| (r.width, r.height));
        // Padded to a square at full size unless it is too large. The crop is the part without padding.
        let size = width.max(height).min(SIDE);
        let pad_color = Some([0; 3]);
        let settings =
            Preprocess { size, resize: Resize::Pad, resize_to: None, mean: [0.0; 3], std: [1.0; 3], pad_color };
        let mut preprocessor = Preprocessor::new(&settings, frame.geometry())?;
        self.pixels.resize(preprocessor.output_len(), 0);
        preprocessor.run(frame, &mut self.pixels)?;
        let placed = preprocessor.placement();
        let row = placed.width as usize * 3;
        for y in 0..placed.height as usize {
            let from = ((placed.y as usize + y) * size as usize + placed.x as usize) * 3;
            self.pixels.copy_within(from..from + row, y * row);
        }
        self.pixels.truncate(row * placed.height as usize);
        Ok((placed.width, placed.height))
    }
}
