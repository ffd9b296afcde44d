//! The options of `oltr enrol`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Learn a class on this device from a few photos.
///
/// Gives a name to a thing that comes out as open: from then on `oltr classify` uses the name for photos that are
/// near enough to the given ones, and nearer to them than to any class of the bundle. Take the photos on several
/// occasions: photos of one occasion teach that occasion. The classes are in a small file next to the bundle and
/// belong to its network: after training again, enrol them again; after calibrating again, they stay valid.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oltr enrol --model mine.onnx add 'blue shark' 1.jpg 2.jpg 3.jpg
  oltr enrol --model mine.onnx list
  oltr enrol --model mine.onnx remove 'blue shark'
  oltr enrol --model mine.onnx export > enrolled.json
  oltr enrol --enrolled my.enrolled add cat 1.jpg 2.jpg   the built-in bundle")]
pub struct EnrolArgs {
    /// File of enrolled classes [default: next to the model: mine.enrolled for mine.onnx]
    #[arg(long, value_name = "FILE", global = true)]
    pub enrolled: Option<PathBuf>,
    #[command(subcommand)]
    pub action: EnrolAction,
}

/// Actions on enrolled classes.
#[derive(Debug, Subcommand)]
pub enum EnrolAction {
    /// Enrol a class from 2 to 64 photos, or replace it
    Add {
        /// Name of the class
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
