//! Filters of events, attacked with damaged texts.

use std::sync::Arc;

use amplifier_core::{CustomName, EventId, EventType, NewEvent, Payload, SessionEvent, SessionId, Timestamp};
use amplifier_fuzz::fuzz;
use serde_json::{Value, json};

use super::EventFilter;

const FILTERS: &[&str] = &[
    "work:done,work:*",
    "session:completed source=s-1",
    "* tree=root data.status=ok",
    "deploy.** data.findings.0=\"x\" data.n=1.0",
    "tool:pre, tool:post",
    "a data.ok=true data.none=null",
];
const PARTS: &[&str] = &[
    ",",
    " ",
    "*",
    "**",
    ":",
    ".",
    "source=",
    "tree=",
    "data.",
    "=",
    "\"",
    "true",
    "1e3",
    "é",
    "\n",
    "\u{1b}[31m",
    "session:end",
    "s-1",
    "..",
    "data.a.b=1",
    "18446744073709551616",
    "\\",
];
const NAMES: &[&str] = &["work:done", "deploy.a.b", "a", "x-y"];

fn event(name: &str, source: &str, data: &Value) -> Option<SessionEvent> {
    let event_type = EventType::kernel(name).or_else(|| CustomName::new(name).ok().map(EventType::Custom))?;
    let new = NewEvent::of(event_type, Payload::encode(data).unwrap());
    let new = new.from_session(SessionId::new(source).ok()?);
    Some(SessionEvent::seal(
        new,
        EventId(uuid::Uuid::nil()),
        Some(1),
        Arc::from("/p"),
        Timestamp::from_micros(0),
    ))
}

#[test]
fn event_filters() {
    fuzz!(|script| {
        let text = script.text(FILTERS, PARTS);
        let filter = match EventFilter::try_from(text.as_str()) {
            Ok(filter) => filter,
            Err(error) => return assert!(!error.to_string().contains(char::is_control), "{error:?}"),
        };
        let word = script.text(&["ok", "x", "1", "true"], PARTS);
        let data =
            json!({"status": word, "findings": [word, 1], "n": 1, "ok": true, "a": {"b": 1}, "none": null});
        let Some(event) = event(script.one_of(NAMES), script.one_of(&["s-1", "root", "other"]), &data) else {
            return;
        };
        let matches = filter.matches(&event);
        // A filter that is written in another order is the same filter.
        let mut words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
        let is_plain = text.chars().all(|c| c == ' ' || c != '"' && !c.is_whitespace());
        if is_plain && words.len() > 1 {
            words[1..].reverse();
            if let Ok(other) = EventFilter::try_from(words.join(" ").as_str()) {
                assert_eq!(other.matches(&event), matches, "{text}");
            }
        }
        // Each further condition lets fewer through.
        let narrower = filter.clone().field("status", word.as_str()).unwrap();
        assert!(!narrower.matches(&event) || matches);
        assert_eq!(narrower.matches(&event), matches && word == data["status"]);
        let elsewhere = filter.clone().field("absent", "x").unwrap();
        assert!(!elsewhere.matches(&event));
    });
}
