//! The loop: keeps a connection, sends the backlog, stores acknowledgements.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::Failure;
use crate::address::Address;
use crate::args::Args;
use crate::backlog::{Backlog, Identity, Outgoing};
use crate::home::{self, Topics};
use crate::memory::{self, Memory};
use crate::pause::Pauses;
use crate::wire::{self, Client, Heard, Lost, Session, TICK, Tls};

/// Most unacknowledged records at one time.
pub const WINDOW: usize = 32;

/// Most unacknowledged bytes at one time. One more record may exceed it.
pub const WINDOW_BYTES: usize = 256 << 10;

/// Interval between looks for new records.
const LOOK: Duration = Duration::from_millis(300);

/// Timeout of an acknowledgement. After it the program reconnects.
const ACKNOWLEDGED: Duration = Duration::from_secs(60);

/// How long the program waits for acknowledgements when it ends.
const GOODBYE: Duration = Duration::from_secs(3);

/// A connection that lasted this long resets the pauses.
const LASTED: Duration = Duration::from_secs(60);

/// How long a broker may take to forget.
const WITHDRAWN: Duration = Duration::from_secs(15);

/// Interval between counts for Home Assistant. A count reads the whole store.
const COUNT: Duration = Duration::from_secs(300);

/// How often sensors change while a backlog is sent.
const STATE: Duration = Duration::from_secs(5);

/// Runs until `stop` is set.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &Args, stop: &AtomicBool) -> Result<(), Failure> {
    let mut address = Address::parse(&args.mqtt).map_err(|e| Failure::Config(format!("--mqtt: the address {e}")))?;
    let device = device(args)?;
    let tls = address.tls.then(|| wire::tls(args.ca.as_deref())).transpose().map_err(Failure::Config)?;
    if args.ca.is_some() && tls.is_none() {
        return Err(Failure::Config("--ca needs mqtts://, but the address is mqtt://".into()));
    }
    let topics = Topics::new(&device, &args.discovery_prefix);
    let (user, password) = match (args.user.clone(), address.login.take()) {
        (Some(user), _) => (Some(user), password(args.password_file.as_deref())?),
        (None, Some((user, password))) => (Some(user), password),
        (None, None) => (None, None),
    };
    let will = (topics.status.clone(), "offline");
    let client = Client { id: format!("oltr-{device}"), user, password, will };
    let state = args.state.clone().unwrap_or_else(|| args.store.join(format!("link-{device}.json")));
    if args.withdraw {
        // A running program would be disconnected by this one, reconnect, and announce the device again.
        let there = state.parent().is_some_and(|folder| folder.as_os_str().is_empty() || folder.is_dir());
        let _held = there.then(|| memory::hold(&state)).transpose().map_err(Failure::Unavailable)?;
        return withdraw(&address, tls.as_ref(), &client, &topics, stop);
    }
    wait_for(&args.store, &state, stop)?;
    let memory = Memory::open(&state).map_err(Failure::Unavailable)?;
    let backlog = Backlog::new(&args.store, memory.known());
    let home = args.home_assistant.then(|| Home { last: memory.known().last.clone(), ..Home::default() });
    let link = Link {
        args,
        device,
        topics,
        address,
        tls,
        client,
        memory,
        backlog,
        home,
        flying: VecDeque::new(),
        flying_bytes: 0,
        looked: None,
        said: String::new(),
        failed: String::new(),
    };
    link.run(&|| stop.load(Ordering::Relaxed));
    Ok(())
}

/// Waits for the store's folder if `state` is inside it: the stream may start later.
fn wait_for(store: &Path, state: &Path, stop: &AtomicBool) -> Result<(), Failure> {
    let mut said = false;
    while state.starts_with(store) && !store.is_dir() {
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::Unavailable(format!("{}: is not there yet", store.display())));
        }
        if !std::mem::replace(&mut said, true) {
            log::warn!("{}: is not there yet; waiting for 'oltr stream --store' to make it", store.display());
        }
        std::thread::sleep(TICK);
    }
    Ok(())
}

/// The name in topics.
fn device(args: &Args) -> Result<String, Failure> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match &args.device {
        Some(name) if !name.is_empty() && name.len() <= 64 && name.chars().all(fits) => Ok(name.clone()),
        Some(_) => Err(Failure::Config("--device: a name has letters, digits, - and _, and 64 of them at most".into())),
        None => {
            let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
            let name: String = name.chars().map(|c| if fits(c) { c } else { '-' }).take(64).collect();
            Ok(if name.is_empty() { "oltr".into() } else { name })
        }
    }
}

fn password(file: Option<&Path>) -> Result<Option<String>, Failure> {
    let Some(file) = file else { return Ok(std::env::var("OLTR_LINK_PASSWORD").ok()) };
    let text = std::fs::read_to_string(file).map_err(|e| {
        Failure::Config(format!("{}: {e}; --password-file names a file with the password", file.display()))
    })?;
    Ok(Some(text.lines().next().unwrap_or_default().into()))
}

/// Removes the device from Home Assistant.
fn withdraw(
    address: &Address,
    tls: Option<&Tls>,
    client: &Client,
    topics: &Topics,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let stop = || stop.load(Ordering::Relaxed);
    let unavailable = |e: Lost| Failure::Unavailable(format!("{address}: {e}"));
    let mut session = Session::open(address, tls, client, &stop).map_err(unavailable)?;
    let mut waiting = Vec::new();
    for topic in [&topics.config, &topics.state, &topics.image, &topics.status] {
        waiting.push(session.publish(topic, b"", true).map_err(unavailable)?);
    }
    let end = Instant::now() + WITHDRAWN;
    while !waiting.is_empty() {
        if Instant::now() > end || stop() {
            return Err(Failure::Unavailable(format!("{address}: the broker does not acknowledge")));
        }
        for heard in session.listen().map_err(unavailable)? {
            if let Heard::Acknowledged(number) = heard {
                waiting.retain(|other| *other != number);
            }
        }
    }
    session.close();
    log::info!("{}: withdrawn", topics.config);
    Ok(())
}

/// State of the messages to Home Assistant.
#[derive(Debug, Default)]
struct Home {
    /// Summary of the last fresh record.
    last: Option<Value>,
    /// The number of records, and the number without a review.
    counts: (u64, u64),
    counted: Option<Instant>,
    /// When the sensors were last updated.
    published: Option<Instant>,
    state: String,
    /// Record whose picture has to be published.
    picture: Option<Value>,
    /// When it is announced again.
    announce: Option<Instant>,
}

/// A record that was sent and not acknowledged.
#[derive(Debug)]
struct Flying {
    number: u16,
    id: u64,
    event: String,
    bytes: usize,
    since: Instant,
    done: bool,
}

struct Link<'a> {
    args: &'a Args,
    device: String,
    topics: Topics,
    address: Address,
    tls: Option<Tls>,
    client: Client,
    memory: Memory,
    backlog: Backlog,
    home: Option<Home>,
    flying: VecDeque<Flying>,
    flying_bytes: usize,
    looked: Option<Instant>,
    /// Last logged error of the store, so that it is logged once.
    said: String,
    /// Why there was no connection the last time.
    failed: String,
}

impl Link<'_> {
    fn run(mut self, stop: &dyn Fn() -> bool) {
        let mut pauses = Pauses::new(self.args.retry);
        while !stop() {
            match Session::open(&self.address, self.tls.as_ref(), &self.client, stop) {
                Ok(session) => {
                    log::info!("{}: connected", self.address);
                    let since = Instant::now();
                    match self.serve_to_the_end(session, &mut pauses, stop) {
                        Ok(()) => return,
                        Err(e) => {
                            if since.elapsed() >= LASTED {
                                pauses.reset();
                            }
                            self.pause(&e, &mut pauses, stop);
                        }
                    }
                }
                Err(e) => self.pause(&e, &mut pauses, stop),
            }
        }
    }

    /// Waits until the next attempt.
    fn pause(&mut self, e: &Lost, pauses: &mut Pauses, stop: &dyn Fn() -> bool) {
        self.flying.clear();
        self.flying_bytes = 0;
        self.backlog.again();
        if stop() {
            return;
        }
        let (pause, warn) = pauses.next();
        let text = e.to_string();
        let warn = warn || text != self.failed;
        self.failed = text;
        let level = if warn { log::Level::Warn } else { log::Level::Debug };
        log::log!(level, "{}: {e}; trying again in {:.1} s", self.address, pause.as_secs_f64());
        let until = Instant::now() + pause;
        while Instant::now() < until && !stop() {
            std::thread::sleep(TICK.min(until.saturating_duration_since(Instant::now())));
        }
    }

    /// As [`Link::serve`]. Also handles acknowledgements that arrived before the connection broke, so that
    /// these records are not sent again.
    fn serve_to_the_end(
        &mut self,
        mut session: Session,
        pauses: &mut Pauses,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), Lost> {
        let ended = self.serve(&mut session, pauses, stop);
        match ended {
            Ok(()) => session.close(),
            Err(_) => {
                let mut before = usize::MAX;
                while self.flying.len() < before {
                    before = self.flying.len();
                    if self.hear(&mut session, pauses).is_err() {
                        break;
                    }
                }
            }
        }
        ended
    }

    /// Sends the backlog until `stop` is set or the connection is lost.
    fn serve(&mut self, session: &mut Session, pauses: &mut Pauses, stop: &dyn Fn() -> bool) -> Result<(), Lost> {
        self.check_store();
        session.publish(&self.topics.status, b"online", true)?;
        if let Some(home) = &mut self.home {
            session.subscribe(&self.topics.birth)?;
            home.announce = Some(Instant::now());
            home.state.clear();
        }
        loop {
            if stop() {
                self.goodbye(session);
                return Ok(());
            }
            self.look();
            self.send(session)?;
            self.publish_home(session)?;
            if self.args.once && self.backlog.len() == 0 && self.looked.is_some() && self.is_up_to_date() {
                self.goodbye(session);
                return Ok(());
            }
            self.hear(session, pauses)?;
            if self.flying.front().is_some_and(|first| first.since.elapsed() > ACKNOWLEDGED) {
                return Err(Lost::Connection("the broker does not acknowledge".into()));
            }
        }
    }

    /// Disconnects, after a short wait for acknowledgements.
    fn goodbye(&mut self, session: &mut Session) {
        let end = Instant::now() + GOODBYE;
        let mut pauses = Pauses::new(TICK);
        while !self.flying.is_empty() && Instant::now() < end && self.hear(session, &mut pauses).is_ok() {}
        if let Ok(last) = session.publish(&self.topics.status, b"offline", true) {
            let mut heard = false;
            while !heard && Instant::now() < end {
                let Ok(heards) = session.listen() else { break };
                heard = heards.contains(&Heard::Acknowledged(last));
            }
        }
        log::info!("{}: waiting records: {}", self.address, self.backlog.len());
    }

    /// Looks for new records at intervals of [`LOOK`].
    fn look(&mut self) {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        match self.backlog.refresh() {
            Ok(_) => {
                self.looked = Some(Instant::now());
                self.said.clear();
            }
            Err(e) => {
                self.say(&e);
                std::thread::sleep(TICK);
            }
        }
    }

    /// Logs an error of the store, once.
    fn say(&mut self, e: &oltr_store::Error) {
        let text = e.to_string();
        if text != self.said {
            log::warn!("{text}; waiting for it");
            self.said = text;
        }
    }

    /// Starts from the first record if the folder contains a different store.
    fn check_store(&mut self) {
        match Backlog::identity(&self.args.store, self.memory.known()) {
            Ok(Identity::Other) => {
                log::warn!("{}: is another store than before; all of it is sent", self.args.store.display());
                if let Err(e) = self.memory.forget() {
                    log::warn!("what was sent cannot be remembered: {e}");
                }
                self.backlog = Backlog::new(&self.args.store, self.memory.known());
            }
            Ok(Identity::Same) => {}
            Err(e) => self.say(&e),
        }
    }

    /// Sends records up to the limits of [`WINDOW`] and [`WINDOW_BYTES`].
    fn send(&mut self, session: &mut Session) -> Result<(), Lost> {
        while self.flying.len() < WINDOW && (self.flying.is_empty() || self.flying_bytes < WINDOW_BYTES) {
            let Outgoing { id, event, record } = match self.backlog.next(self.flying.len()) {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(e) => {
                    self.say(&e);
                    break;
                }
            };
            let payload = record.to_string();
            let number = session.publish(&self.topics.event, payload.as_bytes(), false)?;
            let bytes = payload.len();
            self.flying_bytes += bytes;
            self.flying.push_back(Flying { number, id, event, bytes, since: Instant::now(), done: false });
            if let Some(home) = &mut self.home
                && home::is_fresh(&record, SystemTime::now())
            {
                let summary = home::summary(&record);
                session.publish(&self.topics.moment, summary.to_string().as_bytes(), false)?;
                home.last = Some(summary);
                home.picture = Some(record).filter(|record| record["picture"].is_string());
            }
        }
        Ok(())
    }

    /// Reads messages from the broker and stores acknowledgements.
    fn hear(&mut self, session: &mut Session, pauses: &mut Pauses) -> Result<(), Lost> {
        for heard in session.listen()? {
            match heard {
                Heard::Acknowledged(number) => {
                    if let Some(flying) = self.flying.iter_mut().find(|flying| flying.number == number && !flying.done)
                    {
                        flying.done = true;
                    }
                }
                Heard::Message(topic, payload) => {
                    if let Some(home) = &mut self.home
                        && topic == self.topics.birth
                        && payload == b"online"
                    {
                        // Not all devices at the same moment.
                        let (wait, _) = Pauses::new(Duration::from_secs(2)).next();
                        home.announce = Some(Instant::now() + wait.saturating_sub(Duration::from_secs(1)));
                        home.state.clear();
                    }
                }
            }
        }
        let mut done = Vec::new();
        while self.flying.front().is_some_and(|first| first.done) {
            let Some(Flying { id, event, bytes, .. }) = self.flying.pop_front() else { break };
            self.flying_bytes -= bytes;
            self.backlog.acknowledged();
            done.push((id, event));
        }
        if !done.is_empty() {
            pauses.reset();
            let last = self.home.as_ref().and_then(|home| home.last.clone());
            let kept = self.memory.change(|known| {
                done.into_iter().for_each(|(id, event)| known.acknowledge(id, event));
                known.last = last.or(known.last.take());
            });
            if let Err(e) = kept {
                log::warn!("what was sent cannot be remembered ({e}); after a restart it is sent again");
            }
        }
        Ok(())
    }

    /// Whether Home Assistant is up to date.
    fn is_up_to_date(&self) -> bool {
        self.home.as_ref().is_none_or(|home| home.announce.is_none() && home.picture.is_none())
    }

    /// Publishes the discovery message, the sensors' state and the picture.
    fn publish_home(&mut self, session: &mut Session) -> Result<(), Lost> {
        let Some(home) = &mut self.home else { return Ok(()) };
        if home.announce.is_some_and(|when| Instant::now() >= when) {
            home.announce = None;
            let discovery = home::discovery(&self.device, &self.topics);
            session.publish(&self.topics.config, discovery.to_string().as_bytes(), true)?;
            session.publish(&self.topics.status, b"online", true)?;
        }
        // While many records are sent only the last picture matters.
        if self.backlog.len() == self.flying.len()
            && let Some(picture) = home.picture.take().and_then(|record| self.backlog.picture(&record))
        {
            if picture.len() <= home::MAX_PICTURE {
                session.publish(&self.topics.image, &picture, true)?;
            } else {
                log::warn!("a picture of {} bytes is too large to be published", picture.len());
            }
        }
        if home.counted.is_none_or(|counted| counted.elapsed() >= COUNT) {
            home.counted = Some(Instant::now());
            match self.backlog.to_review() {
                Ok(counts) => home.counts = counts,
                Err(e) => log::debug!("{e}"),
            }
        }
        if home.published.is_none_or(|published| published.elapsed() >= STATE) || home.state.is_empty() {
            let (records, to_review) = home.counts;
            let waiting = self.backlog.len() - self.flying.len();
            let state = json!({
                "last": home.last, "records": records, "to_review": to_review, "waiting": waiting,
                "lost": self.backlog.lost,
            })
            .to_string();
            if state != home.state {
                session.publish(&self.topics.state, state.as_bytes(), true)?;
                home.state = state;
            }
            home.published = Some(Instant::now());
        }
        Ok(())
    }
}
