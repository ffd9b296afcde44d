//! Makes and measures pictures of the camera on its own thread, so that the classifying thread only copies a frame.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use oltr::{Frame, Limits, Rect, Rotation, clock};

use super::super::super::http;
use super::{EVERY, PIXELS, Pixels};

/// Side of the middle of a frame that sharpness is measured in, in pixels of the camera.
const MIDDLE: u32 = 256;

/// Stack of the thread.
pub const STACK: usize = 256 << 10;

/// Memory in addition to a frame.
pub const BYTES: usize = STACK + PIXELS as usize * 3 + (MIDDLE * MIDDLE * 3) as usize;

/// Interval between checks for a stop.
const TICK: Duration = Duration::from_millis(200);

/// Results for a frame.
#[derive(Debug, Default)]
pub struct Seen {
    /// The frame, small enough to be shown.
    pub camera: Pixels,
    middle: Vec<u8>,
    pub sharpness: f32,
    /// Brightness, and the share of pixels that are black or white.
    pub exposure: (f32, f32),
    /// Columns and rows of the frame.
    pub size: (u32, u32),
    /// When it was copied, by the monotonic clock.
    pub time: Duration,
}

/// Holds a frame until its picture is made.
pub struct Desk {
    slot: Mutex<Slot>,
    laid: Condvar,
    limits: Limits,
}

#[derive(Default)]
struct Slot {
    frame: Frame,
    is_new: bool,
    last: Duration,
}

impl Desk {
    /// For frames within `limits`.
    pub fn new(limits: &Limits) -> Desk {
        Desk { slot: Mutex::default(), laid: Condvar::new(), limits: limits.clone() }
    }

    /// Copies `frame` if it is time and the desk is free. Never waits.
    pub fn lay(&self, frame: &Frame) {
        let Ok(mut slot) = self.slot.try_lock() else { return };
        let now = Duration::from_nanos(clock::monotonic_ns());
        if slot.is_new || now.saturating_sub(slot.last) < EVERY {
            return;
        }
        // Grows with the first frame, and is recycled for all that follow.
        match slot.frame.reshape_padded(frame.geometry(), frame.stride(), &self.limits) {
            Ok(bytes) if bytes.len() == frame.data().len() => bytes.copy_from_slice(frame.data()),
            _ => return,
        }
        (slot.is_new, slot.last) = (true, now);
        drop(slot);
        self.laid.notify_one();
    }

    /// Makes pictures of the frames and shows them with `show`, until `stop` is set.
    pub fn work(&self, stop: &AtomicBool, show: &mut dyn FnMut(&mut Seen)) {
        http::yield_to_frames();
        let camera = Pixels { bytes: Vec::with_capacity(PIXELS as usize * 3), ..Pixels::default() };
        let middle = Vec::with_capacity((MIDDLE * MIDDLE * 3) as usize);
        let mut seen = Seen { camera, middle, ..Seen::default() };
        while !stop.load(Ordering::Relaxed) {
            let slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.laid.wait_timeout_while(slot, TICK, |slot| !slot.is_new);
            let (mut slot, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if slot.is_new {
                seen.make(&slot.frame, slot.last);
                slot.is_new = false;
                drop(slot);
                show(&mut seen);
            }
        }
    }
}

impl Seen {
    fn make(&mut self, frame: &Frame, time: Duration) {
        let (width, height) = frame.shrink(None, Rotation::default(), PIXELS, &mut self.camera.bytes);
        (self.camera.width, self.camera.height) = (width, height);
        let middle = |side: u32| (side.saturating_sub(MIDDLE) / 2, side.min(MIDDLE));
        let ((x, w), (y, h)) = (middle(frame.width()), middle(frame.height()));
        let area = Rect { x, y, width: w, height: h };
        let (w, h) = frame.shrink(Some(area), Rotation::default(), MIDDLE * MIDDLE, &mut self.middle);
        self.sharpness = sharpness(&self.middle, w as usize, h as usize);
        self.exposure = exposure(&self.camera.bytes);
        (self.size, self.time) = ((frame.width(), frame.height()), time);
    }
}

fn luma(pixel: &[u8]) -> i32 {
    (i32::from(pixel[0]) * 77 + i32::from(pixel[1]) * 150 + i32::from(pixel[2]) * 29) >> 8
}

/// Sharpness, independent of contrast: the variance of the Laplacian divided by that of the picture.
fn sharpness(pixels: &[u8], width: usize, height: usize) -> f32 {
    if width < 3 || height < 3 || pixels.len() < width * height * 3 {
        return 0.0;
    }
    let at = |x: usize, y: usize| luma(&pixels[(y * width + x) * 3..][..3]);
    let (mut sum, mut squares, mut laplacian) = (0f64, 0f64, 0f64);
    for y in 1..height - 1 {
        for x in 1..width - 1 {
            let middle = at(x, y);
            let differs = 4 * middle - at(x - 1, y) - at(x + 1, y) - at(x, y - 1) - at(x, y + 1);
            sum += f64::from(middle);
            squares += f64::from(middle * middle);
            laplacian += f64::from(differs * differs);
        }
    }
    let n = ((width - 2) * (height - 2)) as f64;
    let variance = squares / n - (sum / n) * (sum / n);
    if variance < 1.0 { 0.0 } else { (100.0 * laplacian / n / variance) as f32 }
}

/// The mean brightness, 0..1, and the share of pixels that are black or white.
fn exposure(pixels: &[u8]) -> (f32, f32) {
    let (mut sum, mut clipped, mut n) = (0u64, 0u64, 0u64);
    for pixel in pixels.chunks_exact(3) {
        let luma = luma(pixel) as u64;
        sum += luma;
        clipped += u64::from(!(3..=252).contains(&luma));
        n += 1;
    }
    if n == 0 { (0.0, 0.0) } else { (sum as f32 / n as f32 / 255.0, clipped as f32 / n as f32) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oltr::{Geometry, PixelFormat};

    #[test]
    fn a_frame_is_copied_when_the_desk_is_free_and_shown_once() {
        let (desk, stop) = (Desk::new(&Limits::default()), AtomicBool::new(false));
        let frame = |luma: u8| {
            let mut frame = Frame::default();
            let geometry = Geometry::new(PixelFormat::Gray, 64, 48);
            frame.reshape(geometry, &Limits::default()).unwrap().fill(luma);
            frame
        };
        desk.lay(&frame(7));
        // The desk is occupied and it is not time: the first frame stays.
        desk.lay(&frame(9));
        let mut shown = Vec::new();
        desk.work(&stop, &mut |seen| {
            shown.push((seen.camera.bytes[0], seen.size));
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(shown, [(7, (64, 48))]);
        // `lay` does not wait while another thread holds the desk.
        let held = desk.slot.lock().unwrap();
        desk.lay(&frame(9));
        assert!(!held.is_new);
    }

    #[test]
    fn a_sharper_picture_has_a_higher_number() {
        let picture = |blur: usize| -> Vec<u8> {
            let edge = |x: usize| (x as i32 - 32).clamp(-(blur as i32), blur as i32) * 100 / blur as i32 + 128;
            (0..64 * 64).flat_map(|i| [edge(i % 64) as u8; 3]).collect()
        };
        let of: Vec<f32> = [1, 2, 4, 8, 16].into_iter().map(|blur| sharpness(&picture(blur), 64, 64)).collect();
        assert!(of.is_sorted_by(|a, b| a > b), "{of:?}");
        // A plain wall is neither, and half the contrast no blur.
        assert_eq!(sharpness(&[7; 64 * 64 * 3], 64, 64), 0.0);
        let half: Vec<u8> = picture(2).into_iter().map(|v| v / 2).collect();
        assert!((sharpness(&half, 64, 64) / of[1] - 1.0).abs() < 0.1);
        assert_eq!(sharpness(&[], 0, 0), 0.0);
        assert_eq!(exposure(&[255, 255, 255, 0, 0, 0]), (0.5, 1.0));
    }
}
