//! `oltr-link`: publishes the events of a store over MQTT, in order, each at least once.
//!
//! - [`backlog`] knows which records wait, and reads them beside the process that writes the store.
//! - [`wire`] is one connection to a broker; [`link`] is the loop that keeps one, sends, and waits between attempts.
//! - [`memory`] is what was acknowledged, on the disk.
//! - [`home`] is what Home Assistant is told.
//!
//! One thread does all of this: there is never a second connection.

mod address;
mod args;
mod backlog;
mod home;
mod link;
mod memory;
mod pause;
mod wire;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use log::{Level, LevelFilter};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use args::Args;

/// Exit codes, as sysexits has them.
const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;
const CONFIG: u8 = 78;

/// Why the program ends with an error.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for cannot be.
    Config(String),
    /// What is needed is not there.
    Unavailable(String),
}

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    log_to_stderr(&args);
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The second one ends the program at once: the first may find it waiting for a network.
        let registered = signal_hook::flag::register_conditional_shutdown(signal, 0, stop.clone())
            .and_then(|_| signal_hook::flag::register(signal, stop.clone()));
        if let Err(e) = registered {
            log::warn!("signal {signal} cannot be taken: {e}");
        }
    }
    match link::run(&args, &stop) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(text)) => {
            log::error!("{text}");
            ExitCode::from(CONFIG)
        }
        Err(Failure::Unavailable(text)) => {
            log::error!("{text}");
            ExitCode::from(UNAVAILABLE)
        }
    }
}

fn log_to_stderr(args: &Args) {
    let level = match (args.quiet, args.verbose) {
        (true, _) => LevelFilter::Error,
        (_, 0) => LevelFilter::Warn,
        (_, 1) => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    let mut builder = env_logger::Builder::new();
    builder.filter_level(LevelFilter::Error).filter_module("oltr_link", level).filter_module("oltr_store", level);
    builder.format(|out, record| {
        // Names of files and texts of a broker must not begin lines of their own.
        let said: String = record.args().to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        match record.level() {
            Level::Info => writeln!(out, "oltr-link: {said}"),
            level => writeln!(out, "oltr-link: {}: {said}", level.as_str().to_lowercase()),
        }
    });
    builder.init();
}
