//! Which part of a source becomes which part of the model's input.

use super::settings::{Preprocess, Resize};
use crate::error::{Error, Result};

/// A rectangle in source pixels; borders may be fractions.
///
/// Borders are f32 as in the training code, because Pillow's resampling takes its box in f32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceBox {
    /// Left border, at least 0.
    pub left: f32,
    /// Upper border, at least 0.
    pub top: f32,
    /// Right border, at most the source's width.
    pub right: f32,
    /// Lower border, at most the source's height.
    pub bottom: f32,
}

/// How a source fills the square input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// The part of the source that is resampled.
    pub source: SourceBox,
    /// Columns that it fills, 1..=size.
    pub width: u32,
    /// Rows that it fills, 1..=size.
    pub height: u32,
    /// Column of its left border.
    pub x: u32,
    /// Row of its upper border.
    pub y: u32,
}

impl Placement {
    /// Placement of a source of `width` × `height`.
    ///
    /// # Errors
    /// [`Error::BadInput`] for a source or an input without pixels, or `resize_to` below `size`.
    pub fn new(settings: &Preprocess, width: u32, height: u32) -> Result<Placement> {
        let size = settings.size;
        let bad = |reason: String| Err(Error::BadInput { subject: "preprocess".into(), reason });
        if size == 0 || width == 0 || height == 0 {
            return bad(format!("a source of {width}x{height} cannot fill {size}x{size}; both need pixels"));
        }
        let whole = SourceBox { left: 0.0, top: 0.0, right: width as f32, bottom: height as f32 };
        let square = Placement { source: whole, width: size, height: size, x: 0, y: 0 };
        match settings.resize {
            Resize::Stretch => Ok(square),
            Resize::ShorterSide => {
                let to = settings.resize_to.unwrap_or(size);
                if to < size {
                    return bad(format!("resize_to {to} is below size {size}; raise it"));
                }
                // In f64 until the borders are final, as in the training code.
                let (width, height) = (f64::from(width), f64::from(height));
                let side = f64::from(size) * width.min(height) / f64::from(to);
                let (left, top) = ((width - side) / 2.0, (height - side) / 2.0);
                let source = SourceBox {
                    left: left as f32,
                    top: top as f32,
                    right: (left + side) as f32,
                    bottom: (top + side) as f32,
                };
                Ok(Placement { source, ..square })
            }
            Resize::Pad => {
                let longer = width.max(height);
                let (width, height) = (padded_side(width, size, longer), padded_side(height, size, longer));
                Ok(Placement { source: whole, width, height, x: (size - width) / 2, y: (size - height) / 2 })
            }
        }
    }
}

/// `side * size / longer` to the nearest integer, half up, at least 1.
fn padded_side(side: u32, size: u32, longer: u32) -> u32 {
    let (side, size, longer) = (u64::from(side), u64::from(size), u64::from(longer));
    // At most `size`, because side <= longer.
    ((2 * side * size + longer) / (2 * longer)).max(1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(resize: Resize, size: u32, resize_to: Option<u32>) -> Preprocess {
        Preprocess { size, resize, resize_to, mean: [0.0; 3], std: [1.0; 3], pad_color: None }
    }

    fn placement(resize: Resize, size: u32, to: Option<u32>, width: u32, height: u32) -> Placement {
        Placement::new(&settings(resize, size, to), width, height).unwrap()
    }

    #[test]
    fn the_shorter_side_gives_a_centred_square() {
        let p = placement(Resize::ShorterSide, 224, Some(256), 640, 480);
        assert_eq!(p.source, SourceBox { left: 110.0, top: 30.0, right: 530.0, bottom: 450.0 });
        assert_eq!((p.width, p.height, p.x, p.y), (224, 224, 0, 0));
        // Without resize_to the shorter side is not cropped.
        let p = placement(Resize::ShorterSide, 10, None, 3, 8);
        assert_eq!(p.source, SourceBox { left: 0.0, top: 2.5, right: 3.0, bottom: 5.5 });
    }

    #[test]
    fn padding_centres_and_rounds_half_up() {
        let p = placement(Resize::Pad, 10, None, 20, 9); // 4.5 rows
        assert_eq!((p.width, p.height, p.x, p.y), (10, 5, 0, 2));
        let p = placement(Resize::Pad, 10, None, 1, 1000); // 0.01 columns
        assert_eq!((p.width, p.height, p.x, p.y), (1, 10, 4, 0));
    }

    #[test]
    fn stretching_takes_everything() {
        let p = placement(Resize::Stretch, 7, None, 20, 9);
        assert_eq!(p.source, SourceBox { left: 0.0, top: 0.0, right: 20.0, bottom: 9.0 });
        assert_eq!((p.width, p.height), (7, 7));
    }

    #[test]
    fn what_has_no_pixels_is_refused() {
        for (size, to, width, height) in [(0, None, 1, 1), (1, None, 0, 1), (1, None, 1, 0), (8, Some(7), 9, 9)] {
            let refused = Placement::new(&settings(Resize::ShorterSide, size, to), width, height);
            assert!(matches!(refused, Err(Error::BadInput { .. })), "{size} {to:?} {width} {height}");
        }
    }
}
