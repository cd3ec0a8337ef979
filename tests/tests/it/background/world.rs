//! A project whose processes begin and end: over a store in memory, or over files.
//!
//! A [`Life`] is one process: a host and the manager in it. What a life leaves in the store the next one finds.

use std::sync::Arc;
use std::time::Duration;

use amplifier_background::BackgroundSessionManager;
use amplifier_background::trigger::{
    TriggerHandle, TriggerKey, TriggerRegistry, WebhookHandle, webhook::Response,
};
use amplifier_core::Clock;
use amplifier_foundation::store::{MemoryStore, RunRow, Store};
use amplifier_foundation::{Host, HostBuilder, Shutdown};
use amplifier_tests::stage::Stage;
use amplifier_tests::{PATIENCE, soon};
use serde_json::{Value, json};

use super::{config_with, conserved, name, rows, seen};

/// The secret of every webhook here.
pub(crate) const SECRET: &str = "It's a Secret to Everybody";

/// Where the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Memory,
    Disk,
}

/// Both.
pub(crate) const BOTH: [On; 2] = [On::Memory, On::Disk];

pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) registry: TriggerRegistry,
    store: Option<Arc<dyn Store>>,
}

/// A process.
pub(crate) struct Life {
    pub(crate) host: Host,
    pub(crate) manager: BackgroundSessionManager,
    registry: TriggerRegistry,
}

impl World {
    pub(crate) fn new(on: On) -> Self {
        let stage = Stage::new();
        let memory = || {
            Arc::new(MemoryStore::new(
                Arc::new(stage.clock.clone()),
                &amplifier_tests::ids::SeededIds::new(7),
            ))
        };
        let store = (on == On::Memory).then(|| memory() as Arc<dyn Store>);
        Self { store, registry: TriggerRegistry::new(), stage }
    }

    /// A world whose wall clock shows this time.
    pub(crate) fn at(on: On, time: &str) -> Self {
        let world = Self::new(on);
        world.stage.clock.set_to(time);
        world
    }

    /// A world over a store of the test's own.
    pub(crate) fn over(store: Arc<dyn Store>, stage: Stage) -> Self {
        Self { store: Some(store), registry: TriggerRegistry::new(), stage }
    }

    /// The next process.
    pub(crate) async fn life(&self) -> Life {
        self.life_with(self.stage.builder()).await
    }

    pub(crate) async fn life_with(&self, builder: HostBuilder) -> Life {
        let host = match &self.store {
            Some(store) => builder.store(Arc::clone(store)).in_memory(),
            None => builder.open(self.stage.project.path()).await.unwrap(),
        };
        let variable = |name: &str| (name == "HOOK_SECRET").then(|| SECRET.to_owned());
        let manager = BackgroundSessionManager::with(&host, self.registry.clone(), variable);
        Life { host, manager, registry: self.registry.clone() }
    }

    /// Time passes on both clocks.
    pub(crate) fn pass(&self, seconds: u64) {
        self.stage.clock.advance(Duration::from_secs(seconds));
    }
}

impl Life {
    /// Starts the background session `night` with these keys.
    pub(crate) async fn start(&self, more: Value) {
        self.start_as("night", more).await;
    }

    pub(crate) async fn start_as(&self, of: &str, more: Value) {
        self.manager.start(config_with(of, more, &self.registry)).await.unwrap();
        seen(&self.manager, of, "its start", |status| {
            status.state != amplifier_background::BackgroundState::Starting
        })
        .await;
    }

    /// Waits until `night` has been triggered so often since its start here.
    pub(crate) async fn triggered(&self, times: u64) {
        let what = format!("{times} firings");
        let reached = seen(&self.manager, "night", &what, |status| status.triggered >= times);
        // What it stands at is worth more than that it did not come.
        let reached = tokio::time::timeout(PATIENCE - Duration::from_secs(1), reached).await;
        let status = self.manager.status(&name("night")).unwrap();
        assert!(reached.is_ok(), "{what}: {status:?}");
        assert_eq!(status.triggered, times, "{:?}", self.dues().await);
    }

    /// Waits until `night` has been triggered so often since its start here, and all its runs have ended: so
    /// nothing is under way when time goes on.
    pub(crate) async fn fired(&self, times: u64) {
        self.triggered(times).await;
        self.quiet().await;
    }

    /// Waits until all runs of `night` have ended; the law holds.
    pub(crate) async fn quiet(&self) -> Vec<RunRow> {
        let rows = super::runs(&self.host, "night", "the end of all runs", |rows| {
            rows.iter().all(|row| row.state.is_final())
        })
        .await;
        conserved(&self.host, "night").await;
        rows
    }

    /// The last parts of the ids of `night`'s runs, in the order of the queue: the due times of timers.
    pub(crate) async fn dues(&self) -> Vec<String> {
        let rows = rows(&self.host, "night").await;
        rows.iter().map(|row| row.id.as_str().splitn(4, ':').nth(3).unwrap().to_owned()).collect()
    }

    /// What the runs of `night` were told of their firings.
    pub(crate) async fn firings(&self) -> Vec<Value> {
        let rows = rows(&self.host, "night").await;
        rows.iter().map(|row| row.payload.decode::<Value>().unwrap()["event"].clone()).collect()
    }

    /// The process ends, and its successor may begin.
    pub(crate) async fn end(self) {
        for status in self.manager.statuses() {
            conserved(&self.host, status.name.as_str()).await;
        }
        self.manager.shutdown(Shutdown::Now).await;
        let _ = self.host.shutdown(Shutdown::Now).await;
    }

    /// The webhook of this trigger of `night`.
    pub(crate) fn hook(&self, trigger: &str) -> WebhookHandle {
        let key = TriggerKey::named(trigger).unwrap();
        match self.manager.handles(&name("night")).unwrap().remove(&key) {
            Some(TriggerHandle::Webhook(hook)) => hook,
            other => panic!("{trigger} is no webhook: {other:?}"),
        }
    }

    /// Calls the webhook `hook`, of the scheme `bearer`, with an id of the delivery.
    pub(crate) async fn deliver(&self, delivery: &str, body: &Value) -> Response {
        let token = format!("Bearer {SECRET}");
        let headers = [("authorization", token.as_bytes()), ("idempotency-key", delivery.as_bytes())];
        let body = body.to_string().into_bytes().into();
        soon("the answer", self.hook("hook").deliver("/hooks/jobs", headers, body)).await
    }
}

/// A webhook of the scheme `bearer`, with policies beside it.
pub(crate) fn hook(more: Value) -> Value {
    let config = json!({"path": "jobs", "scheme": "bearer", "secret_env": "HOOK_SECRET"});
    with(json!({"type": "webhook", "name": "hook", "config": config}), more)
}

/// A map with the entries of another one.
pub(crate) fn with(mut map: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        map[key] = value.clone();
    }
    map
}

/// Lets time pass by itself, in steps, until the future is done.
pub(crate) async fn lapse<F: Future>(stage: &Stage, step: Duration, future: F) -> F::Output {
    let clock = stage.clock.clone();
    let passes = async {
        loop {
            clock.advance(step);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        output = future => output,
        () = passes => unreachable!(),
    }
}

/// The wall clock's time, as ids of firings have it.
pub(crate) fn shown(stage: &Stage) -> String {
    amplifier_background::trigger::timer::rfc3339(stage.clock.now())
}
