//! What every session storage promises, as a suite that any of them can be run against.
//!
//! Guarantees: each clause works on a fresh storage and says in its name what it checks. A
//! clause that needs an operation that the storage does not have (`Unsupported`) is skipped
//! and reported so.
//! Never here: durability across a crash, which only the makers of a storage can test.

use std::sync::Arc;

use amplifier_core::clock::BoxFuture;
use amplifier_core::{Activation, Message, SessionId, Timestamp, ToolCall};
use serde_json::json;

use super::{SessionMetadata, SessionQuery, SessionStorage, StorageError, delete_tree, fork, resolve_prefix};

/// What the suite has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContractReport {
    /// The clauses that hold.
    pub held: Vec<&'static str>,
    /// The clauses that need an operation that the storage does not have.
    pub skipped: Vec<&'static str>,
}

/// A clause that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the storage breaks its contract: {clause}: {found}")]
#[non_exhaustive]
pub struct ContractBreach {
    /// What should hold.
    pub clause: &'static str,
    /// What was found.
    pub found: String,
}

enum Stop {
    Skip,
    Breach(String),
}

type Check = Result<(), Stop>;
type Clause = for<'a> fn(&'a dyn SessionStorage) -> BoxFuture<'a, Check>;

impl From<StorageError> for Stop {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Unsupported { .. } => Self::Skip,
            error => Self::Breach(error.to_string()),
        }
    }
}

impl From<amplifier_core::id::InvalidId> for Stop {
    fn from(error: amplifier_core::id::InvalidId) -> Self {
        Self::Breach(error.to_string())
    }
}

const CLAUSES: &[(&str, Clause)] = &[
    ("messages are loaded as they were appended", |s| Box::pin(messages_survive(s))),
    ("prompts are not stored", |s| Box::pin(prompts_are_left_out(s))),
    ("metadata is loaded as it was described, unknown keys included", |s| Box::pin(metadata_survives(s))),
    ("secrets in metadata are redacted", |s| Box::pin(secrets_are_redacted(s))),
    ("a session is created once", |s| Box::pin(created_once(s))),
    ("what is absent is not found", |s| Box::pin(absent_is_not_found(s))),
    ("a second writer is refused until the first closes", |s| Box::pin(one_writer(s))),
    ("who has not opened a session may not write", |s| Box::pin(only_who_opened_writes(s))),
    ("an older activation is refused", |s| Box::pin(older_activations_are_fenced(s))),
    ("a session can be loaded while it is open", |s| Box::pin(loads_while_open(s))),
    ("appends at the same time all arrive, each whole", |s| Box::pin(concurrent_appends(s))),
    ("a fork begins with the turns asked for and leaves its source alone", |s| Box::pin(forks(s))),
    ("a list tells lineage, and a limit limits", |s| Box::pin(lists(s))),
    ("the beginning of an id finds one session or none", |s| Box::pin(prefixes(s))),
    ("a session that is open is not deleted", |s| Box::pin(open_is_not_deleted(s))),
    ("what did not begin is taken back", |s| Box::pin(what_did_not_begin_is_taken_back(s))),
    ("a tree is deleted whole, forks stay", |s| Box::pin(trees_are_deleted(s))),
];

/// Runs every clause, each on a storage that `make` makes: fresh and empty.
pub async fn contract(make: impl Fn() -> Arc<dyn SessionStorage>) -> Result<ContractReport, ContractBreach> {
    let mut report = ContractReport::default();
    for (clause, check) in CLAUSES {
        let storage = make();
        match check(storage.as_ref()).await {
            Ok(()) => report.held.push(clause),
            Err(Stop::Skip) => report.skipped.push(clause),
            Err(Stop::Breach(found)) => return Err(ContractBreach { clause, found }),
        }
    }
    Ok(report)
}

fn ensure(holds: bool, what: impl Into<String>) -> Check {
    if holds { Ok(()) } else { Err(Stop::Breach(what.into())) }
}

/// Checks for one kind of refusal; `Unsupported` skips the clause.
fn refused<T>(result: Result<T, StorageError>, wanted: &str, fits: fn(&StorageError) -> bool) -> Check {
    match result {
        Ok(_) => Err(Stop::Breach(format!("expected {wanted}, found success"))),
        Err(StorageError::Unsupported { .. }) => Err(Stop::Skip),
        Err(error) => ensure(fits(&error), format!("expected {wanted}, found: {error}")),
    }
}

fn id(text: &str) -> Result<SessionId, Stop> {
    Ok(SessionId::new(text)?)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_767_225_600_000_000 + seconds * 1_000_000)
}

fn described(id: &SessionId) -> Arc<SessionMetadata> {
    let mut metadata = SessionMetadata::new(id.clone(), at(0));
    metadata.bundle = Some("hello".into());
    Arc::new(metadata)
}

fn conversation() -> Vec<Arc<Message>> {
    let call = ToolCall::new("c1", "bash", json!({ "command": "ls", "timeout": null, "n": 0.1 }));
    let mut asking = Message::assistant("let me look\n\u{2028}\"ü\" \\ \0");
    asking.tool_calls = vec![call.clone()];
    let mut first = Message::user("what is here?");
    first.stamp(at(1));
    first.extra.insert("later".into(), json!({ "a": [1, null] }));
    let result = Message::tool_result(&call, "a.txt", false);
    [first, asking, result, Message::assistant("one file"), Message::user("thanks")].map(Arc::new).to_vec()
}

async fn created(storage: &dyn SessionStorage, name: &str) -> Result<SessionId, Stop> {
    let id = id(name)?;
    storage.create(&id, &described(&id)).await?;
    Ok(id)
}

async fn closed(
    storage: &dyn SessionStorage,
    name: &str,
    parent: Option<&SessionId>,
) -> Result<SessionId, Stop> {
    let id = id(name)?;
    let mut metadata = SessionMetadata::clone(&described(&id));
    metadata.parent_id = parent.cloned();
    storage.create(&id, &Arc::new(metadata)).await?;
    storage.close(&id).await?;
    Ok(id)
}

async fn messages_survive(storage: &dyn SessionStorage) -> Check {
    let id = created(storage, "s").await?;
    let messages = conversation();
    let first = storage.append(&id, Activation::FIRST, &messages[..1]).await?;
    ensure(first.0 == 1, format!("revision {} after one message", first.0))?;
    let rest = storage.append(&id, Activation::FIRST, &messages[1..]).await?;
    ensure(rest.0 == messages.len() as u64, format!("revision {} after five messages", rest.0))?;
    storage.close(&id).await?;
    let loaded = storage.load(&id).await?;
    ensure(loaded.transcript == messages, "the loaded messages differ")?;
    ensure(loaded.warnings.is_empty(), format!("warnings: {:?}", loaded.warnings))?;
    let opened = storage.open(&id, Activation(2)).await?;
    ensure(opened.transcript == messages, "the opened messages differ")?;
    ensure(opened.activation == Activation(2), "the activation is not the one asked for")?;
    let more = storage.append(&id, Activation(2), &messages[..1]).await?;
    ensure(more.0 == messages.len() as u64 + 1, format!("revision {} after a resume", more.0))
}

async fn prompts_are_left_out(storage: &dyn SessionStorage) -> Check {
    let id = created(storage, "s").await?;
    let prompt = Arc::new(Message::system("you are"));
    let nothing = storage.append(&id, Activation::FIRST, &[Arc::clone(&prompt)]).await?;
    ensure(nothing.0 == 0, format!("revision {} after a prompt alone", nothing.0))?;
    let one = storage.append(&id, Activation::FIRST, &[prompt, Arc::new(Message::user("hi"))]).await?;
    ensure(one.0 == 1, format!("revision {} after a prompt and a message", one.0))?;
    let loaded = storage.load(&id).await?;
    ensure(loaded.transcript.len() == 1, format!("{} messages are stored", loaded.transcript.len()))
}

async fn metadata_survives(storage: &dyn SessionStorage) -> Check {
    let id = created(storage, "s").await?;
    let mut metadata = storage.load(&id).await?.metadata;
    ensure(metadata == *described(&id), "the metadata of `create` differs")?;
    metadata.turn_count = Some(3);
    metadata.amplifier.status = Some("running".into());
    metadata.amplifier.outcome = Some(json!({ "kind": "completed", "turns": [1, 2.5] }).into());
    metadata.amplifier.extra.insert("later".into(), json!(null));
    metadata.extra.insert("config".into(), json!({ "max_tokens": 4096, "deep": [{ "a": null }] }));
    storage.describe(&id, Activation::FIRST, &Arc::new(metadata.clone())).await?;
    ensure(storage.load(&id).await?.metadata == metadata, "the metadata of `describe` differs")?;
    storage.close(&id).await?;
    let opened = storage.open(&id, Activation(2)).await?;
    ensure(opened.metadata == metadata, "the metadata of `open` differs")
}

async fn secrets_are_redacted(storage: &dyn SessionStorage) -> Check {
    let id = created(storage, "s").await?;
    let mut metadata = SessionMetadata::clone(&described(&id));
    metadata.extra.insert("config".into(), json!({ "providers": [{ "client_secret": "hush-hush" }] }));
    storage.describe(&id, Activation::FIRST, &Arc::new(metadata)).await?;
    let found = storage.load(&id).await?.metadata.extra;
    ensure(!format!("{found:?}").contains("hush-hush"), "a secret was stored")
}

async fn created_once(storage: &dyn SessionStorage) -> Check {
    let id = created(storage, "s").await?;
    let exists = |error: &StorageError| matches!(error, StorageError::Exists { .. });
    refused(storage.create(&id, &described(&id)).await, "Exists while open", exists)?;
    storage.append(&id, Activation::FIRST, &conversation()).await?;
    storage.close(&id).await?;
    refused(storage.create(&id, &described(&id)).await, "Exists once closed", exists)?;
    ensure(storage.load(&id).await?.transcript.len() == 5, "a refused `create` changed the session")
}

async fn absent_is_not_found(storage: &dyn SessionStorage) -> Check {
    let id = id("absent")?;
    let not_found = |error: &StorageError| matches!(error, StorageError::NotFound { .. });
    ensure(!storage.exists(&id).await?, "an absent session exists")?;
    refused(storage.load(&id).await, "NotFound", not_found)?;
    refused(storage.open(&id, Activation(2)).await, "NotFound", not_found)?;
    ensure(!storage.exists(&id).await?, "looking for a session made it")?;
    refused(storage.delete(&id).await, "NotFound", not_found)
}

async fn one_writer(storage: &dyn SessionStorage) -> Check {
    let id = created(storage, "s").await?;
    let locked = |error: &StorageError| matches!(error, StorageError::Locked { .. });
    ensure(storage.holder(&id).await?.is_some(), "an open session has no holder")?;
    refused(storage.open(&id, Activation(2)).await, "Locked", locked)?;
    storage.append(&id, Activation::FIRST, &conversation()).await?;
    storage.close(&id).await?;
    storage.close(&id).await?;
    ensure(storage.holder(&id).await?.is_none(), "a closed session has a holder")?;
    storage.open(&id, Activation(2)).await?;
    refused(storage.open(&id, Activation(3)).await, "Locked", locked)
}

async fn only_who_opened_writes(storage: &dyn SessionStorage) -> Check {
    let id = closed(storage, "s", None).await?;
    let not_open = |error: &StorageError| matches!(error, StorageError::NotOpen { .. });
    let messages = conversation();
    refused(storage.append(&id, Activation::FIRST, &messages).await, "NotOpen", not_open)?;
    refused(storage.describe(&id, Activation::FIRST, &described(&id)).await, "NotOpen", not_open)?;
    storage.open(&id, Activation(2)).await?;
    refused(storage.append(&id, Activation(3), &messages).await, "NotOpen", not_open)?;
    ensure(storage.load(&id).await?.transcript.is_empty(), "a refused append was stored")
}

async fn older_activations_are_fenced(storage: &dyn SessionStorage) -> Check {
    let id = closed(storage, "s", None).await?;
    let fenced = |error: &StorageError| matches!(error, StorageError::Fenced { .. });
    let mut metadata = Arc::new(storage.open(&id, Activation(3)).await?.metadata);
    refused(storage.append(&id, Activation(2), &conversation()).await, "Fenced", fenced)?;
    refused(storage.describe(&id, Activation(2), &metadata).await, "Fenced", fenced)?;
    Arc::make_mut(&mut metadata).amplifier.activation = Activation(3);
    storage.describe(&id, Activation(3), &metadata).await?;
    storage.close(&id).await?;
    refused(storage.open(&id, Activation(2)).await, "Fenced", fenced)?;
    storage.open(&id, Activation(4)).await?;
    ensure(storage.load(&id).await?.transcript.is_empty(), "a fenced append was stored")
}

async fn loads_while_open(storage: &dyn SessionStorage) -> Check {
    let id = created(storage, "s").await?;
    storage.append(&id, Activation::FIRST, &conversation()).await?;
    ensure(storage.load(&id).await?.transcript == conversation(), "the messages differ")?;
    storage.append(&id, Activation::FIRST, &conversation()).await?;
    ensure(storage.load(&id).await?.transcript.len() == 10, "a load disturbed the writer")
}

async fn concurrent_appends(storage: &dyn SessionStorage) -> Check {
    let id = created(storage, "s").await?;
    let pairs: Vec<[Arc<Message>; 2]> = (0..20)
        .map(|n| [Message::user(format!("{n} a")), Message::assistant(format!("{n} b"))].map(Arc::new))
        .collect();
    let appends = pairs.iter().map(|pair| storage.append(&id, Activation::FIRST, pair));
    for result in futures_util::future::join_all(appends).await {
        result?;
    }
    let stored = storage.load(&id).await?.transcript;
    ensure(stored.len() == 40, format!("{} of 40 messages are stored", stored.len()))?;
    let whole = stored.chunks(2).all(|pair| pairs.iter().any(|given| given.as_slice() == pair));
    ensure(whole, "messages of two appends are mixed")
}

async fn forks(storage: &dyn SessionStorage) -> Check {
    let source = created(storage, "source").await?;
    storage.append(&source, Activation::FIRST, &conversation()[..2]).await?;
    storage.append(&source, Activation::FIRST, &conversation()[4..]).await?;
    let new = id("new")?;
    let made = fork(storage, &source, Some(1), new.clone(), at(9)).await?;
    let loaded = storage.load(&new).await?;
    ensure(loaded.transcript == made.transcript, "the fork is not what was returned")?;
    ensure(loaded.transcript.len() == 3, "the open tool call has no answer")?;
    ensure(loaded.transcript[2].is_error(), "the answer is no error")?;
    ensure(loaded.metadata.parent_id.as_ref() == Some(&source), "the fork does not know its source")?;
    ensure(loaded.metadata.forked_from_turn == Some(1), "the fork does not know its turn")?;
    ensure(storage.load(&source).await?.transcript.len() == 3, "the source was changed")?;
    let exists = |error: &StorageError| matches!(error, StorageError::Exists { .. });
    refused(fork(storage, &source, None, new, at(9)).await, "Exists", exists)?;
    let no_turn = |error: &StorageError| matches!(error, StorageError::NoSuchTurn { turns: 2, .. });
    refused(fork(storage, &source, Some(3), id("other")?, at(9)).await, "NoSuchTurn", no_turn)
}

async fn lists(storage: &dyn SessionStorage) -> Check {
    let root = closed(storage, "root", None).await?;
    let child = closed(storage, "child", Some(&root)).await?;
    closed(storage, "other", None).await?;
    let all = storage.list(&SessionQuery::default()).await?;
    ensure(all.len() == 3, format!("{} of 3 sessions are listed", all.len()))?;
    let top = storage.list(&SessionQuery::default().top_level()).await?;
    ensure(top.len() == 2 && top.iter().all(|summary| summary.id != child), "a child is at the top level")?;
    let children = storage.list(&SessionQuery::default().parent(root)).await?;
    ensure(children.len() == 1 && children[0].id == child, "the child is not its parent's")?;
    let limited = storage.list(&SessionQuery::default().limit(1)).await?;
    ensure(limited.len() == 1, format!("{} sessions at a limit of 1", limited.len()))
}

async fn prefixes(storage: &dyn SessionStorage) -> Check {
    let root = closed(storage, "abc1", None).await?;
    closed(storage, "abc2", None).await?;
    let child = closed(storage, "abd_child", Some(&root)).await?;
    let scope = super::ProjectScope::Current;
    ensure(resolve_prefix(storage, "abc1", scope).await?.id == root, "a whole id is not found")?;
    ensure(
        resolve_prefix(storage, "abd_child", scope).await?.id == child,
        "the whole id of a child is not found",
    )?;
    let ambiguous =
        |error: &StorageError| matches!(error, StorageError::Ambiguous { matches, .. } if matches.len() == 2);
    refused(resolve_prefix(storage, "ab", scope).await, "Ambiguous", ambiguous)?;
    let not_found = |error: &StorageError| matches!(error, StorageError::NotFound { .. });
    refused(resolve_prefix(storage, "abd", scope).await, "NotFound", not_found)?;
    let invalid = |error: &StorageError| matches!(error, StorageError::InvalidId(_));
    refused(resolve_prefix(storage, "../ab", scope).await, "InvalidId", invalid)
}

async fn open_is_not_deleted(storage: &dyn SessionStorage) -> Check {
    let id = created(storage, "s").await?;
    let locked = |error: &StorageError| matches!(error, StorageError::Locked { .. });
    refused(storage.delete(&id).await, "Locked", locked)?;
    storage.append(&id, Activation::FIRST, &conversation()).await?;
    storage.close(&id).await?;
    storage.delete(&id).await?;
    ensure(!storage.exists(&id).await?, "a deleted session exists")?;
    created(storage, "s").await?;
    ensure(storage.load(&id).await?.transcript.is_empty(), "a deleted session came back")
}

async fn what_did_not_begin_is_taken_back(storage: &dyn SessionStorage) -> Check {
    let id = created(storage, "s").await?;
    storage.close(&id).await?;
    storage.undo_create(&id).await?;
    ensure(!storage.exists(&id).await?, "what was taken back exists")?;
    created(storage, "s").await?;
    storage.close(&id).await?;
    let next = Activation::FIRST.next();
    let mut metadata = storage.open(&id, next).await?.metadata;
    metadata.amplifier.activation = next;
    storage.describe(&id, next, &Arc::new(metadata)).await?;
    storage.append(&id, next, &conversation()).await?;
    storage.close(&id).await?;
    storage.undo_create(&id).await?;
    let kept = storage.load(&id).await?.transcript;
    ensure(!kept.is_empty(), "what somebody has gone on with was taken back")
}

async fn trees_are_deleted(storage: &dyn SessionStorage) -> Check {
    let root = closed(storage, "root", None).await?;
    let child = closed(storage, "child", Some(&root)).await?;
    let grandchild = closed(storage, "grandchild", Some(&child)).await?;
    closed(storage, "other", None).await?;
    fork(storage, &root, None, id("fork")?, at(9)).await?;
    storage.open(&grandchild, Activation(2)).await?;
    let locked = |error: &StorageError| matches!(error, StorageError::Locked { .. });
    refused(delete_tree(storage, &root).await, "Locked", locked)?;
    ensure(storage.exists(&root).await?, "a refused deletion removed something")?;
    storage.close(&grandchild).await?;
    let removed = delete_tree(storage, &root).await?;
    ensure(removed == [grandchild, child, root], format!("removed {removed:?}"))?;
    let left = storage.list(&SessionQuery::default()).await?;
    ensure(left.len() == 2, format!("{} sessions are left", left.len()))
}
