//! Asks the linker for an order of the program's functions (`src/main.ld`), where it is one that can do that.
//!
//! What a load and some frames run is an eighth of the program's code, most of which is tract's. Linux maps 64 KB around
//! each place that is touched, and reads as much from an SD card: scattered, an eighth is most of it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=src/main.ld");
    let linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    if !linux || env::var_os("CARGO_FEATURE_CLI").is_none() {
        return;
    }
    let script = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("src/main.ld");
    for arguments in [
        // Compilers that link and linkers understand this form alike.
        &[format!("-T{}", script.display())][..],
        // A hundredth of the size for the places where the program's own addresses are, which are read at its start.
        &["-z".into(), "pack-relative-relocs".into()],
    ] {
        if works(arguments) {
            for argument in arguments {
                println!("cargo::rustc-link-arg-bin=oltr={argument}");
            }
        }
    }
}

/// Whether a program that is linked with `arguments` comes into being, and starts if it is one for this machine.
///
/// Linkers differ in what they know, and the C library has to know what they write.
fn works(arguments: &[String]) -> bool {
    let variable = |name| env::var(name).unwrap_or_default();
    let folder = variable("OUT_DIR");
    let (source, program) = (Path::new(&folder).join("link.rs"), Path::new(&folder).join("link"));
    if fs::write(&source, "fn main() {}\n").is_err() {
        return false;
    }
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.arg("--edition=2024").arg(&source).arg("-o").arg(&program).arg("--target").arg(variable("TARGET"));
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={}", linker.display()));
    }
    rustc.args(variable("CARGO_ENCODED_RUSTFLAGS").split('\x1f').filter(|flag| !flag.is_empty()));
    rustc.args(arguments.iter().map(|argument| format!("-Clink-arg={argument}")));
    let succeeds = |command: &mut Command| {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    succeeds(&mut rustc) && (variable("HOST") != variable("TARGET") || succeeds(&mut Command::new(&program)))
}
