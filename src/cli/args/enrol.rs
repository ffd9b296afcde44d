//! The options of `oltr enrol`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Learn a class on this device from a few photos.
///
/// Photos of a thing that comes out as open give it a name: from then on `oltr classify` says that name for what is
/// near enough to them, and nearer than to any class that the bundle knows. Take the photos on several occasions:
/// photos of one occasion teach that occasion. The classes lie in a small file beside the bundle and belong to its
/// network: a newly trained bundle needs them enrolled anew, a newly calibrated one does not.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oltr enrol --model mine.onnx add 'blue shark' 1.jpg 2.jpg 3.jpg
  oltr enrol --model mine.onnx list
  oltr enrol --model mine.onnx remove 'blue shark'
  oltr enrol --model mine.onnx export > enrolled.json
  oltr enrol --enrolled my.enrolled add cat 1.jpg 2.jpg   the built-in bundle")]
pub struct EnrolArgs {
    /// File of enrolled classes [default: beside the model, as mine.enrolled beside mine.onnx]
    #[arg(long, value_name = "FILE", global = true)]
    pub enrolled: Option<PathBuf>,
    #[command(subcommand)]
    pub action: EnrolAction,
}

/// What to do with enrolled classes.
#[derive(Debug, Subcommand)]
pub enum EnrolAction {
    /// Enrol a class from 2 to 64 photos, or enrol it anew
    Add {
        /// What to call it
        name: String,
        /// Files, folders, patterns, or @LIST (a file of paths)
        #[arg(required = true, value_name = "INPUT")]
        inputs: Vec<OsString>,
    },
    /// List the enrolled classes
    List,
    /// Forget a class
    Remove {
        /// Its name
        name: String,
    },
    /// Print all of the file as JSON, centroids included
    Export,
}
