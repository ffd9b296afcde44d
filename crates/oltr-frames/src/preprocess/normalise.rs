//! Converts bytes to the network's normalised numbers.

use super::settings::Preprocess;
use crate::error::{Error, Result};

/// `(p - mean) / std` of each channel, for every value that a byte can have.
///
/// In f32, subtraction first, as in the training code. The same table serves both kinds of input: a float input looks
/// values up, and a quantised input quantises the table once and looks that up.
#[derive(Clone, Debug, PartialEq)]
pub struct Normaliser {
    tables: [[f32; 256]; 3],
}

impl Normaliser {
    /// The normalisation of `settings`, whose `std` must not hold a 0.
    pub fn new(settings: &Preprocess) -> Normaliser {
        let table =
            |channel: usize| std::array::from_fn(|p| (p as f32 - settings.mean[channel]) / settings.std[channel]);
        Normaliser { tables: std::array::from_fn(table) }
    }

    /// Output of each byte value in `channel` (0 red, 1 green, 2 blue).
    ///
    /// # Panics
    /// If there is no such channel.
    pub fn table(&self, channel: usize) -> &[f32; 256] {
        &self.tables[channel]
    }

    /// Normalises interleaved RGB `pixels` `(height, width, 3)` into planes `out` `(3, height, width)`.
    ///
    /// # Errors
    /// [`Error::BadInput`] if the lengths differ or are no multiple of 3.
    pub fn run(&self, pixels: &[u8], out: &mut [f32]) -> Result<()> {
        if pixels.len() != out.len() || !pixels.len().is_multiple_of(3) {
            return Err(Error::BadInput {
                subject: "pixels".into(),
                reason: format!("{} bytes cannot become {} values in 3 planes", pixels.len(), out.len()),
            });
        }
        if pixels.is_empty() {
            return Ok(());
        }
        let planes = out.chunks_exact_mut(pixels.len() / 3);
        for (channel, (plane, table)) in planes.zip(&self.tables).enumerate() {
            for (value, pixel) in plane.iter_mut().zip(pixels.chunks_exact(3)) {
                *value = table[usize::from(pixel[channel])];
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::settings::Resize;

    fn normaliser() -> Normaliser {
        Normaliser::new(&Preprocess {
            size: 1,
            resize: Resize::Stretch,
            resize_to: None,
            mean: [127.0, 0.0, 10.5],
            std: [128.0, 1.0, 0.3],
            pad_color: None,
        })
    }

    #[test]
    fn channels_are_parted_and_normalised_by_their_own() {
        let mut out = [0.0; 6];
        normaliser().run(&[255, 1, 2, 0, 4, 5], &mut out).unwrap();
        assert_eq!(out, [1.0, -127.0 / 128.0, 1.0, 4.0, (2.0 - 10.5) / 0.3, (5.0 - 10.5) / 0.3]);
        assert_eq!(normaliser().table(2)[2], (2.0f32 - 10.5) / 0.3);
    }

    #[test]
    fn lengths_must_agree() {
        let n = normaliser();
        assert!(n.run(&[0; 6], &mut [0.0; 3]).is_err());
        assert!(n.run(&[0; 4], &mut [0.0; 4]).is_err());
        assert!(n.run(&[], &mut []).is_ok());
    }
}
