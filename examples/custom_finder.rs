//! A finder of one's own: what is bright in the dark is a thing, and each thing is one event.
//!
//! ```sh
//! cargo run --release --example custom_finder night.y4m
//! ```

use std::path::Path;
use std::time::Duration;

use oltr::pipeline::{self, Control, Settings};
use oltr::sink::{EventResult, Sink};
use oltr::source::stream;
use oltr::things::{self, AnyFinder, Area, Budget, Expected, Finder, Region, Regions, Stage};
use oltr::{Classifier, Frame, Limits, Model, Result};

/// Luma from which something is bright.
const BRIGHT: u8 = 200;

/// Finds the box around all that is bright; a real one would tell several things apart.
struct Lights;

impl Finder for Lights {
    fn find(&mut self, frame: &Frame, _time: Duration, _expected: &[Expected], regions: &mut Regions) -> Result<()> {
        // The first byte of a pixel is its luma, in all formats that cameras give but RGB.
        let step = frame.format().bytes_per_pixel();
        let mut found = Area::default();
        for y in 0..frame.height() {
            for (x, pixel) in frame.row(y).chunks_exact(step).enumerate() {
                if pixel[0] >= BRIGHT {
                    found = found.around(Area { x: x as i32, y: y as i32, width: 1, height: 1 });
                }
            }
        }
        if found.size() >= 8 {
            // There is room: nothing else is in it.
            let _ = regions.push(Region::new(found));
        }
        Ok(())
    }
}

/// Prints events.
struct Printer;

impl Sink for Printer {
    fn event(&mut self, result: &EventResult) -> Result<()> {
        let (event, Some(of)) = (&result.change.event, result.thing) else { return Ok(()) };
        let name = result.names.name(event.label).unwrap_or(event.label.word());
        println!("{:?} thing {}: {name}, {} cuts, at {:?}", result.change.phase, of.thing.id, of.crops, of.best);
        Ok(())
    }
}

fn main() -> Result<()> {
    let (limits, control) = (Limits::default(), Control::default());
    let path = std::env::args().nth(1).unwrap_or_else(|| "night.y4m".into());
    let mut source = stream::open(Path::new(&path), &Default::default(), &limits, &|| false)?;
    let model = Model::builtin(&Default::default())?;
    let mut classifier = Classifier::new(&model)?;
    let settings = things::Settings::default();
    let mut stage = Stage::with_finder(AnyFinder::new(Lights), &settings, Budget::fixed(), &limits)?;
    let (source, settings) = (source.as_mut(), Settings::default());
    let report = pipeline::run_things(source, &mut stage, &mut classifier, &mut Printer, &control, &settings, &limits)?;
    let cuts = stage.stats().cuts;
    println!("{} frames, {} cuts, {} of them skipped", report.stats.classified, cuts.asked, cuts.skipped);
    Ok(())
}
