//! Classifies a YUV4MPEG2 or JPEG stream on standard input and prints JSON lines:
//!
//! ```sh
//! ffmpeg -i clip.mp4 -f yuv4mpegpipe -pix_fmt yuv420p - | cargo run --release --example stream_stdin
//! ```

use std::path::Path;

use oltr::pipeline::{self, Control, Settings};
use oltr::sink::json::{self, JsonLines};
use oltr::source::stream;
use oltr::{Classifier, Limits, Model};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limits = Limits::default();
    let model = Model::builtin(&Default::default())?;
    let mut classifier = Classifier::new(&model)?;
    let mut source = stream::open(Path::new("-"), &Default::default(), &limits, &|| false)?;
    let mut sink = JsonLines::new(std::io::stdout(), json::Settings::default(), &limits);
    // Another thread, or a signal handler, sets `control.stop` to end it.
    let control = Control::default();
    let settings = Settings::default();
    let report = pipeline::run(source.as_mut(), &mut classifier, &mut sink, &control, &settings, &limits)?;
    eprintln!("{} of {} frames classified", report.stats.classified, report.stats.captured);
    Ok(())
}
