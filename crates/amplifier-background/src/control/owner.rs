//! Whoever runs the declared background sessions of a project.
//!
//! Guarantees: everything that is declared is started, or nothing is; a second owner starts nothing and is told who
//! the first one is; what others ask is answered while sessions end, too. It ends with all of them.
//! Never here: signals, output, an HTTP listener. Whoever serves webhooks asks [`Owner::manager`].

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::causes::chain;
use amplifier_core::clock::BoxFuture;
use amplifier_core::{CancelLevel, Payload};
use amplifier_foundation::{Host, Shutdown};
use amplifier_store::{OwnerId, Retention, StoreError};
use amplifier_trigger::{BackgroundName, TriggerConfig, TriggerRegistry};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::Receiver;

use super::tidying::tidy;
use super::wire::{Answer, Ask, Envelope, Reload, Reply, StopHow, ask_name, reply_name, send};
use crate::config::BackgroundConfig;
use crate::declared::{Declarations, DeclareError, Declared, Sources};
use crate::error::BackgroundError;
use crate::manager::BackgroundSessionManager;
use crate::status::BackgroundStatus;

/// How long sessions may go on after a stop, unless somebody says otherwise.
const DRAIN: Duration = Duration::from_secs(600);
/// What is asked and not yet done at most; more waits.
const MAX_ASKS: usize = 64;

/// What an owner works with.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OwnerOptions {
    /// What is read, now and at each reload.
    pub sources: Sources,
    /// The types of triggers there are.
    pub registry: TriggerRegistry,
    /// How long sessions may go on after a stop.
    pub drain: Duration,
    /// What code declares beside the files; a reload changes nothing of it.
    pub also: Vec<Declared>,
    /// What the store keeps; looked at a minute after the start, and each hour then.
    pub retention: Retention,
}

impl OwnerOptions {
    /// The built-in triggers, ten minutes, and what stores keep by default.
    pub fn new(sources: Sources) -> Self {
        let (registry, retention) = (TriggerRegistry::new(), Retention::default());
        Self { sources, registry, drain: DRAIN, also: Vec::new(), retention }
    }
}

impl OwnerOptions {
    /// What files declare now, and then what code does.
    async fn declared(&self, host: &Host) -> Result<Declarations, DeclareError> {
        let mut declared = Declarations::load(host, &self.sources, &self.registry).await?;
        declared.sessions.extend(self.also.iter().cloned());
        Ok(declared)
    }
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// What is declared cannot be used.
    #[error(transparent)]
    Declared(#[from] DeclareError),
    /// Some of it cannot be started: all of the reasons.
    #[error("{}", reasons.join("\n"))]
    Sessions {
        /// One for each.
        reasons: Vec<String>,
    },
    /// Somebody else is the owner, or the store fails.
    #[error(transparent)]
    Background(#[from] BackgroundError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A process that runs the background sessions of a project. Ends by [`Owner::run`].
#[derive(Debug)]
#[must_use = "what others ask is answered by `run` alone"]
pub struct Owner {
    inner: Arc<Inner>,
    asks: Receiver<Payload>,
    declared: Declarations,
}

#[derive(Debug)]
struct Inner {
    host: Host,
    manager: BackgroundSessionManager,
    options: OwnerOptions,
    /// What is to run. Held while declarations are read anew and while one is started, so that one change
    /// follows another.
    wanted: tokio::sync::Mutex<BTreeMap<BackgroundName, Wanted>>,
}

/// A background session that is to run.
#[derive(Debug)]
struct Wanted {
    config: BackgroundConfig,
    /// Somebody has stopped it: it waits to be resumed.
    stopped: bool,
}

impl Owner {
    /// Reads what is declared, becomes the owner, and starts all of it. `Err`: nothing runs.
    pub async fn start(
        host: &Host,
        manager: BackgroundSessionManager,
        options: OwnerOptions,
    ) -> Result<Self, StartError> {
        let declared = options.declared(host).await?;
        // Before anybody can know that this is the owner.
        let asks = host.commands(&ask_name()?);
        manager.own().await?;
        let mut wanted = BTreeMap::new();
        let mut reasons = Vec::new();
        let configs = declared.sessions.iter().map(|one| one.config.clone()).collect();
        for (one, started) in declared.sessions.iter().zip(manager.start_all(configs).await) {
            match started {
                Ok(()) => {
                    let config = one.config.clone();
                    wanted.insert(config.name.clone(), Wanted { config, stopped: false });
                }
                Err(error) => reasons.push(reason(&one.place.to_string(), &error)),
            }
        }
        if !reasons.is_empty() {
            manager.shutdown(Shutdown::Now).await;
            return Err(StartError::Sessions { reasons });
        }
        manager.publish_now().await;
        let wanted = tokio::sync::Mutex::new(wanted);
        let inner = Arc::new(Inner { host: host.clone(), manager, options, wanted });
        Ok(Self { inner, asks, declared })
    }

    /// What runs the background sessions: whoever serves webhooks feeds its handles.
    pub fn manager(&self) -> &BackgroundSessionManager {
        &self.inner.manager
    }

    /// What was declared when this was started.
    pub fn declared(&self) -> &Declarations {
        &self.declared
    }

    /// Does what others ask, until one of them asks for the end or `stops` says so: the first time sessions
    /// may finish, the second time, or at `Immediate`, they are cut off. How they stood at their end.
    pub async fn run(mut self, mut stops: Receiver<CancelLevel>) -> Vec<BackgroundStatus> {
        let mut tidying = pin!(tidy(self.inner.host.clone(), self.inner.options.retention));
        let mut asked: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        let mut end: Option<Ending> = None;
        let mut waiting = Vec::new();
        loop {
            let heard = tokio::select! {
                biased;
                ended = ended(&mut end) => {
                    self.inner.tell_all(waiting).await;
                    return ended;
                }
                Some(level) = stops.recv() => {
                    let again = end.is_some() || level == CancelLevel::Immediate;
                    Heard::Stop(if again { StopHow::Now } else { StopHow::Drain })
                }
                Some(()) = asked.next(), if !asked.is_empty() => continue,
                () = &mut tidying => continue,
                Some(payload) = self.asks.recv(), if asked.len() < MAX_ASKS => Heard::Ask(payload),
            };
            let how = match heard {
                Heard::Stop(how) => how,
                Heard::Ask(payload) => {
                    let Ok(envelope) = payload.decode::<Envelope>() else {
                        tracing::warn!("what another process asks makes no sense here");
                        continue;
                    };
                    match &envelope.ask {
                        Ask::Stop { name: None, how } => {
                            let how = *how;
                            self.inner.reply(&envelope, Reply::Taken).await;
                            waiting.push(envelope);
                            how
                        }
                        _ => {
                            let inner = Arc::clone(&self.inner);
                            asked.push(Box::pin(async move { inner.obey(envelope).await }));
                            continue;
                        }
                    }
                }
            };
            match &end {
                None => end = Some(self.inner.end(how)),
                Some(_) if how == StopHow::Now => {
                    let manager = self.inner.manager.clone();
                    asked.push(Box::pin(async move { drop(manager.stop_all(Shutdown::Now).await) }));
                }
                Some(_) => {}
            }
        }
    }
}

/// What came of a declaration at a reload.
enum TakenUp {
    AsBefore,
    Started,
    Changed,
}

enum Heard {
    Stop(StopHow),
    Ask(Payload),
}

type Ending = Pin<Box<dyn Future<Output = Vec<BackgroundStatus>> + Send>>;

async fn ended(end: &mut Option<Ending>) -> Vec<BackgroundStatus> {
    match end {
        Some(end) => end.await,
        None => std::future::pending().await,
    }
}

fn reason(of: &str, error: &BackgroundError) -> String {
    format!("{of}: {}", chain(error))
}

/// What tells one declaration from another.
fn meaning(config: &BackgroundConfig) -> String {
    // Data of somebody's own trigger is cut where it is printed.
    let triggers: Vec<String> = config.triggers.iter().map(TriggerConfig::fingerprint).collect();
    format!("{config:?} {triggers:?}")
}

impl Inner {
    fn end(&self, how: StopHow) -> Ending {
        let (manager, how) = (self.manager.clone(), how.shutdown(self.options.drain));
        Box::pin(async move { manager.shutdown(how).await })
    }

    async fn tell_all(&self, waiting: Vec<Envelope>) {
        for envelope in waiting {
            self.reply(&envelope, Reply::Done(Answer::Nothing)).await;
        }
    }

    async fn obey(self: Arc<Self>, envelope: Envelope) {
        self.reply(&envelope, Reply::Taken).await;
        let reply = match self.done(&envelope.ask).await {
            Ok(answer) => Reply::Done(answer),
            Err(why) => Reply::Refused { why },
        };
        // Whoever was answered sees what it asked for.
        if !matches!(envelope.ask, Ask::Look { .. }) {
            self.manager.publish_now().await;
        }
        self.reply(&envelope, reply).await;
    }

    async fn done(self: &Arc<Self>, ask: &Ask) -> Result<Answer, String> {
        let told = |error: BackgroundError| chain(&error);
        match ask {
            Ask::Stop { name: Some(name), how } => {
                self.manager.stop(name, how.shutdown(self.options.drain)).await.map_err(told)?;
                if let Some(wanted) = self.wanted.lock().await.get_mut(name) {
                    wanted.stopped = true;
                }
            }
            Ask::Pause { name } => return self.pause(name).await.map_err(told),
            Ask::Look { name } => self.manager.look(name).await.map_err(told)?,
            Ask::Reload => return self.reload().await.map(Answer::Reloaded),
            Ask::Stop { name: None, .. } => {}
        }
        Ok(Answer::Nothing)
    }

    /// Acts on the pause that the store has or has no more. One that was stopped is started again by a resume.
    async fn pause(&self, name: &BackgroundName) -> Result<Answer, BackgroundError> {
        let paused = super::paused(self.host.store().as_ref(), name).await?.is_some();
        let mut all = self.wanted.lock().await;
        let acted = match all.get_mut(name).filter(|wanted| wanted.stopped) {
            Some(_) if paused => false,
            Some(wanted) => {
                self.manager.start(wanted.config.clone()).await?;
                wanted.stopped = false;
                true
            }
            None if paused => self.manager.pause(name).await?,
            None => self.manager.resume(name).await?,
        };
        Ok(Answer::Acted(acted))
    }

    /// Makes what runs what is declared.
    async fn reload(self: &Arc<Self>) -> Result<Reload, String> {
        let mut wanted = self.wanted.lock().await;
        let declared = self.options.declared(&self.host).await.map_err(|error| chain(&error))?;
        let mut reload = Reload::default();
        let gone: Vec<BackgroundName> =
            wanted.keys().filter(|name| declared.get(name).is_none()).cloned().collect();
        for name in gone {
            wanted.remove(&name);
            self.settle(name.clone());
            reload.removed.push(name);
        }
        for Declared { config, place } in &declared.sessions {
            let failed = |error: &BackgroundError| reason(&place.to_string(), error);
            match self.take_up(&mut wanted, config).await {
                Ok(TakenUp::AsBefore) => {}
                Ok(TakenUp::Started) => reload.started.push(config.name.clone()),
                Ok(TakenUp::Changed) => reload.changed.push(config.name.clone()),
                Err(error) => reload.failed.push(failed(&error)),
            }
        }
        Ok(reload)
    }

    async fn take_up(
        self: &Arc<Self>,
        all: &mut BTreeMap<BackgroundName, Wanted>,
        config: &BackgroundConfig,
    ) -> Result<TakenUp, BackgroundError> {
        let name = &config.name;
        let before = all.get(name);
        if before.is_some_and(|before| meaning(&before.config) == meaning(config)) {
            return Ok(TakenUp::AsBefore);
        }
        let stopped = before.is_some_and(|before| before.stopped);
        let runs = self.manager.status(name).is_ok();
        // What runs is not ended for something that cannot run.
        let prepared = self.host.prepare(&config.bundle).await;
        prepared.map_err(|source| BackgroundError::Bundle { name: name.clone(), source })?;
        if !runs && !stopped {
            self.manager.start(config.clone()).await?;
        }
        all.insert(name.clone(), Wanted { config: config.clone(), stopped });
        if runs {
            self.settle(name.clone());
        }
        Ok(if runs || stopped { TakenUp::Changed } else { TakenUp::Started })
    }

    /// Ends a background session once what runs has ended, and starts what is wanted in its place then.
    fn settle(self: &Arc<Self>, name: BackgroundName) {
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            let within = inner.options.drain;
            let ended = inner.manager.stop(&name, Shutdown::Drain { within }).await;
            let wanted = inner.wanted.lock().await;
            let next = wanted.get(&name).filter(|wanted| !wanted.stopped);
            let started = match (ended, next) {
                (Ok(_), Some(next)) => inner.manager.start(next.config.clone()).await,
                (other, _) => other.map(drop),
            };
            match started {
                // Another change of it has seen to that.
                Ok(()) | Err(BackgroundError::Running { .. } | BackgroundError::ShutDown) => {}
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(background = %name, error, "a background session is not as declared");
                }
            }
        });
    }

    async fn reply(&self, envelope: &Envelope, reply: Reply) {
        let Some(to) = envelope.from.as_ref().and_then(|from| OwnerId::new(from).ok()) else { return };
        if !self.host.lives(&to) {
            return;
        }
        let commit = reply_name(&envelope.id).and_then(|name| send(&to, name, &reply));
        let sent = match commit {
            Ok(commit) => self.host.store().commit(commit).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "whoever asked could not be answered");
        }
    }
}
