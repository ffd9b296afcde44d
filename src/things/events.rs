//! From things to events: one is announced once it has a name or has waited for it, updated now and then, and ended once.

use std::time::Duration;

use oltr_scenes::{Area, Ended, Thing, ThingState};

use super::likeness::Likeness;
use super::settings::{CUT_EVERY, MOST_CUTS, PATIENCE};
use super::votes::{Look, Votes};
use crate::decide::Decision;
use crate::decide::consensus::Observation;
use crate::decide::events::{Change, EndReason, Event, Phase};

/// The thing that an event is of.
#[derive(Clone, Copy, Debug)]
pub struct EventThing<'a> {
    /// The thing.
    pub thing: &'a Thing,
    /// Where it was in the best frame of the event.
    pub best: Area,
    /// Cuts of it that were classified.
    pub crops: u32,
}

/// What the stage keeps of a thing.
#[derive(Clone, Debug)]
pub struct Track {
    pub id: u64,
    /// Where it is.
    pub area: Area,
    /// Whether a cut of it now shows it and nothing else.
    clean: bool,
    /// Clean frames since the last cut.
    frames: u32,
    votes: Votes,
    /// What it looks like.
    pub likeness: Likeness,
    event: Event,
    /// The best frame where nothing was classified, the one that shows most of it: where it was, number and nanoseconds.
    largest: (Area, u64, u64),
    announced: bool,
    /// When it was last reported; before that, when it became a thing.
    told: Duration,
}

impl Track {
    /// A thing that was found in frame `frame`.
    pub fn new(thing: &Thing, frame: u64) -> Track {
        let seen = observation(frame, thing.last);
        let (votes, likeness, announced) = Default::default();
        let mut track = Track {
            id: thing.id,
            area: thing.area,
            clean: false,
            // The first clean frame is cut.
            frames: u32::MAX - 1,
            votes,
            likeness,
            event: Event::of_thing(Decision::Unclassified, thing.first, seen),
            largest: (thing.area, frame, nanoseconds(thing.last)),
            announced,
            told: thing.last,
        };
        track.follow(thing, frame);
        track
    }

    /// It is `thing` in frame `frame`.
    pub fn follow(&mut self, thing: &Thing, frame: u64) {
        self.area = thing.area;
        self.clean = thing.clean;
        self.frames = self.frames.saturating_add(u32::from(thing.clean));
        if thing.state == ThingState::Seen && thing.area.pixels() > self.largest.0.pixels() {
            self.largest = (thing.area, frame, nanoseconds(thing.last));
        }
        self.event.last = thing.last;
    }

    /// Whether it is to be cut out of this frame.
    pub fn is_due(&self) -> bool {
        let wanted = self.votes.looks().len() < MOST_CUTS || self.likeness.is_curious();
        self.clean && wanted && self.frames >= CUT_EVERY
    }

    /// All its cuts.
    pub fn votes(&self) -> &[Look] {
        self.votes.looks()
    }

    /// Cuts that were classified.
    pub fn cuts(&self) -> u32 {
        self.votes.looks().len() as u32
    }

    /// A cut was classified.
    pub fn add(&mut self, look: Look) {
        self.frames = 0;
        self.votes.add(look);
    }

    /// Each is the other since they met: exchanges what was seen since.
    pub fn exchange(&mut self, other: &mut Track) {
        let since = |track: &Track| track.likeness.met().map_or(usize::MAX, |(_, cuts)| cuts);
        let (own, others) = (since(self), since(other));
        self.votes.exchange(own, &mut other.votes, others);
        self.likeness.exchange(&mut other.likeness);
        std::mem::swap(&mut self.area, &mut other.area);
        std::mem::swap(&mut self.clean, &mut other.clean);
        std::mem::swap(&mut self.frames, &mut other.frames);
        std::mem::swap(&mut self.event.last, &mut other.event.last);
    }

    /// What its cuts say together.
    pub fn decision(&self) -> Decision {
        self.votes.decision()
    }

    /// The event, where it was announced.
    pub fn announced(&self) -> Option<&Event> {
        self.announced.then_some(&self.event)
    }

    /// The thing is over.
    pub fn end(&mut self, ended: &Ended) {
        self.event.last = ended.thing.last;
    }

    /// What is to be told of a thing that is over: its end, and before it that it was there, where that was not told.
    pub fn finish(&mut self, reason: EndReason, announced: &mut u64) -> [Option<Change>; 2] {
        let new = (!self.announced).then(|| self.announce(announced));
        self.sum_up();
        [new, Some(Change { phase: Phase::End(reason), event: self.event })]
    }

    /// What is to be told of a thing that is present, if it is time.
    pub fn go_on(&mut self, time: Duration, update_every: Duration, announced: &mut u64) -> Option<Change> {
        let change = if !self.announced {
            let named = self.cuts() > 0 || time.saturating_sub(self.told) >= PATIENCE;
            named.then(|| self.announce(announced))
        } else if time.saturating_sub(self.told) >= update_every {
            self.sum_up();
            Some(Change { phase: Phase::Update, event: self.event })
        } else {
            None
        };
        if change.is_some() {
            self.told = time;
        }
        change
    }

    fn announce(&mut self, announced: &mut u64) -> Change {
        *announced += 1;
        self.announced = true;
        self.event.id = *announced;
        self.sum_up();
        Change { phase: Phase::New, event: self.event }
    }

    /// Makes the event what the cuts say now.
    fn sum_up(&mut self) {
        let label = self.votes.decision();
        let (_, frame, time) = self.largest;
        let mut event = Event::of_thing(label, self.event.first, observation(frame, Duration::from_nanos(time)));
        for look in self.votes.supporters(label) {
            event.add_cut(&look.answer);
        }
        (event.id, event.last) = (self.event.id, self.event.last);
        self.event = event;
    }

    /// The thing as an event tells it.
    pub fn told<'a>(&self, thing: &'a Thing) -> EventThing<'a> {
        let best = self.votes.looks().iter().find(|look| look.answer.frame == self.event.best.frame);
        let best = best.map_or(self.largest.0, |look| look.area);
        EventThing { thing, best, crops: self.cuts() }
    }
}

/// What an event says of a scene's reason.
pub fn reason_of(reason: oltr_scenes::EndReason) -> EndReason {
    use oltr_scenes::EndReason as From;
    match reason {
        From::Left => EndReason::Left,
        From::Stayed => EndReason::Stayed,
        From::Camera => EndReason::Camera,
        From::Finished => EndReason::Finished,
        _ => EndReason::Gone,
    }
}

/// Until the clock has run for 584 years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A frame that was not classified.
fn observation(frame: u64, time: Duration) -> Observation {
    let (probability, reachability, nearest) = Default::default();
    let decision = Decision::Unclassified;
    Observation { frame, time, decision, probability, reachability, nearest, named: None }
}
