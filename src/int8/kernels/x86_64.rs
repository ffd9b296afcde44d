//! The kernel sets of x86-64.

use super::KernelSet;

/// The sets that this processor can run, the fastest first.
pub(super) fn available() -> Vec<&'static dyn KernelSet> {
    Vec::new()
}
