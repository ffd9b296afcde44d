//! A source and a sink of one's own: a picture that drifts by, and a line for each event.
//!
//! ```sh
//! cargo run --release --example custom_source examples/photos/cup.jpg
//! ```

use std::time::Duration;

use oltr::clock::monotonic_ns;
use oltr::pipeline::{self, Control, Settings};
use oltr::sink::{EventResult, Sink};
use oltr::source::{Bounds, FrameSource, Next, photo};
use oltr::{Classifier, Frame, Geometry, Limits, Model, PixelFormat, Result, Stamp};

/// The photo, shifted by a few pixels more in each frame.
struct Drift {
    photo: Frame,
    seq: u64,
}

impl FrameSource for Drift {
    fn name(&self) -> &str {
        "drift"
    }

    /// A camera would say `true`: its frames are dropped rather than waited for.
    fn is_live(&self) -> bool {
        false
    }

    fn bounds(&self) -> Bounds {
        Bounds { frame_bytes: self.photo.data().len(), decoder_bytes: self.photo.bytes() }
    }

    fn next(&mut self, frame: &mut Frame, _patience: Duration) -> Result<Next> {
        if self.seq == 50 {
            return Ok(Next::End);
        }
        let (width, height) = (self.photo.width(), self.photo.height());
        let pixels = frame.reshape(Geometry::new(PixelFormat::Rgb24, width, height), &Limits::default())?;
        pixels.copy_from_slice(self.photo.data());
        pixels.rotate_left(3 * 4 * self.seq as usize % self.photo.data().len());
        frame.set_stamp(Stamp { seq: self.seq, mono_ns: monotonic_ns() });
        self.seq += 1;
        Ok(Next::Frame)
    }
}

/// Prints events.
struct Printer;

impl Sink for Printer {
    fn event(&mut self, result: &EventResult) -> Result<()> {
        let event = &result.change.event;
        let name = result.names.name(event.label).unwrap_or("open");
        println!("{:?} {name}: {} frames", result.change.phase, event.frames);
        Ok(())
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let limits = Limits::default();
    let photo = photo::read(std::env::args().nth(1).ok_or("name a photo")?, &limits)?;
    let model = Model::builtin(&Default::default())?;
    let mut classifier = Classifier::new(&model)?;
    let mut source = Drift { photo, seq: 0 };
    let (control, settings) = (Control::default(), Settings::default());
    pipeline::run(&mut source, &mut classifier, &mut Printer, &control, &settings, &limits)?;
    Ok(())
}
