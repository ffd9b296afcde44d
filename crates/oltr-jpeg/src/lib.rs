//! JPEG pictures, decoded row by row in the memory of a few rows, in safe Rust.
//!
//! The pixels are those of libjpeg-turbo with its usual settings (and so of Pillow, OpenCV and browsers), to the bit:
//! integer transform, interpolated chroma. A picture that is reduced by a [`Scale`] shows means of pixels, as far as the
//! lowest frequencies make them. Sequential and progressive pictures of 8 bits with Huffman codes are read, of one
//! or more scans and any whole sampling: gray, YCbCr, RGB, and CMYK and YCCK as Adobe writes them (inverted), without their
//! colour profile, and Motion JPEG, which means the standard's Huffman tables. What follows a picture is passed over, and an
//! end mark may be missing where no coded data is. Other kinds are refused by their name.
//!
//! A picture that lacks data is an error. libjpeg fills it up with gray.
//!
//! ```
//! use oltr_jpeg::{Data, Room, Rows, Scale, Survey, decode};
//!
//! struct Height(usize);
//! impl Rows for Height {
//!     fn row(&mut self, _: [&[u8]; 3]) {
//!         self.0 += 1;
//!     }
//! }
//! # let bytes = include_bytes!("../../../fuzz/seeds/jpeg/gray");
//! let survey = Survey::new(bytes)?;
//! let mut height = Height(0);
//! decode(&survey, Data::Whole(bytes), Scale::Half, &mut Room::default(), &mut height)?;
//! assert_eq!(height.0, usize::from(survey.header.height) / 2);
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
pub use header::{Beginning, Color, Header, Survey, begin, size};
pub use markers::{Segment, Segments, name};
pub use raw::ReadAt;
pub use upsample::from_cmyk;
