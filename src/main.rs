//! `oltr`, the command line program: parse, run, say what went wrong, exit.

mod cli;

use std::process::ExitCode;
use std::time::Instant;

use cli::args::Cli;
use cli::{exit, shutdown};

fn main() -> ExitCode {
    // Without a handler a request for statistics would end the program, even one that has none.
    let taken = shutdown::take_requests();
    let start = Instant::now();
    exit::on_panic();
    // Ends the process itself after --help (0) and wrong usage (2).
    let arguments = Cli::read();
    cli::log::init(&arguments.common);
    if let Err(e) = taken {
        log::warn!("SIGUSR1 cannot be taken over: {e}");
    }
    match cli::run(&arguments, start) {
        Ok(code) => code.into(),
        Err(error) => exit::report(&error).into(),
    }
}
