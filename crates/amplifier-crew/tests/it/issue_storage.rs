//! `ForemanSessionStorage`: the contract, what it adds, and what it leaves alone.

use std::sync::Arc;

use amplifier_core::{Activation, Clock, IssueId, Message, SessionId, Timestamp, ToolCall};
use amplifier_crew::ForemanSessionStorage;
use amplifier_foundation::redact::Redactor;
use amplifier_foundation::storage::{MemoryStorage, SessionMetadata, SessionStorage, contract};
use serde_json::{Value, json};

use crate::place::{Place, described, id};

/// A clock that stands still.
#[derive(Debug)]
struct Still;

const NOW: Timestamp = Timestamp::from_micros(1_767_323_045_678_901);
const NOW_TEXT: &str = "2026-01-02T03:04:05.678901Z";

impl Clock for Still {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn monotonic(&self) -> amplifier_core::MonoTime {
        amplifier_core::MonoTime::default()
    }

    fn sleep_until(&self, _: amplifier_core::MonoTime) -> amplifier_core::clock::BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

fn foreman(below: Arc<dyn SessionStorage>) -> ForemanSessionStorage {
    ForemanSessionStorage::new(below, IssueId::new("login").unwrap(), Arc::new(Still))
}

/// A conversation with a message that has a time, one that brings one of its own, and some without.
fn conversation() -> Vec<Arc<Message>> {
    let call = ToolCall::new("c1", "bash", json!({"command": "ls", "timeout": null}));
    let mut first = Message::user("look around");
    first.stamp(Timestamp::from_micros(1_767_225_600_000_000));
    let mut asking = Message::assistant("");
    asking.tool_calls = vec![call.clone()];
    let mut result = Message::tool_result(&call, "a.txt", false);
    result.extra.insert("timestamp".into(), json!("2025-12-31T23:59:59.123456+00:00"));
    [first, asking, result, Message::assistant("one file")].map(Arc::new).to_vec()
}

async fn write(storage: &dyn SessionStorage, id: &SessionId, metadata: &Arc<SessionMetadata>) {
    storage.create(id, metadata).await.unwrap();
    storage.append(id, Activation::FIRST, &conversation()).await.unwrap();
    let mut ended = Arc::clone(metadata);
    Arc::make_mut(&mut ended).turn_count = Some(1);
    storage.describe(id, Activation::FIRST, &ended).await.unwrap();
    storage.close(id).await.unwrap();
}

fn files(place: &Place, id: &SessionId) -> [String; 2] {
    let folder = place.paths().session(id);
    ["transcript.jsonl", "metadata.json"].map(|name| std::fs::read_to_string(folder.join(name)).unwrap())
}

#[tokio::test]
async fn the_foremans_storage_keeps_the_contract() {
    let _apart = crate::PROGRAMS.write().await;
    let memory =
        || Arc::new(foreman(Arc::new(MemoryStorage::new(Redactor::default())))) as Arc<dyn SessionStorage>;
    assert_eq!(contract::contract(memory).await.unwrap().skipped, [""; 0]);
    let places = std::sync::Mutex::new(Vec::new());
    let on_disk = || {
        let place = Place::new();
        let storage = Arc::new(foreman(Arc::new(place.storage())));
        places.lock().unwrap().push(place);
        storage as Arc<dyn SessionStorage>
    };
    assert_eq!(contract::contract(on_disk).await.unwrap().skipped, [""; 0]);
}

#[tokio::test]
async fn it_adds_the_issue_and_a_time_to_each_message_and_nothing_else() {
    let _apart = crate::PROGRAMS.write().await;
    let (plain, with) = (Place::new(), Place::new());
    let (session, metadata) = (id("s"), described(&id("s")));
    write(&plain.storage(), &session, &metadata).await;
    write(&foreman(Arc::new(with.storage())), &session, &metadata).await;
    let ([plain_lines, plain_metadata], [lines, metadata]) =
        (files(&plain, &session), files(&with, &session));
    let added = [Some("2026-01-01T00:00:00.000000Z"), Some(NOW_TEXT), None, Some(NOW_TEXT)];
    assert_eq!(lines.lines().count(), added.len());
    for ((plain, line), added) in plain_lines.lines().zip(lines.lines()).zip(added) {
        let end = added.map_or_else(|| "}".to_owned(), |time| format!(",\"timestamp\":\"{time}\"}}"));
        assert_eq!(line, format!("{}{end}", plain.strip_suffix('}').unwrap()));
    }
    let issue = "  \"issue_id\": \"login\"\n}\n";
    let expect = format!("{},\n{issue}", plain_metadata.trim_end().strip_suffix("\n}").unwrap());
    assert_eq!(metadata, expect);
}

#[tokio::test]
async fn a_session_that_a_worker_spawns_belongs_to_the_issue_too() {
    let _apart = crate::PROGRAMS.write().await;
    let place = Place::new();
    let storage = foreman(Arc::new(place.storage()));
    let (worker, child) = (id("worker"), id("0000000000000000-0123456789abcdef_explorer"));
    write(&storage, &worker, &described(&worker)).await;
    let mut of_child = described(&child);
    let filled = Arc::make_mut(&mut of_child);
    filled.parent_id = Some(worker);
    // What a bundle or a worker says itself does not count.
    filled.extra.insert("issue_id".into(), json!("another"));
    write(&storage, &child, &of_child).await;
    let metadata: Value = serde_json::from_str(&files(&place, &child)[1]).unwrap();
    assert_eq!((&metadata["issue_id"], &metadata["parent_id"]), (&json!("login"), &json!("worker")));
}

#[tokio::test]
async fn a_worker_can_go_on_without_the_foreman_and_keeps_its_issue() {
    let _apart = crate::PROGRAMS.write().await;
    let place = Place::new();
    let session = id("s");
    write(&foreman(Arc::new(place.storage())), &session, &described(&session)).await;
    let storage = place.storage();
    let mut stored = storage.open(&session, Activation(2)).await.unwrap();
    assert_eq!(stored.metadata.extra["issue_id"], "login");
    assert_eq!(stored.transcript[0].extra["timestamp"], "2026-01-01T00:00:00.000000Z");
    stored.metadata.amplifier.activation = Activation(2);
    storage.describe(&session, Activation(2), &Arc::new(stored.metadata)).await.unwrap();
    storage.close(&session).await.unwrap();
    let metadata: Value = serde_json::from_str(&files(&place, &session)[1]).unwrap();
    assert_eq!(metadata["issue_id"], "login");
}
