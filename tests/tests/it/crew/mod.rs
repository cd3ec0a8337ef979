//! Crews: issues, pools and workers, with a provider that does what it is told and time that stands still, on the
//! store in memory and on SQLite.

mod life;
mod order;
mod owner;
mod trees;

use std::sync::Arc;
use std::time::Duration;

use amplifier_background::BackgroundSessionManager;
use amplifier_background::trigger::{BackgroundName, TriggerRegistry};
use amplifier_core::{IssueId, SessionId};
use amplifier_crew::{Crew, CrewConfig};
use amplifier_foundation::store::{MemoryStore, RunFilter, RunRow, RunState, Store};
use amplifier_foundation::{Host, Shutdown};
use amplifier_issue::{Actor, IssueQueue, IssueStatus, NewIssue, Priority, QueuedIssue};
use amplifier_tests::ids::SeededIds;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

/// A project whose processes come and go.
pub(crate) struct World {
    pub(crate) stage: Stage,
    /// `None`: on disk.
    memory: Option<Arc<dyn Store>>,
}

/// One process of it.
pub(crate) struct Life {
    pub(crate) host: Host,
    pub(crate) manager: BackgroundSessionManager,
    pub(crate) crew: Crew,
}

impl World {
    /// One in memory and one on disk.
    pub(crate) fn both() -> [Self; 2] {
        let memory = Stage::new();
        let store = MemoryStore::new(Arc::new(memory.clock.clone()), &SeededIds::new(7));
        [Self { stage: memory, memory: Some(Arc::new(store)) }, Self::on_disk()]
    }

    pub(crate) fn on_disk() -> Self {
        Self { stage: Stage::new(), memory: None }
    }

    pub(crate) fn is_on_disk(&self) -> bool {
        self.memory.is_none()
    }

    pub(crate) async fn host(&self) -> Host {
        let senior = self.stage.plain().instruction("SENIOR");
        let builder = self.stage.builder().bundle("senior", senior);
        match &self.memory {
            Some(store) => builder.store(Arc::clone(store)).in_memory(),
            None => builder.open(self.stage.project.path()).await.unwrap(),
        }
    }

    /// A process with a crew that has started.
    pub(crate) async fn begin(&self, config: Value) -> Life {
        let host = self.host().await;
        let manager = BackgroundSessionManager::new(&host);
        let config = CrewConfig::parse(&config, &TriggerRegistry::new()).unwrap();
        let crew = Crew::new(&host, &manager, config);
        crew.start().await.unwrap();
        Life { host, manager, crew }
    }
}

/// One pool of the bundle `plain`, with these keys besides.
pub(crate) fn one_pool(more: Value) -> Value {
    let mut pool = json!({"name": "workers", "worker_bundle": "plain"});
    for (key, value) in more.as_object().unwrap() {
        pool[key] = value.clone();
    }
    json!({ "worker_pools": [pool] })
}

pub(crate) fn id(text: &str) -> IssueId {
    IssueId::new(text).unwrap()
}

/// A new issue of this name.
pub(crate) fn new(text: &str) -> NewIssue {
    let mut issue = NewIssue::new(text, "");
    issue.id = Some(id(text));
    issue
}

pub(crate) fn urgent(text: &str, priority: u64) -> NewIssue {
    let mut issue = new(text);
    issue.priority = Priority::new(priority).unwrap();
    issue
}

pub(crate) fn after(text: &str, needs: &[&str]) -> NewIssue {
    let mut issue = new(text);
    issue.depends_on = needs.iter().map(|need| id(need)).collect();
    issue
}

impl Life {
    /// The queue, as a person has it.
    pub(crate) fn queue(&self) -> IssueQueue {
        self.crew.queue().by(Actor::new("ann"))
    }

    /// The queue, as the worker of a session has it.
    pub(crate) fn queue_in(&self, session: &SessionId) -> IssueQueue {
        self.crew.queue().by(Actor::new("worker").in_session(session.clone()))
    }

    pub(crate) async fn add(&self, issue: NewIssue) -> QueuedIssue {
        self.queue().open(issue).await.unwrap()
    }

    pub(crate) async fn issue(&self, text: &str) -> QueuedIssue {
        self.queue().get(&id(text)).await.unwrap()
    }

    /// Waits until an issue is so.
    pub(crate) async fn until(&self, text: &str, holds: impl Fn(&QueuedIssue) -> bool) -> QueuedIssue {
        let waiting = async {
            loop {
                let issue = self.issue(text).await;
                if holds(&issue) {
                    return issue;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(20), waiting).await {
            Ok(issue) => issue,
            Err(_) => panic!("{text}: {:#?}\n{:#?}", self.issue(text).await, self.runs().await),
        }
    }

    /// Waits until an issue stands so and nobody has it.
    pub(crate) async fn ends(&self, text: &str, status: IssueStatus) -> QueuedIssue {
        self.until(text, |issue| issue.issue.status == status && issue.run.is_none()).await
    }

    /// Every run there is.
    pub(crate) async fn runs(&self) -> Vec<RunRow> {
        let mut filter = RunFilter::default();
        filter.limit = 10_000;
        self.host.store().runs(&filter).await.unwrap()
    }

    pub(crate) async fn states(&self) -> Vec<RunState> {
        self.runs().await.iter().map(|run| run.state).collect()
    }

    /// The session that works on an issue.
    pub(crate) async fn worker(&self, text: &str) -> SessionId {
        let started = |issue: &QueuedIssue| issue.issue.status == IssueStatus::InProgress;
        self.until(text, started).await.session.unwrap()
    }

    /// The events of an issue, by their names, in the order of the log.
    pub(crate) async fn events(&self, text: &str) -> Vec<String> {
        let history = self.queue().whole_history(&id(text)).await.unwrap();
        history.into_iter().map(|entry| entry.noted.event).collect()
    }

    /// What a worker was told first in a session.
    pub(crate) async fn told(&self, session: &SessionId) -> Vec<String> {
        let stored = self.host.storage().load(session).await.unwrap();
        let user = stored.transcript.iter().filter(|message| message.role == amplifier_core::Role::User);
        user.map(|message| message.text()).collect()
    }

    pub(crate) async fn end(self) {
        self.crew.stop(Shutdown::Now).await;
        soon("the end", self.manager.shutdown(Shutdown::Now)).await;
        self.host.shutdown(Shutdown::Now).await;
    }
}

pub(crate) fn pool(text: &str) -> BackgroundName {
    BackgroundName::new(text).unwrap()
}
