//! Answers the requests of browsers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use image::codecs::jpeg::JpegEncoder;
use oltr::{Rect, clock, text};
use serde_json::json;

use super::super::super::http::guard::Guard;
use super::super::super::http::{MAX_CONNECTIONS, REFUSED, Request, Response};
use super::super::mask::Refused;
use super::{DEAD, LINES, Pixels, Shared, State, metrics};

/// The page, without external resources.
const PAGE: &str = include_str!("page.html");

/// Most browsers that follow events. The remaining connections are for pictures.
const MAX_STREAMS: u64 = MAX_CONNECTIONS as u64 - 4;

/// How long a first picture is waited for.
const FIRST: Duration = Duration::from_secs(10);

/// Interval of messages about new frames.
const TELL: Duration = Duration::from_millis(200);

/// How often a silent connection is shown to be alive.
const ALIVE: Duration = Duration::from_secs(10);

/// Quality of pictures.
const QUALITY: u8 = 80;

/// Answers `request`.
pub fn answer(shared: &Arc<Shared>, guard: &Guard, request: &Request) -> Response {
    if let Some(refused) = guard.refuse(request) {
        return refused;
    }
    match (request.method.as_str(), request.path.as_str()) {
        ("PUT", "/mask.png") => return save(shared, request),
        ("GET" | "HEAD", _) => {}
        _ => return Response::error(405, "only GET is answered, and PUT of /mask.png"),
    }
    match request.path.as_str() {
        "/" => guard.page(PAGE, request),
        "/frame.jpg" => picture(shared, |state| &state.input, "the network has seen nothing yet"),
        "/camera.jpg" => picture(shared, |state| &state.camera, "no frame has come yet"),
        "/mask.png" => mask(shared),
        "/event.jpg" => {
            let id = request.query("id").and_then(|id| id.parse::<u64>().ok());
            let state = shared.lock();
            let found = state.pictures.iter().find(|(known, _)| Some(*known) == id).map(|(_, pixels)| pixels);
            let pixels = found.map(|pixels| (pixels.width, pixels.height, pixels.bytes.clone()));
            drop(state);
            pixels.map_or_else(|| Response::error(404, "this event has no picture"), jpeg)
        }
        "/events" => events(shared, request),
        "/metrics" => {
            let (tally, stats, store) = {
                let state = shared.lock();
                (state.tally, state.stats, state.store)
            };
            let refused = shared.refused.load(Ordering::Relaxed) + REFUSED.load(Ordering::Relaxed);
            let planned = shared.about.planned.load(Ordering::Relaxed);
            let text = metrics::text(&shared.about, &tally, &stats, store, refused, planned);
            Response::new(200, "text/plain; version=0.0.4; charset=utf-8", text)
        }
        "/health" => health(shared),
        _ => Response::error(404, "there is no such page"),
    }
}

fn health(shared: &Shared) -> Response {
    let stats = shared.lock().stats;
    let quiet = Duration::from_nanos(clock::monotonic_ns()).saturating_sub(stats.now);
    let status = match (stats.now.is_zero(), stats.stuck || quiet > DEAD, stats.connected) {
        (true, ..) => "starting",
        (_, true, _) => "stuck",
        (_, _, false) => "waiting",
        _ => "ok",
    };
    let body = json!({
        "status": status, "connected": stats.connected, "silent_seconds": stats.silent.as_secs_f64(),
        "captured": stats.captured, "classified": stats.classified, "dropped": stats.dropped,
    });
    Response::json(if status == "ok" { 200 } else { 503 }, &body)
}

/// A picture as JPEG, encoded on this thread, where no frame waits for it. `none` is the error text
/// without a picture.
fn picture(shared: &Shared, of: fn(&State) -> &Pixels, none: &str) -> Response {
    wait_for(shared, none, |state| {
        let pixels = of(state);
        (!pixels.bytes.is_empty()).then(|| (pixels.width, pixels.height, pixels.bytes.clone()))
    })
    .map_or_else(|none| none, jpeg)
}

/// Waits for the value of `of`, which is made once a browser is watching. `none` is the error text
/// after a timeout.
fn wait_for<T>(shared: &Shared, none: &str, of: impl Fn(&State) -> Option<T>) -> Result<T, Response> {
    shared.watch();
    let end = Instant::now() + FIRST;
    loop {
        if let Some(there) = of(&shared.lock()) {
            return Ok(there);
        }
        if Instant::now() > end || shared.stop.load(Ordering::Relaxed) {
            return Err(Response::error(503, none));
        }
        std::thread::sleep(TELL / 4);
    }
}

/// Width and height of a mask: those of the displayed camera picture.
fn sides(shared: &Shared) -> Result<(u32, u32), Response> {
    wait_for(shared, "no frame has come yet", |state| {
        (!state.camera.bytes.is_empty()).then_some((state.camera.width, state.camera.height))
    })
}

/// The mask as a picture; white parts are used.
fn mask(shared: &Shared) -> Response {
    let Some(drawn) = &shared.about.mask else { return Response::error(404, "--mask names no picture") };
    let png = sides(shared).map(|(width, height)| drawn.png(width, height));
    match png {
        Ok(Ok(png)) => Response::new(200, "image/png", png),
        Ok(Err(e)) => Response::error(500, &e.to_string()),
        Err(none) => none,
    }
}

/// Saves a drawn mask.
fn save(shared: &Shared, request: &Request) -> Response {
    let Some(drawn) = &shared.about.mask else { return Response::error(404, "--mask names no picture") };
    if !drawn.is_allowed() {
        return Response::error(403, "the mask may not be drawn; start the program with --allow-mask to let it");
    }
    let (width, height) = match sides(shared) {
        Ok(sides) => sides,
        Err(none) => return none,
    };
    match drawn.save(&request.body, width, height) {
        Ok(version) => Response::json(200, &json!({ "version": version })),
        Err(Refused::Forbidden) => Response::error(403, "the mask may not be drawn"),
        Err(Refused::Busy) => Response::error(503, "somebody else saves a mask; try again"),
        Err(Refused::Picture(reason)) => Response::error(422, &reason),
        Err(Refused::Failed(reason)) => {
            log::warn!("the mask that was drawn is not saved: {reason}");
            Response::error(500, &reason)
        }
    }
}

fn jpeg((width, height, bytes): (u32, u32, Vec<u8>)) -> Response {
    let mut jpeg = Vec::with_capacity(bytes.len() / 8);
    let encoded =
        JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode(&bytes, width, height, image::ExtendedColorType::Rgb8);
    match encoded {
        Ok(()) => Response::new(200, "image/jpeg", jpeg),
        Err(e) => Response::error(500, &e.to_string()),
    }
}

fn corners(r: Rect) -> [u32; 4] {
    [r.x, r.y, r.width, r.height]
}

/// Counts who follows.
struct Following(Arc<Shared>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Streams events as messages, and the figures of the last frame as messages of type `frame`.
fn events(shared: &Arc<Shared>, request: &Request) -> Response {
    if shared.streams.fetch_add(1, Ordering::Relaxed) >= MAX_STREAMS {
        shared.streams.fetch_sub(1, Ordering::Relaxed);
        shared.refused.fetch_add(1, Ordering::Relaxed);
        return Response::error(503, "too many follow already; try again later");
    }
    let following = Following(shared.clone());
    let last = request.header("last-event-id").or(request.query("after")).and_then(|id| id.parse::<u64>().ok());
    let mut last = last.unwrap_or(0);
    let (mut version, mut reported) = ((u64::MAX, u64::MAX), Instant::now());
    let mut first = true;
    Response::pieces("text/event-stream", move || {
        let shared = &following.0;
        loop {
            if shared.stop.load(Ordering::Relaxed) {
                return None;
            }
            shared.watch();
            let mut out = Vec::new();
            let numbers = {
                let state = shared.lock();
                // The client's last number is from another run.
                if last > state.line {
                    last = state.line.saturating_sub(LINES as u64);
                }
                for (number, line) in state.lines.iter().filter(|(number, _)| *number > last) {
                    out.extend_from_slice(format!("id: {number}\ndata: {line}\n\n").as_bytes());
                }
                last = state.line;
                let now = (state.version, state.input_version);
                let new = now != version || reported.elapsed() >= Duration::from_secs(1);
                version = now;
                new.then(|| (state.numbers.clone(), state.stats, state.tally.drift))
            };
            if let Some((numbers, stats, drift)) = numbers {
                let about = &shared.about;
                let message = json!({
                    "numbers": numbers, "source": about.source, "side": about.side, "drift": drift,
                    "roi": about.region.map(corners),
                    "ignored": about.ignored.iter().copied().map(corners).collect::<Vec<_>>(),
                    "mask": about.mask.as_ref().map(|mask| json!({ "version": mask.version(), "draw": mask.is_allowed() })),
                    "captured": stats.captured, "classified": stats.classified, "dropped": stats.dropped,
                    "connected": stats.connected, "silent_ms": stats.silent.as_millis() as u64,
                    "version": version.0, "input_version": version.1,
                });
                out.extend_from_slice(b"event: frame\ndata: ");
                let _ = text::write_json(&mut out, &message);
                out.extend_from_slice(b"\n\n");
            }
            if !std::mem::take(&mut first) {
                std::thread::sleep(TELL);
            }
            if !out.is_empty() {
                reported = Instant::now();
                return Some(out);
            }
            if reported.elapsed() >= ALIVE {
                reported = Instant::now();
                return Some(b": alive\n\n".to_vec());
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_nothing_from_elsewhere() {
        super::super::super::super::http::assert_self_contained(PAGE);
    }
}
