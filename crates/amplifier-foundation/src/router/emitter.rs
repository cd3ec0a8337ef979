//! Emitting, and waiting, in the name of a session.
//!
//! Guarantees: an event names its session, the root of its tree and what caused it, whatever the caller
//! says; only custom names pass. A session that another process has taken over emits nothing here, also if this
//! process does not know it yet. What a session's waits have returned once they do not return again, and
//! what was emitted since its start is found.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use amplifier_core::clock::BoxFuture;
use amplifier_core::env::{EmitError, EventSink};
use amplifier_core::payload::PayloadError;
use amplifier_core::{Cause, CustomName, EventId, EventType, NewEvent, Payload, SessionEvent, SessionId};

use amplifier_store::ActivationId;

use super::{Cursor, EventFilter, EventRouter, RouterError};
use crate::redact::Redactor;

/// Events that may follow each other in a chain of causes, where no limit says otherwise.
pub const DEFAULT_MAX_HOPS: u32 = 16;

/// Ends of sessions that a session remembers to have been told of, though they lie before its start.
const MAX_KNOWN_ENDS: usize = 1_024;

/// Emits in the name of one session.
#[derive(Debug, Clone)]
pub struct Emitter {
    router: EventRouter,
    session: SessionId,
    cause: Option<Cause>,
}

impl Emitter {
    pub(super) fn new(router: EventRouter, session: SessionId) -> Self {
        Self { router, session, cause: None }
    }

    /// The same, for events that answer this one: they have it as their cause, and are one hop further.
    #[must_use]
    pub fn after(mut self, cause: &SessionEvent) -> Self {
        self.cause = Some(Cause::of(cause));
        self
    }

    /// Emits a custom event.
    pub async fn emit<N>(&self, name: N, payload: impl Into<Payload>) -> Result<EventId, EmitError>
    where
        N: TryInto<CustomName>,
        EmitError: From<N::Error>,
    {
        let event = NewEvent::custom(name.try_into()?, payload)
            .from_session(self.session.clone())
            .caused_by(self.cause);
        self.router.bounded(event, DEFAULT_MAX_HOPS, None).await
    }
}

/// Records a custom event, where it is one of a session as long as that runs; refuses others.
pub(super) async fn custom(
    router: &EventRouter,
    event: NewEvent,
    max_hops: u32,
    of: Option<&ActivationId>,
) -> Result<EventId, EmitError> {
    match &event.event_type {
        EventType::Custom(_) => router.bounded(event, max_hops, of).await,
        kernel => Err(EmitError::Kernel { name: kernel.name().to_owned() }),
    }
}

/// The events of a session that runs here: what it emits, what its hooks are told, and what it waits for.
/// A capability of the session: `env.coordinator.capability::<SessionEvents>()`.
pub struct SessionEvents {
    router: EventRouter,
    session: SessionId,
    root: SessionId,
    cause: Option<Cause>,
    max_hops: u32,
    redactor: Arc<Redactor>,
    start: OnceLock<Cursor>,
    /// The activation that the store has; none before it has one.
    of: OnceLock<ActivationId>,
    /// It has ended, by its own outcome.
    ended: AtomicBool,
    // Held to read or move the cursor; never across an await.
    waits: Mutex<Waits>,
}

#[derive(Debug, Default)]
struct Waits {
    /// Behind the last event that a wait returned.
    cursor: Option<Cursor>,
    /// Ends before the start that were returned.
    ends: Vec<EventId>,
}

impl fmt::Debug for SessionEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionEvents").field("session", &self.session).finish_non_exhaustive()
    }
}

impl SessionEvents {
    pub(crate) fn new(
        router: EventRouter,
        (session, root): (SessionId, SessionId),
        cause: Option<Cause>,
        max_hops: u32,
        redactor: Arc<Redactor>,
    ) -> Self {
        let (start, of, ended, waits) = Default::default();
        Self { router, session, root, cause, max_hops, redactor, start, of, ended, waits }
    }

    /// Notes that the store has the session's row: from now on it emits only as long as nobody else has ended the
    /// activation.
    pub(crate) fn opened(&self, of: ActivationId) {
        let _ = self.of.set(of);
    }

    /// Notes that the activation has ended by its own outcome: nobody has taken it.
    pub(crate) fn ended(&self) {
        self.ended.store(true, Ordering::Release);
    }

    fn running(&self) -> Option<&ActivationId> {
        self.of.get().filter(|_| !self.ended.load(Ordering::Acquire))
    }

    /// What started the session, or the one above that an event started.
    pub fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// The router.
    pub fn router(&self) -> &EventRouter {
        &self.router
    }

    /// Notes the session's start: its waits find what is recorded from now on. The first call counts.
    pub(crate) fn started(&self, tail: Cursor) {
        let _ = self.start.set(tail);
    }

    /// Where the next wait begins: behind the last event that one returned, else at the session's start.
    pub async fn cursor(&self) -> Result<Cursor, RouterError> {
        let known = self.waits().cursor.or_else(|| self.start.get().copied());
        match known {
            Some(cursor) => Ok(cursor),
            None => Ok(*self.start.get_or_init({
                let tail = self.router.tail().await?;
                move || tail
            })),
        }
    }

    /// Waits for the first event since the session's start, or since the last one that a wait returned, that
    /// passes; `None` when the time is up. A filter for the end of given sessions also finds one that
    /// ended before this session began, once. A place that was pruned is an error once; the next wait
    /// begins with what the log still has.
    pub async fn wait<F>(
        &self,
        filter: F,
        timeout: Duration,
    ) -> Result<Option<Arc<SessionEvent>>, RouterError>
    where
        F: TryInto<EventFilter>,
        RouterError: From<F::Error>,
    {
        let filter: EventFilter = filter.try_into()?;
        let cursor = self.cursor().await?;
        if let Some(ended) = self.ended_before(&filter, cursor).await? {
            return Ok(Some(ended));
        }
        match self.router.wait_from(filter, cursor, timeout).await {
            Ok(None) => Ok(None),
            Ok(Some((event, behind))) => {
                self.waits().cursor = Some(behind);
                Ok(Some(event))
            }
            Err(RouterError::Gone { oldest }) => {
                self.waits().cursor = Some(oldest);
                Err(RouterError::Gone { oldest })
            }
            Err(error) => Err(error),
        }
    }

    /// An end that the log will not show from the cursor on, and that no wait has returned.
    async fn ended_before(
        &self,
        filter: &EventFilter,
        cursor: Cursor,
    ) -> Result<Option<Arc<SessionEvent>>, RouterError> {
        let Some(sources) = filter.ends_of() else { return Ok(None) };
        let start = self.start.get().copied().unwrap_or(cursor);
        let fresh =
            |id: EventId, sequence: u64| sequence < start.sequence && !self.waits().ends.contains(&id);
        let ended = self.router.ended(filter, sources, fresh).await?;
        if let Some(event) = &ended {
            let mut waits = self.waits();
            if waits.ends.len() == MAX_KNOWN_ENDS {
                waits.ends.remove(0);
            }
            waits.ends.push(event.id);
        }
        Ok(ended)
    }

    /// Data of a hook event as others may see it: without secrets, and cut if it is too large.
    fn without_secrets(&self, data: Payload) -> Result<Payload, PayloadError> {
        match data.check() {
            Ok(()) => self.cleaned(data),
            Err(_) => Payload::cut(&self.redacted(&data)?),
        }
    }

    /// What the session emits, without secrets.
    fn cleaned(&self, data: Payload) -> Result<Payload, PayloadError> {
        match self.redactor.passes(data.as_bytes()) {
            true => Ok(data),
            false => Payload::encode(&self.redacted(&data)?),
        }
    }

    fn redacted(&self, data: &Payload) -> Result<serde_json::Value, PayloadError> {
        let mut value = data.decode()?;
        self.redactor.redact(&mut value);
        Ok(value)
    }

    fn waits(&self) -> std::sync::MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own(&self, event: NewEvent) -> NewEvent {
        let event = event.from_session(self.session.clone()).below(self.root.clone());
        match event.causation {
            Some(_) => event,
            None => event.caused_by(self.cause),
        }
    }
}

impl EventSink for SessionEvents {
    fn emit<'a>(&'a self, event: NewEvent) -> BoxFuture<'a, Result<EventId, EmitError>> {
        Box::pin(async move {
            let mut event = self.own(event);
            event.payload = self.cleaned(event.payload)?;
            custom(&self.router, event, self.max_hops, self.running()).await
        })
    }

    fn wants(&self, event: &EventType) -> bool {
        self.router.0.feed.wants(event, &self.session, &self.root)
    }

    fn tell(&self, event: &EventType, data: Payload) {
        if !super::filter::is_bridged(event) {
            return;
        }
        let told = self.without_secrets(data).map_err(EmitError::from).and_then(|payload| {
            self.router.publish_ephemeral(self.own(NewEvent::of(event.clone(), payload)))
        });
        if let Err(error) = told {
            tracing::debug!(session = %self.session, %error, "a hook event was not told");
        }
    }
}
