//! The extension module `oltr._oltr`. What it means is told in the Python package around it, `python/oltr`.
//!
//! Work is done without the interpreter's lock, and no panic leaves: `failure` makes an exception of it. Locks of this crate are
//! only taken with the interpreter's lock held, so that a process that forks has none of them taken by another thread.

// The derive macros of PyO3 write functions that are public to the interpreter only.
#![allow(missing_docs, reason = "documented in python/oltr/_oltr.pyi")]

mod calibrate;
mod convert;
mod failure;
mod model;
mod photo;
mod session;
mod stream;
mod worker;

use pyo3::prelude::*;

#[pymodule]
mod _oltr {
    #[pymodule_export]
    use super::model::Model;
    #[pymodule_export]
    use super::session::Session;
    #[pymodule_export]
    use super::stream::Watcher;

    #[pymodule_export]
    use super::calibrate::threshold;

    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
