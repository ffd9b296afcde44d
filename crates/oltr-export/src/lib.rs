//! Exports results of [oltr](https://crates.io/crates/oltr) to the formats of ecologists' programs.
//!
//! [`photos`] writes one file about many photos, and resumes after any interruption. [`events`] exports the records of
//! a store to Camtrap DP, MegaDetector's JSON, EcoTaxa's table or CSV, with the fields of a [`Deployment`]. Output is
//! streamed: memory grows by one number for each photo, and not with events.
//!
//! No format gives an open photo or event a name. `docs/guide/exports.md` explains how each represents it.

pub mod deployment;
pub mod events;
pub mod photos;
pub mod record;
mod time;

pub use deployment::Deployment;
pub use record::Record;
