//! Prints what moves in a recording: a line of JSON a frame, and one for each thing that ended.
//!
//!     cargo run --release -p oltr-scenes --example boxes -- VIDEO.y4m [--columns N] [--fps F] [--foreground FILE]
//!
//! No network looks at the things, so each ends as `open`. `--foreground` writes the small picture of what moves, a byte a
//! cell and frame after frame.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use oltr_frames::source::Next;
use oltr_frames::source::stream::{self, Settings as Stream};
use oltr_frames::{Frame, Limits};
use oltr_scenes::{Ended, Scene, Settings, Thing};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut settings, mut video, mut rate, mut cells) = (Settings::default(), None, 10.0, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--columns" => settings.columns = args.next().ok_or("--columns N")?.parse()?,
            "--fps" => rate = args.next().ok_or("--fps F")?.parse()?,
            "--foreground" => cells = Some(std::fs::File::create(args.next().ok_or("--foreground FILE")?)?),
            _ => video = Some(arg),
        }
    }
    let limits = Limits::default();
    let path = video.ok_or("name a video")?;
    let mut source = stream::open(Path::new(&path), &Stream::default(), &limits, &|| false)?;
    let mut scene = Scene::new(&settings, &limits)?;
    let mut frame = Frame::with_capacity(source.bounds().frame_bytes);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let (mut number, mut spent) = (0u32, Duration::ZERO);
    loop {
        match source.next(&mut frame, Duration::from_secs(1))? {
            Next::Frame => {}
            Next::End => break,
            _ => continue,
        }
        let begin = Instant::now();
        scene.look(&frame, Duration::from_secs_f64(f64::from(number) / rate))?;
        spent += begin.elapsed();
        let things: Vec<Value> = scene.things().iter().map(told).collect();
        writeln!(out, "{}", json!({"schema": "oltr.frame/1", "frame": number, "things": things}))?;
        if let Some(camera) = scene.camera() {
            writeln!(out, "{}", json!({"schema": "oltr.camera/1", "frame": number, "camera": camera.name()}))?;
        }
        for ended in scene.ended() {
            writeln!(out, "{}", end(ended))?;
        }
        if let Some(file) = &mut cells {
            file.write_all(scene.foreground().cells)?;
        }
        number += 1;
    }
    scene.finish();
    for ended in scene.ended() {
        writeln!(out, "{}", end(ended))?;
    }
    out.flush()?;
    let frames = f64::from(number.max(1));
    eprintln!("{:?}", scene.counts());
    eprintln!("{number} frames, {:.3} ms each, {} bytes", spent.as_secs_f64() * 1e3 / frames, scene.bytes());
    Ok(())
}

fn told(thing: &Thing) -> Value {
    let area = thing.area;
    let area = [i64::from(area.x), i64::from(area.y), i64::from(area.width), i64::from(area.height)];
    json!({"thing": thing.id, "box": area, "state": thing.state.name(), "clean": thing.clean})
}

fn end(ended: &Ended) -> Value {
    let thing = &ended.thing;
    json!({
        "schema": "oltr.event/1", "type": "end", "decision": "open", "reason": ended.reason.name(),
        "thing": {
            "id": thing.id, "seen": thing.seen, "merged": thing.merged, "way": thing.way,
            "first_s": thing.first.as_secs_f64(), "last_s": thing.last.as_secs_f64(),
            "path": thing.path.iter().map(|step| json!([step.time.as_millis() as u64, step.x, step.y])).collect::<Vec<_>>(),
        },
    })
}
