//! Inputs of a report.

use std::path::Path;

use oltr::bundle::Bundle;
use oltr::evaluate::Evaluation;
use oltr::inference::Record;
use oltr::labels::Label;
use oltr::{DisplayNames, Error};

/// All that the page is made from.
pub struct Material<'a> {
    /// Classes and rule.
    pub bundle: &'a Bundle,
    /// Display names of the classes.
    pub names: &'a DisplayNames,
    /// The figures.
    pub evaluation: &'a Evaluation,
    /// The photos.
    pub labels: &'a [Label],
    /// Their records.
    pub records: &'a [Record],
    /// The photos that could not be read, with the reason.
    pub failures: &'a [(usize, Error)],
    /// Folder that the photos' paths start from.
    pub images: &'a Path,
    /// Comparisons and gates, in sentences.
    pub remarks: Vec<String>,
}
