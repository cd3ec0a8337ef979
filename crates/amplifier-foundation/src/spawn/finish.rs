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
use amplifier_core::causes::chain;
use amplifier_core::env::SessionEnv;
use amplifier_core::limits::LimitKind;
use amplifier_core::outcome::{FailureKind, OutcomeError, outcome_of_cancel};
use amplifier_core::session::Settler;
use amplifier_core::until::until;
use amplifier_core::{AmplifierSession, CancelReason, Clock, MonoTime, OutcomeKind, SessionOutcome};

use tokio::sync::oneshot;

use super::SpawnError;
use super::bounds::Bounds;
use super::commit;
use super::node::Child;
use super::places::Place;
use super::record::Recorded;
use super::terminal::{Facts, Final};
use super::together::{Together, both};
use crate::host::Host;
use crate::router::SessionEvents;
use amplifier_store::{ActivationId, Commit, Receipt, Repeated, StoreError, Write};

/// How long the clean-ups of a session may take.
pub(super) const CLEAN_UP_GRACE: Duration = Duration::from_secs(5);

/// How often what belongs together with an outcome is made anew.
const TRIES: usize = 8;

/// Where the session goes that a caller waits for.
pub(super) type Answer = oneshot::Sender<Result<AmplifierSession, SpawnError>>;

/// What stands beside an activation: its place in its parent, among the running ones, and who writes with it.
pub(super) type Beside = (Option<Arc<Child>>, Option<Place>, Option<Arc<dyn Together>>);

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
    together: Option<Arc<dyn Together>>,
    // Held to take the place out; never across an await.
    place: Mutex<Option<Place>>,
    // Held to take the sender out; never across an await.
    caller: Mutex<Option<Answer>>,
    /// The deadline that passed, if one did.
    expired: OnceLock<Deadline>,
    /// What the store was given to settle; no other outcome is told from then on.
    handed: OnceLock<Arc<SessionOutcome>>,
    published: AtomicBool,
    /// The session's task has ended.
    ended: AtomicBool,
}

impl Ending {
    pub(super) fn new(
        host: Host,
        session: AmplifierSession,
        settler: Settler,
        recorded: &Recorded,
        bounds: Arc<Bounds>,
        (child, place, together): Beside,
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
            together,
            place,
            caller: Mutex::default(),
            expired: OnceLock::new(),
            handed: OnceLock::new(),
            published: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        })
    }

    /// Settles in the store. The outcome that counts: one that was settled before wins.
    pub(super) async fn settle(&self, outcome: Arc<SessionOutcome>) -> Final {
        let ended = self.told(outcome);
        let _ = self.handed.set(Arc::clone(&ended.outcome));
        let mut settled = self.settle_whole(&ended).await;
        if let (Err(error), Some(_)) = (&settled, &self.together) {
            tracing::warn!(session = %self.session.id(), %error, "an outcome is settled alone");
            settled = commit::once(&self.host, || self.commit(&ended, false)).await;
        }
        let error = match settled {
            Ok(Receipt::Repeated(Repeated::Settled { settled, .. })) => return self.told(settled.outcome),
            Ok(_) => {
                let events = self.session.env().coordinator.capability::<SessionEvents>();
                events.iter().for_each(|events| events.ended());
                return ended;
            }
            // Somebody has locked the database. What is posted is written once that is over, and the
            // intent is durable already.
            Err(StoreError::Busy { .. }) if self.post(&ended).is_ok() => return ended,
            Err(error) => chain(&error),
        };
        tracing::error!(session = %self.session.id(), error, "the outcome could not be settled");
        let mut outcome = SessionOutcome::clone(&ended.outcome);
        outcome.unrecorded = true;
        let mut ended = self.told(Arc::new(outcome));
        ended.recorded = false;
        ended
    }

    /// Settles with what belongs together with it, which is made anew where somebody else was first.
    async fn settle_whole(&self, ended: &Final) -> Result<Receipt, StoreError> {
        let of = self.activation();
        for _ in 0..TRIES {
            let looked = match &self.together {
                Some(together) => commit::heard(&self.host, together.prepare(&of, &ended.outcome)).await,
                None => false,
            };
            let settled = commit::once(&self.host, || self.commit(ended, true)).await;
            if !looked || !settled.as_ref().is_err_and(is_overtaken) {
                return settled;
            }
        }
        commit::once(&self.host, || self.commit(ended, true)).await
    }

    fn activation(&self) -> ActivationId {
        ActivationId::new(self.session.id().clone(), self.session.activation())
    }

    /// Settles and publishes for who cannot wait: the store is told, and not asked.
    pub(super) fn force(&self, outcome: SessionOutcome) {
        if self.is_published() {
            return;
        }
        // A commit may be under way that nobody waits for any more.
        let outcome = self.handed.get().cloned().unwrap_or_else(|| Arc::new(outcome));
        let mut ended = self.told(outcome);
        if let Err(error) = self.post(&ended) {
            tracing::error!(session = %self.session.id(), %error, "the outcome could not be settled");
            ended.recorded = false;
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

    /// The outcome to everybody who waits. The first call counts. Its terminal event was told by the store;
    /// where that has failed, by nobody else.
    pub(super) fn publish(&self, ended: Final) {
        if self.published.swap(true, Ordering::AcqRel) {
            return;
        }
        if !ended.recorded {
            let event = ended.sealed(&self.host, self.session.id(), self.facts.id);
            self.host.router().tell_unrecorded(event);
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
        self.answer();
    }

    /// Notes who waits for the session. It is answered once, at the latest when the outcome is published:
    /// woken before, it would wait in a queue behind the modules of this session, which may block it.
    pub(super) fn asked_by(&self, caller: Answer) {
        *self.caller.lock().unwrap_or_else(PoisonError::into_inner) = Some(caller);
        if self.is_published() {
            self.answer();
        }
    }

    /// Hands the session to its caller.
    pub(super) fn answer(&self) {
        let caller = self.caller.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(caller) = caller {
            // Nobody there to hear it has dropped the guard, which cancels.
            let _ = caller.send(Ok(self.session.clone()));
        }
    }

    /// With what belongs together with it, and behind that without: nobody hears of a refusal, and an
    /// activation is settled once.
    fn post(&self, ended: &Final) -> Result<(), StoreError> {
        if self.together.is_some() {
            commit::post(&self.host, self.commit(ended, true))?;
        }
        commit::post(&self.host, self.commit(ended, false))
    }

    fn commit(&self, ended: &Final, whole: bool) -> Commit {
        let of = self.activation();
        let event = Box::new(ended.sealed(&self.host, self.session.id(), self.facts.id));
        let more = self.together.as_ref().filter(|_| whole);
        let more = more.map(|together| together.settling(&of, &ended.outcome, &event));
        let settle = Write::Settle { of, outcome: Arc::clone(&ended.outcome), event };
        both(settle.into(), more.unwrap_or_default())
    }

    fn told(&self, outcome: Arc<SessionOutcome>) -> Final {
        self.facts.told(self.session.env(), outcome)
    }
}

/// True where what is there now may allow another try.
fn is_overtaken(error: &StoreError) -> bool {
    matches!(error, StoreError::RunIs { .. } | StoreError::IssueIs { .. })
}

/// The clean-ups of a session that did not begin: bounded like those of one that did.
pub(super) async fn clean_up(host: &Host, env: &SessionEnv) {
    if until(env.coordinator.clean_up(), within(host.clock(), CLEAN_UP_GRACE)).await.is_none() {
        tracing::warn!(session = %env.session, "clean-ups took too long and were left");
    }
}

/// Ends that long after it is first waited for, and costs nothing before.
pub(super) async fn within(clock: &Arc<dyn Clock>, span: Duration) {
    clock.sleep(span).await;
}
