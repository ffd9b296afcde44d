//! `oltr --version`, with `-v` what this build and this processor make of it.

use oltr::Error;
use oltr::int8::kernels;

use super::args::Common;
use super::exit::Exit;
use super::output::Output;

/// Prints the version.
pub fn run(common: &Common) -> anyhow::Result<Exit> {
    let mut out = Output::new();
    out.line(&format!("oltr {}", env!("CARGO_PKG_VERSION")))?;
    if common.verbose > 0 {
        out.line(&format!("target: {} {}", std::env::consts::ARCH, std::env::consts::OS))?;
        let selected = kernels::select().map_err(Error::Config)?;
        out.line(&format!("kernels: {}", selected.isa()))?;
        let available: Vec<_> = kernels::available().iter().map(|set| set.isa()).collect();
        out.line(&format!("kernels that run here: {}", available.join(", ")))?;
    }
    Ok(Exit::Success)
}
