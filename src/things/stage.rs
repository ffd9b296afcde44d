//! The stage between a source and a classifier.

use std::time::{Duration, Instant};

use heapless::Vec;
use oltr_scenes::{Area, Camera, MOST_THINGS, Scene, State, ThingState};

use super::budget::Budget;
use super::cut::cut_of;
use super::events::{EventThing, Track, reason_of};
use super::finder::AnyFinder;
use super::settings::Settings;
use super::votes::Look;
use crate::answer::Answer;
use crate::classify::{Classify, concerns_frame};
use crate::decide::Decision;
use crate::decide::consensus::Observation;
use crate::decide::events::{Change, EndReason, Event};
use crate::error::{Error, Result};
use crate::frame::{Frame, Rect, RegionOfInterest};
use crate::limits::Limits;

/// A cut that was classified.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a> {
    /// Number of the thing.
    pub thing: u64,
    /// Which cut of this thing it is, from 1.
    pub number: u32,
    /// The frame, with the cut as its region of interest.
    pub frame: &'a Frame,
    /// What the cut shows of the frame.
    pub region: Rect,
    /// Where the thing is in the frame.
    pub area: Area,
    /// What the classifier says of it.
    pub answer: Answer<'a>,
    /// Number of the burst, where the frame is a photo.
    pub burst: Option<u64>,
}

/// A thing that is present.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Present {
    /// Its number.
    pub id: u64,
    /// Where it is, in pixels of the source; foretold where it was not seen.
    pub area: Area,
    /// Whether it was seen.
    pub state: ThingState,
    /// What its cuts say together so far; [`Decision::Unclassified`] without one.
    pub decision: Decision,
}

/// What became of cuts: `asked = classified + skipped`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    /// Cuts whose turn it was.
    pub asked: u64,
    /// Cuts that were classified.
    pub classified: u64,
    /// Cuts that there was no time for, or that could not be classified.
    pub skipped: u64,
}

/// What there is to say of things as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThingStats {
    /// What the finder knows of the picture as a whole.
    pub state: State,
    /// Things that are present.
    pub present: u32,
    /// Things that there ever were.
    pub seen: u64,
    /// Things that there was no room for, each once.
    pub crowded: u64,
    /// Frames in which nothing could be found: settling, dark, covered.
    pub blind: u64,
    /// What became of cuts.
    pub cuts: Cuts,
}

/// Times of one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Finding and following.
    pub find: Duration,
    /// Cuts to the network's input, all together.
    pub preprocess: Duration,
    /// The network, all cuts together.
    pub inference: Duration,
    /// The network, the cut that took longest.
    pub longest: Duration,
    /// Cuts that were classified.
    pub cuts: u32,
}

/// Finds things, follows them, lets cuts of them be classified, and makes events.
#[derive(Debug)]
pub struct Stage {
    scene: Scene<AnyFinder>,
    settings: Settings,
    budget: Budget,
    tracks: Vec<Track, MOST_THINGS>,
    present: Vec<Present, MOST_THINGS>,
    cuts: Cuts,
    /// Events announced.
    announced: u64,
    times: Times,
    /// Time of the last frame, where things may go on after it.
    last: Option<Duration>,
    /// Whether what ended last did because no frames came.
    silent: bool,
}

impl Stage {
    /// A stage with the motion gate.
    ///
    /// # Errors
    /// As [`Settings::check`]; [`Error::Limit`] for more things than `limits.open_events`.
    pub fn new(settings: &Settings, budget: Budget, limits: &Limits) -> Result<Stage> {
        settings.check()?;
        let gate = oltr_scenes::Gate::new(&settings.scene)?;
        Stage::with_finder(AnyFinder::new(gate), settings, budget, limits)
    }

    /// A stage with a finder of your own.
    ///
    /// # Errors
    /// As [`Stage::new`].
    pub fn with_finder(finder: AnyFinder, settings: &Settings, budget: Budget, limits: &Limits) -> Result<Stage> {
        settings.check()?;
        let scene = Scene::with_finder(finder, &settings.scene, limits)?;
        let (tracks, present, cuts, announced, times, last, silent) = Default::default();
        let settings = settings.clone();
        Ok(Stage { scene, settings, budget, tracks, present, cuts, announced, times, last, silent })
    }

    /// Bytes of memory that it takes, now and later.
    pub fn bytes(&self) -> usize {
        size_of::<Stage>() - size_of_val(&self.scene) + self.scene.bytes()
    }

    /// Looks at the next frame, at the time of its stamp, and lets `classifier` see cuts. `told` gets each cut that was
    /// classified, `failed` each error that concerns one cut alone. The region of interest of `frame` is as it was
    /// afterwards; of a region in it nothing is taken but the rotation: see [`only`](super::only).
    ///
    /// `now` is the time at which the work begins, on any clock that goes on meanwhile.
    ///
    /// # Errors
    /// As [`Scene::look`] and [`Classify::classify`]; those of `told` and `failed`.
    pub fn look(
        &mut self,
        frame: &mut Frame,
        classifier: &mut dyn Classify,
        now: Duration,
        told: &mut dyn FnMut(&Cut) -> Result<()>,
        failed: &mut dyn FnMut(&Error) -> Result<()>,
    ) -> Result<()> {
        let (start, stamp) = (Instant::now(), frame.stamp());
        self.times = Times::default();
        self.budget.begin(now);
        let time = Duration::from_nanos(stamp.mono_ns);
        let roi = frame.geometry().roi;
        // Finders see the whole frame as it is stored: boxes are in its pixels.
        frame.set_roi(RegionOfInterest::default());
        let found = self.scene.look(frame, time);
        frame.set_roi(roi);
        found?;
        (self.last, self.silent) = (Some(time), false);
        self.follow(stamp.seq);
        self.meet();
        self.times.find = start.elapsed();
        self.budget.spend(self.times.find);
        let result = self.cut(frame, roi, classifier, told, failed);
        frame.set_roi(roi);
        self.settle();
        self.list();
        result
    }

    /// Brings the tracks up to what the scene knows.
    fn follow(&mut self, frame: u64) {
        for thing in self.scene.things() {
            match self.tracks.iter_mut().find(|track| track.id == thing.id) {
                Some(track) => track.follow(thing, frame),
                // There is a place for each: the scene has no more things, and what ended before was told and is gone.
                None => {
                    let _ = self.tracks.push(Track::new(thing, frame));
                }
            }
        }
    }

    /// Takes note of things that are in one piece with another.
    fn meet(&mut self) {
        let things = self.scene.things();
        for merged in things.iter().filter(|thing| thing.state == ThingState::Merged) {
            let common = |other: &&oltr_scenes::Thing| merged.area.common(other.area).pixels();
            let others = things.iter().filter(|other| other.id != merged.id && common(other) > 0);
            let Some(other) = others.max_by_key(common) else { continue };
            for (one, met) in [(merged.id, other.id), (other.id, merged.id)] {
                if let Some(track) = self.tracks.iter_mut().find(|track| track.id == one) {
                    let cuts = track.votes().len();
                    track.likeness.meet(met, cuts);
                }
            }
        }
    }

    /// Has things that met change their numbers where each looks like the other did.
    fn settle(&mut self) {
        for place in 0..self.tracks.len() {
            let Some((met, _)) = self.tracks[place].likeness.met() else { continue };
            let other = self.tracks.iter().position(|track| track.id == met);
            // The other one is gone, or met a third one since: who is who is not known any more.
            let Some(other) = other
                .filter(|other| self.tracks[*other].likeness.met().map(|(met, _)| met) == Some(self.tracks[place].id))
            else {
                self.tracks[place].likeness.part();
                continue;
            };
            let (low, high) = (place.min(other), place.max(other));
            let (before, behind) = self.tracks.split_at_mut(high);
            let (one, two) = (&mut before[low], &mut behind[0]);
            let Some(crossed) = one.likeness.is_crossed(&two.likeness) else { continue };
            if crossed && self.scene.swap(one.id, two.id) {
                log::debug!("things {} and {} are each other since they met", one.id, two.id);
                one.exchange(two);
            }
            one.likeness.part();
            two.likeness.part();
        }
    }

    /// Lets those things be classified whose turn it is: first those with the fewest cuts.
    fn cut(
        &mut self,
        frame: &mut Frame,
        roi: RegionOfInterest,
        classifier: &mut dyn Classify,
        told: &mut dyn FnMut(&Cut) -> Result<()>,
        failed: &mut dyn FnMut(&Error) -> Result<()>,
    ) -> Result<()> {
        let mut due: Vec<(u32, u64, usize), MOST_THINGS> = Vec::new();
        for (place, track) in self.tracks.iter().enumerate() {
            if track.is_due() {
                let _ = due.push((track.cuts(), track.id, place));
            }
        }
        due.sort_unstable();
        self.cuts.asked += due.len() as u64;
        let mut done = 0;
        let mut result = Ok(());
        for (_, id, place) in &due {
            if !self.budget.allows() {
                break;
            }
            let track = &mut self.tracks[*place];
            let (width, height) = (frame.width(), frame.height());
            let Some(region) = cut_of(track.area, self.settings.margin, width, height) else { continue };
            frame.set_roi(RegionOfInterest { region: Some(region), rotation: roi.rotation });
            let begin = Instant::now();
            classifier.about(*id);
            let answer = classifier.classify(frame);
            self.budget.cut(begin.elapsed());
            match answer {
                Ok(answer) => {
                    self.times.preprocess += answer.preprocess;
                    self.times.inference += answer.inference;
                    self.times.longest = self.times.longest.max(answer.inference);
                    self.times.cuts += 1;
                    let stamp = frame.stamp();
                    track.add(Look {
                        answer: Observation {
                            frame: stamp.seq,
                            time: Duration::from_nanos(stamp.mono_ns),
                            decision: answer.decision,
                            probability: answer.probability,
                            reachability: answer.reachability,
                            nearest: answer.nearest.class as u32,
                            named: answer.taxon.map(Into::into),
                        },
                        area: track.area,
                    });
                    done += 1;
                    let (number, area) = (track.cuts(), track.area);
                    result = told(&Cut { thing: *id, number, frame, region, area, answer, burst: None });
                    if let Some(outputs) = classifier.outputs() {
                        track.likeness.add(&outputs.features);
                    }
                }
                // One cut's fault.
                Err(e) if concerns_frame(&e) => result = failed(&e),
                Err(e) => result = Err(e),
            }
            if result.is_err() {
                break;
            }
        }
        self.cuts.classified += done;
        self.cuts.skipped += due.len() as u64 - done;
        result
    }

    fn list(&mut self) {
        self.present.clear();
        for thing in self.scene.things() {
            let decision = self.track(thing.id).map_or(Decision::Unclassified, |track| track.decision());
            let _ = self.present.push(Present { id: thing.id, area: thing.area, state: thing.state, decision });
        }
    }

    fn track(&self, id: u64) -> Option<&Track> {
        self.tracks.iter().find(|track| track.id == id)
    }

    /// Tells `tell` what the last frame, of `time`, changed: things that are announced, go on, or ended. Each that is
    /// announced ends once.
    ///
    /// # Errors
    /// Those of `tell`.
    pub fn tell(&mut self, time: Duration, tell: &mut dyn FnMut(&Change, &EventThing) -> Result<()>) -> Result<()> {
        for place in 0..self.scene.ended().len() {
            let ended = &self.scene.ended()[place];
            let Some(at) = self.tracks.iter().position(|track| track.id == ended.thing.id) else { continue };
            let mut track = self.tracks.swap_remove(at);
            track.end(ended);
            let reason = if self.silent { EndReason::Silence } else { reason_of(ended.reason) };
            for change in track.finish(reason, &mut self.announced).iter().flatten() {
                tell(change, &track.told(&ended.thing))?;
            }
        }
        for thing in self.scene.things() {
            let Some(track) = self.tracks.iter_mut().find(|track| track.id == thing.id) else { continue };
            if let Some(change) = track.go_on(time, self.settings.update_every, &mut self.announced) {
                tell(&change, &track.told(thing))?;
            }
        }
        Ok(())
    }

    /// Ends all things because no frames will come: [`Stage::tell`] then tells it.
    pub fn finish(&mut self) {
        self.scene.finish();
        self.present.clear();
        self.last = None;
    }

    /// Time has passed without a frame. Whether that was so long that all things ended: [`Stage::tell`] then tells it.
    pub fn silence(&mut self, now: Duration) -> bool {
        let is_long = self.last.is_some_and(|last| now.saturating_sub(last) > self.settings.gap);
        if is_long {
            self.finish();
            self.silent = true;
        }
        is_long
    }

    /// The things that are present, by number.
    pub fn present(&self) -> &[Present] {
        &self.present
    }

    /// The announced events in progress.
    pub fn in_progress(&self) -> impl Iterator<Item = &Event> {
        self.tracks.iter().filter_map(Track::announced)
    }

    /// A change of the camera that the last frame showed.
    pub fn camera(&self) -> Option<Camera> {
        self.scene.camera()
    }

    /// How long the last frame took.
    pub fn times(&self) -> Times {
        self.times
    }

    /// What there is to say of things as a whole.
    pub fn stats(&self) -> ThingStats {
        let counts = self.scene.counts();
        ThingStats {
            state: self.scene.state(),
            present: counts.present,
            seen: counts.seen,
            crowded: counts.crowded,
            blind: counts.blind,
            cuts: self.cuts,
        }
    }
}
