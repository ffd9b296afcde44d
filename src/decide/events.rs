//! Turns the consensus into events with a beginning and an end. Pure: time is passed in.
//!
//! An event is announced once the frames have agreed on its label for the rule's minimum duration. It is updated at
//! intervals, and ends when they have not agreed for a while. Events with different labels can be open at the same
//! time: a stream that wavers between two labels makes two events, not dozens.

pub mod bursts;
mod name_counts;

use std::time::Duration;

use heapless::Vec;

use super::Decision;
use super::consensus::{Agreed, Consensus, Observation, Rules};
use super::naming::Taxon;
use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::limits::Limits;
use name_counts::NameCounts;

/// Most open events. [`Limits::open_events`] may be lower.
pub const MAX_EVENTS: usize = 16;

/// Changes by one frame: one for each open event, and a new event that replaced one.
pub type Changes = Vec<Change, { MAX_EVENTS + 1 }>;

/// Settings of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many frames make a consensus.
    pub rules: Rules,
    /// An event ends when the frames have not agreed on its label for this long.
    pub linger: Duration,
    /// A longer pause ends all events and resets the consensus.
    pub gap: Duration,
    /// The least time from one update of an event to the next.
    pub update_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            rules: Rules::default(),
            linger: Duration::from_secs(2),
            gap: Duration::from_secs(10),
            update_every: Duration::from_secs(1),
        }
    }
}

/// One thing that was in view for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// Number of the event in this run, from 1.
    pub id: u64,
    /// A class, or open.
    pub label: Decision,
    /// When the first of its frames was captured.
    pub first: Duration,
    /// When the last one was.
    pub last: Duration,
    /// Frames that agreed with the label.
    pub frames: u64,
    /// The most typical frame: the most probable one of a class; the least reachable one of open or an enrolled class.
    pub best: Observation,
    sum_probability: f64,
    sum_reachability: f64,
    names: NameCounts,
}

impl Event {
    fn new(label: Decision, first: &Observation) -> Event {
        let (frames, sum_probability, sum_reachability) = (0, 0.0, 0.0);
        let (time, best) = (first.time, *first);
        let names = NameCounts::default();
        Event { id: 0, label, first: time, last: time, frames, best, sum_probability, sum_reachability, names }
    }

    /// Mean probability of its frames, 0..1.
    pub fn mean_probability(&self) -> f32 {
        (self.sum_probability / self.frames.max(1) as f64) as f32
    }

    /// Mean reachability of its frames.
    pub fn mean_reachability(&self) -> f32 {
        (self.sum_reachability / self.frames.max(1) as f64) as f32
    }

    /// The narrowest name that more than half of its frames had, directly or as part of a narrower one. Its probability
    /// is the mean over these frames. `bundle` must be the one that named them.
    pub fn taxon<'a>(&self, bundle: &'a Bundle) -> Option<Taxon<'a>> {
        self.names.shared(self.label, self.frames, bundle)
    }

    /// Duration from the first frame to the last.
    pub fn duration(&self) -> Duration {
        self.last.saturating_sub(self.first)
    }

    /// An event of a thing, before any crop counts. `seen` is the frame that shows it best.
    pub(crate) fn of_thing(label: Decision, first: Duration, seen: Observation) -> Event {
        Event { first, ..Event::new(label, &seen) }
    }

    /// Counts a crop that agrees with the label, at any time.
    pub(crate) fn add_cut(&mut self, o: &Observation) {
        if self.frames == 0 {
            self.best = *o;
        }
        self.add(o);
    }

    fn add(&mut self, o: &Observation) {
        self.last = o.time;
        self.frames += 1;
        self.sum_probability += f64::from(o.probability);
        self.sum_reachability += f64::from(o.reachability);
        if let Some(named) = o.named {
            self.names.add(named);
        }
        let better = match self.label {
            Decision::Known(_) => o.probability > self.best.probability,
            Decision::Enrolled(_) | Decision::Open | Decision::Unclassified => o.reachability < self.best.reachability,
        };
        if better {
            self.best = *o;
        }
    }
}

/// What happened to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is announced.
    New,
    /// It continues.
    Update,
    /// It is over.
    End(EndReason),
}

/// Why an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The frames no longer agree on it.
    Gone,
    /// No frames arrived.
    Silence,
    /// Too many events were open, and this one was seen longest ago.
    Crowded,
    /// The stream ended.
    Finished,
    /// The thing left the picture across its border.
    Left,
    /// The thing stood still until it became background.
    Stayed,
    /// The whole picture changed, so nothing in it can be tracked.
    Camera,
}

impl EndReason {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            EndReason::Gone => "gone",
            EndReason::Silence => "silence",
            EndReason::Crowded => "crowded",
            EndReason::Finished => "finished",
            EndReason::Left => "left",
            EndReason::Stayed => "stayed",
            EndReason::Camera => "camera",
        }
    }
}

/// A change of an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The kind of change.
    pub phase: Phase,
    /// The event after the change.
    pub event: Event,
}

/// An event from its first frame on, announced or not yet.
#[derive(Clone, Copy, Debug)]
struct Entry {
    event: Event,
    announced: bool,
    /// When it was last reported.
    reported: Duration,
    /// When the frames last agreed on it.
    agreed: Duration,
}

/// Tracks the events of one stream.
#[derive(Clone, Debug)]
pub struct Tracker {
    settings: Settings,
    consensus: Consensus,
    entries: Vec<Entry, MAX_EVENTS>,
    most: usize,
    announced: u64,
    /// When the last frame was captured.
    last: Option<Duration>,
}

impl Tracker {
    /// Events of the classes of `bundle`.
    ///
    /// # Errors
    /// As [`Rules::check`]; [`Error::Config`] if `limits` allow no events.
    pub fn new(bundle: &Bundle, settings: Settings, limits: &Limits) -> Result<Tracker> {
        let consensus = Consensus::new(bundle, settings.rules, settings.gap, limits)?;
        let most = limits.open_events.min(MAX_EVENTS);
        if most == 0 {
            return Err(Error::Config("Limits::open_events is 0: no event could begin".into()));
        }
        Ok(Tracker { settings, consensus, entries: Vec::new(), most, announced: 0, last: None })
    }

    /// Adds a frame. Returns the consensus and the changes of events.
    pub fn observe(&mut self, o: &Observation) -> (Option<Agreed>, Changes) {
        let mut changes = self.silence(o.time);
        self.last = Some(o.time);
        let agreed = self.consensus.observe(*o);
        let label = agreed.map(|agreed| agreed.label);
        self.expire(o.time, label, &mut changes);
        if let Some(label) = label {
            match self.entries.iter_mut().find(|entry| entry.event.label == label) {
                Some(entry) if o.decision == label => entry.event.add(o),
                Some(_) => {}
                None => self.begin(label, o.time, &mut changes),
            }
            self.tell(label, o.time, &mut changes);
        }
        (agreed, changes)
    }

    /// Time has passed without a frame.
    pub fn silence(&mut self, now: Duration) -> Changes {
        match self.last {
            Some(last) if now.saturating_sub(last) > self.settings.gap => {
                self.consensus.clear();
                self.last = None;
                self.end_all(EndReason::Silence)
            }
            _ => Changes::new(),
        }
    }

    /// The stream has ended.
    pub fn finish(&mut self) -> Changes {
        self.consensus.clear();
        self.end_all(EndReason::Finished)
    }

    /// The announced events in progress.
    pub fn in_progress(&self) -> impl Iterator<Item = &Event> {
        self.entries.iter().filter(|entry| entry.announced).map(|entry| &entry.event)
    }

    fn end_all(&mut self, reason: EndReason) -> Changes {
        let mut changes = Changes::new();
        for entry in self.entries.iter().filter(|entry| entry.announced) {
            push(&mut changes, Phase::End(reason), entry.event);
        }
        self.entries.clear();
        changes
    }

    /// Ends events that frames have not agreed with for long enough. Events that were not announced are dropped
    /// silently.
    fn expire(&mut self, now: Duration, label: Option<Decision>, changes: &mut Changes) {
        let linger = self.settings.linger;
        self.entries.retain_mut(|entry| {
            if Some(entry.event.label) == label {
                entry.agreed = now;
                return true;
            }
            if !entry.announced {
                return false;
            }
            let stays = now.saturating_sub(entry.agreed) < linger;
            if !stays {
                push(changes, Phase::End(EndReason::Gone), entry.event);
            }
            stays
        });
    }

    /// Begins an event with the frames of its consensus.
    fn begin(&mut self, label: Decision, now: Duration, changes: &mut Changes) {
        let oldest = (0..self.entries.len()).min_by_key(|i| self.entries[*i].agreed);
        if let Some(oldest) = oldest.filter(|_| self.entries.len() >= self.most) {
            let entry = self.entries.swap_remove(oldest);
            if entry.announced {
                push(changes, Phase::End(EndReason::Crowded), entry.event);
            }
        }
        let mut supporters = self.consensus.supporters(label);
        let Some(first) = supporters.next() else { return };
        let mut event = Event::new(label, first);
        event.add(first);
        supporters.for_each(|o| event.add(o));
        let entry = Entry { announced: false, reported: now, agreed: now, event };
        let _ = self.entries.push(entry);
    }

    /// Announces or updates the event of `label`, if it is time.
    fn tell(&mut self, label: Decision, now: Duration, changes: &mut Changes) {
        let min_duration = self.consensus.rule(label).min_duration;
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.event.label == label) else { return };
        if !entry.announced {
            if entry.event.duration() < min_duration {
                return;
            }
            self.announced += 1;
            entry.event.id = self.announced;
            entry.announced = true;
            push(changes, Phase::New, entry.event);
        } else if now.saturating_sub(entry.reported) >= self.settings.update_every {
            push(changes, Phase::Update, entry.event);
        } else {
            return;
        }
        entry.reported = now;
    }
}

fn push(changes: &mut Changes, phase: Phase, event: Event) {
    // Each event changes at most once per frame, and at most one begins, so there is room.
    let pushed = changes.push(Change { phase, event });
    debug_assert!(pushed.is_ok());
}

#[cfg(test)]
mod tests;
