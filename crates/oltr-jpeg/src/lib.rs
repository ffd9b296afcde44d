//! JPEG pictures, decoded row by row in the memory of a few rows, in safe Rust.
//!
//! The pixels equal libjpeg-turbo's with its usual settings (and so those of Pillow, OpenCV and browsers), bit for bit:
//! integer transform, interpolated chroma. A picture reduced by a [`Scale`] shows means of pixels, computed from the
//! lowest frequencies. Supports sequential and progressive 8-bit pictures with Huffman codes, one or more scans and any
//! whole sampling. Colours: grey, YCbCr, RGB, and Adobe's inverted CMYK and YCCK without their profile. Also Motion
//! JPEG, which uses the standard's Huffman tables. Ignores bytes after the picture. Accepts a missing end marker if the
//! coded data is complete. Refuses other kinds by name.
//!
//! A picture that lacks data is an error. libjpeg fills it up with gray.
//!
//! ```
//! use oltr_jpeg::{Data, Room, Rows, Scale, ScanIndex, decode};
//!
//! struct Height(usize);
//! impl Rows for Height {
//!     fn row(&mut self, _: [&[u8]; 3]) {
//!         self.0 += 1;
//!     }
//! }
//! # let bytes = include_bytes!("../../../fuzz/seeds/jpeg/gray");
//! let index = ScanIndex::new(bytes)?;
//! let mut height = Height(0);
//! decode(&index, Data::Whole(bytes), Scale::Half, &mut Room::default(), &mut height)?;
//! assert_eq!(height.0, usize::from(index.header.height) / 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![allow(missing_docs, reason = "fields are named by the standard, ITU-T T.81")]

mod bits;
mod blocks;
mod decode;
mod fault;
mod header;
mod huffman;
mod markers;
mod raw;
mod tables;
mod transform;
mod upsample;

pub use decode::{Data, MOST_FOR_SCANS, Room, Rows, Scale, decode};
pub use fault::{Failure, Fault};
pub use header::{Beginning, Color, Header, ScanIndex, begin, size};
pub use markers::{Segment, Segments, name};
pub use raw::ReadAt;
pub use upsample::from_cmyk;
