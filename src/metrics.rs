//! The figures of an evaluation as pure functions: the published ones, and what the field reports for open sets.
//!
//! A figure that is not defined (no photo of a group, nothing unknown) is `None`, never 0 or NaN; scores that are not
//! numbers are refused where they come in.

mod bootstrap;
mod calibration_error;
mod mcnemar;
mod open_set;
mod separation;

pub(crate) use bootstrap::quantile;
pub use bootstrap::{Bootstrap, Interval};
pub use calibration_error::{Bin, calibration_error, reliability};
pub use mcnemar::{McNemar, mcnemar};
pub use open_set::{Answer, FMeasure, Tally, by_class, group_mean, macro_mean};
pub(crate) use separation::needed;
pub use separation::{Oscr, Point, Separation};
