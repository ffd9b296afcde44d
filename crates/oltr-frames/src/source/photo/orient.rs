//! Turns a photo upright by its EXIF orientation.

use image::metadata::Orientation;

use crate::frame::{Frame, Geometry};

/// Columns and rows of a block. Blocks keep both reads and writes in the cache.
const BLOCK: usize = 32;

/// Turns an RGB `frame` upright. `scratch` is swapped with its pixels.
pub fn upright(frame: &mut Frame, orientation: Orientation, scratch: &mut Vec<u8>) {
    let geometry = frame.geometry();
    let (width, height) = (geometry.width as usize, geometry.height as usize);
    // Target of the pixel at column x of row y, as (column, row).
    type Place = fn(x: usize, y: usize, right: usize, bottom: usize) -> (usize, usize);
    let place: Place = match orientation {
        Orientation::NoTransforms => return,
        Orientation::FlipHorizontal => |x, y, right, _| (right - x, y),
        Orientation::Rotate180 => |x, y, right, bottom| (right - x, bottom - y),
        Orientation::FlipVertical => |x, y, _, bottom| (x, bottom - y),
        Orientation::Rotate90FlipH => |x, y, _, _| (y, x),
        Orientation::Rotate90 => |x, y, _, bottom| (bottom - y, x),
        Orientation::Rotate270FlipH => |x, y, right, bottom| (bottom - y, right - x),
        Orientation::Rotate270 => |x, y, right, _| (y, right - x),
    };
    let on_its_side = matches!(
        orientation,
        Orientation::Rotate90FlipH | Orientation::Rotate90 | Orientation::Rotate270FlipH | Orientation::Rotate270
    );
    let turned = match on_its_side {
        true => Geometry { width: geometry.height, height: geometry.width, ..geometry },
        false => geometry,
    };
    scratch.resize(width * height * 3, 0);
    let (pixels, _) = scratch.as_chunks_mut::<3>();
    let turned_width = turned.width as usize;
    for block_y in (0..height).step_by(BLOCK) {
        for block_x in (0..width).step_by(BLOCK) {
            for y in block_y..height.min(block_y + BLOCK) {
                let (row, _) = frame.row(y as u32).as_chunks::<3>();
                for (x, pixel) in row.iter().enumerate().skip(block_x).take(BLOCK) {
                    let (to_x, to_y) = place(x, y, width - 1, height - 1);
                    pixels[to_y * turned_width + to_x] = *pixel;
                }
            }
        }
    }
    frame.swap_data(turned, scratch);
}
