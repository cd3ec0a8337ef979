//! Faults of the reference system's router, each under its number in `docs/regressions.md`.

use std::time::Duration;

use amplifier_core::SessionId;
use amplifier_foundation::SpawnRequest;
use amplifier_foundation::router::EventFilter;
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

use super::{At, emit, flood, number};
use crate::spawn::spawn;

const MINUTE: Duration = Duration::from_secs(60);

each_store!(fault_01_a_wait_for_the_end_of_one_session_by_its_source_ends);
async fn fault_01_a_wait_for_the_end_of_one_session_by_its_source_ends(at: At) {
    let (stage, gate) = (Stage::new(), Gate::new());
    stage.brain.to("wait", Step::Wait("found".into(), gate.clone()));
    let host = at.host(&stage).await;
    let child = spawn(&host, SpawnRequest::new("plain", "wait").background(true)).await;
    let other = spawn(&host, ("plain", "hello")).await;
    gate.reached(1).await;
    let filter = EventFilter::names(["session:end"]).unwrap().from_sessions([child.id().clone()]);
    let mut waiting = std::pin::pin!(host.router().wait_for_event(filter, MINUTE));
    std::future::poll_fn(|cx| {
        assert!(waiting.as_mut().poll(cx).is_pending(), "the end of {} is another one", other.id());
        std::task::Poll::Ready(())
    })
    .await;
    gate.open();
    let end = soon("the end", waiting).await.unwrap().unwrap();
    assert_eq!(end.source.as_ref(), Some(child.id()));
    assert_eq!(end.payload.decode::<Value>().unwrap()["output"], "found");
}

each_store!(fault_04_events_of_other_sessions_push_none_out);
async fn fault_04_events_of_other_sessions_push_none_out(at: At) {
    let (router, _) = at.router();
    let id = |name: &str| SessionId::new(name).unwrap();
    let filter = EventFilter::names(["work:done"]).unwrap().from_sessions([id("wanted")]);
    let mut subscription = router.subscribe(filter).unwrap();
    router.emitter(id("wanted")).emit("work:done", json!(1)).await.unwrap();
    // More than any reader holds.
    flood(&router, (0..3_000).map(|number| ("work:done", number))).await;
    router.emitter(id("wanted")).emit("work:done", json!(2)).await.unwrap();
    assert_eq!((number(&mut subscription).await, number(&mut subscription).await), (1, 2));
    emit(&router, "work:done", 3).await;
}

each_store!(fault_08_a_foreground_session_tells_its_end_with_its_source);
async fn fault_08_a_foreground_session_tells_its_end_with_its_source(at: At) {
    let stage = Stage::new();
    stage.brain.say("done").to("fail", Step::Panic);
    let host = at.host(&stage).await;
    let mut ends = host.router().subscribe("session:end").unwrap().events();
    let good = spawn(&host, ("plain", "go")).await;
    let bad = spawn(&host, ("plain", "fail")).await;
    for (session, name) in [(good, "session_completed"), (bad, "session_error")] {
        let end = soon("an end", ends.next()).await.unwrap().unwrap();
        assert_eq!((end.source.as_ref(), end.event_type.name()), (Some(session.id()), name));
    }
}
