//! Why a graph could not be made into programs: the model's fault, or the engine's.

use crate::error::Error;

/// A result of building programs.
pub(super) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Either error, so that `?` takes both; callers get the library's.
#[derive(Debug)]
pub(crate) enum Failure {
    Model(Error),
    Engine(oltr_int8::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Model(error)
    }
}

impl From<oltr_int8::Error> for Failure {
    fn from(error: oltr_int8::Error) -> Failure {
        Failure::Engine(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Model(error) => error,
            Failure::Engine(oltr_int8::Error::BadInput { subject, reason }) => Error::BadInput { subject, reason },
            Failure::Engine(other) => Error::Internal(other.to_string()),
        }
    }
}
