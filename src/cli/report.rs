//! `--report DIR`: an evaluation as one page that needs nothing but a browser.

mod html;
mod material;
mod matrix;
mod page;
mod plots;
mod thumbnails;

use std::path::Path;

pub use material::Material;
use oltr::survey::answers;
use oltr::{Error, Limits, Result, atomic};

/// Name of the page in the folder.
const FILE: &str = "report.html";

/// Writes the page into `folder`, which is made where it is missing; returns its path.
///
/// # Errors
/// [`Error::Io`], [`Error::NotFound`]; [`Error::Internal`] if a plot cannot be drawn.
pub fn write(folder: &Path, material: &Material, limits: &Limits) -> Result<std::path::PathBuf> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let answers = answers(material.bundle, material.records);
    let page = page::page(material, &answers, limits)?;
    let path = folder.join(FILE);
    atomic::write(&path, page.as_bytes())?;
    Ok(path)
}
