//! The review page: contents and access.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use oltr::Error;
use oltr_store::disk::RealDisk;
use oltr_store::{Fingerprint, Reader, Said};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::args::Common;
use super::super::exit::{self, Exit};
use super::super::http::guard::{self, Guard};
use super::super::http::{self, Request, Response};
use super::super::shutdown::Shutdown;
use super::super::store;
use super::groups;

/// The page, without external resources.
const PAGE: &str = include_str!("page.html");

/// Most records in one part of the list.
const MAX_PIECE: usize = 200;

/// Pictures of a group that are shown at once.
const MAX_SHOWN: usize = 24;

/// Most names that are offered.
const MAX_NAMES: usize = 500;

/// Runs the command.
pub fn run(dir: &Path, listen: SocketAddr, by: Option<&str>, common: &Common) -> anyhow::Result<Exit> {
    // Report an unusable store at once.
    store::open(dir)?;
    let shutdown = Shutdown::on_signals()?;
    let (listener, guard) = guard::listen(listen, "open the page with the address that 'oltr review serve' printed")?;
    let url = guard.url();
    if common.json {
        super::super::output::Output::new().json(&json!({ "schema": "oltr.serving/1", "url": url }))?;
    } else if !common.quiet {
        exit::say(&format!("serving {} at {url}", dir.display()));
    }
    let site = Site { dir: dir.into(), guard, by: super::somebody(by), catalogue: Mutex::default() };
    let answer = Arc::new(move |request: &Request| site.answer(request));
    let served = http::serve(&listener, answer, &|| shutdown.requested());
    served.map_err(|cause| Error::Io { path: listen.to_string().into(), cause })?;
    Ok(Exit::Success)
}

/// Summary of one record.
#[derive(Clone, Copy)]
struct Known {
    id: u64,
    open: bool,
    reviewed: bool,
}

/// Summary of the store, read again when it has changed.
#[derive(Default)]
struct Catalogue {
    print: Fingerprint,
    records: Vec<Known>,
    names: Vec<String>,
    groups: Option<Arc<Value>>,
}

struct Site {
    dir: PathBuf,
    guard: Guard,
    by: String,
    catalogue: Mutex<Catalogue>,
}

#[derive(Deserialize)]
struct Decision {
    ids: Vec<u64>,
    label: String,
}

impl Site {
    fn answer(&self, request: &Request) -> Response {
        if let Some(refused) = self.guard.refuse(request) {
            return refused;
        }
        let answered = match (request.method.as_str(), request.path.as_str()) {
            ("GET" | "HEAD", "/") => Ok(self.page(request)),
            ("GET", "/api/records") => self.records(request),
            ("GET", "/api/groups") => self.groups(),
            ("GET", "/api/names") => self.names(),
            ("GET" | "HEAD", path) if path.starts_with("/picture/") => self.picture(&path[9..]),
            ("POST", "/api/review") => self.review(request),
            ("GET" | "HEAD" | "POST", _) => Ok(Response::error(404, "there is no such page")),
            _ => Ok(Response::error(405, "only GET and POST are answered")),
        };
        answered.unwrap_or_else(|e| {
            log::warn!("{} {}: {e:#}", request.method, request.path);
            Response::error(500, &format!("{e:#}"))
        })
    }

    fn page(&self, request: &Request) -> Response {
        self.guard.page(PAGE, request)
    }

    /// Calls `f` with the store's current contents.
    fn with<T>(&self, f: impl FnOnce(&mut Catalogue, &Reader) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let mut catalogue = self.catalogue.lock().unwrap_or_else(PoisonError::into_inner);
        let print = Fingerprint::of(&self.dir, usize::MAX);
        let reader = store::open(&self.dir)?;
        if print != catalogue.print || print.is_empty() {
            *catalogue = read(&reader)?;
            catalogue.print = print;
        }
        f(&mut catalogue, &reader)
    }

    /// A piece of the list, newest first.
    fn records(&self, request: &Request) -> anyhow::Result<Response> {
        let number = |name| request.query(name).and_then(|text| text.parse::<u64>().ok());
        let before = number("before").unwrap_or(u64::MAX);
        let most = number("limit").map_or(60, |n| n.clamp(1, MAX_PIECE as u64)) as usize;
        let show = request.query("show").unwrap_or("all").to_string();
        let only =
            request.query("ids").map(|ids| ids.split(',').filter_map(|id| id.parse().ok()).collect::<Vec<u64>>());
        self.with(|catalogue, reader| {
            let fits = |known: &&Known| match show.as_str() {
                "open" => known.open && !known.reviewed,
                "known" => !known.open && !known.reviewed,
                "reviewed" => known.reviewed,
                _ => true,
            };
            let total = catalogue.records.iter().filter(fits).count();
            let ids: Vec<u64> = match &only {
                Some(ids) => ids.iter().copied().take(MAX_PIECE).collect(),
                None => {
                    let of = catalogue.records.iter().rev().filter(|known| known.id < before).filter(fits);
                    of.take(most).map(|known| known.id).collect()
                }
            };
            let mut records = Vec::with_capacity(ids.len());
            let read = reader.some(&ids, &mut |listed| {
                records.push(store::record(&listed, false));
                Ok(())
            });
            read.map_err(store::error)?;
            records.reverse();
            let next = ids.last().filter(|_| only.is_none() && ids.len() == most);
            Ok(Response::json(200, &json!({ "records": records, "next": next, "total": total })))
        })
    }

    fn groups(&self) -> anyhow::Result<Response> {
        let groups = self.with(|catalogue, reader| {
            if let Some(groups) = &catalogue.groups {
                return Ok(groups.clone());
            }
            let groups: Vec<Value> = groups::open_groups(reader)?
                .into_iter()
                .map(|(group, resembles)| {
                    let shown = &group.ids[..group.ids.len().min(MAX_SHOWN)];
                    json!({ "size": group.ids.len(), "resembles": resembles, "ids": group.ids, "shown": shown })
                })
                .collect();
            let groups = Arc::new(json!({ "groups": groups }));
            catalogue.groups = Some(groups.clone());
            Ok(groups)
        })?;
        Ok(Response::json(200, &*groups))
    }

    fn names(&self) -> anyhow::Result<Response> {
        self.with(|catalogue, _| {
            let count = |f: fn(&&Known) -> bool| catalogue.records.iter().filter(f).count();
            Ok(Response::json(
                200,
                &json!({
                    "names": catalogue.names,
                    "by": self.by,
                    "counts": {
                        "all": catalogue.records.len(),
                        "open": count(|k| k.open && !k.reviewed),
                        "known": count(|k| !k.open && !k.reviewed),
                        "reviewed": count(|k| k.reviewed),
                    },
                }),
            ))
        })
    }

    fn picture(&self, id: &str) -> anyhow::Result<Response> {
        let none = || Ok(Response::error(404, "there is no such picture"));
        let Ok(id) = id.parse::<u64>() else { return none() };
        // The path follows from the id alone: reading a segment for each picture of a page would be
        // slow.
        let path = oltr_store::picture_path(id);
        let Ok(bytes) = oltr_store::read_picture(&RealDisk, &self.dir, &path) else { return none() };
        let mut response = Response::new(200, "image/jpeg", bytes);
        // A picture never changes.
        response.headers.push(("Cache-Control", "private, max-age=86400, immutable".into()));
        Ok(response)
    }

    fn review(&self, request: &Request) -> anyhow::Result<Response> {
        let bad = |text: &str| Ok(Response::error(400, text));
        let Ok(Decision { ids, label }) = serde_json::from_slice(&request.body) else {
            return bad("a decision has ids and a label");
        };
        if ids.is_empty() || ids.len() > super::MAX_AT_ONCE {
            return bad("a decision is about one event at least, and not about too many");
        }
        let said = match Said::parse(&label) {
            Ok(said) => said,
            Err(e) => return bad(&e.to_string()),
        };
        match super::decide(&self.dir, &ids, &said, &self.by) {
            Ok(()) => Ok(Response::json(200, &json!({ "ok": true, "label": said.text() }))),
            Err(e @ Error::BadInput { .. }) => bad(&e.to_string()),
            Err(e) => Ok(Response::error(503, &format!("the decision cannot be kept: {e}"))),
        }
    }
}

fn read(reader: &Reader) -> anyhow::Result<Catalogue> {
    let mut catalogue = Catalogue::default();
    let mut names = std::collections::BTreeSet::new();
    store::each(reader, &mut |listed| {
        let label = listed.record.label.as_deref();
        let (id, open, reviewed) = (listed.record.id, label.is_none(), listed.review.is_some());
        catalogue.records.push(Known { id, open, reviewed });
        let said = listed.review.and_then(|review| match &review.said {
            Said::Label(name) => Some(name.as_str()),
            _ => None,
        });
        for name in [label, said].into_iter().flatten() {
            if names.len() < MAX_NAMES && !names.contains(name) {
                names.insert(name.to_string());
            }
        }
        Ok(())
    })?;
    catalogue.names = names.into_iter().collect();
    Ok(catalogue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_nothing_from_elsewhere() {
        http::assert_self_contained(PAGE);
    }
}
