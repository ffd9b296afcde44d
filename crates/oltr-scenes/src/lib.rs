//! Finds things that move before a fixed camera and follows them: frames in, boxes out, time passed in.
//!
//! # The way of one frame
//!
//! A camera on a reef sends 640x480 pixels. A fish swims through, weeds sway, waves throw nets of light on the ground. One
//! call of [`Scene::look`] takes the frame through these steps:
//!
//! 1. **Shrink** (`gate/shrink.rs`). Luma and chroma are averaged into 160x120 cells of whole pixels, in sixteenths of a
//!    level. Noise goes, and so do flakes of snow.
//! 2. **Fit** (`gate/fit.rs`). The *ground* is what each cell looks like when nothing is there. A step of the exposure or a
//!    gust changes all cells at once, so four numbers are fitted: brighter by an offset, brighter by a factor, shifted across,
//!    shifted down. Three rounds, each without the cells that the last one did not explain. The ground with this change is
//!    what the frame should look like.
//! 3. **Score** (`gate/ground.rs`). A cell differs by its luma, by how far it lies outside the luma of its neighbours in
//!    the ground (an edge that moved a little lies inside), and by its chroma. The threshold grows with the noise of the
//!    cell, its slope, how often it goes to and fro, and where the ground only looks lit by another light.
//! 4. **Second ground**. A cell behind a swaying blade has two looks. The other one is kept; once it came back three times
//!    it is ground too, and it takes the first one's place when it is seen more often. So does what stopped for good.
//! 5. **Learn**. Cells that are ground follow the picture slowly, by the clock and not by the frame. Where a thing is,
//!    nothing is learnt.
//! 6. **Pieces** (`gate/pieces.rs`). The majority of 3x3 cells, gaps closed, connected cells: a [`Region`] each, with its
//!    box in pixels of the frame, its colour, and how restless the cells are.
//! 7. **Tracks** (`tracker.rs`, `track.rs`). Each track foretells its box. The region that suits it best in place, size and
//!    colour is its own. Tracks that share a region are *merged*: they coast inside it until it parts. A region that no
//!    track wants begins a new one.
//! 8. **Things**. A track becomes a [`Thing`] once it was seen for long enough and came far enough, in a line that is straight
//!    enough: what sways goes nowhere. It must also look like one thing: its outline is in the frame and not in the ground, it
//!    fills its box, and it goes in steps and not in leaps. More is wanted while the ground is young, and where cells are
//!    restless. A thing ends when it leaves, is lost, or stays so long that it is ground ([`EndReason`]).
//!
//! If more than a third of the cells differ for half a second, the camera itself changed: nothing is found until the picture
//! holds still, and the change is told once ([`Camera`]).
//!
//! # What holds everywhere
//!
//! All memory is taken by [`Scene::new`]. Cells are integers; the four numbers of the fit come from sums in integers
//! and a few products and quotients of double precision, so a frame gives the same boxes on every machine. A detector of your
//! own takes the place of steps 1 to 6 with the trait [`Finder`].
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use oltr_frames::{Frame, Geometry, Limits, PixelFormat};
//! use oltr_scenes::{Scene, Settings};
//!
//! let limits = Limits::default();
//! let mut scene = Scene::new(&Settings::default(), &limits)?;
//! let mut frame = Frame::default();
//! for number in 0..60 {
//!     // A bright square that goes to the right.
//!     let pixels = frame.reshape(Geometry::new(PixelFormat::Gray, 320, 240), &limits)?;
//!     for (index, pixel) in pixels.iter_mut().enumerate() {
//!         let (x, y) = (index % 320, index / 320);
//!         let inside = (4 * number..4 * number + 40).contains(&x) && (100..130).contains(&y);
//!         *pixel = if inside { 220 } else { 90 };
//!     }
//!     scene.look(&frame, Duration::from_millis(100 * number as u64))?;
//! }
//! let thing = &scene.things()[0];
//! assert!(thing.id == 1 && thing.area.x > 200);
//! # Ok::<(), oltr_frames::Error>(())
//! ```

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
