//! `oltr.Session`: the buffers of one photo at a time, for one thread.

use std::sync::{Arc, Mutex, PoisonError};

use oltr::Model;
use oltr::enrol::Enrolments;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::failure::{detached, in_use, unfit};
use crate::worker::{Lends, Worker};

/// Classes in `top` of an answer unless the caller says how many.
pub const DEFAULT_TOP: usize = 5;

enum State {
    Free(Box<Worker>),
    /// A thread works with it.
    Taken(u32),
    Closed,
}

#[pyclass(frozen, module = "oltr")]
pub struct Session {
    model: Model,
    enrolments: Option<Arc<Enrolments>>,
    state: Mutex<State>,
}

impl Session {
    /// A session of `model` with the classes that are enrolled now.
    ///
    /// # Errors
    /// As [`Worker::new`].
    pub fn make(py: Python<'_>, model: &Model, enrolments: Option<Arc<Enrolments>>) -> PyResult<Session> {
        let worker = detached(py, || Worker::new(model))?;
        Ok(Session { model: model.clone(), enrolments, state: Mutex::new(State::Free(Box::new(worker))) })
    }

    fn replace(&self, state: State) -> State {
        std::mem::replace(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner), state)
    }

    /// Takes the worker for the time of a photo.
    fn take(&self, py: Python<'_>) -> PyResult<Box<Worker>> {
        let process = std::process::id();
        match self.replace(State::Taken(process)) {
            State::Free(worker) if worker.is_ours() => Ok(worker),
            State::Taken(by) if by == process => Err(in_use(py)),
            State::Closed => {
                self.replace(State::Closed);
                Err(unfit(py, "session", "is closed; make a new one with model.session()"))
            }
            // Of the process that forked: its threads are not here to be ended.
            State::Free(worker) => {
                std::mem::forget(worker);
                self.renew(py)
            }
            State::Taken(_) => self.renew(py),
        }
    }

    fn renew(&self, py: Python<'_>) -> PyResult<Box<Worker>> {
        detached(py, || Worker::new(&self.model)).map(Box::new).inspect_err(|_| drop(self.replace(State::Closed)))
    }
}

impl Lends for Session {
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Worker, Option<&Enrolments>) -> oltr::Result<T> + Send,
    ) -> PyResult<T> {
        let mut worker = self.take(py)?;
        let result = detached(py, || work(&mut worker, self.enrolments.as_deref()));
        // Closed meanwhile: it stays so.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*state, State::Closed) {
            *state = State::Free(worker);
        }
        result
    }
}

#[pymethods]
impl Session {
    #[pyo3(signature = (photo, *, top = DEFAULT_TOP))]
    fn classify<'py>(&self, photo: &Bound<'py, PyAny>, top: usize) -> PyResult<Bound<'py, PyAny>> {
        self.tell(photo, top)
    }

    fn run<'py>(&self, photo: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        self.outputs(photo)
    }

    #[getter]
    fn closed(&self) -> bool {
        matches!(*self.state.lock().unwrap_or_else(PoisonError::into_inner), State::Closed)
    }

    fn close(&self) {
        match self.replace(State::Closed) {
            State::Free(worker) if !worker.is_ours() => std::mem::forget(worker),
            _ => {}
        }
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, _args: &Bound<'_, pyo3::types::PyTuple>) {
        self.close();
    }

    fn __repr__(&self) -> String {
        let state = if self.closed() { "closed " } else { "" };
        format!("<{state}oltr.Session of {}>", self.model.name())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close();
    }
}
