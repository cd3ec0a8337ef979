//! A workload for a store: a numbered list of commits of all kinds.
//!
//! Guarantees: operation `n` of a writer is the same in every run and on every store, so what a store
//! should hold after it is known; each is one commit that holds an event of that number. Writers of
//! different names do not touch each other's rows, and run side by side.
//! Never here: what is expected of a store; see [`history`](crate::history).

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::budget::Amount;
use amplifier_core::{
    Activation, CustomName, EventId, EventType, NewEvent, OutcomeKind, Payload, RunId, SessionEvent,
    SessionId, SessionOutcome, Timestamp,
};
use amplifier_foundation::store::{
    ActivationId, CommandName, Commit, ConsumerName, CounterName, DedupKey, LeaseKey, OwnerId, QueueName,
    Receipt, RunMove, RunState, Store, StoreError, Write,
};
use serde_json::json;
use uuid::Uuid;

/// Operations of one round; a round opens, runs and mostly settles one session.
pub const ROUND: usize = 10;
/// The events of the operation that has several.
pub const SEVERAL: usize = 3;
/// Bytes that one event in each round carries: many pages of a database, so that its log is folded in now and then.
const LARGE: usize = 60_000;
const HOUR: Duration = Duration::from_secs(3_600);

/// Somebody who carries out operations 0, 1, 2, … one after the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Writer {
    name: Arc<str>,
    owner: OwnerId,
}

/// An operation that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The store has refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store says that it was carried out before.
    #[error("operation {0} was carried out before")]
    Repeated(usize),
    /// Something that an earlier operation has written is not there.
    #[error("operation {0} misses what an earlier one wrote")]
    Misses(usize),
}

impl Writer {
    /// A writer whose sessions belong to `owner`.
    pub fn new(name: &str, owner: &OwnerId) -> Self {
        Self { name: name.into(), owner: owner.clone() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who owns its sessions.
    pub fn owner(&self) -> &OwnerId {
        &self.owner
    }

    /// Carries out one operation. `Ok`: the store has acknowledged it.
    pub async fn perform(&self, store: &dyn Store, n: usize) -> Result<(), Failed> {
        let commit = self.commit(store, n).await?;
        match store.commit(commit).await? {
            Receipt::Applied(_) => Ok(()),
            Receipt::Repeated(_) => Err(Failed::Repeated(n)),
            _ => Err(Failed::Misses(n)),
        }
    }

    /// True if the store has operation `n`.
    pub async fn has(&self, store: &dyn Store, n: usize) -> Result<bool, StoreError> {
        Ok(store.event(self.event_id(n, 0)).await?.is_some())
    }

    /// The commit of operation `n`; fences are read first.
    pub async fn commit(&self, store: &dyn Store, n: usize) -> Result<Commit, Failed> {
        let (round, note) = (n / ROUND, || Write::Append(self.event(n, 0, "work:noted", 0)));
        let (of, run) = (self.activation(round), self.run(round));
        let step = |from, to| RunMove::new(run.clone(), from, to);
        let commit = match n % ROUND {
            0 => note().into(),
            1 => self.open(round).write(note()),
            2 => self.enqueue(round).write(note()),
            3 => Commit::from(Write::Grant { to: of, from: None, amount: tokens(1_000) }).write(note()),
            4 => {
                let lease = Write::TakeLease {
                    key: self.lease(round),
                    owner: self.owner.clone(),
                    ttl: HOUR,
                    over: None,
                };
                Commit::from(Write::MoveRun(step(RunState::Queued, RunState::Leased)))
                    .write(lease)
                    .write(note())
            }
            5 => {
                let running = step(RunState::Leased, RunState::Running).session(of.session.clone());
                let (name, payload) = (CommandName::new("cancel").expect("a name"), json!(round).into());
                let send = Write::Send { to: self.peer(), name, payload };
                Commit::from(Write::MoveRun(running)).write(send).write(note())
            }
            6 => self.several(n),
            7 => {
                let refund = Write::Refund { of, spent: tokens(round as u64) };
                Commit::from(refund).write(self.count("spent", round as u64)).write(note())
            }
            8 if self.is_left_open(round) => note().into(),
            8 => self.settle(store, n).await?,
            _ => self.take(store, n).await?.write(note()),
        };
        Ok(commit)
    }

    fn open(&self, round: usize) -> Commit {
        let of = self.activation(round);
        let root = of.session.clone();
        let bundle = Some("hash".into());
        Write::Open { of, owner: self.owner.clone(), parent: None, root, bundle }.into()
    }

    fn enqueue(&self, round: usize) -> Commit {
        let (queue, payload) = (self.queue(), json!({"round": round}).into());
        let enqueue = Write::Enqueue {
            run: self.run(round),
            queue,
            trigger: None,
            payload,
            priority: 0,
            delay: Duration::ZERO,
        };
        let key = Write::PutKey { key: self.key(round), value: json!(round).into(), retain: HOUR };
        Commit::from(enqueue).write(key).write(self.count("triggered", 1))
    }

    fn several(&self, n: usize) -> Commit {
        let events =
            (0..SEVERAL).map(|part| self.event(n, part, "work:several", if part == 1 { LARGE } else { 0 }));
        events.fold(Commit::new(), |commit, event| commit.write(Write::Append(event)))
    }

    async fn settle(&self, store: &dyn Store, n: usize) -> Result<Commit, Failed> {
        let round = n / ROUND;
        let lease = store.lease(&self.lease(round)).await?.ok_or(Failed::Misses(n))?;
        let outcome = SessionOutcome::new(OutcomeKind::Completed, Activation::FIRST, format!("{n}"), None);
        let mut event = self.event(n, 0, "work:settled", 0);
        event.event_type = EventType::SessionCompleted;
        event.source = Some(self.session(round));
        let settle = Write::Settle { of: self.activation(round), outcome: Arc::new(outcome), event };
        let done = RunMove::new(self.run(round), RunState::Running, RunState::Completed);
        let release = Write::ReleaseLease { key: lease.key, epoch: lease.epoch };
        Ok(Commit::from(settle).write(Write::MoveRun(done)).write(release))
    }

    async fn take(&self, store: &dyn Store, n: usize) -> Result<Commit, Failed> {
        let commands = store.commands(&self.peer(), 1).await?;
        let place = commands.first().ok_or(Failed::Misses(n))?.place;
        let cursor = Write::SetCursor { consumer: self.consumer(), cursor: store.tail().await? };
        Ok(Commit::from(Write::TakeCommand { place }).write(cursor))
    }

    fn count(&self, counter: &str, by: u64) -> Write {
        Write::AddCounter { counter: self.counter(counter), by }
    }

    /// The event of part `part` of operation `n`.
    pub fn event(&self, n: usize, part: usize, name: &str, fill: usize) -> Box<SessionEvent> {
        let payload = json!({"writer": *self.name, "n": n, "part": part, "fill": "x".repeat(fill)});
        let event = NewEvent::custom(CustomName::new(name).expect("a name"), Payload::from(payload));
        let at = Timestamp::from_micros(1_767_225_600_000_000);
        Box::new(SessionEvent::seal(event, self.event_id(n, part), None, "workload".into(), at))
    }

    fn event_id(&self, n: usize, part: usize) -> EventId {
        let hash = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let high = self.name.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
        EventId(Uuid::from_u64_pair(high, (n * 8 + part) as u64))
    }

    /// True if the session of a round gets no outcome: its owner dies before.
    pub fn is_left_open(&self, round: usize) -> bool {
        round % 3 == 2
    }

    /// The session of a round.
    pub fn session(&self, round: usize) -> SessionId {
        SessionId::new(format!("{}-s{round}", self.name)).expect("an id")
    }

    /// Its activation.
    pub fn activation(&self, round: usize) -> ActivationId {
        ActivationId::new(self.session(round), Activation::FIRST)
    }

    /// The run of a round.
    pub fn run(&self, round: usize) -> RunId {
        RunId::new(format!("{}-r{round}", self.name)).expect("an id")
    }

    /// Its lease.
    pub fn lease(&self, round: usize) -> LeaseKey {
        LeaseKey::new(format!("run/{}-r{round}", self.name)).expect("a name")
    }

    /// Its key.
    pub fn key(&self, round: usize) -> DedupKey {
        DedupKey::new(format!("{}/k{round}", self.name)).expect("a name")
    }

    /// The queue of all its runs.
    pub fn queue(&self) -> QueueName {
        QueueName::new(&self.name).expect("a name")
    }

    /// The owner that it sends commands to.
    pub fn peer(&self) -> OwnerId {
        OwnerId::new(format!("{}-peer", self.name)).expect("a name")
    }

    /// The consumer whose cursor it moves.
    pub fn consumer(&self) -> ConsumerName {
        ConsumerName::new(&self.name).expect("a name")
    }

    /// A counter of its own.
    pub fn counter(&self, counter: &str) -> CounterName {
        CounterName::new(format!("{}/{counter}", self.name)).expect("a name")
    }
}

fn tokens(tokens: u64) -> Amount {
    Amount { tokens, micro_usd: tokens }
}
