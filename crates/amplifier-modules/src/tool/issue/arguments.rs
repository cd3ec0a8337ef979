//! What the model may ask of the queue. The names are those of the reference's tool.

use std::fmt;

use amplifier_core::IssueId;
use amplifier_foundation::{JsonSchema, schemars};
use amplifier_issue::{IssueStatus, IssueType, Priority};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::super::whole;

/// What is to be done, and to what.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Arguments {
    /// What to do
    pub(super) operation: Operation,
    #[serde(default)]
    pub(super) params: Params,
}

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Operation {
    Create,
    List,
    Get,
    Update,
    Close,
    Comment,
    Answer,
    AddDependency,
    RemoveDependency,
    GetReady,
    GetBlocked,
    GetSessions,
}

/// What it is done to; which of them count depends on the operation.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Params {
    #[serde(deserialize_with = "id")]
    #[schemars(with = "Option<String>")]
    pub(super) issue_id: Option<IssueId>,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    /// 0 (critical) to 4 (deferred)
    #[serde(deserialize_with = "priority")]
    #[schemars(with = "Option<u8>")]
    pub(super) priority: Option<Priority>,
    /// task, feature, bug, epic, chore, or your own
    #[serde(alias = "type")]
    #[schemars(with = "Option<String>")]
    pub(super) issue_type: Option<IssueType>,
    /// open, in_progress, blocked, pending_user_input, completed, closed, failed
    #[serde(deserialize_with = "status")]
    #[schemars(with = "Option<String>")]
    pub(super) status: Option<IssueStatus>,
    pub(super) assignee: Option<String>,
    #[serde(deserialize_with = "id")]
    #[schemars(with = "Option<String>")]
    pub(super) parent_id: Option<IssueId>,
    #[serde(deserialize_with = "id")]
    #[schemars(with = "Option<String>")]
    pub(super) discovered_from: Option<IssueId>,
    /// For create: what must be done first
    #[serde(alias = "dependencies")]
    #[schemars(with = "Vec<String>")]
    pub(super) depends_on: Vec<IssueId>,
    pub(super) metadata: Option<Map<String, Value>>,
    /// Why it is blocked, or your question with status pending_user_input
    pub(super) blocking_notes: Option<String>,
    pub(super) question: Option<String>,
    /// What came out, with status completed
    pub(super) result: Option<String>,
    pub(super) reason: Option<String>,
    /// Of comment and answer
    #[serde(alias = "comment", alias = "answer")]
    pub(super) text: Option<String>,
    /// The issue that waits
    #[serde(deserialize_with = "id")]
    #[schemars(with = "Option<String>")]
    pub(super) from_id: Option<IssueId>,
    /// The issue that it waits for
    #[serde(deserialize_with = "id")]
    #[schemars(with = "Option<String>")]
    pub(super) to_id: Option<IssueId>,
    /// blocks, related, parent-child or discovered-from
    pub(super) dep_type: Option<String>,
    #[serde(deserialize_with = "whole")]
    #[schemars(with = "Option<u32>")]
    pub(super) limit: Option<u64>,
}

/// An id; an empty text is none.
fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IssueId>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
    text.map(|text| IssueId::new(text).map_err(de::Error::custom)).transpose()
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IssueStatus>, D::Error> {
    let Some(name) = Option::<String>::deserialize(deserializer)?.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let wrong = || {
        let known = IssueStatus::ALL.map(IssueStatus::as_str).join(", ");
        de::Error::custom(format!("`{}` is no status; use one of {known}", name.escape_debug()))
    };
    IssueStatus::from_name(&name).map(Some).ok_or_else(wrong)
}

/// A priority as models and the reference write it: a number from 0 to 4, or its name.
fn priority<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Priority>, D::Error> {
    struct Named;
    impl Visitor<'_> for Named {
        type Value = Option<Priority>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("0 to 4, or critical, high, medium, low, deferred")
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
            Priority::new(number).map(Some).map_err(E::custom)
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
            self.visit_u64(u64::try_from(number).unwrap_or(u64::MAX))
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
            match number {
                whole if whole.fract() == 0.0 && (0.0..=4.0).contains(&whole) => self.visit_u64(whole as u64),
                other => Err(E::invalid_value(de::Unexpected::Float(other), &self)),
            }
        }

        fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
            let number = match name.trim().to_ascii_lowercase().as_str() {
                "critical" => 0,
                "high" => 1,
                "medium" | "normal" => 2,
                "low" => 3,
                "deferred" => 4,
                "" => return Ok(None),
                other => {
                    let number = other.strip_prefix('p').unwrap_or(other).parse();
                    number.map_err(|_| E::invalid_value(de::Unexpected::Str(name), &self))?
                }
            };
            self.visit_u64(number)
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }
    deserializer.deserialize_any(Named)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn params(value: Value) -> Result<Params, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_priority_is_a_number_or_a_name() {
        for (given, number) in [
            (json!(0), 0),
            (json!(4.0), 4),
            (json!("critical"), 0),
            (json!("High"), 1),
            (json!("medium"), 2),
            (json!("normal"), 2),
            (json!("low"), 3),
            (json!("deferred"), 4),
            (json!("3"), 3),
            (json!("P1"), 1),
        ] {
            let found = params(json!({"priority": given})).unwrap().priority.unwrap();
            assert_eq!(found.number(), number, "{given}");
        }
        assert_eq!(params(json!({"priority": null})).unwrap().priority, None);
        for wrong in [json!(5), json!(-1), json!("urgent"), json!(1.5), json!([])] {
            assert!(params(json!({"priority": wrong})).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ids_and_statuses_are_checked() {
        for (wrong, part) in [
            (json!({"issue_id": "../x"}), "holds `/`"),
            (json!({"status": "done"}), "open, in_progress"),
            (json!({"issue_type": "A b"}), "issue type"),
        ] {
            assert!(params(wrong.clone()).is_err_and(|error| error.contains(part)), "{wrong}");
        }
        let empty = params(json!({"issue_id": "", "status": "", "parent_id": null})).unwrap();
        assert!(empty.issue_id.is_none() && empty.status.is_none() && empty.parent_id.is_none());
    }
}
