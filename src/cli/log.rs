//! Log on stderr: errors with `-q`, warnings by default, more with `-v`, details with `-vv`.

use std::io::Write;

use log::{Level, LevelFilter};

use oltr::text::printable;

use super::args::Common;

/// Sets up the logger. The variable `RUST_LOG` overrides `-v` and `-q`.
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

/// Log levels of oltr and of its libraries, whose messages interest developers only.
fn levels(common: &Common) -> (LevelFilter, LevelFilter) {
    match (common.quiet, common.verbose) {
        (true, _) => (LevelFilter::Error, LevelFilter::Off),
        (_, 0) => (LevelFilter::Warn, LevelFilter::Error),
        (_, 1) => (LevelFilter::Info, LevelFilter::Error),
        (_, 2) => (LevelFilter::Debug, LevelFilter::Warn),
        _ => (LevelFilter::Trace, LevelFilter::Debug),
    }
}
