//! The program with faulty brokers. Every record arrives, in order and without a gap. Only unacknowledged records
//! arrive twice.

mod common;

use std::time::Duration;

use common::tls::Certificates;
use common::{Broker, Filled, Link, Mosquitto, ids, wait_until};

#[test]
fn records_arrive_in_order_and_only_the_unacknowledged_twice() {
    let store = Filled::new(500);
    let broker = Broker::start();
    // The broker repeatedly disconnects between a message and its acknowledgement.
    broker.set(|faults| faults.close_after = Some(37));
    let link = Link::start(&store, &broker.url(), &[]);
    wait_until("all records", || broker.acknowledged().last() == store.ids().last());
    let (received, acknowledged) = (broker.received(), broker.acknowledged());
    assert_eq!(acknowledged, store.ids(), "each was acknowledged once, in order");
    in_order_but_for_repeats(&received, &store.ids());
    assert!(broker.connections() > 5, "{}", broker.connections());
    assert_eq!(broker.most_at_once(), 1, "never in parallel");
    assert_eq!(broker.status().first().map(String::as_str), Some("online"));
    let (code, _) = link.terminate();
    assert_eq!(code, Some(0));
    assert_eq!(broker.status().last().map(String::as_str), Some("offline"));
}

#[test]
fn what_was_acknowledged_is_not_sent_again_by_the_next_program() {
    let store = Filled::new(300);
    let broker = Broker::start();
    let mut before = 0;
    // Killed at any moment, again and again.
    for round in 0..6u64 {
        broker.set(|faults| faults.silent_after = Some(20 + 13 * round as usize));
        let link = Link::start(&store, &broker.url(), &[]);
        wait_until("some records", || broker.acknowledged().len() >= before + 20);
        // Give the program time to read the acknowledgements that the broker has sent.
        std::thread::sleep(Duration::from_millis(500));
        link.kill();
        before = broker.acknowledged().len();
    }
    broker.set(|faults| faults.silent_after = None);
    let link = Link::start(&store, &broker.url(), &["--once"]);
    assert_eq!(link.wait(), Some(0));
    assert_eq!(broker.acknowledged(), store.ids());
    in_order_but_for_repeats(&broker.received(), &store.ids());
}

#[test]
fn a_record_that_is_kept_meanwhile_follows() {
    let mut store = Filled::new(3);
    let broker = Broker::start();
    let link = Link::start(&store, &broker.url(), &["--device", "trap-1"]);
    wait_until("the first", || broker.acknowledged().len() == 3);
    store.fill(5);
    wait_until("all", || broker.acknowledged().len() == 8);
    assert_eq!(broker.acknowledged(), store.ids());
    let message = broker.messages("oltr/trap-1/event").pop().unwrap();
    let record: serde_json::Value = serde_json::from_slice(&message).unwrap();
    assert_eq!(
        (record["schema"].as_str(), record["id"].as_u64()),
        (Some("oltr.record/1"), store.ids().last().copied())
    );
    assert!(record["review"].is_null() && record["picture"].is_null() && record["event"].is_string());
    assert_eq!(link.terminate().0, Some(0));
}

#[test]
fn a_broker_that_is_no_broker_or_not_there_is_tried_again_with_pauses() {
    let store = Filled::new(3);
    let broker = Broker::start();
    broker.set(|faults| faults.garbage = true);
    let link = Link::start(&store, &broker.url(), &[]);
    wait_until("attempts", || broker.connections() > 3);
    broker.set(|faults| (faults.garbage, faults.refuse) = (false, true));
    let now = broker.connections();
    wait_until("attempts", || broker.connections() > now + 2);
    broker.set(|faults| faults.refuse = false);
    wait_until("all", || broker.acknowledged().len() == 3);
    let (code, said) = link.terminate();
    assert_eq!(code, Some(0));
    assert!(said.contains("trying again") && said.contains("refuses"), "{said}");
    // Without a broker, the program still ends at once on a signal.
    let link = Link::start(&store, "mqtt://127.0.0.1:1", &[]);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(link.terminate().0, Some(0));
}

#[test]
fn home_assistant_is_announced_and_withdrawn() {
    let store = Filled::new(4);
    let broker = Broker::start();
    let link = Link::start(&store, &broker.url(), &["--device", "a", "--home-assistant"]);
    let config = "homeassistant/device/oltr_a/config";
    wait_until("all", || broker.acknowledged().len() == 4 && !broker.messages("oltr/a/home/state").is_empty());
    let reported: serde_json::Value = serde_json::from_slice(broker.messages(config).last().unwrap()).unwrap();
    assert_eq!(reported["cmps"]["event"]["state_topic"], "oltr/a/home/event");
    // Records of long ago are no news.
    assert!(broker.messages("oltr/a/home/event").is_empty());
    let state: serde_json::Value =
        serde_json::from_slice(broker.messages("oltr/a/home/state").last().unwrap()).unwrap();
    assert_eq!((state["records"].as_u64(), state["to_review"].as_u64()), (Some(4), Some(1)));
    // Home Assistant restarted.
    let before = broker.messages(config).len();
    broker.send("homeassistant/status", b"online");
    wait_until("the announcement again", || broker.messages(config).len() > before);
    assert_eq!(link.terminate().0, Some(0));
    // Withdrawal is refused while a program runs that would announce the device again.
    let before = broker.messages(config).len();
    let running = Link::start(&store, &broker.url(), &["--device", "a", "--home-assistant"]);
    wait_until("the announcement", || broker.messages(config).len() > before);
    let link = Link::start(&store, &broker.url(), &["--device", "a", "--withdraw"]);
    assert_eq!(link.wait(), Some(69));
    assert_eq!(running.terminate().0, Some(0));
    let link = Link::start(&store, &broker.url(), &["--device", "a", "--withdraw"]);
    assert_eq!(link.wait(), Some(0));
    assert_eq!(broker.messages(config).last().map(Vec::len), Some(0));
}

#[test]
fn a_long_backlog_takes_no_more_memory_than_a_short_one() {
    let broker = Broker::start();
    let peak = |records| {
        let store = Filled::new(records);
        let before = broker.acknowledged().len();
        let link = Link::start(&store, &broker.url(), &[]);
        wait_until("all records", || broker.acknowledged().len() == before + records);
        let peak = link.peak_kib();
        link.kill();
        peak
    };
    let (short, long) = (peak(200), peak(3000));
    // Eight bytes a number, and a segment of the store, a megabyte, while it is read.
    assert!(long < short + 4000, "{short} KiB for 200 records, {long} KiB for 3000");
}

#[test]
fn wrong_usage_is_reported() {
    let store = Filled::new(1);
    for (url, arguments, code) in [
        ("http://a", &[][..], 78),
        ("mqtt://a", &["--device", "a/b"][..], 78),
        ("mqtt://a", &["--ca", "x"][..], 78),
        ("mqtt://a", &["--password-file", "x"][..], 64),
        ("mqtts://a", &["--ca", "/nowhere"][..], 78),
    ] {
        let link = Link::start(&store, url, arguments);
        assert_eq!(link.wait(), Some(code), "{url} {arguments:?}");
    }
    // Two at once would send all twice.
    let broker = Broker::start();
    let first = Link::start(&store, &broker.url(), &[]);
    wait_until("the first", || broker.acknowledged().len() == 1);
    assert_eq!(Link::start(&store, &broker.url(), &[]).wait(), Some(69));
    assert_eq!(first.terminate().0, Some(0));
}

/// A TLS connection whose answers each take longer than the read timeout.
#[test]
fn a_slow_network_does_not_prevent_tls() {
    let Some(certificates) = Certificates::new() else {
        eprintln!("SKIPPED: openssl is not installed");
        return;
    };
    let store = Filled::new(40);
    let broker = Broker::start();
    let port = certificates.serve(broker.port(), Duration::from_millis(400));
    let ca = certificates.path("ca.pem");
    let url = format!("mqtts://127.0.0.1:{port}");
    let link = Link::start(&store, &url, &["--once", "--ca", ca.to_str().unwrap()]);
    assert_eq!(link.wait(), Some(0));
    assert_eq!((broker.acknowledged(), broker.connections()), (store.ids(), 1));
    // A stop ends the wait for a silent broker at once.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtts://{}", silent.local_addr().unwrap());
    let link = Link::start(&store, &url, &["--ca", ca.to_str().unwrap()]);
    let (_socket, _) = silent.accept().unwrap();
    assert_eq!(link.terminate().0, Some(0));
}

/// A sensor shows its last state after a restart, until the next event.
#[test]
fn the_last_one_is_remembered() {
    let mut store = Filled::new(0);
    let broker = Broker::start();
    let last = |broker: &Broker| -> serde_json::Value {
        let reported = broker.messages("oltr/m/home/state");
        reported.last().map_or(serde_json::Value::Null, |reported| serde_json::from_slice(reported).unwrap())["last"]
            .clone()
    };
    store.fill_now(1);
    let link = Link::start(&store, &broker.url(), &["--home-assistant"]);
    wait_until("the event", || !last(&broker).is_null());
    let before = last(&broker);
    assert_eq!(link.terminate().0, Some(0));
    let reported = broker.messages("oltr/m/home/state").len();
    let link = Link::start(&store, &broker.url(), &["--home-assistant"]);
    wait_until("the state", || broker.messages("oltr/m/home/state").len() > reported);
    assert_eq!(last(&broker), before);
    assert_eq!(link.terminate().0, Some(0));
}

#[test]
fn mosquitto_with_tls_and_a_password() {
    let Some(certificates) = Certificates::new() else {
        eprintln!("SKIPPED: openssl is not installed");
        return;
    };
    let Some(mosquitto) = Mosquitto::with(Some(&certificates)) else {
        eprintln!("SKIPPED: mosquitto and mosquitto_sub are not installed");
        return;
    };
    let store = Filled::new(60);
    let (ca, password) = (certificates.path("ca.pem"), certificates.path("password"));
    let login = ["--user", "u", "--password-file", password.to_str().unwrap(), "--ca", ca.to_str().unwrap()];
    std::fs::write(&password, "wrong\n").unwrap();
    let link = Link::start(&store, &mosquitto.tls_url(), &login);
    std::thread::sleep(Duration::from_secs(2));
    let (code, said) = link.terminate();
    assert!(code == Some(0) && said.contains("refuses"), "{said}");
    std::fs::write(&password, "secret\n").unwrap();
    assert_eq!(Link::start(&store, &mosquitto.tls_url(), &[&["--once"], &login[..]].concat()).wait(), Some(0));
    let received = mosquitto.subscriber(|received| ids(received).last() == store.ids().last());
    in_order_but_for_repeats(&ids(&received), &store.ids());
    // A certificate that no trusted CA has signed.
    let link = Link::start(&store, &mosquitto.tls_url(), &login[..4]);
    std::thread::sleep(Duration::from_secs(1));
    let said = link.terminate().1;
    assert!(said.contains("ertificate"), "{said}");
}

/// Broker and program end at random moments while records are stored.
#[test]
fn broker_and_program_that_end_at_random_lose_nothing() {
    let Some(mut mosquitto) = Mosquitto::start() else {
        eprintln!("SKIPPED: mosquitto and mosquitto_sub are not installed");
        return;
    };
    let mut store = Filled::new(100);
    let url = mosquitto.url();
    let mut link = Link::start(&store, &url, &[]);
    let mut random = 7u64;
    for _ in 0..12 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis(20 + (random >> 33) % 300));
        store.fill(40);
        if random >> 62 & 1 == 0 {
            mosquitto.restart();
        } else {
            link.kill();
            link = Link::start(&store, &url, &[]);
        }
    }
    let received = mosquitto.subscriber(|received| ids(received).last() == store.ids().last());
    in_order_but_for_repeats(&ids(&received), &store.ids());
    assert_eq!(link.terminate().0, Some(0));
}

/// cargo test -p oltr-link --test link -- --ignored --nocapture
#[test]
#[ignore = "takes a minute"]
fn a_hundred_thousand_records_wait() {
    let broker = Broker::start();
    let peak = |records: usize| {
        let store = Filled::new(records);
        let before = broker.acknowledged().len();
        let began = std::time::Instant::now();
        let link = Link::start(&store, &broker.url(), &[]);
        wait_until("all records", || broker.acknowledged().len() == before + records);
        let peak = link.peak_kib();
        println!("{records} records: {peak} KiB at most, {:.1} s", began.elapsed().as_secs_f64());
        link.kill();
        peak
    };
    let (short, long) = (peak(2000), peak(100_000));
    assert!(long < short + 2000, "{short} KiB for 2000 records, {long} KiB for 100,000");
}

#[test]
fn mosquitto_killed_at_random_gets_all() {
    let Some(mut mosquitto) = Mosquitto::start() else {
        eprintln!("SKIPPED: mosquitto and mosquitto_sub are not installed");
        return;
    };
    let store = Filled::new(400);
    let url = mosquitto.url();
    let link = Link::start(&store, &url, &["--device", "m"]);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(200));
        mosquitto.restart();
    }
    // A session of the subscriber outlives the broker, which keeps it on its disk.
    let received = mosquitto.subscriber(|received| ids(received).last() == store.ids().last());
    in_order_but_for_repeats(&ids(&received), &store.ids());
    assert_eq!(link.terminate().0, Some(0));
}

/// Whether `received` contains all `expected` ids in order. Repeats must keep the order too.
fn in_order_but_for_repeats(received: &[u64], expected: &[u64]) {
    let mut next = 0;
    for id in received {
        let place = expected.binary_search(id).unwrap_or_else(|_| panic!("{id} is none of them"));
        assert!(place <= next, "{id} came before {}", expected[next]);
        next = place + 1;
    }
    let mut all = received.to_vec();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, expected);
}
