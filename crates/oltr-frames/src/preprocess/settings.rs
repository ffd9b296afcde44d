//! Preprocessing settings of a bundle.

use serde::{Deserialize, Serialize};

/// How a picture becomes the square that the graph reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// The centred square whose side is `size / resize_to` of the shorter side, resized to `size`.
    ShorterSide,
    /// The whole picture, its longer side resized to `size`, centred on `pad_color`.
    Pad,
    /// The whole picture, each side resized to `size`.
    Stretch,
}

/// Preprocessing, `oltr.preprocess`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// Side of the graph's input in pixels.
    pub size: u32,
    /// Geometry.
    pub resize: Resize,
    /// Size of the shorter side before the centre crop; `size` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize_to: Option<u32>,
    /// Mean of red, green, blue on the 0..255 scale.
    pub mean: [f32; 3],
    /// Standard deviation of red, green, blue on the 0..255 scale, never 0.
    pub std: [f32; 3],
    /// Colour around a padded picture, 0..255; the mean if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pad_color: Option<[u8; 3]>,
}
