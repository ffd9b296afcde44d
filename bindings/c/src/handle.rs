//! What the pointers of C lead to.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use oltr::bundle::Rank;
use oltr::decide::Decision;
use oltr::enrol::Enrolments;
use oltr::model::Options;
use oltr::source::photo::{Decode, InputReader};
use oltr::{Error, Frame, Geometry, Judge, Limits, Outputs, PixelFormat, Result};

/// Most threads of one session.
const MAX_THREADS: u32 = 256;

/// As `oltr_answer`, field by field.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Answer {
    known: i32,
    class_index: i32,
    label: *const c_char,
    name: *const c_char,
    probability: f32,
    reachability: f32,
    threshold: f32,
    nearest_distance: f32,
    nearest_index: i32,
    nearest_label: *const c_char,
    nearest_name: *const c_char,
}

/// As `oltr_taxon`, field by field.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Taxon {
    rank: *const c_char,
    name: *const c_char,
    probability: f32,
    of_rank: *const c_char,
    of_name: *const c_char,
    gbif: u64,
    worms: u64,
}

/// The word of a rank.
fn word(rank: Rank) -> *const c_char {
    let word = match rank {
        Rank::Label => c"label",
        Rank::Species => c"species",
        Rank::Genus => c"genus",
        Rank::Family => c"family",
        Rank::Order => c"order",
        Rank::Class => c"class",
        Rank::Phylum => c"phylum",
        Rank::Kingdom => c"kingdom",
    };
    word.as_ptr()
}

/// Texts as C reads them.
#[derive(Debug, Default)]
struct Texts(Vec<CString>);

impl Texts {
    fn new<'a>(texts: impl Iterator<Item = &'a str>) -> Texts {
        Texts(texts.map(text).collect())
    }

    fn get(&self, index: usize) -> *const c_char {
        self.0.get(index).map_or(ptr::null(), |text| text.as_ptr())
    }
}

/// `text` as C reads it, in which no zero byte stands.
fn text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

#[derive(Debug)]
struct Loaded {
    model: oltr::Model,
    enrolments: Option<Enrolments>,
    labels: Texts,
    names: Texts,
    enrolled: Texts,
    /// Names of taxa, by themselves.
    taxa: HashMap<String, CString>,
}

/// As `oltr_model`.
#[derive(Debug)]
pub struct Model(Arc<Loaded>);

fn options(threads: u32) -> Result<Options> {
    if !(1..=MAX_THREADS).contains(&threads) {
        let reason = format!("{threads}; must be 1 to {MAX_THREADS}");
        return Err(Error::BadInput { subject: "threads".into(), reason });
    }
    Ok(Options { threads: threads as usize, hash_graph: true, ..Options::default() })
}

impl Model {
    /// The bundle at `path` with the classes enrolled beside it, or the built-in one.
    pub fn load(path: Option<&Path>, threads: u32) -> Result<Model> {
        let options = options(threads)?;
        let model = match path {
            Some(path) => oltr::Model::load(path, &options)?,
            None => oltr::Model::builtin(&options)?,
        };
        let beside = path.map(Enrolments::path_beside).filter(|beside| beside.exists());
        let enrolments = beside.zip(model.graph_sha256()).map(|(file, hash)| Enrolments::read(&file, hash));
        Model::new(model, enrolments.transpose()?)
    }

    /// The bundle that is `bytes`.
    pub fn from_memory(bytes: &[u8], threads: u32) -> Result<Model> {
        Model::new(oltr::Model::from_bytes("memory", bytes, &options(threads)?)?, None)
    }

    fn new(model: oltr::Model, enrolments: Option<Enrolments>) -> Result<Model> {
        let enrolled = Texts::new(enrolments.iter().flat_map(|e| e.classes()).map(|class| class.name()));
        let classes = model.bundle().map(|bundle| bundle.classes.as_slice()).unwrap_or_default();
        let labels = Texts::new(classes.iter().map(|class| class.id.as_str()));
        let names = Texts::new(classes.iter().map(|class| class.name.as_str()));
        let taxonomy = model.bundle().and_then(|bundle| bundle.taxonomy.as_ref());
        let taxa = taxonomy.iter().flat_map(|taxonomy| taxonomy.classes.values()).flat_map(|taxa| taxa.values());
        let taxa = taxa.map(|name| (name.clone(), text(name))).collect();
        let loaded = Loaded { model, enrolments, labels, names, enrolled, taxa };
        loaded.model.try_bundle()?;
        Ok(Model(Arc::new(loaded)))
    }

    /// Number of known classes.
    pub fn classes(&self) -> usize {
        self.0.labels.0.len()
    }

    /// Id of a class.
    pub fn label(&self, index: usize) -> Option<&CStr> {
        self.0.labels.0.get(index).map(CString::as_c_str)
    }

    /// Name of a class for people.
    pub fn name(&self, index: usize) -> Option<&CStr> {
        self.0.names.0.get(index).map(CString::as_c_str)
    }

    /// A session of it.
    pub fn session(&self) -> Result<Session> {
        let loaded = self.0.clone();
        let limits = Limits::default();
        let reader = InputReader::new(&loaded.model.try_bundle()?.preprocess, Decode::Exact, &limits);
        let (session, pixels) = (loaded.model.session()?, vec![0; reader.output_len()]);
        Ok(Session { loaded, session, reader, pixels, frame: Frame::default(), limits })
    }
}

/// As `oltr_session`.
#[derive(Debug)]
pub struct Session {
    loaded: Arc<Loaded>,
    session: oltr::Session,
    reader: InputReader,
    pixels: Vec<u8>,
    frame: Frame,
    limits: Limits,
}

/// Bytes from the first pixel to the last of rows that begin `stride` bytes apart.
pub fn length_of(width: u32, height: u32, stride: usize) -> Result<usize> {
    let row = width as usize * 3;
    let bad = |reason: String| Error::BadInput { subject: "pixels".into(), reason };
    if width == 0 || height == 0 {
        return Err(bad(format!("are none: {width} x {height}")));
    }
    if stride < row {
        return Err(bad(format!("rows {stride} bytes apart, each has {row}")));
    }
    let length = stride.checked_mul(height as usize - 1).and_then(|length| length.checked_add(row));
    length.ok_or_else(|| bad(format!("{height} rows {stride} bytes apart are more than memory has")))
}

impl Session {
    /// What the photo at `path` shows.
    pub fn file(&mut self, path: &Path) -> Result<Answer> {
        self.reader.read(path, &mut self.pixels)?;
        self.session.run_pixels(&self.pixels)?;
        self.answer()
    }

    /// What an encoded photo shows.
    pub fn encoded(&mut self, bytes: &[u8]) -> Result<Answer> {
        self.reader.decode("photo", bytes, &mut self.pixels)?;
        self.session.run_pixels(&self.pixels)?;
        self.answer()
    }

    /// What `pixels` show, [`length_of`] bytes.
    pub fn rgb(&mut self, pixels: &[u8], width: u32, height: u32, stride: usize) -> Result<Answer> {
        let row = width as usize * 3;
        let into = self.frame.reshape(Geometry::new(PixelFormat::Rgb24, width, height), &self.limits)?;
        for (into, from) in into.chunks_exact_mut(row).zip(pixels.chunks(stride)) {
            into.copy_from_slice(&from[..row]);
        }
        self.session.run(&self.frame)?;
        self.answer()
    }

    /// The outputs for the last photo.
    pub fn outputs(&self) -> &Outputs {
        self.session.outputs()
    }

    /// The name of the last photo.
    pub fn taxon(&self) -> Result<Option<Taxon>> {
        if self.session.outputs().logits.is_empty() {
            return Ok(None);
        }
        let answer = self.judge()?.answer(self.session.outputs())?;
        let Some((told, taxon)) = answer.told().flatten().zip(answer.taxon) else { return Ok(None) };
        let known = |name: &str| self.loaded.taxa.get(name).map_or(ptr::null(), |text| text.as_ptr());
        Ok(Some(Taxon {
            rank: word(told.rank),
            name: if told.rank == Rank::Label { self.loaded.names.get(taxon.class) } else { known(told.name) },
            probability: told.probability,
            of_rank: told.of.map_or(ptr::null(), |of| word(of.rank)),
            of_name: told.of.map_or(ptr::null(), |of| known(of.name)),
            gbif: told.ids.gbif.unwrap_or(0),
            worms: told.ids.worms.unwrap_or(0),
        }))
    }

    fn judge(&self) -> Result<Judge<'_>> {
        let judge = Judge::new(self.loaded.model.try_bundle()?);
        Ok(match &self.loaded.enrolments {
            Some(enrolments) => judge.with_enrolments(enrolments),
            None => judge,
        })
    }

    fn answer(&self) -> Result<Answer> {
        let answer = self.judge()?.answer(self.session.outputs())?;
        let Loaded { labels, names, enrolled, .. } = &*self.loaded;
        let (label, name) = match answer.decision {
            Decision::Known(class) => (labels.get(class), names.get(class)),
            Decision::Enrolled(index) => (enrolled.get(index), enrolled.get(index)),
            Decision::Open | Decision::Unclassified => (ptr::null(), ptr::null()),
        };
        let nearest = answer.nearest;
        Ok(Answer {
            known: answer.is_known().into(),
            class_index: answer.class().and_then(|class| i32::try_from(class).ok()).unwrap_or(-1),
            label,
            name,
            probability: answer.probability,
            reachability: answer.reachability,
            threshold: answer.threshold,
            nearest_distance: nearest.distance,
            nearest_index: i32::try_from(nearest.class).unwrap_or(-1),
            nearest_label: labels.get(nearest.class),
            nearest_name: names.get(nearest.class),
        })
    }
}
