//! Generated scenes: a bright square that moves across noise.

use std::time::{Duration, Instant};

use oltr::clock::monotonic_ns;
use oltr::source::{Bounds, FrameSource, Next};
use oltr::{Frame, Geometry, Limits, PixelFormat, Result, Stamp};

pub const WIDTH: u32 = 320;
pub const HEIGHT: u32 = 240;
/// Frames a second.
pub const RATE: u64 = 10;
/// Side of the square.
pub const SIDE: u32 = 36;

/// A box: first column and row, columns, rows.
pub type Square = (i32, i32, u32, u32);

/// Position of the square of a passage that begins with frame `first`: from the left to the right border, 6 pixels per
/// frame.
pub fn passage(frame: u64, first: u64) -> Option<Square> {
    let x = frame.checked_sub(first)? as i32 * 6 - SIDE as i32;
    (x < WIDTH as i32).then_some((x, 90, SIDE, SIDE))
}

/// Luma of a frame: a background with texture, noise that changes from frame to frame, and squares.
pub fn draw(frame: u64, squares: &[Square], width: u32, height: u32, luma: &mut [u8]) {
    let mut state = frame.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for (i, pixel) in luma.iter_mut().enumerate() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (x, y) = (i as u32 % width, i as u32 / width);
        let ground = 60 + (x / 20 % 3) * 14 + (y / 24 % 3) * 9;
        *pixel = (ground + (state >> 62) as u32) as u8;
    }
    for (left, top, columns, rows) in squares {
        for y in (*top).max(0)..(top + *rows as i32).min(height as i32) {
            for x in (*left).max(0)..(left + *columns as i32).min(width as i32) {
                // Not uniform, like a real object.
                let shade = ((x - left) / 6 % 2 + (y - top) / 9 % 2) * 25;
                luma[(y * width as i32 + x) as usize] = (180 + shade) as u8;
            }
        }
    }
}

/// What a frame of a [`Film`] is.
#[derive(Clone, Debug)]
pub enum Shot {
    /// Noise with squares.
    Squares(Vec<Square>),
    /// As above, in another size.
    Sized(u32, u32, Vec<Square>),
    /// All of one luma.
    Flat(u8),
    /// No frame within the pipeline's patience.
    Silence,
    End,
}

/// A source of generated frames.
pub struct Film<F> {
    script: F,
    live: bool,
    began: u64,
    seq: u64,
    step: u64,
    /// Called before each frame.
    pub before: Box<dyn FnMut(u64) + Send>,
}

impl<F: FnMut(u64) -> Shot + Send> Film<F> {
    /// A recording: frame times follow from the frame rate.
    pub fn recording(script: F) -> Film<F> {
        Film { script, live: false, began: monotonic_ns(), seq: 0, step: 0, before: Box::new(|_| {}) }
    }

    /// A camera that delivers frames as fast as they are taken.
    pub fn live(script: F) -> Film<F> {
        Film { live: true, ..Film::recording(script) }
    }
}

impl<F: FnMut(u64) -> Shot + Send> FrameSource for Film<F> {
    fn name(&self) -> &str {
        "film"
    }

    fn is_live(&self) -> bool {
        self.live
    }

    fn is_recording(&self) -> bool {
        !self.live
    }

    fn bounds(&self) -> Bounds {
        Bounds { frame_bytes: (WIDTH * HEIGHT * 2) as usize, decoder_bytes: 0 }
    }

    fn next(&mut self, frame: &mut Frame, patience: Duration) -> Result<Next> {
        (self.before)(self.step);
        let shot = (self.script)(self.step);
        self.step += 1;
        let (width, height) = match &shot {
            Shot::Sized(width, height, _) => (*width, *height),
            _ => (WIDTH, HEIGHT),
        };
        let squares = match shot {
            Shot::End => return Ok(Next::End),
            Shot::Silence => {
                let until = Instant::now() + patience;
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
                return Ok(Next::Waiting);
            }
            Shot::Flat(luma) => {
                frame.reshape(Geometry::new(PixelFormat::Gray, width, height), &Limits::default())?.fill(luma);
                None
            }
            Shot::Squares(squares) | Shot::Sized(_, _, squares) => Some(squares),
        };
        if let Some(squares) = squares {
            let luma = frame.reshape(Geometry::new(PixelFormat::Gray, width, height), &Limits::default())?;
            draw(self.seq, &squares, width, height, luma);
        }
        let mono_ns = match self.live {
            true => monotonic_ns(),
            false => self.began + self.seq * 1_000_000_000 / RATE,
        };
        frame.set_stamp(Stamp { seq: self.seq, mono_ns });
        self.seq += 1;
        Ok(Next::Frame)
    }
}

/// The scene as a YUV4MPEG2 file of `frames` frames.
pub fn y4m(frames: u64, squares: impl Fn(u64) -> Vec<Square>) -> Vec<u8> {
    let mut bytes = format!("YUV4MPEG2 W{WIDTH} H{HEIGHT} F{RATE}:1 Ip A1:1 C420jpeg\n").into_bytes();
    let luma = (WIDTH * HEIGHT) as usize;
    for frame in 0..frames {
        bytes.extend(b"FRAME\n");
        let start = bytes.len();
        bytes.resize(start + luma * 3 / 2, 128);
        draw(frame, &squares(frame), WIDTH, HEIGHT, &mut bytes[start..start + luma]);
    }
    bytes
}
