//! Failures: of sessions, of triggers, of processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use amplifier_background::trigger::{
    Cause, TriggerContext, TriggerError, TriggerEvent, TriggerKind, TriggerRegistry, TriggerSource,
    TriggerStream,
};
use amplifier_background::{BackgroundSessionManager, BackgroundState, TriggerState};
use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_core::{Activation, OutcomeKind, SessionOutcome};
use amplifier_foundation::store::{RunMove, RunState, Write};
use amplifier_tests::fake::Step;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

use super::{all, config, config_with, conserved, name, runs, seen};

#[tokio::test]
async fn a_run_that_fails_is_tried_again_after_growing_waits_and_is_dead_after_the_last() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    for _ in 0..3 {
        stage.brain.then(Step::Fail(ProviderErrorKind::Auth));
    }
    let manager = BackgroundSessionManager::new(&host);
    let mut told = host.router().subscribe("work:failed").unwrap().events();
    let mut dead = host.router().subscribe("run_dead").unwrap().events();
    manager.start(config("night", json!({"on_error_emit": "work:failed"}))).await.unwrap();
    manager.fire(&name("night"), json!(1)).await.unwrap();
    for (attempt, wait) in [(2, 1), (3, 2)] {
        let again = |rows: &[amplifier_foundation::store::RunRow]| {
            rows[0].attempt == attempt && rows[0].state == RunState::Queued
        };
        let rows = runs(&host, "night", "another attempt", again).await;
        let waits = rows[0].ready_at.saturating_since(rows[0].updated);
        assert_eq!(waits, Duration::from_secs(wait));
        stage.clock.asleep_within(waits).await;
        stage.clock.advance(waits);
    }
    let rows = runs(&host, "night", "the end", all(RunState::Dead, 1)).await;
    assert_eq!(rows[0].attempt, 3);
    let said: Value = soon("an event", told.next()).await.unwrap().unwrap().payload.decode().unwrap();
    assert_eq!((&said["attempt"], &said["success"]), (&json!(3), &json!(false)), "told once, at the end");
    soon("run_dead", dead.next()).await.unwrap().unwrap();
    conserved(&host, "night").await;
}

#[tokio::test]
async fn a_session_that_was_lost_with_its_process_is_resumed() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    // A session that has been, and that the store says was lost in the middle of a run.
    manager.start(config("night", json!({}))).await.unwrap();
    manager.fire(&name("night"), json!({"say": "hello"})).await.unwrap();
    let row = runs(&host, "night", "a run", all(RunState::Completed, 1)).await.remove(0);
    manager.stop(&name("night"), amplifier_foundation::Shutdown::Now).await.unwrap();
    let session = row.session.clone().unwrap();
    let (run, queue) = (amplifier_core::RunId::new("night:manual:1:lost").unwrap(), row.queue.clone());
    let step = |from, to| RunMove::new(run.clone(), from, to);
    let known = host.store().session(&session).await.unwrap().unwrap();
    let second = amplifier_foundation::store::ActivationId::new(session.clone(), Activation(2));
    let outcome = Arc::new(SessionOutcome::new(OutcomeKind::Lost, Activation(2), "", None));
    let event = amplifier_core::NewEvent::of(amplifier_core::EventType::SessionError, json!({}).into());
    let event = host.router().seal(event.from_session(session.clone())).unwrap();
    let payload = row.payload.clone();
    let delay = Duration::ZERO;
    let lost = [
        Write::Enqueue { run: run.clone(), queue, trigger: None, payload, priority: 0, delay },
        Write::MoveRun(step(RunState::Queued, RunState::Leased)),
        Write::MoveRun(step(RunState::Leased, RunState::Running).session(session.clone())),
        Write::Open {
            of: second.clone(),
            owner: known.owner,
            parent: None,
            root: session.clone(),
            bundle: None,
        },
        Write::Settle { of: second, outcome, event: Box::new(event) },
    ];
    let commit =
        lost.into_iter().fold(amplifier_foundation::store::Commit::new(), |all, write| all.write(write));
    let _ = host.store().commit(commit).await.unwrap();
    let metadata = host.storage().load(&session).await.unwrap().metadata;
    assert_eq!(metadata.amplifier.activation, Activation::FIRST);
    manager.start(config("night", json!({}))).await.unwrap();
    seen(&manager, "night", "a look", |status| status.state == BackgroundState::Running).await;
    let after = runs(&host, "night", "the run to go on", all(RunState::Completed, 2)).await;
    assert_eq!(after[1].session.as_ref(), Some(&session), "the same session");
    assert_eq!(after[1].attempt, 1, "no attempt is counted");
    let told = stage.brain.last_request();
    assert!(told.iter().any(|(_, text)| text.contains("go on")), "{told:?}");
}

/// A source that fires once and fails.
#[derive(Debug)]
struct Frail(Arc<AtomicUsize>);

impl TriggerSource for Frail {
    fn watch(self: Box<Self>, context: TriggerContext) -> TriggerStream {
        let start = self.0.fetch_add(1, Ordering::SeqCst);
        assert!(start != 1, "the second start panics");
        let id = context.event_id(&format!("s-{start}")).unwrap();
        let kind = TriggerKind::named("frail");
        let event = TriggerEvent::new(id, kind, context.clock.now(), Cause::Source, json!(start).into());
        let error = TriggerError::Source("the line is dead".into());
        Box::pin(futures_util_stream([Ok(event), Err(error)]))
    }
}

/// A stream of what there is.
fn futures_util_stream<T: Send + Unpin + 'static>(
    items: impl IntoIterator<Item = T>,
) -> impl futures_core::Stream<Item = T> + Send {
    struct Items<T>(std::collections::VecDeque<T>);
    impl<T: Unpin> futures_core::Stream for Items<T> {
        type Item = T;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<T>> {
            std::task::Poll::Ready(self.0.pop_front())
        }
    }
    Items(items.into_iter().collect())
}

#[tokio::test]
async fn a_source_that_fails_is_seen_and_started_again_and_takes_no_other_one_down() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let starts = Arc::new(AtomicUsize::new(0));
    let mut registry = TriggerRegistry::new();
    let counted = Arc::clone(&starts);
    registry.register("frail", move |_| Ok(Box::new(Frail(Arc::clone(&counted))))).unwrap();
    let manager = BackgroundSessionManager::with(&host, registry.clone(), |_| None);
    let mut told = host.router().subscribe("background:error").unwrap().events();
    let triggers = json!([
        {"type": "frail", "name": "weak"},
        {"type": "session_event", "name": "strong", "config": {"event_names": ["work:new"]}},
    ]);
    let more = json!({"triggers": triggers, "max_restarts": 2});
    manager.start(config_with("night", more, &registry)).await.unwrap();
    let weak = |status: &amplifier_background::BackgroundStatus| {
        let (_, trigger) = status.triggers.iter().find(|(key, _)| key.as_str() == "weak").unwrap();
        (trigger.state, trigger.restarts)
    };
    for (restarts, wait) in [(0, 1), (1, 2)] {
        let restarting = |status: &_| weak(status) == (TriggerState::Restarting, restarts);
        seen(&manager, "night", "a restart", restarting).await;
        stage.clock.pass(Duration::from_secs(wait)).await;
    }
    let status = seen(&manager, "night", "the end", |status| weak(status).0 == TriggerState::Failed).await;
    assert_eq!(status.state, BackgroundState::Running, "the other one works");
    assert!(status.error.unwrap().contains("the line is dead"));
    for text in ["the line is dead", "panicked", "the line is dead"] {
        let said: Value = soon("an event", told.next()).await.unwrap().unwrap().payload.decode().unwrap();
        assert!(said["error"].as_str().unwrap().contains(text), "{said}");
    }
    host.router().emit("work:new", json!(1)).await.unwrap();
    runs(&host, "night", "three runs", all(RunState::Completed, 3)).await;
    conserved(&host, "night").await;
}

#[tokio::test]
async fn an_event_without_a_field_that_the_template_needs_is_rejected_with_the_reason() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let manager = BackgroundSessionManager::new(&host);
    let template = json!({"instruction_template": "Mend {trigger.data.file}"});
    manager.start(config("night", template)).await.unwrap();
    let error = manager.fire(&name("night"), json!({"other": 1})).await.unwrap_err();
    assert!(error.to_string().contains("trigger.data.file"), "{error}");
    manager.fire(&name("night"), json!({"file": "a.rs"})).await.unwrap();
    runs(&host, "night", "one run", all(RunState::Completed, 1)).await;
    let counts = conserved(&host, "night").await;
    assert_eq!((counts.triggered, counts.rejected), (2, 1));
}
