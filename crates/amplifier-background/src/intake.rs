//! The intake: from firings to what the store has of them.
//!
//! Guarantees: a firing becomes a run, or a number of the conservation law, in the one commit that also moves
//! its trigger on, alone or with others of its trigger; the same firing again changes nothing, also not what
//! becomes of the others. Who asked is answered once that is durable.

use std::collections::HashSet;
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
use crate::work::{Taking, both, overtaken};

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

/// What firings come from.
pub(crate) struct Origin<'a> {
    pub(crate) policy: &'a TriggerPolicy,
    /// What the store keeps of the trigger, moved on by the commit. `None` for what somebody fires.
    pub(crate) row: Option<&'a mut Arc<TriggerRow>>,
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

/// A firing, and what it becomes unless it has been taken in before.
struct Planned<'a> {
    event: &'a TriggerEvent,
    taken: Taken,
    /// What it writes, but for its numbers and its trigger's row.
    commit: Commit,
    /// What it is known by, where it becomes something.
    seen: Option<DedupKey>,
    room: Option<Room<'a>>,
    /// How many that wait it takes the place of, where it takes that of what runs too.
    replaces: Option<i64>,
}

impl<'a> Planned<'a> {
    /// A firing that writes nothing.
    fn nothing(event: &'a TriggerEvent, taken: Taken) -> Self {
        Self { event, taken, commit: Commit::new(), seen: None, room: None, replaces: None }
    }

    /// True if it is counted.
    fn counts(&self) -> bool {
        !matches!(self.taken, Taken::Repeated | Taken::Wait)
    }
}

/// What became of a commit.
enum Committed {
    Applied,
    /// Nothing was written: one of the firings had been taken in before.
    Before,
}

/// Room that is taken for a run, until it waits or is known not to.
struct Room<'a> {
    board: &'a Board,
    /// Whether it waits now; `None` while that is being written, and where nobody has waited for that.
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

    /// Takes in the first of these firings of one origin, as many as can be taken in at once, and at least one:
    /// what became of each of them. Only the last one may have to [wait](Taken::Wait).
    pub(crate) async fn take(
        &self,
        events: &[TriggerEvent],
        mut origin: Origin<'_>,
    ) -> Result<Vec<Taken>, StoreError> {
        let policy = origin.policy;
        let asks = matches!(policy.overlap, Overlap::Skip | Overlap::CancelPrevious);
        let _turn = match asks || policy.debounce.is_some() {
            true => Some(self.turn.lock().await),
            false => None,
        };
        // Each of these takes the place of the one before.
        let alone = policy.overlap == Overlap::CancelPrevious;
        let mut events = if alone { &events[..events.len().min(1)] } else { events };
        let mut repeated = HashSet::new();
        let mut tried = 0;
        loop {
            tried += 1;
            let mut planned = self.plan(events, &repeated, policy).await?;
            match self.commit(&mut planned, &mut origin).await {
                Ok(Committed::Applied) => return Ok(self.done(planned, origin.row.is_some())),
                Ok(Committed::Before) => {
                    let known = repeated.len();
                    match events.len() {
                        1 => drop(repeated.insert(0)),
                        _ => self.note_repeated(&planned, &mut repeated).await?,
                    }
                    if repeated.len() == known {
                        // Of one it is known which.
                        (events, repeated) = (&events[..1], HashSet::new());
                    }
                }
                Err(error) if overtaken(&error) && tried < TRIES => {}
                Err(error) => return Err(error),
            }
        }
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

    /// What becomes of firings, up to the first that waits or is one of those before it. `repeated`: the
    /// places of those that have been taken in before.
    async fn plan<'a>(
        &'a self,
        events: &'a [TriggerEvent],
        repeated: &HashSet<usize>,
        policy: &TriggerPolicy,
    ) -> Result<Vec<Planned<'a>>, StoreError> {
        let mut all: Vec<Planned<'a>> = Vec::with_capacity(events.len());
        let mut ids = HashSet::new();
        for (at, event) in events.iter().enumerate() {
            // It hears of the first one once that is durable.
            if !ids.insert(&event.id) {
                break;
            }
            if repeated.contains(&at) {
                all.push(Planned::nothing(event, Taken::Repeated));
                continue;
            }
            let waits = all.iter().any(|planned| matches!(planned.taken, Taken::Run(_)));
            let planned = self.plan_one(event, policy, waits).await?;
            let ends = planned.taken == Taken::Wait;
            all.push(planned);
            if ends {
                break;
            }
        }
        Ok(all)
    }

    /// `waits`: a run of the same trigger will wait, which the store does not have yet.
    async fn plan_one<'a>(
        &'a self,
        event: &'a TriggerEvent,
        policy: &TriggerPolicy,
        waits: bool,
    ) -> Result<Planned<'a>, StoreError> {
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
            return self.left_out(event, Taken::Rejected(reason), append).await;
        }
        if self.is_old(event, policy) {
            return self.left_out(event, Taken::Skipped, None).await;
        }
        if let Err(error) = self.config.template.render(event) {
            return self.left_out(event, Taken::Rejected(error.to_string()), None).await;
        }
        match self.room(event, policy, waits).await? {
            Some(Taken::Wait) => match self.host.store().run(&id).await? {
                Some(_) => Ok(Planned::nothing(event, Taken::Repeated)),
                None => Ok(Planned::nothing(event, Taken::Wait)),
            },
            Some(left_out) => self.left_out(event, left_out, None).await,
            None => {
                let room = Room { board: &self.board, taken: Some(false) };
                self.enqueue(id, event, policy, cause, room).await
            }
        }
    }

    /// Notes the places of those that have been taken in before.
    async fn note_repeated(
        &self,
        planned: &[Planned<'_>],
        repeated: &mut HashSet<usize>,
    ) -> Result<(), StoreError> {
        let store = self.host.store();
        for (at, Planned { taken, seen, .. }) in planned.iter().enumerate() {
            let before = match (taken, seen) {
                (Taken::Run(run), _) if store.run(run).await?.is_some() => true,
                (_, Some(seen)) => store.key(seen).await?.is_some(),
                _ => false,
            };
            if before {
                repeated.insert(at);
            }
        }
        Ok(())
    }

    async fn cause(&self, event: &TriggerEvent) -> Result<Option<Cause>, StoreError> {
        let amplifier_trigger::Cause::Event { event: id } = &event.cause else { return Ok(None) };
        if event.answers.is_some() {
            return Ok(event.answers);
        }
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
    async fn room(
        &self,
        event: &TriggerEvent,
        policy: &TriggerPolicy,
        waits: bool,
    ) -> Result<Option<Taken>, StoreError> {
        if self.board.look(|inner| inner.miscounted) {
            self.count_waiting().await?;
        }
        if policy.overlap == Overlap::Skip && self.is_busy().await? {
            return Ok(Some(Taken::Skipped));
        }
        if policy.debounce.is_some()
            && !matches!(event.trigger, TriggerKind::FileChange)
            && (waits || self.pending(event).await?)
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

    async fn enqueue<'a>(
        &'a self,
        run: RunId,
        event: &'a TriggerEvent,
        policy: &TriggerPolicy,
        cause: Option<Cause>,
        room: Room<'a>,
    ) -> Result<Planned<'a>, StoreError> {
        let part = match &self.config.work {
            Some(work) => match work.taking(&run, event).await? {
                Some(part) => part,
                None => return Ok(Planned::nothing(event, Taken::Repeated)),
            },
            None => Taking::default(),
        };
        // What a person has asked for goes before what a trigger has.
        let by_person = event.cause == amplifier_trigger::Cause::Manual;
        let priority = if by_person { 1 } else { part.priority };
        let payload = RunPayload { event: event.clone(), cause, retry_of: None };
        // What the event carries is bounded, and what stands around it is small.
        let bytes = event.payload.check().ok().and_then(|()| serde_json::to_vec(&payload).ok());
        let Some(payload) = bytes.map(Payload::stored) else {
            // It needs no room then.
            let reason = "the event is too large for a run".to_owned();
            return self.left_out(event, Taken::Rejected(reason), None).await;
        };
        let debounce = policy.debounce.filter(|_| event.trigger != TriggerKind::FileChange);
        let moved = match event.trigger {
            // It has moved its firings itself.
            TriggerKind::Timer => Duration::ZERO,
            _ => policy.moved(&event.id),
        };
        let delay = debounce.unwrap_or_default() + moved;
        let (queue, trigger) = (queue_of(&self.config.name), trigger_id(event));
        let enqueue = Write::Enqueue { run: run.clone(), queue, trigger, payload, priority, delay };
        let mut commit = both(Commit::from(enqueue), part.commit);
        let mut replaces = None;
        if policy.overlap == Overlap::CancelPrevious {
            let waiting = self.queued().await?;
            replaces = Some(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
            for row in waiting {
                let step = RunMove::new(row.id, RunState::Queued, RunState::Cancelled);
                commit = commit.write(Write::MoveRun(step.reason("a later firing took its place")));
            }
        }
        let seen = self.seen(event);
        commit = commit.when(Expect::KeyAbsent(seen.clone()));
        Ok(Planned { event, taken: Taken::Run(run), commit, seen: Some(seen), room: Some(room), replaces })
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
    async fn left_out<'a>(
        &'a self,
        event: &'a TriggerEvent,
        taken: Taken,
        more: Option<Write>,
    ) -> Result<Planned<'a>, StoreError> {
        // One that is a run already leads to nothing else.
        if let Ok(run) = event.id.run_id()
            && self.host.store().run(&run).await?.is_some()
        {
            return Ok(Planned::nothing(event, Taken::Repeated));
        }
        let mut commit = more.map(Commit::from).unwrap_or_default();
        let seen = self.seen(event);
        if let Some(left_out) = LeftOut::of(event, &taken, self.host.clock().now()) {
            let (value, retain) = (left_out.value(), REMEMBERED);
            // What was refused for want of room may come again.
            let key = if taken == Taken::Full { self.refused() } else { seen.clone() };
            commit = commit.write(Write::PutKey { key, value, retain });
        }
        Ok(Planned { commit, seen: Some(seen), ..Planned::nothing(event, taken) })
    }

    fn seen(&self, event: &TriggerEvent) -> DedupKey {
        let id = blake3::hash(event.id.as_str().as_bytes()).to_hex();
        key(format!("{FIRED}{}/{}", self.config.name, &id.as_str()[..32]))
    }

    fn refused(&self) -> DedupKey {
        let id = self.host.ids().v7(self.host.clock().now());
        key(format!("{REFUSED}{}/{id}", self.config.name))
    }

    /// The numbers of firings, and of what their source has passed over before them.
    fn counted(&self, mut commit: Commit, planned: &[Planned<'_>]) -> Commit {
        let mut sums = [0_u64; 4];
        for Planned { event, taken, .. } in planned.iter().filter(|planned| planned.counts()) {
            let passed = event.passed;
            let by = [
                1 + passed.coalesced + passed.skipped,
                passed.coalesced + u64::from(*taken == Taken::Coalesced),
                passed.skipped + u64::from(*taken == Taken::Skipped),
                u64::from(matches!(taken, Taken::Rejected(_) | Taken::Full)),
            ];
            sums.iter_mut().zip(by).for_each(|(sum, by)| *sum += by);
        }
        let counts = [Count::Triggered, Count::Coalesced, Count::Skipped, Count::Rejected];
        for (count, by) in counts.into_iter().zip(sums).filter(|(_, by)| *by > 0) {
            commit = commit.write(Write::AddCounter { counter: count.of(&self.config.name), by });
        }
        commit
    }

    /// Commits firings together, with the row of their trigger.
    async fn commit(
        &self,
        planned: &mut [Planned<'_>],
        origin: &mut Origin<'_>,
    ) -> Result<Committed, StoreError> {
        let moved = origin.row.as_deref().map(|row| {
            let mut row = TriggerRow::clone(row);
            let taken = planned.iter().filter(|planned| planned.taken != Taken::Wait);
            taken.for_each(|planned| row.advance(planned.event));
            row
        });
        if planned.iter().any(Planned::counts) {
            let mut commit = Commit::new();
            for one in planned.iter_mut() {
                let own = std::mem::take(&mut one.commit);
                commit.writes.extend(own.writes);
                commit.expects.extend(own.expects);
            }
            commit = self.counted(commit, planned);
            if let Some(row) = &moved
                && let Ok(value) = Payload::encode(row)
            {
                commit = commit.write(Write::SetValue { key: row_key(&self.config, row), value });
            }
            if let Some(fence) = &origin.fence {
                commit = commit.when(fence.clone());
            }
            let rooms = |planned: &mut [Planned<'_>], taken| {
                planned.iter_mut().flat_map(|one| &mut one.room).for_each(|room| room.taken = taken);
            };
            rooms(planned, None);
            let receipt = self.host.store().commit(commit).await;
            rooms(planned, Some(matches!(receipt, Ok(Receipt::Applied(_)))));
            match receipt {
                Ok(Receipt::Applied(_)) => {}
                Ok(_) | Err(StoreError::KeyPresent { .. }) => return Ok(Committed::Before),
                Err(error) => return Err(error),
            }
        }
        if let (Some(kept), Some(moved)) = (origin.row.as_deref_mut(), moved) {
            *kept = Arc::new(moved);
        }
        Ok(Committed::Applied)
    }

    /// Notes what firings have become, now that it is durable.
    fn done(&self, planned: Vec<Planned<'_>>, watched: bool) -> Vec<Taken> {
        self.note(&planned, watched);
        let done = planned.into_iter().map(|Planned { event, taken, replaces, room, .. }| {
            drop(room);
            match (&taken, replaces) {
                (Taken::Run(run), Some(waiting)) => {
                    self.board.change_quietly(|inner| inner.waiting -= waiting);
                    self.cancel_others(run);
                }
                (Taken::Rejected(reason), _) => {
                    let background = &self.config.name;
                    tracing::warn!(%background, firing = %event.id, reason, "a firing was rejected");
                }
                _ => {}
            }
            taken
        });
        done.collect()
    }

    fn note(&self, planned: &[Planned<'_>], watched: bool) {
        let now = self.host.clock().now();
        let counted = || planned.iter().filter(|planned| planned.counts()).map(|planned| planned.event);
        let Some(first) = counted().next() else { return };
        let key = first.id.as_str().split('/').nth(1).unwrap_or_default();
        self.board.change(|inner| {
            let passed = |event: &TriggerEvent| 1 + event.passed.coalesced + event.passed.skipped;
            inner.status.triggered += counted().map(passed).sum::<u64>();
            inner.status.last_trigger = Some(now);
            if let Some(trigger) = inner.trigger(key).filter(|_| watched) {
                trigger.last_fired = Some(now);
            }
        });
    }
}
