//! Options for reading photos, shared by all commands on photos.

use clap::{Args, ValueEnum};
use oltr::source::ahead::processors;
use oltr::source::photo::Decode;

/// How photos are read.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct ReadingArgs {
    /// Photos read in parallel [default: one for each processor, shared among --threads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: Option<u16>,
    /// How JPEGs are decoded: 'exact' decodes every pixel, as in training; 'fast' decodes to at least twice the
    /// network's size, which takes half the time for large photos and may change close decisions
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub decode: DecodeName,
}

/// As [`Decode`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "what they mean stands at the option")]
pub enum DecodeName {
    #[default]
    #[value(help = None)]
    Exact,
    #[value(help = None)]
    Fast,
}

impl From<DecodeName> for Decode {
    fn from(name: DecodeName) -> Decode {
        match name {
            DecodeName::Exact => Decode::Exact,
            DecodeName::Fast => Decode::Fast,
        }
    }
}

impl ReadingArgs {
    /// Photos at a time, where each is computed with `threads`.
    pub fn jobs(&self, threads: u16) -> usize {
        self.jobs.map_or_else(|| (processors() / usize::from(threads)).max(1), usize::from)
    }
}
