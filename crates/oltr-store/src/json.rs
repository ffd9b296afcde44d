//! The public form of a record: `oltr.record/1`.

use serde_json::{Map, Value, json};

use crate::feature;
use crate::reader::Listed;
use crate::reviews::Said;

impl Listed<'_> {
    /// `oltr.record/1`: the event's last line, with the record's id in place of the event's. `features` adds the
    /// network's features of the picture.
    pub fn to_json(&self, features: bool) -> Value {
        let record = &self.record;
        let mut line: Map<String, Value> = self.event().unwrap_or_default();
        let event_id = line.remove("id").unwrap_or_else(|| record.event_id.clone().into());
        let mut set = |key: &str, value: Value| line.insert(key.into(), value);
        set("schema", "oltr.record/1".into());
        set("id", record.id.into());
        set("event", event_id);
        set("picture", json!(self.picture()));
        set("first_ever", record.first_ever.into());
        set("first_today", record.first_today.into());
        set("days_since", json!(record.days_since));
        set("graph_sha256", json!(record.graph));
        set(
            "review",
            match self.review {
                None => Value::Null,
                Some(review) => json!({
                    "label": match &review.said {
                        Said::Label(name) => Some(name),
                        _ => None,
                    },
                    "decision": match &review.said {
                        Said::Label(_) => "label",
                        said => said.text(),
                    },
                    "by": review.by,
                    "wall": review.wall,
                }),
            },
        );
        if features {
            set("features", json!(record.features.as_deref().and_then(feature::decode)));
        }
        Value::Object(line)
    }
}
