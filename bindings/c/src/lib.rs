//! The functions of `include/oltr.h`, which says what they mean.
//!
//! No panic crosses: `failure::guarded` makes a status of it. Each pointer is checked for null; that it leads to what the header
//! says is the caller's promise.

#![allow(
    unsafe_code,
    reason = "the boundary to C: pointers come in and go out, and symbols get the names of the header"
)]

mod failure;
mod handle;

use std::ffi::{CStr, c_char};
use std::path::PathBuf;
use std::ptr;

use oltr::{Error, Outputs, Result};

use failure::{Status, guarded, null};
pub use handle::{Answer, Model, Session, Taxon};

/// As `oltr_version`.
#[unsafe(no_mangle)]
pub extern "C" fn oltr_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };
    VERSION.as_ptr()
}

/// As `oltr_error_text`.
#[unsafe(no_mangle)]
pub extern "C" fn oltr_error_text() -> *const c_char {
    failure::text()
}

/// As `oltr_status_name`. Any number is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn oltr_status_name(status: Status) -> *const c_char {
    failure::name(status).as_ptr()
}

/// The path that `text` says.
///
/// # Safety
/// `text` is null or a text that ends with a zero byte.
unsafe fn path_of(text: *const c_char) -> Result<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    if text.is_null() {
        return Err(null("path"));
    }
    // SAFETY: it is a text, by the contract of this function.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    Ok(PathBuf::from(std::ffi::OsStr::from_bytes(bytes)))
}

/// The `length` values from `first` on.
///
/// # Safety
/// `first` is null, or leads to `length` values that nobody changes during `'a`.
unsafe fn slice_of<'a>(first: *const u8, length: usize, what: &'static str) -> Result<&'a [u8]> {
    if first.is_null() {
        return Err(null(what));
    }
    if length > isize::MAX as usize {
        return Err(Error::BadInput {
            subject: what.into(),
            reason: format!("{length} bytes are more than memory has"),
        });
    }
    // SAFETY: by the contract of this function.
    Ok(unsafe { std::slice::from_raw_parts(first, length) })
}

/// Gives `made` to the caller.
///
/// # Safety
/// `into` may be written to.
unsafe fn give<T>(made: T, into: *mut *mut T) {
    // SAFETY: by the contract of this function.
    unsafe { into.write(Box::into_raw(Box::new(made))) };
}

/// As `oltr_model_load`.
///
/// # Safety
/// `path` is null or a text; `model` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oltr_model_load(path: *const c_char, threads: u32, model: *mut *mut Model) -> Status {
    guarded(|| {
        if model.is_null() {
            return Err(null("model"));
        }
        let path = match path.is_null() {
            true => None,
            // SAFETY: a text, by the contract of this function.
            false => Some(unsafe { path_of(path) }?),
        };
        let made = Model::load(path.as_deref(), threads)?;
        // SAFETY: not null, so it can be written to.
        unsafe { give(made, model) };
        Ok(())
    })
}

/// As `oltr_model_from_memory`.
///
/// # Safety
/// `bytes` is null or leads to `length` bytes; `model` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oltr_model_from_memory(
    bytes: *const u8,
    length: usize,
    threads: u32,
    model: *mut *mut Model,
) -> Status {
    guarded(|| {
        if model.is_null() {
            return Err(null("model"));
        }
        // SAFETY: by the contract of this function.
        let made = Model::from_memory(unsafe { slice_of(bytes, length, "bytes") }?, threads)?;
        // SAFETY: not null, so it can be written to.
        unsafe { give(made, model) };
        Ok(())
    })
}

/// As `oltr_model_free`.
///
/// # Safety
/// `model` is null or came from this library, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oltr_model_free(model: *mut Model) {
    if !model.is_null() {
        // SAFETY: `give` made it of a box, and nobody else frees it.
        let model = unsafe { Box::from_raw(model) };
        let _ = guarded(|| {
            drop(model);
            Ok(())
        });
    }
}

/// As `oltr_model_classes`.
///
/// # Safety
/// `model` is null or came from this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oltr_model_classes(model: *const Model) -> usize {
    // SAFETY: by the contract of this function.
    unsafe { model.as_ref() }.map_or(0, Model::classes)
}

/// As `oltr_model_label`.
///
/// # Safety
/// `model` is null or came from this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oltr_model_label(model: *const Model, index: usize) -> *const c_char {
    // SAFETY: by the contract of this function.
    unsafe { model.as_ref() }.and_then(|model| model.label(index)).map_or(ptr::null(), CStr::as_ptr)
}

/// As `oltr_model_name`.
///
/// # Safety
/// `model` is null or came from this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oltr_model_name(model: *const Model, index: usize) -> *const c_char {
    // SAFETY: by the contract of this function.
    unsafe { model.as_ref() }.and_then(|model| model.name(index)).map_or(ptr::null(), CStr::as_ptr)
}

/// As `oltr_session_new`.
///
/// # Safety
/// `model` is null or came from this library; `session` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oltr_session_new(model: *const Model, session: *mut *mut Session) -> Status {
    guarded(|| {
        if session.is_null() {
            return Err(null("session"));
        }
        // SAFETY: by the contract of this function.
        let made = unsafe { model.as_ref() }.ok_or_else(|| null("model"))?.session()?;
        // SAFETY: not null, so it can be written to.
        unsafe { give(made, session) };
        Ok(())
    })
}

/// As `oltr_session_free`.
///
/// # Safety
/// `session` is null or came from this library, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oltr_session_free(session: *mut Session) {
    if !session.is_null() {
        // SAFETY: `give` made it of a box, and nobody else frees it.
        let session = unsafe { Box::from_raw(session) };
        let _ = guarded(|| {
            drop(session);
            Ok(())
        });
    }
}

/// Has `work` answer with the session.
///
/// # Safety
/// `session` is null or came from this library and is used by no other thread; `answer` is null or can be written to.
unsafe fn classify(
    session: *mut Session,
    answer: *mut Answer,
    work: impl FnOnce(&mut Session) -> Result<Answer>,
) -> Status {
    guarded(|| {
        if answer.is_null() {
            return Err(null("answer"));
        }
        // SAFETY: by the contract of this function.
        let made = work(unsafe { session.as_mut() }.ok_or_else(|| null("session"))?)?;
        // SAFETY: not null, so it can be written to.
        unsafe { answer.write(made) };
        Ok(())
    })
}

/// As `oltr_classify_file`.
///
/// # Safety
/// As the header says of sessions; `path` is null or a text, `answer` null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oltr_classify_file(session: *mut Session, path: *const c_char, answer: *mut Answer) -> Status {
    // SAFETY: by the contract of this function.
    unsafe { classify(session, answer, |session| session.file(&path_of(path)?)) }
}

/// As `oltr_classify_encoded`.
///
/// # Safety
/// As the header says of sessions; `bytes` is null or leads to `length` bytes, `answer` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oltr_classify_encoded(
    session: *mut Session,
    bytes: *const u8,
    length: usize,
    answer: *mut Answer,
) -> Status {
    // SAFETY: by the contract of this function.
    unsafe { classify(session, answer, |session| session.encoded(slice_of(bytes, length, "bytes")?)) }
}

/// As `oltr_classify_rgb`.
///
/// # Safety
/// As the header says of sessions; `pixels` is null or leads to rows of the length and number that the sides say, `answer` is
/// null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oltr_classify_rgb(
    session: *mut Session,
    pixels: *const u8,
    width: u32,
    height: u32,
    stride: usize,
    answer: *mut Answer,
) -> Status {
    let work = |session: &mut Session| {
        let length = handle::length_of(width, height, stride)?;
        // SAFETY: so many bytes are there, by the contract of this function.
        session.rgb(unsafe { slice_of(pixels, length, "pixels") }?, width, height, stride)
    };
    // SAFETY: by the contract of this function.
    unsafe { classify(session, answer, work) }
}

/// As `oltr_session_taxon`.
///
/// # Safety
/// `session` is null or came from this library; `taxon` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oltr_session_taxon(session: *const Session, taxon: *mut Taxon) -> i32 {
    // SAFETY: by the contract of this function.
    let Some(session) = (unsafe { session.as_ref() }).filter(|_| !taxon.is_null()) else { return 0 };
    let mut told = None;
    let _ = guarded(|| {
        told = session.taxon()?;
        Ok(())
    });
    if let Some(told) = told {
        // SAFETY: not null, so it can be written to.
        unsafe { taxon.write(told) };
    }
    told.is_some().into()
}

/// The values that `of` takes from the outputs of the last photo.
///
/// # Safety
/// `session` is null or came from this library; `length` is null or can be written to.
unsafe fn values(session: *const Session, length: *mut usize, of: fn(&Outputs) -> &[f32]) -> *const f32 {
    // SAFETY: by the contract of this function.
    let values = unsafe { session.as_ref() }.map(|session| of(session.outputs())).unwrap_or_default();
    if !length.is_null() {
        // SAFETY: not null, so it can be written to.
        unsafe { length.write(values.len()) };
    }
    if values.is_empty() { ptr::null() } else { values.as_ptr() }
}

/// As `oltr_session_logits`.
///
/// # Safety
/// `session` is null or came from this library; `length` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oltr_session_logits(session: *const Session, length: *mut usize) -> *const f32 {
    // SAFETY: by the contract of this function.
    unsafe { values(session, length, |outputs| &outputs.logits) }
}

/// As `oltr_session_distances`.
///
/// # Safety
/// `session` is null or came from this library; `length` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oltr_session_distances(session: *const Session, length: *mut usize) -> *const f32 {
    // SAFETY: by the contract of this function.
    unsafe { values(session, length, |outputs| &outputs.distances) }
}

/// As `oltr_session_features`.
///
/// # Safety
/// `session` is null or came from this library; `length` is null or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oltr_session_features(session: *const Session, length: *mut usize) -> *const f32 {
    // SAFETY: by the contract of this function.
    unsafe { values(session, length, |outputs| &outputs.features) }
}
