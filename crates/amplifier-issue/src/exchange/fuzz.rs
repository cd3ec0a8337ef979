//! Files of issues, attacked with damaged lines.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use amplifier_core::clock::BoxFuture;
use amplifier_core::{Clock, EventId, Ids, MonoTime, NewEvent, SessionEvent, Timestamp};
use amplifier_fuzz::fuzz;
use amplifier_store::MemoryStore;
use serde_json::Value;
use uuid::{Builder, Uuid};

use super::{Import, Shape};
use crate::{Actor, IssueList, IssueQueue};

const ISSUES: &[&str] = &[
    "{\"id\":\"aa-1\",\"title\":\"First\",\"description\":\"Do it\",\"status\":\"completed\",\"priority\":1,\"issue_type\":\"feature\",\"assignee\":\"ada\",\"created_at\":\"2026-01-05T10:00:00.123456Z\",\"updated_at\":\"2026-01-06T10:00:00\",\"closed_at\":\"2026-01-06T11:00:00Z\",\"parent_id\":null,\"metadata\":{\"pr\":7}}\n\
     {\"id\":\"bb-2\",\"title\":\"Second\",\"status\":\"in_progress\",\"priority\":2,\"parent_id\":\"aa-1\",\"discovered_from\":\"aa-1\",\"labels\":[\"x\"],\"depends_on\":[\"aa-1\"]}\n",
    "{\"id\":\"cc-3\",\"title\":\"Third\",\"status\":\"pending_user_input\",\"priority\":0,\"issue_type\":\"bug\",\"blocking_notes\":\"Which?\",\"question\":\"q\",\"links\":[{\"to\":\"cc-3\",\"kind\":\"related\"}]}\n\n{\"title\":\"no id\",\"result\":\"r\",\"retry_count\":2}\n",
    "{\"id\":\"d\",\"title\":\"D\",\"status\":\"blocked\",\"reason\":\"why\",\"bundle\":\"b\",\"depends_on\":[\"e\"]}\n{\"id\":\"e\",\"title\":\"E\",\"status\":\"closed\",\"answer\":\"a\",\"answered_by\":\"x\"}\n",
];
const DEPENDENCIES: &[&str] = &[
    "{\"from_id\": \"bb-2\", \"to_id\": \"aa-1\", \"dep_type\": \"blocks\", \"created_at\": \"2026-01-05T10:00:00\"}\n{\"from_id\":\"cc-3\",\"to_id\":\"cc-3\",\"dep_type\":\"related\"}\n",
    "",
];
const EVENTS: &[&str] = &[
    "{\"id\": \"e1\", \"issue_id\": \"aa-1\", \"event_type\": \"created\", \"actor\": \"assistant\", \"changes\": {\"title\": \"First\"}, \"timestamp\": \"2026-01-05T10:00:00\"}\n",
    "",
];
const PARTS: &[&str] = &[
    "\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "-1",
    "1e3",
    "4",
    "\"id\":",
    "\"aa-1\"",
    "\"../x\"",
    "\"title\":\"\"",
    "\"status\":",
    "\"open\"",
    "\"closed\"",
    "\"depends_on\":",
    "\"metadata\":",
    "\"priority\":",
    "\"created_at\":",
    "\"2026-02-30T00:00:00\"",
    "é",
    "\\u0000",
    "\u{feff}",
    "garbage\n",
    "\"links\":[]",
    "\"extra\":{\"a\":1}",
    " ",
];

/// A clock that stands, and ids that count.
#[derive(Debug, Default)]
struct Still(AtomicU64);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_795_000_000_000_000)
    }
    fn monotonic(&self) -> MonoTime {
        MonoTime::from_origin(Duration::ZERO)
    }
    fn sleep_until(&self, _deadline: MonoTime) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

impl Ids for Still {
    fn v7(&self, _now: Timestamp) -> Uuid {
        self.v4()
    }
    fn v4(&self) -> Uuid {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Builder::from_random_bytes(bytes).into_uuid()
    }
}

fn queue() -> IssueQueue {
    let still = Arc::new(Still::default());
    let store = Arc::new(MemoryStore::new(Arc::clone(&still) as Arc<dyn Clock>, still.as_ref()));
    let ids = Arc::clone(&still);
    let seal = move |event: NewEvent| {
        let now = ids.now();
        Ok(SessionEvent::seal(event, EventId(ids.v4()), None, Arc::from("/p"), now))
    };
    let (clock, ids) = (Arc::clone(&still) as Arc<dyn Clock>, still as Arc<dyn Ids>);
    IssueQueue::new(store, seal, clock, ids, Actor::new("ada"))
}

/// All issues of a queue in our own shape, without the time of the last change.
async fn exported(queue: &IssueQueue) -> Vec<Value> {
    let mut lines = Vec::new();
    let mut after = 0;
    while let Some(page) = queue.export(Shape::Own, after, 100).await.unwrap() {
        for line in page.issues.lines() {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().shift_remove("updated_at");
            lines.push(line);
        }
        after = page.after;
    }
    lines
}

#[test]
fn issue_files() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    fuzz!(|script| {
        let text = script.text(ISSUES, PARTS);
        if let Ok(list) = IssueList::parse(&text, Path::new("i.jsonl")) {
            // In their order: each after all that it depends on. What a done one depended on does not matter.
            let mut seen = Vec::new();
            for issue in list.issues() {
                let is_after_all = issue.depends_on.iter().all(|on| seen.contains(&on));
                assert!(is_after_all || issue.status.is_done(), "{text}");
                seen.push(&issue.id);
            }
        }
        let beside = script.coin().then(|| (script.text(DEPENDENCIES, PARTS), "d.jsonl".into()));
        let events = script.coin().then(|| (script.text(EVENTS, PARTS), "e.jsonl".into()));
        let Ok(import) = Import::parse((text.clone(), "i.jsonl".into()), beside, events) else { return };
        let filled =
            text.trim_start_matches('\u{feff}').lines().filter(|line| !line.trim().is_empty()).count();
        assert_eq!(import.issues.len(), filled, "no line is lost");
        runtime.block_on(async {
            let stage = queue();
            if stage.open_many(&import.issues).await.is_err() {
                return;
            }
            let first = exported(&stage).await;
            assert_eq!(first.len(), filled);
            let lines: String = first.iter().map(|line| format!("{line}\n")).collect();
            let again = Import::parse((lines.clone(), "o.jsonl".into()), None, None)
                .unwrap_or_else(|error| panic!("{error}\n{lines}"));
            let other = queue();
            other.open_many(&again.issues).await.unwrap_or_else(|error| panic!("{error}\n{lines}"));
            assert_eq!(exported(&other).await, first);
        });
    });
}
