//! The intake: from a firing to what the store has of it.
//!
//! Guarantees: a firing becomes a run, or a number of the conservation law, in the one commit that also moves
//! its trigger on; the same firing again changes nothing. Who asked is answered once that is durable.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{AmplifierSession, CancelLevel, Cause, EventType, NewEvent, Payload, RunId};
use amplifier_foundation::Host;
use amplifier_foundation::router::DEFAULT_MAX_HOPS;
use amplifier_store::{
    Commit, DedupKey, Expect, Receipt, RunFilter, RunMove, RunRow, RunState, Store, StoreError, Write,
};
use amplifier_trigger::{
    Acceptance, BackgroundName, Misfire, Overlap, TriggerEvent, TriggerKey, TriggerKind, TriggerPolicy,
    TriggerRow,
};

use crate::config::BackgroundConfig;
use crate::report::left_out::{FIRED, LeftOut, REFUSED};
use crate::run::{Count, RunPayload, queue_of, too_far_event, trigger_id};
use crate::status::Board;

/// How long it is remembered that a firing led to no run, and why.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3_600);
/// When a full queue is worth another try.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// What the keys of what is kept of triggers begin with.
pub(crate) const TRIGGERS: &str = "trigger/";
/// How often a commit is made anew that somebody else has overtaken.
const TRIES: usize = 8;

/// What became of a firing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A run.
    Run(RunId),
    /// It had been taken in before.
    Repeated,
    /// Another run stands for it.
    Coalesced,
    /// A policy left it out.
    Skipped,
    /// It cannot become a run.
    Rejected(String),
    /// There is no room; nothing but a number remains of it.
    Full,
    /// There is no room, and its source waits.
    Wait,
}

/// What a firing comes from.
pub(crate) struct Origin<'a> {
    pub(crate) policy: &'a TriggerPolicy,
    /// What the store keeps of the trigger, moved on by the commit. `None` for what somebody fires.
    pub(crate) row: Option<&'a mut TriggerRow>,
    /// The fence of the owner of the triggers.
    pub(crate) fence: Option<Expect>,
}

/// The intake of one background session.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) host: Host,
    pub(crate) config: Arc<BackgroundConfig>,
    pub(crate) board: Arc<Board>,
    /// Where a policy asks what runs or waits, firings are taken in one after the other: the answer must still
    /// hold at the commit. Others take room and go on beside each other.
    turn: tokio::sync::Mutex<()>,
}

/// The key of what the store keeps of a trigger.
pub(crate) fn row_key(config: &BackgroundConfig, row: &TriggerRow) -> DedupKey {
    row_key_of(&config.name, &row.key)
}

fn row_key_of(name: &BackgroundName, trigger: &TriggerKey) -> DedupKey {
    key(format!("{TRIGGERS}{name}/{trigger}"))
}

/// What the store keeps of a trigger, if somebody has listened to it.
pub(crate) async fn trigger_row(
    store: &dyn Store,
    name: &BackgroundName,
    trigger: &TriggerKey,
) -> Result<Option<TriggerRow>, StoreError> {
    Ok(store.key(&row_key_of(name, trigger)).await?.and_then(|kept| kept.decode().ok()))
}

fn key(text: String) -> DedupKey {
    #[expect(clippy::expect_used, reason = "two names of at most 64 bytes, or an id of a firing")]
    DedupKey::new(text).expect("a key")
}

/// Room that is taken for a run, until it waits or is known not to.
struct Room<'a> {
    board: &'a Board,
    /// Whether it waits now; `None` where whoever fired it has not waited for that.
    taken: Option<bool>,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.board.change_quietly(|inner| {
            inner.reserved -= 1;
            inner.waiting += i64::from(self.taken == Some(true));
            inner.miscounted |= self.taken.is_none();
        });
    }
}

impl Intake {
    pub(crate) fn new(host: Host, config: Arc<BackgroundConfig>, board: Arc<Board>) -> Self {
        Self { host, config, board, turn: tokio::sync::Mutex::new(()) }
    }

    /// Takes a firing in.
    pub(crate) async fn take(
        &self,
        event: &TriggerEvent,
        mut origin: Origin<'_>,
    ) -> Result<Taken, StoreError> {
        let policy = origin.policy;
        let asks = matches!(policy.overlap, Overlap::Skip | Overlap::CancelPrevious);
        let _turn = match asks || policy.debounce.is_some() {
            true => Some(self.turn.lock().await),
            false => None,
        };
        let mut result = Ok(Taken::Repeated);
        for _ in 0..TRIES {
            result = self.once(event, &mut origin).await;
            if !matches!(result, Err(StoreError::RunIs { .. })) {
                break;
            }
        }
        let taken = result?;
        if taken != Taken::Wait {
            self.note(event, &taken, origin.row.is_some());
        }
        Ok(taken)
    }

    /// What who fired it is told.
    pub(crate) fn answer(event: &TriggerEvent, taken: &Taken) {
        event.receipt.answer(match taken {
            Taken::Run(_) | Taken::Coalesced | Taken::Wait => Acceptance::Accepted,
            Taken::Repeated => Acceptance::Repeated(event.id.clone()),
            Taken::Skipped => Acceptance::Ignored { reason: "all places are taken".to_owned() },
            Taken::Rejected(reason) => Acceptance::Rejected { reason: reason.clone() },
            Taken::Full => Acceptance::Full { retry_after: RETRY_AFTER },
        });
    }

    async fn once(&self, event: &TriggerEvent, origin: &mut Origin<'_>) -> Result<Taken, StoreError> {
        let id = event
            .id
            .run_id()
            .map_err(|_| StoreError::Malformed { what: "the id of a firing is no id of a run" })?;
        let cause = self.cause(event).await?;
        let max = self.config.limits.max_hops.unwrap_or(DEFAULT_MAX_HOPS);
        if let Some(cause) = cause.filter(|cause| cause.hops >= max) {
            let event_of = NewEvent::of(EventType::SessionStart, Payload::null()).caused_by(Some(cause));
            let told = self.host.router().seal(too_far_event(&event_of, max)).ok();
            let reason = format!("the chain of events has {} hops; at most {max} are allowed", cause.hops);
            let append = told.map(|told| Write::Append(Box::new(told)));
            return self.count(event, origin, Taken::Rejected(reason), append).await;
        }
        if self.is_old(event, origin.policy) {
            return self.count(event, origin, Taken::Skipped, None).await;
        }
        if let Err(error) = self.config.template.render(event) {
            return self.count(event, origin, Taken::Rejected(error.to_string()), None).await;
        }
        match self.room(event, origin.policy).await? {
            Some(Taken::Wait) => match self.host.store().run(&id).await? {
                Some(_) => Ok(Taken::Repeated),
                None => Ok(Taken::Wait),
            },
            Some(left_out) => self.count(event, origin, left_out, None).await,
            None => {
                let mut room = Room { board: &self.board, taken: None };
                let taken = self.enqueue(id, event, origin, cause).await;
                room.taken = Some(matches!(taken, Ok(Taken::Run(_))));
                taken
            }
        }
    }

    async fn cause(&self, event: &TriggerEvent) -> Result<Option<Cause>, StoreError> {
        let amplifier_trigger::Cause::Event { event: id } = &event.cause else { return Ok(None) };
        Ok(self.host.store().event(*id).await?.map(|event| Cause::of(&event)))
    }

    /// Takes room for a run, if there is any.
    fn reserve(&self) -> bool {
        let capacity = u64::from(self.config.queue.capacity);
        self.board.change_quietly(|inner| {
            let fits = inner.queued() < capacity;
            inner.reserved += u64::from(fits);
            fits
        })
    }

    /// True for a firing that is too old for what its trigger says. A timer decides that itself.
    fn is_old(&self, event: &TriggerEvent, policy: &TriggerPolicy) -> bool {
        let age = self.host.clock().now().saturating_since(event.due);
        event.trigger != TriggerKind::Timer && policy.max_age.is_some_and(|oldest| age > oldest)
    }

    /// `None`: there is room, and it is taken. Else what becomes of the firing.
    async fn room(&self, event: &TriggerEvent, policy: &TriggerPolicy) -> Result<Option<Taken>, StoreError> {
        if self.board.look(|inner| inner.miscounted) {
            self.count_waiting().await?;
        }
        if policy.overlap == Overlap::Skip && self.is_busy().await? {
            return Ok(Some(Taken::Skipped));
        }
        if policy.debounce.is_some()
            && !matches!(event.trigger, TriggerKind::FileChange)
            && self.pending(event).await?
        {
            return Ok(Some(Taken::Coalesced));
        }
        if self.reserve() {
            return Ok(None);
        }
        self.count_waiting().await?;
        if self.reserve() {
            return Ok(None);
        }
        Ok(Some(match (&event.trigger, policy.misfire) {
            (TriggerKind::Timer, None | Some(Misfire::Once)) | (TriggerKind::FileChange, _) => {
                Taken::Coalesced
            }
            (TriggerKind::Timer, _) => Taken::Skipped,
            (TriggerKind::Manual | TriggerKind::Webhook, _) => Taken::Full,
            _ => Taken::Wait,
        }))
    }

    /// True if all places are taken, or spoken for. What waits is counted only where it matters.
    async fn is_busy(&self) -> Result<bool, StoreError> {
        let busy = || self.board.look(|inner| inner.wanted() >= u64::from(self.config.pool_size));
        if !busy() {
            return Ok(false);
        }
        self.count_waiting().await?;
        Ok(busy())
    }

    /// True if a run of the same trigger waits for the end of a burst.
    async fn pending(&self, event: &TriggerEvent) -> Result<bool, StoreError> {
        let now = self.host.clock().now();
        let trigger = trigger_id(event);
        let rows = self.queued().await?;
        Ok(rows.iter().any(|row| row.trigger == trigger && row.attempt == 1 && row.ready_at > now))
    }

    async fn queued(&self) -> Result<Vec<RunRow>, StoreError> {
        let mut filter = RunFilter::default();
        filter.queue = Some(queue_of(&self.config.name));
        filter.state = Some(RunState::Queued);
        filter.limit = usize::try_from(self.config.queue.capacity).unwrap_or(usize::MAX);
        self.host.store().runs(&filter).await
    }

    /// Counts what waits, and notes it.
    pub(crate) async fn count_waiting(&self) -> Result<(), StoreError> {
        let waiting = self.host.store().count_queued(&queue_of(&self.config.name)).await?;
        let counted = i64::try_from(waiting).unwrap_or(i64::MAX);
        self.board.change_quietly(|inner| (inner.waiting, inner.miscounted) = (counted, false));
        Ok(())
    }

    async fn enqueue(
        &self,
        run: RunId,
        event: &TriggerEvent,
        origin: &mut Origin<'_>,
        cause: Option<Cause>,
    ) -> Result<Taken, StoreError> {
        // What a person has asked for goes before what a trigger has.
        let priority = i8::from(event.cause == amplifier_trigger::Cause::Manual);
        let payload = RunPayload { event: event.clone(), cause, retry_of: None };
        // What the event carries is bounded, and what stands around it is small.
        let bytes = event.payload.check().ok().and_then(|()| serde_json::to_vec(&payload).ok());
        let Some(payload) = bytes.map(Payload::stored) else {
            // It needs no room then.
            let reason = "the event is too large for a run".to_owned();
            return self.count(event, origin, Taken::Rejected(reason), None).await;
        };
        let debounce = origin.policy.debounce.filter(|_| event.trigger != TriggerKind::FileChange);
        let moved = match event.trigger {
            // It has moved its firings itself.
            TriggerKind::Timer => Duration::ZERO,
            _ => origin.policy.moved(&event.id),
        };
        let delay = debounce.unwrap_or_default() + moved;
        let (queue, trigger) = (queue_of(&self.config.name), trigger_id(event));
        let enqueue = Write::Enqueue { run: run.clone(), queue, trigger, payload, priority, delay };
        let mut commit = self.counted(Commit::from(enqueue), event, None);
        let replaces = origin.policy.overlap == Overlap::CancelPrevious;
        let mut replaced = 0;
        if replaces {
            for row in self.queued().await? {
                let step = RunMove::new(row.id, RunState::Queued, RunState::Cancelled);
                commit = commit.write(Write::MoveRun(step.reason("a later firing took its place")));
                replaced += 1;
            }
        }
        commit = commit.when(Expect::KeyAbsent(self.seen(event)));
        match self.commit(commit, event, origin).await? {
            true => {
                if replaces {
                    self.board.change_quietly(|inner| inner.waiting -= replaced);
                    self.cancel_others(&run);
                }
                Ok(Taken::Run(run))
            }
            false => Ok(Taken::Repeated),
        }
    }

    /// Cancels what runs but `run`: that may have been begun since it is durable.
    fn cancel_others(&self, run: &RunId) {
        let sessions: Vec<AmplifierSession> = self.board.change(|inner| {
            let others = || inner.running.iter().filter(|(id, _)| *id != run);
            let without = others().filter(|(_, active)| active.session.is_none());
            let without: Vec<RunId> = without.map(|(id, _)| id.clone()).collect();
            let sessions = others().filter_map(|(_, active)| active.session.clone()).collect();
            inner.unwanted.extend(without);
            sessions
        });
        sessions.iter().for_each(|session| session.cancel(CancelLevel::Graceful));
    }

    /// A firing that becomes no run.
    async fn count(
        &self,
        event: &TriggerEvent,
        origin: &mut Origin<'_>,
        as_what: Taken,
        more: Option<Write>,
    ) -> Result<Taken, StoreError> {
        // One that is a run already leads to nothing else.
        if let Ok(run) = event.id.run_id()
            && self.host.store().run(&run).await?.is_some()
        {
            return Ok(Taken::Repeated);
        }
        let mut commit = more.map(Commit::from).unwrap_or_default();
        commit = self.counted(commit, event, Some(&as_what));
        if let Some(left_out) = LeftOut::of(event, &as_what, self.host.clock().now()) {
            let (value, retain) = (left_out.value(), REMEMBERED);
            // What was refused for want of room may come again.
            let key = if as_what == Taken::Full { self.refused() } else { self.seen(event) };
            commit = commit.write(Write::PutKey { key, value, retain });
        }
        Ok(if self.commit(commit, event, origin).await? { as_what } else { Taken::Repeated })
    }

    fn seen(&self, event: &TriggerEvent) -> DedupKey {
        let id = blake3::hash(event.id.as_str().as_bytes()).to_hex();
        key(format!("{FIRED}{}/{}", self.config.name, &id.as_str()[..32]))
    }

    fn refused(&self) -> DedupKey {
        let id = self.host.ids().v7(self.host.clock().now());
        key(format!("{REFUSED}{}/{id}", self.config.name))
    }

    /// The numbers of a firing, and of what its source has passed over before it.
    fn counted(&self, mut commit: Commit, event: &TriggerEvent, as_what: Option<&Taken>) -> Commit {
        let passed = event.passed;
        let is = |what: fn(&Taken) -> bool| u64::from(as_what.is_some_and(what));
        for (count, by) in [
            (Count::Triggered, 1 + passed.coalesced + passed.skipped),
            (Count::Coalesced, passed.coalesced + is(|taken| *taken == Taken::Coalesced)),
            (Count::Skipped, passed.skipped + is(|taken| *taken == Taken::Skipped)),
            (Count::Rejected, is(|taken| matches!(taken, Taken::Rejected(_) | Taken::Full))),
        ] {
            if by > 0 {
                commit = commit.write(Write::AddCounter { counter: count.of(&self.config.name), by });
            }
        }
        commit
    }

    /// Commits with the trigger's row. False: it had happened before.
    async fn commit(
        &self,
        mut commit: Commit,
        event: &TriggerEvent,
        origin: &mut Origin<'_>,
    ) -> Result<bool, StoreError> {
        let moved = origin.row.as_deref().map(|row| {
            let mut row = row.clone();
            row.advance(event);
            row
        });
        if let Some(row) = &moved
            && let Ok(value) = Payload::encode(row)
        {
            commit = commit.write(Write::SetValue { key: row_key(&self.config, row), value });
        }
        if let Some(fence) = &origin.fence {
            commit = commit.when(fence.clone());
        }
        let fresh = match self.host.store().commit(commit).await {
            Ok(Receipt::Applied(_)) => true,
            Ok(_) | Err(StoreError::KeyPresent { .. }) => false,
            Err(error) => return Err(error),
        };
        if let (Some(kept), Some(moved)) = (origin.row.as_deref_mut(), moved) {
            *kept = moved;
        }
        Ok(fresh)
    }

    fn note(&self, event: &TriggerEvent, taken: &Taken, watched: bool) {
        let now = self.host.clock().now();
        if *taken == Taken::Repeated {
            return;
        }
        let key = event.id.as_str().split('/').nth(1).unwrap_or_default().to_owned();
        self.board.change(|inner| {
            inner.status.triggered += 1 + event.passed.coalesced + event.passed.skipped;
            inner.status.last_trigger = Some(now);
            let trigger =
                inner.status.triggers.iter_mut().find(|(known, _)| watched && known.as_str() == key);
            if let Some((_, trigger)) = trigger {
                trigger.last_fired = Some(now);
            }
        });
        if let Taken::Rejected(reason) = taken {
            tracing::warn!(background = %self.config.name, firing = %event.id, reason, "a firing was rejected");
        }
    }
}
