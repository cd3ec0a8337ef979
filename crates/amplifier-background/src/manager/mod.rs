//! The manager of a project's background sessions.
//!
//! Guarantees: one owner of the triggers per project, and any number of processes that work on the runs;
//! what was taken in is in the store, and goes on at the next start; a status is true when it is read.
//! Dropping the last handle stops triggers and begins nothing more; sessions that run stay the host's.

mod owning;
mod pausing;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use amplifier_core::panic::caught;
use amplifier_core::until::until;
use amplifier_core::{CancelLevel, CancelReason, CancelToken, Payload, RunId};
use amplifier_foundation::{Host, Shutdown};
use amplifier_store::{Commit, Epoch, Expect, StoreError, Write};
use amplifier_trigger::webhook::HookClaim;
use amplifier_trigger::{
    BackgroundName, BuiltTrigger, Hooks, SourceEnv, TriggerConfig, TriggerHandle, TriggerKey,
    TriggerRegistry, TriggerRow, TriggerSource, TriggerSpec,
};
use tokio::sync::watch;

use crate::config::BackgroundConfig;
use crate::control::{lease_key, paused};
use crate::error::BackgroundError;
use crate::intake::{Intake, row_key};
use crate::keeper::Keeper;
use crate::manual;
use crate::pool::Pool;
use crate::run::queue_of;
use crate::sources::{Declared, Source, Workshop};
use crate::status::{BackgroundState, BackgroundStatus, Board, Counts, TriggerState, TriggerStatus};

/// How long sessions may take to stop after they were asked to.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// A trigger that is listened to.
struct Listened {
    trigger: TriggerConfig,
    built: BuiltTrigger,
    row: TriggerRow,
}

/// A background session whose triggers are not listened to yet.
struct Starting {
    config: BackgroundConfig,
    claims: BTreeMap<TriggerKey, HookClaim>,
    triggers: Vec<Listened>,
    /// What must become durable first.
    rows: Vec<Write>,
    fence: Expect,
}

/// Background sessions whose triggers become durable in one commit at most.
const TOGETHER: usize = 256;
/// How long a source may take to get ready.
const PREPARE: Duration = Duration::from_secs(30);

type Handles = Arc<Mutex<BTreeMap<TriggerKey, TriggerHandle>>>;

/// The background sessions of a host's project. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BackgroundSessionManager(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    workshop: Arc<Workshop>,
    // Held for a look or a change; never across an await.
    sessions: Mutex<BTreeMap<BackgroundName, Session>>,
    /// The fence of the owner of the triggers. Held while it is taken.
    owner: tokio::sync::Mutex<Option<Epoch>>,
    /// Ends with the manager.
    life: CancelToken,
    keeper: OnceLock<Arc<Keeper>>,
    /// True once there is a task that publishes.
    publishes: AtomicBool,
    changed: watch::Sender<u64>,
    start: uuid::Uuid,
    /// The webhooks of all of them.
    hooks: Hooks,
    /// How those stood that have ended since it was published. Held for a look or a change.
    ended: Mutex<BTreeMap<BackgroundName, BackgroundStatus>>,
    /// Held while what has changed is taken and written: else what is older could be written last.
    publishing: tokio::sync::Mutex<()>,
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
    pool: Arc<Pool>,
    /// Ends its triggers; another one after each pause. Held for a look or a change.
    stop: Arc<Mutex<CancelToken>>,
    handles: Handles,
    /// The paths of its webhooks.
    claims: Arc<BTreeMap<TriggerKey, HookClaim>>,
}

impl Session {
    fn stop(&self) -> MutexGuard<'_, CancelToken> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to its triggers no more.
    fn hush(&self) {
        self.claims.values().for_each(|claim| claim.set(None));
        self.stop().cancel(CancelLevel::Graceful, CancelReason::Requested);
    }
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
            workshop: Arc::new(Workshop { host: host.clone(), registry, env }),
            sessions: Mutex::default(),
            owner: tokio::sync::Mutex::new(None),
            life: CancelToken::new(),
            keeper: OnceLock::new(),
            publishes: AtomicBool::new(false),
            changed: watch::Sender::new(0),
            start,
            hooks: Hooks::new(),
            ended: Mutex::default(),
            publishing: tokio::sync::Mutex::default(),
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

    /// Starts a background session: what was left of its runs goes on, and its triggers are listened to. One
    /// that is [paused](Self::pause) starts nothing.
    /// `Err`: nothing was started. `Ok`: its triggers are durable, so that nothing is missed from now on.
    pub async fn start(&self, config: BackgroundConfig) -> Result<(), BackgroundError> {
        let starting = self.starting(config).await?;
        self.begin(starting).await
    }

    /// [Starts](Self::start) many, whose triggers become durable together. What became of each, in their order:
    /// one that cannot be started keeps no other one back.
    pub async fn start_all(&self, configs: Vec<BackgroundConfig>) -> Vec<Result<(), BackgroundError>> {
        let mut starting = Vec::with_capacity(configs.len());
        for config in configs {
            starting.push(self.starting(config).await);
        }
        for page in starting.chunks_mut(TOGETHER) {
            let rows = page.iter().flatten().flat_map(|one| one.rows.iter().cloned());
            let (rows, fence) = (rows.collect(), page.iter().flatten().map(|one| &one.fence).next());
            // Else each tries it alone, and says what was wrong.
            if let Some(fence) = fence
                && self.write_rows(rows, fence).await.is_ok()
            {
                page.iter_mut().flatten().for_each(|one| one.rows.clear());
            }
        }
        let mut started = Vec::with_capacity(starting.len());
        for one in starting {
            started.push(match one {
                Ok(one) => self.begin(one).await,
                Err(error) => Err(error),
            });
        }
        started
    }

    /// What of a start comes before its triggers are durable.
    async fn starting(&self, config: BackgroundConfig) -> Result<Starting, BackgroundError> {
        self.check(&config).await?;
        let built = self.build(&config)?;
        let fence = self.fence().await?;
        let claims = self.claim(&config)?;
        let (triggers, rows) = self.rows(&config, built).await?;
        Ok(Starting { config, claims, triggers, rows, fence })
    }

    async fn begin(&self, starting: Starting) -> Result<(), BackgroundError> {
        let Starting { config, claims, mut triggers, rows, fence } = starting;
        self.write_rows(rows, &fence).await?;
        self.prepare(&mut triggers).await;
        let paused = paused(self.host().store().as_ref(), &config.name).await?.is_some();
        let session = self.enter(config, claims, paused)?;
        if !paused {
            self.listen(&session, triggers, &fence);
        }
        Ok(())
    }

    /// The sources of its triggers.
    fn build(
        &self,
        config: &BackgroundConfig,
    ) -> Result<Vec<(TriggerConfig, BuiltTrigger)>, BackgroundError> {
        let listened = config.triggers.iter().filter(|trigger| trigger.policy.enabled);
        let built = listened.map(|trigger| {
            let built = self.0.workshop.build(config, trigger).map_err(|source| {
                BackgroundError::Trigger { name: config.name.clone(), trigger: trigger.key(), source }
            })?;
            Ok((trigger.clone(), built))
        });
        built.collect()
    }

    /// Reserves the paths of its webhooks.
    fn claim(&self, config: &BackgroundConfig) -> Result<BTreeMap<TriggerKey, HookClaim>, BackgroundError> {
        let mut claims = BTreeMap::new();
        for trigger in config.triggers.iter().filter(|trigger| trigger.policy.enabled) {
            if let TriggerSpec::Webhook(webhook) = &trigger.spec {
                let owner = format!("background session {}", config.name);
                claims.insert(trigger.key(), self.0.hooks.claim(&webhook.path, &owner)?);
            }
        }
        Ok(claims)
    }

    /// The webhooks of all of them, as they come and go: what an HTTP server asks. One that is paused is answered
    /// with 503 and `Retry-After`.
    pub fn hooks(&self) -> Hooks {
        self.0.hooks.clone()
    }

    /// Its triggers, listened to from where they are now on: durable.
    async fn with_rows(
        &self,
        config: &BackgroundConfig,
        built: Vec<(TriggerConfig, BuiltTrigger)>,
        fence: &Expect,
    ) -> Result<Vec<Listened>, BackgroundError> {
        let (mut listened, rows) = self.rows(config, built).await?;
        self.write_rows(rows, fence).await?;
        self.prepare(&mut listened).await;
        Ok(listened)
    }

    /// What the store keeps of triggers; and what of it must become durable before they are listened to.
    async fn rows(
        &self,
        config: &BackgroundConfig,
        built: Vec<(TriggerConfig, BuiltTrigger)>,
    ) -> Result<(Vec<Listened>, Vec<Write>), BackgroundError> {
        let (mut listened, mut rows) = (Vec::with_capacity(built.len()), Vec::new());
        for (trigger, built) in built {
            let (row, write) = self.row(config, &trigger).await?;
            rows.extend(write);
            listened.push(Listened { trigger, built, row });
        }
        Ok((listened, rows))
    }

    async fn write_rows(&self, rows: Vec<Write>, fence: &Expect) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut commit = Commit::new().when(fence.clone());
        commit.writes = rows;
        self.host().store().commit(commit).await.map(drop)
    }

    /// Lets sources get ready. What is wrong with one is seen once it is watched.
    async fn prepare(&self, triggers: &mut [Listened]) {
        for listened in triggers {
            let ready = caught(listened.built.source.prepare());
            let _ = until(ready, self.host().clock().sleep(PREPARE)).await;
        }
    }

    /// Looks at the queue of a background session at once: somebody else has put something there.
    pub async fn look(&self, name: &BackgroundName) -> Result<(), BackgroundError> {
        let session = self.session(name)?;
        session.pool.intake.count_waiting().await?;
        session.pool.board.rouse();
        Ok(())
    }

    /// Adds a trigger that code has made to a background session that runs here: as `key`, with the default
    /// policies, until the background session is stopped or paused. `Ok`: it is durable, and nothing is missed
    /// from now on. One that fails is not started again.
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
        let status = TriggerStatus::new(trigger.kind(), TriggerState::Watching);
        let fence = self.fence().await?;
        let built = vec![(trigger, BuiltTrigger::new(source))];
        let triggers = self.with_rows(&session.pool.config, built, &fence).await?;
        let added = session.pool.board.change(|inner| inner.add_trigger(key.clone(), status));
        if !added {
            return Err(BackgroundError::TriggerRuns { name: name.clone(), trigger: key });
        }
        self.listen(&session, triggers, &fence);
        Ok(())
    }

    /// Works on the runs of a background session without its triggers: beside the process that owns them.
    pub async fn work(&self, config: BackgroundConfig) -> Result<(), BackgroundError> {
        self.check(&config).await?;
        self.enter(config, BTreeMap::new(), false).map(drop)
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

    /// What the store keeps of a trigger, and what must be written for it.
    async fn row(
        &self,
        config: &BackgroundConfig,
        trigger: &TriggerConfig,
    ) -> Result<(TriggerRow, Option<Write>), BackgroundError> {
        let (store, now) = (self.host().store(), self.host().clock().now());
        let fresh = TriggerRow::first(trigger, now);
        let key = row_key(config, &fresh);
        let kept = store.key(&key).await?.and_then(|kept| kept.decode::<TriggerRow>().ok());
        let mut row = TriggerRow::adopt(kept.clone(), trigger, now);
        if row.cursor.is_none() && matches!(trigger.spec, TriggerSpec::SessionEvent(_)) {
            row.cursor = Payload::encode(&store.tail().await?).ok();
        }
        let value = if kept.as_ref() == Some(&row) { None } else { Payload::encode(&row).ok() };
        Ok((row, value.map(|value| Write::SetValue { key, value })))
    }

    fn enter(
        &self,
        config: BackgroundConfig,
        claims: BTreeMap<TriggerKey, HookClaim>,
        paused: bool,
    ) -> Result<Session, BackgroundError> {
        let board = Arc::new(Board::new(BackgroundStatus::starting(&config), self.0.changed.clone()));
        if paused {
            board.pause(true);
        }
        let (host, config) = (self.host().clone(), Arc::new(config));
        let intake = Arc::new(Intake::new(host.clone(), Arc::clone(&config), Arc::clone(&board)));
        let keeper = self.keeper()?;
        let queue = queue_of(&config.name);
        let pool = Pool::new(host, config, board, intake, Arc::clone(&keeper.lease), queue);
        let stop = Arc::new(Mutex::new(self.0.life.child()));
        let session = Session { pool, stop, handles: Handles::default(), claims: Arc::new(claims) };
        let name = session.pool.config.name.clone();
        let mut sessions = self.sessions();
        if sessions.contains_key(&name) {
            return Err(BackgroundError::Running { name });
        }
        sessions.insert(name, session.clone());
        drop(sessions);
        keeper.enter(&session.pool);
        Ok(session)
    }

    /// What looks after all pools; begun with the first.
    fn keeper(&self) -> Result<Arc<Keeper>, StoreError> {
        // Held, so that there is one.
        let _sessions = self.sessions();
        if self.0.keeper.get().is_none() {
            let _ = self.0.keeper.set(Keeper::start(self.host(), self.0.life.child())?);
        }
        self.0.keeper.get().cloned().ok_or(StoreError::Closed)
    }

    fn listen(&self, session: &Session, triggers: Vec<Listened>, fence: &Expect) {
        for Listened { trigger, built, row } in triggers {
            let (handles, claims) = (Arc::clone(&session.handles), Arc::clone(&session.claims));
            let note = move |key: &TriggerKey, handle: TriggerHandle| {
                if let (TriggerHandle::Webhook(hook), Some(claim)) = (&handle, claims.get(key)) {
                    claim.set(Some(hook.clone()));
                }
                if !matches!(handle, TriggerHandle::None) {
                    handles.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), handle);
                }
            };
            note(&trigger.key(), built.handle.clone());
            let key = trigger.key();
            let declared = session.pool.config.triggers.iter().position(|known| known.key() == key);
            let source = Source {
                workshop: Arc::clone(&self.0.workshop),
                key,
                config: declared.map_or_else(|| Declared::Added(Box::new(trigger)), Declared::At),
                row: Arc::new(row),
                intake: Arc::clone(&session.pool.intake),
                fence: fence.clone(),
                stop: session.stop().clone(),
                start: self.0.start,
                handles: Arc::new(note),
            };
            tokio::spawn(Box::new(source).run(built));
        }
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
        self.fire_by(name, data, None).await
    }

    /// The same, by somebody whose name the firing carries as its source.
    pub async fn fire_by(
        &self,
        name: &BackgroundName,
        data: impl Into<Payload>,
        by: Option<&str>,
    ) -> Result<RunId, BackgroundError> {
        let session = self.session(name)?;
        manual::fire(self.host(), &session.pool.intake, data.into(), by).await
    }

    /// What it was started with.
    pub fn config(&self, name: &BackgroundName) -> Result<Arc<BackgroundConfig>, BackgroundError> {
        Ok(Arc::clone(&self.session(name)?.pool.config))
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
        session.hush();
        session.pool.board.change(|inner| {
            inner.status.state = BackgroundState::Stopping;
            inner.end_if_empty();
        });
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
        let status = session.pool.board.status();
        let mut sessions = self.sessions();
        // Several may have waited for this end, and the first of them may have started the next one.
        if sessions.get(name).is_some_and(|known| Arc::ptr_eq(&known.pool.board, &session.pool.board)) {
            sessions.remove(name);
            self.ended_since().insert(name.clone(), status.clone());
            if let Some(keeper) = self.0.keeper.get() {
                keeper.leave(&session.pool.queue);
            }
        }
        drop(sessions);
        self.0.changed.send_modify(|version| *version += 1);
        Ok(status)
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
            self.publish(&self.publisher(&self.held(epoch))).await;
            let release = Write::ReleaseLease { key: lease_key(), epoch };
            if let Err(error) = self.host().store().commit(release.into()).await {
                tracing::debug!(%error, "the triggers are given back by time");
            }
        }
        ended
    }
}
