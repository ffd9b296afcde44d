//! What [oltr](https://crates.io/crates/oltr) found, as the files that ecologists' programs read.
//!
//! [`photos`] writes one file about many photos, and goes on with it after any interruption. [`events`] turns the records
//! of a store into Camtrap DP, MegaDetector's JSON, EcoTaxa's table or CSV, with what a [`Deployment`] says of the camera.
//! Everything is written piece by piece: memory does not grow with photos and events, but for one number of each photo.
//!
//! In no format is an open thing given a name: `docs/guide/exports.md` says how each tells it.

pub mod deployment;
pub mod events;
pub mod photos;
pub mod record;
mod time;

pub use deployment::Deployment;
pub use record::Record;
