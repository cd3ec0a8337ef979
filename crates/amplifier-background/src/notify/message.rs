//! What is delivered: an event, in a line for a person and in full for a program.

use std::sync::Arc;

use amplifier_core::{EventType, SessionEvent};
use amplifier_foundation::router::CloudEvent;
use serde_json::{Map, Value};

/// Longest summary, in bytes.
const MAX_SUMMARY_BYTES: usize = 300;

/// An event on its way to somebody.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Notification {
    /// The event.
    pub event: Arc<SessionEvent>,
    /// Which try this is, from 1, since the process was started.
    pub attempt: u32,
    /// What happened, in one line of 300 bytes at most, without control characters.
    pub summary: String,
    /// The event as a CloudEvent in JSON, on one line.
    pub json: String,
}

impl Notification {
    /// The first try of an event. `None`: its data is no JSON.
    pub fn of(event: &Arc<SessionEvent>) -> Option<Self> {
        let json = CloudEvent::of(event).to_line().ok()?;
        Some(Self { event: Arc::clone(event), attempt: 1, summary: summary(event), json })
    }
}

/// What happened, in one line.
fn summary(event: &SessionEvent) -> String {
    let said: Map<String, Value> = event.payload.decode().unwrap_or_default();
    let text = |names: &[&str]| {
        names.iter().find_map(|name| match said.get(*name)? {
            Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
            Value::Object(inner) => Some(inner.get("message")?.as_str()?.to_owned()),
            _ => None,
        })
    };
    let what = match &event.event_type {
        EventType::SessionError => "session failed",
        EventType::SessionCompleted => "session completed",
        EventType::RunDead => "run given up",
        EventType::BackgroundError => "trigger failed",
        EventType::BackgroundSpawnError => "background session failed",
        EventType::BackgroundSpawnCompleted => "background session completed",
        EventType::IssueQuestion => "question",
        other => other.name(),
    };
    let who = text(&["name", "session_name", "title", "issue_id", "session_id"]);
    let who = who.or_else(|| event.source.as_ref().map(ToString::to_string));
    let why = text(&["error", "question", "reason", "message", "summary"])
        .or_else(|| Some(said.get("outcome")?.as_str()?.to_owned()));
    let parts: Vec<String> = [Some(what.to_owned()), who, why].into_iter().flatten().collect();
    tidy(&parts.join(": "), MAX_SUMMARY_BYTES)
}

/// A text on one line, of so many bytes at most.
pub(super) fn tidy(text: &str, most: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    if text.len() <= most {
        return text.chars().map(clean).collect();
    }
    let mut end = most.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().map(clean).chain(['…']).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use amplifier_core::{NewEvent, Payload, Timestamp};
    use serde_json::json;

    fn event(kind: EventType, data: Value) -> Arc<SessionEvent> {
        let id = "018f3e9a-0000-7000-8000-000000000001".parse().unwrap();
        let new = NewEvent::of(kind, Payload::from(data));
        Arc::new(SessionEvent::seal(new, id, Some(1), Arc::from("/p"), Timestamp::from_micros(0)))
    }

    pub(crate) fn notification(data: Value) -> Notification {
        let name = amplifier_core::CustomName::new("work:done").unwrap();
        let mut notification = Notification::of(&event(EventType::Custom(name), data)).unwrap();
        notification.attempt = 3;
        notification
    }

    #[test]
    fn a_summary_says_what_happened_to_whom_and_why() {
        for (kind, data, expect) in [
            (
                EventType::SessionError,
                json!({"session_id": "s-1", "name": "night", "outcome": "failed", "error": {"kind": "x", "message": "no\nluck"}}),
                "session failed: night: no luck",
            ),
            (
                EventType::SessionError,
                json!({"session_id": "s-1", "outcome": "timed_out"}),
                "session failed: s-1: timed_out",
            ),
            (
                EventType::RunDead,
                json!({"session_name": "night", "error": "gone"}),
                "run given up: night: gone",
            ),
            (
                EventType::BackgroundError,
                json!({"name": "night", "error": "gone"}),
                "trigger failed: night: gone",
            ),
            (EventType::IssueQuestion, json!({"title": "a", "question": "which?"}), "question: a: which?"),
            (EventType::RunDead, json!(7), "run given up"),
        ] {
            assert_eq!(summary(&event(kind, data)), expect);
        }
        let long = summary(&event(EventType::RunDead, json!({"error": "ä".repeat(400)})));
        assert!(long.len() <= MAX_SUMMARY_BYTES && long.ends_with('…'));
    }
}
