//! The options of `oltr export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Write the events of a store as files of other programs.
///
/// A review has priority over the model's decision. Open events get no name in any format.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oltr export camtrap-dp --store /var/lib/oltr --deployment north-1.toml package   for R camtraptor, Agouti, Trapper
  oltr export ecotaxa --store store --deployment net.toml import     a folder to import into EcoTaxa
  oltr export csv --store store events.csv
  oltr stream --json v4l2:/dev/video0 > log.jsonl; oltr export csv --records log.jsonl events.csv   without a store")]
pub struct ExportArgs {
    /// Format to write
    #[arg(value_enum)]
    pub format: ExportFormat,
    /// Store of 'oltr stream --store'; its pictures are copied if the format includes pictures
    #[arg(long, value_name = "DIR", required_unless_present = "records")]
    pub store: Option<PathBuf>,
    /// Records as printed by 'oltr store list --json' or 'oltr stream --json', - for standard input; their pictures are
    /// those of --store
    #[arg(long, value_name = "FILE.jsonl")]
    pub records: Option<PathBuf>,
    /// Description of the camera and its place
    #[arg(long, value_name = "FILE.toml")]
    pub deployment: Option<PathBuf>,
    /// File to write; a folder for camtrap-dp and ecotaxa
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
}

/// Formats of exported events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A folder: Camtrap DP 1.0.2, with the pictures
    CamtrapDp,
    /// MegaDetector's batch output 1.6, of the pictures
    Megadetector,
    /// A row an event, with a header
    Csv,
    /// A folder: a table for EcoTaxa's import, with the pictures
    Ecotaxa,
}
