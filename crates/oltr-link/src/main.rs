//! `oltr-link`: publishes the events of a store over MQTT, in order, each at least once.
//!
//! - [`backlog`] lists the records to send. It reads the store while another process writes it.
//! - [`wire`] is one connection to a broker. [`link`] is the loop that connects, sends and retries.
//! - [`memory`] keeps on disk which records were acknowledged.
//! - [`home`] makes the messages for Home Assistant.
//!
//! One thread does all of this, so there is never a second connection.

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

/// Exit codes of sysexits.h.
const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;
const CONFIG: u8 = 78;

/// Why the program ends with an error.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The options or files cannot be used.
    Config(String),
    /// Something that the program needs is missing.
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
        // A second signal ends the program at once: after the first it may still wait for a network.
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
        // File names and a broker's texts must not start new log lines.
        let said: String = record.args().to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        match record.level() {
            Level::Info => writeln!(out, "oltr-link: {said}"),
            level => writeln!(out, "oltr-link: {}: {said}", level.as_str().to_lowercase()),
        }
    });
    builder.init();
}
