//! Regions to things.

use std::time::Duration;

use heapless::Vec;
use oltr_frames::Result;

use crate::finder::{Expected, MOST_REGIONS, Region, Regions, State};
use crate::settings::MOST_THINGS;
use crate::thing::{EndReason, Ended, Thing, ThingState};
use crate::track::{Place, Track, YOUNG};
use crate::{Area, Settings};

/// Tracks at the same time, of things and of what may become one.
pub const MOST_TRACKS: usize = 64;

/// Pieces of a thing lie no further apart than this part of its shorter side.
const NEAR: u64 = 6;
/// How long a thing may be hidden by another.
const HIDDEN: Duration = Duration::from_millis(700);

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Frames that were looked at.
    pub frames: u64,
    /// Frames in which nothing could be found: settling, dark, covered.
    pub blind: u64,
    /// Things that are present.
    pub present: u32,
    /// Things that there ever were.
    pub seen: u64,
    /// What came far enough to be a thing while [`Settings::max_things`] were there, each once.
    pub crowded: u64,
    /// Regions that were found.
    pub regions: u64,
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
    /// Since when the ground is known.
    since: Option<Duration>,
    /// Of the last frame.
    size: (u32, u32),
}

/// What a frame showed of one track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Nothing,
    /// A region of its own.
    Own(usize),
    /// In the region of another track.
    With(usize),
}

impl Tracker {
    /// A tracker with no tracks.
    ///
    /// # Errors
    /// As [`Settings::check`].
    pub fn new(settings: &Settings) -> Result<Tracker> {
        settings.check()?;
        let settings = settings.clone();
        let (tracks, things, ended, expected, counts, since, size) = Default::default();
        Ok(Tracker { settings, tracks, things, ended, expected, counts, since, size })
    }

    /// Where things are expected in a frame that comes at `time`; what ended before is forgotten.
    pub fn expect(&mut self, time: Duration) -> &[Expected] {
        self.ended.clear();
        self.expected.clear();
        for track in &mut self.tracks {
            track.predict(time);
            let expected = Expected { area: track.predicted, confirmed: track.is_thing() && !track.is_ghost(time) };
            self.expected.push(expected).unwrap_or_default();
        }
        &self.expected
    }

    /// Ends all things: the picture is another one.
    pub fn drop_all(&mut self, reason: EndReason) {
        self.ended.clear();
        self.since = None;
        while let Some(track) = self.tracks.pop() {
            if track.is_thing() {
                self.ended.push(Ended { thing: track.thing, reason }).unwrap_or_default();
            }
        }
        self.ended.sort_unstable_by_key(|ended| ended.thing.id);
        self.list();
    }

    /// Counts a frame.
    pub fn count(&mut self, regions: &Regions, state: State) {
        self.counts.frames += 1;
        self.counts.regions += regions.len() as u64;
        self.counts.blind += u64::from(!matches!(state, State::Watching | State::Warming));
    }

    /// Takes the regions of a frame of this size.
    pub fn follow(&mut self, regions: &Regions, time: Duration, width: u32, height: u32) {
        let since = *self.since.get_or_insert(time);
        let warm = time.saturating_sub(since) >= YOUNG;
        for track in &mut self.tracks {
            track.predict(time);
            track.frames = track.frames.saturating_add(1);
        }
        self.size = (width, height);
        let (sights, mut areas, mut owners) = self.assign(regions);
        self.join(regions, &sights, &mut areas, &owners);
        self.move_on(&sights, &areas, &mut owners, regions, time, width, height);
        self.confirm(warm, width);
        self.end(time, width, height);
        self.begin(regions, &owners, &areas, time, width, height);
        self.list();
    }

    /// Gives each track the region that suits it best, things first; what no region is left for is looked for in the
    /// regions of others.
    #[allow(clippy::type_complexity)]
    fn assign(
        &self,
        regions: &Regions,
    ) -> (Vec<Sight, MOST_TRACKS>, Vec<Area, MOST_REGIONS>, Vec<Option<usize>, MOST_REGIONS>) {
        let mut sights: Vec<Sight, MOST_TRACKS> = self.tracks.iter().map(|_| Sight::Nothing).collect();
        let (width, height) = self.size;
        let clipped = |region: &Region| region.area.clipped(width, height);
        let areas: Vec<Area, MOST_REGIONS> = regions.iter().map(clipped).collect();
        let mut owners: Vec<Option<usize>, MOST_REGIONS> = regions.iter().map(|_| None).collect();
        for things in [true, false] {
            loop {
                let mut best: Option<(i64, usize, usize)> = None;
                for (index, track) in self.tracks.iter().enumerate() {
                    if track.is_thing() != things || sights[index] != Sight::Nothing {
                        continue;
                    }
                    for (region, &area) in areas.iter().enumerate() {
                        if owners[region].is_none()
                            && let Some(cost) = cost(track, area, regions[region].colour, self.size)
                            && best.is_none_or(|(least, _, _)| cost < least)
                        {
                            best = Some((cost, index, region));
                        }
                    }
                }
                let Some((_, index, region)) = best else { break };
                sights[index] = Sight::Own(region);
                owners[region] = Some(index);
            }
            if things {
                self.leap(regions, &areas, &mut sights, &mut owners);
            }
        }
        for (index, track) in self.tracks.iter().enumerate() {
            if sights[index] != Sight::Nothing {
                continue;
            }
            let inside =
                |region: &usize| areas[*region].common(track.predicted).pixels() * 5 >= track.predicted.pixels() * 2;
            let found = (0..areas.len())
                .filter(|region| {
                    owners[*region].is_some_and(|owner| self.tracks[owner].is_thing() || !track.is_thing())
                })
                .filter(inside)
                .max_by_key(|&region| areas[region].common(track.predicted).pixels());
            if let Some(region) = found {
                sights[index] = Sight::With(region);
            }
        }
        (sights, areas, owners)
    }

    /// Gives things that nothing was found for the region that they may have leapt to: a bird that takes off goes at once by
    /// more than was to be expected. It looks the same, and nothing else was expected there.
    fn leap(
        &self,
        regions: &Regions,
        areas: &Vec<Area, MOST_REGIONS>,
        sights: &mut Vec<Sight, MOST_TRACKS>,
        owners: &mut Vec<Option<usize>, MOST_REGIONS>,
    ) {
        for (index, track) in self.tracks.iter().enumerate() {
            if !track.is_thing() || sights[index] != Sight::Nothing || track.missed > 0 {
                continue;
            }
            let is_expected = |region: usize| {
                (self.tracks.iter().enumerate()).any(|(other, track)| {
                    other != index && cost(track, areas[region], regions[region].colour, self.size).is_some()
                })
            };
            let found = (0..areas.len())
                .filter(|&region| owners[region].is_none() && !is_expected(region))
                .filter_map(|region| Some((track.leaps_to(areas[region], regions[region].colour)?, region)))
                .min();
            if let Some((_, region)) = found {
                sights[index] = Sight::Own(region);
                owners[region] = Some(index);
            }
        }
    }

    /// Joins regions without a track to the one next to them, where both together are no larger than the thing is.
    fn join(
        &self,
        regions: &Regions,
        sights: &Vec<Sight, MOST_TRACKS>,
        areas: &mut Vec<Area, MOST_REGIONS>,
        owners: &Vec<Option<usize>, MOST_REGIONS>,
    ) {
        for (track, sight) in self.tracks.iter().zip(sights) {
            let Sight::Own(own) = *sight else { continue };
            for other in 0..regions.len() {
                if owners[other].is_some() {
                    continue;
                }
                let both = areas[own].around(areas[other]);
                let known = track.predicted;
                let fits = u64::from(both.width) * 4 <= u64::from(known.width) * 5
                    && u64::from(both.height) * 4 <= u64::from(known.height) * 5;
                // What lies apart by more than a part of its size is something else, which came with it or met it.
                let is_near =
                    u64::from(areas[own].gap(areas[other])) * NEAR <= u64::from(known.width.min(known.height));
                if fits && is_near && !areas[other].common(known).is_empty() {
                    areas[own] = both;
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn move_on(
        &mut self,
        sights: &Vec<Sight, MOST_TRACKS>,
        areas: &Vec<Area, MOST_REGIONS>,
        owners: &mut Vec<Option<usize>, MOST_REGIONS>,
        regions: &Regions,
        time: Duration,
        width: u32,
        height: u32,
    ) {
        // Regions that more than one thing is in.
        let mut shared = [false; MOST_REGIONS];
        for (index, sight) in sights.iter().enumerate() {
            if let Sight::With(region) = *sight
                && self.tracks[index].is_thing()
                && owners[region].is_some_and(|owner| self.tracks[owner].is_thing())
            {
                shared[region] = true;
            }
        }
        // Regions that are no larger than the thing that they are: another one in them is hidden, or gone.
        let mut alone = [false; MOST_REGIONS];
        for (index, sight) in sights.iter().enumerate() {
            if let Sight::Own(region) = *sight {
                alone[region] = self.tracks[index].is_thing() && self.tracks[index].holds(areas[region]);
            }
        }
        for (index, track) in self.tracks.iter_mut().enumerate() {
            match sights[index] {
                Sight::Own(region) if track.has_left(areas[region]) => {
                    track.left = true;
                    track.carry(track.predicted, time, ThingState::Coasting);
                    owners[region] = None;
                }
                Sight::Own(region) if shared[region] && track.is_too_large(areas[region]) => {
                    track.carry(areas[region], time, ThingState::Merged);
                }
                Sight::Own(region) => {
                    let area = areas[region];
                    track.see(area, &regions[region], time, at_border(area, width, height), (width, height));
                    track.thing.clean &= !shared[region];
                }
                Sight::With(region) if track.is_thing() && !(alone[region] && track.merges(time) > HIDDEN) => {
                    track.carry(areas[region], time, ThingState::Merged);
                }
                Sight::With(_) | Sight::Nothing => track.carry(track.predicted, time, ThingState::Coasting),
            }
        }
        // What no thing came of goes where a thing is.
        let mut index = 0;
        self.tracks.retain(|track| {
            let with = matches!(sights[index], Sight::With(_));
            index += 1;
            track.is_thing() || !with
        });
    }

    /// Makes things of tracks that came far enough.
    fn confirm(&mut self, warm: bool, width: u32) {
        let present = self.tracks.iter().filter(|track| track.is_thing()).count();
        let mut room = self.settings.max_things.saturating_sub(present);
        for track in &mut self.tracks {
            if track.is_thing() || track.missed > 0 || !track.has_come_far(&self.settings, warm, width) {
                continue;
            }
            if room == 0 {
                self.counts.crowded += u64::from(!track.crowded);
                track.crowded = true;
                continue;
            }
            room -= 1;
            self.counts.seen += 1;
            track.thing.id = self.counts.seen;
        }
    }

    /// Ends what left, was lost, or stayed for too long.
    fn end(&mut self, time: Duration, width: u32, height: u32) {
        let (ended, stay) = (&mut self.ended, self.settings.stay);
        self.tracks.retain(|track| {
            let (x, y) = track.thing.area.center();
            let outside = x < 0 || y < 0 || i64::from(x) >= width.into() || i64::from(y) >= height.into();
            let hidden = track.thing.area.clipped(width, height).pixels() * 3 < track.thing.area.pixels();
            let reason =
                if track.left || track.missed > 0 && (outside || hidden || track.thing.border && track.missed > 4) {
                    EndReason::Left
                } else if track.missed > 0 && time.saturating_sub(track.thing.last) > track.patience() {
                    if track.thing.border { EndReason::Left } else { EndReason::Lost }
                } else if track.is_thing() && track.rests(time) >= stay {
                    EndReason::Stayed
                } else {
                    return true;
                };
            if track.is_thing() {
                ended.push(Ended { thing: track.thing.clone(), reason }).unwrap_or_default();
            }
            false
        });
        self.ended.sort_unstable_by_key(|ended| ended.thing.id);
    }

    /// Begins a track for each region that is left.
    fn begin(
        &mut self,
        regions: &Regions,
        owners: &Vec<Option<usize>, MOST_REGIONS>,
        areas: &Vec<Area, MOST_REGIONS>,
        time: Duration,
        width: u32,
        height: u32,
    ) {
        for (index, region) in regions.iter().enumerate() {
            if owners[index].is_some() {
                continue;
            }
            let area = areas[index];
            // A piece of a thing that was seen is no other thing.
            let is_piece = self
                .tracks
                .iter()
                .any(|track| track.is_thing() && track.thing.area.common(area).pixels() * 2 > area.pixels());
            if area.is_empty() || is_piece {
                continue;
            }
            if self.tracks.push(Track::new(area, region, time, at_border(area, width, height))).is_err() {
                break;
            }
        }
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

    /// Lets two things that are present change their numbers, with all that is known under them: after a merge it
    /// may turn out that each is the other. `false` if one of them is not present.
    pub fn swap(&mut self, a: u64, b: u64) -> bool {
        let place = |id| self.tracks.iter().position(|track| track.thing.id == id && id > 0);
        let (Some(a), Some(b)) = (place(a), place(b)) else { return false };
        if a != b {
            // Where they are changes; what is known of them stays with the numbers.
            self.tracks.swap(a, b);
            let (low, high) = (a.min(b), a.max(b));
            if let (before, [other, ..]) = self.tracks.split_at_mut(high) {
                before[low].swap_history(other);
            }
            self.list();
        }
        true
    }

    fn list(&mut self) {
        self.things.clear();
        for track in self.tracks.iter().filter(|track| track.is_thing()) {
            let mut thing = track.thing.clone();
            thing.area = thing.area.clipped(self.size.0, self.size.1);
            self.things.push(thing).unwrap_or_default();
        }
        self.things.sort_unstable_by_key(|thing| thing.id);
        self.counts.present = self.things.len() as u32;
    }
}

/// How badly a region suits a track: the distance and the differences in size and colour, in 1/256 of its size; `None`
/// where it cannot be.
fn cost(track: &Track, area: Area, colour: Option<[i16; 3]>, (width, height): (u32, u32)) -> Option<i64> {
    // What will be seen of it: a thing that leaves is not the one that comes in where it left.
    let visible = track.predicted.clipped(width, height);
    if area.is_empty() || visible.pixels() * 8 < track.predicted.pixels() {
        return None;
    }
    let size = track.size().max(1);
    let distance = Place::of(area).distance(Place::of(visible));
    let missed = i64::from(track.missed.min(8));
    let slack = (i64::from(width) << 8) / 50;
    let is_known = track.thing.seen >= 5;
    let overlaps = !area.common(visible).is_empty();
    let reach = size * (if is_known { 7 } else { 10 } + missed) / 16 + slack;
    if distance > reach && !(overlaps && !is_known && distance < size * 2) {
        return None;
    }
    let side = |own: u32, other: u32| {
        let (own, other) = (i64::from(own), i64::from(other));
        (own - other).abs() * 256 / own.max(other).max(1)
    };
    let shape = side(visible.width, area.width) + side(visible.height, area.height);
    let tint = match (track.colour, colour) {
        (Some(own), Some(other)) => own.iter().zip(other).map(|(own, other)| i64::from((own - other).abs())).sum(),
        _ => 0,
    };
    // 16 levels weigh as much as a sixteenth of the size; light varies, so more than 64 do not count.
    Some(distance * 256 / size + shape / 2 + tint.min(1024) / 16)
}

fn at_border(area: Area, width: u32, height: u32) -> bool {
    area.x <= 0
        || area.y <= 0
        || area.x as i64 + i64::from(area.width) >= i64::from(width)
        || area.y as i64 + i64::from(area.height) >= i64::from(height)
}
