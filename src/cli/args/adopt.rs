//! The options of `oltr adopt` and `oltr refit`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use oltr::bundle::Resize;
use oltr::calibrate::{Choice, Target};

use super::study::PhotoArgs;

/// Make a bundle of any image classifier in ONNX: it names known classes and calls everything else open.
///
/// Finds logits and features of the graph, computes the centroids of its classes from photos of the split train, adds
/// distances to the graph, and chooses thresholds on the split val. The graph may be float or quantised, have
/// channels first or last, and end in a softmax. The rest of the file stays unchanged.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oltr adopt --labels l.tsv --images photos --output mine.onnx mobilenet.onnx
  oltr adopt --labels l.tsv --images photos --preset tf --output m.onnx keras.onnx
  oltr adopt --labels l.tsv --images photos --classes imagenet.txt \\
      --output mine.onnx efficientnet.onnx

Without --classes, the known classes of the labels, sorted by id, are the outputs
in their order.")]
#[command(override_usage = "oltr adopt --labels FILE.tsv --images DIR --output BUNDLE.onnx [OPTIONS] CLASSIFIER.onnx")]
pub struct AdoptArgs {
    #[command(flatten)]
    pub photos: PhotoArgs,
    /// Classes in the order of the outputs, one per line: an id, and after a tab the display name
    #[arg(long, value_name = "FILE")]
    pub classes: Option<PathBuf>,
    /// Tensor of the features [default: the input of the last product before the logits]
    #[arg(long, value_name = "NAME")]
    pub features: Option<String>,
    /// Add no distances: the rule uses the logits
    #[arg(long, conflicts_with = "features")]
    pub logits_only: bool,
    /// Side of the picture, if the graph does not fix it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16384))]
    pub size: Option<u32>,
    /// Pixel values that the classifier expects
    #[arg(long, value_enum, default_value_t)]
    pub preset: Preset,
    /// Mean of red, green and blue, on the scale 0..255 [default: of the preset]
    #[arg(long, value_name = "R,G,B", value_parser = three)]
    pub mean: Option<[f32; 3]>,
    /// Divisor of red, green and blue after subtracting the mean [default: of the preset]
    #[arg(long, value_name = "R,G,B", value_parser = divisors)]
    pub std: Option<[f32; 3]>,
    /// How a photo becomes square
    #[arg(long, value_enum, default_value_t)]
    pub resize: ResizeName,
    /// With shorter-side: size of the shorter side before the centre crop [default: the input's side]
    #[arg(long, value_name = "N")]
    pub resize_to: Option<u32>,
    /// Operating point of the threshold
    #[arg(long, value_name = "TARGET", default_value = "known-accept=0.95")]
    pub target: Target,
    /// Deciding score; auto takes the one with the highest worth on val [default: auto]
    #[arg(long, value_name = "auto|SCORE")]
    pub score: Option<Choice>,
    /// Bundle to write
    #[arg(long, value_name = "BUNDLE.onnx")]
    pub output: PathBuf,
    /// The classifier
    #[arg(value_name = "CLASSIFIER.onnx")]
    pub classifier: PathBuf,
}

/// Give a bundle better distances, from labelled photos.
///
/// Measures the spread of features within classes on photos of the split train, adds distances in that metric to the
/// graph, and chooses thresholds on the split val. Logits and features stay unchanged.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oltr refit --labels l.tsv --images photos --output new.onnx mine.onnx
  oltr evaluate --labels l.tsv --images photos --compare mine.onnx new.onnx")]
#[command(override_usage = "oltr refit --labels FILE.tsv --images DIR --output NEW.onnx [OPTIONS] [MODEL]")]
pub struct RefitArgs {
    #[command(flatten)]
    pub photos: PhotoArgs,
    /// Operating point of the threshold
    #[arg(long, value_name = "TARGET", default_value = "known-accept=0.95")]
    pub target: Target,
    /// Deciding score; auto takes the one with the highest worth on val [default: reachability]
    #[arg(long, value_name = "auto|SCORE")]
    pub score: Option<Choice>,
    /// Bundle to write
    #[arg(long, value_name = "NEW.onnx")]
    pub output: PathBuf,
    /// Model file [default: as --model]
    #[arg(value_name = "MODEL")]
    pub file: Option<PathBuf>,
}

/// Means and divisors of pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// Mean 123.675, 116.28, 103.53, divided by 58.395, 57.12, 57.375: torchvision, timm
    #[default]
    Imagenet,
    /// -1 to 1: TensorFlow, Keras
    Tf,
    /// 0 to 1
    #[value(name = "0..1")]
    Unit,
    /// 0 to 255, unchanged
    #[value(name = "0..255")]
    Bytes,
}

impl Preset {
    /// Mean and divisor.
    pub fn values(self) -> ([f32; 3], [f32; 3]) {
        match self {
            Preset::Imagenet => ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
            Preset::Tf => ([127.5; 3], [127.5; 3]),
            Preset::Unit => ([0.0; 3], [255.0; 3]),
            Preset::Bytes => ([0.0; 3], [1.0; 3]),
        }
    }
}

/// How a photo becomes square.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ResizeName {
    /// The shorter side is scaled, the centre is cut
    #[default]
    ShorterSide,
    /// The longer side is scaled, the rest is filled
    Pad,
    /// Both sides are scaled
    Stretch,
}

impl From<ResizeName> for Resize {
    fn from(name: ResizeName) -> Resize {
        match name {
            ResizeName::ShorterSide => Resize::ShorterSide,
            ResizeName::Pad => Resize::Pad,
            ResizeName::Stretch => Resize::Stretch,
        }
    }
}

/// Three numbers, or one for all.
fn three(text: &str) -> Result<[f32; 3], String> {
    let numbers: Vec<f32> =
        text.split(',').filter_map(|n| n.trim().parse().ok()).filter(|n: &f32| n.is_finite()).collect();
    match (numbers[..].len(), text.split(',').count()) {
        (1, 1) => Ok([numbers[0]; 3]),
        (3, 3) => Ok([numbers[0], numbers[1], numbers[2]]),
        _ => Err(format!("'{text}' must be one number or three with commas, on the scale 0..255")),
    }
}

fn divisors(text: &str) -> Result<[f32; 3], String> {
    three(text).and_then(|std| match std.iter().all(|s| *s > 0.0) {
        true => Ok(std),
        false => Err(format!("'{text}': what is divided by must be above 0")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_one_number_or_three() {
        assert_eq!(three("127.5"), Ok([127.5; 3]));
        assert_eq!(three("1, 2,3"), Ok([1.0, 2.0, 3.0]));
        for bad in ["", "1,2", "1,2,x", "1,2,3,4", "inf"] {
            assert!(three(bad).is_err(), "{bad}");
        }
        assert!(divisors("0").is_err());
    }
}
