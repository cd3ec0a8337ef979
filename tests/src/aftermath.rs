//! What must hold of a host once everything in it has ended, however it ended.
//!
//! Guarantees: it looks at the real thing: the router's log, the store, the storage, the runtime's
//! tasks, the process's open files. What it looks at belongs to one test; others may run beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use amplifier_core::{Activation, EventId, SessionEvent, SessionId, SessionOutcome};
use amplifier_foundation::router::{Cursor, Delivery, Subscription};
use amplifier_foundation::spawn::{ChildSummary, Spawner};
use amplifier_foundation::storage::SessionQuery;
use amplifier_foundation::store::{SessionFilter, Store};
use amplifier_foundation::{Host, SessionStorage, Shutdown, SpawnResult};
use serde_json::Value;

use crate::fake::Brain;
use crate::soon;
use crate::stage::Stage;

/// How long something may take that nobody waits for.
const SHORT_PATIENCE: Duration = Duration::from_secs(5);

/// A session's activation.
type Key = (SessionId, Activation);

/// The check, prepared before anything is spawned.
#[derive(Debug)]
#[must_use = "nothing is checked before `check`"]
pub struct Aftermath {
    storage: Weak<dyn SessionStorage>,
    store: Weak<dyn Store>,
    brain: Brain,
    instances: usize,
    tasks: usize,
    folder: PathBuf,
    /// For a router that is closed: what it has told until then.
    ends: Subscription,
    cut_off: bool,
    resumed: bool,
    storage_failed: bool,
    store_failed: bool,
}

impl Aftermath {
    /// What there is before anything is spawned.
    pub fn of(stage: &Stage, host: &Host) -> Self {
        Self {
            storage: Arc::downgrade(host.storage()),
            store: Arc::downgrade(host.store()),
            brain: stage.brain.clone(),
            // The clone counts.
            instances: stage.brain.instances(),
            tasks: alive_tasks(),
            folder: stage.project.around().to_owned(),
            ends: host.router().subscribe("session:end").unwrap(),
            cut_off: false,
            resumed: false,
            storage_failed: false,
            store_failed: false,
        }
    }

    /// Model calls were cut off: what was set aside for them counts as spent.
    pub fn after_cuts(mut self) -> Self {
        self.cut_off = true;
        self
    }

    /// Sessions were resumed below others that ran no more: these bound them, and list them no more.
    pub fn after_resumes(mut self) -> Self {
        self.resumed = true;
        self
    }

    /// The storage has failed: sessions may be left open there, and calls of models cut off.
    pub fn after_a_failed_storage(mut self) -> Self {
        self.storage_failed = true;
        self
    }

    /// The store has failed: it need not know every outcome.
    pub fn after_a_failed_store(mut self) -> Self {
        self.store_failed = true;
        self
    }

    /// Waits until nothing runs, and looks at everything. `results`: the sessions that the test has spawned;
    /// those that they spawned are found by them.
    pub async fn check(mut self, host: Host, results: impl IntoIterator<Item = SpawnResult>) {
        let results: Vec<SpawnResult> = results.into_iter().collect();
        soon("the end of all sessions", host.sessions().idle()).await;
        let mut known = BTreeMap::new();
        for result in &results {
            let outcome = soon("an outcome", result.outcome()).await;
            assert_eq!(outcome.activation, result.session().activation());
            known.insert((result.id().clone(), outcome.activation), outcome);
            self.counts_add_up(result);
        }
        let ends = self.ends().await;
        // What lies before is of hosts of this project that are gone.
        let since = ends.iter().filter_map(|event| event.sequence).min();
        let told = one_event_each(ends, &known);
        self.one_row_each(&host, &known, &told, since).await;
        self.listed_is_spawned(&host, &results).await;
        if !self.storage_failed {
            unlocked(host.storage().as_ref()).await;
        }
        drop(results);
        let cores = || self.brain.instances() == self.instances;
        eventually("sessions that nobody holds are gone", cores).await;
        eventually("no task is left", || alive_tasks() == self.tasks).await;
        let report = soon("the shutdown", host.shutdown(Shutdown::Now)).await;
        assert!(report.cancelled.is_empty() && report.stuck.is_empty(), "{report:?}");
        drop(host);
        let freed = || self.storage.strong_count() == 0 && self.store.strong_count() == 0;
        eventually("host, nodes and watchdog are gone", freed).await;
        eventually("no file is open", || open_files(&self.folder).is_empty()).await;
        eventually("no process is left", || processes(&self.folder).is_empty()).await;
    }

    /// Places are free again; what was used is what the outcomes say; nothing runs.
    fn counts_add_up(&self, result: &SpawnResult) {
        if result.session().env().coordinator.capability::<Spawner>().is_none() {
            // It had ended when it was asked for.
            return;
        }
        let (children, tree) = (result.descendants(), result.tree_usage());
        assert_eq!(tree.running, 0, "every place is free again: {tree:?}");
        let one_each = if self.resumed { usize::ge } else { usize::eq };
        assert!(one_each(&(tree.spawned as usize), &children.len()), "{tree:?}, listed: {children:#?}");
        assert!(children.iter().all(|child| child.outcome.is_some()), "{children:#?}");
        let tokens = children.iter().map(|child| child.usage.total()).sum::<u64>();
        let tokens = tokens + result.session().usage().total();
        match self.cut_off || self.resumed {
            true => assert!(tree.tokens >= tokens, "{tree:?}, {tokens} tokens in outcomes"),
            false => assert_eq!(tree.tokens, tokens, "tokens: budget, and sum of all outcomes"),
        }
        let cost = |child: &ChildSummary| child.cost_micro_usd.unwrap_or(0);
        let own = result.session().try_outcome().and_then(|outcome| outcome.cost_micro_usd).unwrap_or(0);
        let listed = own + children.iter().map(cost).sum::<u64>();
        assert!(tree.micro_usd == listed || (self.resumed && tree.micro_usd > listed), "{tree:?}: {listed}");
    }

    /// Every terminal event that the router has told.
    async fn ends(&mut self) -> Vec<Arc<SessionEvent>> {
        let mut ends = Vec::new();
        loop {
            let mut next = pin!(self.ends.next());
            // What is there comes without waiting.
            match poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await {
                Poll::Ready(Some(Delivery::Event(event))) => ends.push(event),
                Poll::Ready(Some(lagged)) => panic!("too many events for this test: {lagged:?}"),
                Poll::Ready(None) | Poll::Pending => return ends,
            }
        }
    }

    /// Each activation is settled in the store, once, with the outcome that was given out.
    async fn one_row_each(
        &self,
        host: &Host,
        known: &BTreeMap<Key, Arc<SessionOutcome>>,
        told: &BTreeMap<Key, Value>,
        since: Option<u64>,
    ) {
        let store = host.store();
        let mut settled = BTreeSet::new();
        let tail = store.tail().await.unwrap();
        let from = Cursor { sequence: since.unwrap_or(1), ..tail };
        let page = store.events(from, usize::MAX).await.unwrap();
        for event in page.events.iter().filter(|event| event.event_type.is_terminal()) {
            let (key, payload) = opened(event);
            assert!(settled.insert(key.clone()), "{key:?} is settled twice");
            if let Some(told) = told.get(&key) {
                assert_eq!(payload["outcome"], told["outcome"], "{key:?}");
            }
        }
        if self.store_failed {
            return;
        }
        let told: BTreeSet<Key> = told.keys().cloned().collect();
        assert_eq!(settled, told, "what is settled, and what was told");
        for row in store.sessions(&all(None)).await.unwrap() {
            let settled = row.settled.as_ref().unwrap_or_else(|| panic!("{row:?} is not settled"));
            if let Some(outcome) = known.get(&(row.id.clone(), row.activation)) {
                assert_eq!(settled.outcome, *outcome);
            }
        }
    }

    /// What a session lists as its descendants is what the store has below it.
    async fn listed_is_spawned(&self, host: &Host, results: &[SpawnResult]) {
        for result in
            results.iter().filter(|result| !self.store_failed && result.session().parent_id().is_none())
        {
            let rows = host.store().sessions(&all(Some(result.id()))).await.unwrap();
            let below: BTreeSet<SessionId> =
                rows.into_iter().map(|row| row.id).filter(|id| id != result.id()).collect();
            let listed: BTreeSet<SessionId> =
                result.descendants().into_iter().map(|child| child.id).collect();
            // Those of earlier activations are listed by these.
            assert!(listed.is_subset(&below), "{listed:?} of {below:?}");
            if result.session().activation() == Activation::FIRST {
                assert_eq!(listed, below, "listed, and spawned");
            }
        }
    }
}

/// The router has told one terminal event of each activation, that says what its outcome is. One that the store
/// could not take is told beside the log, and once more if it is recorded after all.
fn one_event_each(
    ends: Vec<Arc<SessionEvent>>,
    known: &BTreeMap<Key, Arc<SessionOutcome>>,
) -> BTreeMap<Key, Value> {
    let mut told = BTreeMap::new();
    let recorded: BTreeSet<EventId> =
        ends.iter().filter(|event| event.sequence.is_some()).map(|event| event.id).collect();
    for event in ends.iter().filter(|event| event.sequence.is_some() || !recorded.contains(&event.id)) {
        let (key, payload) = opened(event);
        let again = told.insert(key.clone(), payload);
        assert!(again.is_none(), "{key:?} has two terminal events");
    }
    for (key, outcome) in known {
        let payload = told.get(key).unwrap_or_else(|| panic!("{key:?} has no terminal event"));
        assert_eq!(payload["outcome"], outcome.kind.as_str());
    }
    told
}

/// All sessions, or all of a tree.
fn all(root: Option<&SessionId>) -> SessionFilter {
    let mut filter = SessionFilter::default();
    (filter.root, filter.limit) = (root.cloned(), usize::MAX);
    filter
}

/// Each session is closed, and can be opened again.
async fn unlocked(storage: &dyn SessionStorage) {
    for summary in storage.list(&SessionQuery::default()).await.unwrap() {
        let id = summary.id;
        assert!(storage.holder(&id).await.unwrap().is_none(), "{id} is locked");
        let stored = storage.load(&id).await.unwrap();
        let status = stored.metadata.amplifier.status;
        assert_ne!(status.as_deref(), Some("running"), "{id}");
        storage.open(&id, stored.activation.next()).await.unwrap();
        storage.close(&id).await.unwrap();
    }
}

/// Every terminal event that the router has recorded so far.
pub async fn terminals(host: &Host) -> Vec<Arc<SessionEvent>> {
    let mut found = Vec::new();
    let tail = host.router().tail().await.unwrap();
    let mut from = Cursor { sequence: 1, ..tail };
    while from.sequence < tail.sequence {
        let next = host.router().wait_after("session:end", from, Duration::ZERO).await.unwrap();
        let Some((event, behind)) = next else { break };
        found.push(event);
        from = behind;
    }
    found
}

/// Whose end an event tells, and what it says.
fn opened(event: &SessionEvent) -> (Key, Value) {
    let payload: Value = event.payload.decode().unwrap();
    let id: SessionId = serde_json::from_value(payload["session_id"].clone()).unwrap();
    assert_eq!(event.source.as_ref(), Some(&id));
    let activation: Activation = serde_json::from_value(payload["activation"].clone()).unwrap();
    ((id, activation), payload)
}

/// Waits until this is so.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(SHORT_PATIENCE, wait).await;
    assert!(waited.is_ok(), "not so within {SHORT_PATIENCE:?}: {what}");
}

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Files below a folder that this process has open.
fn open_files(folder: &Path) -> Vec<PathBuf> {
    links(Path::new("/proc/self/fd")).into_iter().filter(|file| file.starts_with(folder)).collect()
}

/// Processes whose working directory lies in a folder.
fn processes(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path().join("cwd")).ok());
    links.filter(|cwd| cwd.starts_with(folder)).collect()
}

/// Where the links in a folder lead; none where there is no such folder.
fn links(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect()
}
