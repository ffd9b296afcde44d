//! The commands, one file each. They use only the public interface of the library.

mod adopt;
pub mod args;
mod attention;
mod bench;
mod byte_size;
mod calibrate;
mod cameras;
mod classify;
mod doctor;
mod enrol;
mod evaluate;
pub mod exit;
mod export;
mod generate;
mod http;
mod inspect;
pub mod log;
mod naming;
mod npz;
mod output;
mod read;
mod reading;
mod reading_args;
mod report;
mod review;
pub mod shutdown;
mod store;
mod stream;
mod study;
mod table;
mod text;
mod verify;
mod version;

use std::time::Instant;

use args::{Cli, Command};
use exit::Exit;

/// Runs the command. `start` is the start time of the process.
pub fn run(cli: &Cli, start: Instant) -> anyhow::Result<Exit> {
    let common = &cli.common;
    match &cli.command {
        _ if cli.version => version::run(common),
        Some(Command::Classify(args)) => classify::run(args, common),
        Some(Command::Stream(args)) => stream::run(args, common),
        Some(Command::Cameras(args)) => cameras::run(args, common),
        Some(Command::Inspect(args)) => inspect::run(args, common),
        Some(Command::Verify(args)) => verify::run(args, common),
        Some(Command::Bench(args)) => bench::run(args, common, start),
        Some(Command::Evaluate(args)) => evaluate::run(args, common),
        Some(Command::Calibrate(args)) => calibrate::run(args, common),
        Some(Command::Adopt(args)) => adopt::adopt(args, common),
        Some(Command::Refit(args)) => adopt::refit(args, common),
        Some(Command::Enrol(args)) => enrol::run(args, common),
        Some(Command::Export(args)) => export::run(args, common.json),
        Some(Command::Store(args)) => store::run(args, common),
        Some(Command::Review(args)) => review::run(args, common),
        Some(Command::Doctor(args)) => doctor::run(args, common),
        Some(Command::Generate(args)) => generate::run(args),
        None => Cli::missing_command(),
    }
}
