//! Events of oltr with their pictures and features, kept through power cuts and within a quota.
//!
//! [`Store`] is for the one process that writes. [`Reader`] reads at the same time, and from a copied card. [`Reviews`]
//! is the log of people's decisions. `docs/reference/store.md` documents the format.
//!
//! - A record is one line of an append-only segment, with its length and a checksum. Synced bytes are never changed. To
//!   drop evicted records, a new file replaces the segment.
//! - Records stored before a [`Store::sync`] survive a power cut. Later ones may be lost.
//! - Every number of bytes and records has a bound: [`MAX_RECORDS`], [`MAX_CLASSES`](tally::MAX_CLASSES), [`MEMORY_BYTES`].
//! - Time is passed in. Records are ordered by id, so a clock that jumps affects nothing but the days.

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
