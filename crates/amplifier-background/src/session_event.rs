//! A trigger that the event log fires: by any of its events, or by those that tell of changes of issues.
//!
//! Guarantees: each recorded event that fits fires once, in the order of the log, also those of a time in
//! which nobody looked, as long as the log holds them, unless its misfire policy says otherwise. Events of the
//! background session's own runs do not fire it unless it says so.

use std::sync::Arc;

use amplifier_core::clock::BoxFuture;
use amplifier_core::{EventPattern, Payload, SessionEvent};
use amplifier_foundation::router::{Events, InvalidFilter};
use amplifier_foundation::{EventFilter, EventRouter};
use amplifier_store::{Cursor, Store, StoreError};
use amplifier_trigger::config::{ISSUE_EVENTS, IssueEventConfig, SessionEventConfig};
use amplifier_trigger::{
    Cause, Misfire, Passed, TriggerContext, TriggerError, TriggerEvent, TriggerKind, TriggerSource,
    TriggerStream,
};
use futures_util::{StreamExt, stream};
use serde::Deserialize;

use crate::run::is_own;

/// Events of the log that are read at once while it is found out what was missed.
const PAGE: usize = 500;
/// Events that become durable together at most.
const AT_ONCE: usize = 256;

/// The source of a `session_event` trigger.
#[derive(Debug, Clone)]
pub struct SessionEventTrigger {
    router: EventRouter,
    store: Arc<dyn Store>,
    config: SessionEventConfig,
    misfire: Misfire,
    /// Types of issues, where only their changes count; none: any.
    issues: Option<Vec<String>>,
    /// What was recorded before this place was missed; the end of the log where it was not prepared.
    prepared: Option<Cursor>,
}

impl SessionEventTrigger {
    /// A trigger over a log; each event fires it, also those that were recorded while it was not watched.
    pub fn new(router: EventRouter, store: Arc<dyn Store>, config: SessionEventConfig) -> Self {
        Self { router, store, config, misfire: Misfire::All, issues: None, prepared: None }
    }

    /// A trigger over the changes of issues, also those of a time in which nobody looked.
    pub fn of_issues(router: EventRouter, store: Arc<dyn Store>, config: IssueEventConfig) -> Self {
        let IssueEventConfig { events, types, .. } = config;
        let all = || ISSUE_EVENTS.map(str::to_owned).to_vec();
        let events = if events.is_empty() { all() } else { events };
        let patterns = events.iter().filter_map(|event| EventPattern::new(format!("issue_{event}")).ok());
        let config = SessionEventConfig::names(patterns);
        Self { issues: Some(types), ..Self::new(router, store, config) }
    }

    /// What becomes of events that were recorded while it was not watched.
    #[must_use]
    pub fn misfire(mut self, misfire: Misfire) -> Self {
        self.misfire = misfire;
        self
    }

    /// The names that it listens to. `Err`: a name that no event can have.
    pub(crate) fn filter(config: &SessionEventConfig) -> Result<EventFilter, InvalidFilter> {
        EventFilter::names(config.event_names.iter().map(|pattern| pattern.as_str()))
    }
}

impl TriggerSource for SessionEventTrigger {
    /// Notes where the log ends: what comes behind it was not missed.
    fn prepare(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.prepared = self.store.tail().await.ok();
        })
    }

    fn at_once(&self) -> usize {
        AT_ONCE
    }

    fn watch(self: Box<Self>, context: TriggerContext) -> TriggerStream {
        let follow = Follow { reader: Reader { source: *self, context }, at: None, skipped: 0 };
        stream::unfold(Some(follow), |follow| async {
            let mut follow = follow?;
            let next = follow.next().await?;
            let rest = next.is_ok().then_some(follow);
            Some((next, rest))
        })
        .boxed()
    }
}

/// What tells which events fire it, and as what.
struct Reader {
    source: SessionEventTrigger,
    context: TriggerContext,
}

struct Follow {
    reader: Reader,
    at: Option<At>,
    /// Events that were missed and left out, since the last one that was not.
    skipped: u64,
}

/// A place in the log.
struct At {
    events: Events,
    log: u64,
    /// What was missed, if it is not read event by event: how many, and the last of them.
    missed: Option<(u64, Arc<SessionEvent>)>,
}

/// True for a change of an issue of one of these types, if there are any.
fn is_of_type(types: &[String], event: &SessionEvent) -> bool {
    #[derive(Deserialize)]
    struct Told {
        issue_type: String,
    }
    let told = || event.payload.decode::<Told>().ok();
    types.is_empty() || told().is_some_and(|told| types.contains(&told.issue_type))
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> TriggerError {
    TriggerError::Source(Box::new(error))
}

/// Where the log is read from: where the last commit was, else from now on.
async fn place(source: &SessionEventTrigger, context: &TriggerContext) -> Result<Cursor, TriggerError> {
    let kept = context.resume.cursor.as_ref().and_then(|cursor| cursor.decode::<Cursor>().ok());
    let cursor = match kept {
        Some(cursor) => cursor,
        None => source.store.tail().await.map_err(failed)?,
    };
    match source.store.events(cursor, 0).await {
        Err(StoreError::Gone { oldest }) => {
            tracing::warn!(background = %context.background, "the log does not hold all that a trigger has missed");
            Ok(oldest)
        }
        _ => Ok(cursor),
    }
}

impl Follow {
    async fn next(&mut self) -> Option<Result<TriggerEvent, TriggerError>> {
        if self.at.is_none() {
            match self.reader.open().await {
                Ok(at) => self.at = Some(at),
                Err(error) => return Some(Err(error)),
            }
        }
        let at = self.at.as_mut()?;
        let log = at.log;
        if let Some((missed, last)) = at.missed.take() {
            if self.reader.source.misfire == Misfire::Once {
                let coalesced = missed.saturating_sub(1);
                return Some(self.reader.event(&last, log, Passed { coalesced, skipped: 0 }));
            }
            self.skipped = missed;
        }
        loop {
            let event = match self.at.as_mut()?.events.next().await? {
                Ok(event) => event,
                Err(error) => return Some(Err(failed(error))),
            };
            if self.reader.fits(&event) {
                let passed = Passed { coalesced: 0, skipped: std::mem::take(&mut self.skipped) };
                return Some(self.reader.event(&event, log, passed));
            }
        }
    }
}

impl Reader {
    async fn open(&self) -> Result<At, TriggerError> {
        let (mut cursor, mut missed) = (place(&self.source, &self.context).await?, None);
        let filter = SessionEventTrigger::filter(&self.source.config).map_err(failed)?;
        if self.source.misfire != Misfire::All {
            (cursor, missed) = self.missed(cursor, &filter).await?;
        }
        let events = self.source.router.subscribe_from(cursor, filter).await.map_err(failed)?;
        Ok(At { events, log: cursor.log, missed })
    }

    /// Reads what was recorded up to now: how many events fit, the last of them, and where to go on.
    async fn missed(
        &self,
        mut cursor: Cursor,
        filter: &EventFilter,
    ) -> Result<(Cursor, Option<(u64, Arc<SessionEvent>)>), TriggerError> {
        let store = &self.source.store;
        let end = match self.source.prepared {
            Some(end) => end,
            None => store.tail().await.map_err(failed)?,
        };
        let mut missed: Option<(u64, Arc<SessionEvent>)> = None;
        while cursor.log == end.log && cursor.sequence < end.sequence {
            let left = usize::try_from(end.sequence - cursor.sequence).unwrap_or(PAGE);
            let page = store.events(cursor, left.min(PAGE)).await.map_err(failed)?;
            for event in page.events.iter().filter(|event| filter.matches(event) && self.fits(event)) {
                let before = missed.take().map_or(0, |(count, _)| count);
                missed = Some((before + 1, Arc::clone(event)));
            }
            if page.events.is_empty() {
                break;
            }
            cursor = page.next;
        }
        Ok((cursor, missed))
    }

    fn fits(&self, event: &SessionEvent) -> bool {
        let config = &self.source.config;
        let mut origin = event.root.iter().chain(&event.source);
        if let Some(types) = &self.source.issues
            && !is_of_type(types, event)
        {
            return false;
        }
        if !config.own_events && origin.any(|session| is_own(&self.context.background, session)) {
            return false;
        }
        (config.source_sessions.is_empty() || self.is_from(event)) && config.matching.matches(&event.payload)
    }

    fn is_from(&self, event: &SessionEvent) -> bool {
        #[derive(Deserialize)]
        struct Named {
            name: Option<String>,
            session_name: Option<String>,
        }
        let known = |name: &str| self.source.config.source_sessions.iter().any(|source| source == name);
        if event.source.iter().chain(&event.root).any(|session| known(session.as_str())) {
            return true;
        }
        let named: Option<Named> = event.payload.decode().ok();
        named.is_some_and(|named| {
            [named.name, named.session_name].into_iter().flatten().any(|name| known(&name))
        })
    }

    fn kind(&self) -> TriggerKind {
        if self.source.issues.is_some() { TriggerKind::IssueEvent } else { TriggerKind::SessionEvent }
    }

    fn event(&self, event: &SessionEvent, log: u64, passed: Passed) -> Result<TriggerEvent, TriggerError> {
        let id = self.context.event_id(&event.id.0.to_string())?;
        let cause = Cause::Event { event: event.id };
        let at = self.context.clock.now();
        let mut fired = TriggerEvent::new(id, self.kind(), at, cause, event.payload.clone());
        (fired.due, fired.passed) = (event.at, passed);
        fired.answers = Some(amplifier_core::Cause::of(event));
        fired.event_name = Some(event.event_type.name().to_owned());
        if let Some(source) = &event.source {
            fired.source = source.as_str().to_owned();
        }
        let next = event.sequence.map(|sequence| Cursor { log, sequence: sequence + 1 });
        fired.cursor = next.and_then(|next| Payload::encode(&next).ok());
        Ok(fired)
    }
}
