//! One JSON object becomes one issue.
//!
//! Guarantees: all that is wrong with an object is told at once, each with what to write instead.
//! `null` counts as absent. Numbers count as ids too: people write `"id": 1`.
//! Never here: files, and what issues have to do with one another.

use std::fmt;

use amplifier_bundle::bundle::Code;
use amplifier_bundle::bundle::parse::nearest;
use amplifier_core::IssueId;
use amplifier_store::IssueStatus;
use serde_json::{Map, Value};

use crate::model::{Issue, IssueType, Priority};

/// Every key that means something here.
const KEYS: [&str; 9] =
    ["id", "title", "description", "issue_type", "priority", "status", "depends_on", "metadata", "bundle"];

/// What other trackers call some of them.
const ELSEWHERE: [(&str, &str); 3] =
    [("body", "description"), ("type", "issue_type"), ("dependencies", "depends_on")];

/// Longest part of a wrong value that is shown, in characters.
const MAX_SHOWN: usize = 40;

/// Why an object is no issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidIssue {
    /// At least one.
    pub(crate) faults: Vec<Fault>,
}

/// One thing that is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) help: String,
}

impl std::error::Error for InvalidIssue {}

impl fmt::Display for InvalidIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Fault { message, help, .. }) in self.faults.iter().enumerate() {
            let join = if index == 0 { "" } else { ". " };
            write!(f, "{join}{message}; {help}")?;
        }
        Ok(())
    }
}

/// The issue of an object.
pub(crate) fn issue(map: Map<String, Value>) -> Result<Issue, InvalidIssue> {
    let mut fields = Fields { map, faults: Vec::new() };
    let id = fields.id();
    let title = fields.title();
    let description = fields.text("description", "write the text in quotes").unwrap_or_default();
    let issue_type = fields.issue_type();
    let priority = fields.priority();
    let status = fields.status();
    let depends_on = fields.depends_on();
    let metadata = fields.metadata();
    let bundle = fields.text("bundle", "name a bundle, its path or its address");
    let (Some(id), true) = (id, fields.faults.is_empty()) else {
        return Err(InvalidIssue { faults: fields.faults });
    };
    Ok(Issue {
        issue_type: issue_type.unwrap_or_default(),
        priority: priority.unwrap_or_default(),
        status: status.unwrap_or(IssueStatus::Open),
        depends_on,
        metadata,
        bundle,
        extra: fields.map,
        ..Issue::new(id, title, description)
    })
}

/// The id that an object names, whatever else is wrong with it.
pub(crate) fn id_of(map: &Map<String, Value>) -> Option<IssueId> {
    map.get("id").and_then(as_id).and_then(Result::ok)
}

/// Keys that were kept and are likely to be meant for one that means something.
pub(crate) fn misspelled(issue: &Issue) -> impl Iterator<Item = (&str, &'static str)> {
    let elsewhere = |key: &str| ELSEWHERE.iter().find(|(name, _)| *name == key).map(|(_, meant)| *meant);
    let meant = move |key: &str| elsewhere(key).or_else(|| nearest(key, &KEYS));
    issue.extra.keys().filter_map(move |key| Some((key.as_str(), meant(key)?)))
}

fn as_id(value: &Value) -> Option<Result<IssueId, String>> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_u64() => number.to_string(),
        _ => return None,
    };
    Some(IssueId::new(text).map_err(|error| error.to_string()))
}

/// What is left of an object, and what was wrong so far.
struct Fields {
    map: Map<String, Value>,
    faults: Vec<Fault>,
}

impl Fields {
    fn fault(&mut self, code: Code, message: impl Into<String>, help: impl Into<String>) {
        self.faults.push(Fault { code, message: message.into(), help: help.into() });
    }

    fn wrong(&mut self, key: &str, found: &Value, help: impl Into<String>) {
        let code = if found.is_string() || found.is_number() { Code::BadValue } else { Code::WrongType };
        self.fault(code, format!("`{key}` is {}", shown(found)), help);
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.map.shift_remove(key).filter(|value| !value.is_null())
    }

    fn text(&mut self, key: &str, help: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            other => {
                self.wrong(key, &other, help);
                None
            }
        }
    }

    fn id(&mut self) -> Option<IssueId> {
        let Some(value) = self.take("id") else {
            self.fault(Code::Missing, "`id` is missing", "name the issue");
            return None;
        };
        match as_id(&value) {
            Some(Ok(id)) => return Some(id),
            // Says itself what to do.
            Some(Err(error)) => match error.split_once("; ") {
                Some((message, help)) => self.fault(Code::BadValue, message, help),
                None => self.fault(Code::BadValue, error, "choose another one"),
            },
            None => self.wrong("id", &value, "give a text or a number"),
        }
        None
    }

    fn title(&mut self) -> String {
        let help = "say in one line what is to be done";
        let faults = self.faults.len();
        let title = self.text("title", help);
        if title.as_ref().is_none_or(|title| title.trim().is_empty()) && self.faults.len() == faults {
            let message = if title.is_some() { "`title` is empty" } else { "`title` is missing" };
            self.fault(Code::Missing, message, help);
        }
        title.unwrap_or_default()
    }

    fn issue_type(&mut self) -> Option<IssueType> {
        let value = self.take("issue_type")?;
        let found = value.as_str().and_then(|name| IssueType::new(name).ok());
        if found.is_none() {
            let known = IssueType::ALL.map(|one| one.as_str().to_owned()).join(", ");
            self.wrong("issue_type", &value, format!("give {known} or a name of your own of a-z, 0-9, _, -"));
        }
        found
    }

    fn status(&mut self) -> Option<IssueStatus> {
        let value = self.take("status")?;
        let found = value.as_str().and_then(IssueStatus::from_name);
        if found.is_none() {
            let names = IssueStatus::ALL.map(IssueStatus::as_str);
            let (last, first) = names.split_last()?;
            self.wrong("status", &value, format!("give {} or {last}", first.join(", ")));
        }
        found
    }

    fn priority(&mut self) -> Option<Priority> {
        let value = self.take("priority")?;
        let found = value.as_u64().and_then(|number| Priority::new(number).ok());
        if found.is_none() {
            self.wrong("priority", &value, "give a whole number from 0 (first) to 4 (last)");
        }
        found
    }

    fn depends_on(&mut self) -> Vec<IssueId> {
        let Some(value) = self.take("depends_on") else { return Vec::new() };
        let Value::Array(entries) = value else {
            self.wrong("depends_on", &value, "give a list of ids, also for one");
            return Vec::new();
        };
        let mut ids = Vec::with_capacity(entries.len());
        for entry in &entries {
            match as_id(entry) {
                Some(Ok(id)) if ids.contains(&id) => {}
                Some(Ok(id)) => ids.push(id),
                _ => {
                    let message = format!("`depends_on` holds {}, which is no id", shown(entry));
                    self.fault(Code::BadValue, message, "give ids of issues");
                }
            }
        }
        ids
    }

    fn metadata(&mut self) -> Map<String, Value> {
        match self.take("metadata") {
            None => Map::new(),
            Some(Value::Object(map)) => map,
            Some(other) => {
                self.wrong("metadata", &other, "give an object");
                Map::new()
            }
        }
    }
}

/// A value as it is told: short, in one line.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) if text.chars().count() > MAX_SHOWN => {
            let head: String = text.chars().take(MAX_SHOWN).collect();
            format!("\"{}…\"", head.escape_debug())
        }
        Value::String(text) => format!("\"{}\"", text.escape_debug()),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(value: Value) -> Result<Issue, InvalidIssue> {
        let Value::Object(map) = value else { panic!("an object is wanted") };
        issue(map)
    }

    #[test]
    fn what_is_left_out_or_null_has_its_default() {
        let issue = parsed(json!({"id": 7, "title": "T", "status": null, "depends_on": null})).unwrap();
        assert_eq!(issue, Issue::new(IssueId::new("7").unwrap(), "T", ""));
        assert_eq!(issue.priority.number(), 2);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_with_what_to_write() {
        let error = parsed(json!({
            "id": "a/b", "title": " ", "description": 1, "issue_type": "A story", "priority": "high",
            "status": ["x"], "depends_on": "b", "metadata": 3, "bundle": {}
        }));
        let expect = "issue id `a/b` holds `/`; use letters, digits, `-`, `_`, `.`, `:`. \
            `title` is empty; say in one line what is to be done. \
            `description` is 1; write the text in quotes. \
            `issue_type` is \"A story\"; give task, feature, bug, epic, chore or a name of your own of a-z, 0-9, _, -. \
            `priority` is \"high\"; give a whole number from 0 (first) to 4 (last). \
            `status` is a list; give open, in_progress, blocked, pending_user_input, completed, closed or failed. \
            `depends_on` is \"b\"; give a list of ids, also for one. \
            `metadata` is 3; give an object. \
            `bundle` is an object; name a bundle, its path or its address";
        assert_eq!(error.unwrap_err().to_string(), expect);
    }

    #[test]
    fn wrong_values_are_told_in_short() {
        let check = |value: Value, expect: &str| {
            let error = parsed(value).unwrap_err().to_string();
            assert!(error.starts_with(expect), "{error}");
        };
        check(json!({"title": "T"}), "`id` is missing; name the issue");
        check(json!({"id": -1, "title": "T"}), "`id` is -1; give a text or a number");
        check(json!({"id": "a"}), "`title` is missing");
        check(json!({"id": "a", "title": ["T"]}), "`title` is a list; say");
        check(json!({"id": "a", "title": "T", "priority": 5}), "`priority` is 5; give");
        check(json!({"id": "a", "title": "T", "priority": 1.5}), "`priority` is 1.5; give");
        check(
            json!({"id": "a", "title": "T", "depends_on": ["b", [], "."]}),
            "`depends_on` holds a list, which is no id; give ids of issues. `depends_on` holds \".\"",
        );
        let long = format!("`status` is \"{}…\"; give", "\\n".repeat(40));
        check(json!({"id": "a", "title": "T", "status": "\n".repeat(41)}), &long);
    }

    #[test]
    fn a_dependency_that_is_named_twice_counts_once() {
        let issue = parsed(json!({"id": "a", "title": "T", "depends_on": ["b", 1, "b", "1"]})).unwrap();
        let ids: Vec<&str> = issue.depends_on.iter().map(IssueId::as_str).collect();
        assert_eq!(ids, ["b", "1"]);
    }

    #[test]
    fn keys_that_look_like_one_that_counts_are_noticed() {
        let issue = parsed(json!({"id": "a", "title": "T", "depend_on": [], "assignee": "x", "body": "b",
            "created_at": "x", "updated_at": "x", "closed_at": null, "parent_id": null, "labels": []}));
        let issue = issue.unwrap();
        let expect = [("depend_on", "depends_on"), ("body", "description")];
        assert_eq!(misspelled(&issue).collect::<Vec<_>>(), expect);
    }
}
