//! Programs: built once, run any number of times.

mod agenda;
mod build;
mod float;
mod layout;
mod maps;
mod run;
mod steps;

pub use build::{Builder, Piece};
pub use float::Matrix;
pub use run::{State, Threads};
pub use steps::{LayerInfo, Program};
