//! What a caller may hand in as a photo.

use std::path::PathBuf;

use oltr::{Error, Limits};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyString};

use crate::failure::{raised, unfit, wrong_type};

/// What messages call a photo that has no name.
const PHOTO: &str = "photo";

const ARRAY: &str = "array";

/// A photo, held so that it can be read without the interpreter's lock.
pub enum Photo {
    /// A file.
    File(PathBuf),
    /// An encoded file in memory.
    Encoded(PyBackedBytes),
    /// Pixels of RGB, row by row.
    Pixels { width: u32, height: u32, bytes: PyBackedBytes },
}

impl Photo {
    /// What `photo` is: a path, an encoded photo, a picture of Pillow's, or an array of height × width × 3 bytes.
    ///
    /// # Errors
    /// For another type, shape or element type, with the remedy.
    pub fn new(photo: &Bound<'_, PyAny>, limits: &Limits) -> PyResult<Photo> {
        let py = photo.py();
        if photo.is_instance_of::<PyBytes>() || photo.is_instance_of::<PyByteArray>() {
            return Ok(Photo::Encoded(photo.extract()?));
        }
        if photo.is_instance_of::<PyString>() || photo.hasattr(intern!(py, "__fspath__"))? {
            return Ok(Photo::File(photo.extract()?));
        }
        if let Some(picture) = pillow(photo)? {
            let (width, height): (u32, u32) = picture.getattr(intern!(py, "size"))?.extract()?;
            check(py, height.into(), width.into(), limits)?;
            let bytes = picture.call_method0(intern!(py, "tobytes"))?.extract()?;
            return Ok(Photo::Pixels { width, height, bytes });
        }
        if let Ok(view) = PyMemoryView::from(photo) {
            return Photo::from_view(photo, &view, limits);
        }
        // Tensors that only NumPy can look into.
        if photo.hasattr(intern!(py, "__array__"))?
            && let Ok(numpy) = py.import("numpy")
        {
            let array = numpy.call_method1("asarray", (photo,))?;
            let view = PyMemoryView::from(&array);
            let view =
                view.map_err(|_| unfit(py, ARRAY, format!("has elements of {}, must have bytes", name(&array))))?;
            return Photo::from_view(&array, &view, limits);
        }
        let text = format!(
            "photo: of type {}; hand in a path, the bytes of a file, a picture of Pillow's, or an array of height x width x 3 \
             bytes",
            name(photo)
        );
        Err(wrong_type(py, &text))
    }

    fn from_view(array: &Bound<'_, PyAny>, view: &Bound<'_, PyMemoryView>, limits: &Limits) -> PyResult<Photo> {
        let py = view.py();
        let bad = |reason: String| Err(unfit(py, ARRAY, reason));
        let format: String = view.getattr(intern!(py, "format"))?.extract()?;
        let shape: Vec<u64> = view.getattr(intern!(py, "shape"))?.extract()?;
        let is_bytes = matches!(format.trim_start_matches(['@', '=', '<', '>', '!', '|']), "B" | "c");
        let [height, width, 3] = shape[..] else {
            if shape.len() == 1 && is_bytes {
                return Ok(Photo::Encoded(copy(array, view)?));
            }
            let sides = shape.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ");
            let remedy = match shape[..] {
                [3, _, _] => "; move the channels last, as with array.transpose(1, 2, 0)",
                [_, _, 4] => "; leave the fourth channel out, as with array[:, :, :3]",
                [_, _] | [_, _, 1] => "; repeat the gray channel, as with numpy.stack([gray] * 3, axis=2)",
                [_, _, _, _] => "; hand in one picture at a time",
                _ => "",
            };
            return bad(format!("has the shape {sides}, must have height x width x 3{remedy}"));
        };
        if !is_bytes {
            let remedy = match format.trim_start_matches(['@', '=', '<', '>', '!']) {
                "e" | "f" | "d" => "; of numbers from 0 to 1 make bytes by (array * 255).round().astype('uint8')",
                _ => "; make bytes of it by array.astype('uint8') once its values are 0 to 255",
            };
            return bad(format!("has elements of format '{format}', must have bytes (uint8){remedy}"));
        }
        check(py, height, width, limits)?;
        let bytes = copy(array, view)?;
        Ok(Photo::Pixels { width: width as u32, height: height as u32, bytes })
    }
}

/// The elements in their order, whatever lies between them in memory. (Python's stable interface lets nobody look into an array
/// before version 3.11, so this copies.)
fn copy(array: &Bound<'_, PyAny>, view: &Bound<'_, PyMemoryView>) -> PyResult<PyBackedBytes> {
    let py = view.py();
    let contiguous: bool = view.getattr(intern!(py, "c_contiguous"))?.extract()?;
    // NumPy does it faster where there are gaps.
    let is_numpy = !contiguous && array.get_type().module()?.to_cow()?.starts_with("numpy");
    let bytes = if is_numpy { array.as_any() } else { view.as_any() }.call_method0(intern!(py, "tobytes"))?;
    Ok(bytes.extract()?)
}

/// Whether a picture of these sides may be copied.
fn check(py: Python<'_>, height: u64, width: u64, limits: &Limits) -> PyResult<()> {
    let side = height.max(width);
    if height.min(width) == 0 {
        return Err(unfit(py, PHOTO, format!("is empty: {height} x {width} pixels")));
    }
    let (what, value, limit) = match () {
        () if side > limits.photo_side.into() => ("photo_side", side, limits.photo_side.into()),
        () if height.saturating_mul(width) > limits.photo_pixels => {
            ("photo_pixels", height * width, limits.photo_pixels)
        }
        () => return Ok(()),
    };
    Err(raised(py, &Error::Limit { subject: PHOTO.into(), what, value, limit }))
}

/// A picture of Pillow's, upright and in RGB, if `photo` is one.
fn pillow<'py>(photo: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = photo.py();
    // Whoever has one has imported Pillow; for all others it is not looked for.
    let modules = py.import("sys")?.getattr("modules")?;
    let Ok(module) = modules.get_item("PIL.Image") else { return Ok(None) };
    if !photo.is_instance(&module.getattr("Image")?)? {
        return Ok(None);
    }
    let result = (|| {
        let upright = py.import("PIL.ImageOps")?.call_method1("exif_transpose", (photo,))?;
        if upright.getattr("mode")?.eq("RGB")? { Ok(upright) } else { upright.call_method1("convert", ("RGB",)) }
    })();
    // Pillow reads lazily: a damaged file shows here.
    result.map(Some).map_err(|e: PyErr| {
        let error = Error::BadImage { subject: PHOTO.into(), reason: e.value(py).to_string() };
        raised(py, &error)
    })
}

fn name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map(|name| name.to_string()).unwrap_or_else(|_| "unknown".into())
}
