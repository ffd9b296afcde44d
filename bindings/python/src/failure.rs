//! Errors of the library as Python exceptions.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use oltr::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

static RAISED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The exception for `error`.
pub fn raised(py: Python<'_>, error: &Error) -> PyErr {
    exception(py, error.kind().as_str(), &error.to_string())
}

/// The exception for a value of the caller's that does not fit.
pub fn unfit(py: Python<'_>, subject: &str, reason: impl Into<String>) -> PyErr {
    raised(py, &Error::BadInput { subject: subject.into(), reason: reason.into() })
}

/// As [`unfit`], for a value of another type.
pub fn wrong_type(py: Python<'_>, text: &str) -> PyErr {
    exception(py, "bad-type", text)
}

/// The exception for an object that another thread works with.
pub fn in_use(py: Python<'_>) -> PyErr {
    let text = "session: another thread is using it; make a session for each thread, or share the model instead";
    exception(py, ErrorKind::Busy.as_str(), text)
}

fn exception(py: Python<'_>, kind: &str, text: &str) -> PyErr {
    let of = RAISED.get_or_try_init(py, || py.import("oltr._errors")?.getattr("of").map(Bound::unbind));
    match of.and_then(|of| of.bind(py).call1((kind, text))) {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// Runs `work` without the interpreter's lock. What `work` was doing when it panicked is lost with it.
///
/// # Errors
/// The exception for its error, and for a panic.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> oltr::Result<T> + Send) -> PyResult<T> {
    py.detach(|| caught(work)).map_err(|error| raised(py, &error))
}

/// As [`detached`], with the interpreter's lock held: what takes a lock of this crate, and is done at once.
///
/// # Errors
/// As [`detached`].
pub fn attached<T>(py: Python<'_>, work: impl FnOnce() -> oltr::Result<T>) -> PyResult<T> {
    caught(work).map_err(|error| raised(py, &error))
}

fn caught<T>(work: impl FnOnce() -> oltr::Result<T>) -> oltr::Result<T> {
    let result = catch_unwind(AssertUnwindSafe(work));
    result.unwrap_or_else(|panic| Err(Error::Internal(text_of(&*panic))))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text");
    format!("{text}; please report this")
}
