//! Diagnostics on stderr: `-q` errors, warnings by default, `-v` what happens, `-vv` details.

use std::io::Write;

use log::{Level, LevelFilter};

use oltr::text::printable;

use super::args::Common;

/// Sets up the logger. The variable `RUST_LOG`, where set, says what `-v` and `-q` would.
pub fn init(common: &Common) {
    let (oltr, others) = levels(common);
    let mut builder = env_logger::Builder::new();
    builder.filter_level(others).filter_module("oltr", oltr);
    if let Ok(filters) = std::env::var("RUST_LOG") {
        builder.parse_filters(&filters);
    }
    builder.format(|out, record| {
        let said = record.args().to_string();
        match record.level() {
            Level::Info => writeln!(out, "oltr: {}", printable(&said)),
            level => writeln!(out, "oltr: {}: {}", level.as_str().to_lowercase(), printable(&said)),
        }
    });
    builder.init();
}

/// What oltr and what its libraries may say: theirs is of interest to developers only.
fn levels(common: &Common) -> (LevelFilter, LevelFilter) {
    match (common.quiet, common.verbose) {
        (true, _) => (LevelFilter::Error, LevelFilter::Off),
        (_, 0) => (LevelFilter::Warn, LevelFilter::Error),
        (_, 1) => (LevelFilter::Info, LevelFilter::Error),
        (_, 2) => (LevelFilter::Debug, LevelFilter::Warn),
        _ => (LevelFilter::Trace, LevelFilter::Debug),
    }
}
