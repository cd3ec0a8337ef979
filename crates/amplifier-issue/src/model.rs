//! An issue: one piece of work for one worker.
//!
//! Guarantees: the names of statuses and of five types are those of the reference's issue manager, and a
//! priority is one of five. What is read and written again keeps every key, also those that this
//! program does not know.
//! Never here: who works on it, and how that went.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use amplifier_core::IssueId;
use amplifier_store::IssueStatus;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::parse::{self, InvalidIssue};

/// One piece of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
#[non_exhaustive]
pub struct Issue {
    /// Its name among the issues of a file or queue.
    pub id: IssueId,
    /// What it is about, in one line.
    pub title: String,
    /// What is to be done.
    pub description: String,
    /// What kind of work it is.
    pub issue_type: IssueType,
    /// How urgent it is.
    pub priority: Priority,
    /// How far it is.
    #[serde(serialize_with = "by_name")]
    pub status: IssueStatus,
    /// What must be completed before it begins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<IssueId>,
    /// Free data for programs. No worker is shown it.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// The bundle of its worker, by name, path or address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// Keys of other programs; kept as they were.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Issue {
    /// An open task of middling priority.
    pub fn new(id: IssueId, title: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            id,
            title: title.into(),
            description: description.into(),
            issue_type: IssueType::default(),
            priority: Priority::default(),
            status: IssueStatus::Open,
            depends_on: Vec::new(),
            metadata: Map::new(),
            bundle: None,
            extra: Map::new(),
        }
    }
}

fn by_name<S: Serializer>(status: &IssueStatus, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(status.as_str())
}

impl TryFrom<Map<String, Value>> for Issue {
    type Error = InvalidIssue;

    fn try_from(map: Map<String, Value>) -> Result<Self, InvalidIssue> {
        parse::issue(map)
    }
}

/// What kind of work an issue is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
#[non_exhaustive]
pub enum IssueType {
    /// Something to do.
    #[default]
    Task,
    /// Something new.
    Feature,
    /// Something that is wrong.
    Bug,
    /// Something large, that other issues are parts of.
    Epic,
    /// Upkeep.
    Chore,
    /// A type that the project has chosen.
    Own(OwnType),
}

/// The name of a type that a project has chosen: 1 to 64 of `a-z`, `0-9`, `_`, `-`; none of the five.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OwnType(Arc<str>);

/// Longest name of a type, in bytes.
pub const MAX_TYPE_BYTES: usize = 64;

/// A text is no name of a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("issue type `{name}` is no name of a type; use 1 to {MAX_TYPE_BYTES} of a-z, 0-9, `_`, `-`")]
pub struct InvalidIssueType {
    /// Its beginning, control characters escaped.
    name: String,
}

impl IssueType {
    /// Those that every project has.
    pub const ALL: [Self; 5] = [Self::Task, Self::Feature, Self::Bug, Self::Epic, Self::Chore];

    /// The type of this name: one of the five, or one of the project's own.
    pub fn new(name: &str) -> Result<Self, InvalidIssueType> {
        if let Some(known) = Self::ALL.into_iter().find(|one| one.as_str() == name) {
            return Ok(known);
        }
        let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'-');
        if name.is_empty() || name.len() > MAX_TYPE_BYTES || !name.bytes().all(fits) {
            let name: String = name.chars().take(MAX_TYPE_BYTES).collect();
            return Err(InvalidIssueType { name: name.escape_debug().to_string() });
        }
        Ok(Self::Own(OwnType(name.into())))
    }

    /// The name in files.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Task => "task",
            Self::Feature => "feature",
            Self::Bug => "bug",
            Self::Epic => "epic",
            Self::Chore => "chore",
            Self::Own(name) => &name.0,
        }
    }
}

impl fmt::Display for IssueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<Cow<'_, str>> for IssueType {
    type Error = InvalidIssueType;

    fn try_from(name: Cow<'_, str>) -> Result<Self, InvalidIssueType> {
        Self::new(&name)
    }
}

impl From<IssueType> for String {
    fn from(issue_type: IssueType) -> Self {
        issue_type.as_str().to_owned()
    }
}

/// How urgent an issue is: 0 comes first, 4 last, 2 where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u8")]
pub struct Priority(u8);

/// A number is no priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("priority is {0}; give a whole number from 0 (first) to 4 (last)")]
pub struct InvalidPriority(u64);

impl Priority {
    /// The priority of this number, 0 to 4.
    pub fn new(number: u64) -> Result<Self, InvalidPriority> {
        match u8::try_from(number) {
            Ok(small @ 0..=4) => Ok(Self(small)),
            _ => Err(InvalidPriority(number)),
        }
    }

    /// 0 to 4.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(2)
    }
}

impl TryFrom<u64> for Priority {
    type Error = InvalidPriority;

    fn try_from(number: u64) -> Result<Self, InvalidPriority> {
        Self::new(number)
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issue_that_is_read_and_written_keeps_every_key() {
        let text = r#"{"id":"a","title":"T","description":"D","issue_type":"bug","priority":0,"status":"blocked","depends_on":["b"],"metadata":{"n":1.5,"none":null},"bundle":"coder","assignee":null,"created_at":"2026-01-01T00:00:00","later":[1]}"#;
        let issue: Issue = serde_json::from_str(text).unwrap();
        assert_eq!((&issue.issue_type, issue.status), (&IssueType::Bug, IssueStatus::Blocked));
        assert_eq!(serde_json::to_string(&issue).unwrap(), text);
    }

    #[test]
    fn names_are_those_that_are_written() {
        for one in IssueType::ALL {
            assert_eq!(serde_json::to_value(&one).unwrap(), one.as_str());
            assert_eq!(IssueType::new(one.as_str()), Ok(one));
        }
        for one in IssueStatus::ALL {
            let issue: Issue =
                serde_json::from_value(serde_json::json!({"id": "a", "title": "T", "status": one.as_str()}))
                    .unwrap();
            assert_eq!(
                (issue.status, serde_json::to_value(&issue).unwrap()["status"].as_str()),
                (one, Some(one.as_str()))
            );
        }
    }

    #[test]
    fn a_project_may_have_types_of_its_own() {
        let long = "x".repeat(MAX_TYPE_BYTES);
        for name in ["story", "a", "0-9_z", &long] {
            let own: IssueType = serde_json::from_value(name.into()).unwrap();
            assert!(matches!(own, IssueType::Own(_)), "{name}");
            assert_eq!((own.as_str(), serde_json::to_value(&own).unwrap()), (name, name.into()));
        }
        let (longer, bad) = (format!("{long}x"), "a\nb");
        for name in ["", "Story", "a b", "../a", "ä", bad, &longer] {
            let error = serde_json::from_value::<IssueType>(name.into()).unwrap_err().to_string();
            assert!(error.contains("use 1 to 64 of a-z") && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_priority_is_one_of_five() {
        for number in 0..5 {
            assert_eq!(u64::from(Priority::new(number).unwrap().number()), number);
        }
        assert!(Priority::new(5).is_err() && Priority::new(256).is_err());
        assert!(Priority::new(0).unwrap() < Priority::default());
    }
}
