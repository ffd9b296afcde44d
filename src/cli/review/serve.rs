//! The page: what it shows, and who may see it.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use oltr::Error;
use oltr_store::disk::RealDisk;
use oltr_store::{Reader, Said};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::args::Common;
use super::super::exit::{self, Exit};
use super::super::shutdown::Shutdown;
use super::super::store;
use super::groups;
use super::http::{self, Request, Response};

/// The page, with nothing from elsewhere.
const PAGE: &str = include_str!("page.html");

/// Most records of one piece of the list.
const MAX_PIECE: usize = 200;

/// Pictures of a group that are shown at once.
const MAX_SHOWN: usize = 24;

/// Most names that are offered.
const MAX_NAMES: usize = 500;

/// Runs the command.
pub fn run(dir: &Path, listen: SocketAddr, by: Option<&str>, common: &Common) -> anyhow::Result<Exit> {
    // What is wrong with the store shows at once.
    store::open(dir)?;
    let shutdown = Shutdown::on_signals()?;
    let listener = TcpListener::bind(listen).map_err(|cause| Error::Unavailable {
        subject: listen.to_string(),
        reason: format!("cannot be listened at ({cause}); choose another address or port with --listen"),
    })?;
    let address = listener.local_addr().unwrap_or(listen);
    let token = (!address.ip().is_loopback()).then(token).transpose()?;
    let query = token.as_ref().map(|token| format!("?token={token}")).unwrap_or_default();
    let url = format!("http://{}/{query}", shown(address));
    if common.json {
        super::super::output::Output::new().json(&json!({ "schema": "oltr.serving/1", "url": url }))?;
    } else if !common.quiet {
        exit::say(&format!("serving {} at {url}", dir.display()));
    }
    let site =
        Site { dir: dir.into(), token, port: address.port(), by: super::somebody(by), catalogue: Mutex::default() };
    let answer = Arc::new(move |request: &Request| site.answer(request));
    let served = http::serve(&listener, answer, &|| shutdown.requested());
    served.map_err(|cause| Error::Io { path: listen.to_string().into(), cause })?;
    Ok(Exit::Success)
}

/// The address as a browser on this machine writes it.
fn shown(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Thirty-two hexadecimal digits that nobody can guess.
fn token() -> oltr::Result<String> {
    use std::io::Read;
    let mut bytes = [0; 16];
    let source = "/dev/urandom";
    let read = std::fs::File::open(source).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|e| Error::io(source, e))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// What is known of one record.
#[derive(Clone, Copy)]
struct Known {
    id: u64,
    open: bool,
    reviewed: bool,
}

/// What the store holds, read anew when it has changed.
#[derive(Default)]
struct Catalogue {
    /// Names, lengths and times of the store's files.
    print: Vec<(String, u64, Option<std::time::SystemTime>)>,
    records: Vec<Known>,
    names: Vec<String>,
    groups: Option<Arc<Value>>,
}

struct Site {
    dir: PathBuf,
    token: Option<String>,
    port: u16,
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
        if let Some(refused) = self.refuse(request) {
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

    /// Why a request is not answered, if it is not.
    fn refuse(&self, request: &Request) -> Option<Response> {
        let host = request.header("host").unwrap_or("");
        match &self.token {
            // A page from elsewhere, whose name was made to lead here, would say its own name.
            None if !is_here(host, self.port) => {
                return Some(Response::error(403, "the page is at 127.0.0.1 and localhost only; see --listen"));
            }
            None => {}
            Some(token) => {
                let cookie =
                    request.header("cookie").unwrap_or("").split(';').find_map(|c| c.trim().strip_prefix("oltr="));
                let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
                let given = [request.query("token"), cookie, bearer];
                if !given.into_iter().flatten().any(|given| equal(given, token)) {
                    return Some(Response::error(
                        401,
                        "open the page with the address that 'oltr review serve' printed",
                    ));
                }
            }
        }
        if request.method == "POST" {
            let json = request.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
            let origin = request.header("origin").is_none_or(|origin| {
                origin.strip_prefix("http://").or(origin.strip_prefix("https://")).is_some_and(|from| from == host)
            });
            if !json || !origin {
                return Some(Response::error(403, "decisions are made on the page itself"));
            }
        }
        None
    }

    fn page(&self, request: &Request) -> Response {
        let mut response = Response::new(200, "text/html; charset=utf-8", PAGE);
        let policy = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        response.headers.push(("Content-Security-Policy", policy.into()));
        if let Some(token) = self.token.as_ref().filter(|_| request.query("token").is_some()) {
            response.headers.push(("Set-Cookie", format!("oltr={token}; HttpOnly; SameSite=Strict; Path=/")));
        }
        response
    }

    /// Calls `f` with what the store holds now.
    fn with<T>(&self, f: impl FnOnce(&mut Catalogue, &Reader) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let mut catalogue = self.catalogue.lock().unwrap_or_else(PoisonError::into_inner);
        let print = print(&self.dir);
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
        // By its number alone: a page of pictures is no reason to read as many segments.
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

/// Whether `host` names this machine itself, at `port`.
fn is_here(host: &str, port: u16) -> bool {
    let name = host.strip_suffix(&format!(":{port}")).unwrap_or(host);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether two texts are equal, in a time that does not tell where they differ.
fn equal(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// Names, lengths and times of the files that say what a store holds.
fn print(dir: &Path) -> Vec<(String, u64, Option<std::time::SystemTime>)> {
    let of = |path: PathBuf| {
        let meta = std::fs::symlink_metadata(&path).ok()?;
        Some((path.file_name()?.to_string_lossy().into_owned(), meta.len(), meta.modified().ok()))
    };
    let segments = std::fs::read_dir(dir.join("segments")).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut all: Vec<_> = segments.chain([dir.join("state.json"), dir.join("reviews.jsonl")]).filter_map(of).collect();
    all.sort();
    all
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
    fn who_is_here() {
        for here in ["localhost:80", "127.0.0.1:80", "[::1]:80", "localhost", "LOCALHOST:80", "127.0.0.9:80"] {
            assert!(is_here(here, 80), "{here}");
        }
        for elsewhere in ["evil.example:80", "192.168.0.2:80", "localhost.evil.example:80", "", "127.0.0.1.evil:80"] {
            assert!(!is_here(elsewhere, 80), "{elsewhere}");
        }
        assert!(equal("abc", "abc") && !equal("abc", "abd") && !equal("abc", "ab"));
    }

    #[test]
    fn the_page_has_nothing_from_elsewhere() {
        for from in ["http://", "https://", "src=\"//", "@import", "url("] {
            assert!(!PAGE.contains(from), "{from}");
        }
        // Names come in as text only.
        for unsafe_way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!PAGE.contains(unsafe_way), "{unsafe_way}");
        }
    }
}
