//! What people, tools and sessions do to an issue.

use amplifier_core::{EventType, IssueId, Timestamp};
use amplifier_store::IssueStatus;
use serde_json::{Map, Value, json};

use super::body::{Details, QueuedIssue};
use super::error::QueueError;
use super::scene::{Said, Scene};
use super::{IssueQueue, Reach};
use crate::model::{IssueType, Priority};

/// What is to be changed; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Edit {
    /// Its title, at most 500 bytes.
    pub title: Option<String>,
    /// Its description, at most 256 KiB.
    pub description: Option<String>,
    /// Its type.
    pub issue_type: Option<IssueType>,
    /// Its priority.
    pub priority: Option<Priority>,
    /// Where it is to stand; done as the method of that name does.
    pub status: Option<IssueStatus>,
    /// Who is to do it; an empty text: nobody.
    pub assignee: Option<String>,
    /// What it is a part of.
    pub parent_id: Option<IssueId>,
    /// What was being worked on when it was found.
    pub discovered_from: Option<IssueId>,
    /// The bundle of its worker; an empty text: that of its pool.
    pub bundle: Option<String>,
    /// All its metadata, at most 64 KiB.
    pub metadata: Option<Map<String, Value>>,
    /// What stands in its way: the reason of `blocked`, or the question of `pending_user_input`.
    pub blocking_notes: Option<String>,
    /// The question of `pending_user_input`.
    pub question: Option<String>,
    /// What came out, for `completed`.
    pub result: Option<String>,
    /// Why, for the other statuses.
    pub reason: Option<String>,
    /// No run claims it before this time.
    pub not_before: Option<Timestamp>,
}

impl IssueQueue {
    /// Changes fields and status in one commit. Nothing to change is no error and writes nothing. A run that
    /// has claimed the issue and waits is cancelled where type, priority, metadata or bundle change, as it may
    /// belong into another pool now.
    pub async fn update(&self, issue: &IssueId, edit: Edit) -> Result<QueuedIssue, QueueError> {
        let reach = if edit.status.is_some() { Reach::Dependents } else { Reach::Issue };
        self.change(issue, reach, |scene| scene.edit(&edit)).await
    }

    /// Adds a comment of at most 256 KiB.
    pub async fn comment(&self, issue: &IssueId, text: &str) -> Result<QueuedIssue, QueueError> {
        self.change(issue, Reach::Issue, |scene| scene.comment(text.to_owned())).await
    }

    /// Somebody begins with it who is no run. What it depends on must be done.
    pub async fn begin(&self, issue: &IssueId) -> Result<QueuedIssue, QueueError> {
        self.change(issue, Reach::Issue, |scene| scene.begin()).await
    }

    /// It is done; those that depend on it have one less to wait for.
    pub async fn complete(&self, issue: &IssueId, result: Option<&str>) -> Result<QueuedIssue, QueueError> {
        let step = |scene: &mut Scene<'_>| scene.complete(result.map(str::to_owned));
        self.change(issue, Reach::Dependents, step).await
    }

    /// It is done, or not wanted any more; those that depend on it have one less to wait for.
    pub async fn close(&self, issue: &IssueId, reason: Option<&str>) -> Result<QueuedIssue, QueueError> {
        self.change(issue, Reach::Dependents, |scene| scene.close(reason.map(str::to_owned))).await
    }

    /// It is not wanted any more: closed with that reason. A run that waits is cancelled with it; a session
    /// that works on it is for the caller to stop.
    pub async fn cancel(&self, issue: &IssueId, reason: Option<&str>) -> Result<QueuedIssue, QueueError> {
        let reason = reason.map_or_else(|| "cancelled".to_owned(), |why| format!("cancelled: {why}"));
        self.close(issue, Some(&reason)).await
    }

    /// Something stands in its way.
    pub async fn block(&self, issue: &IssueId, reason: Option<&str>) -> Result<QueuedIssue, QueueError> {
        self.change(issue, Reach::Issue, |scene| scene.block(reason.map(str::to_owned))).await
    }

    /// It waits for the answer to a question of at most 64 KiB.
    pub async fn ask(&self, issue: &IssueId, question: &str) -> Result<QueuedIssue, QueueError> {
        self.change(issue, Reach::Issue, |scene| scene.ask(question.to_owned())).await
    }

    /// Answers its question, in at most 64 KiB; it can be claimed anew and its session goes on. Of two who
    /// answer at once the second is told [`QueueError::AlreadyAnswered`].
    pub async fn answer(&self, issue: &IssueId, answer: &str) -> Result<QueuedIssue, QueueError> {
        self.change(issue, Reach::Issue, |scene| scene.answer(answer.to_owned())).await
    }

    /// There will be no other attempt.
    pub async fn fail(&self, issue: &IssueId, reason: Option<&str>) -> Result<QueuedIssue, QueueError> {
        self.change(issue, Reach::Issue, |scene| scene.fail(reason.map(str::to_owned))).await
    }

    /// It has failed or is blocked, and is to be tried again with all its attempts.
    pub async fn retry(&self, issue: &IssueId, reason: Option<&str>) -> Result<QueuedIssue, QueueError> {
        self.change(issue, Reach::Issue, |scene| scene.retry(reason.map(str::to_owned))).await
    }

    /// It counts one more failed attempt, and is to be tried by whom the rules name for that.
    pub async fn escalate(&self, issue: &IssueId, reason: Option<&str>) -> Result<QueuedIssue, QueueError> {
        self.change(issue, Reach::Issue, |scene| scene.escalate(reason.map(str::to_owned))).await
    }

    /// It was at its end and is open again; those that depend on it wait for it again.
    pub async fn reopen(&self, issue: &IssueId, reason: Option<&str>) -> Result<QueuedIssue, QueueError> {
        self.change(issue, Reach::Dependents, |scene| scene.reopen(reason.map(str::to_owned))).await
    }
}

impl Scene<'_> {
    fn edit(&mut self, edit: &Edit) -> Result<(), QueueError> {
        let changes = self.fields(edit);
        if ["issue_type", "priority", "metadata", "bundle"].iter().any(|field| changes.contains_key(*field)) {
            self.unclaim("the issue was changed");
        }
        if !changes.is_empty() {
            self.write();
            let said = Said { changes, ..Said::default() };
            self.tell(EventType::IssueUpdated, said)?;
        }
        match edit.status {
            Some(status) if status != self.status() => self.stand(status, edit),
            _ => Ok(()),
        }
    }

    fn stand(&mut self, status: IssueStatus, edit: &Edit) -> Result<(), QueueError> {
        let reason = || edit.reason.clone().or_else(|| edit.blocking_notes.clone());
        match status {
            IssueStatus::InProgress => self.begin(),
            IssueStatus::Blocked => self.block(reason()),
            IssueStatus::PendingUserInput => {
                let question = edit.question.clone().or_else(reason);
                self.ask(question.unwrap_or_default())
            }
            IssueStatus::Completed => self.complete(edit.result.clone()),
            IssueStatus::Closed => self.close(reason()),
            IssueStatus::Failed => self.fail(reason()),
            _ => self.open(edit.reason.clone()),
        }
    }

    /// Sets the fields that differ; what has changed, from what to what where that is short.
    fn fields(&mut self, edit: &Edit) -> Map<String, Value> {
        let mut changes = Map::new();
        let item = &mut self.item;
        let is_same_status = edit.status.is_none_or(|status| status == item.row.status);
        let mut note = |name: &str, old: Value, new: Value| {
            changes.insert(name.to_owned(), json!({"old": old, "new": new}));
        };
        if let Some(new) = edit.issue_type.as_ref().filter(|new| new.as_str() != &*item.row.issue_type) {
            note("issue_type", json!(&*item.row.issue_type), json!(new.as_str()));
            item.row.issue_type = new.as_str().into();
        }
        if let Some(new) = edit.priority.filter(|new| new.number() != item.row.priority) {
            note("priority", json!(item.row.priority), json!(new.number()));
            item.row.priority = new.number();
        }
        if let Some(new) = edit.title.as_ref().filter(|new| **new != item.body.title) {
            note("title", json!(item.body.title), json!(new));
            item.body.title.clone_from(new);
        }
        let Details { assignee, parent_id, discovered_from, not_before, .. } = &mut item.body.details;
        for (name, new, old) in
            [("assignee", &edit.assignee, assignee), ("bundle", &edit.bundle, &mut item.body.bundle)]
        {
            let Some(new) = new else { continue };
            let new = Some(new.clone()).filter(|new| !new.is_empty());
            if *old != new {
                note(name, json!(old), json!(new));
                *old = new;
            }
        }
        for (name, new, old) in [
            ("parent_id", &edit.parent_id, parent_id),
            ("discovered_from", &edit.discovered_from, discovered_from),
        ] {
            if new.is_some() && new != old {
                note(name, json!(old), json!(new));
                old.clone_from(new);
            }
        }
        if edit.not_before.is_some() && edit.not_before != *not_before {
            note("not_before", json!(not_before), json!(edit.not_before));
            *not_before = edit.not_before;
        }
        let details = &mut item.body.details;
        let mut texts = vec![("description", edit.description.clone(), &mut item.body.description)];
        let (mut notes, mut result) =
            (details.blocking_notes.clone().unwrap_or_default(), details.result.clone().unwrap_or_default());
        // With another status they belong to that step.
        if is_same_status {
            texts.push(("blocking_notes", edit.blocking_notes.clone(), &mut notes));
            texts.push(("result", edit.result.clone().map(super::body::cut), &mut result));
        }
        for (name, new, old) in texts {
            if let Some(new) = new.filter(|new| new != old) {
                changes.insert(name.to_owned(), json!({}));
                *old = new;
            }
        }
        if is_same_status {
            details.blocking_notes = Some(notes).filter(|notes| !notes.is_empty());
            details.result = Some(result).filter(|result| !result.is_empty());
        }
        if let Some(new) = edit.metadata.as_ref().filter(|new| **new != item.body.metadata) {
            changes.insert("metadata".to_owned(), json!({}));
            item.body.metadata.clone_from(new);
        }
        changes
    }
}
