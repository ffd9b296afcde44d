//! The choice of a kernel set.

#[cfg(target_arch = "aarch64")]
use crate::kernels::aarch64;
#[cfg(target_arch = "arm")]
use crate::kernels::arm;
use crate::kernels::contract::KernelSet;
use crate::kernels::scalar::SCALAR;
#[cfg(target_arch = "x86_64")]
use crate::kernels::x86_64;

/// Every kernel set that this machine can run, the fastest first. The scalar set is always there and the last.
pub fn available() -> Vec<&'static dyn KernelSet> {
    let mut sets: Vec<&'static dyn KernelSet> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    sets.extend(x86_64::sets::available());
    #[cfg(target_arch = "aarch64")]
    sets.extend(aarch64::sets::available());
    #[cfg(target_arch = "arm")]
    sets.extend(arm::sets::available());
    sets.push(&SCALAR);
    sets
}

/// The fastest kernel set of this machine.
pub fn best() -> &'static dyn KernelSet {
    available()[0]
}

/// The kernel set whose [`KernelSet::isa`] is `name`, if this machine can run it.
pub fn by_name(name: &str) -> Option<&'static dyn KernelSet> {
    available().into_iter().find(|set| set.isa() == name)
}

/// The environment variable that names the kernels to use, for tests and comparisons.
pub const ISA_VARIABLE: &str = "OLTR_ISA";

/// The kernels for this machine: the fastest, or those that [`ISA_VARIABLE`] names.
///
/// # Errors
/// A message for people, if it names kernels that this machine cannot run.
pub fn select() -> Result<&'static dyn KernelSet, String> {
    match std::env::var(ISA_VARIABLE) {
        Ok(name) if !name.is_empty() => by_name(&name).ok_or_else(|| {
            let names: Vec<&str> = available().iter().map(|set| set.isa()).collect();
            format!("{ISA_VARIABLE} is '{name}', this machine has {}", names.join(", "))
        }),
        _ => Ok(best()),
    }
}

/// Sets whose vector instructions are emulated, so that their packing and tiling is tested where the CPU lacks them.
#[cfg(test)]
pub(crate) fn emulated() -> Vec<&'static dyn KernelSet> {
    #[cfg(target_arch = "x86_64")]
    return x86_64::sets::emulated();
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}
