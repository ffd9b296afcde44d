//! One track: where a thing was, how it moves, and where it will be.

use std::time::Duration;

use heapless::Vec;

use crate::finder::Region;
use crate::thing::{MOST_STEPS, Step, Thing, ThingState};
use crate::{Area, Settings};

/// Fraction bits of places, sizes and speeds.
const FRACTION: u32 = 8;
/// Share of a surprise that place, speed and size take, in 1/16.
const PLACE: i64 = 10;
const SPEED: i64 = 5;
const SIZE: i64 = 3;
/// Frames that a thing must be seen in.
const HITS: u32 = 5;
/// How long it must be seen, at least.
const LONG: Duration = Duration::from_millis(400);
/// How far a thing must come at least, and how far where the ground is young or restless, in 1/100 of the frame's width.
const FAR: i64 = 5;
const VERY_FAR: i64 = 12;
/// How far a thing must come at least, in distances between where it was expected and where it was seen, and how far where
/// the ground is young or restless.
const SURPRISE: i64 = 20;
const GREAT_SURPRISE: i64 = 30;
/// From here on, in 1/255, a place is restless.
const RESTLESS: u32 = 8;
/// Of the outline of a thing so much is its own at least, and so much where the ground is young or restless, in 1/255.
const OUTLINE: u32 = 115;
const CLEAR_OUTLINE: u32 = 125;
/// What is larger than so many hundredths of the frame's width needs to come no further than what is of that size: there is no room.
/// Where nearly all of its outline is its own it may fill less of its box.
const LARGE: i64 = 40;
const OWN_OUTLINE: u32 = 170;
const LIMB: u32 = 100;
/// It fills so much of its box, in 1/256, and its sides change from frame to frame by less than so many hundredths of its
/// size.
const FILL: u32 = 140;
const CHANGE: i64 = 33;
/// A thing goes in steps, not in one leap: two ways are so many of its longest steps at least.
const LEAPS: i64 = 5;
/// A thing leaps no further than so many of its sizes from one frame to the next, and its luma and chroma stay as they are but
/// for so much together, in sixteenths of a level.
const LEAP: i64 = 2;
const LEAP_TINT: i32 = 24 << 4;
/// How long a ghost must stand still to be one.
const GHOST: Duration = Duration::from_secs(2);
/// How long the ground is young, and a thing must come further.
pub const YOUNG: Duration = Duration::from_secs(10);
/// How long a thing may be of another size before that is its size.
const RESIZE: Duration = Duration::from_millis(1000);

/// A place in 1/256 of a pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub x: i64,
    pub y: i64,
}

impl Place {
    pub fn of(area: Area) -> Place {
        let middle = |start: i32, length: u32| (i64::from(start) << FRACTION) + (i64::from(length) << (FRACTION - 1));
        Place { x: middle(area.x, area.width), y: middle(area.y, area.height) }
    }

    /// The distance to another, in 1/256 of a pixel.
    pub fn distance(self, other: Place) -> i64 {
        let (x, y) = ((self.x - other.x).unsigned_abs(), (self.y - other.y).unsigned_abs());
        x.saturating_mul(x).saturating_add(y.saturating_mul(y)).isqrt() as i64
    }

    fn step(self, time: Duration) -> Step {
        Step { time, x: (self.x >> FRACTION) as i32, y: (self.y >> FRACTION) as i32 }
    }
}

/// What is known of something that may be a thing; it is one once its number is not 0.
#[derive(Clone, Debug)]
pub struct Track {
    pub thing: Thing,
    /// Where it is, by filter, and how fast, a second.
    pub place: Place,
    pub speed: Place,
    /// Its size when it is seen whole.
    pub width: i64,
    pub height: i64,
    /// Where it will be in the frame that comes.
    pub predicted: Area,
    /// When the place was that of the filter.
    time: Duration,
    /// Frames since it was seen first.
    pub frames: u32,
    /// Frames since it was seen last.
    pub missed: u32,
    /// The length of its path.
    length: i64,
    /// Where `length` was measured to.
    milestone: Place,
    /// Where it came to rest, and when.
    rest: Place,
    rest_since: Duration,
    /// Frames in which it was seen alone, which the sums are of.
    seen_alone: u32,
    /// Sum of how restless the places were that it was seen at.
    restless: u32,
    /// The sum of the distances between where it was expected and where it was seen.
    surprise: i64,
    /// Its colour, where the finder knows it.
    pub colour: Option<[i16; 3]>,
    /// Since when its size is another.
    resized: Option<Duration>,
    /// Sum of how much of its outline was its own, and the same of late: a mean over some eight frames, in 1/4080.
    outline: u32,
    outline_now: u32,
    /// Sum of how much of its box it filled, in 1/256.
    fill: u32,
    /// Sum of how much its sides changed from one frame to the next, and what they were last.
    change: i64,
    sides: (i64, i64),
    /// The longest step from one frame to the next.
    leap: i64,
    /// Whether it is on its way out through the border, and the least of its box that was seen there, in pixels.
    leaving: Option<u64>,
    /// Whether something came in where it left.
    pub left: bool,
    /// Since when it is in one piece with others.
    merged: Option<Duration>,
    /// Whether it came far enough to be a thing when there was no room for one.
    pub crowded: bool,
}

impl Track {
    pub fn new(area: Area, region: &Region, time: Duration, border: bool) -> Track {
        let place = Place::of(area);
        let mut path = Vec::new();
        push(&mut path, place.step(time));
        let thing = Thing {
            id: 0,
            state: ThingState::Seen,
            area,
            first_area: area,
            last_area: area,
            first: time,
            last: time,
            seen: 1,
            merged: 0,
            way: 0,
            path,
            clean: false,
            border,
        };
        Track {
            thing,
            place,
            speed: Place::default(),
            width: i64::from(area.width) << FRACTION,
            height: i64::from(area.height) << FRACTION,
            predicted: area,
            time,
            frames: 1,
            missed: 0,
            length: 0,
            milestone: place,
            rest: place,
            rest_since: time,
            seen_alone: 1,
            restless: region.restless.into(),
            surprise: 0,
            colour: region.colour,
            resized: None,
            outline: region.outline.into(),
            outline_now: u32::from(region.outline) * 16,
            fill: fill_of(region),
            change: 0,
            sides: (i64::from(area.width) << FRACTION, i64::from(area.height) << FRACTION),
            leap: 0,
            leaving: None,
            left: false,
            merged: None,
            crowded: false,
        }
    }

    pub fn is_thing(&self) -> bool {
        self.thing.id > 0
    }

    /// Its longer side, in 1/256 of a pixel.
    pub fn size(&self) -> i64 {
        self.width.max(self.height)
    }

    fn place_at(&self, time: Duration) -> Place {
        let past = (time.saturating_sub(self.time).as_millis().min(10_000)) as i64;
        let at = |place: i64, speed: i64| place.saturating_add(speed.saturating_mul(past) / 1000);
        Place { x: at(self.place.x, self.speed.x), y: at(self.place.y, self.speed.y) }
    }

    /// Sets where it will be at a time.
    pub fn predict(&mut self, time: Duration) {
        self.predicted = self.area_around(self.place_at(time));
    }

    fn area_around(&self, place: Place) -> Area {
        let side = |middle: i64, length: i64| {
            let most = i64::from(i32::MAX / 2);
            let from = ((middle - length / 2) >> FRACTION).clamp(-most, most);
            (from as i32, (length >> FRACTION).clamp(1, most) as u32)
        };
        let ((x, width), (y, height)) = (side(place.x, self.width), side(place.y, self.height));
        Area { x, y, width, height }
    }

    /// Whether a box is so much larger than the thing that there must be something else in it.
    pub fn is_too_large(&self, area: Area) -> bool {
        let (width, height) = (i64::from(area.width) << FRACTION, i64::from(area.height) << FRACTION);
        self.thing.seen >= 5
            && (width * 2 > self.width * 3 + (8 << FRACTION) || height * 2 > self.height * 3 + (8 << FRACTION))
    }

    /// Whether a box is hardly larger than the thing, so that there is no room for another one beside it.
    pub fn holds(&self, area: Area) -> bool {
        let (width, height) = (i64::from(area.width) << FRACTION, i64::from(area.height) << FRACTION);
        width * 4 <= self.width * 5 + (4 << FRACTION) && height * 4 <= self.height * 5 + (4 << FRACTION)
    }

    /// How far a thing would have leapt if it were what is seen in a box, which looks like it.
    pub fn leaps_to(&self, area: Area, colour: Option<[i16; 3]>) -> Option<i64> {
        let is_like = |own: i64, other: u32| {
            let other = i64::from(other) << FRACTION;
            (own - other).abs() * 4 <= own.max(other)
        };
        let (own, seen) = (self.colour?, colour?);
        let tint: i32 = own.iter().zip(seen).map(|(own, seen)| i32::from(*own) - i32::from(seen)).map(i32::abs).sum();
        let leap = Place::of(area).distance(self.place);
        (self.thing.seen >= 2 * HITS
            && is_like(self.width, area.width)
            && is_like(self.height, area.height)
            && tint <= LEAP_TINT
            && leap <= self.size() * LEAP)
            .then_some(leap)
    }

    /// How long it has been in one piece with others.
    pub fn merges(&self, time: Duration) -> Duration {
        self.merged.map_or(Duration::ZERO, |since| time.saturating_sub(since))
    }

    /// Takes what was seen of it, alone.
    pub fn see(&mut self, area: Area, region: &Region, time: Duration, border: bool, frame: (u32, u32)) {
        let is_large = !border && !self.thing.border && self.is_too_large(area);
        if is_large {
            let since = *self.resized.get_or_insert(time);
            if time.saturating_sub(since) < RESIZE {
                // Something else is in the box: only its way is believed, as far as the box holds it.
                self.carry(area, time, ThingState::Merged);
                return;
            }
        }
        (self.resized, self.merged) = (None, None);
        let seen = Place::of(area);
        let ahead = self.place_at(time);
        // At the border only a part is seen, which is compared with the same part of what was expected.
        let visible = self.predicted.clipped(frame.0, frame.1);
        let foreseen = if border && !visible.is_empty() { Place::of(visible) } else { ahead };
        let past = time.saturating_sub(self.time).as_millis().clamp(1, 10_000) as i64;
        let (dx, dy) = (seen.x - foreseen.x, seen.y - foreseen.y);
        // The first speed is a guess.
        if self.thing.seen > 2 {
            self.surprise = self.surprise.saturating_add(seen.distance(foreseen));
        }
        if self.thing.seen == 1 {
            self.place = seen;
            self.speed = Place { x: dx * 1000 / past * 3 / 4, y: dy * 1000 / past * 3 / 4 };
        } else if self.is_thing() && !border && seen.distance(foreseen) * 4 > self.size() * 3 {
            // It took off: what it did before says nothing.
            let last = Place::of(self.thing.last_area);
            self.speed = Place { x: (seen.x - last.x) * 1000 / past, y: (seen.y - last.y) * 1000 / past };
            self.place = seen;
        } else {
            self.place = Place { x: ahead.x + dx * PLACE / 16, y: ahead.y + dy * PLACE / 16 };
            self.speed.x += dx * SPEED * 1000 / (16 * past);
            self.speed.y += dy * SPEED * 1000 / (16 * past);
        }
        let (width, height) = (i64::from(area.width) << FRACTION, i64::from(area.height) << FRACTION);
        if border || self.thing.border || is_large {
            // At the border its true size is at least what is seen of it.
            (self.width, self.height) = if border && !is_large && self.thing.seen > 3 {
                (self.width.max(width), self.height.max(height))
            } else {
                (width, height)
            };
        } else {
            self.width += (width - self.width) * SIZE / 16;
            self.height += (height - self.height) * SIZE / 16;
        }
        if let Some(last) = self.thing.path.last() {
            let last = Place { x: i64::from(last.x) << FRACTION, y: i64::from(last.y) << FRACTION };
            self.leap = self.leap.max(seen.distance(last) / (i64::from(self.missed) + 1));
        }
        self.time = time;
        self.missed = 0;
        self.outline = self.outline.saturating_add(region.outline.into());
        self.outline_now = (self.outline_now * 7 + u32::from(region.outline) * 16) / 8;
        self.fill = self.fill.saturating_add(fill_of(region));
        self.change = self.change.saturating_add((width - self.sides.0).abs() + (height - self.sides.1).abs());
        self.sides = (width, height);
        self.leave(area, border, frame);
        self.seen_alone = self.seen_alone.saturating_add(1);
        self.restless = self.restless.saturating_add(region.restless.into());
        if let (Some(known), Some(now)) = (&mut self.colour, region.colour) {
            for (known, now) in known.iter_mut().zip(now) {
                *known += (now - *known) / 4;
            }
        }
        let thing = &mut self.thing;
        (thing.area, thing.last_area, thing.last, thing.state) = (area, area, time, ThingState::Seen);
        thing.seen = thing.seen.saturating_add(1);
        (thing.border, thing.clean) = (border, !border);
        push(&mut thing.path, seen.step(time));
        let way = seen.distance(Place::of(thing.first_area));
        thing.way = thing.way.max((way >> FRACTION) as u32);
        // Small steps are noise: the path is measured in quarters of the size.
        let quarter = self.size() / 4;
        let step = seen.distance(self.milestone);
        if step > quarter {
            self.length += step;
            self.milestone = seen;
        }
        if seen.distance(self.rest) > quarter {
            (self.rest, self.rest_since) = (seen, time);
        }
    }

    /// Takes that it was not seen, or in one box with something else, in which it is held.
    pub fn carry(&mut self, within: Area, time: Duration, state: ThingState) {
        let mut ahead = self.place_at(time);
        if state == ThingState::Merged {
            let hold = |place: i64, start: i32, length: u32, own: i64| {
                let (from, to) = (i64::from(start) << FRACTION, (i64::from(start) + i64::from(length)) << FRACTION);
                let half = (own / 2).min((to - from) / 2);
                place.clamp(from + half, to - half)
            };
            ahead.x = hold(ahead.x, within.x, within.width, self.width);
            ahead.y = hold(ahead.y, within.y, within.height, self.height);
            self.thing.merged = self.thing.merged.saturating_add(1);
            self.merged.get_or_insert(time);
            self.thing.last = time;
            self.missed = 0;
        } else {
            self.missed = self.missed.saturating_add(1);
        }
        (self.place, self.time) = (ahead, time);
        self.thing.state = state;
        self.thing.clean = false;
        self.thing.area = self.area_around(ahead);
    }

    /// Whether it came far enough to be a thing, in a frame of this width; `warm` once the ground is known for long.
    pub fn has_come_far(&self, settings: &Settings, warm: bool, width: u32) -> bool {
        let way = i64::from(self.thing.way) << FRACTION;
        let times = |factor: f32| (self.size() as f64 * f64::from(factor)) as i64;
        let share = |hundredths: i64| (i64::from(width) << FRACTION) * hundredths / 100;
        let large = share(LARGE);
        let mut wanted = times(settings.min_way);
        if self.size() > large {
            wanted = (large as f64 * f64::from(settings.min_way)) as i64;
        }
        let is_doubtful = !warm || self.restless >= RESTLESS.saturating_mul(self.seen_alone);
        if settings.min_way > 0.0 {
            wanted = wanted.max(share(if is_doubtful { VERY_FAR } else { FAR }));
            // What is seen elsewhere than expected again and again is many things that come and go. Two fifths of a cell
            // are the rounding of boxes to cells.
            let cell = (i64::from(width) << FRACTION) / i64::from(settings.columns.min(width).max(1));
            let surprise = self.surprise / i64::from(self.thing.seen.max(1)) - cell * 2 / 5;
            wanted = wanted.max(surprise * if is_doubtful { GREAT_SURPRISE } else { SURPRISE });
        }
        let straight = if is_doubtful { 7 } else { 4 };
        self.thing.seen >= HITS
            && self.thing.last.saturating_sub(self.thing.first) >= LONG
            && way >= wanted
            && way * 10 >= self.length * straight
            && way * 2 >= self.leap * LEAPS
            && u64::from(self.thing.seen) * 10 >= u64::from(self.frames) * 6
            && self.looks_like_one(if is_doubtful { CLEAR_OUTLINE } else { OUTLINE }, self.size() > large)
    }

    /// Whether it looks like one thing that is in front of the ground: its outline is its own, it keeps its size, and it
    /// fills its box. Blades that come and go do not.
    fn looks_like_one(&self, outline: u32, large: bool) -> bool {
        let seen = self.seen_alone.max(1);
        // An arm lies across its box.
        let is_limb = large && self.outline >= OWN_OUTLINE.saturating_mul(seen);
        let fill = if is_limb { LIMB } else { FILL };
        self.outline >= outline.saturating_mul(seen)
            && self.fill >= fill.saturating_mul(seen)
            && self.change * 100 < self.size().saturating_mul(CHANGE * i64::from(seen))
    }

    /// Whether it is rather the place that something left, or that looks otherwise since: of late its outline is the
    /// ground's, and it does not move.
    pub fn is_ghost(&self, time: Duration) -> bool {
        self.outline_now < OUTLINE * 16 && self.rests(time) >= GHOST
    }

    /// Whether a box at the border is not that of the thing, which was about to leave there: more is seen again.
    pub fn has_left(&self, area: Area) -> bool {
        let whole = ((self.width >> FRACTION) * (self.height >> FRACTION)).max(1) as u64;
        self.leaving.is_some_and(|least| {
            least * 5 < whole * 3 && area.pixels() * 2 > least * 3 && area.pixels() > least + whole / 6
        })
    }

    /// Notes whether it is on its way out.
    fn leave(&mut self, area: Area, border: bool, frame: (u32, u32)) {
        let right = i64::from(area.x) + i64::from(area.width) >= frame.0.into();
        let bottom = i64::from(area.y) + i64::from(area.height) >= frame.1.into();
        // Straight out rather than along: what swims along the border dips out of the picture and comes back.
        let goes = |low: bool, high: bool, speed: i64, along: i64, size: i64| {
            (low && speed < 0 || high && speed > 0) && speed.abs() * 2 > size && speed.abs() > along.abs()
        };
        let is_leaving = border
            && self.thing.seen >= HITS
            && (goes(area.x <= 0, right, self.speed.x, self.speed.y, self.width)
                || goes(area.y <= 0, bottom, self.speed.y, self.speed.x, self.height));
        self.leaving = match self.leaving {
            Some(least) if border => Some(least.min(area.pixels())),
            None if is_leaving => Some(area.pixels()),
            _ => None,
        };
    }

    /// Gives another track what is known under this one's number, and takes its own.
    pub fn swap_history(&mut self, other: &mut Track) {
        let (a, b) = (&mut self.thing, &mut other.thing);
        std::mem::swap(&mut a.id, &mut b.id);
        std::mem::swap(&mut a.first, &mut b.first);
        std::mem::swap(&mut a.first_area, &mut b.first_area);
        std::mem::swap(&mut a.seen, &mut b.seen);
        std::mem::swap(&mut a.merged, &mut b.merged);
        std::mem::swap(&mut a.way, &mut b.way);
        std::mem::swap(&mut a.path, &mut b.path);
    }

    /// How long it has been where it is.
    pub fn rests(&self, time: Duration) -> Duration {
        time.saturating_sub(self.rest_since)
    }

    /// How long it may be out of sight.
    pub fn patience(&self) -> Duration {
        let known = self.thing.last.saturating_sub(self.thing.first);
        if self.is_thing() {
            (known / 2).clamp(Duration::from_millis(500), Duration::from_millis(1500))
        } else {
            Duration::from_millis(250)
        }
    }
}

/// How much of its box a region fills, in 1/256.
fn fill_of(region: &Region) -> u32 {
    (region.pixels.saturating_mul(256) / region.area.pixels().max(1)).min(256) as u32
}

/// Adds a point. When the path is full, the point whose neighbours are closest in time goes: the first and the last stay,
/// and those between lie evenly.
fn push(path: &mut Vec<Step, MOST_STEPS>, next: Step) {
    if path.is_full() {
        let gap = |index: usize| path[index + 1].time.saturating_sub(path[index - 1].time);
        if let Some(index) = (1..path.len() - 1).min_by_key(|&index| gap(index)) {
            path.remove(index);
        }
    }
    path.push(next).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether something of 80 pixels that goes 2 a frame, and `jitter` to and fro, has come far after some frames.
    fn has_come_far(jitter: i32, frames: u32) -> bool {
        let frame = (640, 480);
        let at = |step: u32| {
            let x = 100 + 2 * step as i32 + if step.is_multiple_of(2) { jitter } else { -jitter };
            Region::new(Area { x, y: 200, width: 80, height: 60 })
        };
        let time = |step: u32| Duration::from_millis(u64::from(step) * 100);
        let mut track = Track::new(at(0).area, &at(0), time(0), false);
        for step in 1..frames {
            track.predict(time(step));
            track.see(at(step).area, &at(step), time(step), false, frame);
        }
        track.has_come_far(&Settings::default(), true, frame.0)
    }

    #[test]
    fn what_is_not_where_it_was_expected_must_come_further() {
        assert!(!has_come_far(0, 20));
        assert!(has_come_far(0, 32));
        assert!(has_come_far(1, 32), "boxes are rounded to cells");
        assert!(!has_come_far(8, 32));
        assert!(has_come_far(8, 250));
    }
}
