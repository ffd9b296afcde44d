//! Reads a store while another process writes it, or from a copied card. Changes nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::record::{Picture, Record, event_of};
use crate::reviews::{self, Decided, Review, Reviews};
use crate::state::{self, State};
use crate::store::{MAX_SEGMENT_FILE, Opened, SEGMENTS, open, segments};
use crate::tally::Tally;
use crate::times::Clocks;

/// How many times a check looks again at what seems broken, and the pause between looks.
const LOOKS: usize = 3;
/// As [`LOOKS`].
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How many times a reader starts over because the writer replaced a segment.
const ATTEMPTS: usize = 20;

/// Reads the store in one folder.
pub struct Reader {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    state: State,
    dead: BTreeSet<u64>,
    decided: Decided,
    clocks: Clocks,
}

/// One listed record.
pub struct Listed<'a> {
    /// Its parsed line.
    pub record: Record<'a>,
    /// The text of its line; [`event_of`](crate::event_of) finds the event in it.
    pub text: &'a str,
    /// Its review.
    pub review: Option<&'a Review>,
    reader: &'a Reader,
}

impl Listed<'_> {
    /// The event's last line, with corrected times as far as [`Reader::learn_times`] knows them.
    pub fn event(&self) -> Option<Map<String, Value>> {
        let mut event = serde_json::from_str(event_of(self.text)?).ok()?;
        self.reader.clocks.mend(&mut event);
        Some(event)
    }

    /// Path of its picture below the store's folder, if the file exists with its full length.
    pub fn picture(&self) -> Option<&str> {
        let Picture { path, bytes, .. } = self.record.picture.as_ref()?;
        let there =
            is_inside(path) && self.reader.disk.length(&self.reader.folder.join(path)).is_ok_and(|n| n == *bytes);
        there.then_some(path)
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and how the next start repairs it.
    pub what: String,
    /// Whether a part of the store is damaged. Otherwise the file is merely foreign.
    pub broken: bool,
}

/// Result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Whole records.
    pub records: u64,
    /// All deviations.
    pub findings: Vec<Finding>,
}

/// Contents of a store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Records.
    pub records: u64,
    /// Records with a picture.
    pub pictures: u64,
    /// Records that a person decided about.
    pub reviewed: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// The events of the first record and of the last, as text.
    pub oldest: Option<String>,
    /// As `oldest`.
    pub newest: Option<String>,
    /// Counts of each class, including evicted events. Open events have the empty class.
    pub classes: Vec<Tally>,
}

impl Reader {
    /// Reads the store in `folder`.
    ///
    /// # Errors
    /// [`Error::Bad`] if there is no store; [`Error::Io`].
    pub fn open(folder: &Path, disk: Arc<dyn Disk>) -> Result<Reader> {
        let segments = folder.join(SEGMENTS);
        match disk.list(&segments) {
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => match disk.list(folder) {
                Ok(_) => {
                    let reason = "is no store: it has no folder 'segments'; 'oltr stream --store DIR' makes one";
                    return Err(Error::bad(folder.display().to_string(), reason));
                }
                Err(e) => return Err(Error::io(folder, e)),
            },
            Err(e) => return Err(Error::io(&segments, e)),
        }
        let state = open::read_state(disk.as_ref(), folder, &mut Opened::default())?;
        let decided = Reviews::of(folder).decided(disk.as_ref())?;
        let dead = state.dead.iter().copied().collect();
        Ok(Reader { disk, folder: folder.into(), state, dead, decided, clocks: Clocks::default() })
    }

    /// Learns, for each boot whose clock was unknown at first, when it became known. After that [`Listed::event`]
    /// corrects the times of earlier events.
    ///
    /// # Errors
    /// As [`Reader::each`].
    pub fn learn_times(&mut self) -> Result<()> {
        const UNKNOWN: &str = "\"clock_synchronised\":false";
        let mut unknown = false;
        self.each(&mut |listed| {
            unknown |= event_of(listed.text).is_some_and(|event| event.contains(UNKNOWN));
            Ok(!unknown)
        })?;
        if !unknown {
            return Ok(());
        }
        let mut clocks = Clocks::default();
        self.efforts()?.iter().for_each(|stats| clocks.learn(stats));
        self.each(&mut |listed| {
            event_of(listed.text).iter().for_each(|event| clocks.learn(event));
            Ok(true)
        })?;
        self.clocks = clocks;
        Ok(())
    }

    /// The last statistics of each run, as `oltr.stats/1`, in the order in which the runs began.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn efforts(&self) -> Result<Vec<String>> {
        crate::effort::read(self.disk.as_ref(), &self.folder)
    }

    /// The last decision about each record.
    pub fn decided(&self) -> &Decided {
        &self.decided
    }

    /// Names of files that may be segments, in order.
    fn names(&self) -> Result<Vec<String>> {
        let folder = self.folder.join(SEGMENTS);
        let mut names = self.disk.list(&folder).map_err(|e| Error::io(&folder, e))?;
        names.retain(|name| name.ends_with(".jsonl"));
        names.sort_unstable();
        Ok(names)
    }

    /// Calls `f` with each record, oldest first, until it returns false.
    ///
    /// # Errors
    /// [`Error::Io`], and errors of `f`.
    pub fn each(&self, f: &mut dyn FnMut(Listed) -> Result<bool>) -> Result<()> {
        self.after(0, f)
    }

    /// As [`Reader::each`], for the records after `last`. Skips segments that end before it.
    ///
    /// # Errors
    /// As [`Reader::each`].
    pub fn after(&self, mut last: u64, f: &mut dyn FnMut(Listed) -> Result<bool>) -> Result<()> {
        for _ in 0..ATTEMPTS {
            if self.each_from(&mut last, f)? {
                return Ok(());
            }
        }
        Err(Error::bad(self.folder.display().to_string(), "changes too fast to be read; try again"))
    }

    /// A number that no record of this store had when it was last opened to be written, nor gets less than.
    pub fn next_id(&self) -> u64 {
        self.state.next_id
    }

    /// As [`Reader::each`], for the records after `last`. Returns whether all were read.
    fn each_from(&self, last: &mut u64, f: &mut dyn FnMut(Listed) -> Result<bool>) -> Result<bool> {
        let names = self.names()?;
        let next = segments::name_of(last.saturating_add(1));
        let begin = names.partition_point(|name| *name <= next).saturating_sub(1);
        for name in names.into_iter().skip(begin) {
            let path = self.folder.join(SEGMENTS).join(&name);
            let bytes = match self.disk.read(&path, MAX_SEGMENT_FILE) {
                Ok(bytes) => bytes,
                // Its records are in the one before now.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
                Err(e) => {
                    log::warn!("{}: {e}; left out", path.display());
                    continue;
                }
            };
            if segments::first_of(&bytes, &name).is_none() {
                continue;
            }
            for (record, _, text) in open::scan(&bytes, last).records {
                if !self.dead.contains(&record.id) && !f(self.listed(record, text))? {
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }

    fn listed<'a>(&'a self, record: Record<'a>, text: &'a str) -> Listed<'a> {
        let review = self.decided.get(&record.id);
        Listed { record, text, review, reader: self }
    }

    /// Calls `f` with those of the records `ids` that exist, in order.
    ///
    /// # Errors
    /// As [`Reader::each`].
    pub fn some(&self, ids: &[u64], f: &mut dyn FnMut(Listed) -> Result<()>) -> Result<()> {
        let mut wanted: BTreeSet<u64> = ids.iter().copied().collect();
        for _ in 0..ATTEMPTS {
            let names = self.names()?;
            let mut missed = false;
            while let Some(id) = wanted.first().copied() {
                let name = segments::name_of(id);
                let place = names.partition_point(|other| *other <= name);
                let next = names.get(place).cloned();
                let in_this = |id: &u64| next.as_ref().is_none_or(|next| segments::name_of(*id) < *next);
                let ids: Vec<u64> = wanted.iter().copied().take_while(in_this).collect();
                if let Some(name) = place.checked_sub(1).map(|place| &names[place]) {
                    let path = self.folder.join(SEGMENTS).join(name);
                    match self.disk.read(&path, MAX_SEGMENT_FILE) {
                        Ok(bytes) => {
                            for (record, _, text) in open::scan(&bytes, &mut 0).records {
                                if ids.binary_search(&record.id).is_ok() && !self.dead.contains(&record.id) {
                                    f(self.listed(record, text))?;
                                }
                            }
                        }
                        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                            missed = true;
                            break;
                        }
                        Err(e) => return Err(Error::io(&path, e)),
                    }
                }
                ids.iter().for_each(|id| {
                    wanted.remove(id);
                });
                if ids.is_empty() {
                    wanted.remove(&id);
                }
            }
            if !missed {
                return Ok(());
            }
        }
        Err(Error::bad(self.folder.display().to_string(), "changes too fast to be read; try again"))
    }

    /// Whether record `id` exists.
    ///
    /// # Errors
    /// As [`Reader::each`].
    pub fn has(&self, id: u64) -> Result<bool> {
        let mut found = false;
        self.some(&[id], &mut |_| {
            found = true;
            Ok(())
        })?;
        Ok(found)
    }

    /// The bytes of the picture at `path` below the store's folder, as a record names it.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Bad`] for a path that leads out of the store.
    pub fn picture(&self, path: &str) -> Result<Vec<u8>> {
        read_picture(self.disk.as_ref(), &self.folder, path)
    }

    /// Lists everything that is wrong, and how a start would repair it. Reads all files, pictures too. Looks again at
    /// what seems broken, because a running stream may be evicting a record or writing a line at that moment.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn check(&self) -> Result<Checked> {
        let mut checked = self.check_at_rest()?;
        for _ in 0..LOOKS {
            if !checked.findings.iter().any(|finding| finding.broken) {
                break;
            }
            std::thread::sleep(LOOK_AGAIN);
            let again = Reader::open(&self.folder, self.disk.clone())?.check_at_rest()?;
            // Real damage stays the same on each look.
            let stays = |finding: &Finding| !finding.broken || checked.findings.contains(finding);
            checked = Checked { findings: again.findings.into_iter().filter(stays).collect(), ..again };
        }
        Ok(checked)
    }

    /// As [`Reader::check`], for a store that no process writes: reads all files once.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn check_at_rest(&self) -> Result<Checked> {
        let mut findings = Vec::new();
        let mut find = |path: &Path, what: String, broken| findings.push(Finding { path: path.into(), what, broken });
        let folder = self.folder.join(SEGMENTS);
        let mut names = self.disk.list(&folder).map_err(|e| Error::io(&folder, e))?;
        names.sort_unstable();
        let (mut last, mut ids) = (0, BTreeSet::new());
        for name in names {
            let path = folder.join(&name);
            let bytes = match self.disk.read(&path, MAX_SEGMENT_FILE) {
                Ok(bytes) => bytes,
                Err(e) => {
                    find(&path, format!("cannot be read ({e}); a start leaves it alone"), name.ends_with(".jsonl"));
                    continue;
                }
            };
            if name == segments::TEMPORARY {
                find(&path, "was left when the power went; a start removes it".into(), false);
                continue;
            }
            if segments::first_of(&bytes, &name).is_none() {
                find(&path, "is none of the store's files; a start leaves it alone".into(), false);
                continue;
            }
            let found = open::scan(&bytes, &mut last);
            if found.torn > 0 {
                find(&path, format!("its last {} bytes are no whole line; a start cuts them off", found.torn), true);
            }
            if found.damaged > 0 {
                let what = format!("{} bytes between whole lines are none; a start leaves them out", found.damaged);
                find(&path, what, true);
            }
            if found.repeated {
                find(&path, "repeats records of the one before; a start removes them".into(), false);
            }
            for (record, ..) in found.records.iter().filter(|(record, ..)| !self.dead.contains(&record.id)) {
                ids.insert(record.id);
                let Some(picture) = &record.picture else { continue };
                let path = self.folder.join(&picture.path);
                let broken = match self.picture(&picture.path) {
                    Ok(bytes) if bytes.len() as u64 != picture.bytes => {
                        Some("is shorter or longer than it was written")
                    }
                    Ok(bytes) if crc32fast::hash(&bytes) != picture.crc32 => Some("is not what was written"),
                    Ok(_) => None,
                    Err(e) if e.is_not_found() => Some("is not there"),
                    Err(_) => Some("cannot be read"),
                };
                if let Some(broken) = broken {
                    let what = format!("{broken}; a start leaves its record ({}) as it is", record.id);
                    find(&path, what, true);
                }
            }
        }
        let path = self.folder.join(state::FILE);
        if let Ok(bytes) = self.disk.read(&path, state::MAX_BYTES)
            && State::parse(&bytes).is_none()
        {
            find(&path, "is damaged; a start makes a new one, and counts classes anew".into(), true);
        }
        let path = self.folder.join(reviews::FILE);
        if let Ok(bytes) = self.disk.read(&path, reviews::MAX_BYTES) {
            let broken = crate::line::pieces(&bytes).filter(|piece| !matches!(piece, crate::line::Piece::Line(..)));
            match broken.count() {
                0 => {}
                n => find(
                    &path,
                    format!("has {n} places that are no whole line; the next decision cuts off a last one"),
                    true,
                ),
            }
        }
        for review in self.decided.values().filter(|review| review.said.protects() && !ids.contains(&review.id)) {
            find(&path, format!("names record {}, which is not there", review.id), true);
        }
        Ok(Checked { records: ids.len() as u64, findings })
    }

    /// Counts the store's contents.
    ///
    /// # Errors
    /// As [`Reader::each`].
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        let mut tallies = self.state.tallies.clone();
        self.each(&mut |listed| {
            stats.records += 1;
            stats.reviewed += u64::from(listed.review.is_some());
            if let (Some(_), Some(picture)) = (listed.picture(), &listed.record.picture) {
                stats.pictures += 1;
                stats.bytes += picture.bytes;
            }
            if listed.record.id > self.state.counted {
                tallies.see(listed.record.class(), listed.record.day);
            }
            if stats.oldest.is_none() {
                stats.oldest = Some(listed.text.into());
            }
            stats.newest.get_or_insert_default().clear();
            stats.newest.get_or_insert_default().push_str(listed.text);
            Ok(true)
        })?;
        let segments = self.names()?.into_iter().map(|name| self.folder.join(SEGMENTS).join(name));
        let others = [state::FILE, reviews::FILE, crate::effort::FILE].map(|name| self.folder.join(name));
        stats.bytes += segments.chain(others).filter_map(|path| self.disk.length(&path).ok()).sum::<u64>();
        stats.classes = tallies.iter().cloned().collect();
        Ok(stats)
    }
}

/// Names, lengths and times of the files that list the store's records. It stays equal as long as none changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(Vec<(PathBuf, u64, Option<SystemTime>)>);

impl Fingerprint {
    /// Fingerprint of the last `segments` segments of the store in `folder`: new records are appended to the last one,
    /// and the one before may be compacted. Empty if there is no store.
    pub fn of(folder: &Path, segments: usize) -> Fingerprint {
        let of = |path: PathBuf| {
            let meta = std::fs::symlink_metadata(&path).ok()?;
            Some((path, meta.len(), meta.modified().ok()))
        };
        let names = std::fs::read_dir(folder.join(SEGMENTS)).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut names: Vec<PathBuf> = names.filter(|path| path.extension().is_some_and(|x| x == "jsonl")).collect();
        names.sort_unstable();
        let last = names.split_off(names.len().saturating_sub(segments));
        let others = [state::FILE, reviews::FILE].map(|name| folder.join(name));
        Fingerprint(last.into_iter().chain(others).filter_map(of).collect())
    }

    /// Whether there is no store.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads the picture at `path` below the store's `folder`, and no other file.
///
/// # Errors
/// As [`Reader::picture`].
pub fn read_picture(disk: &dyn Disk, folder: &Path, path: &str) -> Result<Vec<u8>> {
    if !is_inside(path) || is_linked(disk, folder, path) {
        return Err(Error::bad(path, "is no picture of the store"));
    }
    let path = folder.join(path);
    disk.read(&path, crate::MAX_PICTURE as u64).map_err(|e| Error::io(&path, e))
}

/// Whether one of the folders of `path` below `folder` is a symbolic link.
fn is_linked(disk: &dyn Disk, folder: &Path, path: &str) -> bool {
    let above = Path::new(path).ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
    above.map(|above| folder.join(above)).any(|above| disk.is_link(&above))
}

/// Whether the text of `path` stays within its base folder.
fn is_inside(path: &str) -> bool {
    Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)))
}
