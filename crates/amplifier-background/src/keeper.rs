//! The keeper of a manager: hears where runs were queued, gives the process's sign of life, and goes on with
//! runs that nobody works on any more. One task for all background sessions.
//!
//! Guarantees: a run that anybody has queued is looked for at once; one whose process has ended is gone on with
//! within a heartbeat; one whose process hangs, once its lease has run out and that was seen twice. What such a
//! process writes of it later is refused: its activation is settled first, and its storage is taken away.
//! Never here: which run is begun.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use amplifier_core::until::until;
use amplifier_core::{CancelLevel, CancelToken, MonoTime, SessionEvent};
use amplifier_foundation::Host;
use amplifier_foundation::host::ReachError;
use amplifier_store::{
    Commit, Cursor, Epoch, Expect, LogListener, OwnerId, QueueName, RunFilter, RunMove, RunRow, RunState,
    SessionRow, StoreError, Write,
};

use crate::lease::{Beat, HEARTBEAT, LASTS, WorkLease, key_of};
use crate::pool::Pool;
use crate::run::{RunAtWork, attempt_is};
use crate::status::BackgroundState;

/// Rung by the store.
#[derive(Debug, Default)]
struct Bell {
    // Held to note or to take what was rung; never across an await.
    rung: Mutex<Rung>,
    wake: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct Rung {
    queues: BTreeSet<QueueName>,
    /// Somewhere, nobody knows where.
    anywhere: bool,
}

impl Bell {
    fn rung(&self) -> MutexGuard<'_, Rung> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogListener for Bell {
    fn recorded(&self, _events: &[Arc<SessionEvent>]) {}

    fn missed(&self, _resume: Cursor) {}

    fn commanded(&self) {}

    fn queued(&self, queues: Option<&[QueueName]>) {
        let mut rung = self.rung();
        match queues {
            // Mostly the same one, many times in a transaction.
            Some(queues) => queues.iter().for_each(|queue| {
                if !rung.queues.contains(queue) {
                    rung.queues.insert(queue.clone());
                }
            }),
            None => rung.anywhere = true,
        }
        drop(rung);
        self.wake.notify_one();
    }
}

/// The keeper.
#[derive(Debug)]
pub(crate) struct Keeper {
    host: Host,
    pub(crate) lease: Arc<WorkLease>,
    // Held for a look or a change; never across an await.
    pools: Mutex<BTreeMap<QueueName, Arc<Pool>>>,
    bell: Arc<Bell>,
    /// Whose lease had run out at the look before, and since when that is known.
    suspects: Mutex<BTreeMap<OwnerId, (Epoch, MonoTime)>>,
}

impl Keeper {
    /// A keeper that keeps until the end of `life`.
    pub(crate) fn start(host: &Host, life: CancelToken) -> Result<Arc<Self>, StoreError> {
        let lease = Arc::new(WorkLease::new(host.clone(), key_of(host.owner())?));
        let bell = Arc::new(Bell::default());
        let listener: Weak<dyn LogListener> = Arc::downgrade(&(Arc::clone(&bell) as Arc<dyn LogListener>));
        host.store().listen(listener);
        let (pools, suspects) = (Mutex::default(), Mutex::default());
        let keeper = Arc::new(Self { host: host.clone(), lease, pools, bell, suspects });
        tokio::spawn(Arc::clone(&keeper).keep(life));
        Ok(keeper)
    }

    fn pools(&self) -> MutexGuard<'_, BTreeMap<QueueName, Arc<Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a pool in its care, and begins with what was left of its runs.
    pub(crate) fn enter(self: &Arc<Self>, pool: &Arc<Pool>) {
        self.pools().insert(pool.queue.clone(), Arc::clone(pool));
        tokio::spawn(Arc::clone(self).begin(Arc::clone(pool)));
    }

    /// A pool that has ended.
    pub(crate) fn leave(&self, queue: &QueueName) {
        let none = {
            let mut pools = self.pools();
            pools.remove(queue);
            pools.is_empty()
        };
        if none {
            self.lease.release();
        }
    }

    async fn begin(self: Arc<Self>, pool: Arc<Pool>) {
        loop {
            let state = pool.board.look(|inner| inner.status.state);
            if !matches!(state, BackgroundState::Starting | BackgroundState::Failed) {
                return;
            }
            let begun = async {
                pool.intake.count_waiting().await?;
                self.take_up(Some(&pool.queue)).await
            };
            let Err(error) = begun.await else { break };
            pool.failed(&error);
            self.host.clock().sleep(HEARTBEAT).await;
        }
        pool.board.change(|inner| {
            // Somebody may have stopped it meanwhile.
            if inner.status.state == BackgroundState::Starting {
                inner.status.state = BackgroundState::Running;
            }
        });
    }

    async fn keep(self: Arc<Self>, life: CancelToken) {
        let clock = Arc::clone(self.host.clock());
        let mut due = clock.monotonic().saturating_add(HEARTBEAT);
        loop {
            let woken = until(self.bell.wake.notified(), clock.sleep_until(due));
            if until(woken, life.cancelled()).await.is_none() {
                return self.end().await;
            }
            if let Err(error) = self.hear().await {
                tracing::warn!(%error, "it cannot be read where runs were queued; it is tried again");
                self.bell.rung().anywhere = true;
            }
            if clock.monotonic() >= due {
                due = clock.monotonic().saturating_add(HEARTBEAT);
                self.look_after().await;
            }
        }
    }

    /// Keeps the lease until the sessions have ended that were begun: they stay their host's.
    async fn end(&self) {
        let pools: Vec<Arc<Pool>> = std::mem::take(&mut *self.pools()).into_values().collect();
        while pools.iter().any(|pool| pool.board.look(|inner| !inner.running.is_empty())) {
            if let Err(error) = self.lease.beat().await {
                tracing::warn!(%error, "the sign of life of this process could not be given");
            }
            self.host.clock().sleep(HEARTBEAT / 2).await;
        }
        self.lease.release();
    }

    /// Lets those pools look that have something to look for.
    async fn hear(&self) -> Result<(), StoreError> {
        let Rung { mut queues, anywhere } = std::mem::take(&mut *self.bell.rung());
        if anywhere {
            queues.extend(self.host.store().queues().await?);
        }
        let pools: Vec<Arc<Pool>> = {
            let pools = self.pools();
            queues.iter().filter_map(|queue| pools.get(queue).cloned()).collect()
        };
        for pool in pools {
            if anywhere {
                pool.board.change_quietly(|inner| inner.miscounted = true);
            }
            pool.board.rouse();
        }
        Ok(())
    }

    /// The heartbeat, and what was left by others.
    async fn look_after(&self) {
        let works = {
            let pools = self.pools();
            for pool in pools.values() {
                pool.board.change_quietly(|inner| inner.miscounted = inner.waiting > 0);
            }
            pools.values().any(|pool| pool.board.look(|inner| !inner.running.is_empty()))
        };
        let looked = async {
            if works && self.lease.beat().await? == Beat::WasLost {
                tracing::warn!(
                    "this process was taken for one that hangs; some of its runs may be others' now"
                );
                self.yield_lost().await?;
            }
            self.take_up(None).await
        };
        if let Err(error) = looked.await {
            tracing::warn!(%error, "what others have left could not be looked for");
        }
    }

    /// Stops sessions that somebody else has gone on with.
    async fn yield_lost(&self) -> Result<(), StoreError> {
        let pools: Vec<Arc<Pool>> = self.pools().values().cloned().collect();
        for session in pools.iter().flat_map(|pool| pool.board.sessions()) {
            let row = self.host.store().session(session.id()).await?;
            let own = |row: &SessionRow| {
                row.owner == *self.host.owner()
                    && row.activation == session.activation()
                    && row.settled.is_none()
            };
            if !row.as_ref().is_some_and(own) {
                session.cancel(CancelLevel::Immediate);
            }
        }
        Ok(())
    }

    /// Goes on with runs whose sessions nobody runs any more: of one queue, or of all.
    async fn take_up(&self, queue: Option<&QueueName>) -> Result<(), StoreError> {
        let mut filter = RunFilter::default();
        (filter.queue, filter.state) = (queue.cloned(), Some(RunState::Running));
        let mut left = Vec::new();
        loop {
            let rows = self.host.store().runs(&filter).await?;
            let more = (rows.len() >= filter.limit).then(|| rows.last().map(|row| row.place)).flatten();
            let pools = self.pools();
            left.extend(rows.into_iter().filter_map(|row| {
                let pool = pools.get(&row.queue)?;
                (!pool.board.look(|inner| inner.running.contains_key(&row.id)))
                    .then(|| (Arc::clone(pool), row))
            }));
            drop(pools);
            match more {
                Some(last) => filter.after = last,
                None => break,
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.host.project_sessions().recover().await {
            tracing::warn!(%error, "sessions whose process is gone could not be settled");
        }
        for (pool, row) in left {
            self.take_up_one(&pool, &row).await?;
        }
        Ok(())
    }

    async fn take_up_one(&self, pool: &Arc<Pool>, row: &RunRow) -> Result<(), StoreError> {
        let Some(session) = &row.session else { return Ok(()) };
        let Some(work) = RunAtWork::of(pool, row) else { return Ok(()) };
        let Some(mut known) = self.host.store().session(session).await? else {
            let step = RunMove::new(row.id.clone(), RunState::Running, RunState::Queued);
            let step = Write::MoveRun(step.reason("its session was deleted"));
            let only = attempt_is(&row.id, row.state, row.attempt);
            return pool.see_to(Commit::from(step).when(only)).await;
        };
        if known.settled.is_none() {
            // One that has no outcome has an owner that lives, or seems to.
            if !self.take_away(&known).await? {
                return Ok(());
            }
            let Some(now) = self.host.store().session(session).await? else { return Ok(()) };
            known = now;
        }
        let Some(settled) = known.settled else { return Ok(()) };
        self.clear_up(&known.owner).await?;
        work.prepare_end(session, &settled.outcome).await;
        if work.step(&settled.outcome).is_none() {
            work.alone();
            pool.begin(work, Some(session.clone()));
            return Ok(());
        }
        let event = self.host.store().event(settled.event).await?;
        pool.see_to_end(&work, session, &settled.outcome, event.as_deref()).await
    }

    /// Drops the lease of a process that is gone.
    async fn clear_up(&self, owner: &OwnerId) -> Result<(), StoreError> {
        if self.host.lives(owner) {
            return Ok(());
        }
        let key = key_of(owner)?;
        let Some(lease) = self.host.store().lease(&key).await? else { return Ok(()) };
        self.host.store().post(Write::ReleaseLease { key, epoch: lease.epoch }.into())
    }

    /// Takes a session away from a process that hangs; false if it does not, as far as is known.
    async fn take_away(&self, known: &SessionRow) -> Result<bool, StoreError> {
        let (store, owner) = (self.host.store(), &known.owner);
        if owner == self.host.owner() {
            return Ok(false);
        }
        let key = key_of(owner)?;
        let Some(lease) = store.lease(&key).await? else { return Ok(false) };
        let mut when = Expect::LeaseHeld { key: key.clone(), owner: lease.owner.clone(), epoch: lease.epoch };
        // Else somebody has taken it already, and its owner has not woken up since.
        if lease.owner == *owner {
            if !self.is_silent(owner, &lease) {
                return Ok(false);
            }
            let me = self.host.owner().clone();
            let take = Write::TakeLease { key: key.clone(), owner: me.clone(), ttl: LASTS, over: None };
            let epochs = match store.commit(take.into()).await {
                Ok(taken) => taken.applied().map(|applied| applied.epochs).unwrap_or_default(),
                Err(StoreError::LeaseTaken { .. }) => return Ok(false),
                Err(error) => return Err(error),
            };
            let Some((_, epoch)) = epochs.into_iter().next() else { return Ok(false) };
            tracing::warn!(%owner, "a process gives no sign of life; its runs are taken from it");
            when = Expect::LeaseHeld { key, owner: me, epoch };
        }
        let sessions = self.host.project_sessions();
        match sessions.give_up(&known.root, owner, &when).await {
            Ok(_) => {}
            // It has woken up.
            Err(ReachError::Store(StoreError::LeaseLost { .. })) => return Ok(false),
            Err(ReachError::Store(error)) => return Err(error),
            Err(error) => {
                tracing::warn!(session = %known.id, %error, "a session cannot be taken from a process that hangs");
                return Ok(false);
            }
        }
        match self.host.storage().take_over(&known.id).await {
            Ok(()) => Ok(true),
            Err(error) => {
                tracing::warn!(session = %known.id, %error, "the storage of a session cannot be taken over");
                Ok(false)
            }
        }
    }

    /// True if a lease had run out at an earlier look too: all processes of a machine that slept find
    /// everybody's lease run out when they wake up.
    fn is_silent(&self, owner: &OwnerId, lease: &amplifier_store::Lease) -> bool {
        let now = self.host.clock().monotonic();
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        if !lease.left.is_zero() {
            suspects.remove(owner);
            return false;
        }
        match suspects.get(owner) {
            Some((epoch, since)) if *epoch == lease.epoch => now.saturating_since(*since) >= HEARTBEAT / 2,
            _ => {
                suspects.insert(owner.clone(), (lease.epoch, now));
                false
            }
        }
    }
}
