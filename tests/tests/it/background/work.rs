//! Somebody else's part in a run's life: what it adds stands in the same commits, and it is asked again where
//! somebody was first.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use amplifier_background::work::{Beginning, Ending, Next, Taking, Work, WorkEnd, WorkError, WorkRun};
use amplifier_background::{BackgroundConfig, BackgroundSessionManager};
use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_core::{Payload, RunId, SessionId};
use amplifier_foundation::Shutdown;
use amplifier_foundation::spawn::SpawnRequest;
use amplifier_foundation::store::{Commit, DedupKey, Expect, RunState, Store, StoreError, Write};
use amplifier_foundation::trigger::TriggerEvent;
use amplifier_tests::fake::Step;
use amplifier_tests::stage::Stage;
use async_trait::async_trait;
use serde_json::json;

use super::{all, config, conserved, name, rows, runs};

/// Notes in the store what it was asked.
#[derive(Debug)]
struct Notes {
    wanted: Mutex<bool>,
    next: Next,
    /// How often what it adds at the end is refused.
    refused: AtomicUsize,
    refuses_to_begin: bool,
}

impl Default for Notes {
    fn default() -> Self {
        let (wanted, refused) = (Mutex::new(true), AtomicUsize::new(0));
        Self { wanted, next: Next::AsUsual, refused, refuses_to_begin: false }
    }
}

fn note(what: &str) -> Commit {
    let key = DedupKey::new(format!("note/{what}")).unwrap();
    Write::SetValue { key, value: Payload::null() }.into()
}

async fn noted(store: &dyn Store, what: &str) -> bool {
    store.key(&DedupKey::new(format!("note/{what}")).unwrap()).await.unwrap().is_some()
}

#[async_trait]
impl Work for Notes {
    async fn taking(&self, _: &RunId, _: &TriggerEvent) -> Result<Option<Taking>, StoreError> {
        Ok(self.wanted.lock().unwrap().then(|| Taking::new(note("taken"))))
    }

    async fn begin(
        &self,
        of: &WorkRun,
        session: &SessionId,
        request: SpawnRequest,
    ) -> Result<Beginning, WorkError> {
        if self.refuses_to_begin {
            return Err(WorkError::Refused { reason: "it is nobody's".to_owned() });
        }
        assert!(session.as_str().starts_with("bg-night-"));
        let request = request.input(format!("attempt {} of {}", of.attempt, of.attempts));
        Ok(Beginning::new(request, note(&format!("begun/{}", of.attempt))))
    }

    async fn ending(&self, of: &WorkRun, end: WorkEnd<'_>) -> Result<Ending, StoreError> {
        let WorkEnd::Session { outcome, .. } = end else {
            return Ok(Ending::new(note("nothing"), Next::AsUsual));
        };
        let again = |left: usize| left.checked_sub(1);
        if self.refused.fetch_update(Ordering::SeqCst, Ordering::SeqCst, again).is_ok() {
            let run = RunId::new(format!("{}-other", of.run)).unwrap();
            let other = Expect::RunState { run, state: RunState::Dead };
            return Ok(Ending::new(note("refused").when(other), Next::AsUsual));
        }
        let what = format!("ended/{}/{}", of.attempt, outcome.kind.as_str());
        Ok(Ending::new(note(&what), self.next.clone()))
    }
}

fn with(work: &Arc<Notes>) -> BackgroundConfig {
    let mut config = config("night", json!({}));
    config.work = Some(Arc::clone(work) as _);
    config
}

#[tokio::test]
async fn what_it_adds_is_in_the_commits_of_the_run() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    let work = Arc::new(Notes::default());
    work.refused.store(1, Ordering::SeqCst);
    manager.start(with(&work)).await.unwrap();
    manager.fire(&name("night"), json!(1)).await.unwrap();
    runs(&host, "night", "one run", all(RunState::Completed, 1)).await;
    let told = stage.brain.last_request();
    assert!(told.iter().any(|(_, text)| text.ends_with("attempt 1 of 3")), "{told:?}");
    for what in ["taken", "begun/1", "ended/1/completed"] {
        assert!(noted(host.store().as_ref(), what).await, "{what}");
    }
    assert!(!noted(host.store().as_ref(), "refused").await, "it was asked again instead");
    manager.shutdown(Shutdown::Now).await;
}

#[tokio::test]
async fn what_is_wanted_no_more_becomes_nothing_and_may_come_later() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    let work = Arc::new(Notes::default());
    *work.wanted.lock().unwrap() = false;
    manager.start(with(&work)).await.unwrap();
    let _ = manager.fire(&name("night"), json!(1)).await;
    assert_eq!((rows(&host, "night").await.len(), conserved(&host, "night").await.triggered), (0, 0));
    *work.wanted.lock().unwrap() = true;
    manager.fire(&name("night"), json!(1)).await.unwrap();
    runs(&host, "night", "one run", all(RunState::Completed, 1)).await;
    assert_eq!(conserved(&host, "night").await.triggered, 1);
    manager.shutdown(Shutdown::Now).await;
}

#[tokio::test]
async fn it_says_where_the_run_goes() {
    let stage = Stage::new();
    stage.brain.then(Step::Fail(ProviderErrorKind::Auth));
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    let next = Next::Cancelled { reason: "escalated to senior".to_owned() };
    manager.start(with(&Arc::new(Notes { next, ..Notes::default() }))).await.unwrap();
    manager.fire(&name("night"), json!(1)).await.unwrap();
    let rows = runs(&host, "night", "one run", all(RunState::Cancelled, 1)).await;
    assert_eq!(rows[0].reason.as_deref(), Some("escalated to senior"));
    manager.shutdown(Shutdown::Now).await;
}

#[tokio::test]
async fn it_may_refuse_to_begin_for_good() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    manager.start(with(&Arc::new(Notes { refuses_to_begin: true, ..Notes::default() }))).await.unwrap();
    manager.fire(&name("night"), json!(1)).await.unwrap();
    let rows = runs(&host, "night", "one run", all(RunState::Dead, 1)).await;
    assert_eq!((rows[0].attempt, rows[0].reason.as_deref()), (1, Some("it is nobody's")));
    assert!(noted(host.store().as_ref(), "nothing").await);
    assert!(stage.brain.requests().is_empty());
    manager.shutdown(Shutdown::Now).await;
}

#[tokio::test]
async fn a_part_that_is_refused_for_ever_does_not_keep_the_run() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    let work = Arc::new(Notes::default());
    work.refused.store(usize::MAX, Ordering::SeqCst);
    manager.start(with(&work)).await.unwrap();
    manager.fire(&name("night"), json!(1)).await.unwrap();
    let settled = async {
        loop {
            let row = rows(&host, "night").await.pop().unwrap();
            if let Some(session) = row.session
                && host.store().session(&session).await.unwrap().is_some_and(|row| row.settled.is_some())
            {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    amplifier_tests::soon("an outcome", settled).await;
    // The keeper sees to the run that its session has left behind.
    stage.clock.asleep_within(std::time::Duration::from_secs(20)).await;
    stage.clock.advance(std::time::Duration::from_secs(20));
    runs(&host, "night", "one run", all(RunState::Completed, 1)).await;
    manager.shutdown(Shutdown::Now).await;
}
