//! From what the command line names to a source of frames.

use std::path::Path;

use oltr::source::FrameSource;
use oltr::source::stream;
use oltr::{Limits, Result};

use super::args::StreamArgs;

/// Opens the source that `args` name; `stop` is asked meanwhile whether to give up.
pub fn open(args: &StreamArgs, limits: &Limits, stop: &dyn Fn() -> bool) -> Result<Box<dyn FrameSource>> {
    stream::open(Path::new(&args.source[0]), &args.stream_settings(), limits, stop)
}
