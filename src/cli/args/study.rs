//! The options of the commands that go through labelled photos.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use oltr::bundle::Rule;
use oltr::calibrate::{Choice, Target};
use oltr::evaluate::Gate;

use super::super::reading_args::ReadingArgs;

/// Help on labels files, for users who left out --labels.
pub const LABELS: &str = "\
Labels are a table with tabs or commas, a header and then a photo a line; or a
folder with a folder for each class.

  path        class  role     split
  cups/1.jpg  cup    known    test
  odd/7.jpg   moth   unknown  test

path starts from --images; role is known for classes of the bundle ('oltr inspect
--classes' lists their ids) and unknown for what should come out as open.
";

/// Labelled photos.
#[derive(Debug, Args)]
#[command(next_help_heading = "Photos")]
pub struct PhotoArgs {
    /// Table (tabs or commas) with the columns path, class, role (known or unknown) and split; or a folder with a folder
    /// for each class, in folders train, val and test or for the split test
    #[arg(long, value_name = "FILE.tsv|DIR")]
    pub labels: PathBuf,
    /// Folder that the paths start from
    #[arg(long, value_name = "DIR")]
    pub images: PathBuf,
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// Column of the labels that groups photos, such as frames of one animal: they are drawn together for the intervals
    #[arg(long, value_name = "COLUMN")]
    pub cluster: Option<String>,
}

/// Measure a bundle on labelled photos.
///
/// Prints the published figures (closed and open set, many-, medium- and few-shot classes, F-measure) and the usual
/// figures for open sets (AUROC, FPR at 95 % TPR, OSCR), with 95 % bootstrap intervals.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oltr evaluate --labels l.tsv --images photos mine.onnx
  oltr evaluate --labels l.tsv --images photos --report report mine.onnx
  oltr evaluate --labels l.tsv --images photos --json mine.onnx | jq .open_set
  oltr evaluate --labels l.tsv --images photos --gate 'closed.top1>=0.8' m.onnx
  oltr evaluate --labels l.tsv --images photos --compare old.onnx new.onnx

A gate is a figure of --json by its path, >=, <=, > or <, and a number; drift
is the share of photos that two bundles decide differently. Exit 1 if a gate is
not met, 65 if photos could not be read (the figures are of the others).")]
#[command(override_usage = "oltr evaluate --labels FILE.tsv --images DIR [OPTIONS] [MODEL]")]
pub struct EvaluateArgs {
    #[command(flatten)]
    pub photos: PhotoArgs,
    /// Split of the labels to evaluate on
    #[arg(long, value_name = "NAME", default_value = "test")]
    pub split: String,
    /// Folder for report.html, one self-contained page, and answers.csv, all answers
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Another bundle to compare on the same photos
    #[arg(long, value_name = "OTHER.onnx")]
    pub compare: Option<PathBuf>,
    /// Table of taxa (tabs: id and ranks), as for calibrate: taxa of unknown classes, to judge names by
    #[arg(long, value_name = "FILE.tsv")]
    pub taxonomy: Option<PathBuf>,
    /// Species list with one class or taxon per line: no other class can be the answer
    #[arg(long, value_name = "FILE")]
    pub species_list: Option<PathBuf>,
    /// Condition that a figure must meet; may be given several times
    #[arg(long, value_name = "CONDITION", value_parser = gate)]
    pub gate: Vec<Gate>,
    /// Model file [default: as --model]
    #[arg(value_name = "MODEL")]
    pub file: Option<PathBuf>,
}

/// Choose the thresholds of a bundle by labelled photos.
///
/// Writes a new bundle that differs from MODEL in its rule (oltr.open) only.
/// Targets:
///
///   known-accept=X  the highest threshold that accepts the share X of the known
///                   photos; needs known photos only
///   open-reject=X   the lowest threshold that calls the share X of the unknown
///                   photos open
///   max-f           the largest open-set F-measure
///   balanced        the largest mean of known photos accepted and unknown ones
///                   called open
///
/// Photos of the split should be in no training set, and their unknown classes in
/// no test set.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[command(after_help = "\
Examples:
  oltr calibrate --labels l.tsv --images photos --output new.onnx mine.onnx

--target open-reject=0.9, --per-class and --rule max-probability choose another
operating point.")]
#[command(override_usage = "oltr calibrate --labels FILE.tsv --images DIR --output NEW.onnx [MODEL]")]
pub struct CalibrateArgs {
    #[command(flatten)]
    pub photos: PhotoArgs,
    /// Split of the labels to calibrate on
    #[arg(long, value_name = "NAME", default_value = "val")]
    pub split: String,
    /// Operating point of the threshold
    #[arg(long, value_name = "TARGET", default_value = "known-accept=0.95")]
    pub target: Target,
    /// Rule of the new bundle [default: as in MODEL]
    #[arg(long, value_enum)]
    pub rule: Option<RuleName>,
    /// Deciding score, by its name in 'oltr evaluate'; auto takes the one with the highest worth on these photos: the
    /// mean of unknown photos called open and of known ones, class by class, accepted and named rightly
    #[arg(long, value_name = "auto|SCORE", conflicts_with = "rule")]
    pub score: Option<Choice>,
    /// A threshold for each class by its own spread, shrunk towards all classes if it has few photos [default: if that
    /// is better on these photos]
    #[arg(long)]
    pub per_class: bool,
    /// One threshold for all classes
    #[arg(long, conflicts_with = "per_class")]
    pub no_per_class: bool,
    /// Table of taxa: a header with id and ranks (kingdom, phylum, class, order, family, genus, species), columns
    /// separated by tabs; the bundle gets the taxa of its classes, and reports the narrowest name that is right often
    /// enough
    #[arg(long, value_name = "FILE.tsv")]
    pub taxonomy: Option<PathBuf>,
    /// Share of the names of each rank that must be right [default: as in MODEL, else 0.9]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub names: Option<f64>,
    /// Keep the thresholds and choose only the names
    #[arg(long, conflicts_with_all = ["rule", "score", "per_class", "no_per_class", "target"])]
    pub names_only: bool,
    /// Bundle to write
    #[arg(long, value_name = "NEW.onnx")]
    pub output: PathBuf,
    /// Model file [default: as --model]
    #[arg(value_name = "MODEL")]
    pub file: Option<PathBuf>,
}

/// Which score decides that a frame is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RuleName {
    /// Reachability, 10 / distance to the nearest centroid
    Reachability,
    /// The largest probability: the published rule
    MaxProbability,
    /// Either
    Both,
}

impl From<RuleName> for Rule {
    fn from(name: RuleName) -> Rule {
        match name {
            RuleName::Reachability => Rule::Reachability,
            RuleName::MaxProbability => Rule::MaxProbability,
            RuleName::Both => Rule::Both,
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.trim().parse().ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| format!("'{text}' is no share; write a number above 0 and at most 1, as 0.9"))
}

fn gate(text: &str) -> Result<Gate, String> {
    text.parse().map_err(|e: oltr::Error| e.to_string())
}
