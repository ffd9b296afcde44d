//! Has the linker lay the functions that the program runs side by side, as `cross/build` has it for packages.
//!
//! Linux maps 64 KB of the file around each place that is touched. Scattered, the tenth of the code that is run brings most
//! of the others into memory with it.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=cross/order.ld");
    let of = |name: &str| env::var(name).unwrap_or_default();
    let script = Path::new(&of("CARGO_MANIFEST_DIR")).join("cross/order.ld");
    let is_usual = of("PROFILE") == "release" && of("TARGET") == of("HOST") && of("CARGO_CFG_TARGET_OS") == "linux";
    // Not every linker knows such scripts: one that somebody chose is left alone, and so are those of other targets, for
    // which `cross/build` says it itself.
    let is_chosen = env::var_os("RUSTC_LINKER").is_some() || of("CARGO_ENCODED_RUSTFLAGS").contains("link");
    if is_usual && !is_chosen && script.exists() {
        println!("cargo::rustc-link-arg-bins=-T{}", script.display());
    }
}
