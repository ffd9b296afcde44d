//! The command line: options and their meaning.

mod adopt;
mod enrol;
mod export;
mod store;
mod study;

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use oltr::model::{self, Engine, Options, Summary};
use oltr::text::printable_os;
use oltr::{Error, Model};

use super::byte_size::ByteSize;
use super::exit;
use super::output::{bytes, millis};
use super::reading_args::ReadingArgs;
use super::stream::args::StreamArgs;
use super::stream::things::ThingsArgs;
use super::table::printable;
pub use adopt::{AdoptArgs, RefitArgs};
pub use enrol::{EnrolAction, EnrolArgs};
pub use export::{ExportArgs, ExportFormat};
pub use store::{ReviewAction, ReviewArgs, StoreAction, StoreArgs};
pub use study::{CalibrateArgs, EvaluateArgs, PhotoArgs};

const EXAMPLES: &str = "\
Examples:
  oltr classify examples/photos   known class or open, for each photo of a folder
  oltr classify --json cup.jpg    the same for a program
  oltr stream v4l2:/dev/video0    the same for a camera, live
  oltr doctor                     what this board offers
  oltr inspect model.onnx         what a model consists of

Exit codes:
  0 success, 1 a comparison failed, 2 wrong usage, 65 bad data or model,
  66 input not found, 69 unavailable, 70 internal error, 74 I/O error,
  75 in use for now, 78 configuration";

/// Classify photos and camera frames as a known class or open, on small boards.
///
/// oltr runs quantised ONNX graphs of OLTR (Large-Scale Long-Tailed Recognition in an Open World): it names what
/// it knows and says `open` for what it does not know.
#[derive(Debug, Parser)]
#[command(name = "oltr", after_help = EXAMPLES, disable_version_flag = true, arg_required_else_help = true)]
#[command(override_usage = "oltr [OPTIONS] <COMMAND>", max_term_width = 80)]
pub struct Cli {
    /// Print the version; with -v also the instruction set
    #[arg(short = 'V', long)]
    pub version: bool,
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Cli {
    /// Parses the command line. Ends the program after `--help` or a usage error, as clap does.
    pub fn read() -> Cli {
        Cli::try_parse().unwrap_or_else(|error| {
            let error = showable(error, std::env::args_os());
            let missing = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::Strings(names)) if error.kind() == ErrorKind::MissingRequiredArgument => &names[..],
                _ => &[],
            };
            if missing.iter().any(|name| name.starts_with("--labels")) {
                let _ = error.print();
                let _ = write!(std::io::stderr(), "\n{}", study::LABELS);
                std::process::exit(error.exit_code());
            }
            if error.use_stderr() {
                error.exit();
            }
            // Help is output: a failed write must not leave half of it unnoticed.
            let written = error.print().and_then(|()| std::io::stdout().flush());
            match written {
                Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
                    std::process::exit(exit::report_error(&Error::io("standard output", e)) as i32)
                }
                _ => std::process::exit(0),
            }
        })
    }

    /// Ends the program as clap does where a command is missing.
    pub fn missing_command() -> ! {
        let message = "a command is missing; see 'oltr --help'";
        Cli::command().error(ErrorKind::MissingSubcommand, message).exit()
    }
}

/// `error` about `arguments`, with their control characters escaped: clap prints arguments unchanged.
fn showable(error: clap::Error, arguments: impl Iterator<Item = OsString>) -> clap::Error {
    let arguments: Vec<OsString> = arguments.collect();
    let escaped: Vec<OsString> = arguments.iter().map(|argument| printable_os(argument).into()).collect();
    if escaped == arguments {
        return error;
    }
    let unsaid = || Cli::command().error(error.kind(), "an argument holds characters that cannot be shown");
    Cli::try_parse_from(escaped).err().unwrap_or_else(unsaid)
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    Classify(ClassifyArgs),
    Stream(Box<StreamArgs>),
    Cameras(CamerasArgs),
    Inspect(InspectArgs),
    Verify(VerifyArgs),
    Bench(BenchArgs),
    Evaluate(EvaluateArgs),
    Calibrate(CalibrateArgs),
    Adopt(Box<AdoptArgs>),
    Refit(RefitArgs),
    Enrol(EnrolArgs),
    Export(ExportArgs),
    Store(StoreArgs),
    Review(ReviewArgs),
    Doctor(DoctorArgs),
    #[command(subcommand, hide = true)]
    Generate(GenerateArgs),
}

/// Options that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Model to run [default: the one built into oltr]
    #[arg(long, value_name = "PATH", env = "OLTR_MODEL", hide_env_values = true, global = true)]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))]
    model: Option<PathBuf>,
    /// Threads that one frame is computed with
    #[arg(long, value_name = "N", default_value_t = 1, global = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
    /// Who computes the quantised parts of the graph
    #[arg(long, value_enum, default_value_t, global = true)]
    pub engine: EngineName,
    /// Memory that oltr may take, as 64MiB: 'stream' plans all of it, other commands the model; anything that needs
    /// more is refused [default: no limit]
    #[arg(long, value_name = "SIZE", global = true)]
    pub max_memory: Option<ByteSize>,
    /// Pixels of the largest photo, as 200M or 16320x12240; takes up to 16 bytes of memory each [default: 120M]
    #[arg(long, value_name = "N", value_parser = pixels, global = true)]
    pub max_pixels: Option<u64>,
    /// Print JSON, one object a line, instead of a table
    #[arg(long, global = true)]
    pub json: bool,
    /// Log instruction set and time of each step; give it twice for more
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Log errors only
    #[arg(short, long, conflicts_with = "verbose", global = true)]
    pub quiet: bool,
}

impl Common {
    /// How to load a model.
    pub fn options(&self) -> Options {
        let mut options = Options::default();
        options.limits.memory_bytes = self.max_memory.map(|size| size.0);
        if let Some(pixels) = self.max_pixels {
            let limits = &mut options.limits;
            limits.photo_pixels = pixels;
            limits.photo_side = limits.photo_side.max(LONGEST_SIDE);
            // Size of an uncompressed format.
            limits.photo_bytes = limits.photo_bytes.max(pixels.saturating_mul(4));
        }
        options.engine = match self.engine {
            EngineName::Int8 => Engine::Int8,
            EngineName::Tract => Engine::Tract,
        };
        options.threads = self.threads.into();
        options
    }

    /// The model file: `argument`, else `--model`, else `OLTR_MODEL`; `None` for the built-in one.
    pub fn model<'a>(&'a self, argument: Option<&'a Path>) -> Option<&'a Path> {
        // An empty variable counts as unset.
        argument.or(self.model.as_deref()).filter(|path| !path.as_os_str().is_empty())
    }

    /// Name and bytes of the file of [`Common::model`].
    ///
    /// # Errors
    /// As [`model::read_file`] and [`model::builtin_bytes`].
    pub fn model_bytes(&self, argument: Option<&Path>) -> oltr::Result<(String, Cow<'static, [u8]>)> {
        Ok(match self.model(argument) {
            Some(path) => (path.display().to_string(), model::read_file(path, &self.options().limits)?.into()),
            None => ("builtin".into(), model::builtin_bytes()?.into()),
        })
    }

    /// Loads [`Common::model`].
    ///
    /// # Errors
    /// As [`Model::load`] and [`Model::builtin`].
    pub fn load(&self, argument: Option<&Path>) -> oltr::Result<Model> {
        self.load_as(argument, &self.options())
    }

    /// As [`Common::load`], with `options`.
    pub fn load_as(&self, argument: Option<&Path>, options: &Options) -> oltr::Result<Model> {
        let begin = Instant::now();
        let model = match self.model(argument) {
            Some(path) => Model::load(path, options),
            None => Model::builtin(options),
        }?;
        let Summary { isa, weights_bytes, arena_bytes, scratch_bytes, .. } = model.summary();
        log::info!(
            "{} loaded in {} ms: {isa} kernels, {} weights, {} buffers",
            printable(model.name()),
            millis(begin.elapsed()),
            bytes(*weights_bytes),
            bytes(arena_bytes + scratch_bytes)
        );
        let coverage = &model.summary().coverage;
        let text = format!("{}: {coverage}", model.name());
        match coverage.is_poor() && self.engine == EngineName::Int8 {
            true => log::warn!("{}", printable(&text)),
            false => log::info!("{}", printable(&text)),
        }
        Ok(model)
    }
}

/// Who computes the quantised parts of a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum EngineName {
    /// The int8 programs of oltr
    #[default]
    Int8,
    /// tract, operator by operator: slow, for comparison
    Tract,
}

/// Classify photos: a known class, or open.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oltr classify cup.jpg                   one photo
  oltr classify photos 'trap/*.jpg'       a folder with its subfolders, a pattern
  oltr classify --top 3 photos            three classes for each photo
  oltr classify --json @list.txt > out.jsonl   photos that a file lists, a line each
  oltr classify --explain cup.jpg         why: what decided, what lies near
  oltr classify --attention seen.png cup.jpg   where the network looked
  curl -s http://camera/snapshot | oltr classify -
  oltr classify --format megadetector --output out.json --base card card/DCIM   for Timelapse; --resume goes on

A photo that cannot be read is reported in its place, the others are classified, and the exit code is 65
(66 if not a single photo was found).")]
pub struct ClassifyArgs {
    /// Classes to list for each photo, most probable first [default: none in a table, 5 with --json]
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    /// Explain each decision in one or two sentences
    #[arg(long)]
    pub explain: bool,
    /// Write the photo with the network's attention as an overlay; for one photo, and a bundle with the output
    /// `attention`
    #[arg(long, value_name = "OUT.png")]
    pub attention: Option<PathBuf>,
    /// File of enrolled classes, as written by 'oltr enrol' [default: next to the model, if it exists]
    #[arg(long, value_name = "FILE")]
    pub enrolled: Option<PathBuf>,
    /// Leave enrolled classes out
    #[arg(long, conflicts_with = "enrolled")]
    pub no_enrolled: bool,
    /// Species list with one class or taxon per line: no other class can be the answer
    #[arg(long, value_name = "FILE")]
    pub species_list: Option<PathBuf>,
    /// Write one file about all photos, in the format of another program
    #[arg(long, value_enum, requires = "output", conflicts_with = "json")]
    pub format: Option<PhotosFormat>,
    /// File for --format; it is written when all photos are done, and FILE.part grows until then
    #[arg(long, value_name = "FILE", requires = "format")]
    pub output: Option<PathBuf>,
    /// Resume an earlier run with the same --output; photos that could not be read are tried again
    #[arg(long, requires = "output")]
    pub resume: bool,
    /// Folder that the names in --output are relative to, as a/b.jpg [default: names as given]
    #[arg(long, value_name = "DIR", requires = "output")]
    pub base: Option<PathBuf>,
    #[command(flatten)]
    pub reading: ReadingArgs,
    #[command(flatten)]
    pub scene: ThingsArgs,
    /// With --things: photos at most this far apart in time belong to one burst [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, requires = "things")]
    #[arg(help_heading = "Things")]
    pub burst: Option<Duration>,
    /// Files, folders, patterns, @LIST (a file of paths), or - for one photo on standard input
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<OsString>,
}

/// Files about photos for other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PhotosFormat {
    /// The lines of --json
    Json,
    /// A row a photo, with a header
    Csv,
    /// MegaDetector's batch output 1.6, which Timelapse reads
    Megadetector,
    /// SpeciesNet's predictions
    Speciesnet,
}

/// List the cameras and their modes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oltr cameras                           a table: names for 'oltr stream', sizes, rates
  oltr cameras --json | jq -r .source    one object a line")]
pub struct CamerasArgs {}

/// Show what a model consists of and how it will run here.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oltr inspect                       the built-in model
  oltr inspect model.onnx            operators, steps and kernels, memory, classes
  oltr inspect --classes model.onnx  ids of the classes, as labels name them
  oltr inspect --card model.onnx     what it was made from, and how good it is
  oltr inspect --json model.onnx | jq .memory")]
pub struct InspectArgs {
    /// Show the card of the bundle: data, licence, figures, how it was made
    #[arg(long)]
    pub card: bool,
    /// Show the classes with their ids
    #[arg(long)]
    pub classes: bool,
    /// Model file [default: as --model]
    #[arg(value_name = "MODEL")]
    pub file: Option<PathBuf>,
}

/// Compare oltr's outputs with those of another runtime.
///
/// GOLDEN.npz (as numpy.savez writes it) holds float32 arrays named after the inputs
/// and outputs of the graph, for one sample or for N samples along the first axis.
/// Every output in the file is compared; the worst of N samples counts:
///
///   logits     cosine at least --min-cosine, and the same class comes out first
///   distances  mean_rel at most --max-mean-rel: the sum of the absolute differences
///              over the sum of the absolute golden values
///   others     cosine at least --min-cosine
///
/// Exit 0 if all agree, 1 if not.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[command(after_help = "\
Examples:
  oltr verify models/everyday.onnx models/everyday.golden.npz
  oltr verify --output ours.npz model.onnx golden.npz   keep what oltr computed
  oltr verify --engine tract model.onnx golden.npz      the same without oltr's own kernels")]
pub struct VerifyArgs {
    /// Write all outputs as oltr computed them
    #[arg(long, value_name = "OUT.npz")]
    pub output: Option<PathBuf>,
    /// Smallest cosine between computed and golden
    #[arg(long, value_name = "X", default_value_t = 0.997, value_parser = fraction)]
    pub min_cosine: f64,
    /// Largest relative difference of distances
    #[arg(long, value_name = "X", default_value_t = 0.01, value_parser = fraction)]
    pub max_mean_rel: f64,
    /// Model file
    #[arg(value_name = "MODEL")]
    pub file: PathBuf,
    /// Inputs, and the outputs of another runtime
    #[arg(value_name = "GOLDEN.npz")]
    pub golden: PathBuf,
}

/// Measure how long a model takes here, and how much memory.
///
/// The network runs on made-up input, one frame at a time. Times are of the network alone, without reading and
/// resizing photos.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oltr bench                             the built-in model
  oltr bench --threads 2 model.onnx
  oltr bench --profile model.onnx        where the time goes, step by step
  oltr bench --json --runs 200 model.onnx >> history.jsonl")]
pub struct BenchArgs {
    /// Runs that are measured
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub runs: u32,
    /// Runs before those, not measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub warmup: u32,
    /// Show the time of each step
    #[arg(long)]
    pub profile: bool,
    /// Model file [default: as --model]
    #[arg(value_name = "MODEL")]
    pub file: Option<PathBuf>,
}

/// Check what this board offers and which problems to expect.
///
/// Each finding is ok, a warning, or a failure with its remedy. Exit 0 unless something fails: then the code of the
/// model's error if the model does not run, else 69.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oltr doctor                                         with the built-in model
  oltr doctor --model model.onnx --max-memory 64MiB   will it fit?
  oltr doctor --json | jq -r '.findings[] | select(.status != \"ok\")'")]
pub struct DoctorArgs {}

/// Write files that packages install next to the program.
#[derive(Debug, Subcommand)]
pub enum GenerateArgs {
    /// Completions for a shell, on standard output
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// The manual: a page for the program and one for each command
    Manual {
        /// Folder for the pages
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
}

/// The longest side of a photo if the user sets the number of pixels: that of a JPEG.
const LONGEST_SIDE: u32 = 65_535;

/// A number of pixels: 200M, 200000000, or a width and a height.
fn pixels(text: &str) -> Result<u64, String> {
    let help = || format!("'{text}' is no number of pixels; write it as 200M, 200000000 or 16320x12240");
    let number = |text: &str| text.trim().parse::<u64>().ok().filter(|n| *n > 0);
    let whole = text.trim().trim_end_matches(['p', 'P']);
    let pixels = match (whole.split_once('x'), whole.strip_suffix(['m', 'M'])) {
        (Some((width, height)), _) => number(width).zip(number(height)).and_then(|(w, h)| w.checked_mul(h)),
        (None, Some(millions)) => number(millions).and_then(|n| n.checked_mul(1_000_000)),
        (None, None) => number(whole),
    };
    pixels.ok_or_else(help)
}

fn fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("a number from 0 to 1 is needed".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_models_place_is_looked_for_in_order() {
        let parse = |args: &[&str]| Cli::try_parse_from(args).unwrap().common;
        let option = parse(&["oltr", "--model", "a", "doctor"]);
        assert_eq!(option.model(Some(Path::new("b"))), Some(Path::new("b")));
        assert_eq!(option.model(None), Some(Path::new("a")));
        assert_eq!(parse(&["oltr", "--model", "", "doctor"]).model(None), None);
    }

    #[test]
    fn options_reach_the_model() {
        let line = ["oltr", "doctor", "--threads", "2", "--engine", "tract", "--max-memory", "1KiB"];
        let options = Cli::try_parse_from(line).unwrap().common.options();
        assert_eq!((options.threads, options.engine), (2, Engine::Tract));
        assert_eq!(options.limits.memory_bytes, Some(1024));
    }
}
