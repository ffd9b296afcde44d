//! `--report DIR`: an evaluation as one self-contained page, and all answers as a table.

mod answers;
mod classes;
mod gallery;
mod html;
mod material;
mod matrix;
mod page;
mod plots;
mod terms;
mod thumbnails;

use std::path::{Path, PathBuf};

pub use material::Material;
use oltr::inference::answers;
use oltr::{Error, Limits, Result, atomic};

/// Name of the page in the folder.
const PAGE: &str = "report.html";

/// Name of the table of all answers in the folder.
const ANSWERS: &str = "answers.csv";

/// The files of a report.
#[derive(Clone, Debug)]
pub struct Written {
    /// The page.
    pub page: PathBuf,
    /// The table of all answers.
    pub answers: PathBuf,
}

/// Writes page and table into `folder`. Creates it if it is missing.
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
