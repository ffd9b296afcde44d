//! The options of `oltr store` and `oltr review`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Look into a store of events.
///
/// 'oltr stream --store DIR --store-size SIZE' keeps events there, each with its best picture. Reading changes nothing,
/// and works beside the stream that writes, and on a copied card.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oltr store list trap                       the events, oldest first
  oltr store list --json trap | jq -r 'select(.decision == \"open\") | .picture'
  oltr store check trap                      is everything whole?
  oltr store stats --json trap")]
pub struct StoreArgs {
    #[command(subcommand)]
    pub action: StoreAction,
}

/// What to do with a store.
#[derive(Debug, Subcommand)]
pub enum StoreAction {
    /// List the events, oldest first
    List {
        /// With --json: the network's features too, as an array
        #[arg(long)]
        features: bool,
        /// The store's folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Say what is not whole, and what a start would do about it; nothing is changed. Exit 0 if all is whole, 1 if not
    Check {
        /// The store's folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Say how much it holds, and what was given up
    Stats {
        /// The store's folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// Look at events of a store, and say what they show.
///
/// What a person decides is kept beside what the network said. It protects the event from being given up, makes a
/// labels file for 'oltr evaluate' and 'oltr calibrate', and teaches the network new names.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oltr review serve trap --listen 127.0.0.1:8080   a page to look and decide
  oltr review set trap 17 'blue shark'             record 17 shows a blue shark
  oltr review set trap 18 nothing
  oltr review groups trap                          open events that look alike
  oltr review enrol trap 'blue shark' --dry-run --model mine.onnx
  oltr review enrol trap 'blue shark' --model mine.onnx
  oltr review enrol trap 'blue shark' --undo --model mine.onnx
  oltr review labels trap > labels.tsv             for 'oltr evaluate --labels labels.tsv --images trap'")]
pub struct ReviewArgs {
    #[command(subcommand)]
    pub action: ReviewAction,
}

/// What to do with reviews.
#[derive(Debug, Subcommand)]
pub enum ReviewAction {
    /// Say what a record shows: a name, 'open' or 'nothing'
    Set {
        /// Who says it [default: the user's name]
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
        /// The store's folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// The record, as 'oltr store list' numbers it, or the event's own id; several with commas. 'alike:17' is the group of
        /// open events that 17 is in, '-19' behind it takes 19 out
        #[arg(value_name = "ID")]
        id: String,
        /// What it shows
        #[arg(value_name = "LABEL|open|nothing")]
        label: String,
    },
    /// Print all decisions as a labels file
    Labels {
        /// The split of all rows [default: test, val and train by turns in each class]
        #[arg(long, value_name = "NAME")]
        split: Option<String>,
        /// The store's folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// List groups of open events that look alike, those first that explain most others
    Groups {
        /// The store's folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Enrol a class from the pictures that were given this name
    Enrol {
        /// Only say what the class would take
        #[arg(long)]
        dry_run: bool,
        /// Make the enrolled classes what they were before the last enrolment from a store
        #[arg(long, conflicts_with = "dry_run")]
        undo: bool,
        /// File of enrolled classes [default: beside the model]
        #[arg(long, value_name = "FILE")]
        enrolled: Option<PathBuf>,
        /// The store's folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// The name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Serve a page to look and decide, for a browser on this machine or another one
    Serve {
        /// Address and port; any address but those of this machine itself asks for a token, which is printed
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// Who decides [default: the user's name]
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
        /// The store's folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}
