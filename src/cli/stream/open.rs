//! Opens the source that the command line names.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use oltr::source::files::Photos;
use oltr::source::photos::{self, EXTENSIONS, Input};
use oltr::source::stream::foreign;
use oltr::source::watch::{SEARCH_EVERY, Watch};
use oltr::source::{FrameSource, stream};
use oltr::{Error, Limits, Result};

use super::args::StreamArgs;

/// Prefix of a camera's name.
const CAMERA: &str = "v4l2:";

/// Name of the source of `args`.
pub fn name(args: &StreamArgs) -> String {
    match &args.watch {
        Some(folder) => folder.display().to_string(),
        None => args.source.iter().map(|source| source.to_string_lossy()).collect::<Vec<_>>().join(" "),
    }
}

/// Whether a source that failed with `error` may become available: a camera, a card, a FIFO or its writer.
pub fn may_come(args: &StreamArgs, error: &Error) -> bool {
    let file = |source: &OsString| source == "-" || std::fs::metadata(source).is_ok_and(|meta| meta.is_file());
    match error {
        Error::Unavailable { .. } | Error::NotFound { .. } => !args.source.iter().any(file),
        // A card that is being inserted, or a network that does not answer: treated as if it happened later.
        Error::Io { path, cause } => {
            args.watch.as_ref() == Some(path) && cause.kind() != std::io::ErrorKind::PermissionDenied
        }
        _ => false,
    }
}

/// Refuses impossible sources and options, with the remedy.
///
/// # Errors
/// [`Error::Config`].
pub fn check(args: &StreamArgs) -> Result<()> {
    let is_camera = |source: &OsString| source.to_str().is_some_and(|s| s.starts_with(CAMERA));
    let camera = args.source.iter().any(is_camera);
    let one_file = |source: &OsString| std::fs::metadata(source).is_ok_and(|meta| meta.is_file());
    let recording = args.recording || args.source.iter().all(one_file);
    for (option, given) in
        [("--encoding", args.encoding.is_some() && !camera), ("--fps", args.fps.is_some() && !camera && !recording)]
    {
        if given {
            let reason = format!("{option} is asked of a camera ({CAMERA}/dev/video0), and the source is none");
            return Err(Error::Config(reason));
        }
    }
    for (option, given) in [("--burst", args.burst.is_some()), ("--time", args.time.is_some())] {
        if given && !is_photos(args) {
            let reason = format!("{option} is said of photos, folders and --watch, and the source is none of them");
            return Err(Error::Config(reason));
        }
    }
    if camera && args.recording {
        return Err(Error::Config("--recording is said of files and pipes: a camera gives what happens now".into()));
    }
    let [source] = &args.source[..] else { return Ok(()) };
    let Some(text) = source.to_str() else { return Ok(()) };
    if let Some(instead) = instead(text) {
        return Err(Error::Config(format!("{text}: {instead}")));
    }
    Ok(())
}

/// The remedy for a source that another program must open, or that has another name.
fn instead(source: &str) -> Option<String> {
    const STREAM: &str = "is a stream of the network, which oltr does not open; let ffmpeg:";
    let exists = Path::new(source).exists();
    if let Some((scheme, rest)) = source.split_once("://").filter(|_| !exists) {
        return Some(match scheme.to_ascii_lowercase().as_str() {
            "file" => format!("is a file, called by its path: {}", again(source, rest)),
            "v4l2" => {
                format!("is a camera, called by its device: {}", again(source, &format!("{CAMERA}{}", device(rest))))
            }
            "rtsp" | "rtsps" => {
                format!("{STREAM} {} | {}", foreign::ffmpeg(source, &["-rtsp_transport tcp"]), again(source, "-"))
            }
            _ => format!("{STREAM} {} | {}", foreign::ffmpeg(source, &[]), again(source, "-")),
        });
    }
    let number = !source.is_empty() && source.bytes().all(|b| b.is_ascii_digit()) && !exists;
    let is_device = |path: &Path| std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_char_device());
    let node = source.starts_with("/dev/video") || (source.starts_with("/dev/v4l/") && is_device(Path::new(source)));
    if !number && !node {
        return None;
    }
    let camera = format!("{CAMERA}{}", device(source));
    Some(match cfg!(all(feature = "v4l2", target_os = "linux", target_pointer_width = "64")) {
        true => format!("is a camera, called by its device: {}", again(source, &camera)),
        false => format!(
            "is a camera, and this oltr opens none; let ffmpeg: {} | {}",
            foreign::ffmpeg(&device(source), &["-f v4l2"]),
            again(source, "-")
        ),
    })
}

/// The device of the camera `name`: a number or a path.
fn device(name: &str) -> String {
    match !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()) {
        true => format!("/dev/video{name}"),
        false => name.into(),
    }
}

/// The command line that this program was started with, with `new` in the place of `source`.
fn again(source: &str, new: &str) -> String {
    let words = std::env::args_os().skip(1).map(|word| match word.to_str() {
        Some(word) if word == source => foreign::quoted(new),
        _ => foreign::quoted(&word.to_string_lossy()),
    });
    std::iter::once("oltr".to_string()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Opens the source of `args`. Gives up when `stop` returns true.
///
/// # Errors
/// Errors of the source; [`Error::Config`] for a camera that this build does not support.
pub fn open(args: &StreamArgs, limits: &Limits, stop: &dyn Fn() -> bool) -> Result<Box<dyn FrameSource>> {
    if let Some(folder) = &args.watch {
        let watch = Watch::open(folder, args.state.as_deref(), limits)?;
        return Ok(Box::new(watch.searched_every(args.search_every.unwrap_or(SEARCH_EVERY))));
    }
    let [source] = &args.source[..] else {
        return photos(args, limits);
    };
    if let Some(name) = source.to_str().and_then(|s| s.strip_prefix(CAMERA)) {
        return camera(&device(name), args, limits);
    }
    if args.format.is_none() && names_photos(source) {
        return photos(args, limits);
    }
    stream::open(Path::new(source), &args.stream_settings(limits), limits, stop)
}

/// Whether `args` name photos: files, or a watched folder.
pub fn is_photos(args: &StreamArgs) -> bool {
    let one = |source: &OsString| args.format.is_none() && names_photos(source);
    let camera = |source: &OsString| source.to_str().is_some_and(|s| s.starts_with(CAMERA));
    args.watch.is_some()
        || match &args.source[..] {
            [source] => !camera(source) && one(source),
            _ => true,
        }
}

/// Whether `source` is a folder, a pattern, a list, or a file with a photo's name, rather than a stream of bytes.
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
    let found = photos::search(&args.source, limits)?;
    if let Some(text) = found.passed_over() {
        log::warn!("{text}");
    }
    let mut found = found.inputs;
    // An unusable input is a usage error rather than a damaged frame.
    match found.pop() {
        Some(Input::Unusable { error, .. }) if found.is_empty() => return Err(error),
        last => found.extend(last),
    }
    Ok(Box::new(Photos::new(&name(args), found, limits)))
}

#[cfg(all(feature = "v4l2", target_os = "linux", target_pointer_width = "64"))]
fn camera(device: &str, args: &StreamArgs, limits: &Limits) -> Result<Box<dyn FrameSource>> {
    use oltr::source::camera::{Wish, v4l2};
    let stream::Settings { matrix, range, .. } = args.stream_settings(limits);
    let (fps, encoding) = (args.fps.map(f64::from), args.encoding.map(Into::into));
    let wish = Wish { size: args.size, fps, encoding, matrix, range };
    Ok(Box::new(v4l2::open(device, &wish, limits)?))
}

#[cfg(not(all(feature = "v4l2", target_os = "linux", target_pointer_width = "64")))]
fn camera(device: &str, _: &StreamArgs, _: &Limits) -> Result<Box<dyn FrameSource>> {
    Err(Error::Config(format!("{CAMERA}{device}: {}", super::super::cameras::NO_CAMERAS)))
}
