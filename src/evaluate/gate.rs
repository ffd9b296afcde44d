//! Gates: conditions on figures, such as `open_set.f_measure>=0.80`.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};

/// A condition on one figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    text: String,
    path: String,
    relation: Relation,
    bound: f64,
}

/// Relation of a figure to its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    AtLeast,
    AtMost,
    Above,
    Below,
}

/// Spelling of each relation. Longer ones first, because shorter ones are prefixes of them.
const RELATIONS: [(&str, Relation); 4] =
    [(">=", Relation::AtLeast), ("<=", Relation::AtMost), (">", Relation::Above), ("<", Relation::Below)];

/// Result of a gate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GateResult {
    /// The gate as it was written.
    pub gate: String,
    /// The figure. `None` if it is not defined for these photos; the gate is then not met.
    pub value: Option<f64>,
    /// Whether the gate is met.
    pub met: bool,
}

impl FromStr for Gate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Gate> {
        let bad = || Error::BadInput {
            subject: format!("gate '{text}'"),
            reason: "is no condition; write it as open_set.f_measure>=0.80 or drift<=0.01".into(),
        };
        let (path, relation, bound) = RELATIONS
            .into_iter()
            .find_map(|(sign, relation)| text.split_once(sign).map(|(path, bound)| (path.trim(), relation, bound)))
            .ok_or_else(bad)?;
        let bound: f64 = bound.trim().parse().map_err(|_| bad())?;
        if path.is_empty() || !bound.is_finite() {
            return Err(bad());
        }
        Ok(Gate { text: text.into(), path: path.into(), relation, bound })
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Gate {
    /// Looks up the figure in `evaluation`, the JSON of an [`Evaluation`](super::Evaluation) with the
    /// [`Comparison`](super::Comparison) as `comparison`. `drift` is short for `comparison.drift`.
    ///
    /// # Errors
    /// [`Error::BadInput`] if the figure does not exist: a gate that checks nothing must not pass.
    pub fn check(&self, evaluation: &Value) -> Result<GateResult> {
        let path = if self.path == "drift" { "comparison.drift" } else { &self.path };
        let missing = |why: &str| Error::BadInput { subject: format!("gate '{}'", self.text), reason: why.into() };
        let found = path.split('.').try_fold(evaluation, |value, key| value.get(key));
        let value = match found {
            Some(Value::Null) => None,
            Some(Value::Number(number)) => number.as_f64(),
            Some(_) => return Err(missing("names no single figure; see the keys of --json")),
            None if path.starts_with("comparison.") && evaluation.get("comparison").is_none() => {
                return Err(missing("compares two bundles; name the other one with --compare"));
            }
            None => return Err(missing("names no figure; see the keys of --json")),
        };
        let met = value.is_some_and(|value| match self.relation {
            Relation::AtLeast => value >= self.bound,
            Relation::AtMost => value <= self.bound,
            Relation::Above => value > self.bound,
            Relation::Below => value < self.bound,
        });
        Ok(GateResult { gate: self.text.clone(), value, met })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(gate: &str) -> Result<(Option<f64>, bool)> {
        let figures = json!({"open_set": {"f_measure": 0.8, "auroc": null}, "split": "test",
            "scores": {"max-logit": {"auroc": 0.7}}, "comparison": {"drift": 0.01}});
        gate.parse::<Gate>()?.check(&figures).map(|r| (r.value, r.met))
    }

    #[test]
    fn figures_are_held_against_their_bounds() {
        for (gate, value, met) in [
            ("open_set.f_measure>=0.8", 0.8, true),
            ("open_set.f_measure > 0.8", 0.8, false),
            ("open_set.f_measure>=0.81", 0.8, false),
            ("drift<=0.01", 0.01, true),
            ("drift<0.01", 0.01, false),
            ("comparison.drift<=1e-3", 0.01, false),
            ("scores.max-logit.auroc<0.71", 0.7, true),
        ] {
            assert_eq!(check(gate).unwrap(), (Some(value), met), "{gate}");
        }
    }

    #[test]
    fn what_is_not_defined_meets_nothing() {
        assert_eq!(check("open_set.auroc>=0").unwrap(), (None, false));
        assert_eq!(check("open_set.auroc<=1").unwrap(), (None, false));
    }

    #[test]
    fn a_gate_without_a_figure_is_refused() {
        for gate in ["", "f", "f=0.8", ">=0.8", "open_set.f_measure>=x", "open_set.f_measure>=NaN"] {
            assert!(gate.parse::<Gate>().is_err(), "{gate}");
        }
        for gate in ["f_measure>=0.8", "split>=0.8", "open_set>=0.8"] {
            assert!(check(gate).is_err(), "{gate}");
        }
        let alone = "drift<=0.01".parse::<Gate>().unwrap().check(&json!({"known": 1})).unwrap_err().to_string();
        assert!(alone.contains("--compare"), "{alone}");
    }
}
