//! Meaning of luma and chroma values as colours, and the position of chroma samples.

/// The weights of red, green and blue in luma.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Matrix {
    /// ITU-R BT.601: JPEG, webcams, standard definition.
    #[default]
    Bt601,
    /// ITU-R BT.709: high definition.
    Bt709,
}

/// The values of black and white.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Range {
    /// Luma and chroma of 0..=255, as JPEG has them.
    #[default]
    Full,
    /// Luma of 16..=235 and chroma of 16..=240, as video has them.
    Limited,
}

/// Conversion of luma and chroma to red, green and blue. For a grey picture only the range matters, for RGB
/// nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Color {
    /// Weights of the channels.
    pub matrix: Matrix,
    /// Black and white.
    pub range: Range,
}

impl Color {
    /// JPEG's: BT.601, full range.
    pub const JPEG: Color = Color { matrix: Matrix::Bt601, range: Range::Full };
    /// Standard-definition video: BT.601, limited range.
    pub const VIDEO: Color = Color { matrix: Matrix::Bt601, range: Range::Limited };
}

/// Position of a chroma sample among the pixels that share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Siting {
    /// In the middle of its pixels: JPEG, MPEG-1.
    #[default]
    Center,
    /// On the left column, half-way down its rows: MPEG-2, H.264.
    Left,
    /// On the upper left pixel: DV.
    TopLeft,
}
