//! The options of `oltr stream --things`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use heapless::Vec as Fixed;
use oltr::bundle::Subject;
use oltr::decide::events;
use oltr::model::Options;
use oltr::pipeline::memory;
use oltr::source::FrameSource;
use oltr::things::detector::{self, Detector, DetectorFinder, MOST_CLASSES};
use oltr::things::stills::{Finds, StillSource, Stills};
use oltr::things::{self, AnyFinder, Area, Budget, Gate, Stage};
use oltr::{Error, Limits, Model, Rect, Result};

use super::mask::{self, Drawn, Following};
use super::parse::{rate, region};

/// Default number of crops that `--save-crops` keeps.
const SAVED: u64 = 1000;

/// Options of thing mode.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Things")]
pub struct ThingsArgs {
    /// Find things that move before a fixed camera, crop each and classify it: one event per thing; for photos, find
    /// what differs from the others of their camera
    #[arg(long)]
    pub things: bool,
    /// With --things: a picture, stretched over the frame, whose black parts are ignored
    #[arg(long, value_name = "FILE", requires = "things")]
    pub mask: Option<PathBuf>,
    /// With --things: ignore this part of each frame, in pixels; may be given several times
    #[arg(long, value_name = "X,Y,W,H", value_parser = region, requires = "things")]
    pub ignore: Vec<Rect>,
    /// With --things: the longer side of the smallest thing, as a share of the frame's width [default: 2%;
    /// with --detector-alone 0]
    #[arg(long, value_name = "P%", value_parser = share, requires = "things")]
    pub min_size: Option<f32>,
    /// With --things: the longer side of the largest thing, as a share of the frame's width [default: 90%;
    /// with --detector-alone any]
    #[arg(long, value_name = "P%", value_parser = share, requires = "things")]
    pub max_size: Option<f32>,
    /// With --things: how far something must move to be a thing, in multiples of its size [default: 0.7; with
    /// --detector-alone 0]
    #[arg(long, value_name = "SIZES", requires = "things")]
    pub min_way: Option<f32>,
    /// With --things: things that are tracked at the same time, up to 32 [default: 16]
    #[arg(long, value_name = "N", requires = "things")]
    pub max_things: Option<usize>,
    /// With --things: margin of a crop around a thing, as a share of the thing's sides [default: 0%]
    #[arg(long, value_name = "P%", value_parser = share, requires = "things")]
    pub crop_margin: Option<f32>,
    /// With --things: above 1 fainter things are found, below 1 only things with more contrast, 0.25 to 4 [default: 1]
    #[arg(long, value_name = "F", requires = "things")]
    pub sensitivity: Option<f32>,
    /// With --things: how long a thing may stand still before it becomes background [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, requires = "things")]
    pub stay: Option<Duration>,
    /// With --things: save crops as PNG files in this folder, with a labels file for calibrate and evaluate
    #[arg(long, value_name = "DIR", requires = "things")]
    pub save_crops: Option<PathBuf>,
    /// With --save-crops: pictures that the folder may hold [default: 1000]
    #[arg(long, value_name = "N", requires = "save_crops", value_parser = clap::value_parser!(u64).range(1..))]
    pub save: Option<u64>,
    /// With --things: a detector in ONNX; its boxes are the things where something moves, and the model classifies them
    #[arg(long, value_name = "FILE", requires = "things")]
    pub detector: Option<PathBuf>,
    /// With --detector: boxes also count where nothing moves
    #[arg(long, requires = "detector")]
    pub detector_alone: bool,
    /// With --detector: run it at most this often per second [default: each frame]
    #[arg(long, value_name = "F", value_parser = rate, requires = "detector")]
    pub detector_fps: Option<f64>,
    /// With --detector: ignore boxes with a lower score, 0 to 1 [default: 0.25]
    #[arg(long, value_name = "F", requires = "detector")]
    pub detector_score: Option<f32>,
    /// With --detector: use only these of its classes, by index: 0,15,16 [default: all]
    #[arg(long, value_name = "N,N…", value_delimiter = ',', requires = "detector")]
    pub detector_classes: Vec<u32>,
}

impl ThingsArgs {
    /// The mask of a stream with these `settings` whose page is served; `None` without one. `allow`: it may be drawn.
    ///
    /// # Errors
    /// [`Error::Config`] if it may be drawn and the source is photos; as [`Drawn::new`].
    pub fn drawn(
        &self,
        allow: bool,
        settings: Option<&things::Settings>,
        served: bool,
        photos: bool,
    ) -> Result<Option<Arc<Drawn>>> {
        if allow && photos {
            let reason = "--allow-mask is said of video, and these are photos; leave it out";
            return Err(Error::Config(reason.into()));
        }
        let mask = settings.zip(self.mask.as_deref()).filter(|_| served);
        mask.map(|(settings, path)| Drawn::new(path, allow, settings.scene.mask.clone())).transpose()
    }

    /// The stage that finds, tracks and crops things. It follows the changes of `drawn`.
    ///
    /// # Errors
    /// As [`Stage::new`]; errors of the detector.
    pub fn stage(
        &self,
        settings: &things::Settings,
        drawn: Option<&Arc<Drawn>>,
        budget: Budget,
        model: &Model,
        options: &Options,
        limits: &Limits,
    ) -> Result<Stage> {
        let Some(path) = &self.detector else {
            let Some(drawn) = drawn else { return Stage::new(settings, budget, limits) };
            settings.check()?;
            let finder = Following::new(Gate::new(&settings.scene)?, drawn.clone());
            return Stage::with_finder(AnyFinder::new(finder), settings, budget, limits);
        };
        let detector = self.load_detector(path, model, options, limits)?;
        let gate = (!self.detector_alone).then(|| Gate::new(&settings.scene)).transpose()?;
        let spacing = self.detector_fps.map_or(Duration::ZERO, |fps| Duration::from_secs_f64(1.0 / fps));
        let finder = DetectorFinder::new(detector, gate, spacing).within(&settings.scene);
        let finder = match drawn {
            Some(drawn) => AnyFinder::new(Following::new(finder, drawn.clone())),
            None => AnyFinder::new(finder),
        };
        Stage::with_finder(finder, settings, budget, limits)
    }

    /// The photos of `source` with their differences, with bursts whose photos are at most `apart`, and the part that
    /// passes them to a classifier.
    ///
    /// # Errors
    /// [`Error::Config`] for options of video; as [`Stills::new`]; errors of the detector.
    pub fn stills(
        &self,
        source: Box<dyn FrameSource>,
        settings: &things::Settings,
        apart: Duration,
        model: &Model,
        options: &Options,
        limits: &Limits,
    ) -> Result<(StillSource, Stills)> {
        for (option, given) in [
            ("--min-way", self.min_way.is_some()),
            ("--stay", self.stay.is_some()),
            ("--detector-fps", self.detector_fps.is_some()),
        ] {
            if given {
                let reason = format!("{option} is said of video, and these are photos; leave it out");
                return Err(Error::Config(reason));
            }
        }
        let finds = Finds::default();
        let mut source = StillSource::new(source, &settings.scene, apart, finds.clone(), limits);
        let mut stills = Stills::new(finds, settings)?;
        if let Some(path) = &self.detector {
            stills = stills.with_detector(self.load_detector(path, model, options, limits)?, self.detector_alone);
        }
        if self.detector_alone {
            source = source.without_ground();
        }
        Ok((source, stills))
    }

    /// Bytes of the detector's file, if there is one.
    pub fn detector_bytes(&self) -> Option<u64> {
        self.detector.as_deref().and_then(|path| std::fs::metadata(path).ok()).map(|meta| meta.len())
    }

    /// Loads the detector `path`, next to `model`.
    fn load_detector(&self, path: &Path, model: &Model, options: &Options, limits: &Limits) -> Result<Detector> {
        if self.detector_classes.len() > MOST_CLASSES {
            return Err(Error::Config(format!(
                "--detector-classes names more than {MOST_CLASSES} classes; name fewer"
            )));
        }
        let usual = detector::Settings::default();
        let of = detector::Settings {
            score: self.detector_score.unwrap_or(usual.score),
            classes: self.detector_classes.iter().copied().collect(),
        };
        if let Some(bytes) = self.detector_bytes() {
            memory::check_loading_beside(model, &path.display().to_string(), bytes, limits)?;
        }
        let detector = Detector::new(&Model::load(path, options)?, &of, limits)?;
        log::info!("{}: {:?}", path.display(), detector.form());
        Ok(detector)
    }

    /// Pictures that `--save-crops` may keep.
    pub fn saved(&self) -> u64 {
        self.save.unwrap_or(SAVED)
    }

    /// `limits` with room for the requested number of things.
    pub fn limits(&self, limits: Limits) -> Limits {
        let most = self.max_things.unwrap_or(0).min(oltr::things::MOST_THINGS);
        Limits::with(|changed| {
            *changed = limits;
            changed.open_events = changed.open_events.max(most);
        })
    }

    /// Settings of thing mode. Only `roi` of the frames is used. A `drawn` mask may still be missing.
    ///
    /// # Errors
    /// [`Error::Config`] for impossible options; as [`mask::read`].
    pub fn settings(
        &self,
        roi: Option<Rect>,
        events: &events::Settings,
        limits: &Limits,
        drawn: bool,
    ) -> Result<things::Settings> {
        let (update_every, gap) = (events.update_every, events.gap);
        let mut settings = things::Settings { update_every, gap, ..Default::default() };
        settings.margin = self.crop_margin.unwrap_or(settings.margin);
        let scene = &mut settings.scene;
        if self.detector_alone {
            // What a detector sees is a thing of any size, also where it stands.
            (scene.min_size, scene.max_size, scene.min_way) = (0.0, 1.0, 0.0);
        }
        scene.min_size = self.min_size.unwrap_or(scene.min_size);
        scene.max_size = self.max_size.unwrap_or(scene.max_size);
        scene.min_way = self.min_way.unwrap_or(scene.min_way);
        scene.max_things = self.max_things.unwrap_or(scene.max_things);
        scene.sensitivity = self.sensitivity.unwrap_or(scene.sensitivity);
        scene.stay = self.stay.unwrap_or(scene.stay);
        // A mask that will be drawn hides nothing yet.
        let there = |path: &&Path| !drawn || path.symlink_metadata().is_ok();
        scene.mask = self.mask.as_deref().filter(there).map(|path| mask::read(path, limits)).transpose()?;
        scene.ignore = ignored(&self.ignore)?;
        if let Some(region) = roi {
            things::only(scene, region)?;
        }
        settings.check()?;
        Ok(settings)
    }
}

/// Warns that a model trained on crops will hardly recognise things in whole pictures.
pub fn warn_of_crops(model: &Model) {
    if model.bundle().is_some_and(|bundle| bundle.subject == Some(Subject::Crop)) {
        log::warn!(
            "{}: was trained on things that are cut out of the picture, and is to say what whole frames show; before a \
             fixed camera --things finds and cuts out what moves (--roi shows it one part of each frame)",
            model.name()
        );
    }
}

fn ignored(regions: &[Rect]) -> Result<Fixed<Area, { things::MOST_IGNORED }>> {
    let area = |r: &Rect| Area {
        x: r.x.min(i32::MAX as u32) as i32,
        y: r.y.min(i32::MAX as u32) as i32,
        width: r.width,
        height: r.height,
    };
    let areas = Fixed::from_iter(regions.iter().take(things::MOST_IGNORED).map(area));
    match regions.len() > things::MOST_IGNORED {
        true => Err(Error::Config(format!(
            "--ignore was given {} times, {} are possible; draw them into one picture and give it as --mask",
            regions.len(),
            things::MOST_IGNORED
        ))),
        false => Ok(areas),
    }
}

/// `15%`, or `0.15`.
fn share(text: &str) -> Result<f32, String> {
    let text = text.trim();
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number.trim_end(), 100.0),
        None => (text, 1.0),
    };
    match number.parse::<f32>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number / scale),
        _ => Err("a share is written as 15% or 0.15".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_given_in_percent_or_as_they_are() {
        for (text, expected) in [("2%", 0.02), ("0.15", 0.15), (" 90 %", 0.9), ("0", 0.0), ("150%", 1.5)] {
            assert!((share(text).unwrap() - expected).abs() < 1e-6, "{text}");
        }
        for wrong in ["", "%", "-1%", "nan", "inf%", "2 3%", "2%%"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn as_many_areas_are_ignored_as_there_is_room_for() {
        let rect = Rect { x: 1, y: 2, width: 3, height: 4 };
        assert_eq!(ignored(&[rect; 2]).unwrap().len(), 2);
        assert!(ignored(&[rect; 17]).is_err());
    }
}
