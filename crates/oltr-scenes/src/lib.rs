//! Finds things that move before a fixed camera and follows them: frames in, boxes out, time passed in.

mod area;
mod finder;
mod gate;
mod scene;
mod settings;
mod thing;
mod track;
mod tracker;

pub use area::Area;
pub use finder::{Camera, Expected, Finder, MOST_REGIONS, Region, Regions, State};
pub use gate::{Foreground, Gate};
pub use scene::Scene;
pub use settings::{FEWEST_COLUMNS, MOST_COLUMNS, MOST_IGNORED, MOST_THINGS, Mask, Settings};
pub use thing::{EndReason, Ended, MOST_STEPS, Step, Thing, ThingState};
pub use tracker::{Counts, MOST_TRACKS, Tracker};
