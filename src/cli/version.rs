//! `oltr --version`, with `-v` what this build and this processor make of it.

use super::args::Common;
use super::exit::{self, Exit};
use super::output::Output;

/// Prints the version.
pub fn run(common: &Common) -> anyhow::Result<Exit> {
    let mut out = Output::new();
    out.line(&format!("oltr {}", env!("CARGO_PKG_VERSION")))?;
    if common.verbose > 0 {
        out.line(&format!("target: {} {}", std::env::consts::ARCH, std::env::consts::OS))?;
        // A model picks its kernels when it is loaded.
        let kernels = match common.load(None) {
            Ok(model) => model.summary().isa.clone(),
            Err(error) => format!("unknown: {}", exit::message(&error)),
        };
        out.line(&format!("kernels: {kernels}"))?;
    }
    Ok(Exit::Success)
}
