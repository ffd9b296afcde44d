//! Photos on their way, with what differs in them.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use heapless::Deque;
use oltr_scenes::Settings;

use super::album::{Album, LOOK_AHEAD, Page, camera_key, taken};
use super::found::Found;
use super::small::{CELLS, Small, preprocess};
use crate::error::Result;
use crate::frame::Frame;
use crate::limits::Limits;
use crate::origin::Origin;
use crate::preprocess::{Preprocess, Preprocessor};
use crate::source::photo::{Decode, InputReader};
use crate::source::{Bounds, FrameSource, Next, Note};

/// Photos that were looked at and have not been classified: no more wait than a queue has room for.
const MOST_FINDS: usize = 64;

/// What was found in photos that have not been classified, between the thread that reads and the one that classifies.
#[derive(Clone, Debug, Default)]
pub struct Finds(Arc<Mutex<Deque<Found, MOST_FINDS>>>);

impl Finds {
    fn push(&self, found: Found) {
        let mut finds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if finds.is_full() {
            finds.pop_front();
        }
        let _ = finds.push_back(found);
    }

    /// What was found in photo `seq`; those before it were dropped.
    pub(super) fn take(&self, seq: u64) -> Option<Found> {
        let mut finds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while finds.front().is_some_and(|found| found.seq < seq) {
            finds.pop_front();
        }
        finds.front().filter(|found| found.seq == seq)?;
        finds.pop_front()
    }
}

/// A source of photos that says what differs in each from the others of its camera.
///
/// Of photos that are known before they come ([`FrameSource::coming`]) the next few are looked at before one is given, small;
/// so the first of a burst has a ground too. Of others each is compared with those before it.
pub struct StillSource {
    inner: Box<dyn FrameSource>,
    finds: Finds,
    album: Album,
    settings: Preprocess,
    reader: InputReader,
    limits: Limits,
    /// The photos that come next: the first is the next one. `None` where it cannot be read before.
    ahead: VecDeque<Option<Page>>,
    preprocessor: Option<Preprocessor>,
    rgb: Vec<u8>,
    /// Whether things are told from their ground; else a detector alone finds them.
    is_compared: bool,
}

impl StillSource {
    /// Photos of `inner`; those of a burst are `apart` at most. What is found goes to `finds`.
    pub fn new(
        inner: Box<dyn FrameSource>,
        settings: &Settings,
        apart: Duration,
        finds: Finds,
        limits: &Limits,
    ) -> StillSource {
        let album = Album::new(settings, apart);
        let settings = preprocess();
        let reader = InputReader::new(&settings, Decode::Fast, limits);
        let rgb = vec![0; CELLS * 3];
        let ahead = VecDeque::with_capacity(LOOK_AHEAD + 1);
        let (limits, preprocessor) = (limits.clone(), None);
        StillSource { inner, finds, album, settings, reader, limits, ahead, preprocessor, rgb, is_compared: true }
    }

    /// Compares nothing: all that is cut out is what a detector finds.
    pub fn without_ground(mut self) -> StillSource {
        self.is_compared = false;
        self
    }

    /// The small picture of the photo at `path`, before it comes.
    fn preview(&mut self, path: &Path) -> Option<Page> {
        // What is wrong with it shows when it comes.
        let seen = self.reader.read(path, &mut self.rgb).ok()?;
        Some(page(&self.rgb, seen.size, &path.display().to_string(), &seen.origin))
    }

    fn look_ahead(&mut self) {
        while self.ahead.len() <= LOOK_AHEAD {
            let path = self.inner.coming(self.ahead.len()).map(Path::to_path_buf);
            let page = path.and_then(|path| self.preview(&path));
            self.ahead.push_back(page);
        }
    }

    /// The small picture of a photo that came.
    fn page_of(&mut self, frame: &Frame) -> Result<Page> {
        let preprocessor = match &mut self.preprocessor {
            Some(preprocessor) => preprocessor,
            none => none.insert(Preprocessor::new(&self.settings, frame.geometry())?),
        };
        preprocessor.run(frame, &mut self.rgb)?;
        Ok(page(&self.rgb, (frame.width(), frame.height()), frame.label(), frame.origin()))
    }
}

fn page(rgb: &[u8], size: (u32, u32), label: &str, origin: &Origin) -> Page {
    let mut small = Small::new();
    small.fill(rgb);
    Page { small, size, camera: camera_key(label, origin), taken: taken(origin) }
}

impl FrameSource for StillSource {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn is_live(&self) -> bool {
        self.inner.is_live()
    }

    fn is_recording(&self) -> bool {
        self.inner.is_recording()
    }

    fn bounds(&self) -> Bounds {
        let Bounds { frame_bytes, decoder_bytes } = self.inner.bounds();
        // Small pictures are read by a decoder of their own; of formats that are decoded whole it takes a photo's memory.
        let pixels = usize::try_from(self.limits.photo_pixels).unwrap_or(usize::MAX);
        let preprocessor = Preprocessor::most_bytes(self.settings.size, &self.limits);
        let more = decoder_bytes
            .saturating_add(pixels.saturating_mul(6))
            .saturating_add(usize::try_from(2 * preprocessor).unwrap_or(usize::MAX))
            .saturating_add(Album::bytes());
        Bounds { frame_bytes, decoder_bytes: decoder_bytes.saturating_add(more) }
    }

    fn next(&mut self, frame: &mut Frame, patience: Duration) -> Result<Next> {
        if self.is_compared {
            self.look_ahead();
        }
        let next = self.inner.next(frame, patience)?;
        let page = match next {
            Next::Waiting | Next::End => return Ok(next),
            Next::Frame | Next::Damaged(_) => self.ahead.pop_front().flatten(),
        };
        if next != Next::Frame {
            return Ok(next);
        }
        let mut found = Found { seq: frame.stamp().seq, ..Found::default() };
        if self.is_compared {
            let size = (frame.width(), frame.height());
            // Another photo may lie there by now.
            let page = match page.filter(|page| page.size == size) {
                Some(page) => page,
                None => self.page_of(frame)?,
            };
            self.album.look(&page, self.ahead.iter().flatten(), &mut found);
        }
        self.finds.push(found);
        Ok(Next::Frame)
    }

    fn note(&mut self) -> Option<Note> {
        self.inner.note()
    }

    fn confirm(&mut self, seq: u64) -> Result<()> {
        self.inner.confirm(seq)
    }

    fn confirm_damages(&mut self, count: u64) -> Result<()> {
        self.inner.confirm_damages(count)
    }

    fn refuse(&mut self, seq: u64) {
        self.inner.refuse(seq);
    }

    fn restrict(&mut self, limits: &Limits) {
        self.inner.restrict(limits);
        self.limits = limits.clone();
        self.reader = InputReader::new(&self.settings, Decode::Fast, limits);
    }

    fn reconnect(&mut self) -> Result<()> {
        self.inner.reconnect()
    }
}
