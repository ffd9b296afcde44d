//! Regions to things.

use std::time::Duration;

use heapless::Vec;
use oltr_frames::Result;

use crate::finder::{Expected, Regions, State};
use crate::settings::MOST_THINGS;
use crate::thing::{EndReason, Ended, Step, Thing, ThingState};
use crate::{Area, Settings};

/// Tracks at the same time, of things and of what may become one.
pub const MOST_TRACKS: usize = 64;

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Frames that were looked at.
    pub frames: u64,
    /// Frames in which nothing could be found: warming, settling, dark, covered.
    pub blind: u64,
    /// Things that are present.
    pub present: u32,
    /// Things that there ever were.
    pub seen: u64,
    /// Times that something would have become a thing, but [`Settings::max_things`] were there.
    pub crowded: u64,
    /// Regions that were found.
    pub regions: u64,
    /// Frames with more regions than there is room for.
    pub overfull: u64,
}

#[derive(Clone, Debug)]
struct Track {
    thing: Thing,
    missed: u32,
}

/// Follows regions from frame to frame.
#[derive(Debug)]
pub struct Tracker {
    settings: Settings,
    tracks: Vec<Track, MOST_TRACKS>,
    things: Vec<Thing, MOST_THINGS>,
    ended: Vec<Ended, MOST_THINGS>,
    expected: Vec<Expected, MOST_TRACKS>,
    counts: Counts,
}

impl Tracker {
    /// A tracker with no tracks.
    ///
    /// # Errors
    /// As [`Settings::check`].
    pub fn new(settings: &Settings) -> Result<Tracker> {
        settings.check()?;
        let settings = settings.clone();
        let (tracks, things, ended, expected, counts) = Default::default();
        Ok(Tracker { settings, tracks, things, ended, expected, counts })
    }

    /// Where things are expected at `time`.
    pub fn expect(&mut self, _time: Duration) -> &[Expected] {
        self.expected.clear();
        for track in &self.tracks {
            let expected = Expected { area: track.thing.area, confirmed: track.thing.id > 0 };
            self.expected.push(expected).unwrap_or_default();
        }
        &self.expected
    }

    /// Ends all things: the picture is another one.
    pub fn drop_all(&mut self, reason: EndReason) {
        self.ended.clear();
        while let Some(track) = self.tracks.pop() {
            if track.thing.id > 0 {
                self.ended.push(Ended { thing: track.thing, reason }).unwrap_or_default();
            }
        }
        self.list();
    }

    /// Takes the regions of a frame of this size.
    pub fn follow(&mut self, regions: &Regions, _state: State, time: Duration, width: u32, height: u32) {
        self.ended.clear();
        self.counts.frames += 1;
        self.counts.regions += regions.len() as u64;
        let mut taken = [false; crate::finder::MOST_REGIONS];
        for track in &mut self.tracks {
            let best = (0..regions.len())
                .filter(|&i| !taken[i])
                .map(|i| (regions[i].area.common(track.thing.area).pixels(), i))
                .max()
                .filter(|best| best.0 > 0);
            let Some((_, best)) = best else {
                track.missed += 1;
                track.thing.state = ThingState::Coasting;
                track.thing.clean = false;
                continue;
            };
            taken[best] = true;
            track.missed = 0;
            let (area, thing) = (regions[best].area, &mut track.thing);
            let (x, y) = area.center();
            let (x0, y0) = thing.first_area.center();
            let way = (f64::from(x - x0).powi(2) + f64::from(y - y0).powi(2)).sqrt() as u32;
            (thing.area, thing.last_area, thing.last, thing.state) = (area, area, time, ThingState::Seen);
            thing.seen += 1;
            thing.way = thing.way.max(way);
            thing.border = at_border(area, width, height);
            thing.clean = !thing.border;
            step(&mut thing.path, Step { time, x, y });
        }
        let present = self.tracks.iter().filter(|track| track.thing.id > 0).count();
        let mut room = self.settings.max_things.saturating_sub(present);
        for track in &mut self.tracks {
            let far = track.thing.way as f32 >= self.settings.min_way * track.thing.area.size() as f32;
            if track.thing.id == 0 && track.thing.seen >= 4 && far {
                if room == 0 {
                    self.counts.crowded += 1;
                    continue;
                }
                room -= 1;
                self.counts.seen += 1;
                track.thing.id = self.counts.seen;
            }
        }
        let ended = &mut self.ended;
        self.tracks.retain(|track| {
            let keep = track.missed < if track.thing.id > 0 { 10 } else { 2 };
            if !keep && track.thing.id > 0 {
                let reason = if track.thing.border { EndReason::Left } else { EndReason::Lost };
                ended.push(Ended { thing: track.thing.clone(), reason }).unwrap_or_default();
            }
            keep
        });
        for (region, _) in regions.iter().zip(taken).filter(|(_, taken)| !taken) {
            let area = region.area;
            let (x, y) = area.center();
            let mut path = Vec::new();
            step(&mut path, Step { time, x, y });
            let border = at_border(area, width, height);
            let (id, seen, merged, way, clean) = (0, 1, 0, 0, !border);
            let (first_area, last_area, first, last) = (area, area, time, time);
            let state = ThingState::Seen;
            let thing =
                Thing { id, state, area, first_area, last_area, first, last, seen, merged, way, path, clean, border };
            if self.tracks.push(Track { thing, missed: 0 }).is_err() {
                self.counts.crowded += 1;
            }
        }
        self.list();
    }

    /// The things that are present.
    pub fn things(&self) -> &[Thing] {
        &self.things
    }

    /// The things that ended with the last frame.
    pub fn ended(&self) -> &[Ended] {
        &self.ended
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Lets two things that are present change their numbers, with all that was told under them: after a merge it
    /// may turn out that each is the other. `false` if one of them is not present.
    pub fn swap(&mut self, a: u64, b: u64) -> bool {
        let place = |id| self.tracks.iter().position(|track| track.thing.id == id && id > 0);
        let (Some(a), Some(b)) = (place(a), place(b)) else { return false };
        if a != b {
            let id = self.tracks[a].thing.id;
            self.tracks[a].thing.id = self.tracks[b].thing.id;
            self.tracks[b].thing.id = id;
            self.list();
        }
        true
    }

    fn list(&mut self) {
        self.things.clear();
        for track in self.tracks.iter().filter(|track| track.thing.id > 0) {
            self.things.push(track.thing.clone()).unwrap_or_default();
        }
        self.things.sort_unstable_by_key(|thing| thing.id);
        self.counts.present = self.things.len() as u32;
    }
}

fn at_border(area: Area, width: u32, height: u32) -> bool {
    area.x <= 0
        || area.y <= 0
        || area.x as i64 + i64::from(area.width) >= i64::from(width)
        || area.y as i64 + i64::from(area.height) >= i64::from(height)
}

/// Adds a point; of a full path every second point goes first.
fn step(path: &mut Vec<Step, { crate::thing::MOST_STEPS }>, next: Step) {
    if path.is_full() {
        let mut index = 0;
        path.retain(|_| {
            index += 1;
            index % 2 == 1
        });
    }
    path.push(next).unwrap_or_default();
}
