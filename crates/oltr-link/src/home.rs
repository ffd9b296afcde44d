//! Messages for Home Assistant: one device, its entities and their states.
//!
//! Field names are those of its MQTT integration. The tests below compare them with its tables.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

/// Oldest event that is published to the event entity, which shows the time of arrival as the event's time. Older
/// events are on the topic `event`, with their own time.
pub const FRESH: Duration = Duration::from_secs(600);

/// Bytes of the largest picture that is published.
pub const MAX_PICTURE: usize = 1 << 20;

/// Topics of one device.
#[derive(Clone, Debug)]
pub struct Topics {
    /// `online` or `offline`, retained.
    pub status: String,
    /// `oltr.record/1`, one a message.
    pub event: String,
    /// Messages for the event entity.
    pub moment: String,
    /// Messages for the sensors.
    pub state: String,
    /// Topic of the picture, a JPEG.
    pub image: String,
    /// Topic of the device's discovery message.
    pub config: String,
    /// Topic of Home Assistant's birth message.
    pub birth: String,
}

impl Topics {
    /// Topics of `device` under Home Assistant's `prefix`.
    pub fn new(device: &str, prefix: &str) -> Topics {
        let of = |name: &str| format!("oltr/{device}/{name}");
        Topics {
            status: of("status"),
            event: of("event"),
            moment: of("home/event"),
            state: of("home/state"),
            image: of("home/image"),
            config: format!("{prefix}/device/oltr_{device}/config"),
            birth: format!("{prefix}/status"),
        }
    }
}

/// The discovery message of `device`.
pub fn discovery(device: &str, topics: &Topics) -> Value {
    let id = |name: &str| format!("oltr_{device}_{name}");
    let diagnostic = |name: &str, title: &str, value: &str, icon: &str| {
        json!({
            "p": "sensor", "unique_id": id(name), "name": title, "state_topic": topics.state, "value_template": value,
            "entity_category": "diagnostic", "icon": icon, "state_class": "measurement",
        })
    };
    json!({
        "dev": {
            "ids": [format!("oltr_{device}")], "name": device, "mf": "oltr", "mdl": "oltr",
            "sw": env!("CARGO_PKG_VERSION"),
        },
        "o": { "name": "oltr-link", "sw": env!("CARGO_PKG_VERSION") },
        "availability": [{
            "topic": topics.status, "payload_available": "online", "payload_not_available": "offline",
        }],
        "qos": 1,
        "cmps": {
            "event": {
                "p": "event", "unique_id": id("event"), "name": "Seen", "state_topic": topics.moment,
                "event_types": EVENT_TYPES, "icon": "mdi:eye",
            },
            "label": {
                "p": "sensor", "unique_id": id("label"), "name": "Last seen", "state_topic": topics.state,
                "value_template": "{{ value_json.last.label if value_json.last else None }}",
                "json_attributes_topic": topics.state,
                "json_attributes_template": "{{ (value_json.last or {}) | tojson }}", "icon": "mdi:tag",
            },
            "to_review": {
                "p": "sensor", "unique_id": id("to_review"), "name": "To review", "state_topic": topics.state,
                "value_template": "{{ value_json.to_review }}", "state_class": "measurement",
                "icon": "mdi:help-box-multiple",
            },
            "image": {
                "p": "image", "unique_id": id("image"), "name": "Last picture", "image_topic": topics.image,
                "content_type": "image/jpeg",
            },
            // This entity reports the status itself, so it must stay available when the others are not.
            "status": {
                "p": "binary_sensor", "unique_id": id("status"), "name": "Link", "state_topic": topics.status,
                "payload_on": "online", "payload_off": "offline", "device_class": "connectivity",
                "entity_category": "diagnostic", "availability": [],
            },
            "records": diagnostic("records", "Records", "{{ value_json.records }}", "mdi:database"),
            "waiting": diagnostic("waiting", "Waiting", "{{ value_json.waiting }}", "mdi:upload"),
            "lost": diagnostic("lost", "Given up before sent", "{{ value_json.lost }}", "mdi:alert"),
        },
    })
}

/// Types of the event entity's events: the decisions.
pub const EVENT_TYPES: [&str; 3] = ["known", "open", "unclassified"];

/// State of the sensors and the event entity for `record`.
pub fn summary(record: &Value) -> Value {
    let decision = record["decision"].as_str().unwrap_or("unclassified");
    // An enrolled class is known.
    let kind = match decision {
        "open" | "unclassified" => decision,
        _ => "known",
    };
    let label = match (kind, record["name"].as_str().or(record["label"].as_str())) {
        ("known", Some(name)) => name,
        _ => kind,
    };
    json!({
        "event_type": kind,
        // A sensor's state has 255 characters at most.
        "label": label.chars().take(255).collect::<String>(),
        "class": record["label"],
        "probability": record.pointer("/mean/probability"),
        "reachability": record.pointer("/mean/reachability"),
        "resembles": record.pointer("/best/nearest/label"),
        "id": record["id"],
        "time": record.pointer("/last/wall"),
        "first_ever": record["first_ever"],
    })
}

/// Whether `record` ended less than [`FRESH`] before `now`.
pub fn is_fresh(record: &Value, now: SystemTime) -> bool {
    let wall = record.pointer("/last/wall").and_then(Value::as_str);
    let Some(time) = wall.and_then(|wall| humantime::parse_rfc3339(wall).ok()) else { return false };
    // One of the future is of a clock that was set since.
    now.duration_since(time).unwrap_or(FRESH + Duration::from_secs(1)) <= FRESH
        || time.duration_since(now).is_ok_and(|ahead| ahead <= FRESH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each platform: the keys that Home Assistant's documentation lists and this file uses, and the required keys.
    const TABLE: [(&str, &[&str], &[&str]); 4] = [
        ("event", &["state_topic", "event_types"], &["icon"]),
        (
            "sensor",
            &["state_topic"],
            &[
                "value_template",
                "json_attributes_topic",
                "json_attributes_template",
                "icon",
                "state_class",
                "entity_category",
            ],
        ),
        ("image", &["image_topic"], &["content_type", "icon"]),
        (
            "binary_sensor",
            &["state_topic"],
            &["payload_on", "payload_off", "device_class", "entity_category", "icon", "availability"],
        ),
    ];

    #[test]
    fn the_announcement_has_the_fields_of_the_tables() {
        let topics = Topics::new("trap-1", "homeassistant");
        assert_eq!(topics.config, "homeassistant/device/oltr_trap-1/config");
        let message = discovery("trap-1", &topics);
        for key in message.as_object().unwrap().keys() {
            assert!(["dev", "o", "cmps", "availability", "qos", "state_topic"].contains(&key.as_str()), "{key}");
        }
        for key in message["dev"].as_object().unwrap().keys() {
            assert!(["ids", "name", "mf", "mdl", "sw", "sn", "hw"].contains(&key.as_str()), "{key}");
        }
        assert!(message["dev"]["ids"][0].is_string() && message["o"]["name"].is_string());
        let availability = &message["availability"][0];
        assert_eq!(
            (&availability["topic"], &availability["payload_available"]),
            (&json!("oltr/trap-1/status"), &json!("online"))
        );
        assert_eq!(availability["payload_not_available"], "offline");
        let mut ids = std::collections::BTreeSet::new();
        for (key, of) in message["cmps"].as_object().unwrap() {
            let platform = of["p"].as_str().unwrap();
            let (_, required, allowed) = TABLE.iter().find(|(name, ..)| *name == platform).unwrap();
            required.iter().for_each(|name| assert!(!of[*name].is_null(), "{key} lacks {name}"));
            for name in of.as_object().unwrap().keys() {
                let name = name.as_str();
                assert!(
                    ["p", "unique_id", "name"].contains(&name) || required.contains(&name) || allowed.contains(&name),
                    "{key}: {name}"
                );
            }
            assert!(ids.insert(of["unique_id"].as_str().unwrap().to_string()), "{key}");
            assert!(key.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)));
            if let Some(category) = of["entity_category"].as_str() {
                assert_eq!(category, "diagnostic");
            }
        }
        // The event type in a payload is always one of the announced types.
        for decision in ["known", "enrolled", "open", "unclassified", "something new"] {
            let state = summary(&json!({ "decision": decision, "label": "cup" }));
            assert!(EVENT_TYPES.contains(&state["event_type"].as_str().unwrap()), "{decision}");
        }
    }

    #[test]
    fn old_events_are_no_news() {
        let now = humantime::parse_rfc3339("2026-05-01T12:00:00Z").unwrap();
        let of = |wall: &str| json!({ "last": { "wall": wall } });
        for fresh in ["2026-05-01T12:00:00.000Z", "2026-05-01T11:55:00Z", "2026-05-01T12:05:00Z"] {
            assert!(is_fresh(&of(fresh), now), "{fresh}");
        }
        for old in ["2026-05-01T11:00:00Z", "1970-01-01T00:00:05Z", "2027-01-01T00:00:00Z", "", "yesterday"] {
            assert!(!is_fresh(&of(old), now), "{old}");
        }
    }
}
