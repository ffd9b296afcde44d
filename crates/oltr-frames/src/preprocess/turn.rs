//! Turning the small picture upright, rather than the large one.

use super::geometry::{Placement, SourceBox};
use crate::frame::Rotation;

/// Converts `placement`, made for a picture of `width` × `height` rotated by `rotation`, to the stored picture:
/// the part that it uses, and the columns and rows that this becomes before rotation.
pub fn unturned(placement: &Placement, rotation: Rotation, width: u32, height: u32) -> (SourceBox, u32, u32) {
    let SourceBox { left, top, right, bottom } = placement.source;
    let (columns, rows) = (placement.width, placement.height);
    let (width, height) = (width as f32, height as f32);
    match rotation {
        Rotation::None => (placement.source, columns, rows),
        Rotation::Quarter => {
            (SourceBox { left: top, right: bottom, top: height - right, bottom: height - left }, rows, columns)
        }
        Rotation::Half => {
            let part =
                SourceBox { left: width - right, right: width - left, top: height - bottom, bottom: height - top };
            (part, columns, rows)
        }
        Rotation::ThreeQuarters => {
            (SourceBox { left: width - bottom, right: width - top, top: left, bottom: right }, rows, columns)
        }
    }
}

/// Turns the RGB picture `pixels` of `columns` into `out`, rows `line` bytes apart.
pub fn turn(pixels: &[u8], columns: usize, rotation: Rotation, out: &mut [u8], line: usize) {
    let (pixels, _) = pixels.as_chunks::<3>();
    let (right, bottom) = (columns - 1, pixels.len() / columns - 1);
    for (y, row) in pixels.chunks_exact(columns).enumerate() {
        for (x, pixel) in row.iter().enumerate() {
            let (to_x, to_y) = match rotation {
                Rotation::None => (x, y),
                Rotation::Quarter => (bottom - y, x),
                Rotation::Half => (right - x, bottom - y),
                Rotation::ThreeQuarters => (y, right - x),
            };
            out[to_y * line + to_x * 3..][..3].copy_from_slice(pixel);
        }
    }
}
