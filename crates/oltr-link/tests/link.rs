//! The program with brokers that fail: every record arrives, in order, without a gap, and only those that were not
//! acknowledged twice.

mod common;

use std::time::Duration;

use common::{Broker, Filled, Link, ids, wait_until};

#[test]
fn records_arrive_in_order_and_only_the_unacknowledged_twice() {
    let store = Filled::new(500);
    let broker = Broker::start();
    // The broker goes away between a message and its acknowledgement, again and again.
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
        // What the broker acknowledged the program may or may not have read: it gets the time to.
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
    // One that is not there: the program ends at once when it is told to.
    let link = Link::start(&store, "mqtt://127.0.0.1:1", &[]);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(link.terminate().0, Some(0));
}

#[test]
fn home_assistant_is_told_and_forgets() {
    let store = Filled::new(4);
    let broker = Broker::start();
    let link = Link::start(&store, &broker.url(), &["--device", "a", "--home-assistant"]);
    let config = "homeassistant/device/oltr_a/config";
    wait_until("all", || broker.acknowledged().len() == 4 && !broker.messages("oltr/a/home/state").is_empty());
    let told: serde_json::Value = serde_json::from_slice(broker.messages(config).last().unwrap()).unwrap();
    assert_eq!(told["cmps"]["event"]["state_topic"], "oltr/a/home/event");
    // Records of long ago are no news.
    assert!(broker.messages("oltr/a/home/event").is_empty());
    let state: serde_json::Value =
        serde_json::from_slice(broker.messages("oltr/a/home/state").last().unwrap()).unwrap();
    assert_eq!((state["records"].as_u64(), state["to_review"].as_u64()), (Some(4), Some(1)));
    // It was started anew.
    let before = broker.messages(config).len();
    broker.send("homeassistant/status", b"online");
    wait_until("the announcement again", || broker.messages(config).len() > before);
    assert_eq!(link.terminate().0, Some(0));
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
fn wrong_usage_is_said() {
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

#[test]
fn mosquitto_killed_at_random_gets_all() {
    let Some(mut mosquitto) = common::Mosquitto::start() else {
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

/// Whether `received` has all `expected` ones: where it goes back, it repeats what it had in the same order.
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
