//! Mosquitto and the program, both killed with SIGKILL while records are kept, and paho as the one who listens: every
//! record arrives, in order, without a gap, and no more are repeated than were on their way.
//!
//! Needs Debian's mosquitto, and a Python with paho-mqtt 2: `python3`, or what `OLTR_TEST_PYTHON` names.

mod common;

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Filled, Link, wait_until};

/// Records that are on their way at once, at most; see `WINDOW` of the program.
const WINDOW: usize = 32;

const KILLS: usize = 14;

/// A broker that is killed.
struct Killed {
    folder: tempfile::TempDir,
    port: u16,
    broker: Child,
}

impl Killed {
    /// With or without a memory on its disk.
    fn start(persistence: bool) -> Option<Killed> {
        let program = Self::program()?;
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Whatever is acknowledged to one is on its way to the other, or on the disk.
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
    let url = format!("mqtt://127.0.0.1:{}", broker.port);
    let mut link = Some(Link::start(&store, &url, &[]));
    let mut random = if persistence { 11u64 } else { 12 };
    let (mut brokers, mut links) = (0, 0);
    for _ in 0..KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        for _ in 0..4 {
            store.fill(10);
            std::thread::sleep(Duration::from_millis((random >> 40) % 40));
        }
        if random >> 62 & 1 == 0 {
            let before = paho.subscriptions();
            broker.kill();
            brokers += 1;
            store.fill(10);
            if persistence {
                broker.start_anew();
            } else {
                // A broker without a memory keeps nothing for who is not there: the one who listens comes first.
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
    wait_until("the last record", || paho.ids().last() == store.ids().last());
    let (received, expected) = (paho.ids(), store.ids());
    assert_eq!(link.unwrap().terminate().0, Some(0));
    let repeats = received.len() - expected.len();
    println!(
        "persistence {persistence}: {brokers} brokers and {links} programs killed, {} records, {repeats} repeated",
        expected.len()
    );
    assert!(brokers > 2 && links > 2);
    let mut next = 0;
    for id in &received {
        let place = expected.binary_search(id).unwrap_or_else(|_| panic!("{id} is no record"));
        assert!(place <= next, "{id} came before {}: a gap", expected[next]);
        next = place + 1;
    }
    assert_eq!(next, expected.len());
    // What was on its way when one of them was killed, by the program and, of what it kept, by the broker.
    assert!(repeats <= KILLS * 2 * WINDOW, "{repeats} repeats");
}

#[test]
fn a_broker_with_a_memory_loses_nothing() {
    killed_at_random(true);
}

#[test]
fn a_broker_without_a_memory_loses_nothing_of_who_listens() {
    killed_at_random(false);
}
