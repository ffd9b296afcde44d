//! The promise of flat memory. A program of its own, so that other tests' memory does not count.

mod common;

use std::time::{Duration, Instant};

use common::counting_allocator::{Taken, taken};
use common::half::Half;
use common::tiny;
use oltr::decide::events;
use oltr::pipeline::{self, Control, Settings};
use oltr::queue::Overflow;
use oltr::sink::json::{self, JsonLines};
use oltr::sink::{EventResult, FrameResult, Sink, Stats};
use oltr::source::stream::{self, Arrival, ByteInput, RawFormat};
use oltr::{Limits, Model, PixelFormat, Result};

const FRAMES: u64 = 10_000;
const WARM: u64 = 200;
const SIZE: (u32, u32) = (320, 240);

/// Endless bytes in pieces of an odd size, the same picture again and again, at the pace of a fast camera.
struct Bytes {
    head: &'static [u8],
    frame: Vec<u8>,
    frames: u64,
    at: usize,
    /// Allocations of the capturing thread when it was warm, and at the end.
    taken: std::sync::mpsc::SyncSender<Taken>,
}

impl ByteInput for Bytes {
    fn name(&self) -> &str {
        "bytes"
    }

    fn is_live(&self) -> bool {
        true
    }

    fn read(&mut self, into: &mut [u8], _deadline: Instant) -> Result<Arrival> {
        if !self.head.is_empty() {
            let n = self.head.len().min(into.len());
            into[..n].copy_from_slice(&self.head[..n]);
            self.head = &self.head[n..];
            return Ok(Arrival::Bytes(n));
        }
        if self.at == self.frame.len() {
            self.at = 0;
            self.frames += 1;
            if self.frames == WARM || self.frames == FRAMES {
                self.taken.send(taken()).unwrap();
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        if self.frames == FRAMES {
            return Ok(Arrival::End);
        }
        let n = into.len().min(self.frame.len() - self.at).min(50_021);
        into[..n].copy_from_slice(&self.frame[self.at..][..n]);
        self.at += n;
        Ok(Arrival::Bytes(n))
    }

    fn reconnect(&mut self) -> Result<()> {
        unreachable!("not called")
    }
}

/// Writes JSON lines slowly, and measures memory when warm and at the end.
struct Slow {
    json: JsonLines<std::io::Sink>,
    seen: u64,
    warm: Option<(Taken, u64)>,
}

impl Sink for Slow {
    fn frame(&mut self, frame: &FrameResult) -> Result<()> {
        std::thread::sleep(Duration::from_micros(300));
        self.json.frame(frame)?;
        self.seen += 1;
        if self.seen == WARM {
            let rss = resident();
            self.warm = Some((taken(), rss));
        }
        Ok(())
    }

    fn event(&mut self, event: &EventResult) -> Result<()> {
        self.json.event(event)
    }

    fn stats(&mut self, source: &str, stats: &Stats) -> Result<()> {
        self.json.stats(source, stats)
    }
}

/// Bytes of resident memory.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

#[test]
fn ten_thousand_frames_take_no_more_memory_than_two_hundred() {
    let model = Model::from_bytes("tiny", &tiny::bundle().encode(), &Default::default()).unwrap();
    let limits = Limits::default();
    let luma = SIZE.0 as usize * SIZE.1 as usize;
    let picture = |bytes: usize| (0..bytes).map(|i| (i * 7 % 251) as u8).collect::<Vec<u8>>();
    let raw = |format| stream::Settings { raw: Some(RawFormat::new(format, SIZE.0, SIZE.1)), ..Default::default() };
    let y4m = [b"FRAME\n".as_slice(), &picture(luma * 3 / 2)].concat();
    for (name, head, frame, reading, overflow) in [
        ("raw rgb24", &b""[..], picture(luma * 3), raw(PixelFormat::Rgb24), Overflow::DropOldest),
        ("raw rgb24", b"", picture(luma * 3), raw(PixelFormat::Rgb24), Overflow::Block),
        ("raw nv12", b"", picture(luma * 3 / 2), raw(PixelFormat::Nv12), Overflow::DropOldest),
        ("y4m", b"YUV4MPEG2 W320 H240 F60:1 C420jpeg\n", y4m, stream::Settings::default(), Overflow::DropOldest),
    ] {
        let (sender, captured) = std::sync::mpsc::sync_channel(2);
        let input = Bytes { head, frame, frames: 0, at: 0, taken: sender };
        let mut source = stream::from_input(Box::new(input), &reading, &limits, &|| false).unwrap();
        let bundle = model.bundle().unwrap();
        // Events begin and end all the time.
        let mut classifier = Half::new(bundle, 50);
        let lines = json::Settings { frames: true, ..Default::default() };
        let mut sink = Slow { json: JsonLines::new(std::io::sink(), lines, &limits), seen: 0, warm: None };
        let settings = Settings {
            overflow: Some(overflow),
            stats_every: Some(Duration::from_millis(100)),
            events: events::Settings { linger: Duration::ZERO, ..Default::default() },
            ..Settings::default()
        };
        let control = Control::default();
        let report = pipeline::run(source.as_mut(), &mut classifier, &mut sink, &control, &settings, &limits).unwrap();
        let (end, rss) = (taken(), resident());
        let stats = report.stats;
        assert_eq!((stats.captured, stats.classified + stats.dropped), (FRAMES, FRAMES), "{name}");
        assert!(stats.classified > 2 * WARM && stats.events > 5, "{name}: {stats:?}");
        assert_eq!(stats.dropped > 0, overflow == Overflow::DropOldest, "{name}: {stats:?}");
        let (warm, rss_warm) = sink.warm.unwrap();
        assert_eq!(end, warm, "{name}: the thread that classifies allocates");
        let capture: Vec<Taken> = captured.iter().take(2).collect();
        assert_eq!(capture[0], capture[1], "{name}: the thread that captures allocates");
        let grown = rss.abs_diff(rss_warm);
        assert!(grown < 1_000_000, "{name}: {grown} bytes from {rss_warm}");
        println!("{name}: resident {rss_warm} after {WARM}, {rss} after {} of {FRAMES} captured", stats.classified);
    }
}
