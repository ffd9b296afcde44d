//! Small pictures of photos.

use crate::preprocess::{Preprocess, Resize};

/// Cells of a side: photos are stretched to a square. Of a photo of 4000 columns a cell has 25.
pub const SIDE: usize = 160;

/// Cells of a small picture.
pub const CELLS: usize = SIDE * SIDE;

/// Below so much chroma on average, in levels, a photo has no colours: it was taken in infra-red.
const GRAY: u64 = 4;

/// How a photo becomes a small picture of red, green and blue.
pub fn preprocess() -> Preprocess {
    Preprocess {
        size: SIDE as u32,
        resize: Resize::Stretch,
        resize_to: None,
        mean: [0.0; 3],
        std: [1.0; 3],
        pad_color: None,
    }
}

/// A small picture: luma and chroma of each cell.
#[derive(Clone, Debug)]
pub struct Small {
    /// Luma, then both chromas around 128.
    cells: Box<[[u8; 3]]>,
    night: bool,
}

impl Small {
    /// A small picture of nothing.
    pub fn new() -> Small {
        Small { cells: vec![[0, 128, 128]; CELLS].into(), night: false }
    }

    /// Makes it that of the pixels `rgb`.
    pub fn fill(&mut self, rgb: &[u8]) {
        let mut chroma = 0;
        for (cell, pixel) in self.cells.iter_mut().zip(rgb.as_chunks::<3>().0) {
            let [r, g, b] = pixel.map(i32::from);
            // Weights of BT.601 in 1/16384.
            let y = (4899 * r + 9617 * g + 1868 * b) >> 14;
            let u = 128 + ((-2765 * r - 5427 * g + 8192 * b) >> 14);
            let v = 128 + ((8192 * r - 6860 * g - 1332 * b) >> 14);
            *cell = [y, u, v].map(|level| level.clamp(0, 255) as u8);
            chroma += u64::from(cell[1].abs_diff(128)) + u64::from(cell[2].abs_diff(128));
        }
        self.night = chroma < GRAY * CELLS as u64;
    }

    /// Makes it the same as another.
    pub fn copy(&mut self, other: &Small) {
        self.cells.copy_from_slice(&other.cells);
        self.night = other.night;
    }

    /// Luma and both chromas of each cell, row by row.
    pub fn cells(&self) -> &[[u8; 3]] {
        &self.cells
    }

    /// Whether it has no colours.
    pub fn is_night(&self) -> bool {
        self.night
    }
}
