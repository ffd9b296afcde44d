//! `--report DIR`: an evaluation as one page that needs nothing but a browser, and all answers as a table.

mod answers;
mod classes;
mod gallery;
mod html;
mod matrix;
mod page;
mod plots;
mod terms;
mod thumbnails;

use std::path::{Path, PathBuf};

use oltr::bundle::{Bundle, Names};
use oltr::evaluate::Evaluation;
use oltr::labels::Label;
use oltr::survey::{Record, answers};
use oltr::{Error, Limits, Result, atomic};

/// Name of the page in the folder.
const PAGE: &str = "report.html";

/// Name of the table of all answers in the folder.
const ANSWERS: &str = "answers.csv";

/// All that the page is made from.
pub struct Material<'a> {
    /// Classes and rule.
    pub bundle: &'a Bundle,
    /// What the classes are called.
    pub names: &'a Names,
    /// The figures.
    pub evaluation: &'a Evaluation,
    /// The photos.
    pub labels: &'a [Label],
    /// What came out for them.
    pub records: &'a [Record],
    /// The photos that could not be read, with the reason.
    pub failures: &'a [(usize, Error)],
    /// Folder that the photos' paths start from.
    pub images: &'a Path,
    /// What was compared and required, in sentences.
    pub remarks: Vec<String>,
}

/// The files of a report.
#[derive(Clone, Debug)]
pub struct Written {
    /// The page.
    pub page: PathBuf,
    /// The table of all answers.
    pub answers: PathBuf,
}

/// Writes page and table into `folder`, which is made where it is missing.
///
/// # Errors
/// [`Error::Io`], [`Error::NotFound`]; [`Error::Internal`] if a plot cannot be drawn.
pub fn write(folder: &Path, material: &Material, limits: &Limits) -> Result<Written> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let answers = answers(material.bundle, material.records);
    let page = page::page(material, &answers, limits)?;
    let table = answers::table(material, &answers)?;
    let written = Written { page: folder.join(PAGE), answers: folder.join(ANSWERS) };
    atomic::write(&written.page, page.as_bytes())?;
    atomic::write(&written.answers, &table)?;
    Ok(written)
}
