//! The options of `oltr store` and `oltr review`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Look into a store of events.
///
/// 'oltr stream --store DIR --store-size SIZE' stores events there, each with its best picture. Reading changes
/// nothing. It works while a stream writes, and on a copied card.
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

/// Actions on a store.
#[derive(Debug, Subcommand)]
pub enum StoreAction {
    /// List the events, oldest first
    List {
        /// With --json: add the network's features as an array
        #[arg(long)]
        features: bool,
        /// The store's folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Report damage, and how the next start would repair it; changes nothing. Exit 0 if the store is whole, 1 if not
    Check {
        /// The store's folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Report the size of the store, and how much was evicted
    Stats {
        /// The store's folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// Review the events of a store.
///
/// Reviews are stored next to the network's decisions. A review protects the event from eviction, becomes a row of a
/// labels file for 'oltr evaluate' and 'oltr calibrate', and can teach the network new names.
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

/// Actions on reviews.
#[derive(Debug, Subcommand)]
pub enum ReviewAction {
    /// Review a record: a name, 'open' or 'nothing'
    Set {
        /// Name of the reviewer [default: the user's name]
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
        /// The store's folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// The record's number from 'oltr store list', or the event's own id; several with commas. 'alike:17' is the
        /// group of open events that contains 17, and '-19' after it leaves 19 out
        #[arg(value_name = "ID")]
        id: String,
        /// The review
        #[arg(value_name = "LABEL|open|nothing")]
        label: String,
    },
    /// Print all decisions as a labels file
    Labels {
        /// Split of all rows [default: test, val and train in turn for each class]
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
        /// Only preview which events the class would take
        #[arg(long)]
        dry_run: bool,
        /// Restore the enrolled classes from before the last enrolment from a store
        #[arg(long, conflicts_with = "dry_run")]
        undo: bool,
        /// File of enrolled classes [default: next to the model]
        #[arg(long, value_name = "FILE")]
        enrolled: Option<PathBuf>,
        /// The store's folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// The name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Serve a page for reviewing, for a browser on this machine or another one
    Serve {
        /// Address and port; an address that other machines can reach requires a token, which is printed
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// Name of the reviewer [default: the user's name]
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
        /// The store's folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}
