//! From what the command line names to a source of frames.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use oltr::source::files::Photos;
use oltr::source::photos::{self, EXTENSIONS, Input};
use oltr::source::watch::{SEARCH_EVERY, Watch};
use oltr::source::{FrameSource, stream};
use oltr::{Error, Limits, Result};

use super::args::StreamArgs;

/// What a camera's name begins with.
const CAMERA: &str = "v4l2:";

/// Opens the source that `args` name; `stop` is asked meanwhile whether to give up.
///
/// # Errors
/// As the sources' own; [`Error::Config`] for a camera that this build cannot read, and for what only cameras can do.
pub fn open(args: &StreamArgs, limits: &Limits, stop: &dyn Fn() -> bool) -> Result<Box<dyn FrameSource>> {
    let is_camera = |source: &OsString| source.to_str().is_some_and(|s| s.starts_with(CAMERA));
    if !args.source.iter().any(is_camera) {
        for (option, given) in [("--encoding", args.encoding.is_some()), ("--fps", args.fps.is_some())] {
            if given {
                let reason = format!("{option} is asked of a camera ({CAMERA}/dev/video0), and the source is none");
                return Err(Error::Config(reason));
            }
        }
    }
    if let Some(folder) = &args.watch {
        let watch = Watch::open(folder, args.state.as_deref(), limits)?;
        return Ok(Box::new(watch.searched_every(args.search_every.unwrap_or(SEARCH_EVERY))));
    }
    let [source] = &args.source[..] else {
        return photos(args, limits);
    };
    if let Some(device) = source.to_str().and_then(|s| s.strip_prefix(CAMERA)) {
        return camera(device, args, limits);
    }
    if args.format.is_none() && names_photos(source) {
        return photos(args, limits);
    }
    stream::open(Path::new(source), &args.stream_settings(), limits, stop)
}

/// Whether `args` name photos: files, or a folder that is watched.
pub fn is_photos(args: &StreamArgs) -> bool {
    let one = |source: &OsString| args.format.is_none() && names_photos(source);
    let camera = |source: &OsString| source.to_str().is_some_and(|s| s.starts_with(CAMERA));
    args.watch.is_some()
        || match &args.source[..] {
            [source] => !camera(source) && one(source),
            _ => true,
        }
}

/// Whether `source` is a folder, a pattern, a list, or a file with the name of a photo, rather than a stream of bytes.
fn names_photos(source: &OsStr) -> bool {
    let path = Path::new(source);
    let extension = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    let is_photo = extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()));
    match std::fs::metadata(path) {
        Ok(meta) => meta.is_dir() || (meta.is_file() && is_photo),
        Err(_) => is_photo || source.to_string_lossy().contains(['*', '?', '[', '@']),
    }
}

fn photos(args: &StreamArgs, limits: &Limits) -> Result<Box<dyn FrameSource>> {
    let name = args.source.iter().map(|source| source.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let found = photos::search(&args.source, limits)?;
    if let Some(text) = found.passed_over() {
        log::warn!("{text}");
    }
    let mut found = found.inputs;
    // Nothing at all is wrong usage rather than a damaged frame.
    match found.pop() {
        Some(Input::Unusable { error, .. }) if found.is_empty() => return Err(error),
        last => found.extend(last),
    }
    Ok(Box::new(Photos::new(&name, found, limits)))
}

#[cfg(all(feature = "v4l2", target_os = "linux", target_pointer_width = "64"))]
fn camera(device: &str, args: &StreamArgs, limits: &Limits) -> Result<Box<dyn FrameSource>> {
    use oltr::source::camera::{Wish, v4l2};
    let stream::Settings { matrix, range, .. } = args.stream_settings();
    let (fps, encoding) = (args.fps.map(f64::from), args.encoding.map(Into::into));
    let wish = Wish { size: args.size, fps, encoding, matrix, range };
    Ok(Box::new(v4l2::open(device, &wish, limits)?))
}

#[cfg(not(all(feature = "v4l2", target_os = "linux", target_pointer_width = "64")))]
fn camera(device: &str, _: &StreamArgs, _: &Limits) -> Result<Box<dyn FrameSource>> {
    Err(Error::Config(format!("{CAMERA}{device}: {}", super::super::cameras::NO_CAMERAS)))
}
