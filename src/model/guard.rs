//! Panics of tract that are the fault of a file: a broken graph is an error like any other.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::{Error, Result};

/// What is said of a file: its name, and the reason of [`Error::BadModel`].
type Fault = (Arc<str>, &'static str);

thread_local! {
    static FAULT: RefCell<Option<Fault>> = const { RefCell::new(None) };
}

/// What a panic of this thread would now become, if it would be an error of the library, as tract computes what a file
/// says. A panic hook that ends the program or tells of defects must let such a panic pass; where panics do not unwind
/// (`panic = "abort"`), the library cannot return the error, and the hook has the last chance to tell it.
pub fn error_of_panic() -> Option<Error> {
    // A hook runs at any time: while the thread ends, too.
    let fault = FAULT.try_with(|fault| fault.try_borrow().ok().and_then(|fault| fault.clone())).ok().flatten();
    fault.as_ref().map(error)
}

/// Runs `f`. If it panics, that is the fault of the file `model`, and `reason` says what was tried; what `f` was working
/// on must not be used after that.
pub(super) fn catch<T>(model: &Arc<str>, reason: &'static str, f: impl FnOnce() -> T) -> Result<T> {
    let fault = (model.clone(), reason);
    let outer = FAULT.replace(Some(fault.clone()));
    let result = catch_unwind(AssertUnwindSafe(f));
    FAULT.set(outer);
    result.map_err(|_| error(&fault))
}

fn error((model, reason): &Fault) -> Error {
    Error::BadModel { model: model.to_string(), reason: (*reason).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_the_files_fault_only_inside() {
        let [outer, inner] = ["outer", "inner"].map(Arc::from);
        let said = || error_of_panic().map(|e| e.to_string());
        assert_eq!(said(), None);
        catch(&outer, "was read", || {
            let before = said();
            assert!(before.as_ref().is_some_and(|said| said.contains("outer") && said.contains("was read")));
            let error = catch(&inner, "was run", || {
                assert!(said().is_some_and(|said| said.contains("inner")));
                std::panic::resume_unwind(Box::new(()));
            });
            assert!(error.unwrap_err().to_string().contains("inner"));
            assert_eq!(said(), before);
            assert!(std::thread::spawn(|| error_of_panic().is_none()).join().unwrap());
        })
        .unwrap();
        assert_eq!(said(), None);
    }
}
