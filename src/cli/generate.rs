//! `oltr generate`, hidden: files for packages, made from the definition of the command line.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;

use super::args::{Cli, GenerateArgs};
use super::exit::Exit;

/// Runs the command.
pub fn run(args: &GenerateArgs) -> anyhow::Result<Exit> {
    match args {
        GenerateArgs::Completions { shell } => {
            // By way of memory: the generator panics if standard output is closed.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "oltr", &mut script);
            std::io::stdout().write_all(&script)?;
        }
        GenerateArgs::Manual { folder } => manual(folder)?,
    }
    Ok(Exit::Success)
}

/// A page for the program and one for each command.
fn manual(folder: &Path) -> anyhow::Result<()> {
    let context = || format!("cannot write the manual to '{}'", folder.display());
    std::fs::create_dir_all(folder).with_context(context)?;
    clap_mangen::generate_to(Cli::command(), folder).with_context(context)
}
