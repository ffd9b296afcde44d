//! Looks at the frames of a recording again and again, and says how much time of a processor a frame took.
//!
//!     cargo run --release -p oltr-scenes --example pace -- VIDEO.y4m [FRAMES [ROUNDS]]
//!
//! FRAMES (60) are read before, so that only the gate and the tracker are measured. Every second round goes backwards: there is
//! no leap from the last frame to the first.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use oltr_frames::source::Next;
use oltr_frames::source::stream::{self, Settings as Stream};
use oltr_frames::{Frame, Limits};
use oltr_scenes::{Scene, Settings};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("name a video")?;
    let most: usize = args.next().map_or(Ok(60), |text| text.parse())?;
    let rounds: usize = args.next().map_or(Ok(10), |text| text.parse())?;
    let limits = Limits::default();
    let mut source = stream::open(Path::new(&path), &Stream::default(), &limits, &|| false)?;
    let mut frames = Vec::new();
    while frames.len() < most {
        let mut frame = Frame::with_capacity(source.bounds().frame_bytes);
        match source.next(&mut frame, Duration::from_secs(1))? {
            Next::Frame => frames.push(frame),
            Next::End => break,
            _ => {}
        }
    }
    let mut scene = Scene::new(&Settings::default(), &limits)?;
    let before = processor_time()?;
    let mut number = 0u32;
    for round in 0..rounds {
        for index in 0..frames.len() {
            let index = if round % 2 == 0 { index } else { frames.len() - 1 - index };
            scene.look(&frames[index], Duration::from_millis(100 * u64::from(number)))?;
            number += 1;
        }
    }
    let spent = processor_time()? - before;
    println!(
        "{number} frames, {:.4} ms each, {:?}",
        spent.as_secs_f64() * 1e3 / f64::from(number.max(1)),
        scene.counts()
    );
    Ok(())
}

/// Time that this program was on a processor, as Linux tells it; that other programs run does not count.
fn processor_time() -> Result<Duration, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    Ok(Duration::from_nanos(text.split(' ').next().unwrap_or_default().parse()?))
}
