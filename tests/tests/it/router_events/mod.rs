//! The event router, over a real store: emission, subscriptions, waits, consumers, causes, faults. Each case
//! runs over the store in memory and over the one in a file.

/// Runs a case over each store; `threads`: on several threads.
macro_rules! each_store {
    ($name:ident) => {
        each_store!($name: #[tokio::test]);
    };
    ($name:ident, threads) => {
        each_store!($name: #[tokio::test(flavor = "multi_thread", worker_threads = 4)]);
    };
    ($name:ident: #[$test:meta]) => {
        mod $name {
            #[$test]
            async fn in_memory() {
                super::$name($crate::router_events::At::memory()).await;
            }

            #[$test]
            async fn in_a_file() {
                super::$name($crate::router_events::At::a_file()).await;
            }
        }
    };
}

mod causes;
mod consumers;
mod faults;
mod filters;
mod hooks;
mod regressions;
mod replay;
mod sessions;
mod subscriptions;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use amplifier_core::{Clock, SessionEvent};
use amplifier_foundation::host::RandomIds;
use amplifier_foundation::router::{Delivery, Subscription};
use amplifier_foundation::store::{Instance, MemoryStore, OwnerId, SqliteOptions, SqliteStore, Store};
use amplifier_foundation::{EventRouter, Host, HostBuilder};
use amplifier_tests::clock::ManualClock;
use amplifier_tests::ids::SeededIds;
use amplifier_tests::project::TempProject;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

/// The store that a case runs over.
struct At {
    /// The time of its stores and routers.
    clock: ManualClock,
    /// The one in memory; without it each process opens the file.
    memory: Option<MemoryStore>,
    project: TempProject,
}

impl At {
    fn memory() -> Self {
        let clock = ManualClock::new();
        let memory = MemoryStore::new(Arc::new(clock.clone()), &SeededIds::new(8));
        Self { clock, memory: Some(memory), project: TempProject::new() }
    }

    fn a_file() -> Self {
        Self { clock: ManualClock::new(), memory: None, project: TempProject::new() }
    }

    /// The store as a process has it; it is known to the others by its number.
    fn store(&self, process: u64) -> Arc<dyn Store> {
        match &self.memory {
            Some(memory) => Arc::new(memory.clone()),
            None => self.fresh(process, Arc::new(self.clock.clone())),
        }
    }

    /// A store by another clock, which shares nothing with others in memory.
    fn fresh(&self, process: u64, clock: Arc<dyn Clock>) -> Arc<dyn Store> {
        match &self.memory {
            Some(_) => Arc::new(MemoryStore::new(clock, &SeededIds::new(process + 100))),
            None => Arc::new(self.sqlite(process, clock)),
        }
    }

    /// The file as a process has it open.
    fn sqlite(&self, process: u64, clock: Arc<dyn Clock>) -> SqliteStore {
        // A log's number must be its own, also that of a restored backup.
        let (folder, ids) = (self.project.around(), Arc::new(RandomIds::new()));
        let owner = OwnerId::new(format!("process-{process}")).unwrap();
        let instance = Instance::enter(&folder.join("run"), owner).unwrap();
        let options = SqliteOptions::new(folder.join("amplifier.db"), clock, ids).instance(instance);
        SqliteStore::open(options).unwrap()
    }

    /// The router of a process.
    fn router_of(&self, process: u64) -> EventRouter {
        self.over(self.store(process), process)
    }

    /// A router over a store of this place.
    fn over(&self, store: Arc<dyn Store>, seed: u64) -> EventRouter {
        EventRouter::new(store, Arc::new(self.clock.clone()), Arc::new(SeededIds::new(seed)), "/project")
    }

    fn router(&self) -> (EventRouter, ManualClock) {
        (self.router_of(1), self.clock.clone())
    }

    /// The host of a stage.
    async fn host(&self, stage: &Stage) -> Host {
        self.open(stage, stage.builder()).await
    }

    async fn open(&self, stage: &Stage, builder: HostBuilder) -> Host {
        match self.memory {
            Some(_) => builder.in_memory(),
            None => builder.open(stage.project.path()).await.unwrap(),
        }
    }
}

async fn emit(router: &EventRouter, name: &str, number: u64) {
    router.emit(name, json!(number)).await.unwrap();
}

/// Emits many in this order, and waits for all of them together: each alone is a flush of the disk.
async fn flood<'a>(router: &EventRouter, events: impl IntoIterator<Item = (&'a str, u64)>) {
    let events: Vec<_> = events.into_iter().collect();
    for some in events.chunks(1_000) {
        let mut emits: Vec<_> =
            some.iter().map(|(name, number)| Box::pin(emit(router, name, *number))).collect();
        let all = std::future::poll_fn(|cx| {
            emits.retain_mut(|emit| emit.as_mut().poll(cx).is_pending());
            if emits.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        });
        all.await;
    }
}

/// The number that an event carries.
fn of(event: &SessionEvent) -> u64 {
    event.payload.decode().unwrap()
}

/// The number of the next event.
async fn number(subscription: &mut Subscription) -> u64 {
    match soon("an event", subscription.next()).await {
        Some(Delivery::Event(event)) => of(&event),
        other => panic!("{other:?}"),
    }
}
