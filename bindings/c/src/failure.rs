//! Errors and panics as a status and a text.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use oltr::{Error, ErrorKind, Result};

/// As `oltr_status`.
pub type Status = c_int;

thread_local! {
    static TEXT: RefCell<CString> = RefCell::default();
}

/// The kinds of errors by their status, from 1, with their words in JSON.
const KINDS: [(ErrorKind, &CStr); 10] = [
    (ErrorKind::NotFound, c"not-found"),
    (ErrorKind::Io, c"io"),
    (ErrorKind::BadImage, c"bad-image"),
    (ErrorKind::BadModel, c"bad-model"),
    (ErrorKind::Limit, c"limit"),
    (ErrorKind::BadInput, c"bad-input"),
    (ErrorKind::Unavailable, c"unavailable"),
    (ErrorKind::Busy, c"busy"),
    (ErrorKind::Config, c"config"),
    (ErrorKind::Internal, c"internal"),
];

/// Runs `work`; its error or panic becomes a status, and a text that [`text`] gives.
pub fn guarded(work: impl FnOnce() -> Result<()>) -> Status {
    let result = catch_unwind(AssertUnwindSafe(work));
    match result.unwrap_or_else(|_| Err(Error::Internal("it panicked; please report this".into()))) {
        Ok(()) => 0,
        Err(error) => {
            let kind = error.kind();
            // A text from a file may hold zero bytes.
            let text = CString::new(error.to_string().replace('\0', "\u{fffd}")).unwrap_or_default();
            let _ = TEXT.try_with(|last| last.replace(text));
            let place = KINDS.iter().position(|(each, _)| *each == kind).unwrap_or(KINDS.len() - 1);
            place as Status + 1
        }
    }
}

/// What the last error of this thread says.
pub fn text() -> *const c_char {
    TEXT.try_with(|text| text.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// The word for `status`.
pub fn name(status: Status) -> &'static CStr {
    match status {
        0 => c"ok",
        status => {
            let place = usize::try_from(status).ok().and_then(|status| status.checked_sub(1));
            place.and_then(|place| KINDS.get(place)).map_or(c"unknown", |(_, name)| *name)
        }
    }
}

/// The error for a null pointer.
pub fn null(what: &str) -> Error {
    Error::BadInput { subject: what.into(), reason: "is NULL".into() }
}
