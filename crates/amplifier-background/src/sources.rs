//! The triggers of one background session, each in a task of its own.
//!
//! Guarantees: a source that fails or panics is seen in the status, told as `background:error`, and started
//! again after a wait; no other one notices. A firing is asked for only once those before are durable, but for as
//! many as the source has ready and gives at once.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::panic::caught;
use amplifier_core::until::until;
use amplifier_core::{CancelToken, EventType, MonoTime, NewEvent};
use amplifier_foundation::Host;
use amplifier_store::{Commit, Expect, StoreError, Write};
use amplifier_trigger::{
    BuildError, BuiltTrigger, Misfire, SourceEnv, TriggerConfig, TriggerContext, TriggerError, TriggerEvent,
    TriggerHandle, TriggerKey, TriggerRegistry, TriggerRow, TriggerSource, TriggerSpec, TriggerStream,
};
use futures_util::StreamExt;
use futures_util::future::poll_immediate;
use serde_json::json;

use crate::config::{BackgroundConfig, backoff};
use crate::intake::{Intake, Origin, Taken};
use crate::session_event::SessionEventTrigger;
use crate::status::TriggerState;

/// A source that was well for so long counts its restarts anew.
pub(crate) const HEALTHY: Duration = Duration::from_secs(60);
/// How long a source waits that met a full queue or a store that failed.
const RETRY: Duration = Duration::from_secs(1);
/// Firings that carry so many bytes are not waited with for more.
const TOGETHER_BYTES: usize = 1024 * 1024;

/// What sources are made with.
#[derive(Debug, Clone)]
pub(crate) struct Workshop {
    pub(crate) host: Host,
    pub(crate) registry: TriggerRegistry,
    pub(crate) env: SourceEnv,
}

impl Workshop {
    pub(crate) fn build(
        &self,
        of: &BackgroundConfig,
        config: &TriggerConfig,
    ) -> Result<BuiltTrigger, BuildError> {
        if let Some(source) = of.work.as_ref().and_then(|work| work.source(config)) {
            return Ok(BuiltTrigger::boxed(source));
        }
        let (router, store) = (self.host.router().clone(), Arc::clone(self.host.store()));
        let of_log = match &config.spec {
            TriggerSpec::SessionEvent(of_log) => of_log,
            TriggerSpec::IssueEvent(issues) if !self.registry.knows(config.kind().as_str()) => {
                return Ok(BuiltTrigger::new(SessionEventTrigger::of_issues(router, store, issues.clone())));
            }
            _ => return self.registry.build(config, &self.env),
        };
        SessionEventTrigger::filter(of_log)
            .map_err(|source| BuildError::Refused { kind: config.kind(), source: source.into() })?;
        let source = SessionEventTrigger::new(router, store, of_log.clone());
        let misfire = config.policy.misfire.unwrap_or(Misfire::All);
        Ok(BuiltTrigger::new(source.misfire(misfire)))
    }
}

/// Told of each handle that feeds a source.
type OnHandle = dyn Fn(&TriggerKey, TriggerHandle) + Send + Sync;

/// Where the declaration of a trigger is.
pub(crate) enum Declared {
    /// Its place in that of its background session.
    At(usize),
    /// With the trigger: code has added it.
    Added(Box<TriggerConfig>),
}

/// One trigger at work. There may be many thousands that wait: what others hold too is shared with them.
pub(crate) struct Source {
    pub(crate) workshop: Arc<Workshop>,
    pub(crate) config: Declared,
    pub(crate) key: TriggerKey,
    pub(crate) row: Arc<TriggerRow>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) fence: Expect,
    pub(crate) stop: CancelToken,
    /// Names this start of the owner.
    pub(crate) start: uuid::Uuid,
    /// Told of each handle that feeds the source.
    pub(crate) handles: Arc<OnHandle>,
}

/// How a source came to its end.
enum Ended {
    Stopped,
    Silent,
    Failed { error: String, last: bool },
    Lost,
}

impl Source {
    /// Works until it is stopped or has nothing more to say.
    pub(crate) async fn run(mut self: Box<Self>, first: BuiltTrigger) {
        let (mut built, mut restarts) = (Ok(first), 0_u32);
        loop {
            let began = self.now();
            let ended = match built {
                Ok(built) => {
                    (self.handles)(&self.key, built.handle.clone());
                    self.set(TriggerState::Watching, restarts, None);
                    self.watch(built.source, restarts).await
                }
                Err(error) => Ended::Failed { error: amplifier_core::causes::chain(&error), last: false },
            };
            let (error, last) = match ended {
                Ended::Stopped => return,
                Ended::Silent => return self.set(TriggerState::Ended, restarts, None),
                Ended::Lost => ("another process owns the triggers now".to_owned(), true),
                Ended::Failed { error, last } => (error, last),
            };
            if self.now().saturating_since(began) >= HEALTHY {
                restarts = 0;
            }
            let config = &self.intake.config;
            let gives_up = last || !config.restart_on_failure || restarts >= config.max_restarts;
            let state = if gives_up { TriggerState::Failed } else { TriggerState::Restarting };
            self.set(state, restarts, Some(&error));
            Box::pin(self.tell(&error, restarts, gives_up)).await;
            if gives_up {
                return;
            }
            restarts += 1;
            let wait = self.workshop.host.clock().sleep(backoff(restarts));
            if until(wait, self.stop.cancelled()).await.is_none() {
                return;
            }
            built = match self.config() {
                Some(config) => self.workshop.build(&self.intake.config, config),
                None => return,
            };
        }
    }

    /// `None` cannot be: a background session keeps its declaration as long as it runs.
    fn config(&self) -> Option<&TriggerConfig> {
        match &self.config {
            Declared::At(place) => self.intake.config.triggers.get(*place),
            Declared::Added(config) => Some(config),
        }
    }

    fn now(&self) -> MonoTime {
        self.workshop.host.clock().monotonic()
    }

    fn set(&self, state: TriggerState, restarts: u32, error: Option<&str>) {
        self.intake.board.trigger(&self.key, |status| {
            // Whoever has silenced it says how it stands.
            if self.stop.is_cancelled() {
                return;
            }
            (status.state, status.restarts) = (state, restarts);
            if let Some(error) = error {
                status.error = Some(error.to_owned());
            }
        });
    }

    async fn watch(&mut self, source: Box<dyn TriggerSource>, restarts: u32) -> Ended {
        let host = self.workshop.host.clone();
        let (name, row) = (self.intake.config.name.clone(), Arc::clone(&self.row));
        let clock = Arc::clone(host.clock());
        let mut context = TriggerContext::new(name, row, clock, Arc::clone(host.ids()), self.stop.clone());
        context.start = self.start;
        let made = caught(async move { (source.at_once(), source.watch(context)) }).await;
        let (at_once, mut stream) = match made {
            Ok(made) => made,
            Err(panic) => return Ended::Failed { error: format!("it panicked: {panic}"), last: false },
        };
        let mut healthy = (restarts > 0).then(|| host.clock().sleep(HEALTHY));
        loop {
            let stop = self.stop.clone();
            let next = until(caught(stream.next()), stop.cancelled());
            let next = match &mut healthy {
                Some(well) => match until(next, well.as_mut()).await {
                    Some(next) => next,
                    None => {
                        self.set(TriggerState::Watching, 0, None);
                        healthy = None;
                        continue;
                    }
                },
                None => next.await,
            };
            let Some(next) = next else { return Ended::Stopped };
            let first = match self.heard(next) {
                Ok(first) => first,
                Err(ended) => return ended,
            };
            // Apart, so that a source that waits does not carry what it takes to take firings in.
            if let Some(ended) = Box::pin(self.take_with(first, &mut stream, at_once)).await {
                return ended;
            }
        }
    }

    /// What a source has said.
    fn heard(
        &self,
        said: Result<Option<Result<TriggerEvent, TriggerError>>, String>,
    ) -> Result<TriggerEvent, Ended> {
        let event = match said {
            Err(panic) => return Err(Ended::Failed { error: format!("it panicked: {panic}"), last: false }),
            Ok(None) if self.stop.is_cancelled() => return Err(Ended::Stopped),
            Ok(None) => return Err(Ended::Silent),
            Ok(Some(Err(error))) => {
                let last = error.is_final();
                return Err(Ended::Failed { error: amplifier_core::causes::chain(&error), last });
            }
            Ok(Some(Ok(event))) => event,
        };
        let end = self.config().and_then(|config| config.policy.end_time);
        match end.is_some_and(|end| event.due > end) {
            true => Err(Ended::Silent),
            false => Ok(event),
        }
    }

    /// Takes a firing in, with those behind it that are ready. `Some`: the source cannot go on.
    async fn take_with(
        &mut self,
        first: TriggerEvent,
        stream: &mut TriggerStream,
        at_once: usize,
    ) -> Option<Ended> {
        let mut bytes = first.payload.as_bytes().len();
        let (mut events, mut end) = (vec![first], None);
        while events.len() < at_once && bytes < TOGETHER_BYTES {
            let Some(said) = poll_immediate(caught(stream.next())).await else { break };
            match self.heard(said) {
                Ok(event) => {
                    bytes += event.payload.as_bytes().len();
                    events.push(event);
                }
                Err(ended) => {
                    end = Some(ended);
                    break;
                }
            }
        }
        self.take(&events).await.or(end)
    }

    /// Takes firings in, however long it takes. `Some`: the source cannot go on.
    async fn take(&mut self, events: &[TriggerEvent]) -> Option<Ended> {
        let (mut left, mut most) = (events, usize::MAX);
        let policy = self.config()?.policy.clone();
        while !left.is_empty() {
            let origin =
                Origin { policy: &policy, row: Some(&mut self.row), fence: Some(self.fence.clone()) };
            match self.intake.take(&left[..most.min(left.len())], origin).await {
                Ok(taken) => {
                    let done = taken.iter().take_while(|taken| **taken != Taken::Wait);
                    let done = done.zip(left).map(|(taken, event)| Intake::answer(event, taken)).count();
                    (left, most) = (&left[done..], usize::MAX);
                    if done == taken.len() {
                        continue;
                    }
                }
                Err(StoreError::LeaseLost { .. }) => return Some(Ended::Lost),
                Err(StoreError::Closed) => return Some(Ended::Stopped),
                Err(error) => {
                    tracing::warn!(trigger = %self.key, %error, "a firing is not durable yet");
                    let error = amplifier_core::causes::chain(&error);
                    self.intake.board.trigger(&self.key, |status| status.error = Some(error));
                    // What cannot be written keeps nothing back that is before it.
                    most = 1;
                }
            }
            let wait = self.workshop.host.clock().sleep(RETRY);
            if until(wait, self.stop.cancelled()).await.is_none() {
                return Some(Ended::Stopped);
            }
        }
        None
    }

    async fn tell(&self, error: &str, restarts: u32, gives_up: bool) {
        let config = &self.intake.config;
        let said = json!({
            "session_id": config.id(), "name": config.name, "trigger": self.key, "error": error,
            "restarts": restarts, "will_restart": !gives_up,
        });
        let host = &self.workshop.host;
        let event = host.router().seal(NewEvent::of(EventType::BackgroundError, said.into()));
        let Ok(event) = event else { return };
        let commit = Commit::from(Write::Append(Box::new(event)));
        if let Err(error) = host.store().commit(commit).await {
            tracing::warn!(trigger = %self.key, %error, "that a trigger failed could not be told");
        }
    }
}
