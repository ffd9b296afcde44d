//! A broker with configurable faults, stores, and the program.

#![allow(dead_code)]

pub mod tls;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use oltr_store::disk::RealDisk;
use oltr_store::{NewRecord, Settings, Store};

/// Waits until `done`, with a timeout. `what` names it in the failure message.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(Instant::now() < end, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A store with records.
pub struct Filled {
    folder: tempfile::TempDir,
    store: Store,
    ids: Vec<u64>,
}

impl Filled {
    pub fn new(records: usize) -> Filled {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { quota: 256 << 20, free: 0 };
        let store = Store::open(&folder.path().join("store"), settings, Arc::new(RealDisk)).unwrap().0;
        let mut filled = Filled { folder, store, ids: Vec::new() };
        filled.fill(records);
        filled
    }

    /// Records of long ago.
    pub fn fill(&mut self, records: usize) {
        self.fill_at(records, "2026-01-01T10:00:00.000Z");
    }

    /// Records of this moment.
    pub fn fill_now(&mut self, records: usize) {
        let now = humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string();
        self.fill_at(records, &now);
    }

    fn fill_at(&mut self, records: usize, wall: &str) {
        for _ in 0..records {
            let n = self.ids.len();
            let label = if n % 4 == 3 { None } else { Some("cup") };
            let decision = if label.is_some() { "known" } else { "open" };
            let event = format!(
                "{{\"schema\":\"oltr.event/1\",\"id\":\"run-{n}\",\"type\":\"end\",\"decision\":\"{decision}\",\"label\":{},\
                 \"last\":{{\"wall\":\"{wall}\"}},\"padding\":\"{}\"}}",
                label.map_or("null".into(), |label| format!("{label:?}")),
                "x".repeat(400)
            );
            let event_id = format!("run-{n}");
            let new = NewRecord { event: &event, event_id: &event_id, decision, label, ..NewRecord::default() };
            self.ids.push(self.store.append(&new, None).unwrap());
        }
        self.store.sync().unwrap();
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub fn ids(&self) -> Vec<u64> {
        self.ids.clone()
    }
}

/// The program.
pub struct Link(Child);

impl Link {
    pub fn start(store: &Filled, url: &str, arguments: &[&str]) -> Link {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oltr-link"));
        command.arg("--store").arg(store.path()).args(["--mqtt", url, "--retry", "20ms"]);
        if !arguments.contains(&"--device") {
            command.args(["--device", "m"]);
        }
        Link(command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    pub fn wait(mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }

    /// Sends SIGTERM. Returns the exit code and the log.
    pub fn terminate(mut self) -> (Option<i32>, String) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.0.wait().unwrap().code(), said)
    }

    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// The most memory that it had at once.
    pub fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How a broker fails.
#[derive(Default)]
pub struct Faults {
    /// Closes a connection at the n-th record, before it acknowledges it.
    pub close_after: Option<usize>,
    /// Acknowledges no more than n records of a connection.
    pub silent_after: Option<usize>,
    /// Answers with no packet of MQTT.
    pub garbage: bool,
    /// Refuses the user.
    pub refuse: bool,
}

#[derive(Default)]
struct State {
    faults: Faults,
    /// Messages by topic, in order.
    messages: Vec<(String, Vec<u8>)>,
    acknowledged: Vec<u64>,
    connections: usize,
    open: usize,
    most: usize,
    /// Bytes to send to the client.
    outgoing: Vec<u8>,
}

/// Accepts what clients publish. One process without a disk is enough to test order, acknowledgements
/// and repeats.
pub struct Broker {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Broker {
    pub fn start() -> Broker {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state: Arc<Mutex<State>> = Arc::default();
        let mine = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = mine.clone();
                std::thread::spawn(move || {
                    {
                        let mut state = state.lock().unwrap();
                        state.connections += 1;
                        state.open += 1;
                        state.most = state.most.max(state.open);
                    }
                    let _ = serve(stream, &state);
                    state.lock().unwrap().open -= 1;
                });
            }
        });
        Broker { port, state }
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state.lock().unwrap().faults);
    }

    pub fn messages(&self, topic: &str) -> Vec<Vec<u8>> {
        let state = self.state.lock().unwrap();
        state.messages.iter().filter(|(of, _)| of == topic).map(|(_, payload)| payload.clone()).collect()
    }

    /// Ids of all records that arrived.
    pub fn received(&self) -> Vec<u64> {
        let state = self.state.lock().unwrap();
        state.messages.iter().filter_map(|(topic, payload)| record(topic, payload)).collect()
    }

    pub fn acknowledged(&self) -> Vec<u64> {
        self.state.lock().unwrap().acknowledged.clone()
    }

    pub fn status(&self) -> Vec<String> {
        self.messages("oltr/m/status").into_iter().map(|text| String::from_utf8(text).unwrap()).collect()
    }

    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    pub fn most_at_once(&self) -> usize {
        self.state.lock().unwrap().most
    }

    /// Sends a message to the client, with QoS 0.
    pub fn send(&self, topic: &str, payload: &[u8]) {
        let mut packet = vec![0x30, (2 + topic.len() + payload.len()) as u8, 0, topic.len() as u8];
        packet.extend_from_slice(topic.as_bytes());
        packet.extend_from_slice(payload);
        self.state.lock().unwrap().outgoing.extend_from_slice(&packet);
    }
}

pub fn record(topic: &str, payload: &[u8]) -> Option<u64> {
    if !topic.ends_with("/event") || topic.ends_with("home/event") {
        return None;
    }
    serde_json::from_slice::<serde_json::Value>(payload).unwrap()["id"].as_u64()
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    let (mut bytes, mut records) = (Vec::new(), 0);
    loop {
        let outgoing = std::mem::take(&mut state.lock().unwrap().outgoing);
        if !outgoing.is_empty() {
            stream.write_all(&outgoing)?;
        }
        let mut part = [0; 65_536];
        match stream.read(&mut part) {
            Ok(0) => return Ok(()),
            Ok(n) => bytes.extend_from_slice(&part[..n]),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => continue,
            Err(e) => return Err(e),
        }
        while let Some((kind, body, length)) = packet(&bytes) {
            let answer = match kind >> 4 {
                1 => {
                    let faults = &state.lock().unwrap().faults;
                    match (faults.garbage, faults.refuse) {
                        (true, _) => b"HTTP/1.1 400 Bad Request\r\n".repeat(20),
                        (_, true) => vec![0x20, 2, 0, 5],
                        _ => vec![0x20, 2, 0, 0],
                    }
                }
                3 => {
                    let topic_length = usize::from(body[0]) << 8 | usize::from(body[1]);
                    let topic = String::from_utf8(body[2..2 + topic_length].to_vec()).unwrap();
                    let number = [body[2 + topic_length], body[3 + topic_length]];
                    let payload = body[4 + topic_length..].to_vec();
                    let id = record(&topic, &payload);
                    let mut state = state.lock().unwrap();
                    state.messages.push((topic, payload));
                    let mut silent = false;
                    if let Some(id) = id {
                        records += 1;
                        if state.faults.close_after.is_some_and(|n| records > n) {
                            drop(state);
                            // The acknowledgements arrive before the connection closes.
                            stream.shutdown(std::net::Shutdown::Write)?;
                            while stream
                                .read(&mut part)
                                .map_or_else(|e| e.kind() == std::io::ErrorKind::WouldBlock, |n| n > 0)
                            {
                            }
                            return Ok(());
                        }
                        silent = state.faults.silent_after.is_some_and(|n| records > n);
                        if !silent {
                            state.acknowledged.push(id);
                        }
                    }
                    if silent { Vec::new() } else { vec![0x40, 2, number[0], number[1]] }
                }
                8 => vec![0x90, 3, body[0], body[1], 1],
                12 => vec![0xD0, 0],
                14 => return Ok(()),
                _ => Vec::new(),
            };
            bytes.drain(..length);
            stream.write_all(&answer)?;
        }
    }
}

/// The first packet of `bytes`: first byte, body, length.
pub fn packet(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (mut length, mut at) = (0usize, 1);
    loop {
        let byte = *bytes.get(at)?;
        length |= usize::from(byte & 0x7F) << (7 * (at - 1));
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some((bytes[0], bytes.get(at..at + length)?.to_vec(), at + length))
}

/// Ids of records in messages.
pub fn ids(messages: &[String]) -> Vec<u64> {
    let id = |line: &String| serde_json::from_str::<serde_json::Value>(line).ok()?["id"].as_u64();
    messages.iter().filter_map(id).collect()
}

/// The mosquitto broker, if it is installed.
pub struct Mosquitto {
    folder: tempfile::TempDir,
    port: u16,
    broker: Child,
    subscriber: Child,
    received: Arc<Mutex<Vec<String>>>,
}

impl Mosquitto {
    pub fn start() -> Option<Mosquitto> {
        Mosquitto::with(None)
    }

    /// With TLS, a user and a password if certificates are given.
    pub fn with(certificates: Option<&tls::Certificates>) -> Option<Mosquitto> {
        let there = |name| ["/usr/sbin", "/usr/bin"].iter().any(|folder| PathBuf::from(folder).join(name).exists());
        if !there("mosquitto") || !there("mosquitto_sub") {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = format!(
            "listener {port} 127.0.0.1\npersistence true\npersistence_location {}/\n\
             autosave_on_changes true\nautosave_interval 1\nmax_queued_messages 0\nuser root\n",
            folder.path().display()
        );
        let mut login = Vec::new();
        let more = match certificates {
            None => "allow_anonymous true\n".to_string(),
            Some(certificates) => {
                let passwords = folder.path().join("passwords");
                let made =
                    Command::new("mosquitto_passwd").args(["-b", "-c"]).arg(&passwords).args(["u", "secret"]).status();
                assert!(made.unwrap().success());
                let of = |name| certificates.path(name).display().to_string();
                login = ["--cafile", &of("ca.pem"), "-u", "u", "-P", "secret"].map(String::from).to_vec();
                let (cert, key) = (of("cert.pem"), of("key.pem"));
                format!("certfile {cert}\nkeyfile {key}\npassword_file {}\n", passwords.display())
            }
        };
        let settings = settings + &more;
        std::fs::write(folder.path().join("conf"), settings).unwrap();
        let broker = Self::broker(folder.path(), port);
        let mut subscriber = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-i", "test", "-c", "-t", "oltr/m/event"])
            .args(login)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let received: Arc<Mutex<Vec<String>>> = Arc::default();
        let (lines, mine) = (BufReader::new(subscriber.stdout.take().unwrap()), received.clone());
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                mine.lock().unwrap().push(line);
            }
        });
        std::thread::sleep(Duration::from_millis(500));
        Some(Mosquitto { folder, port, broker, subscriber, received })
    }

    fn broker(folder: &std::path::Path, port: u16) -> Child {
        let program = if PathBuf::from("/usr/sbin/mosquitto").exists() { "/usr/sbin/mosquitto" } else { "mosquitto" };
        let broker = Command::new(program)
            .arg("-c")
            .arg(folder.join("conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("mosquitto", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        broker
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    pub fn tls_url(&self) -> String {
        format!("mqtts://127.0.0.1:{}", self.port)
    }

    /// Stops the broker, which makes it save its sessions, and starts it again.
    pub fn restart(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.broker);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.broker.wait().unwrap();
        self.broker = Self::broker(self.folder.path(), self.port);
    }

    /// The messages that the subscriber received, once `done` returns true.
    pub fn subscriber(&self, mut done: impl FnMut(&[String]) -> bool) -> Vec<String> {
        wait_until("messages", || done(&self.received.lock().unwrap()));
        self.received.lock().unwrap().clone()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        for child in [&mut self.broker, &mut self.subscriber] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
