//! FIFOs with writers that stall, leave and come back.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oltr::source::stream::{self, RawFormat, Settings};
use oltr::source::{FrameSource, Next};
use oltr::{Error, Frame, Limits, PixelFormat};

const PATIENCE: Duration = Duration::from_millis(30);

struct Fifo {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Fifo {
    fn new() -> Fifo {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("frames");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        Fifo { _folder: folder, path }
    }

    fn writer(&self) -> File {
        OpenOptions::new().write(true).open(&self.path).unwrap()
    }
}

fn open(path: &Path, settings: &Settings) -> oltr::Result<Box<dyn FrameSource>> {
    stream::open(path, settings, &Limits::default(), &|| false)
}

fn gray() -> Settings {
    Settings { raw: Some(RawFormat::new(PixelFormat::Gray, 4, 4)), ..Settings::default() }
}

#[test]
fn a_writer_that_stalls_is_waited_for_in_slices() {
    let fifo = Fifo::new();
    let mut source = open(&fifo.path, &gray()).unwrap();
    assert!(source.is_live());
    let mut frame = Frame::with_capacity(source.bounds().frame_bytes);
    let start = Instant::now();
    assert_eq!(source.next(&mut frame, PATIENCE).unwrap(), Next::Waiting, "there is no writer yet");
    let waited = start.elapsed();
    assert!(waited >= PATIENCE && waited < Duration::from_secs(2), "{waited:?}");
    let mut writer = fifo.writer();
    writer.write_all(&[1; 10]).unwrap();
    assert_eq!(source.next(&mut frame, PATIENCE).unwrap(), Next::Waiting, "half a frame");
    assert_eq!(source.next(&mut frame, PATIENCE).unwrap(), Next::Waiting, "still half a frame");
    writer.write_all(&[2; 10]).unwrap();
    assert_eq!(source.next(&mut frame, PATIENCE).unwrap(), Next::Frame);
    assert_eq!(frame.data(), [[1; 10].as_slice(), &[2; 6]].concat());
}

#[test]
fn a_writer_that_leaves_is_the_end_and_another_one_may_come() {
    let fifo = Fifo::new();
    let mut source = open(&fifo.path, &gray()).unwrap();
    let mut frame = Frame::with_capacity(source.bounds().frame_bytes);
    fifo.writer().write_all(&[3; 20]).unwrap();
    assert_eq!(source.next(&mut frame, PATIENCE).unwrap(), Next::Frame);
    let Next::Damaged(damage) = source.next(&mut frame, PATIENCE).unwrap() else { panic!("no damage") };
    assert_eq!(damage.offset, Some(16));
    assert_eq!(source.next(&mut frame, PATIENCE).unwrap(), Next::End);
    source.reconnect().unwrap();
    assert_eq!(source.next(&mut frame, PATIENCE).unwrap(), Next::Waiting);
    // The first writer's partial frame is not mixed with the second writer's bytes.
    fifo.writer().write_all(&[4; 16]).unwrap();
    assert_eq!(source.next(&mut frame, PATIENCE).unwrap(), Next::Frame);
    assert_eq!((frame.data(), frame.stamp().seq), (&[4; 16][..], 2));
    assert_eq!(source.next(&mut frame, PATIENCE).unwrap(), Next::End);
}

#[test]
fn a_yuv4mpeg2_writer_begins_with_its_header_again() {
    let fifo = Fifo::new();
    let writer = std::thread::spawn({
        let path = fifo.path.clone();
        move || OpenOptions::new().write(true).open(path).unwrap().write_all(b"YUV4MPEG2 W2 H2 Cmono\nFRAME\n12")
    });
    let mut source = open(&fifo.path, &Settings::default()).unwrap();
    writer.join().unwrap().unwrap();
    let mut frame = Frame::with_capacity(source.bounds().frame_bytes);
    assert!(matches!(source.next(&mut frame, PATIENCE).unwrap(), Next::Damaged(_)));
    assert_eq!(source.next(&mut frame, PATIENCE).unwrap(), Next::End);
    source.reconnect().unwrap();
    fifo.writer().write_all(b"YUV4MPEG2 W1 H2 Cmono\nFRAME\n56").unwrap();
    assert_eq!(source.next(&mut frame, PATIENCE).unwrap(), Next::Frame);
    assert_eq!((frame.data(), frame.width()), (&b"56"[..], 1));
}

#[test]
fn a_silent_stream_ends_by_timeout_or_by_a_stop() {
    let fifo = Fifo::new();
    let settings = Settings { timeout: Some(Duration::from_millis(100)), ..Settings::default() };
    let error = open(&fifo.path, &settings).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }) && error.to_string().contains("silent"), "{error}");
    let stopped = stream::open(&fifo.path, &Settings::default(), &Limits::default(), &|| true).map(|_| ());
    assert!(matches!(stopped, Err(Error::Unavailable { .. })), "{stopped:?}");
}

#[test]
fn a_file_is_not_live_and_ends_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames");
    std::fs::write(&path, [9; 16]).unwrap();
    let mut source = open(&path, &gray()).unwrap();
    assert!(!source.is_live());
    let mut frame = Frame::with_capacity(16);
    assert_eq!(source.next(&mut frame, PATIENCE).unwrap(), Next::Frame);
    assert_eq!(source.next(&mut frame, PATIENCE).unwrap(), Next::End);
    assert!(matches!(source.reconnect(), Err(Error::Unavailable { .. })));
    assert!(matches!(open(folder.path(), &gray()).map(|_| ()), Err(Error::BadInput { .. })));
    assert!(matches!(open(&folder.path().join("none"), &gray()).map(|_| ()), Err(Error::NotFound { .. })));
}

/// The next writer of a FIFO sends frames that are too large: they are reported, and the writer
/// after it is read.
#[test]
fn a_writer_whose_frames_do_not_fit_is_passed_over() {
    let fifo = Fifo::new();
    let write = |bytes: &'static [u8]| {
        let path = fifo.path.clone();
        std::thread::spawn(move || OpenOptions::new().write(true).open(path).unwrap().write_all(bytes).unwrap())
    };
    let small = b"YUV4MPEG2 W2 H1 Cmono\nFRAME\n12";
    let large = b"YUV4MPEG2 W8 H1 Cmono\nFRAME\n12345678FRAME\nabcdefgh";
    for (room, frames, damages) in [(0, 2, 1), (8, 4, 0)] {
        let settings = Settings { room, ..Settings::default() };
        let writer = write(small);
        let mut source = open(&fifo.path, &settings).unwrap();
        writer.join().unwrap();
        let mut frame = Frame::with_capacity(source.bounds().frame_bytes);
        let mut seen = [0, 0];
        for bytes in [&small[..0], large, small] {
            let writer = (!bytes.is_empty()).then(|| {
                source.reconnect().unwrap();
                write(if bytes == large { large } else { small })
            });
            loop {
                match source.next(&mut frame, PATIENCE).unwrap() {
                    Next::Frame => seen[0] += 1,
                    Next::Damaged(_) => seen[1] += 1,
                    Next::Waiting => {}
                    Next::End => break,
                }
            }
            if let Some(writer) = writer {
                writer.join().unwrap();
            }
        }
        assert_eq!(seen, [frames, damages], "room for {room}");
    }
}
