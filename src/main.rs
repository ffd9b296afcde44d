//! `oltr`, the command line program: parse, run, say what went wrong, exit.

mod cli;

use std::process::ExitCode;
use std::time::Instant;

use cli::args::Cli;
use cli::exit;

fn main() -> ExitCode {
    let start = Instant::now();
    exit::on_panic();
    // Ends the process itself after --help (0) and wrong usage (2).
    let arguments = Cli::read();
    cli::log::init(&arguments.common);
    match cli::run(&arguments, start) {
        Ok(code) => code.into(),
        Err(error) => exit::report(&error).into(),
    }
}
