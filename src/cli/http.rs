//! A minimal HTTP/1.1 server for a page and a few browsers: one request per connection, everything bounded.

pub mod guard;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Most connections at the same time. Others wait for [`TURN`], and then get an error that asks them to retry.
pub const MAX_CONNECTIONS: usize = 8;

/// How long a connection waits for its turn. A browser opens several for the pictures of a page, and does not retry.
const TURN: Duration = Duration::from_secs(2);

/// Connections that were refused for lack of a turn.
pub static REFUSED: AtomicU64 = AtomicU64::new(0);

/// Bytes of a request's head, and of its body.
const MAX_HEAD: usize = 8 << 10;
/// As [`MAX_HEAD`].
pub const MAX_BODY: usize = 128 << 10;

/// Headers of a request.
const MAX_HEADERS: usize = 48;

/// How long a client may take to send a request, or to take a part of the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stack of an answering thread: groups of events are computed on it.
pub const STACK: usize = 1 << 20;

/// How nice a thread that answers is to others.
const NICE: i32 = 5;

/// Interval between checks for a stop.
const TICK: Duration = Duration::from_millis(50);

/// The parts of a request that the page needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The header `name`, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The value of `name` in the query. It is not decoded: values here are plain letters and digits.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
}

/// An answer.
pub struct Response {
    pub status: u16,
    pub kind: &'static str,
    pub body: Vec<u8>,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// Further pieces after the body, each written at once, until `None`.
    pub more: Option<Box<Pieces>>,
}

/// Gives the next piece of a body that has no end.
pub type Pieces = dyn FnMut() -> Option<Vec<u8>> + Send;

impl Response {
    pub fn new(status: u16, kind: &'static str, body: impl Into<Vec<u8>>) -> Response {
        Response { status, kind, body: body.into(), headers: Vec::new(), more: None }
    }

    /// A body that has no end.
    pub fn pieces(kind: &'static str, more: impl FnMut() -> Option<Vec<u8>> + Send + 'static) -> Response {
        Response { more: Some(Box::new(more)), ..Response::new(200, kind, "") }
    }

    pub fn json(status: u16, value: &impl serde::Serialize) -> Response {
        Response::new(status, "application/json", serde_json::to_vec(value).unwrap_or_default())
    }

    /// What went wrong, as text.
    pub fn error(status: u16, text: &str) -> Response {
        Response::json(status, &serde_json::json!({ "error": text }))
    }
}

/// Answers requests with `answer` until `stop` returns true.
///
/// # Errors
/// Errors of the listener.
pub fn serve(
    listener: &TcpListener,
    answer: Arc<dyn Fn(&Request) -> Response + Send + Sync>,
    stop: &dyn Fn() -> bool,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let busy = Arc::new(AtomicUsize::new(0));
    while !stop() {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(TICK / 5);
                continue;
            }
            // The client left, or too many files are open: the next one may be answered.
            Err(e) => {
                log::debug!("a connection was not accepted: {e}");
                std::thread::sleep(TICK);
                continue;
            }
        };
        // This thread alone counts up, so a place that is free stays so.
        let end = Instant::now() + TURN;
        while busy.load(Ordering::Relaxed) >= MAX_CONNECTIONS && Instant::now() < end && !stop() {
            std::thread::sleep(TICK / 25);
        }
        if busy.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            busy.fetch_sub(1, Ordering::Relaxed);
            REFUSED.fetch_add(1, Ordering::Relaxed);
            let _ = stream.set_nonblocking(true);
            let _ = send(&stream, Response::error(503, "too many connections; try again"), false);
            continue;
        }
        let (mine, answer) = (busy.clone(), answer.clone());
        let started = std::thread::Builder::new().name("http".into()).stack_size(STACK).spawn(move || {
            let _left = Left(mine);
            yield_to_frames();
            let _ = handle(&stream, answer.as_ref());
        });
        if started.is_err() {
            busy.fetch_sub(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Lowers the priority of the calling thread, so that frames come first.
pub fn yield_to_frames() {
    let _ = rustix::process::setpriority_process(None, NICE);
}

/// Counts a connection off, also where an answer panics.
struct Left(Arc<AtomicUsize>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn handle(stream: &TcpStream, answer: &dyn Fn(&Request) -> Response) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (response, head) = match receive(stream) {
        Ok(request) => {
            log::debug!("{} {}", request.method, request.path);
            (answer(&request), request.method == "HEAD")
        }
        Err(Refused::Gone) => return Ok(()),
        Err(Refused::With(status, text)) => (Response::error(status, text), false),
    };
    send(stream, response, head)?;
    // Reads the client's remaining bytes for a moment: otherwise it could see the connection break before it reads the
    // answer.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let _ = (&mut (&*stream)).read(&mut [0; 4096]);
    Ok(())
}

enum Refused {
    Gone,
    With(u16, &'static str),
}

fn receive(mut stream: &TcpStream) -> Result<Request, Refused> {
    let end = Instant::now() + PATIENCE;
    let mut bytes = Vec::with_capacity(2048);
    let mut read = |bytes: &mut Vec<u8>| {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Refused::With(408, "the request took too long"));
        }
        let _ = stream.set_read_timeout(Some(left));
        let mut part = [0; 4096];
        match stream.read(&mut part) {
            Ok(0) => Err(Refused::Gone),
            Ok(n) => {
                bytes.extend_from_slice(&part[..n]);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Err(Refused::With(408, "the request took too long"))
            }
            Err(_) => Err(Refused::Gone),
        }
    };
    let (mut request, head, length) = loop {
        read(&mut bytes)?;
        match parse(&bytes) {
            Ok(Some(parsed)) => break parsed,
            Ok(None) if bytes.len() > MAX_HEAD => {
                return Err(Refused::With(431, "the head of the request is too long"));
            }
            Ok(None) => {}
            Err((status, text)) => return Err(Refused::With(status, text)),
        }
    };
    if length > MAX_BODY {
        return Err(Refused::With(413, "the request is too long"));
    }
    while bytes.len() < head + length {
        read(&mut bytes)?;
    }
    request.body = bytes[head..head + length].to_vec();
    Ok(request)
}

/// A request without its body, the length of its head, and of its body.
type Head = (Request, usize, usize);

/// The status of an invalid request, and the reason.
type Fault = (u16, &'static str);

/// The head of a request, its length, and the length of the body; `None` if the head is incomplete.
fn parse(bytes: &[u8]) -> Result<Option<Head>, Fault> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let head = match parsed.parse(&bytes[..bytes.len().min(MAX_HEAD + 1)]) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err((431, "the request has too many headers")),
        Err(_) => return Err((400, "this is no request of HTTP")),
    };
    let target = parsed.path.unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: parsed.method.unwrap_or("").into(),
        path: path.into(),
        query: query.into(),
        ..Request::default()
    };
    let mut length = None;
    for header in parsed.headers.iter() {
        let name = header.name.to_ascii_lowercase();
        let Ok(value) = std::str::from_utf8(header.value) else { continue };
        match name.as_str() {
            "transfer-encoding" => return Err((411, "the request does not say its length")),
            "content-length" => {
                let value =
                    value.trim().parse::<usize>().map_err(|_| (400, "the length of the request is no number"))?;
                if length.replace(value).is_some_and(|before| before != value) {
                    return Err((400, "the request states two lengths"));
                }
            }
            _ => {}
        }
        request.headers.push((name, value.trim().into()));
    }
    Ok(Some((request, head, length.unwrap_or(0))))
}

fn send(mut stream: &TcpStream, response: Response, head_only: bool) -> io::Result<()> {
    let reason = match response.status {
        200 => "OK",
        303 => "See Other",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Error",
    };
    let length = match response.more {
        None => format!("Content-Length: {}\r\n", response.body.len()),
        Some(_) => String::new(),
    };
    let mut head = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\n{length}Connection: close\r\nX-Content-Type-Options: \
         nosniff\r\nReferrer-Policy: no-referrer\r\nX-Frame-Options: DENY\r\n",
        response.status, response.kind
    );
    if !response.headers.iter().any(|(name, _)| *name == "Cache-Control") {
        head.push_str("Cache-Control: no-store\r\n");
    }
    for (name, value) in &response.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if !head_only {
        stream.write_all(&response.body)?;
        if let Some(mut more) = response.more {
            while let Some(piece) = more() {
                stream.write_all(&piece)?;
                stream.flush()?;
            }
        }
    }
    stream.flush()
}

/// Asserts that a page loads no external resources, and inserts names as text only.
#[cfg(test)]
pub fn assert_self_contained(page: &str) {
    for from in ["http://", "https://", "src=\"//", "@import", "url("] {
        assert!(!page.contains(from), "{from}");
    }
    for unsafe_way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
        assert!(!page.contains(unsafe_way), "{unsafe_way}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_and_bounded() {
        let whole = b"GET /api/records?before=5&limit=7 HTTP/1.1\r\nHost: a\r\nCookie: x=1\r\n\r\n";
        for cut in 0..whole.len() {
            assert!(matches!(parse(&whole[..cut]), Ok(None)), "{cut}");
        }
        let (request, head, length) = parse(whole).unwrap().unwrap();
        assert_eq!(
            (request.path.as_str(), request.query("limit"), head, length),
            ("/api/records", Some("7"), whole.len(), 0)
        );
        assert_eq!((request.header("host"), request.query("lim")), (Some("a"), None));
        let bad: [&[u8]; 5] = [
            b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"GET /\0 HTTP/1.1\r\n\r\n",
        ];
        for bad in bad {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(parse(many.as_bytes()).unwrap_err().0, 431);
    }
}
