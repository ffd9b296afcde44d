//! A new user's first minutes: help, examples, suggestions, usage.

use super::{command, oltr};

const COMMANDS: [&str; 10] =
    ["classify", "stream", "cameras", "evaluate", "calibrate", "enrol", "inspect", "verify", "bench", "doctor"];

#[test]
fn the_help_lists_the_commands_and_the_exit_codes() {
    let help = oltr(&["--help"]).code(0).stdout;
    for part in COMMANDS.into_iter().chain(["Examples:", "oltr classify examples/photos", "66 input not found"]) {
        assert!(help.contains(part), "'{part}' is not in: {help}");
    }
}

#[test]
fn each_command_has_an_example() {
    for name in COMMANDS {
        for help in [oltr(&[name, "--help"]), oltr(&[name, "-h"]), oltr(&["help", name])] {
            let help = help.code(0).stdout;
            assert!(help.contains(&format!("Examples:\n  oltr {name}")), "{help}");
            for option in ["--model", "--threads", "--json", "--verbose", "--quiet", "--max-memory", "--engine"] {
                assert!(help.contains(option), "{name} lacks {option}: {help}");
            }
        }
    }
}

#[test]
fn the_examples_are_valid_command_lines() {
    for name in COMMANDS {
        let help = oltr(&[name, "--help"]).stdout;
        let (_, examples) = help.split_once("Examples:\n").unwrap();
        let lines: Vec<_> = examples.lines().filter(|line| line.contains("oltr ")).collect();
        assert!(!lines.is_empty());
        for line in lines {
            let own = &line[line.find("oltr ").unwrap()..];
            // Explanations follow two or more blanks; a shell's operators follow one.
            let own = ["  ", " | ", " > ", " >> "].iter().fold(own, |own, end| own.split(end).next().unwrap());
            // Blanks within quotes do not matter here.
            let words = own
                .split('\'')
                .enumerate()
                .map(|(i, part)| if i % 2 == 1 { part.replace(' ', "-") } else { part.into() });
            let own = words.collect::<String>();
            let args: Vec<_> = own.split_whitespace().skip(1).chain(["--help"]).collect();
            oltr(&args).code(0);
        }
    }
}

#[test]
fn a_mistyped_command_suggests_the_right_one() {
    for (typed, meant) in [("clasify", "classify"), ("verfy", "verify"), ("docter", "doctor"), ("inspct", "inspect")] {
        oltr(&[typed]).code(2).says(&["tip:", &format!("'{meant}'")]);
    }
    oltr(&["classify", "--jsno", "x.jpg"]).code(2).says(&["'--json'"]);
}

#[test]
fn wrong_usage_exits_with_2_and_says_why() {
    let nothing: [&str; 0] = [];
    oltr(&nothing).code(2).says(&["Usage:"]);
    oltr(&["-v"]).code(2).says(&["a command is missing"]);
    oltr(&["classify"]).code(2).says(&["INPUT"]);
    oltr(&["verify", "model.onnx"]).code(2).says(&["GOLDEN.npz"]);
    oltr(&["bench", "--threads", "0"]).code(2).says(&["1..=64"]);
    oltr(&["bench", "--runs", "0"]).code(2).says(&["--runs"]);
    oltr(&["doctor", "--max-memory", "lots"]).code(2).says(&["64MiB"]);
    oltr(&["doctor", "--engine", "gpu"]).code(2).says(&["int8", "tract"]);
    oltr(&["doctor", "-v", "-q"]).code(2).says(&["--quiet", "--verbose"]);
    oltr(&["verify", "--min-cosine", "2", "a", "b"]).code(2).says(&["from 0 to 1"]);
}

#[test]
fn the_version_says_which_kernels_run() {
    let version = format!("oltr {}\n", env!("CARGO_PKG_VERSION"));
    for flag in ["--version", "-V"] {
        assert_eq!(oltr(&[flag]).code(0).stdout, version);
    }
    for args in [["--version", "-v"], ["-v", "--version"]] {
        let stdout = oltr(&args).code(0).stdout;
        assert!(stdout.starts_with(&version), "{stdout}");
        let kernels = stdout.lines().find_map(|line| line.strip_prefix("kernels: ")).unwrap();
        assert!(!kernels.is_empty() && !kernels.contains(' '), "{kernels}");
        assert!(stdout.lines().any(|line| line.ends_with("scalar")), "the plain kernels run anywhere: {stdout}");
    }
    let run = |isa: &str| -> super::Ran { command(&["-Vv"]).env("OLTR_ISA", isa).output().unwrap().into() };
    assert!(run("scalar").code(0).stdout.contains("kernels: scalar\n"));
    run("abacus").code(78).says(&["OLTR_ISA", "abacus", "scalar"]);
}

#[test]
fn help_for_a_wide_terminal_has_no_overlong_lines() {
    let help: super::Ran = command(&["--help"]).env("COLUMNS", "200").output().unwrap().into();
    assert!(help.stdout.lines().all(|line| line.chars().count() <= 100), "{}", help.stdout);
}

#[test]
fn packages_get_a_manual_and_completions() {
    let folder = tempfile::tempdir().unwrap();
    oltr(&["generate", "manual", folder.path().to_str().unwrap()]).code(0);
    for name in COMMANDS {
        let page = std::fs::read_to_string(folder.path().join(format!("oltr-{name}.1"))).unwrap();
        assert!(page.contains("oltr") && page.contains("\\-\\-json"), "{page}");
    }
    assert!(std::fs::read_to_string(folder.path().join("oltr.1")).unwrap().contains(".SH SYNOPSIS"));
    for shell in ["bash", "zsh", "fish"] {
        let script = oltr(&["generate", "completions", shell]).code(0).stdout;
        for name in COMMANDS {
            assert!(script.contains(name), "{shell} does not complete {name}");
        }
    }
    assert!(!oltr(&["--help"]).stdout.contains("generate"));
}
