//! Steps 8 and 9: the outcome and the terminal event of an activation, exactly once.
//!
//! Guarantees: whoever tries it, and however often, an activation gets one outcome and one terminal
//! event. The store is asked first; what it has already settled counts. A store that fails does not keep
//! anybody waiting: the outcome then says that it is unrecorded.
//! Never here: waiting for modules. What ends a session from outside can always call this.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use amplifier_core::activity::Deadline;
use amplifier_core::approval::Shown;
use amplifier_core::limits::LimitKind;
use amplifier_core::outcome::{FailureKind, OutcomeError, outcome_of_cancel};
use amplifier_core::panic::caught;
use amplifier_core::session::Settler;
use amplifier_core::until::until;
use amplifier_core::{
    Activation, AmplifierSession, CancelReason, Clock, EventId, EventType, MonoTime, NewEvent, OutcomeKind,
    Payload, RunId, SessionEvent, SessionId, SessionOutcome, TriggerId, Usage,
};
use serde::Serialize;
use serde_json::Value;

use super::bounds::Bounds;
use super::node::Child;
use super::places::Place;
use super::record::Recorded;
use crate::host::Host;
use crate::storage::SessionMetadata;
use crate::store::{ActivationId, Commit, Receipt, Repeated, Write};

/// Longest preview of the answer in a terminal event, in bytes.
const PREVIEW_BYTES: usize = 16 * 1024;
/// How long the store may take to settle an outcome.
const STORE_GRACE: Duration = Duration::from_secs(30);

/// The end of one activation, waiting to happen.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) host: Host,
    pub(super) session: AmplifierSession,
    pub(super) began: MonoTime,
    settler: Settler,
    facts: Facts,
    bounds: Arc<Bounds>,
    child: Option<Arc<Child>>,
    // Held to take the place out; never across an await.
    place: Mutex<Option<Place>>,
    /// The deadline that passed, if one did.
    expired: OnceLock<Deadline>,
    published: AtomicBool,
    /// The session's task has ended.
    ended: AtomicBool,
}

/// What the terminal event says of a session beside its outcome.
#[derive(Debug)]
struct Facts {
    event: EventId,
    name: Option<String>,
    bundle: Option<String>,
    agent: Option<String>,
    metadata: serde_json::Map<String, Value>,
}

impl Facts {
    fn of(host: &Host, metadata: &SessionMetadata) -> Self {
        let event = metadata.amplifier.terminal_event_id;
        Self {
            event: event.unwrap_or_else(|| EventId(host.ids().v7(host.clock().now()))),
            name: metadata.name.clone(),
            bundle: metadata.bundle.clone(),
            agent: metadata.agent_name.clone(),
            metadata: metadata.extra.clone(),
        }
    }
}

impl Ending {
    pub(super) fn new(
        host: Host,
        session: AmplifierSession,
        settler: Settler,
        recorded: &Recorded,
        bounds: Arc<Bounds>,
        (child, place): (Option<Arc<Child>>, Option<Place>),
        began: MonoTime,
    ) -> Arc<Self> {
        let facts = Facts::of(&host, &recorded.metadata);
        let place = Mutex::new(place);
        Arc::new(Self {
            host,
            session,
            began,
            settler,
            facts,
            bounds,
            child,
            place,
            expired: OnceLock::new(),
            published: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        })
    }

    /// Settles in the store. The outcome that counts: one that was settled before wins.
    pub(super) async fn settle(&self, outcome: SessionOutcome) -> Final {
        let ended = self.told(Arc::new(outcome));
        let commit = caught(self.host.store().commit(self.commit(&ended)));
        let failed = match until(commit, within(self.host.clock(), STORE_GRACE)).await {
            Some(Ok(Ok(Receipt::Repeated(Repeated::Settled { settled, .. })))) => {
                return self.told(settled.outcome);
            }
            Some(Ok(Ok(_))) => return ended,
            Some(Ok(Err(error))) => error.to_string(),
            Some(Err(panic)) => format!("the store panicked: {panic}"),
            None => "the store took too long".to_owned(),
        };
        tracing::error!(session = %self.session.id(), error = failed, "the outcome could not be settled");
        let mut outcome = SessionOutcome::clone(&ended.outcome);
        outcome.unrecorded = true;
        self.told(Arc::new(outcome))
    }

    /// Settles and publishes for who cannot wait: the store is told, and not asked.
    pub(super) fn force(&self, outcome: SessionOutcome) {
        if self.is_published() {
            return;
        }
        let ended = self.told(Arc::new(outcome));
        if let Err(error) = self.host.store().post(self.commit(&ended)) {
            tracing::error!(session = %self.session.id(), %error, "the outcome could not be settled");
        }
        self.publish(ended);
    }

    /// [`Ending::force`] for a session whose task does not end: it is counted as stuck until it does.
    pub(super) fn force_stuck(&self, outcome: SessionOutcome) {
        self.host.sessions().is_stuck(&self.session);
        if self.ended.load(Ordering::SeqCst) {
            self.host.sessions().has_stopped(&self.session);
        }
        self.force(outcome);
    }

    /// Notes that the session's task has ended.
    pub(super) fn task_ended(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.host.sessions().has_stopped(&self.session);
    }

    /// What there is to say of an activation that did not come to its own end.
    pub(super) fn cut_off(&self, reason: Option<CancelReason>, message: Option<&str>) -> SessionOutcome {
        let (kind, mut error) = match reason {
            Some(reason) => outcome_of_cancel(Some(reason)),
            None => (OutcomeKind::Lost, OutcomeError::new(FailureKind::Lost, "the session's task is gone")),
        };
        if let Some(message) = message {
            error.message = format!("{error}; {message}");
        }
        let mut outcome = self.session.cut_off(kind, error, self.took_ms());
        self.name_deadline(&mut outcome);
        outcome
    }

    /// Notes which deadline passed. The first counts.
    pub(super) fn expired(&self, deadline: Deadline) {
        let _ = self.expired.set(deadline);
    }

    /// Says in the outcome which deadline it was, where one of silence has passed.
    pub(super) fn name_deadline(&self, outcome: &mut SessionOutcome) {
        let (limits, bounds) = (self.session.limits(), &self.bounds);
        let Some(deadline) = self.expired.get() else { return };
        let kind = match deadline {
            Deadline::FirstProgress => LimitKind::FirstProgress,
            Deadline::Idle => LimitKind::Idle,
            _ => return,
        };
        let Some(error) = outcome.error.as_mut().filter(|_| outcome.kind == OutcomeKind::TimedOut) else {
            return;
        };
        if let Some(limit) = deadline.reached(limits, bounds.set_by(kind)) {
            error.message = format!("the session gave no sign of life: {limit}");
            error.limit = Some(limit);
        }
    }

    /// Time of this activation so far, in milliseconds.
    pub(super) fn took_ms(&self) -> u64 {
        let took = self.host.clock().monotonic().saturating_since(self.began);
        u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn is_published(&self) -> bool {
        self.published.load(Ordering::Acquire)
    }

    /// The terminal event, then the outcome to everybody who waits. The first call counts.
    pub(super) fn publish(&self, ended: Final) {
        if self.published.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = self.host.router().record(self.event(&ended), self.facts.event) {
            tracing::debug!(session = %self.session.id(), %error, "no router took the terminal event");
        }
        let outcome = ended.outcome;
        if let Some(child) = &self.child {
            child.ended(&outcome);
            let env = self.session.env();
            env.display.show(&env.origin(), Shown::ChildEnded { outcome: &outcome });
        }
        drop(self.place.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.settler.settle(outcome);
        self.host.sessions().remove(&self.session);
    }

    fn commit(&self, ended: &Final) -> Commit {
        let of = ActivationId::new(self.session.id().clone(), self.session.activation());
        let now = self.host.clock().now();
        let event = self.event(ended);
        let event = SessionEvent::seal(event, self.facts.event, None, self.host.router().scope(), now);
        Write::Settle { of, outcome: Arc::clone(&ended.outcome), event: Box::new(event) }.into()
    }

    fn event(&self, ended: &Final) -> NewEvent {
        let kind = match ended.outcome.kind {
            OutcomeKind::Completed => EventType::SessionCompleted,
            _ => EventType::SessionError,
        };
        NewEvent::of(kind, ended.payload.clone()).from_session(self.session.id().clone())
    }

    /// An outcome with what the terminal event says of it, in the store and in the router alike.
    fn told(&self, outcome: Arc<SessionOutcome>) -> Final {
        let payload = Payload::cut(&self.said(&outcome)).unwrap_or_else(|error| {
            tracing::error!(session = %self.session.id(), %error, "a terminal event says nothing");
            Payload::null()
        });
        Final { outcome, payload }
    }

    fn said<'a>(&'a self, outcome: &'a SessionOutcome) -> Said<'a> {
        let cut = outcome.output.floor_char_boundary(PREVIEW_BYTES);
        let env = self.session.env();
        Said {
            session_id: &env.session,
            activation: env.activation,
            parent_id: env.parent.as_ref(),
            root_id: &env.root,
            name: self.facts.name.as_deref(),
            bundle: self.facts.bundle.as_deref(),
            agent: self.facts.agent.as_deref(),
            outcome: outcome.kind,
            output: &outcome.output[..cut],
            output_truncated: cut < outcome.output.len(),
            error: outcome
                .error
                .as_ref()
                .map(|error| SaidError { kind: error.kind, message: &error.message }),
            usage: outcome.usage,
            cost_usd: outcome.cost_micro_usd.map(|micro| micro as f64 / 1e6),
            duration_ms: outcome.duration_ms,
            turns: outcome.turns,
            run_id: None,
            trigger_id: None,
            metadata: &self.facts.metadata,
        }
    }
}

/// An outcome that counts, with the payload of its terminal event.
#[derive(Debug)]
pub(super) struct Final {
    outcome: Arc<SessionOutcome>,
    payload: Payload,
}

/// The payload of a terminal event.
#[derive(Serialize)]
struct Said<'a> {
    session_id: &'a SessionId,
    activation: Activation,
    parent_id: Option<&'a SessionId>,
    root_id: &'a SessionId,
    name: Option<&'a str>,
    bundle: Option<&'a str>,
    agent: Option<&'a str>,
    outcome: OutcomeKind,
    output: &'a str,
    output_truncated: bool,
    error: Option<SaidError<'a>>,
    usage: Usage,
    cost_usd: Option<f64>,
    duration_ms: u64,
    turns: u32,
    run_id: Option<&'a RunId>,
    trigger_id: Option<&'a TriggerId>,
    metadata: &'a serde_json::Map<String, Value>,
}

#[derive(Serialize)]
struct SaidError<'a> {
    kind: FailureKind,
    message: &'a str,
}

/// Ends that long after it is first waited for, and costs nothing before.
pub(super) async fn within(clock: &Arc<dyn Clock>, span: Duration) {
    clock.sleep_until(clock.monotonic().saturating_add(span)).await;
}
