//! Things that move before a fixed camera: found, followed, cut out of the full frame, and named: one event a thing.
//!
//! A [`Stage`] stands between a source and a classifier. A [`Scene`] finds and follows things; every few frames the stage
//! cuts one out of the frame as it came (no pixel is copied: a cut is a [`RegionOfInterest`](crate::RegionOfInterest)),
//! lets the classifier see the cut, and makes one answer of all cuts of a thing. `pipeline::run_things` runs it in a
//! stream. What finds things is a [`Finder`]: the motion gate, or a detector.
//!
//! All memory is taken when the stage is made. What is computed follows from the frames and their times alone, unless the
//! budget is that of a live source ([`Budget::live`]).

mod budget;
mod cut;
pub mod detector;
mod events;
mod finder;
mod likeness;
mod settings;
mod stage;
pub mod stills;
mod votes;

pub use budget::Budget;
pub use cut::cut_of;
pub use events::EventThing;
pub use finder::AnyFinder;
pub use oltr_scenes::{
    Area, Camera, Expected, Finder, Gate, MOST_IGNORED, MOST_THINGS, Mask, Region, Regions, Scene, State, Step, Thing,
    ThingState,
};
pub use settings::{CUT_EVERY, CUTS_A_FRAME, MARGIN, MOST_CUTS, PATIENCE, Settings, only};
pub use stage::{Cut, Cuts, Present, Stage, ThingStats, Times};
pub use votes::{Look, Votes};
