//! `oltr cameras`: lists the cameras and their modes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oltr::source::camera::Offer;
use serde::Serialize;

use super::args::{CamerasArgs, Common};
use super::exit::Exit;
use super::output::{ErrorLine, Output};
use super::table::{Align, Cell, Column, Shrink, Table, printable};

/// Runs the command.
pub fn run(_: &CamerasArgs, common: &Common) -> anyhow::Result<Exit> {
    let mut out = Output::new();
    let (mut cameras, mut exit) = (Vec::new(), Exit::Success);
    for found in list()? {
        match found {
            Ok(camera) => cameras.push(camera),
            Err(error) => {
                exit = Exit::from(&error);
                if common.json {
                    out.json(&ErrorLine::new("v4l2", &error))?;
                } else {
                    log::warn!("{}", printable(&error.to_string()));
                }
            }
        }
    }
    if cameras.is_empty() {
        log::warn!("no camera is there; plug one in, or allow the group 'video' to open it");
    }
    if common.json {
        cameras.iter().try_for_each(|camera| out.json(camera))?;
    } else if !cameras.is_empty() {
        print(&cameras, &mut out)?;
    }
    Ok(exit)
}

/// `oltr.camera/1`.
#[derive(Debug, Serialize)]
struct Camera {
    schema: &'static str,
    /// Name of the source for `oltr stream`.
    source: String,
    #[serde(skip)]
    path: PathBuf,
    card: String,
    driver: String,
    bus: String,
    modes: Vec<Mode>,
    /// Encodings that oltr does not read, as four characters each.
    other: Vec<String>,
}

/// A mode that a camera offers.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Mode {
    encoding: &'static str,
    width: u32,
    height: u32,
    /// Highest frame rate, if the camera states it.
    fps: Option<f64>,
}

impl From<&Offer> for Mode {
    fn from(offer: &Offer) -> Mode {
        let Offer { encoding, width, height, fps } = *offer;
        Mode { encoding: encoding.name(), width, height, fps }
    }
}

#[cfg(all(feature = "v4l2", target_os = "linux", target_pointer_width = "64"))]
fn list() -> oltr::Result<Vec<oltr::Result<Camera>>> {
    use oltr::source::camera::v4l2;
    let camera = |info: v4l2::Info| Camera {
        schema: "oltr.camera/1",
        source: format!("{}{}", v4l2::SCHEME, info.path.display()),
        path: info.path,
        card: info.card,
        driver: info.driver,
        bus: info.bus,
        modes: info.offers.iter().map(Mode::from).collect(),
        other: info.other,
    };
    Ok(v4l2::list()?.into_iter().map(|info| info.map(camera)).collect())
}

/// Remedy for a build without camera support.
#[cfg(not(all(feature = "v4l2", target_os = "linux", target_pointer_width = "64")))]
pub const NO_CAMERAS: &str = "this oltr opens no cameras (it was built for 32 bits, or without the feature v4l2); pipe \
                              the frames in, for example: ffmpeg -nostdin -v error -f v4l2 -i /dev/video0 -f yuv4mpegpipe \
                              -pix_fmt yuv420p - | oltr stream -";

#[cfg(not(all(feature = "v4l2", target_os = "linux", target_pointer_width = "64")))]
fn list() -> oltr::Result<Vec<oltr::Result<Camera>>> {
    Err(oltr::Error::Config(NO_CAMERAS.into()))
}

/// For each usable camera, by its path: the encodings that oltr reads, each with its largest size.
pub fn modes() -> BTreeMap<PathBuf, Vec<String>> {
    let cameras = list().into_iter().flatten().flatten();
    let summary = |camera: Camera| {
        let mut largest: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
        for mode in &camera.modes {
            let size = largest.entry(mode.encoding).or_default();
            *size = (*size).max((mode.width, mode.height));
        }
        let words = largest.iter().map(|(name, (width, height))| format!("{name} up to {width}x{height}")).collect();
        (camera.path, words)
    };
    cameras.map(summary).collect()
}

/// A row for each mode, the camera in the first.
fn print(cameras: &[Camera], out: &mut Output) -> anyhow::Result<()> {
    let columns = vec![
        Column::new("SOURCE", Align::Left, Shrink::Path),
        Column::new("CAMERA", Align::Left, Shrink::Middle),
        Column::new("ENCODING", Align::Left, Shrink::Middle),
        Column::new("SIZE", Align::Right, Shrink::Never),
        Column::new("FRAMES/S", Align::Right, Shrink::Never),
    ];
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for camera in cameras {
        let mut begin = [camera.source.as_str(), camera.card.as_str()];
        for mode in &camera.modes {
            let fps = mode.fps.map_or("?".into(), |fps| format!("{fps:.1}"));
            let size = format!("{}x{}", mode.width, mode.height);
            rows.push(vec![begin[0].into(), begin[1].into(), mode.encoding.into(), size.into(), fps.into()]);
            begin = ["", ""];
        }
        if camera.modes.is_empty() {
            let other = format!("none that oltr reads ({})", camera.other.join(", "));
            rows.push(vec![begin[0].into(), begin[1].into(), other.into()]);
        }
    }
    let table = Table::fit(columns, &rows, out.width());
    out.line(&table.header())?;
    rows.iter().try_for_each(|row| out.line(&table.row(row)))
}
