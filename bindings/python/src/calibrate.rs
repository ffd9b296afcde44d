//! Thresholds for scores.

use oltr::Error;
use oltr::calibrate::{Target, threshold_of};
use pyo3::prelude::*;

use crate::failure::detached;

/// A threshold, and the shares of known accepted, of open rejected, and the F-measure, where there are such.
type Reached = (f64, Option<f64>, Option<f64>, Option<f64>);

/// The threshold for `target` and what it reaches.
#[pyfunction]
pub fn threshold(py: Python<'_>, known: Vec<f64>, open: Vec<f64>, target: &str) -> PyResult<Reached> {
    detached(py, || {
        let bad = |reason| Error::BadInput { subject: "target".into(), reason };
        let (at, rates) = threshold_of(&known, &open, target.parse::<Target>().map_err(bad)?)?;
        Ok((at, rates.known_accepted, rates.open_rejected, rates.f_measure))
    })
}
