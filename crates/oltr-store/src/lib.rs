//! Events of oltr with their pictures and features, kept through power cuts and within a quota.
//!
//! [`Store`] is what the one process has that writes; [`Reader`] reads beside it, from a copied card too; [`Reviews`] is
//! what people decided. `docs/reference/store.md` documents the format.
//!
//! - A record is one line of an append-only segment, with its length and a checksum. What was synced is not touched again,
//!   but to leave out what was given up: then a new file takes the place of the old one.
//! - [`Store::sync`] is the border: what was kept before it survives a power cut, what comes after it may be lost.
//! - Every number of bytes and records has a bound: [`MAX_RECORDS`], [`MAX_CLASSES`](tally::MAX_CLASSES), [`MEMORY_BYTES`].
//! - Time is passed in. The order of records is that of their numbers, so that a clock that jumps changes nothing but what
//!   is said of days.

pub mod budget;
pub mod disk;
mod effort;
mod error;
pub mod feature;
pub mod group;
mod json;
mod line;
mod reader;
mod record;
pub mod reviews;
mod state;
mod store;
pub mod tally;
mod times;
pub mod worth;
pub mod writer;

pub use error::{Error, Result};
pub use reader::{Checked, Finding, Fingerprint, Listed, Reader, Stats, read_picture};
pub use record::{NewRecord, Picture, Record, event_of};
pub use reviews::{Review, Reviews, Said};
pub use store::{
    Counts, MAX_GROUPS, MAX_PICTURE, MAX_RECORDS, MAX_UNSYNCED, MEMORY_BYTES, MIN_QUOTA, Opened, Settings, Store,
    picture_path,
};
pub use tally::Novelty;
pub use writer::Writer;
