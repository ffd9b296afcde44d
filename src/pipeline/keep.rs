//! Keeps the best picture of each open event or thing, in memory that is allocated once.
//!
//! The source's own JPEG is kept if there is one, it is not too long, and the whole frame is wanted. Otherwise the
//! pixels of the frame, or of a region, are kept at a smaller size. When the thing is over, its picture is lent out,
//! and returned later.
//!
//! Pictures are kept by a key: the decision for whole frames ([`key`]), the number for things.

use std::time::Duration;

use crate::decide::Decision;
use crate::frame::{Frame, RegionOfInterest};

/// Most bytes of a picture: pixels, or the camera's JPEG.
pub const PICTURE_BYTES: usize = 1 << 20;

/// Most pixels of a picture that is kept as pixels.
pub const PICTURE_PIXELS: u32 = (PICTURE_BYTES / 3) as u32;

/// Most numbers of its features.
pub const FEATURES: usize = 2048;

/// Pictures that are kept or lent out at one time. With more things, the one seen longest ago loses its picture.
pub const PICTURES: usize = 8;

/// Bytes of memory that all of this takes.
pub const MEMORY_BYTES: usize = PICTURES * (PICTURE_BYTES + FEATURES * size_of::<f32>() + 4096);

/// Format of [`Picture::bytes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// A JPEG as the source had it.
    #[default]
    Jpeg,
    /// RGB with this number of columns and rows.
    Rgb(u32, u32),
}

/// A kept picture, with the network's outputs for it.
#[derive(Debug, Default)]
pub struct Picture {
    /// JPEG or pixels.
    pub bytes: Vec<u8>,
    /// Format of the bytes.
    pub form: Form,
    /// The frame.
    pub frame: u64,
    /// When it was captured.
    pub time: Duration,
    /// The direct feature.
    pub features: Vec<f32>,
    /// Distance to the nearest known class in its own unit.
    pub unit: f32,
}

/// A frame that may be the best of its thing. Its region of interest shows the thing.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The frame.
    pub frame: &'a Frame,
    /// Quality: higher is better.
    pub score: f32,
    /// As [`Picture::features`]. Features of more than [`FEATURES`] numbers are not kept.
    pub features: &'a [f32],
    /// As [`Picture::unit`].
    pub unit: f32,
}

/// The key of a decision.
pub fn key(decision: Decision) -> u64 {
    match decision {
        Decision::Known(class) => class as u64,
        Decision::Enrolled(class) => 1 << 40 | class as u64,
        Decision::Open => 1 << 41,
        Decision::Unclassified => 1 << 41 | 1,
    }
}

/// The key of the thing with this number.
pub fn thing_key(thing: u64) -> u64 {
    1 << 42 | thing
}

#[derive(Debug)]
struct Kept {
    key: u64,
    score: f32,
    /// When something was last offered for it.
    seen: Duration,
    picture: Picture,
}

/// Keeps the best picture of each thing.
#[derive(Debug)]
pub struct Keeper {
    kept: heapless::Vec<Kept, PICTURES>,
    free: heapless::Vec<Picture, PICTURES>,
    /// A thing without an offer for this long counts as a new one.
    gap: Duration,
}

impl Keeper {
    /// Keeps pictures. A thing without an offer for longer than `gap` is over.
    pub fn new(gap: Duration) -> Keeper {
        let picture = |_| Picture {
            bytes: Vec::with_capacity(PICTURE_BYTES),
            features: Vec::with_capacity(FEATURES),
            ..Picture::default()
        };
        Keeper { kept: heapless::Vec::new(), free: (0..PICTURES).map(picture).collect(), gap }
    }

    /// Offers a frame that shows the thing `key`. Keeps its picture if it is better than the present one. Allocates
    /// nothing.
    pub fn offer(&mut self, key: u64, candidate: &Candidate) {
        let time = Duration::from_nanos(candidate.frame.stamp().mono_ns);
        let gap = self.gap;
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.key == key) {
            let another = time.saturating_sub(kept.seen) > gap;
            kept.seen = time;
            if another || candidate.score > kept.score {
                kept.score = candidate.score;
                fill(&mut kept.picture, candidate, time);
            }
            return;
        }
        let picture = self.free.pop().or_else(|| {
            let oldest = (0..self.kept.len()).min_by_key(|i| self.kept[*i].seen)?;
            Some(self.kept.swap_remove(oldest).picture)
        });
        // All are lent out: a later frame may find one.
        let Some(mut picture) = picture else { return };
        fill(&mut picture, candidate, time);
        let _ = self.kept.push(Kept { key, score: candidate.score, seen: time, picture });
    }

    /// The thing `key` began at `first`: forgets a picture of an earlier thing.
    pub fn begin(&mut self, key: u64, first: Duration) {
        if let Some(place) = self.kept.iter().position(|kept| kept.key == key && kept.picture.time < first) {
            let kept = self.kept.swap_remove(place);
            self.give_back(kept.picture);
        }
    }

    /// The thing `key` is over: lends out its picture, if there is one.
    pub fn end(&mut self, key: u64) -> Option<Picture> {
        let place = self.kept.iter().position(|kept| kept.key == key)?;
        Some(self.kept.swap_remove(place).picture)
    }

    /// All things are over: forgets pictures of things that were not reported.
    pub fn clear(&mut self) {
        while let Some(kept) = self.kept.pop() {
            self.give_back(kept.picture);
        }
    }

    /// Takes back a picture that was lent out.
    pub fn give_back(&mut self, picture: Picture) {
        let _ = self.free.push(picture);
    }
}

fn fill(picture: &mut Picture, candidate: &Candidate, time: Duration) {
    let Candidate { frame, features, unit, .. } = *candidate;
    let RegionOfInterest { region, rotation } = frame.geometry().roi;
    let whole = region.is_none() && rotation == Default::default();
    match frame.encoded().filter(|bytes| whole && bytes.len() <= PICTURE_BYTES) {
        Some(bytes) => {
            picture.bytes.clear();
            picture.bytes.extend_from_slice(bytes);
            picture.form = Form::Jpeg;
        }
        None => {
            let (width, height) = frame.shrink(region, rotation, PICTURE_PIXELS, &mut picture.bytes);
            picture.form = Form::Rgb(width, height);
        }
    }
    (picture.frame, picture.time, picture.unit) = (frame.stamp().seq, time, unit);
    picture.features.clear();
    if features.len() <= FEATURES {
        picture.features.extend_from_slice(features);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Geometry, Limits, PixelFormat, Stamp};

    fn frame(seq: u64, width: u32, height: u32) -> Frame {
        let mut frame = Frame::default();
        let geometry = Geometry::new(PixelFormat::Gray, width, height);
        frame.reshape(geometry, &Limits::default()).unwrap().fill(seq as u8);
        frame.set_stamp(Stamp { seq, mono_ns: seq * 1_000_000_000 });
        frame
    }

    fn offer(keeper: &mut Keeper, key: u64, seq: u64, score: f32) {
        let frame = frame(seq, 8, 4);
        keeper.offer(key, &Candidate { frame: &frame, score, features: &[score], unit: 1.0 });
    }

    #[test]
    fn the_best_frame_of_each_thing_is_kept() {
        let mut keeper = Keeper::new(Duration::from_secs(5));
        for (key, seq, score) in [(1, 1, 0.5), (2, 2, 0.1), (1, 3, 0.9), (1, 4, 0.7), (2, 5, 0.0)] {
            offer(&mut keeper, key, seq, score);
        }
        let one = keeper.end(1).unwrap();
        assert_eq!((one.frame, one.form, &one.features[..]), (3, Form::Rgb(8, 4), &[0.9][..]));
        assert!(one.bytes == [3; 96] && keeper.end(1).is_none());
        // After a pause, or with a later beginning, it is another thing.
        offer(&mut keeper, 2, 20, -1.0);
        assert_eq!(keeper.end(2).unwrap().frame, 20);
        offer(&mut keeper, 3, 21, 1.0);
        keeper.begin(3, Duration::from_secs(21));
        assert!(keeper.end(3).is_some());
        offer(&mut keeper, 3, 22, 1.0);
        keeper.begin(3, Duration::from_secs(23));
        assert!(keeper.end(3).is_none());
    }

    #[test]
    fn memory_is_taken_once() {
        let mut keeper = Keeper::new(Duration::from_secs(5));
        let large = frame(1, 2000, 1000);
        for key in 0..3 * PICTURES as u64 {
            keeper.offer(key, &Candidate { frame: &large, score: 0.0, features: &[0.0; 3000], unit: 0.0 });
        }
        // With more pictures than fit, the last ones remain.
        let lent: Vec<Picture> = (0..3 * PICTURES as u64).filter_map(|key| keeper.end(key)).collect();
        assert_eq!(lent.len(), PICTURES);
        for picture in &lent {
            let Form::Rgb(width, height) = picture.form else { panic!() };
            assert!(width * height <= PICTURE_PIXELS && width * height > PICTURE_PIXELS * 9 / 10);
            assert!(picture.bytes.capacity() == PICTURE_BYTES && picture.features.is_empty());
        }
        offer(&mut keeper, 1, 9, 0.0);
        assert!(keeper.end(1).is_none(), "all are lent out");
        lent.into_iter().for_each(|picture| keeper.give_back(picture));
        offer(&mut keeper, 1, 9, 0.0);
        assert!(keeper.end(1).is_some());
    }
}
