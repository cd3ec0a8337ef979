//! One issue with what stands around it, as it was read, and what becomes of it: data until it is committed.
//!
//! Guarantees: every row that is written is written under the revision at which it was read, every change
//! carries its note and its event, and an issue becomes done or undone only together with the counts of
//! those that depend on it.
//! Never here: reading, and which change is allowed.

use std::sync::Arc;

use amplifier_core::{EventType, IssueId, NewEvent, Payload, RunId, SessionId, Timestamp};
use amplifier_store::{Commit, Expect, IssueRow, IssueStatus, NoteKind, RunMove, RunState, Write};
use serde::Serialize;
use serde_json::{Map, Value};

use super::actor::{Actor, SealEvent};
use super::body::{Body, QueuedIssue};
use super::error::QueueError;

/// After these an issue may be claimed, if it is open.
const FREES: [EventType; 6] = [
    EventType::IssueOpened,
    EventType::IssueUnblocked,
    EventType::IssueAnswered,
    EventType::IssueRetried,
    EventType::IssueEscalated,
    EventType::IssueReopened,
];

/// What a change says beside what the issue is, in its note and in its event.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Said {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) question: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    /// The issue because of which it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<IssueId>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) changes: Map<String, Value>,
}

impl Said {
    pub(super) fn because(reason: Option<String>) -> Self {
        Self { reason, ..Self::default() }
    }
}

/// What the event of a change says.
#[derive(Serialize)]
struct Told<'a> {
    issue_id: &'a IssueId,
    title: &'a str,
    issue_type: &'a str,
    priority: u8,
    status: &'static str,
    from: &'static str,
    round: u64,
    actor: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<&'a RunId>,
    #[serde(flatten)]
    said: &'a Said,
}

/// What its note says.
#[derive(Serialize)]
struct Noted<'a> {
    event: &'a str,
    from: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<&'a RunId>,
    #[serde(flatten)]
    said: &'a Said,
}

/// A row that is read and changed.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) row: IssueRow,
    pub(super) body: Body,
    /// Where it stood when it was read.
    pub(super) from: IssueStatus,
}

impl Item {
    pub(super) fn of(row: IssueRow) -> Result<Self, QueueError> {
        let (body, from) = (Body::of(&row)?, row.status);
        Ok(Self { row, body, from })
    }

    /// It can be claimed, in a round of its own.
    pub(super) fn opens(&mut self) {
        self.row.status = IssueStatus::Open;
        let details = &mut self.body.details;
        details.round = details.round.saturating_add(1);
        (details.resume, details.waits_for_needs, details.not_before) = (false, false, None);
        (details.blocking_notes, details.closed_at) = (None, None);
    }
}

/// Who does something, when.
#[derive(Clone, Copy)]
pub(super) struct By<'a> {
    pub(super) seal: &'a dyn SealEvent,
    pub(super) actor: &'a Actor,
    pub(super) now: Timestamp,
}

impl By<'_> {
    /// The note and the event of a change of an item that is written. One that can be claimed after it keeps which
    /// event it was.
    pub(super) fn tell(
        &self,
        item: &mut Item,
        event: EventType,
        kind: NoteKind,
        said: &Said,
    ) -> Result<[Write; 2], QueueError> {
        let Item { row, body, from } = item;
        let (status, from, run_id) = (row.status.as_str(), from.as_str(), row.run.as_ref());
        let noted = Noted { event: event.name(), from, status, run_id, said };
        // A run's own session begins with it, whoever writes that down.
        let begun = row.session.clone().filter(|_| event == EventType::IssueStarted);
        let note = Write::NoteIssue {
            issue: row.id.clone(),
            kind,
            actor: Arc::clone(&self.actor.name),
            session: self.actor.session.clone().or(begun),
            body: encode(&noted)?,
        };
        let told = Told {
            issue_id: &row.id,
            title: &body.title,
            issue_type: &row.issue_type,
            priority: row.priority,
            status,
            from,
            round: body.details.round,
            actor: &self.actor.name,
            session_id: self.actor.session.as_ref().or(row.session.as_ref()),
            run_id,
            said,
        };
        let mut event = NewEvent::of(event, encode(&told)?).caused_by(self.actor.cause);
        (event.source, event.root) = (self.actor.session.clone(), self.actor.root.clone());
        let frees = FREES.contains(&event.event_type);
        let event = self.seal.seal(event)?;
        if frees && item.row.status == IssueStatus::Open {
            item.body.details.because = Some(event.id);
        }
        Ok([note, Write::Append(Box::new(event))])
    }
}

fn encode(value: &impl Serialize) -> Result<Payload, QueueError> {
    Payload::encode(value).map_err(|error| QueueError::Event(error.into()))
}

/// An issue under change.
pub(super) struct Scene<'a> {
    pub(super) by: By<'a>,
    pub(super) item: Item,
    /// Those that depend on it; read only where it may become done or undone.
    pub(super) dependents: &'a [IssueRow],
    /// The run that has claimed it waits in its queue.
    pub(super) is_queued: bool,
    /// It is to be written, and not only told about.
    is_written: bool,
    others: Vec<IssueRow>,
    told: Vec<Write>,
    expects: Vec<Expect>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(row: IssueRow, by: By<'a>) -> Result<Self, QueueError> {
        Ok(Self {
            by,
            item: Item::of(row)?,
            dependents: &[],
            is_queued: false,
            is_written: false,
            others: Vec::new(),
            told: Vec::new(),
            expects: Vec::new(),
        })
    }

    pub(super) fn status(&self) -> IssueStatus {
        self.item.row.status
    }

    /// The issue as it will be.
    pub(super) fn issue(&self) -> Result<QueuedIssue, QueueError> {
        let mut issue = QueuedIssue::new(&self.item.row, self.item.body.clone())?;
        if self.is_written {
            issue.revision += 1;
            issue.updated = self.by.now;
        }
        Ok(issue)
    }

    /// The item is changed.
    pub(super) fn write(&mut self) -> &mut Item {
        self.is_written = true;
        &mut self.item
    }

    /// Another row is written, under the revision at which it was read.
    pub(super) fn write_other(&mut self, row: IssueRow) {
        self.others.push(row);
    }

    /// Another row must still be as it was read.
    pub(super) fn rely_on(&mut self, row: &IssueRow) {
        self.expects.push(Expect::IssueRevision { issue: row.id.clone(), revision: row.revision });
    }

    pub(super) fn tell(&mut self, event: EventType, said: Said) -> Result<(), QueueError> {
        self.note(event, NoteKind::Change, said)
    }

    pub(super) fn note(&mut self, event: EventType, kind: NoteKind, said: Said) -> Result<(), QueueError> {
        let told = self.by.tell(&mut self.item, event, kind, &said)?;
        self.told.extend(told);
        // What follows in the same commit begins where this ended.
        self.item.from = self.item.row.status;
        Ok(())
    }

    /// It is done now and was not: each that depends on it has one less to wait for.
    pub(super) fn is_done_now(&mut self) -> Result<(), QueueError> {
        for row in self.dependents {
            let mut row = row.clone();
            row.unmet = row.unmet.saturating_sub(1);
            if row.unmet > 0 || row.status.is_done() || row.status == IssueStatus::Failed {
                self.others.push(row);
                continue;
            }
            let mut item = Item::of(row)?;
            let waited = item.row.status == IssueStatus::Blocked && item.body.details.waits_for_needs;
            if waited {
                item.opens();
            }
            if item.row.status == IssueStatus::Open {
                let said = Said { by: Some(self.item.row.id.clone()), ..Said::default() };
                let told = self.by.tell(&mut item, EventType::IssueUnblocked, NoteKind::Change, &said)?;
                self.told.extend(told);
                item.row.body = item.body.encode()?;
            }
            self.others.push(item.row);
        }
        Ok(())
    }

    /// It was done and is not any more: each that depends on it has one more to wait for.
    pub(super) fn is_undone_now(&mut self) {
        for row in self.dependents {
            let mut row = row.clone();
            row.unmet = row.unmet.saturating_add(1);
            self.others.push(row);
        }
    }

    /// A run that has claimed it and waits is cancelled, so that it can be claimed anew.
    pub(super) fn unclaim(&mut self, reason: &str) {
        if !self.is_queued {
            return;
        }
        let Some(run) = self.item.row.run.take() else { return };
        self.is_written = true;
        self.expects.push(Expect::RunState { run: run.clone(), state: RunState::Queued });
        let step = RunMove::new(run, RunState::Queued, RunState::Cancelled).reason(reason);
        self.told.push(Write::MoveRun(step));
        let details = &mut self.item.body.details;
        (details.round, details.started) = (details.round.saturating_add(1), false);
    }

    /// The commit, if there is anything to write.
    pub(super) fn commit(mut self) -> Result<Option<Commit>, QueueError> {
        if !self.is_written && self.told.is_empty() && self.others.is_empty() {
            return Ok(None);
        }
        let mut commit = Commit::new();
        if self.is_written {
            self.item.row.body = self.item.body.encode()?;
            commit = put(commit, self.item.row);
        }
        for row in self.others {
            commit = put(commit, row);
        }
        commit.expects.append(&mut self.expects);
        commit.writes.append(&mut self.told);
        Ok(Some(commit))
    }
}

fn put(commit: Commit, row: IssueRow) -> Commit {
    let expect = Expect::IssueRevision { issue: row.id.clone(), revision: row.revision };
    commit.write(Write::PutIssue(Box::new(row))).when(expect)
}
