//! The manager of a project's background sessions.
//!
//! Guarantees: one owner of the triggers per project, and any number of processes that work on the runs;
//! what was taken in is in the store, and goes on at the next start; a status is true when it is read.
//! Dropping the last handle stops triggers and begins nothing more; sessions that run stay the host's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amplifier_core::panic::caught;
use amplifier_core::until::until;
use amplifier_core::{CancelLevel, CancelReason, CancelToken, Payload, RunId};
use amplifier_foundation::{Host, Shutdown};
use amplifier_store::{Commit, Epoch, Expect, LeaseKey, Receipt, StoreError, Write};
use amplifier_trigger::{
    BackgroundName, BuiltTrigger, Cause, Generation, SourceEnv, TriggerConfig, TriggerEvent, TriggerEventId,
    TriggerHandle, TriggerKey, TriggerKind, TriggerPolicy, TriggerRegistry, TriggerRow, TriggerSource,
    TriggerSpec,
};
use tokio::sync::watch;

use crate::config::BackgroundConfig;
use crate::error::BackgroundError;
use crate::intake::{Intake, Origin, Taken, row_key};
use crate::pool::Pool;
use crate::sources::{Source, Workshop};
use crate::status::{BackgroundState, BackgroundStatus, Board, Counts, TriggerState, TriggerStatus};

/// How long the ownership of the triggers lasts without a sign of life.
const OWNERSHIP: Duration = Duration::from_secs(60);
/// How often that sign is given.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// How long sessions may take to stop after they were asked to.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// How long a source may take to get ready.
const PREPARE: Duration = Duration::from_secs(30);

type Handles = Arc<Mutex<BTreeMap<TriggerKey, TriggerHandle>>>;

/// The background sessions of a host's project. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BackgroundSessionManager(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    workshop: Workshop,
    // Held for a look or a change; never across an await.
    sessions: Mutex<BTreeMap<BackgroundName, Session>>,
    /// The fence of the owner of the triggers. Held while it is taken.
    owner: tokio::sync::Mutex<Option<Epoch>>,
    /// Ends with the manager.
    life: CancelToken,
    changed: watch::Sender<u64>,
    start: uuid::Uuid,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.life.cancel(CancelLevel::Immediate, CancelReason::Dropped);
        for session in self.sessions.get_mut().unwrap_or_else(PoisonError::into_inner).values() {
            session.pool.board.set(BackgroundState::Stopping);
        }
        if let Some(epoch) = *self.owner.get_mut() {
            let release = Write::ReleaseLease { key: lease_key(), epoch };
            // It runs out by itself where this is not possible any more.
            let _ = self.workshop.host.store().post(release.into());
        }
    }
}

#[derive(Debug, Clone)]
struct Session {
    pool: Pool,
    /// Ends its triggers.
    stop: CancelToken,
    handles: Handles,
}

fn lease_key() -> LeaseKey {
    #[expect(clippy::expect_used, reason = "`triggers` is a name")]
    LeaseKey::new("triggers").expect("a name")
}

impl BackgroundSessionManager {
    /// A manager of the built-in triggers and those of the host, that reads variables of no environment.
    pub fn new(host: &Host) -> Self {
        Self::with(host, host.triggers().clone(), |_| None)
    }

    /// A manager with triggers of somebody's own, and with what looks up the secrets of webhooks.
    pub fn with(
        host: &Host,
        registry: TriggerRegistry,
        variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let env = SourceEnv::new(host.project(), Arc::clone(host.clock()), variable);
        let start = host.ids().v7(host.clock().now());
        Self(Arc::new(Inner {
            workshop: Workshop { host: host.clone(), registry, env },
            sessions: Mutex::default(),
            owner: tokio::sync::Mutex::new(None),
            life: CancelToken::new(),
            changed: watch::Sender::new(0),
            start,
        }))
    }

    fn host(&self) -> &Host {
        &self.0.workshop.host
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<BackgroundName, Session>> {
        self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self, name: &BackgroundName) -> Result<Session, BackgroundError> {
        self.sessions().get(name).cloned().ok_or_else(|| BackgroundError::Unknown { name: name.clone() })
    }

    /// Starts a background session: what was left of its runs goes on, and its triggers are listened to.
    /// `Err`: nothing was started. `Ok`: its triggers are durable, so that nothing is missed from now on.
    pub async fn start(&self, config: BackgroundConfig) -> Result<(), BackgroundError> {
        self.check(&config).await?;
        let mut triggers = Vec::new();
        for trigger in config.triggers.iter().filter(|trigger| trigger.policy.enabled) {
            let built = self.0.workshop.build(trigger).map_err(|source| BackgroundError::Trigger {
                name: config.name.clone(),
                trigger: trigger.key(),
                source,
            })?;
            triggers.push((trigger.clone(), built));
        }
        let fence = self.own().await?;
        let mut rows = Vec::new();
        for (trigger, _) in &triggers {
            rows.push(self.row(&config, trigger, &fence).await?);
        }
        for (_, built) in &mut triggers {
            self.prepare(built.source.as_mut()).await;
        }
        let session = self.enter(config)?;
        for ((trigger, built), row) in triggers.into_iter().zip(rows) {
            self.listen(&session, trigger, built, row, fence.clone());
        }
        Ok(())
    }

    /// Adds a trigger that code has made to a background session that runs here: as `key`, with the default
    /// policies, until the background session is stopped. `Ok`: it is durable, and nothing is missed from now
    /// on. One that fails is not started again.
    pub async fn add_trigger(
        &self,
        name: &BackgroundName,
        key: TriggerKey,
        source: impl TriggerSource + 'static,
    ) -> Result<(), BackgroundError> {
        let session = self.session(name)?;
        let (kind, config) = (Arc::from("code"), Payload::null());
        let mut trigger = TriggerConfig::new(TriggerSpec::Own { kind, config });
        trigger.name = Some(key.clone());
        let fence = self.own().await?;
        let row = self.row(&session.pool.config, &trigger, &fence).await?;
        let mut built = BuiltTrigger::new(source);
        self.prepare(built.source.as_mut()).await;
        let status = TriggerStatus::new(trigger.kind(), TriggerState::Watching);
        let taken = session.pool.board.change(|inner| {
            let triggers = &mut inner.status.triggers;
            let taken = triggers.get(&key).is_some_and(TriggerStatus::is_at_work);
            if !taken {
                triggers.insert(key.clone(), status);
            }
            taken
        });
        if taken {
            return Err(BackgroundError::TriggerRuns { name: name.clone(), trigger: key });
        }
        self.listen(&session, trigger, built, row, fence);
        Ok(())
    }

    /// Lets a source get ready. What is wrong with it is seen once it is watched.
    async fn prepare(&self, source: &mut dyn TriggerSource) {
        let _ = until(caught(source.prepare()), self.host().clock().sleep(PREPARE)).await;
    }

    /// Works on the runs of a background session without its triggers: beside the process that owns them.
    pub async fn work(&self, config: BackgroundConfig) -> Result<(), BackgroundError> {
        self.check(&config).await?;
        self.enter(config).map(drop)
    }

    async fn check(&self, config: &BackgroundConfig) -> Result<(), BackgroundError> {
        config.check()?;
        if self.0.life.is_cancelled() {
            return Err(BackgroundError::ShutDown);
        }
        if self.sessions().contains_key(&config.name) {
            return Err(BackgroundError::Running { name: config.name.clone() });
        }
        let prepared = self.host().prepare(&config.bundle).await;
        prepared.map_err(|source| BackgroundError::Bundle { name: config.name.clone(), source })?;
        Ok(())
    }

    /// Makes this manager the owner of the project's triggers; what its commits are fenced with.
    async fn own(&self) -> Result<Expect, BackgroundError> {
        let mut held = self.0.owner.lock().await;
        let host = self.host();
        let owner = host.owner().clone();
        if let Some(epoch) = *held
            && host.store().lease(&lease_key()).await?.is_none_or(|lease| lease.epoch != epoch)
        {
            // Somebody else has had it meanwhile.
            *held = None;
        }
        if held.is_none() {
            let over = host.store().lease(&lease_key()).await?;
            let over = over.filter(|lease| !host.lives(&lease.owner)).map(|lease| lease.epoch);
            let take = Write::TakeLease { key: lease_key(), owner: owner.clone(), ttl: OWNERSHIP, over };
            let receipt = match host.store().commit(take.into()).await {
                Ok(receipt) => receipt,
                Err(StoreError::LeaseTaken { owner, .. }) => {
                    return Err(BackgroundError::Owned { owner: owner.to_string() });
                }
                Err(error) => return Err(error.into()),
            };
            let epochs = receipt.applied().map(|applied| applied.epochs).unwrap_or_default();
            let epoch = epochs.first().map(|(_, epoch)| *epoch);
            let epoch = epoch.ok_or(StoreError::Malformed { what: "a lease that was taken has an epoch" })?;
            *held = Some(epoch);
            tokio::spawn(heartbeat(host.clone(), epoch, self.0.life.clone()));
        }
        let epoch = held.ok_or(BackgroundError::ShutDown)?;
        Ok(Expect::LeaseHeld { key: lease_key(), owner, epoch })
    }

    /// What the store keeps of a trigger; made durable before it is listened to.
    async fn row(
        &self,
        config: &BackgroundConfig,
        trigger: &TriggerConfig,
        fence: &Expect,
    ) -> Result<TriggerRow, BackgroundError> {
        let (store, now) = (self.host().store(), self.host().clock().now());
        let fresh = TriggerRow::first(trigger, now);
        let key = row_key(config, &fresh);
        let kept = store.key(&key).await?.and_then(|kept| kept.decode::<TriggerRow>().ok());
        let mut row = TriggerRow::adopt(kept.clone(), trigger, now);
        if row.cursor.is_none() && matches!(trigger.spec, TriggerSpec::SessionEvent(_)) {
            row.cursor = Payload::encode(&store.tail().await?).ok();
        }
        if kept.as_ref() != Some(&row)
            && let Ok(value) = Payload::encode(&row)
        {
            let commit = Commit::from(Write::SetValue { key, value }).when(fence.clone());
            match store.commit(commit).await? {
                Receipt::Applied(_) | Receipt::Repeated(_) => {}
                _ => {}
            }
        }
        Ok(row)
    }

    fn enter(&self, config: BackgroundConfig) -> Result<Session, BackgroundError> {
        let status = |trigger: &TriggerConfig| {
            let state = if trigger.policy.enabled { TriggerState::Watching } else { TriggerState::Disabled };
            (trigger.key(), TriggerStatus::new(trigger.kind(), state))
        };
        let status = BackgroundStatus {
            name: config.name.clone(),
            bundle: config.bundle.clone(),
            state: BackgroundState::Starting,
            triggered: 0,
            spawned: 0,
            active: Vec::new(),
            last_trigger: None,
            error: None,
            triggers: config.triggers.iter().map(status).collect(),
        };
        let board = Arc::new(Board::new(status, self.0.changed.clone()));
        let (host, config) = (self.host().clone(), Arc::new(config));
        let intake = Arc::new(Intake::new(host.clone(), Arc::clone(&config), Arc::clone(&board)));
        let pool = Pool { host, config, board, intake };
        let session = Session { pool, stop: self.0.life.child(), handles: Handles::default() };
        let name = session.pool.config.name.clone();
        let mut sessions = self.sessions();
        if sessions.contains_key(&name) {
            return Err(BackgroundError::Running { name });
        }
        sessions.insert(name, session.clone());
        drop(sessions);
        tokio::spawn(session.pool.clone().run());
        Ok(session)
    }

    fn listen(
        &self,
        session: &Session,
        config: TriggerConfig,
        built: BuiltTrigger,
        row: TriggerRow,
        fence: Expect,
    ) {
        let handles = Arc::clone(&session.handles);
        handles.lock().unwrap_or_else(PoisonError::into_inner).insert(config.key(), built.handle.clone());
        let note = move |key: &TriggerKey, handle| {
            handles.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), handle);
        };
        let source = Source {
            workshop: self.0.workshop.clone(),
            key: config.key(),
            config,
            row,
            intake: Arc::clone(&session.pool.intake),
            fence,
            stop: session.stop.clone(),
            start: self.0.start,
            handles: Arc::new(note),
        };
        tokio::spawn(source.run(built));
    }

    /// What feeds the triggers of a background session from outside: webhooks, and calls to its manual ones.
    pub fn handles(
        &self,
        name: &BackgroundName,
    ) -> Result<BTreeMap<TriggerKey, TriggerHandle>, BackgroundError> {
        let session = self.session(name)?;
        let handles = session.handles.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(handles.clone())
    }

    /// Fires once. `Ok`: the run is durable.
    pub async fn fire(
        &self,
        name: &BackgroundName,
        data: impl Into<Payload>,
    ) -> Result<RunId, BackgroundError> {
        let session = self.session(name)?;
        let config = &session.pool.config;
        let now = self.host().clock().now();
        let nominal = format!("m-{}", self.host().ids().v7(now));
        let id = TriggerEventId::new(name, &config.manual_key(), Generation::FIRST, &nominal)?;
        let event = TriggerEvent::new(id, TriggerKind::Manual, now, Cause::Manual, data.into());
        let manual = config.triggers.iter().find(|trigger| matches!(trigger.spec, TriggerSpec::Manual));
        let policy = manual.map_or_else(TriggerPolicy::default, |trigger| trigger.policy.clone());
        let origin = Origin { policy: &policy, row: None, fence: None };
        match session.pool.intake.take(&event, origin).await? {
            Taken::Run(run) => Ok(run),
            Taken::Full | Taken::Wait => Err(BackgroundError::Full { name: name.clone() }),
            Taken::Rejected(reason) => Err(BackgroundError::Rejected { reason }),
            Taken::Skipped => Err(BackgroundError::Rejected { reason: "all places are taken".to_owned() }),
            Taken::Coalesced | Taken::Repeated => {
                Err(BackgroundError::Rejected { reason: "another run stands for it".to_owned() })
            }
        }
    }

    /// How a background session stands here.
    pub fn status(&self, name: &BackgroundName) -> Result<BackgroundStatus, BackgroundError> {
        Ok(self.session(name)?.pool.board.status())
    }

    /// How all of them stand here, in the order of their names.
    pub fn statuses(&self) -> Vec<BackgroundStatus> {
        let sessions: Vec<Session> = self.sessions().values().cloned().collect();
        sessions.iter().map(|session| session.pool.board.status()).collect()
    }

    /// What the store has counted of a background session.
    pub async fn counts(&self, name: &BackgroundName) -> Result<Counts, BackgroundError> {
        Ok(Counts::read(self.host().store().as_ref(), name).await?)
    }

    /// A number that changes whenever a status does.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Stops a background session: its triggers at once, its sessions as `how` says. What waits stays in the
    /// store for the next start. The status that it ended with.
    pub async fn stop(
        &self,
        name: &BackgroundName,
        how: Shutdown,
    ) -> Result<BackgroundStatus, BackgroundError> {
        let session = self.session(name)?;
        session.stop.cancel(CancelLevel::Graceful, CancelReason::Requested);
        session.pool.board.set(BackgroundState::Stopping);
        let ended = || self.ended(&session);
        let clock = self.host().clock();
        match how {
            Shutdown::Drain { within } if until(ended(), clock.sleep(within)).await.is_some() => {}
            Shutdown::Drain { .. } => {
                session.pool.cancel_all(CancelLevel::Graceful);
                if until(ended(), clock.sleep(STOP_GRACE)).await.is_none() {
                    session.pool.cancel_all(CancelLevel::Immediate);
                    until(ended(), clock.sleep(STOP_GRACE)).await;
                }
            }
            _ => {
                session.pool.cancel_all(CancelLevel::Immediate);
                until(ended(), clock.sleep(STOP_GRACE)).await;
            }
        }
        self.sessions().remove(name);
        Ok(session.pool.board.status())
    }

    async fn ended(&self, session: &Session) {
        let mut changed = self.0.changed.subscribe();
        let stopped =
            |_: &u64| session.pool.board.look(|inner| inner.status.state == BackgroundState::Stopped);
        // The sender lives in `self`.
        let _ = changed.wait_for(stopped).await;
    }

    /// Stops all of them, all at once.
    pub async fn stop_all(&self, how: Shutdown) -> Vec<BackgroundStatus> {
        let names: Vec<BackgroundName> = self.sessions().keys().cloned().collect();
        let stops = names.iter().map(|name| self.stop(name, how));
        futures_util::future::join_all(stops).await.into_iter().filter_map(Result::ok).collect()
    }

    /// Stops all of them, and gives the triggers of the project back. Nothing starts any more.
    pub async fn shutdown(&self, how: Shutdown) -> Vec<BackgroundStatus> {
        let ended = self.stop_all(how).await;
        self.0.life.cancel(CancelLevel::Immediate, CancelReason::Shutdown);
        let epoch = self.0.owner.lock().await.take();
        if let Some(epoch) = epoch {
            let release = Write::ReleaseLease { key: lease_key(), epoch };
            if let Err(error) = self.host().store().commit(release.into()).await {
                tracing::debug!(%error, "the triggers are given back by time");
            }
        }
        ended
    }
}

/// Keeps the ownership of the triggers.
async fn heartbeat(host: Host, epoch: Epoch, life: CancelToken) {
    while until(host.clock().sleep(HEARTBEAT), life.cancelled()).await.is_some() {
        let renew = Write::RenewLease { key: lease_key(), epoch, ttl: OWNERSHIP };
        match host.store().commit(renew.into()).await {
            // Whoever has it is not this one: the commits of its triggers are refused from now on.
            Err(StoreError::LeaseLost { .. } | StoreError::Closed) => return,
            Err(error) => tracing::warn!(%error, "the ownership of the triggers could not be renewed"),
            Ok(_) => {}
        }
    }
}
