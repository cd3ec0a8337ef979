//! One run as a report tells it.
//!
//! Guarantees: everything in it was true of the store when it was read; what it says for programs (its
//! `Serialize`) is the contract of `amplifier runs --json`.

use std::sync::Arc;

use amplifier_core::{IssueId, OutcomeKind, RunId, SessionId, SessionOutcome, Timestamp, Usage};
use amplifier_store::{QueueName, RunState};
use amplifier_trigger::{BackgroundName, TriggerEvent};
use serde::{Serialize, Serializer};

/// Bytes of an answer that a report tells; the transcript has all.
const MAX_OUTPUT: usize = 16 * 1_024;

/// Whose a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunOf {
    /// A background session's.
    Background(BackgroundName),
    /// A worker's for an issue; there is no row of it, and its id is that of its session.
    Issue(IssueId),
    /// Of a queue that is not known here.
    Queue(QueueName),
}

impl std::fmt::Display for RunOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Background(name) => name.fmt(f),
            Self::Issue(issue) => write!(f, "issue {issue}"),
            Self::Queue(queue) => queue.fmt(f),
        }
    }
}

/// How a run stands for who looks at it, in the order in which it wants attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Standing {
    /// It is dead, and nobody has had it made anew.
    Failed,
    /// It has ended, and something in it was denied because nobody could be asked.
    Asks,
    /// Its session is at work.
    Running,
    /// Its process is gone; the next that works on its queue goes on with it.
    Interrupted,
    /// It failed, and waits for another attempt.
    Retrying,
    /// It waits for its time or a place.
    Waiting,
    /// Its session completed.
    Completed,
    /// Somebody stopped it.
    Cancelled,
    /// It was dead or cancelled, and made anew as another run.
    Retried,
    /// It was left out: coalesced or skipped.
    LeftOut,
}

impl Standing {
    /// All, in the order in which they want attention.
    pub const ALL: [Self; 10] = [
        Self::Failed,
        Self::Asks,
        Self::Running,
        Self::Interrupted,
        Self::Retrying,
        Self::Waiting,
        Self::Completed,
        Self::Cancelled,
        Self::Retried,
        Self::LeftOut,
    ];

    /// The snake_case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Asks => "asks",
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Retrying => "retrying",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Retried => "retried",
            Self::LeftOut => "left_out",
        }
    }
}

/// What sessions have used, with all that they spawned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spent {
    /// Sessions.
    pub sessions: u64,
    /// Model calls.
    pub turns: u64,
    /// Tokens.
    pub usage: Usage,
    /// Cost in millionths of a US dollar; `None` where that of one of them is not known.
    pub cost_micro_usd: Option<u64>,
    /// What is known of the cost: it was so much at least.
    pub known_micro_usd: u64,
    /// Time in milliseconds of the sessions themselves, without those that they spawned.
    pub duration_ms: u64,
}

impl Default for Spent {
    fn default() -> Self {
        let (usage, cost_micro_usd) = (Usage::default(), Some(0));
        Self { sessions: 0, turns: 0, usage, cost_micro_usd, known_micro_usd: 0, duration_ms: 0 }
    }
}

impl Spent {
    /// Adds an activation. `own`: of the session itself, whose time counts.
    pub(crate) fn add(&mut self, outcome: &SessionOutcome, own: bool) {
        self.turns = self.turns.saturating_add(u64::from(outcome.turns));
        self.usage += outcome.usage;
        let sum = |sum: u64| Some(sum.saturating_add(outcome.cost_micro_usd?));
        self.cost_micro_usd = self.cost_micro_usd.and_then(sum);
        self.known_micro_usd = self.known_micro_usd.saturating_add(outcome.cost_micro_usd.unwrap_or(0));
        if own {
            self.duration_ms = self.duration_ms.saturating_add(outcome.duration_ms);
        }
    }
}

impl std::ops::AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.sessions = self.sessions.saturating_add(other.sessions);
        self.turns = self.turns.saturating_add(other.turns);
        self.usage += other.usage;
        let sum = |sum: u64| Some(sum.saturating_add(other.cost_micro_usd?));
        self.cost_micro_usd = self.cost_micro_usd.and_then(sum);
        self.known_micro_usd = self.known_micro_usd.saturating_add(other.known_micro_usd);
        self.duration_ms = self.duration_ms.saturating_add(other.duration_ms);
    }
}

/// A run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunSummary {
    /// Its id.
    pub id: RunId,
    /// Its number in the project, which names it too; `None` for a worker of an issue.
    pub number: Option<u64>,
    /// Whose it is.
    pub of: RunOf,
    /// What fired; `None` where there was no trigger.
    pub event: Option<TriggerEvent>,
    /// Where it is.
    pub state: RunState,
    /// How it stands.
    pub standing: Standing,
    /// Its attempt, counted from 1.
    pub attempt: u32,
    /// Why it is where it is.
    pub reason: Option<String>,
    /// The session of its last attempt.
    pub session: Option<SessionId>,
    /// How that one's last activation ended.
    pub outcome: Option<Arc<SessionOutcome>>,
    /// What all its attempts have used, as far as they are known.
    pub spent: Spent,
    /// When it may begin.
    pub ready_at: Timestamp,
    /// When it was triggered.
    pub created: Timestamp,
    /// When it took its last step.
    pub updated: Timestamp,
    /// The run that it was made anew from.
    pub retry_of: Option<RunId>,
    /// The run that it was made anew as.
    pub retried_as: Option<RunId>,
}

impl RunSummary {
    /// Why it did not complete, or what it was denied.
    pub fn why(&self) -> Option<&str> {
        let error = self.outcome.as_ref().and_then(|outcome| outcome.error.as_ref());
        match self.standing {
            Standing::Completed | Standing::Running => None,
            Standing::Asks if self.state == RunState::Completed => {
                Some("something was denied because nobody could be asked")
            }
            _ => self.reason.as_deref().or(error.map(|error| error.message.as_str())),
        }
    }
}

#[derive(Serialize)]
struct Said<'a> {
    run_id: &'a RunId,
    number: Option<u64>,
    background_session: Option<&'a BackgroundName>,
    issue_id: Option<&'a IssueId>,
    queue: Option<&'a str>,
    state: &'static str,
    standing: Standing,
    attempt: u32,
    reason: Option<&'a str>,
    trigger: Option<SaidTrigger<'a>>,
    session_id: Option<&'a SessionId>,
    outcome: Option<OutcomeKind>,
    result: Option<&'a str>,
    result_truncated: bool,
    #[serde(flatten)]
    spent: Spent,
    ready_at: Timestamp,
    created: Timestamp,
    updated: Timestamp,
    retry_of: Option<&'a RunId>,
    retried_as: Option<&'a RunId>,
}

#[derive(Serialize)]
struct SaidTrigger<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    event_name: Option<&'a str>,
    due: Timestamp,
    fired: Timestamp,
    coalesced: u64,
    skipped: u64,
}

impl<'a> SaidTrigger<'a> {
    fn of(event: &'a TriggerEvent) -> Self {
        Self {
            id: event.id.as_str(),
            kind: event.trigger.as_str(),
            event_name: event.event_name.as_deref(),
            due: event.due,
            fired: event.fired,
            coalesced: event.passed.coalesced,
            skipped: event.passed.skipped,
        }
    }
}

impl Serialize for Spent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Said {
            num_sessions: u64,
            num_turns: u64,
            duration_ms: u64,
            total_cost_usd: Option<f64>,
            known_cost_usd: f64,
            usage: Usage,
        }
        #[expect(clippy::cast_precision_loss, reason = "exact to nine billion dollars")]
        let usd = |micro: u64| micro as f64 / 1e6;
        let said = Said {
            num_sessions: self.sessions,
            num_turns: self.turns,
            duration_ms: self.duration_ms,
            total_cost_usd: self.cost_micro_usd.map(usd),
            known_cost_usd: usd(self.known_micro_usd),
            usage: self.usage,
        };
        said.serialize(serializer)
    }
}

impl Serialize for RunSummary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut background_session, mut issue_id, mut queue) = (None, None, None);
        match &self.of {
            RunOf::Background(name) => background_session = Some(name),
            RunOf::Issue(issue) => issue_id = Some(issue),
            RunOf::Queue(name) => queue = Some(name.as_str()),
        }
        let output = self.outcome.as_ref().map(|outcome| outcome.output.as_str());
        let cut = output.map(|output| &output[..output.floor_char_boundary(MAX_OUTPUT)]);
        let said = Said {
            run_id: &self.id,
            number: self.number,
            background_session,
            issue_id,
            queue,
            state: self.state.as_str(),
            standing: self.standing,
            attempt: self.attempt,
            reason: self.reason.as_deref(),
            trigger: self.event.as_ref().map(SaidTrigger::of),
            session_id: self.session.as_ref(),
            outcome: self.outcome.as_ref().map(|outcome| outcome.kind),
            result: cut,
            result_truncated: cut.map(str::len) != output.map(str::len),
            spent: self.spent,
            ready_at: self.ready_at,
            created: self.created,
            updated: self.updated,
            retry_of: self.retry_of.as_ref(),
            retried_as: self.retried_as.as_ref(),
        };
        said.serialize(serializer)
    }
}
