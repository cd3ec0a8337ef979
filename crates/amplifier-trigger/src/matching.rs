//! Conditions on what an event carries: `{"data.status": failed}`.
//!
//! Guarantees: bounded work; a path that leads nowhere does not match. Never here: code in conditions.

use std::collections::BTreeMap;

use amplifier_core::Payload;
use serde::Serialize;
use serde_json::Value;

/// Most conditions of one trigger.
pub(crate) const MAX_CONDITIONS: usize = 32;

/// Conditions that must all hold. Each names a field of the payload by a path (`data.issue.state`, list
/// items by number) and the value that it must have, or several of which it must have one.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct PayloadMatch {
    conditions: BTreeMap<String, Vec<Value>>,
}

/// Why conditions are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidMatch {
    #[error("`{path}` does not begin with `data.`; write `data.` and the field, as in `data.status`")]
    Path { path: String },
    #[error("the value of `{path}` is a map; name one of its fields in the path")]
    Map { path: String },
    #[error("there are {found} conditions; at most {MAX_CONDITIONS} are accepted")]
    TooMany { found: usize },
}

impl PayloadMatch {
    /// Reads the conditions.
    pub(crate) fn read(map: &serde_json::Map<String, Value>) -> Result<Self, Vec<InvalidMatch>> {
        let mut faults = Vec::new();
        if map.len() > MAX_CONDITIONS {
            faults.push(InvalidMatch::TooMany { found: map.len() });
        }
        let mut conditions = BTreeMap::new();
        for (path, value) in map.iter().take(MAX_CONDITIONS) {
            let shown = || path.escape_debug().take(80).collect::<String>();
            let wanted = match value {
                Value::Array(several) => several.clone(),
                one => vec![one.clone()],
            };
            if fields(path).is_none() {
                faults.push(InvalidMatch::Path { path: shown() });
            }
            if wanted.iter().any(|value| value.is_object() || value.is_array()) {
                faults.push(InvalidMatch::Map { path: shown() });
            }
            conditions.insert(path.clone(), wanted);
        }
        if faults.is_empty() { Ok(Self { conditions }) } else { Err(faults) }
    }

    /// True if there is no condition.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// True if all conditions hold for this payload.
    pub fn matches(&self, payload: &Payload) -> bool {
        if self.is_empty() {
            return true;
        }
        let Ok(data) = payload.decode::<Value>() else { return false };
        self.conditions.iter().all(|(path, wanted)| {
            let found = fields(path).and_then(|fields| lookup(&data, fields));
            found.is_some_and(|found| wanted.iter().any(|wanted| same(found, wanted)))
        })
    }
}

/// The fields of a path behind `data`.
fn fields(path: &str) -> Option<impl Iterator<Item = &str>> {
    let rest = path.strip_prefix("data.")?;
    (!rest.split('.').any(str::is_empty)).then(|| rest.split('.'))
}

/// The value that a path leads to.
pub(crate) fn lookup<'a, 'p>(data: &'a Value, path: impl Iterator<Item = &'p str>) -> Option<&'a Value> {
    let mut value = data;
    for field in path {
        value = match value {
            Value::Object(map) => map.get(field)?,
            Value::Array(items) => items.get(field.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

/// Numbers are compared by value; a word that YAML could read as something else also as its text.
fn same(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Number(found), Value::Number(wanted)) => {
            found == wanted || found.as_f64().is_some_and(|found| Some(found) == wanted.as_f64())
        }
        (Value::String(text), Value::Bool(wanted)) => text.parse() == Ok(*wanted),
        (Value::String(text), Value::Number(wanted)) => {
            text.parse().is_ok_and(|found: serde_json::Number| found == *wanted)
        }
        _ => found == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<PayloadMatch, Vec<InvalidMatch>> {
        PayloadMatch::read(value.as_object().unwrap())
    }

    #[test]
    fn all_conditions_must_hold() {
        let data = Payload::from(json!({
            "status": "failed", "tries": 3, "issue": {"labels": [{"name": "bug"}]}, "none": null, "v": "1"
        }));
        let check = |conditions: Value, expect: bool| {
            assert_eq!(read(conditions.clone()).unwrap().matches(&data), expect, "{conditions}");
        };
        check(json!({}), true);
        check(json!({"data.status": "failed"}), true);
        check(json!({"data.status": ["done", "failed"], "data.tries": 3.0}), true);
        check(json!({"data.status": "failed", "data.tries": 4}), false);
        check(json!({"data.issue.labels.0.name": "bug"}), true);
        check(json!({"data.issue.labels.1.name": "bug"}), false);
        check(json!({"data.none": null}), true);
        check(json!({"data.absent": null}), false);
        check(json!({"data.v": 1}), true);
        check(json!({"data.tries": "3"}), false);
    }

    #[test]
    fn conditions_that_cannot_hold_are_refused() {
        for wrong in
            [json!({"status": 1}), json!({"data.": 1}), json!({"data..a": 1}), json!({"data.a": {"b": 1}})]
        {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
