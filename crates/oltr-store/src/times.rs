//! Corrects times from before the clock was set. A machine without a clock chip counts from 1970 until a network gives
//! it the time. The monotonic clock of the same boot gives the error of each earlier time.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Map, Value};

/// Most boots whose clocks are kept.
const MAX_BOOTS: usize = 4096;

/// The time fields of every line of oltr.
#[derive(Deserialize)]
pub(crate) struct Head {
    #[serde(default)]
    boot_id: Option<String>,
    #[serde(default)]
    mono_ns: Option<i64>,
    #[serde(default)]
    wall: Option<String>,
    #[serde(default)]
    clock_synchronised: Option<bool>,
}

/// The first moment of each boot at which the clock was known.
#[derive(Clone, Debug, Default)]
pub struct Clocks {
    /// By boot: a monotonic time and its wall time since 1970, both in nanoseconds.
    boots: BTreeMap<String, (i64, i64)>,
}

fn nanoseconds(wall: &str) -> Option<i64> {
    let since = humantime::parse_rfc3339(wall).ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok()
}

impl Clocks {
    /// Learns the clock of a boot from the line `text`, if the clock was synchronised then.
    pub fn learn(&mut self, text: &str) {
        let Ok(head) = serde_json::from_str::<Head>(text) else { return };
        let (Some(boot), Some(mono), Some(true)) = (head.boot_id, head.mono_ns, head.clock_synchronised) else {
            return;
        };
        let Some(wall) = head.wall.as_deref().and_then(nanoseconds) else { return };
        let full = self.boots.len() >= MAX_BOOTS;
        match self.boots.get_mut(&boot) {
            Some(known) if mono < known.0 => *known = (mono, wall),
            Some(_) => {}
            None if full => {}
            None => drop(self.boots.insert(boot, (mono, wall))),
        }
    }

    /// Corrects the times of `line` if its clock was not synchronised and its boot's clock is known now. Returns
    /// whether it did.
    pub fn mend(&self, line: &mut Map<String, Value>) -> bool {
        if line.get("clock_synchronised") == Some(&Value::Bool(true)) {
            return false;
        }
        let known = line.get("boot_id").and_then(Value::as_str).and_then(|boot| self.boots.get(boot));
        let Some((mono, wall)) = known.copied() else { return false };
        let set = |of: &mut Map<String, Value>| {
            let Some(at) = of.get("mono_ns").and_then(Value::as_i64) else { return };
            let since = u64::try_from(wall.saturating_add(at.saturating_sub(mono))).unwrap_or(0);
            let time = UNIX_EPOCH + Duration::from_nanos(since);
            of.insert("wall".into(), humantime::format_rfc3339_millis(time).to_string().into());
        };
        set(line);
        for part in ["first", "last", "best"] {
            if let Some(Value::Object(part)) = line.get_mut(part) {
                set(part);
            }
        }
        line.insert("clock_synchronised".into(), true.into());
        line.insert("clock_mended".into(), true.into());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_of_the_same_boot_are_put_right() {
        let mut clocks = Clocks::default();
        let line = |boot: &str, s: i64, wall: &str, known: Value| {
            json!({
                "boot_id": boot, "mono_ns": s * 1_000_000_000, "wall": wall, "clock_synchronised": known,
                "first": { "mono_ns": (s - 10) * 1_000_000_000, "wall": "1970-01-01T00:00:20.000Z" },
                "last": { "mono_ns": null, "wall": "2024-05-01T06:00:00" },
            })
        };
        let mend = |clocks: &Clocks, line: &Value| {
            let mut map = line.as_object().unwrap().clone();
            (clocks.mend(&mut map), Value::Object(map))
        };
        let early = line("a", 30, "1970-01-01T00:00:30.000Z", json!(false));
        assert_eq!(mend(&clocks, &early), (false, early.clone()), "nothing is known yet");
        clocks.learn(&early.to_string());
        clocks.learn(&line("a", 3630, "2026-05-01T13:00:00.000Z", json!(true)).to_string());
        // Later lines, lines of another boot and invalid lines change nothing.
        clocks.learn(&line("a", 7230, "2026-05-01T15:00:00.000Z", json!(true)).to_string());
        clocks.learn(&line("b", 30, "2026-06-01T15:00:00.000Z", json!(true)).to_string());
        clocks.learn("{");
        let (mended, mended_line) = mend(&clocks, &early);
        assert!(mended && mended_line["clock_mended"] == true && mended_line["clock_synchronised"] == true);
        assert_eq!(
            (mended_line["wall"].as_str(), mended_line["first"]["wall"].as_str()),
            (Some("2026-05-01T12:00:00.000Z"), Some("2026-05-01T11:59:50.000Z"))
        );
        assert_eq!(mended_line["last"], early["last"], "a photo's own time stays");
        let known = line("a", 40, "2026-05-01T12:00:10.000Z", json!(true));
        assert_eq!(mend(&clocks, &known), (false, known.clone()));
        let other = line("c", 40, "1970-01-01T00:00:40.000Z", json!(null));
        assert!(!mend(&clocks, &other).0);
    }
}
