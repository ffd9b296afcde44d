//! Results as Python objects.

use oltr::origin::Origin;
use oltr::{Answer, Outputs, scores};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList};

static ANSWER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// An answer that outlives its model's lock: made without the interpreter, told to it later.
pub struct Told {
    decision: &'static str,
    label: Option<String>,
    class: Option<usize>,
    name: Option<String>,
    probability: f64,
    reachability: f64,
    threshold: f64,
    nearest: (String, usize, f64, String),
    shot: Option<&'static str>,
    top: Vec<(String, usize, f64, String)>,
    enrolled: Option<(String, f64, f64)>,
    origin: Option<String>,
    taxon: Option<Taxon>,
}

/// The fields of `oltr.Taxon`: rank, name, probability, gbif, worms, and rank and name of what a class is of.
pub type Taxon = (&'static str, String, f64, Option<u64>, Option<u64>, Option<(&'static str, String)>);

/// The name that is told, where one is.
pub fn taxon(told: Option<Option<oltr::Told>>) -> Option<Taxon> {
    let told = told.flatten()?;
    let of = told.of.map(|of| (of.rank.word(), of.name.into()));
    Some((told.rank.word(), told.name.into(), number(told.probability), told.ids.gbif, told.ids.worms, of))
}

/// `value` as a program reads it in the JSON lines: the number with the fewest digits that rounds to it.
pub fn number(value: f32) -> f64 {
    value.clamp(f32::MIN, f32::MAX).to_string().parse().unwrap_or(f64::from(value))
}

impl Told {
    /// What `answer` says, with the `top` most probable classes.
    pub fn new(answer: &Answer<'_>, outputs: &Outputs, origin: &Origin, top: usize) -> Told {
        let names = answer.names();
        let candidate = |(class, probability): (usize, f32)| {
            let known = names.class(class);
            let of = |text: fn(&oltr::bundle::Class) -> &String| known.map(text).cloned().unwrap_or_default();
            (of(|c| &c.id), class, number(probability), of(|c| &c.name))
        };
        let nearest = answer.nearest;
        let shot = answer.shot.map(oltr::bundle::Shot::word);
        Told {
            decision: answer.word(),
            label: answer.label.map(Into::into),
            class: answer.class(),
            name: answer.name.map(Into::into),
            probability: number(answer.probability),
            reachability: number(answer.reachability),
            threshold: number(answer.threshold),
            nearest: (nearest.label.into(), nearest.class, number(nearest.distance), nearest.name.into()),
            shot,
            top: scores::top(&outputs.logits, top).into_iter().map(candidate).collect(),
            enrolled: answer.enrolled.map(|e| (e.label.into(), number(e.distance), number(e.radius))),
            // As the JSON lines have it; an origin is made of texts and finite numbers.
            origin: (*origin != Origin::default()).then(|| serde_json::to_string(origin).unwrap_or_default()),
            taxon: taxon(answer.told()),
        }
    }

    /// As an object of `oltr.Answer`.
    pub fn into_python<'py>(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let of = ANSWER.get_or_try_init(py, || py.import("oltr._types")?.getattr("answer").map(Bound::unbind))?;
        let first =
            (self.decision, self.label, self.class, self.name, self.probability, self.reachability, self.threshold);
        of.bind(py).call1((first, self.nearest, self.shot, self.top, self.enrolled, self.origin, self.taxon))
    }
}

/// The outputs as arrays of NumPy; lists where that is not installed.
pub fn outputs<'py>(py: Python<'py>, outputs: &Outputs) -> PyResult<Bound<'py, PyDict>> {
    let numpy = py.import("numpy").ok();
    let dict = PyDict::new(py);
    for (name, values) in
        [("logits", &outputs.logits), ("distances", &outputs.distances), ("features", &outputs.features)]
    {
        match &numpy {
            Some(numpy) => {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
                // `copy`: the bytes of Python cannot be written to.
                let array = numpy.call_method1("frombuffer", (PyBytes::new(py, &bytes), "=f4"))?;
                dict.set_item(name, array.call_method0("copy")?)?;
            }
            None => dict.set_item(name, PyList::new(py, values)?)?,
        }
    }
    Ok(dict)
}
