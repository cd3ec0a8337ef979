//! Whoever runs the declared background sessions of a project.
//!
//! Guarantees: everything that is declared is started, or nothing is; a second owner starts nothing and is told who
//! the first one is; what others ask is answered while sessions end, too. It ends with all of them.
//! Never here: signals, output, an HTTP listener. Whoever serves webhooks asks [`Owner::manager`].

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::causes::chain;
use amplifier_core::clock::BoxFuture;
use amplifier_core::{CancelLevel, Payload};
use amplifier_foundation::{Host, Shutdown};
use amplifier_store::{OwnerId, StoreError};
use amplifier_trigger::{BackgroundName, TriggerRegistry};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::Receiver;

use super::wire::{Answer, Ask, Envelope, Reload, Reply, StopHow, ask_name, reply_name, send};
use crate::config::BackgroundConfig;
use crate::declared::{Declarations, DeclareError, Sources};
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
}

impl OwnerOptions {
    /// The built-in triggers, and ten minutes.
    pub fn new(sources: Sources) -> Self {
        Self { sources, registry: TriggerRegistry::new(), drain: DRAIN }
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
    /// What runs, as it was declared. Held while declarations are read anew, so that one reload follows another.
    running: tokio::sync::Mutex<BTreeMap<BackgroundName, String>>,
}

impl Owner {
    /// Reads what is declared, becomes the owner, and starts all of it. `Err`: nothing runs.
    pub async fn start(
        host: &Host,
        manager: BackgroundSessionManager,
        options: OwnerOptions,
    ) -> Result<Self, StartError> {
        let declared = Declarations::load(host, &options.sources, &options.registry).await?;
        // Before anybody can know that this is the owner.
        let asks = host.commands(&ask_name()?);
        manager.own().await?;
        let mut running = BTreeMap::new();
        let mut reasons = Vec::new();
        for one in &declared.sessions {
            match manager.start(one.config.clone()).await {
                Ok(()) => drop(running.insert(one.config.name.clone(), meaning(&one.config))),
                Err(error) => reasons.push(reason(&one.place.to_string(), &error)),
            }
        }
        if !reasons.is_empty() {
            manager.shutdown(Shutdown::Now).await;
            return Err(StartError::Sessions { reasons });
        }
        let running = tokio::sync::Mutex::new(running);
        let inner = Arc::new(Inner { host: host.clone(), manager, options, running });
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
    format!("{config:?}")
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
        self.reply(&envelope, reply).await;
    }

    async fn done(&self, ask: &Ask) -> Result<Answer, String> {
        let told = |error: BackgroundError| chain(&error);
        match ask {
            Ask::Stop { name: Some(name), how } => {
                self.manager.stop(name, how.shutdown(self.options.drain)).await.map_err(told)?;
                self.running.lock().await.remove(name);
            }
            Ask::Pause { name } => self.pause(name).await.map_err(told)?,
            Ask::Look { name } => self.manager.look(name).await.map_err(told)?,
            Ask::Reload => return self.reload().await.map(Answer::Reloaded),
            Ask::Stop { name: None, .. } => {}
        }
        Ok(Answer::Nothing)
    }

    async fn pause(&self, name: &BackgroundName) -> Result<(), BackgroundError> {
        let paused = super::paused_since(self.host.store().as_ref(), name).await?.is_some();
        if paused { self.manager.pause(name).await } else { self.manager.resume(name).await }.map(drop)
    }

    /// Makes what runs what is declared.
    async fn reload(&self) -> Result<Reload, String> {
        let mut running = self.running.lock().await;
        let OwnerOptions { sources, registry, .. } = &self.options;
        let declared =
            Declarations::load(&self.host, sources, registry).await.map_err(|error| chain(&error))?;
        let mut reload = Reload::default();
        let gone: Vec<BackgroundName> =
            running.keys().filter(|name| declared.get(name).is_none()).cloned().collect();
        for name in gone {
            running.remove(&name);
            self.leave(name.clone(), None);
            reload.removed.push(name);
        }
        for one in &declared.sessions {
            let (name, now) = (one.config.name.clone(), meaning(&one.config));
            match running.get(&name) {
                Some(before) if *before == now => {}
                Some(_) => {
                    self.leave(name.clone(), Some(one.config.clone()));
                    running.insert(name.clone(), now);
                    reload.changed.push(name);
                }
                None => match self.manager.start(one.config.clone()).await {
                    Ok(()) => {
                        running.insert(name.clone(), now);
                        reload.started.push(name);
                    }
                    Err(error) => reload.failed.push(reason(&one.place.to_string(), &error)),
                },
            }
        }
        Ok(reload)
    }

    /// Ends a background session once what runs has ended, and starts what has taken its place.
    fn leave(&self, name: BackgroundName, next: Option<BackgroundConfig>) {
        let (manager, within) = (self.manager.clone(), self.options.drain);
        tokio::spawn(async move {
            let ended = manager.stop(&name, Shutdown::Drain { within }).await;
            let started = match (ended, next) {
                (Ok(_), Some(config)) => manager.start(config).await,
                (other, _) => other.map(drop),
            };
            if let Err(error) = started {
                tracing::warn!(background = %name, error = chain(&error), "a background session is not as declared");
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
