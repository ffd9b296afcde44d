//! The commands: one file each, over the public interface of the library.

pub mod args;
mod bench;
mod classify;
mod doctor;
pub mod exit;
mod generate;
mod inspect;
pub mod log;
mod npz;
mod output;
mod shutdown;
mod table;
mod verify;
mod version;

use std::time::Instant;

use args::{Cli, Command};
use exit::Exit;

/// Runs the command that was asked for. `start` is when the process began.
pub fn run(cli: &Cli, start: Instant) -> anyhow::Result<Exit> {
    let common = &cli.common;
    match &cli.command {
        _ if cli.version => version::run(common),
        Some(Command::Classify(args)) => classify::run(args, common),
        Some(Command::Inspect(args)) => inspect::run(args, common),
        Some(Command::Verify(args)) => verify::run(args, common),
        Some(Command::Bench(args)) => bench::run(args, common, start),
        Some(Command::Doctor(args)) => doctor::run(args, common),
        Some(Command::Generate(args)) => generate::run(args),
        None => Cli::missing_command(),
    }
}
