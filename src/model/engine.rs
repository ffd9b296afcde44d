//! Errors of the int8 engine as errors of the library.

use crate::error::Error;

impl From<oltr_int8::Error> for Error {
    fn from(error: oltr_int8::Error) -> Error {
        match error {
            oltr_int8::Error::BadInput { subject, reason } => Error::BadInput { subject, reason },
            other => Error::Internal(other.to_string()),
        }
    }
}
