//! From a consensus to events with a beginning and an end. Pure: time is passed in.
//!
//! An event is announced once the frames have agreed on its label for the rule's minimum duration, updated now and
//! then, and ended when they have not agreed on it for a while. Several can be in progress, one for each label: a
//! stream that wavers between two makes two events, not dozens.

pub mod bursts;
mod told;

use std::time::Duration;

use heapless::Vec;

use super::Decision;
use super::consensus::{Agreed, Consensus, Observation, Rules};
use super::naming::Taxon;
use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::limits::Limits;
use told::ToldNames;

/// Most events that can be in progress at once; [`Limits::open_events`] may say less.
pub const MAX_EVENTS: usize = 16;

/// What one frame can change: each event in progress, and a new one for which another had to end.
pub type Changes = Vec<Change, { MAX_EVENTS + 1 }>;

/// How events are made of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many frames make a consensus.
    pub rules: Rules,
    /// An event ends when the frames have not agreed on its label for this long.
    pub linger: Duration,
    /// A pause in the stream after which nothing before counts: events end, the consensus begins anew.
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

/// One thing that was there for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    /// Counts the events of one run from 1.
    pub id: u64,
    /// A class, or open.
    pub label: Decision,
    /// When the first of its frames was captured.
    pub first: Duration,
    /// When the last one was.
    pub last: Duration,
    /// Frames that said so; those between that did not are not counted.
    pub frames: u64,
    /// The most telling of them: of a class the most probable, of open or an enrolled class the least reachable.
    pub best: Observation,
    sum_probability: f64,
    sum_reachability: f64,
    names: ToldNames,
}

impl Event {
    fn new(label: Decision, first: &Observation) -> Event {
        let (frames, sum_probability, sum_reachability) = (0, 0.0, 0.0);
        let (time, best) = (first.time, *first);
        let names = ToldNames::default();
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

    /// The narrowest name that more than half of its frames were told, themselves or by a narrower one; its probability is
    /// the mean of those at which they were told. `bundle` is the one that told them.
    pub fn taxon<'a>(&self, bundle: &'a Bundle) -> Option<Taxon<'a>> {
        self.names.shared(self.label, self.frames, bundle)
    }

    /// From the first frame to the last.
    pub fn duration(&self) -> Duration {
        self.last.saturating_sub(self.first)
    }

    /// The event of a thing, before any of its cuts counts; `seen` is the frame that shows it best.
    pub(crate) fn of_thing(label: Decision, first: Duration, seen: Observation) -> Event {
        Event { first, ..Event::new(label, &seen) }
    }

    /// Counts a cut that says so, whatever its time.
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
    /// It goes on.
    Update,
    /// It is over.
    End(EndReason),
}

/// Why an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The frames no longer agree on it.
    Gone,
    /// No frames came.
    Silence,
    /// Too many events were in progress; it was the one seen longest ago.
    Crowded,
    /// The stream ended.
    Finished,
    /// A thing left through the border of the picture.
    Left,
    /// A thing stood still until it became ground.
    Stayed,
    /// The picture as a whole changed, and what was in it cannot be followed.
    Camera,
}

impl EndReason {
    /// Its word in output.
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

/// An event and what happened to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// What happened.
    pub phase: Phase,
    /// The event as it is now.
    pub event: Event,
}

/// An event from its first frame on, announced or not yet.
#[derive(Clone, Copy, Debug)]
struct Entry {
    event: Event,
    announced: bool,
    /// When it was last reported.
    told: Duration,
    /// When the frames last agreed on it.
    agreed: Duration,
}

/// The events of one stream.
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
    /// As [`Rules::check`]; [`Error::Config`] if `limits` allow no event.
    pub fn new(bundle: &Bundle, settings: Settings, limits: &Limits) -> Result<Tracker> {
        let consensus = Consensus::new(bundle, settings.rules, settings.gap, limits)?;
        let most = limits.open_events.min(MAX_EVENTS);
        if most == 0 {
            return Err(Error::Config("Limits::open_events is 0: no event could begin".into()));
        }
        Ok(Tracker { settings, consensus, entries: Vec::new(), most, announced: 0, last: None })
    }

    /// Takes one more frame: what the last frames agree on, and what that changes.
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

    /// Ends what the frames do not agree on any more; what was not announced leaves without a word.
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

    /// A consensus begins: with the frames that made it.
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
        let entry = Entry { announced: false, told: now, agreed: now, event };
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
        } else if now.saturating_sub(entry.told) >= self.settings.update_every {
            push(changes, Phase::Update, entry.event);
        } else {
            return;
        }
        entry.told = now;
    }
}

fn push(changes: &mut Changes, phase: Phase, event: Event) {
    // Each event ends or is reported once, and at most one more begins: there is room.
    let pushed = changes.push(Change { phase, event });
    debug_assert!(pushed.is_ok());
}

#[cfg(test)]
mod tests;
