//! Compares a program built for ARM with this machine's: the same answers, and the right kernels on each board.
//!
//! Needs qemu's user-mode emulation and the program, named by [`PROGRAM`]: `cross/emulate program` runs it.
#![cfg(all(feature = "cli", target_os = "linux"))]

mod common;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{npz, onnx};
use serde_json::Value;
use tempfile::TempDir;

/// The environment variable that names the program under test.
const PROGRAM: &str = "OLTR_BOARD_PROGRAM";

/// Relative tolerance for numbers of the photos' answers. Attention and head are computed in floating point, and
/// tract's kernels add in another order on each processor.
const TOLERANCE: f64 = 1e-5;

/// Tolerance for the outputs of networks, relative to the largest output.
const NETWORK_TOLERANCE: f32 = 1e-5;

/// Operators that no program runs (unsigned weights, a factor of the product). tract computes them in float and adds in
/// another order on each processor, so a value half-way between two bytes may round to either.
const IN_FLOAT: [&str; 2] = ["qlinearconv-weights-u8", "qgemm-alpha"];

/// One step of their quantised results, relative to the largest result.
const STEP: f32 = 1.01 / 237.0;

/// A board as programs see it.
struct Board {
    name: &'static str,
    /// The model in its device tree.
    model: &'static str,
    /// The core as qemu names it.
    core: &'static str,
    /// `/proc/cpuinfo` of each core: features, and implementer, variant, part and revision.
    features: &'static str,
    identity: [&'static str; 4],
    /// The kernels that it must get.
    kernels: &'static str,
}

const BOARDS_64: [Board; 6] = [
    Board {
        name: "Raspberry Pi Zero 2 W, 3B+",
        model: "Raspberry Pi Zero 2 W Rev 1.0",
        core: "cortex-a53",
        features: "fp asimd evtstrm crc32 cpuid",
        identity: ["0x41", "0x0", "0xd03", "4"],
        kernels: "neon",
    },
    Board {
        name: "Raspberry Pi 4",
        model: "Raspberry Pi 4 Model B Rev 1.4",
        core: "cortex-a72",
        features: "fp asimd evtstrm crc32 cpuid",
        identity: ["0x41", "0x0", "0xd08", "3"],
        kernels: "neon",
    },
    Board {
        name: "Jetson Nano",
        model: "NVIDIA Jetson Nano Developer Kit",
        core: "cortex-a57",
        features: "fp asimd evtstrm aes pmull sha1 sha2 crc32",
        identity: ["0x41", "0x1", "0xd07", "1"],
        kernels: "neon",
    },
    Board {
        name: "Raspberry Pi 5",
        model: "Raspberry Pi 5 Model B Rev 1.0",
        core: "cortex-a76",
        features: "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
        identity: ["0x41", "0x4", "0xd0b", "1"],
        kernels: "neondot",
    },
    // qemu 7 has no Cortex-A78AE; this is its nearest core.
    Board {
        name: "Jetson Orin Nano",
        model: "NVIDIA Jetson Orin Nano Developer Kit",
        core: "neoverse-n1",
        features: "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp \
                   uscat ilrcpc flagm",
        identity: ["0x41", "0x0", "0xd42", "1"],
        kernels: "neondot",
    },
    // qemu 7 has no core with the matrix product except one with all extensions. A phone's small cores, as Linux lists
    // them.
    Board {
        name: "a phone of 2022 (Snapdragon 8 Gen 1)",
        model: "Qualcomm Technologies, Inc. SM8450",
        core: "max",
        features: "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma lrcpc dcpop \
                   sha3 sm3 sm4 asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs sb paca pacg dcpodp flagm2 \
                   frint i8mm bf16 bti",
        identity: ["0x41", "0x0", "0xd46", "2"],
        kernels: "neoni8mm",
    },
];

const BOARDS_32: [Board; 1] = [Board {
    name: "Raspberry Pi 2, or a later one with a 32-bit system",
    model: "Raspberry Pi 2 Model B Rev 1.1",
    core: "cortex-a7",
    features: "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm",
    identity: ["0x41", "0x0", "0xc07", "5"],
    kernels: "neon",
}];

/// The program under test.
struct Program {
    path: PathBuf,
    /// From the header of the file.
    machine: Machine,
}

#[derive(Clone, Copy, PartialEq)]
enum Machine {
    Arm,
    Aarch64,
}

impl Program {
    fn from_environment() -> Program {
        let path: PathBuf = std::env::var_os(PROGRAM).unwrap_or_else(|| panic!("{PROGRAM} is not set")).into();
        let header = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        // The machine in the header of ELF files.
        let machine = match header[18..20] {
            [40, 0] => Machine::Arm,
            [183, 0] => Machine::Aarch64,
            ref other => panic!("{}: made for {other:?}, not for ARM", path.display()),
        };
        Program { path, machine }
    }

    fn boards(&self) -> &'static [Board] {
        match self.machine {
            Machine::Arm => &BOARDS_32,
            Machine::Aarch64 => &BOARDS_64,
        }
    }

    /// The program as it runs on a board.
    fn on(&self, board: &'static Board) -> Runner {
        let (emulator, libraries) = match self.machine {
            Machine::Arm => ("qemu-arm", "/usr/arm-linux-gnueabihf/lib"),
            Machine::Aarch64 => ("qemu-aarch64", "/usr/aarch64-linux-gnu/lib"),
        };
        // The emulator looks for each file here first, then on this machine.
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(libraries, root.path().join("lib")).unwrap();
        let texts = [
            ("proc/cpuinfo", board.cpuinfo()),
            // Texts of the device tree end with a 0.
            ("proc/device-tree/model", format!("{}\0", board.model)),
            ("proc/sys/kernel/arch", "aarch64\n".to_owned()),
            ("sys/class/thermal/thermal_zone0/temp", "81500\n".to_owned()),
            ("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n".to_owned()),
        ];
        for (path, text) in texts {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut words: Vec<OsString> = [emulator, "-cpu", board.core, "-L"].map(OsString::from).into();
        words.extend([root.path().into(), self.path.clone().into()]);
        Runner { words, _root: Some(root) }
    }
}

impl Board {
    fn cpuinfo(&self) -> String {
        let [implementer, variant, part, revision] = self.identity;
        let core = |number| {
            format!(
                "processor\t: {number}\nBogoMIPS\t: 108.00\nFeatures\t: {}\nCPU implementer\t: {implementer}\n\
                 CPU architecture: 8\nCPU variant\t: {variant}\nCPU part\t: {part}\nCPU revision\t: {revision}\n\n",
                self.features
            )
        };
        (0..4).map(core).collect()
    }
}

/// A program and how to start it.
struct Runner {
    words: Vec<OsString>,
    _root: Option<TempDir>,
}

impl Runner {
    /// The program of this machine.
    fn native() -> Runner {
        Runner { words: vec![env!("CARGO_BIN_EXE_oltr").into()], _root: None }
    }

    /// Standard output of a run whose exit code is one of `codes`.
    fn run(&self, arguments: &[&Path], codes: &[i32]) -> String {
        self.run_and_hear(arguments, codes)[0].clone()
    }

    /// Standard output and standard error of a run.
    fn run_and_hear(&self, arguments: &[&Path], codes: &[i32]) -> [String; 2] {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args(arguments).stdin(Stdio::null()).current_dir(env!("CARGO_MANIFEST_DIR"));
        let ran = command.output().unwrap_or_else(|e| panic!("{:?}: {e}", self.words[0]));
        let code = ran.status.code();
        let errors = String::from_utf8_lossy(&ran.stderr);
        assert!(code.is_some_and(|code| codes.contains(&code)), "{:?}: {}: {errors}", self.words, ran.status);
        [ran.stdout, ran.stderr].map(|text| String::from_utf8(text).unwrap())
    }

    /// The answers to the sample photos, by photo.
    fn answers(&self) -> BTreeMap<String, Value> {
        let lines = self.run(&["classify", "--json", "--quiet", "examples/photos"].map(Path::new), &[0]);
        let answers = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        answers.map(|answer| (answer["source"].as_str().unwrap().to_owned(), answer)).collect()
    }

    /// Its results for a graph of `tests/graphs`.
    fn computed(&self, graph: &Path, folder: &Path) -> npz::Arrays {
        let output = folder.join("computed.npz");
        let _ = std::fs::remove_file(&output);
        let golden = graph.with_extension("npz");
        // 1: not within the tolerance for networks, which does not matter here.
        self.run(&["verify".as_ref(), "--output".as_ref(), &output, graph, &golden], &[0, 1]);
        npz::read(&output)
    }
}

#[test]
#[ignore = "needs a program built for ARM and an emulator: cross/emulate program"]
fn boards_get_their_kernels() {
    let program = Program::from_environment();
    for board in program.boards() {
        let said = program.on(board).run(&["-v", "--version"].map(Path::new), &[0]);
        let kernels = said.lines().find_map(|line| line.strip_prefix("kernels: "));
        assert_eq!(kernels, Some(board.kernels), "{} ({}): {said}", board.name, board.core);
        println!("{} ({}): {}", board.name, board.core, board.kernels);
    }
}

#[test]
#[ignore = "needs a program built for ARM and an emulator: cross/emulate program"]
fn doctor_names_the_board_and_its_kernels_and_what_is_wrong() {
    let program = Program::from_environment();
    for board in program.boards() {
        let said = program.on(board).run(&["doctor", "--json"].map(Path::new), &[0]);
        let report: Value = serde_json::from_str(&said).unwrap();
        let finding = |check: &str| {
            let mut findings = report["findings"].as_array().unwrap().iter();
            let found = findings.find(|finding| finding["check"] == check);
            let found = found.unwrap_or_else(|| panic!("{}: nothing about '{check}': {said}", board.name));
            let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
            (text("status"), text("detail"), text("remedy"))
        };
        let (status, detail, _) = finding("kernels");
        let sets = ["neon", "asimd", "asimddp", "i8mm", "sve"];
        let has = sets.into_iter().filter(|set| board.features.split(' ').any(|feature| feature == *set));
        let expected = format!("{} in use, the processor has {}", board.kernels, has.collect::<Vec<_>>().join(" "));
        assert_eq!((status.as_str(), detail), ("ok", expected), "{} ({})", board.name, board.core);
        let (status, detail, remedy) = finding("processor");
        assert!(detail.starts_with(&format!("{}, ", board.model)), "{}: {detail}", board.name);
        match program.machine {
            Machine::Aarch64 => assert_eq!(status, "ok", "{}: {detail}", board.name),
            Machine::Arm => assert!(status == "warn" && remedy.contains("64-bit"), "{}: {detail}", board.name),
        }
        let (status, detail, remedy) = finding("temperature");
        assert!(status == "warn" && detail == "82 °C" && remedy.contains("cool"), "{}: {detail}", board.name);
        let (status, detail, remedy) = finding("power");
        assert!(status == "warn" && remedy.contains("power supply"), "{}: {detail}", board.name);
        assert_eq!(detail, "under-voltage now, throttled now, under-voltage since boot, throttled since boot");
        assert_eq!(finding("model").0, "ok", "{}: {said}", board.name);
        println!("{}: {}", board.model, finding("kernels").1);
    }
}

/// In programs of the profile `dist` panics do not unwind: the hook must print what the library cannot.
#[test]
#[ignore = "needs a program built for ARM and an emulator: cross/emulate program"]
fn a_graph_that_makes_tract_panic_is_a_bad_model() {
    let program = Program::from_environment();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gather.onnx");
    std::fs::write(&path, onnx::tract_panics().encode()).unwrap();
    let arguments = ["bench".as_ref(), "--runs".as_ref(), "1".as_ref(), path.as_path()];
    let [_, said] = program.on(&program.boards()[0]).run_and_hear(&arguments, &[65]);
    assert!(said.contains("gather.onnx") && said.contains("does not run"), "{said}");
    assert!(!said.contains("panicked") && !said.contains("internal error"), "{said}");
}

#[test]
#[ignore = "needs a program built for ARM and an emulator: cross/emulate program"]
fn photos_get_the_answers_of_this_machine() {
    let program = Program::from_environment();
    let here = Runner::native().answers();
    assert!(here.len() >= 8, "only {} sample photos", here.len());
    for board in program.boards() {
        let there = program.on(board).answers();
        assert!(here.keys().eq(there.keys()), "{}: other photos: {:?}", board.name, there.keys());
        let mut farthest = 0f64;
        for (photo, expected) in &here {
            let got = &there[photo];
            for key in ["decision", "label", "class", "shot"] {
                assert_eq!(got[key], expected[key], "{}: {key} of {photo}", board.name);
            }
            assert_eq!(got["nearest"]["label"], expected["nearest"]["label"], "{}: {photo}", board.name);
            for key in ["probability", "reachability", "threshold"] {
                let [got, expected] = [got, expected].map(|answer| answer[key].as_f64().unwrap());
                let apart = (got - expected).abs() / expected;
                farthest = farthest.max(apart);
                assert!(apart <= TOLERANCE, "{}: {key} of {photo}: {got} instead of {expected}", board.name);
            }
        }
        println!("{} ({}): {} photos, at most {farthest:.1e} apart", board.name, board.core, here.len());
    }
}

#[test]
#[ignore = "needs a program built for ARM and an emulator: cross/emulate program"]
fn graphs_give_the_numbers_of_this_machine() {
    let program = Program::from_environment();
    let folder = tempfile::tempdir().unwrap();
    let graphs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/graphs");
    // One board for each set of kernels.
    let mut boards: Vec<&Board> = program.boards().iter().collect();
    boards.dedup_by_key(|board| board.kernels);
    let boards: Vec<(&Board, Runner)> = boards.into_iter().map(|board| (board, program.on(board))).collect();
    let mut wrong = Vec::new();
    let (mut operators, mut networks, mut farthest) = (0, 0, 0f32);
    for (part, exact) in [("ops", true), ("", false)] {
        for entry in std::fs::read_dir(graphs.join(part)).unwrap() {
            let graph = entry.unwrap().path();
            if graph.extension().is_none_or(|extension| extension != "onnx") {
                continue;
            }
            let name = graph.file_stem().unwrap().to_string_lossy().into_owned();
            *if exact { &mut operators } else { &mut networks } += 1;
            let here = Runner::native().computed(&graph, folder.path());
            for (board, there) in &boards {
                let there = there.computed(&graph, folder.path());
                for (output, expected) in &here {
                    let got = &there[output];
                    assert_eq!(got.len(), expected.len(), "{name} {output}");
                    let largest = expected.iter().fold(f32::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
                    let apart = got.iter().zip(expected).map(|(x, y)| (x - y).abs()).fold(0f32, f32::max) / largest;
                    farthest = farthest.max(apart);
                    // Single operators are all integers: not a bit may differ. (A NaN differs too.)
                    let same = got.iter().zip(expected).all(|(x, y)| x.to_bits() == y.to_bits());
                    let in_float = IN_FLOAT.contains(&name.as_str());
                    let tolerance = if in_float { STEP } else { NETWORK_TOLERANCE };
                    if if exact && !in_float { !same } else { apart.is_nan() || apart > tolerance } {
                        wrong.push(format!("{}: {output} of {name} is {apart:e} apart", board.core));
                    }
                }
            }
        }
    }
    println!("{operators} operators and {networks} networks, at most {farthest:.1e} apart where they are in float");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(operators > 40 && networks > 15, "only {operators} operators and {networks} networks were found");
}
