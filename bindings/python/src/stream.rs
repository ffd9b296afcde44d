//! What `oltr.stream` stands on: frames in, answers and events out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oltr::Limits;
use oltr::decide::consensus::{Observation, Rule, Rules};
use oltr::decide::events::{Change, Changes, Phase, Settings, Tracker};
use oltr::enrol::Enrolments;
use oltr::{Error, Names};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyList;

use crate::convert::{Told, number, taxon};
use crate::failure::{detached, in_use, raised, unfit};
use crate::model::Model;
use crate::photo::Photo;
use crate::session::{DEFAULT_TOP, Session};
use crate::worker::Lends;

static EVENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Longest time in seconds: a year.
const MAX_SECONDS: f64 = 366.0 * 86_400.0;

#[pyclass(frozen, module = "oltr._oltr")]
pub struct Watcher {
    model: oltr::Model,
    enrolments: Option<Arc<Enrolments>>,
    session: Session,
    /// The events, the number of the next frame and its earliest time; none while a frame is looked at.
    state: Mutex<Option<(Box<Tracker>, u64, Duration)>>,
}

impl Watcher {
    fn told<'py>(&self, py: Python<'py>, changes: Changes) -> PyResult<Bound<'py, PyList>> {
        let of = EVENT.get_or_try_init(py, || py.import("oltr._types")?.getattr("event").map(Bound::unbind))?;
        let names = detached(py, || self.model.try_bundle().map(Names::new))?;
        let names = self.enrolments.as_deref().map_or(names, |enrolments| names.with_enrolments(enrolments));
        let list = PyList::empty(py);
        for Change { phase, event } in changes {
            let (phase, reason) = match phase {
                Phase::New => ("new", None),
                Phase::Update => ("update", None),
                Phase::End(reason) => ("end", Some(reason.word())),
            };
            let best = &event.best;
            let first = (phase, event.id, event.label.word(), names.label(event.label), names.name(event.label));
            let span = (
                event.first.as_secs_f64(),
                event.last.as_secs_f64(),
                event.frames,
                best.frame,
                best.time.as_secs_f64(),
            );
            let nearest = names.class(best.nearest as usize).map(|class| class.id.as_str());
            let scores = (number(event.mean_probability()), number(event.mean_reachability()), nearest);
            let taxon = taxon(names.told_of(&event));
            list.append(of.bind(py).call1((first, reason, span, scores, taxon))?)?;
        }
        Ok(list)
    }

    fn take(&self, py: Python<'_>) -> PyResult<(Box<Tracker>, u64, Duration)> {
        let taken = self.state.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.ok_or_else(|| in_use(py))
    }

    fn put(&self, state: (Box<Tracker>, u64, Duration)) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }
}

fn seconds(py: Python<'_>, what: &str, value: f64) -> PyResult<Duration> {
    if (0.0..=MAX_SECONDS).contains(&value) {
        return Ok(Duration::from_secs_f64(value));
    }
    Err(unfit(py, what, format!("{value} seconds; must be a number from 0 to {MAX_SECONDS}")))
}

#[pymethods]
impl Watcher {
    #[new]
    #[allow(clippy::too_many_arguments, reason = "the settings of a stream, by their names in Python")]
    fn new(
        py: Python<'_>,
        model: &Model,
        window: usize,
        begin: usize,
        keep: usize,
        min_duration: f64,
        linger: f64,
        gap: f64,
        update_every: f64,
    ) -> PyResult<Watcher> {
        let rule = Rule { window, begin, keep, min_duration: seconds(py, "min_duration", min_duration)? };
        let settings = Settings {
            rules: Rules::all(rule),
            linger: seconds(py, "linger", linger)?,
            gap: seconds(py, "gap", gap)?,
            update_every: seconds(py, "update_every", update_every)?,
        };
        let (enrolments, model) = (model.enrolments(), model.model().clone());
        let tracker = detached(py, || Tracker::new(model.try_bundle()?, settings, &Limits::default()))?;
        let session = Session::make(py, &model, enrolments.clone())?;
        Ok(Watcher { model, enrolments, session, state: Mutex::new(Some((Box::new(tracker), 0, Duration::ZERO))) })
    }

    fn observe<'py>(&self, photo: &Bound<'py, PyAny>, time: f64) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyList>)> {
        let py = photo.py();
        let photo = Photo::new(photo, &Limits::default())?;
        let time = seconds(py, "time", time)?;
        let (mut tracker, frame, earliest) = self.take(py)?;
        if time < earliest {
            self.put((tracker, frame, earliest));
            let reason = format!("{time:?} comes after {earliest:?}; times of frames must not go back");
            return Err(raised(py, &Error::BadInput { subject: format!("frame {frame}"), reason }));
        }
        let result = self.session.with(py, |worker, enrolments| {
            worker.answer(&photo, enrolments, |answer, outputs, origin| {
                let observation = Observation {
                    frame,
                    time,
                    decision: answer.decision,
                    probability: answer.probability,
                    reachability: answer.reachability,
                    nearest: answer.nearest.class as u32,
                    named: answer.taxon.map(Into::into),
                };
                let (_, changes) = tracker.observe(&observation);
                (Told::new(answer, outputs, &origin, DEFAULT_TOP), changes)
            })
        });
        self.put((tracker, frame + 1, time));
        let (told, changes) = result?;
        Ok((told.into_python(py)?, self.told(py, changes)?))
    }

    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let (mut tracker, frame, earliest) = self.take(py)?;
        let changes = tracker.finish();
        self.put((tracker, frame, earliest));
        self.told(py, changes)
    }
}
