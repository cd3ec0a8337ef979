//! The store in memory against the contract, crash images, and what becomes of lost sessions.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use amplifier_core::clock::BoxFuture;
use amplifier_core::outcome::FailureKind;
use amplifier_core::{
    Activation, Clock, EventId, EventType, Ids, IssueId, MonoTime, NewEvent, OutcomeKind, Payload, RunId,
    SessionEvent, SessionId, SessionOutcome, Timestamp,
};
use amplifier_store::{
    ActivationId, Command, Commit, CounterName, Cursor, DedupKey, EventPage, Expect, Grant, Intent,
    IssueCounts, IssueFilter, IssueNote, IssueRow, LOG_CAPACITY, Lease, LeaseKey, LogListener, MemoryStore,
    OwnerId, QueueName, ReadyRuns, Receipt, RunFilter, RunRow, SessionFilter, SessionRow, Settled, Store,
    StoreError, Verdict, Write, conformance, reconcile,
};
use async_trait::async_trait;
use uuid::Uuid;

/// A clock that stands until it is set, and ids that count.
#[derive(Debug, Default)]
pub(crate) struct Fixed {
    pub(crate) micros: AtomicI64,
    ids: AtomicU64,
}

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> MonoTime {
        MonoTime::default()
    }

    fn sleep_until(&self, _: MonoTime) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

impl Ids for Fixed {
    fn v7(&self, _: Timestamp) -> Uuid {
        self.v4()
    }

    fn v4(&self) -> Uuid {
        Uuid::from_u64_pair(0, self.ids.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

pub(crate) fn recording() -> (Arc<Fixed>, MemoryStore) {
    let fixed = Arc::new(Fixed::default());
    (Arc::clone(&fixed), MemoryStore::recording(Arc::clone(&fixed) as Arc<dyn Clock>, fixed.as_ref()))
}

pub(crate) fn of(session: &str, activation: u32) -> ActivationId {
    ActivationId::new(SessionId::new(session).unwrap(), Activation(activation))
}

pub(crate) fn owner(name: &str) -> OwnerId {
    OwnerId::new(name).unwrap()
}

pub(crate) fn event(event_type: EventType, source: Option<&str>) -> Box<SessionEvent> {
    let mut event = NewEvent::of(event_type, Payload::null());
    event.source = source.map(|source| SessionId::new(source).unwrap());
    let at = Timestamp::from_micros(0);
    Box::new(SessionEvent::seal(event, EventId(Uuid::nil()), None, "p".into(), at))
}

pub(crate) fn note() -> Write {
    Write::Append(event(EventType::ToolPost, None))
}

pub(crate) fn open(session: &str, activation: u32, name: &str) -> Write {
    let root = SessionId::new(session).unwrap();
    Write::Open { of: of(session, activation), owner: owner(name), parent: None, root, bundle: None }
}

pub(crate) fn outcome(kind: OutcomeKind, activation: u32, output: &str) -> Arc<SessionOutcome> {
    Arc::new(SessionOutcome::new(kind, Activation(activation), output, None))
}

pub(crate) fn settle(session: &str, activation: u32, output: &str) -> Write {
    let outcome = outcome(OutcomeKind::Completed, activation, output);
    let event = event(EventType::SessionCompleted, Some(session));
    Write::Settle { of: of(session, activation), outcome, event }
}

async fn applied(store: &dyn Store, commit: impl Into<Commit>) {
    assert!(store.commit(commit.into()).await.unwrap().applied().is_some());
}

#[tokio::test]
async fn the_store_in_memory_keeps_the_contract() {
    for make in [MemoryStore::new, MemoryStore::recording] {
        let fixed = Arc::new(Fixed::default());
        let held = conformance::run(|| Arc::new(make(Arc::clone(&fixed) as Arc<dyn Clock>, fixed.as_ref())));
        assert_eq!(held.await.unwrap().len(), 49);
    }
}

/// A store that spoils one thing; the suite must notice each.
#[derive(Debug)]
struct Faulty(MemoryStore, Fault);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// A commit is written piece by piece.
    Torn,
    /// Conditions are not compared.
    Unfenced,
    /// What happens once happens as often as it is asked for.
    Forgets,
    /// A page has an event too few in front.
    Gap,
}

#[async_trait]
impl Store for Faulty {
    async fn commit(&self, mut commit: Commit) -> Result<Receipt, StoreError> {
        match self.1 {
            Fault::Torn => {
                let last = commit.writes.pop();
                for write in commit.writes.drain(..) {
                    let _ = self.0.commit(write.into()).await?.applied();
                }
                commit.writes.extend(last);
            }
            Fault::Unfenced => commit.expects.clear(),
            Fault::Forgets if self.0.commit(commit.clone()).await?.applied().is_none() => {
                commit.writes.retain(|write| matches!(write, Write::AddCounter { .. } | Write::Append(_)));
            }
            Fault::Forgets => return self.0.commit(Commit::new()).await,
            Fault::Gap => {}
        }
        self.0.commit(commit).await
    }

    fn post(&self, commit: Commit) -> Result<(), StoreError> {
        self.0.post(commit)
    }

    fn listen(&self, listener: Weak<dyn LogListener>) {
        self.0.listen(listener);
    }

    async fn event(&self, id: EventId) -> Result<Option<Arc<SessionEvent>>, StoreError> {
        self.0.event(id).await
    }

    async fn commands(&self, to: &OwnerId, limit: usize) -> Result<Vec<Command>, StoreError> {
        self.0.commands(to, limit).await
    }

    async fn tail(&self) -> Result<Cursor, StoreError> {
        self.0.tail().await
    }

    async fn events(&self, from: Cursor, limit: usize) -> Result<EventPage, StoreError> {
        let mut page = self.0.events(from, limit).await?;
        if self.1 == Fault::Gap && page.events.len() > 1 {
            page.events.remove(0);
        }
        Ok(page)
    }

    async fn session(&self, id: &SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.0.session(id).await
    }

    async fn sessions(&self, filter: &SessionFilter) -> Result<Vec<SessionRow>, StoreError> {
        self.0.sessions(filter).await
    }

    async fn settled(&self, of: &ActivationId) -> Result<Option<Settled>, StoreError> {
        self.0.settled(of).await
    }

    async fn run(&self, id: &RunId) -> Result<Option<RunRow>, StoreError> {
        self.0.run(id).await
    }

    async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError> {
        self.0.runs(filter).await
    }

    async fn ready_runs(&self, queue: &QueueName, limit: usize) -> Result<ReadyRuns, StoreError> {
        self.0.ready_runs(queue, limit).await
    }

    async fn count_queued(&self, queue: &QueueName) -> Result<u64, StoreError> {
        self.0.count_queued(queue).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>, StoreError> {
        self.0.queues().await
    }

    async fn lease(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError> {
        self.0.lease(key).await
    }

    async fn cursor(&self, consumer: &amplifier_store::ConsumerName) -> Result<Option<Cursor>, StoreError> {
        self.0.cursor(consumer).await
    }

    async fn grant(&self, of: &ActivationId) -> Result<Option<Grant>, StoreError> {
        self.0.grant(of).await
    }

    async fn counter(&self, counter: &CounterName) -> Result<u64, StoreError> {
        self.0.counter(counter).await
    }

    async fn key(&self, key: &DedupKey) -> Result<Option<Payload>, StoreError> {
        self.0.key(key).await
    }

    async fn keys(
        &self,
        prefix: &str,
        after: Option<&DedupKey>,
        limit: usize,
    ) -> Result<Vec<(DedupKey, Payload)>, StoreError> {
        self.0.keys(prefix, after, limit).await
    }

    async fn issue(&self, id: &IssueId) -> Result<Option<IssueRow>, StoreError> {
        self.0.issue(id).await
    }

    async fn issues(&self, filter: &IssueFilter) -> Result<Vec<IssueRow>, StoreError> {
        self.0.issues(filter).await
    }

    async fn count_issues(&self) -> Result<IssueCounts, StoreError> {
        self.0.count_issues().await
    }

    async fn issue_notes(
        &self,
        id: &IssueId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<IssueNote>, StoreError> {
        self.0.issue_notes(id, after, limit).await
    }
}

#[tokio::test]
async fn the_suite_finds_each_fault() {
    for fault in [Fault::Torn, Fault::Unfenced, Fault::Forgets, Fault::Gap] {
        let found = conformance::run(|| Arc::new(Faulty(recording().1, fault))).await;
        assert!(found.is_err(), "{fault:?}");
    }
}

#[tokio::test]
async fn an_image_has_the_commits_up_to_the_crash_and_goes_on_by_itself() {
    let (_, store) = recording();
    applied(&store, open("s", 1, "a")).await;
    applied(&store, settle("s", 1, "done")).await;
    applied(&store, open("s", 2, "b")).await;
    assert!(store.commit(settle("s", 1, "late").into()).await.unwrap().applied().is_none());
    assert!(store.commit(settle("s", 7, "never").into()).await.is_err());
    assert_eq!(store.recorded(), 3);
    let at = async |n| {
        let image = store.image_after(n).unwrap();
        let row = image.session(&SessionId::new("s").unwrap()).await.unwrap();
        row.map(|row| (row.activation.0, row.settled.is_some()))
    };
    let each = [at(0).await, at(1).await, at(2).await, at(3).await];
    assert_eq!(each, [None, Some((1, false)), Some((1, true)), Some((2, false))]);
    assert!(matches!(store.image_after(4), Err(StoreError::NoImage { wanted: 4, have: 3 })));

    let image = store.image_after(1).unwrap();
    applied(&image, settle("s", 1, "lost")).await;
    assert_eq!((image.recorded(), store.recorded()), (2, 3));
    assert_eq!(image.tail().await.unwrap().log, store.tail().await.unwrap().log);
    let settled = store.settled(&of("s", 1)).await.unwrap().unwrap();
    assert_eq!(settled.outcome.output, "done");
}

#[tokio::test]
async fn a_store_that_does_not_record_has_no_image() {
    let fixed = Arc::new(Fixed::default());
    let store = MemoryStore::new(Arc::clone(&fixed) as Arc<dyn Clock>, fixed.as_ref());
    applied(&store, note()).await;
    assert!(matches!(store.image_after(1), Err(StoreError::NoImage { have: 0, .. })));
}

#[tokio::test]
async fn the_log_in_memory_is_bounded_and_says_what_it_dropped() {
    let (_, store) = recording();
    let start = store.tail().await.unwrap();
    for _ in 0..3 {
        let mut commit = Commit::new();
        commit.writes.resize(LOG_CAPACITY / 2, note());
        applied(&store, commit).await;
    }
    let Err(StoreError::Gone { oldest }) = store.events(start, 1).await else { panic!("it is there") };
    assert_eq!(oldest.sequence, LOG_CAPACITY as u64 / 2 + 1);
    let page = store.events(oldest, usize::MAX).await.unwrap();
    assert_eq!((page.events.len(), page.next), (LOG_CAPACITY, store.tail().await.unwrap()));
}

#[tokio::test]
async fn keys_leases_and_waits_go_by_the_stores_clock_and_survive_one_that_jumps_back() {
    let (clock, store) = recording();
    let set = |seconds: i64| clock.micros.store(seconds * 1_000_000, Ordering::SeqCst);
    let ten = Duration::from_secs(10);
    set(100);
    let key = DedupKey::new("k").unwrap();
    let put = || Write::PutKey { key: key.clone(), value: Payload::null(), retain: ten };
    let lease = LeaseKey::new("l").unwrap();
    let take = |name| Write::TakeLease { key: lease.clone(), owner: owner(name), ttl: ten, over: None };
    let queue = QueueName::new("q").unwrap();
    let (run, trigger, payload) = (RunId::new("r").unwrap(), None, Payload::null());
    applied(&store, Write::Enqueue { run, queue: queue.clone(), trigger, payload, priority: 0, delay: ten })
        .await;
    applied(&store, Commit::new().write(put()).write(take("a"))).await;
    let ready = async |store: &dyn Store| store.ready_runs(&queue, 9).await.unwrap().runs.len();
    for (at, free) in [(109, false), (50, false), (110, true)] {
        set(at);
        let taken = store.image_after(store.recorded()).unwrap().commit(take("b").into()).await;
        assert_eq!(taken.is_ok(), free, "the lease at {at}");
        assert_eq!(store.key(&key).await.unwrap().is_none(), free, "the key at {at}");
        // One that waits does not wait for a clock to come as far again as it was.
        assert_eq!(ready(&store).await, usize::from(free || at < 100), "the run at {at}");
    }
    applied(&store, put()).await;
    set(100);
    assert!(store.commit(put().into()).await.unwrap().applied().is_none());
    assert_eq!(store.image_after(store.recorded()).unwrap().key(&key).await.unwrap(), Some(Payload::null()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_beside_writers_sees_no_gap_and_nothing_appear_behind_it() {
    let (_, store) = recording();
    read_beside_writers(store, 250).await;
}

/// Four write as many commits of two events each, and one reads meanwhile.
pub(crate) async fn read_beside_writers<S: Store + Clone + 'static>(store: S, each: u64) {
    let mut cursor = store.tail().await.unwrap();
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..each {
                    applied(&store, Commit::new().write(note()).write(note())).await;
                }
            })
        })
        .collect();
    let mut seen = 0;
    while seen < each * 8 {
        let page = store.events(cursor, 100).await.unwrap();
        for event in &page.events {
            seen += 1;
            assert_eq!(event.sequence, Some(seen));
        }
        assert_eq!(seen % 2, 0, "half a commit was seen");
        cursor = page.next;
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(store.tail().await.unwrap(), cursor);
}

#[tokio::test]
async fn a_session_whose_owner_is_gone_is_adopted_or_lost_and_settled_once_by_many() {
    let (_, store) = recording();
    for (session, name) in [("adopted", "dead"), ("alive", "living"), ("lost", "dead"), ("older", "dead")] {
        applied(&store, open(session, 1, name)).await;
    }
    applied(&store, Commit::new().write(open("ended", 1, "dead")).write(settle("ended", 1, ""))).await;
    let rows = store.sessions(&SessionFilter::default()).await.unwrap();
    let id = EventId(Uuid::from_u128(77));
    let intent = |of: &ActivationId| match of.session.as_str() {
        "adopted" => Some(Intent { outcome: outcome(OutcomeKind::Completed, 1, "answer"), event: id }),
        "older" => Some(Intent { outcome: outcome(OutcomeKind::Completed, 9, "not this one"), event: id }),
        _ => None,
    };
    let found = reconcile(&rows, |owner| owner.as_str() == "living", intent);
    let names: Vec<_> = found.iter().map(|found| found.of.session.as_str()).collect();
    assert_eq!(names, ["adopted", "lost", "older"]);
    let adopted = |verdict: &Verdict| matches!(verdict, Verdict::Adopt(_));
    assert_eq!(found.iter().filter(|found| adopted(&found.verdict)).count(), 1);
    for round in 0..2 {
        for recovery in &found {
            let event = event(EventType::SessionError, Some(recovery.of.session.as_str()));
            let receipt = store.commit(recovery.settle(*event)).await.unwrap();
            assert_eq!(receipt.applied().is_some(), round == 0);
        }
    }
    let first = store.settled(&of("adopted", 1)).await.unwrap().unwrap();
    assert_eq!((first.outcome.output.as_str(), first.event), ("answer", id));
    let lost = store.settled(&of("lost", 1)).await.unwrap().unwrap();
    assert_eq!(lost.outcome.kind, OutcomeKind::Lost);
    assert_eq!(lost.outcome.error.as_ref().unwrap().kind, FailureKind::Lost);
    assert_ne!(lost.event, id);
    assert_eq!(store.sessions(&SessionFilter::running()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_owner_that_was_taken_for_dead_changes_nothing_when_it_wakes() {
    let (_, store) = recording();
    applied(&store, open("s", 1, "slow")).await;
    let rows = store.sessions(&SessionFilter::running()).await.unwrap();
    let found = reconcile(&rows, |_| false, |_| None);
    let terminal = event(EventType::SessionError, Some("s"));
    applied(&store, found[0].settle(*terminal)).await;
    applied(&store, open("s", 2, "quick")).await;
    let tail = store.tail().await.unwrap();
    let append = Commit::new().when(Expect::SessionActivation(of("s", 1))).write(note());
    let refused = store.commit(append).await.unwrap_err();
    let says = "session `s` is at activation 2, not at activation 1; stop, somebody else has it";
    assert_eq!(refused.to_string(), says);
    assert!(store.commit(settle("s", 1, "too late").into()).await.unwrap().applied().is_none());
    assert_eq!(store.tail().await.unwrap(), tail);
    assert_eq!(store.settled(&of("s", 1)).await.unwrap().unwrap().outcome.kind, OutcomeKind::Lost);
}
