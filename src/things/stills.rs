//! Photos that a camera takes one after another: what differs from the others is cut out.
//!
//! A trail camera gives bursts rather than video. The ground is the median of the photos of a burst and of the last ones of the
//! same camera; those of day and of night, and of other sizes, are other cameras. What differs from it is cut out of the whole
//! photo. Where there is no ground, or nothing differs, or all does, the network sees the photo as a whole, and the answer
//! says so.
//!
//! A [`StillSource`] looks at small pictures of the photos on their way, those that come next among them, and finds what
//! differs. [`Stills`] lets a classifier see the cuts.

mod album;
mod differ;
mod found;
mod look;
mod small;
mod source;

pub(crate) use album::camera_key;
pub use album::{BURST, LOOK_AHEAD, MOST_CAMERAS};
pub use found::{Found, MOST_GROUND, MOST_SHOWN, Shown, Still, StillThing};
pub use look::{StillTimes, Stills};
pub use source::{Finds, StillSource};
