//! What can be done to an issue, and from where: the states and the steps between them.
//!
//! Guarantees: the only place that sets a status. A step that is not allowed says where the issue stands and
//! what can be done instead. Runs are never started here, and only one that waits is cancelled.

use amplifier_core::EventType;
use amplifier_store::{IssueStatus, NoteKind};

use super::body::{Bound, cut};
use super::error::QueueError;
use super::scene::{Said, Scene};

use IssueStatus::{Blocked, Closed, Completed, Failed, InProgress, Open, PendingUserInput};

const ANSWER: &str = "answer its question or close it";
const REOPEN: &str = "reopen it first";

impl Scene<'_> {
    fn refused(&self, wanted: &'static str, help: &'static str) -> QueueError {
        QueueError::Status { issue: self.item.row.id.clone(), status: self.status(), wanted, help }
    }

    fn among(
        &self,
        from: &[IssueStatus],
        wanted: &'static str,
        help: &'static str,
    ) -> Result<(), QueueError> {
        if from.contains(&self.status()) { Ok(()) } else { Err(self.refused(wanted, help)) }
    }

    /// Somebody begins without a run: a person, or a session that was asked to.
    pub(super) fn begin(&mut self) -> Result<(), QueueError> {
        self.among(&[Open, Blocked, PendingUserInput, Failed], "begun", REOPEN)?;
        let unmet = self.item.row.unmet;
        if unmet > 0 {
            return Err(QueueError::Unmet { issue: self.item.row.id.clone(), unmet });
        }
        self.unclaim("somebody has begun with the issue");
        let session = self.by.actor.session.clone();
        let item = self.write();
        item.row.status = InProgress;
        item.row.session = session.or_else(|| item.row.session.take());
        item.body.details.blocking_notes = None;
        self.tell(EventType::IssueStarted, Said::default())
    }

    pub(super) fn complete(&mut self, result: Option<String>) -> Result<(), QueueError> {
        self.among(&[Open, InProgress, Blocked, PendingUserInput, Failed], "completed", REOPEN)?;
        self.finish(Completed, result, None)?;
        self.tell(EventType::IssueCompleted, Said::default())?;
        self.is_done_now()
    }

    pub(super) fn close(&mut self, reason: Option<String>) -> Result<(), QueueError> {
        let before = self.status();
        if before == Closed {
            return Err(self.refused("closed", "leave it"));
        }
        let reason = reason.or_else(|| self.item.body.details.reason.clone().filter(|_| before == Completed));
        self.finish(Closed, None, reason.clone())?;
        self.tell(EventType::IssueClosed, Said::because(reason))?;
        if before == Completed { Ok(()) } else { self.is_done_now() }
    }

    fn finish(
        &mut self,
        status: IssueStatus,
        result: Option<String>,
        reason: Option<String>,
    ) -> Result<(), QueueError> {
        check(reason.as_deref())?;
        self.unclaim("the issue is done");
        let now = self.by.now;
        let item = self.write();
        item.row.status = status;
        let details = &mut item.body.details;
        details.result = result.map(cut).or_else(|| details.result.take());
        details.reason = reason;
        (details.blocking_notes, details.closed_at) = (None, Some(now));
        (details.resume, details.waits_for_needs) = (false, false);
        Ok(())
    }

    pub(super) fn block(&mut self, reason: Option<String>) -> Result<(), QueueError> {
        self.among(&[Open, InProgress, PendingUserInput], "blocked", REOPEN)?;
        check(reason.as_deref())?;
        self.unclaim("the issue is blocked");
        let by_worker = self.by.actor.session.is_some();
        let item = self.write();
        item.row.status = Blocked;
        item.body.details.blocking_notes.clone_from(&reason);
        item.body.details.waits_for_needs = by_worker && item.row.unmet > 0;
        self.tell(EventType::IssueBlocked, Said::because(reason))
    }

    pub(super) fn ask(&mut self, question: String) -> Result<(), QueueError> {
        self.among(&[Open, InProgress, Blocked], "asked about", ANSWER)?;
        if question.trim().is_empty() {
            return Err(QueueError::Empty { what: "the question" });
        }
        Bound::Text.check(question.len())?;
        self.unclaim("somebody was asked about the issue");
        let session = self.by.actor.session.clone();
        let item = self.write();
        item.row.status = PendingUserInput;
        item.row.session = item.row.session.take().or(session);
        let details = &mut item.body.details;
        details.question = Some(question.clone());
        (details.answer, details.answered_by, details.blocking_notes) = (None, None, None);
        let said = Said { question: Some(question), ..Said::default() };
        self.note(EventType::IssueQuestion, NoteKind::Question, said)
    }

    pub(super) fn answer(&mut self, answer: String) -> Result<(), QueueError> {
        let status = self.status();
        if status != PendingUserInput {
            let by = self.item.body.details.answered_by.clone();
            return Err(match by.filter(|_| matches!(status, Open | InProgress)) {
                Some(by) => QueueError::AlreadyAnswered { issue: self.item.row.id.clone(), by },
                None => self.refused("answered", "only a question can be; add a comment"),
            });
        }
        if answer.trim().is_empty() {
            return Err(QueueError::Empty { what: "the answer" });
        }
        Bound::Text.check(answer.len())?;
        let by = self.by.actor.name.to_string();
        let item = self.write();
        item.opens();
        let details = &mut item.body.details;
        details.resume = item.row.session.is_some();
        (details.answer, details.answered_by) = (Some(answer.clone()), Some(by));
        let question = details.question.clone();
        let said = Said { question, answer: Some(answer), ..Said::default() };
        self.note(EventType::IssueAnswered, NoteKind::Answer, said)
    }

    pub(super) fn fail(&mut self, reason: Option<String>) -> Result<(), QueueError> {
        self.among(&[Open, InProgress, Blocked, PendingUserInput], "failed", REOPEN)?;
        check(reason.as_deref())?;
        self.unclaim("the issue has failed");
        let item = self.write();
        item.row.status = Failed;
        item.body.details.reason.clone_from(&reason);
        self.tell(EventType::IssueFailed, Said::because(reason))
    }

    /// Somebody wants it to be tried again, with all its attempts.
    pub(super) fn retry(&mut self, reason: Option<String>) -> Result<(), QueueError> {
        self.among(&[Failed, Blocked, PendingUserInput], "retried", "retry what has failed or is blocked")?;
        self.anew(true)?;
        self.tell(EventType::IssueRetried, Said::because(reason))
    }

    /// It goes to another pool, after one more attempt.
    pub(super) fn escalate(&mut self, reason: Option<String>) -> Result<(), QueueError> {
        self.among(&[Open, InProgress, Blocked, Failed], "escalated", REOPEN)?;
        check(reason.as_deref())?;
        self.anew(false)?;
        let details = &mut self.write().body.details;
        details.retry_count = details.retry_count.saturating_add(1);
        details.reason.clone_from(&reason);
        self.tell(EventType::IssueEscalated, Said::because(reason))
    }

    /// Nobody works on it any more, nothing is in its way.
    pub(super) fn open(&mut self, reason: Option<String>) -> Result<(), QueueError> {
        if self.status().is_done() {
            return self.reopen(reason);
        }
        self.among(&[InProgress, Blocked, PendingUserInput, Failed], "opened", "leave it")?;
        let event =
            if self.status() == Blocked { EventType::IssueUnblocked } else { EventType::IssueUpdated };
        self.anew(false)?;
        self.tell(event, Said::because(reason))
    }

    pub(super) fn reopen(&mut self, reason: Option<String>) -> Result<(), QueueError> {
        self.among(&[Completed, Closed, Failed], "reopened", "leave it, it is not at its end")?;
        let was_done = self.status().is_done();
        self.anew(true)?;
        self.tell(EventType::IssueReopened, Said::because(reason))?;
        if was_done {
            self.is_undone_now();
        }
        Ok(())
    }

    fn anew(&mut self, forgets: bool) -> Result<(), QueueError> {
        self.unclaim("the issue is opened anew");
        let item = self.write();
        item.opens();
        let details = &mut item.body.details;
        (details.result, details.reason) = (None, None);
        if forgets {
            (details.retry_count, details.answered_by) = (0, None);
        }
        Ok(())
    }

    pub(super) fn comment(&mut self, text: String) -> Result<(), QueueError> {
        if text.trim().is_empty() {
            return Err(QueueError::Empty { what: "the comment" });
        }
        Bound::Comment.check(text.len())?;
        let said = Said { text: Some(text), ..Said::default() };
        self.note(EventType::IssueCommented, NoteKind::Comment, said)
    }
}

fn check(reason: Option<&str>) -> Result<(), QueueError> {
    Bound::Text.check(reason.map_or(0, str::len))
}
