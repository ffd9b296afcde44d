//! The last photos of each camera.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use super::differ::Differ;
use super::found::{Found, MOST_GROUND};
use super::small::{CELLS, Small};
use crate::origin::Origin;
use oltr_scenes::Settings;

/// Cameras whose last photos are remembered; by day and by night is not the same, nor is another size. Of more, those that were
/// seen longest ago are forgotten.
pub const MOST_CAMERAS: usize = 4;

/// Photos that come next which are looked at before a photo is answered, where they are known.
pub const LOOK_AHEAD: usize = 4;

/// Photos further apart are of different bursts, where nobody says otherwise.
pub const BURST: Duration = Duration::from_secs(60);

/// A photo as the album sees it.
#[derive(Clone, Debug)]
pub struct Page {
    pub small: Small,
    /// Columns and rows of the photo, upright.
    pub size: (u32, u32),
    /// Names the camera: see [`camera_key`].
    pub camera: u64,
    /// When it was taken, by the camera's own clock.
    pub taken: Option<Duration>,
}

impl Page {
    /// Whether another photo is of the same camera in the same light.
    fn is_like(&self, other: &Page) -> bool {
        self.key() == other.key()
    }

    fn key(&self) -> (u64, (u32, u32), bool) {
        (self.camera, self.size, self.small.is_night())
    }

    /// Whether another photo was taken within `apart` of it; without a time they follow each other.
    fn is_near(&self, other: &Page, apart: Duration) -> bool {
        match (self.taken, other.taken) {
            (Some(a), Some(b)) => a.abs_diff(b) <= apart,
            _ => true,
        }
    }
}

/// Names the camera of a photo: by what it says of itself, and by its folder.
pub(crate) fn camera_key(label: &str, origin: &Origin) -> u64 {
    let mut hasher = DefaultHasher::new();
    let texts = origin.camera.as_ref().map(|of| [&of.make, &of.model, &of.serial].map(Option::as_deref));
    texts.hash(&mut hasher);
    label.rsplit_once('/').map(|(folder, _)| folder).hash(&mut hasher);
    hasher.finish()
}

/// When a photo was taken, by the camera's own clock, since 1970.
pub fn taken(origin: &Origin) -> Option<Duration> {
    let ms = origin.taken.as_ref()?.local_ms();
    Some(Duration::from_millis(ms.max(0).unsigned_abs()))
}

/// The last photos of each camera, and what differs from them.
#[derive(Debug)]
pub struct Album {
    /// The camera that was seen last comes last; of each the newest photo.
    cameras: Vec<VecDeque<Page>>,
    differ: Differ,
    apart: Duration,
    burst: u64,
    /// The photo before: its camera, and when it was taken.
    last: Option<(u64, Option<Duration>)>,
}

impl Album {
    /// An album in which photos of a burst are `apart` at most.
    pub fn new(settings: &Settings, apart: Duration) -> Album {
        let (burst, last) = Default::default();
        Album { cameras: Vec::with_capacity(MOST_CAMERAS), differ: Differ::new(settings), apart, burst, last }
    }

    /// Bytes of memory that it takes at most.
    pub fn bytes() -> usize {
        (MOST_CAMERAS * (MOST_GROUND - 1) + LOOK_AHEAD + 2) * (size_of::<Page>() + CELLS * 3) + Differ::bytes()
    }

    /// Finds what differs in `page`, from the photos before it and from those that come next, and remembers it.
    pub fn look<'a>(&mut self, page: &'a Page, ahead: impl Iterator<Item = &'a Page>, found: &mut Found) {
        let near = self.last.is_some_and(|(camera, taken)| {
            camera == page.camera && taken.zip(page.taken).is_none_or(|(a, b)| a.abs_diff(b) <= self.apart)
        });
        self.burst += u64::from(!near);
        self.last = Some((page.camera, page.taken));
        found.burst = self.burst;
        let mut others: heapless::Vec<&Small, { MOST_GROUND - 1 }> = heapless::Vec::new();
        // The rest of the burst: each as near to the one before as photos of a burst are.
        let mut before = page;
        for next in ahead.take(LOOK_AHEAD) {
            if next.camera != page.camera || !next.is_near(before, self.apart) {
                break;
            }
            before = next;
            if next.is_like(page) {
                let _ = others.push(&next.small);
            }
        }
        let place = self.cameras.iter().position(|pages| pages.front().is_some_and(|last| last.is_like(page)));
        if let Some(place) = place {
            for earlier in &self.cameras[place] {
                if others.push(&earlier.small).is_err() {
                    break;
                }
            }
        }
        self.differ.look(&page.small, &others, page.size, found);
        drop(others);
        self.keep(page, place);
    }

    /// Remembers `page`, of the camera at `place`, in the memory of one that is forgotten.
    fn keep(&mut self, page: &Page, place: Option<usize>) {
        let mut pages = match place {
            Some(place) => self.cameras.remove(place),
            None if self.cameras.len() == MOST_CAMERAS => self.cameras.remove(0),
            None => VecDeque::with_capacity(MOST_GROUND),
        };
        if place.is_none() {
            pages.clear();
        }
        let oldest = if pages.len() == MOST_GROUND - 1 { pages.pop_back() } else { None };
        let kept = match oldest {
            Some(mut oldest) => {
                oldest.small.copy(&page.small);
                let (size, camera, taken) = (page.size, page.camera, page.taken);
                Page { small: oldest.small, size, camera, taken }
            }
            None => page.clone(),
        };
        pages.push_front(kept);
        self.cameras.push(pages);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Shown;
    use super::*;

    /// A photo of the ground, with a thing in columns from `thing` if there is one; by night it has no colours.
    fn page(camera: u64, second: Option<u64>, thing: Option<usize>, night: bool) -> Page {
        let side = super::super::small::SIDE;
        let mut rgb = Vec::with_capacity(CELLS * 3);
        for index in 0..CELLS {
            let (x, y) = (index % side, index / side);
            let level = 60 + camera as u8 * 40 + (x / 11 % 3) as u8 * 25;
            let inside = thing.is_some_and(|left| (left..left + 20).contains(&x) && (40..60).contains(&y));
            let (level, tint) = if inside { (230, 40) } else { (level, 25) };
            rgb.extend(if night { [level; 3] } else { [level, level - tint, level] });
        }
        let mut small = Small::new();
        small.fill(&rgb);
        assert_eq!(small.is_night(), night);
        Page { small, size: (640, 480), camera, taken: second.map(Duration::from_secs) }
    }

    /// What is shown of each of `pages`, how many the ground is of, and the burst.
    fn look(pages: &[Page], ahead: usize) -> Vec<(Shown, u32, u64)> {
        let mut album = Album::new(&Settings::default(), Duration::from_secs(60));
        let one = |at: usize| {
            let mut found = Found::default();
            let next = pages.get(at + 1..(at + 1 + ahead).min(pages.len())).unwrap_or(&[]);
            album.look(&pages[at], next.iter(), &mut found);
            (found.shown, found.ground, found.burst)
        };
        (0..pages.len()).map(one).collect()
    }

    #[test]
    fn the_rest_of_a_burst_makes_a_ground_and_other_bursts_do_not() {
        let burst = |second: u64| [0, 1, 2].map(|i| page(1, Some(second + i), (i == 1).then_some(70), false));
        let first = look(&burst(1000), LOOK_AHEAD);
        assert_eq!(first, [(Shown::Same, 3, 1), (Shown::Cuts, 3, 1), (Shown::Same, 3, 1)]);
        // One after the other, as they arrive: the first two have no ground.
        assert_eq!(look(&burst(1000), 0).iter().map(|of| of.1).collect::<Vec<_>>(), [0, 0, 3]);
        // What comes much later is no part of the burst, but the last photos are known then.
        let two: Vec<Page> = burst(1000)[..1].iter().chain(&burst(9000)).cloned().collect();
        assert_eq!(
            look(&two, LOOK_AHEAD).iter().map(|of| (of.1, of.2)).collect::<Vec<_>>(),
            [(0, 1), (3, 2), (3, 2), (3, 2)]
        );
        // Without times photos follow each other.
        let timeless: Vec<Page> = (0..3).map(|i| page(1, None, (i == 2).then_some(30), false)).collect();
        assert_eq!(look(&timeless, LOOK_AHEAD)[2], (Shown::Cuts, 3, 1));
    }

    #[test]
    fn another_camera_size_or_light_is_another_ground() {
        let night = page(1, Some(3), None, true);
        let large = Page { size: (800, 600), ..page(1, Some(4), None, false) };
        let day = |second: u64| page(1, Some(second), None, false);
        for other in [night, large, page(2, Some(5), None, false)] {
            let pages = [day(0), day(1), day(2), other.clone(), day(6)];
            let grounds: Vec<u32> = look(&pages, LOOK_AHEAD).iter().map(|of| of.1).collect();
            assert_eq!(grounds[3..], [0, 3], "{:?}", other.size);
            // What is known of both stays known.
            let pages = [day(0), day(1), other.clone(), other.clone(), day(6), other];
            assert_eq!(look(&pages, 0).iter().map(|of| of.1).collect::<Vec<_>>(), [0, 0, 0, 0, 3, 3]);
        }
        assert_eq!(look(&[day(1)], LOOK_AHEAD), [(Shown::NoGround, 0, 1)]);
    }

    #[test]
    fn memory_has_a_bound() {
        let mut album = Album::new(&Settings::default(), BURST);
        let mut found = Found::default();
        for at in 0..200u64 {
            album.look(&page(at % 5 % 3, Some(at), None, at % 2 == 0), std::iter::empty(), &mut found);
            assert!(album.cameras.len() <= MOST_CAMERAS && album.cameras.iter().all(|of| of.len() < MOST_GROUND));
        }
        (200..220).for_each(|at| album.look(&page(1, Some(at), None, false), std::iter::empty(), &mut found));
        assert_eq!(found.ground as usize, MOST_GROUND);
        assert!(Album::bytes() < 5 << 20, "{}", Album::bytes());
    }
}
