//! `oltr.Model`: a bundle, which threads share.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oltr::enrol::{Enrolled, Enrolments, MAX_PHOTOS};
use oltr::model::Options;
use oltr::source::ahead::processors;
use oltr::{Error, Limits};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyTuple};

use crate::convert::number;
use crate::failure::{attached, detached, raised, unfit, wrong_type};
use crate::photo::Photo;
use crate::session::{DEFAULT_TOP, Session};
use crate::worker::{Lends, Worker};

/// Most threads of one session.
const MAX_THREADS: usize = 256;

/// What the threads share.
struct Shared {
    /// Workers that wait for a photo: no more than ever worked at once, and no more than there are processors.
    idle: Vec<Worker>,
    enrolments: Option<Arc<Enrolments>>,
    /// The file that has them as they are, from which another process can take them; none after a change.
    saved: Option<PathBuf>,
}

#[pyclass(frozen, module = "oltr")]
pub struct Model {
    model: oltr::Model,
    path: Option<PathBuf>,
    /// The file that enrolled classes are saved to unless another is named; none for a built-in model without one.
    file: Option<PathBuf>,
    threads: usize,
    shared: Mutex<Shared>,
}

impl Model {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn worker(&self, py: Python<'_>) -> PyResult<Worker> {
        loop {
            let idle = self.shared().idle.pop();
            match idle {
                Some(worker) if worker.is_ours() => return Ok(worker),
                Some(foreign) => std::mem::forget(foreign),
                None => return detached(py, || Worker::new(&self.model)),
            }
        }
    }

    /// The loaded model.
    pub fn model(&self) -> &oltr::Model {
        &self.model
    }

    /// The classes that are enrolled now.
    pub fn enrolments(&self) -> Option<Arc<Enrolments>> {
        self.shared().enrolments.clone()
    }

    /// Changes the enrolled classes by `work`, as one step for all threads: it is short and calls no Python, so that the lock is
    /// held together with the interpreter's and no fork finds it taken.
    fn change(&self, py: Python<'_>, work: impl FnOnce(&mut Enrolments) -> oltr::Result<()>) -> PyResult<()> {
        attached(py, || {
            let mut shared = self.shared();
            let mut changed = shared.enrolments.as_deref().cloned().unwrap_or_else(|| self.none_enrolled());
            work(&mut changed)?;
            shared.enrolments = Some(Arc::new(changed));
            shared.saved = None;
            Ok(())
        })
    }

    fn none_enrolled(&self) -> Enrolments {
        Enrolments::new(self.model.graph_sha256().unwrap_or_default())
    }
}

impl Lends for Model {
    /// With a worker that nobody else has meanwhile.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Worker, Option<&Enrolments>) -> oltr::Result<T> + Send,
    ) -> PyResult<T> {
        let mut worker = self.worker(py)?;
        let enrolments = self.enrolments();
        let result = detached(py, || work(&mut worker, enrolments.as_deref()));
        let mut shared = self.shared();
        if shared.idle.len() < processors() {
            shared.idle.push(worker);
        }
        result
    }
}

#[pymethods]
impl Model {
    #[new]
    #[pyo3(signature = (path = None, *, enrolled = None, threads = 1))]
    fn new(
        py: Python<'_>,
        path: Option<PathBuf>,
        enrolled: Option<&Bound<'_, PyAny>>,
        threads: usize,
    ) -> PyResult<Model> {
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(unfit(py, "threads", format!("{threads}; must be 1 to {MAX_THREADS}")));
        }
        let beside = || path.as_deref().map(Enrolments::path_beside);
        let (file, use_file, must_be) = match enrolled {
            None => (beside(), true, false),
            Some(value) if value.is_instance_of::<PyBool>() && !value.is_truthy()? => (beside(), false, false),
            Some(value) => match value.extract::<PathBuf>() {
                Ok(path) => (Some(path), true, true),
                Err(_) => return Err(wrong_type(py, "enrolled: must be the path of a file, None or False")),
            },
        };
        let (model, enrolments, saved) = detached(py, || {
            let options = Options { threads, hash_graph: true, ..Options::default() };
            let model = match &path {
                Some(path) => oltr::Model::load(path, &options)?,
                None => oltr::Model::builtin(&options)?,
            };
            model.try_bundle()?;
            let wanted = file.as_deref().filter(|file| use_file && (must_be || file.exists()));
            let enrolments = wanted.zip(model.graph_sha256()).map(|(file, hash)| Enrolments::read(file, hash));
            Ok((model, enrolments.transpose()?, wanted.map(PathBuf::from)))
        })?;
        let shared = Shared { idle: Vec::new(), enrolments: enrolments.map(Arc::new), saved };
        Ok(Model { model, path, file, threads, shared: Mutex::new(shared) })
    }

    #[pyo3(signature = (photo, *, top = DEFAULT_TOP))]
    fn classify<'py>(&self, photo: &Bound<'py, PyAny>, top: usize) -> PyResult<Bound<'py, PyAny>> {
        self.tell(photo, top)
    }

    fn run<'py>(&self, photo: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        self.outputs(photo)
    }

    fn session(&self, py: Python<'_>) -> PyResult<Session> {
        Session::make(py, &self.model, self.enrolments())
    }

    fn enrol<'py>(&self, name: &str, photos: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = photos.py();
        if photos.is_instance_of::<pyo3::types::PyString>() {
            return Err(wrong_type(py, "photos: is one text; hand in a list of photos"));
        }
        let mut features = Vec::new();
        for photo in photos.try_iter().map_err(|_| wrong_type(py, "photos: must be a list of photos"))? {
            if features.len() == MAX_PHOTOS {
                let reason = format!("more than {MAX_PHOTOS} photos; take fewer, or train a bundle with them");
                return Err(unfit(py, &format!("class '{name}'"), reason));
            }
            let photo = Photo::new(&photo?, &Limits::default())?;
            features.push(self.with(py, move |worker, _| worker.run(&photo).map(|(out, _)| out.features.clone()))?);
        }
        let class = detached(py, || Enrolled::new(name, &features, self.model.try_bundle()?.open_distance()?))?;
        let told = (class.name().to_string(), class.photos(), number(class.radius()));
        self.change(py, |enrolments| enrolments.add(class))?;
        py.import("oltr._types")?.getattr("Enrolled")?.call1(told)
    }

    fn forget(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        self.change(py, |enrolments| enrolments.remove(name).map(drop))
    }

    #[getter]
    fn enrolled(&self) -> Vec<String> {
        let enrolments = self.enrolments();
        enrolments.iter().flat_map(|e| e.classes()).map(|class| class.name().to_string()).collect()
    }

    #[pyo3(signature = (path = None))]
    fn save_enrolled(&self, py: Python<'_>, path: Option<PathBuf>) -> PyResult<PathBuf> {
        let path = path.or_else(|| self.file.clone()).ok_or_else(|| {
            unfit(py, "path", "name the file of enrolled classes: the built-in model has no place beside it")
        })?;
        let enrolments = self.enrolments();
        detached(py, || match &enrolments {
            Some(enrolments) => enrolments.write(&path),
            None => self.none_enrolled().write(&path),
        })?;
        let mut shared = self.shared();
        // Another thread may have changed them meanwhile: then no file has what there is now.
        if shared.enrolments.as_ref().map(Arc::as_ptr) == enrolments.as_ref().map(Arc::as_ptr) {
            shared.saved = Some(path.clone());
        }
        Ok(path)
    }

    #[getter]
    fn name(&self) -> String {
        self.model.bundle().map_or_else(|| self.model.name().into(), |bundle| bundle.name.clone())
    }

    #[getter]
    fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    #[getter]
    fn sha256(&self) -> &str {
        self.model.sha256()
    }

    #[getter]
    fn size(&self) -> u32 {
        self.model.bundle().map_or(0, |bundle| bundle.preprocess.size)
    }

    #[getter]
    fn kernels(&self) -> &str {
        &self.model.summary().isa
    }

    #[getter]
    fn threads(&self) -> usize {
        self.threads
    }

    #[getter]
    fn classes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let of = py.import("oltr._types")?.getattr("Class")?;
        let classes = self.model.bundle().map(|bundle| bundle.classes.as_slice()).unwrap_or_default();
        let all: PyResult<Vec<_>> =
            classes.iter().map(|class| of.call1((&class.id, &class.name, class.train_count))).collect();
        PyTuple::new(py, all?)
    }

    /// What another process makes the same model from; that is why a class that no file has must not be lost on the way.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Rebuild)> {
        let (there, file) = {
            let shared = self.shared();
            (shared.enrolments.is_some(), shared.saved.clone())
        };
        if there && file.is_none() {
            let error = Error::Config(
                "a model whose enrolled classes no file has cannot be sent to another process; call save_enrolled first".into(),
            );
            return Err(raised(py, &error));
        }
        // The other process may work in another folder.
        let [path, file] = [&self.path, &file.filter(|_| there)].map(|path| path.as_deref().map(absolute));
        let of = py.import("oltr._types")?.getattr("model")?;
        Ok((of, (path, file, self.threads)))
    }

    fn __repr__(&self) -> String {
        let classes = self.model.bundle().map_or(0, |bundle| bundle.classes.len());
        format!("<oltr.Model {} with {classes} classes>", self.name())
    }
}

/// Arguments of `oltr._types.model`.
type Rebuild = (Option<PathBuf>, Option<PathBuf>, usize);

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}

impl Drop for Model {
    fn drop(&mut self) {
        let idle = std::mem::take(&mut self.shared().idle);
        idle.into_iter().filter(|worker| !worker.is_ours()).for_each(std::mem::forget);
    }
}
