//! `oltr classify --things`: finds what differs between a photo and the others of its camera.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use oltr::sink::CutResult;
use oltr::source::photo::Decoder;
use oltr::source::photos::Input;
use oltr::source::stream::Stdin;
use oltr::source::{Bounds, Damage, FrameSource, Next};
use oltr::things::stills::{BURST, Still, StillSource, StillTimes, Stills};
use oltr::{Classifier, Error, Frame, Model, Result, Stamp};

use super::super::args::{ClassifyArgs, Common};
use super::super::stream::crops::Crops;

/// Photos in thing mode, one after another.
pub struct Photos {
    source: StillSource,
    stills: Stills,
    frame: Frame,
    errors: Errors,
    /// The paths as given: the label of a frame is for display.
    names: std::vec::IntoIter<(PathBuf, bool)>,
    crops: Option<Crops>,
}

/// A photo and its result.
pub struct Looked<'a> {
    pub path: PathBuf,
    pub is_stdin: bool,
    /// The times of the answer, which follows from the classifier's last outputs.
    pub times: Result<StillTimes>,
    /// Time of reading and decoding, including the following photos of its burst.
    pub decode: Duration,
    pub frame: &'a Frame,
    pub still: &'a Still,
}

impl Photos {
    /// Begins to read `inputs`.
    ///
    /// # Errors
    /// [`Error::Config`] for options that do not go together; as
    /// [`ThingsArgs::settings`](super::super::stream::things::ThingsArgs) and [`Crops::new`].
    pub fn new(inputs: Vec<Input>, args: &ClassifyArgs, common: &Common, model: &Model) -> Result<Photos> {
        for (option, given) in [("--output", args.output.is_some()), ("--attention", args.attention.is_some())] {
            if given {
                return Err(Error::Config(format!("--things answers on standard output; leave {option} out")));
            }
        }
        let options = common.options();
        let limits = args.scene.limits(options.limits.clone());
        let settings = args.scene.settings(None, &Default::default(), &limits, false)?;
        let named = |input: &Input| match input {
            Input::File(path) | Input::Unusable { input: path, .. } => (path.clone(), false),
            Input::Stdin => (PathBuf::from("-"), true),
        };
        let names: Vec<_> = inputs.iter().map(named).collect();
        let errors = Errors::default();
        let files =
            Files { inputs: inputs.into_iter(), decoder: Decoder::new(&limits), errors: errors.clone(), seq: 0 };
        let apart = args.burst.unwrap_or(BURST);
        let (source, stills) = args.scene.stills(Box::new(files), &settings, apart, model, &options, &limits)?;
        let crops =
            args.scene.save_crops.as_deref().map(|folder| Crops::new(folder, args.scene.saved())).transpose()?;
        Ok(Photos { source, stills, frame: Frame::default(), errors, names: names.into_iter(), crops })
    }

    /// Reads the next photo and classifies it with `classifier`; `None` after the last.
    ///
    /// # Errors
    /// Errors that do not concern a single photo.
    pub fn next(&mut self, classifier: &mut Classifier) -> Result<Option<Looked<'_>>> {
        let begin = Instant::now();
        let next = self.source.next(&mut self.frame, Duration::ZERO)?;
        let decode = begin.elapsed();
        let Some((path, is_stdin)) = self.names.next() else { return Ok(None) };
        let times = match next {
            Next::Frame => {
                let crops = &mut self.crops;
                let mut report_cut = |cut: &oltr::things::Cut| match crops {
                    Some(crops) => crops.cut(&CutResult { source: "", cut: *cut }),
                    None => Ok(()),
                };
                self.stills.look(&mut self.frame, classifier, &mut report_cut).map(|_| self.stills.times())
            }
            _ => Err(self.errors.take()),
        };
        Ok(Some(Looked { path, is_stdin, times, decode, frame: &self.frame, still: self.stills.last() }))
    }
}

/// The error of the last photo that is none.
#[derive(Clone, Default)]
struct Errors(Arc<Mutex<Option<Error>>>);

impl Errors {
    fn keep(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn take(&self) -> Error {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.unwrap_or_else(|| Error::Internal("a photo ended without an answer".into()))
    }
}

/// A source of photos that keeps the errors.
struct Files {
    inputs: std::vec::IntoIter<Input>,
    decoder: Decoder,
    errors: Errors,
    seq: u64,
}

impl FrameSource for Files {
    fn name(&self) -> &str {
        "photos"
    }

    fn is_live(&self) -> bool {
        false
    }

    fn bounds(&self) -> Bounds {
        Bounds::default()
    }

    fn coming(&self, index: usize) -> Option<&Path> {
        match self.inputs.as_slice().get(index)? {
            Input::File(path) => Some(path),
            Input::Stdin | Input::Unusable { .. } => None,
        }
    }

    fn next(&mut self, frame: &mut Frame, _: Duration) -> Result<Next> {
        let Some(input) = self.inputs.next() else { return Ok(Next::End) };
        let seq = self.seq;
        self.seq += 1;
        let read = match input {
            Input::File(path) => self.decoder.read(&path, frame).map(|()| frame.set_path(&path)),
            Input::Stdin => self.decoder.read_from("standard input", Stdin, frame).map(|()| frame.set_label("-")),
            Input::Unusable { error, .. } => Err(error),
        };
        match read {
            Ok(()) => {
                frame.set_stamp(Stamp { seq, mono_ns: oltr::clock::monotonic_ns() });
                Ok(Next::Frame)
            }
            Err(error) => {
                let damage = Damage { offset: None, kind: error.kind(), reason: String::new(), photo: None };
                self.errors.keep(error);
                Ok(Next::Damaged(damage))
            }
        }
    }
}
