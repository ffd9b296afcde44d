//! A session of the network with all that brings a photo to it.

use oltr::enrol::Enrolments;
use oltr::origin::Origin;
use oltr::source::photo::{Decode, InputReader};
use oltr::{Answer, Error, Frame, Geometry, Judge, Limits, Model, Outputs, PixelFormat, Result, Session};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::{Told, outputs};
use crate::photo::Photo;

/// What lends a worker for the time of one photo.
pub trait Lends {
    /// Does `work` with a worker and the enrolled classes, without the interpreter's lock.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Worker, Option<&Enrolments>) -> Result<T> + Send,
    ) -> PyResult<T>;

    /// What `photo` shows, with the `top` most probable classes.
    fn tell<'py>(&self, photo: &Bound<'py, PyAny>, top: usize) -> PyResult<Bound<'py, PyAny>> {
        let py = photo.py();
        let photo = Photo::new(photo, &Limits::default())?;
        let told = self.with(py, move |worker, enrolments| {
            worker.answer(&photo, enrolments, |answer, outputs, origin| Told::new(answer, outputs, &origin, top))
        })?;
        told.into_python(py)
    }

    /// The network's outputs for `photo`.
    fn outputs<'py>(&self, photo: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        let py = photo.py();
        let photo = Photo::new(photo, &Limits::default())?;
        let result = self.with(py, move |worker, _| worker.run(&photo).map(|(outputs, _)| outputs.clone()))?;
        outputs(py, &result)
    }
}

/// Works on one photo at a time.
pub struct Worker {
    model: Model,
    session: Session,
    reader: InputReader,
    pixels: Vec<u8>,
    frame: Frame,
    limits: Limits,
    /// The process that made it. The threads of a session do not live on in a forked one.
    process: u32,
}

impl Worker {
    /// A worker with a session of `model`, which must be a bundle.
    pub fn new(model: &Model) -> Result<Worker> {
        let bundle = model.try_bundle()?;
        let limits = Limits::default();
        let reader = InputReader::new(&bundle.preprocess, Decode::Exact, &limits);
        let (session, pixels) = (model.session()?, vec![0; reader.output_len()]);
        let (model, frame, process) = (model.clone(), Frame::default(), std::process::id());
        Ok(Worker { model, session, reader, pixels, frame, limits, process })
    }

    /// Whether it was made by this process rather than one that forked.
    pub fn is_ours(&self) -> bool {
        self.process == std::process::id()
    }

    /// The network's outputs for `photo`, and when and where that was taken.
    pub fn run(&mut self, photo: &Photo) -> Result<(&Outputs, Origin)> {
        let origin = match photo {
            Photo::File(path) => self.reader.read(path, &mut self.pixels)?.origin,
            Photo::Encoded(bytes) => self.reader.decode("photo", bytes, &mut self.pixels)?.origin,
            Photo::Pixels { width, height, bytes } => {
                let into = self.frame.reshape(Geometry::new(PixelFormat::Rgb24, *width, *height), &self.limits)?;
                if into.len() != bytes.len() {
                    let reason = format!("has {} bytes, must have {}", bytes.len(), into.len());
                    return Err(Error::BadInput { subject: "array".into(), reason });
                }
                into.copy_from_slice(bytes);
                return Ok((self.session.run(&self.frame)?, Origin::default()));
            }
        };
        Ok((self.session.run_pixels(&self.pixels)?, origin))
    }

    /// What `photo` shows, told by `tell` together with the outputs behind it.
    pub fn answer<T>(
        &mut self,
        photo: &Photo,
        enrolments: Option<&Enrolments>,
        tell: impl FnOnce(&Answer<'_>, &Outputs, Origin) -> T,
    ) -> Result<T> {
        let model = self.model.clone();
        let judge = Judge::new(model.try_bundle()?);
        let judge = match enrolments {
            Some(enrolments) => judge.with_enrolments(enrolments),
            None => judge,
        };
        let (outputs, origin) = self.run(photo)?;
        let answer = judge.answer(outputs)?;
        Ok(tell(&answer, outputs, origin))
    }
}
