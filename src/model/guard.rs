//! Panics of tract that are the fault of a file: a broken graph is an error like any other.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread would now become an error of the library, as tract computes what a file says. A panic
/// hook that ends the program or tells of defects must let such a panic pass.
pub fn panics_are_errors() -> bool {
    GUARDED.get()
}

/// Runs `f`; `None` if it panics. What `f` was working on must not be used after that.
pub(super) fn catch<T>(f: impl FnOnce() -> T) -> Option<T> {
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(f));
    GUARDED.set(outer);
    result.ok()
}
