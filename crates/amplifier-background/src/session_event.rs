//! A trigger that the event log fires.
//!
//! Guarantees: each recorded event that fits fires once, in the order of the log, also those of a time in
//! which nobody looked, as long as the log holds them. Events of the background session's own runs do not
//! fire it unless it says so.

use std::sync::Arc;

use amplifier_core::{Payload, SessionEvent};
use amplifier_foundation::router::Events;
use amplifier_foundation::{EventFilter, EventRouter};
use amplifier_store::{Cursor, Store, StoreError};
use amplifier_trigger::config::SessionEventConfig;
use amplifier_trigger::{
    Cause, TriggerContext, TriggerError, TriggerEvent, TriggerKind, TriggerSource, TriggerStream,
};
use futures_util::{StreamExt, stream};
use serde::Deserialize;

use crate::run::is_own;

/// The source of a `session_event` trigger.
#[derive(Debug, Clone)]
pub struct SessionEventTrigger {
    router: EventRouter,
    store: Arc<dyn Store>,
    config: SessionEventConfig,
}

impl SessionEventTrigger {
    /// A trigger over a log.
    pub fn new(router: EventRouter, store: Arc<dyn Store>, config: SessionEventConfig) -> Self {
        Self { router, store, config }
    }
}

impl TriggerSource for SessionEventTrigger {
    fn watch(self: Box<Self>, context: TriggerContext) -> TriggerStream {
        let follow = Follow { source: *self, context, at: None };
        stream::unfold(Some(follow), |follow| async {
            let mut follow = follow?;
            let next = follow.next().await?;
            let rest = next.is_ok().then_some(follow);
            Some((next, rest))
        })
        .boxed()
    }
}

struct Follow {
    source: SessionEventTrigger,
    context: TriggerContext,
    at: Option<(Events, u64)>,
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> TriggerError {
    TriggerError::Source(Box::new(error))
}

/// Where the log is read from: where the last commit was, else from now on.
async fn open(source: SessionEventTrigger, context: TriggerContext) -> Result<(Events, u64), TriggerError> {
    let SessionEventTrigger { router, store, config } = &source;
    let kept = context.resume.cursor.as_ref().and_then(|cursor| cursor.decode::<Cursor>().ok());
    let mut cursor = match kept {
        Some(cursor) => cursor,
        None => store.tail().await.map_err(failed)?,
    };
    if let Err(StoreError::Gone { oldest }) = store.events(cursor, 0).await {
        tracing::warn!(background = %context.background, "the log does not hold all that a trigger has missed");
        cursor = oldest;
    }
    let names = config.event_names.iter().map(|pattern| pattern.as_str());
    let filter = EventFilter::names(names).map_err(failed)?;
    let events = router.subscribe_from(cursor, filter).await.map_err(failed)?;
    Ok((events, cursor.log))
}

impl Follow {
    async fn next(&mut self) -> Option<Result<TriggerEvent, TriggerError>> {
        loop {
            if self.at.is_none() {
                match open(self.source.clone(), self.context.clone()).await {
                    Ok(at) => self.at = Some(at),
                    Err(error) => return Some(Err(error)),
                }
            }
            let (events, log) = self.at.as_mut()?;
            let event = match events.next().await? {
                Ok(event) => event,
                Err(error) => return Some(Err(failed(error))),
            };
            let log = *log;
            if self.fits(&event) {
                return Some(self.event(&event, log));
            }
        }
    }

    fn fits(&self, event: &SessionEvent) -> bool {
        let config = &self.source.config;
        let mut origin = event.root.iter().chain(&event.source);
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

    fn event(&self, event: &SessionEvent, log: u64) -> Result<TriggerEvent, TriggerError> {
        let id = self.context.event_id(&event.id.0.to_string())?;
        let cause = Cause::Event { event: event.id };
        let at = self.context.clock.now();
        let mut fired = TriggerEvent::new(id, TriggerKind::SessionEvent, at, cause, event.payload.clone());
        fired.due = event.at;
        fired.event_name = Some(event.event_type.name().to_owned());
        if let Some(source) = &event.source {
            fired.source = source.as_str().to_owned();
        }
        let next = event.sequence.map(|sequence| Cursor { log, sequence: sequence + 1 });
        fired.cursor = next.and_then(|next| Payload::encode(&next).ok());
        Ok(fired)
    }
}
