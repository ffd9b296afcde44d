//! `oltr --version`; with `-v` also the build and the processor's kernels.

use oltr::model;

use super::args::Common;
use super::exit::Exit;
use super::output::Output;

/// Prints the version.
pub fn run(common: &Common) -> anyhow::Result<Exit> {
    let mut out = Output::new();
    out.line(&format!("oltr {}", env!("CARGO_PKG_VERSION")))?;
    if common.verbose > 0 {
        out.line(&format!("target: {} {}", std::env::consts::ARCH, std::env::consts::OS))?;
        out.line(&format!("kernels: {}", model::selected_kernels()?))?;
        out.line(&format!("kernels that run here: {}", model::available_kernels().join(", ")))?;
    }
    Ok(Exit::Success)
}
