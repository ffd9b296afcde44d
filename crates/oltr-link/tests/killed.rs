//! Kills mosquitto and the program with SIGKILL while records are stored. A paho client subscribes.
//!
//! The test observes the program's promise between program and broker: every record is acknowledged, in order and
//! without a gap, and at most the unacknowledged ones are repeated. Paho receives every record except those that
//! mosquitto had acknowledged but not saved when it was killed.
//!
//! Needs mosquitto, and a Python with paho-mqtt 2: `python3`, or the one that `OLTR_TEST_PYTHON` names.

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Filled, Link, packet, record, wait_until};

/// Most unacknowledged records; see `WINDOW` of the program.
const WINDOW: usize = 32;

const KILLS: usize = 14;

/// A broker that is killed.
struct Killed {
    folder: tempfile::TempDir,
    port: u16,
    broker: Child,
}

impl Killed {
    /// With or without persistence on disk.
    fn start(persistence: bool) -> Option<Killed> {
        let program = Self::program()?;
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // An acknowledged message is then on its way to the subscriber, or on disk.
        let settings = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nmax_queued_messages 0\nmax_inflight_messages 0\n\
             persistence {persistence}\npersistence_location {}/\nautosave_on_changes true\nautosave_interval 1\n",
            folder.path().display()
        );
        std::fs::write(folder.path().join("conf"), settings).unwrap();
        let broker = Self::broker(&program, folder.path(), port);
        Some(Killed { folder, port, broker })
    }

    fn program() -> Option<PathBuf> {
        ["/usr/sbin/mosquitto", "/usr/bin/mosquitto"].iter().map(PathBuf::from).find(|path| path.exists())
    }

    fn broker(program: &Path, folder: &Path, port: u16) -> Child {
        let mut command = Command::new(program);
        command.arg("-c").arg(folder.join("conf")).stdout(Stdio::null()).stderr(Stdio::null());
        let broker = command.spawn().unwrap();
        wait_until("mosquitto", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        broker
    }

    fn kill(&mut self) {
        self.broker.kill().unwrap();
        self.broker.wait().unwrap();
    }

    fn start_anew(&mut self) {
        self.broker = Self::broker(&Self::program().unwrap(), self.folder.path(), self.port);
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.broker.kill();
        let _ = self.broker.wait();
    }
}

/// A proxy between the program and a broker. It records which messages the broker acknowledged.
struct Tap {
    port: u16,
    acknowledged: Arc<Mutex<Vec<u64>>>,
}

impl Tap {
    fn start(broker: u16) -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tap = Tap { port: listener.local_addr().unwrap().port(), acknowledged: Arc::default() };
        let acknowledged = tap.acknowledged.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // If the broker is down, the connection closes at once.
                let Ok(server) = TcpStream::connect(("127.0.0.1", broker)) else { continue };
                let numbers: Arc<Mutex<HashMap<[u8; 2], u64>>> = Arc::default();
                let (known, noted) = (numbers.clone(), acknowledged.clone());
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || {
                    pass(from, to, &mut |kind, body| {
                        let at = 2 + (usize::from(body[0]) << 8 | usize::from(*body.get(1).unwrap_or(&0)));
                        if kind >> 4 == 3 && kind >> 1 & 3 == 1 {
                            let topic = String::from_utf8_lossy(&body[2..at]);
                            if let Some(id) = record(&topic, &body[at + 2..]) {
                                numbers.lock().unwrap().insert([body[at], body[at + 1]], id);
                            }
                        }
                    });
                });
                std::thread::spawn(move || {
                    pass(server, client, &mut |kind, body| {
                        if let (4, Some(id)) = (kind >> 4, known.lock().unwrap().remove(&body[..2])) {
                            noted.lock().unwrap().push(id);
                        }
                    });
                });
            }
        });
        tap
    }

    fn acknowledged(&self) -> Vec<u64> {
        self.acknowledged.lock().unwrap().clone()
    }
}

/// Forwards packets and reports each one first. Closes both sides when one closes.
fn pass(mut from: TcpStream, mut to: TcpStream, report: &mut dyn FnMut(u8, &[u8])) {
    let (mut bytes, mut part) = (Vec::new(), [0; 65_536]);
    while let Ok(n) = from.read(&mut part) {
        if n == 0 {
            break;
        }
        bytes.extend_from_slice(&part[..n]);
        while let Some((kind, body, length)) = packet(&bytes) {
            if body.len() >= 2 {
                report(kind, &body);
            }
            if to.write_all(&bytes[..length]).is_err() {
                break;
            }
            bytes.drain(..length);
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// A client that listens.
struct Paho {
    client: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Paho {
    fn start(port: u16) -> Option<Paho> {
        let python = std::env::var("OLTR_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
        let has = Command::new(&python)
            .args(["-c", "import paho.mqtt.client as c; c.CallbackAPIVersion.VERSION2"])
            .stderr(Stdio::null())
            .status();
        if !has.is_ok_and(|status| status.success()) {
            return None;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/paho_subscriber.py");
        let mut command = Command::new(python);
        command.arg(script).args([&port.to_string(), "oltr/m/event"]).stdout(Stdio::piped());
        let mut client = command.spawn().unwrap();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let (out, mine) = (BufReader::new(client.stdout.take().unwrap()), lines.clone());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                mine.lock().unwrap().push(line);
            }
        });
        let paho = Paho { client, lines };
        paho.wait_for_subscription(0);
        Some(paho)
    }

    fn subscriptions(&self) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| *line == "subscribed").count()
    }

    /// Until it subscribed more than `before` times.
    fn wait_for_subscription(&self, before: usize) {
        wait_until("a subscription", || self.subscriptions() > before);
    }

    fn ids(&self) -> Vec<u64> {
        self.lines.lock().unwrap().iter().filter_map(|line| line.parse().ok()).collect()
    }
}

impl Drop for Paho {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

fn killed_at_random(persistence: bool) {
    let Some(mut broker) = Killed::start(persistence) else {
        eprintln!("SKIPPED: mosquitto is not installed");
        return;
    };
    let Some(paho) = Paho::start(broker.port) else {
        eprintln!("SKIPPED: no Python with paho-mqtt 2 (pip install paho-mqtt; OLTR_TEST_PYTHON names another Python)");
        return;
    };
    let mut store = Filled::new(50);
    let tap = Tap::start(broker.port);
    let url = format!("mqtt://127.0.0.1:{}", tap.port);
    let mut link = Some(Link::start(&store, &url, &[]));
    let mut random = if persistence { 11u64 } else { 12 };
    let (mut brokers, mut links, mut said) = (0, 0, Vec::new());
    for _ in 0..KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        for _ in 0..4 {
            store.fill(10);
            std::thread::sleep(Duration::from_millis((random >> 40) % 40));
        }
        // The broker is killed while some records are unacknowledged.
        store.fill(100);
        std::thread::sleep(Duration::from_millis((random >> 50) % 12));
        if random >> 62 & 1 == 0 {
            let before = paho.subscriptions();
            broker.kill();
            // The last that it acknowledged.
            said.extend(tap.acknowledged().iter().rev().take(WINDOW));
            brokers += 1;
            store.fill(10);
            if persistence {
                broker.start_anew();
            } else {
                // A broker without persistence keeps nothing for an absent subscriber, so the subscriber connects
                // first.
                drop(link.take());
                broker.start_anew();
            }
            paho.wait_for_subscription(before);
        } else {
            links += 1;
            link.take().unwrap().kill();
        }
        link = link.or_else(|| Some(Link::start(&store, &url, &[])));
    }
    let expected = store.ids();
    wait_until("the last record", || paho.ids().last() == expected.last());
    assert_eq!(link.unwrap().terminate().0, Some(0));
    let (acknowledged, received) = (tap.acknowledged(), paho.ids());
    assert_eq!(in_turn(&acknowledged), expected, "each was acknowledged");
    let arrived = in_turn(&received);
    let lost: Vec<u64> = expected.iter().copied().filter(|id| !arrived.contains(id)).collect();
    let repeats = (acknowledged.len() - expected.len(), received.len() - arrived.len());
    println!(
        "persistence {persistence}: {brokers} brokers and {links} programs killed, {} records, {} acknowledged and {} \
         received more than once, {} lost by the broker",
        expected.len(),
        repeats.0,
        repeats.1,
        lost.len()
    );
    assert!(brokers > 2 && links > 2);
    assert!(lost.iter().all(|id| said.contains(id)), "{lost:?} are lost, and the broker did not say that it had them");
    // Only records that were unacknowledged at a kill may repeat.
    assert!(repeats.0 <= KILLS * WINDOW, "{} repeats", repeats.0);
}

/// The ids in the order of their first arrival.
fn in_turn(came: &[u64]) -> Vec<u64> {
    let mut first = Vec::new();
    for id in came {
        match first.last() {
            Some(last) if id <= last => assert!(first.binary_search(id).is_ok(), "{id} came after {last}"),
            _ => first.push(*id),
        }
    }
    first
}

#[test]
fn a_broker_with_a_memory_gets_every_record() {
    killed_at_random(true);
}

#[test]
fn a_broker_without_a_memory_gets_every_record() {
    killed_at_random(false);
}
