//! Hook events of sessions in the router: for whoever asks, and for nobody else.

use amplifier_core::EventType;
use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_foundation::router::{Delivery, EventFilter, Subscription};
use amplifier_foundation::{Host, SpawnRequest};
use amplifier_tests::fake::{Act, FakeTool, Step};
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

use super::At;
use crate::spawn::spawn;

/// What a closed host's subscription has told: names, sequences, and payloads.
async fn all(host: &Host, mut subscription: Subscription) -> Vec<(String, Option<u64>, Value)> {
    host.shutdown(amplifier_foundation::Shutdown::Now).await;
    let mut told = Vec::new();
    while let Some(delivery) = soon("a delivery", subscription.next()).await {
        let Delivery::Event(event) = delivery else { panic!("{delivery:?}") };
        told.push((event.event_type.name().to_owned(), event.sequence, event.payload.decode().unwrap()));
    }
    told
}

fn names(told: &[(String, Option<u64>, Value)]) -> Vec<&str> {
    told.iter().map(|(name, ..)| name.as_str()).collect()
}

each_store!(who_asks_for_a_hook_event_gets_it_ephemeral_with_its_data);
async fn who_asks_for_a_hook_event_gets_it_ephemeral_with_its_data(at: At) {
    let stage = Stage::with_tools([FakeTool::new("tool-probe", Act::Say("it is blue"))]);
    stage.brain.then(Step::Call(vec![("probe", json!({"api_key": "sk-123", "path": "x"}))])).say("done");
    let host = at.host(&stage).await;
    let tools = host.router().subscribe("tool:*").unwrap();
    let result = spawn(&host, ("plain", "go")).await;
    let told = all(&host, tools).await;
    assert_eq!(names(&told), ["tool_pre", "tool_post"]);
    for (_, sequence, data) in &told {
        assert_eq!(*sequence, None, "in no log");
        assert_eq!(data["session_id"], json!(result.id()));
        assert_eq!(data["tool_input"]["path"], "x");
        assert!(!data.to_string().contains("sk-123"), "secrets are taken out: {data}");
    }
}

each_store!(what_a_session_emits_holds_no_secret);
async fn what_a_session_emits_holds_no_secret(at: At) {
    let stage = Stage::new();
    let host = at.host(&stage).await;
    let chat = spawn(&host, SpawnRequest::new("plain", "go").keep_open()).await;
    let mut emitted = host.router().subscribe("work:done").unwrap();
    let payload = json!({"api_key": "sk-123", "note": {"path": "x"}});
    chat.session().emit_event("work:done", payload).await.unwrap();
    let Some(Delivery::Event(event)) = emitted.next().await else { panic!("an event") };
    let data: Value = event.payload.decode().unwrap();
    assert_eq!(data["note"]["path"], "x");
    assert!(!data.to_string().contains("sk-123"), "{data}");
    chat.session().end().await;
}

each_store!(who_asks_for_everything_gets_what_is_recorded_and_no_hook_event);
async fn who_asks_for_everything_gets_what_is_recorded_and_no_hook_event(at: At) {
    let stage = Stage::new();
    let host = at.host(&stage).await;
    let everything = host.router().subscribe("*").unwrap();
    // Somebody else asks: that changes nothing for others.
    let _other = host.router().subscribe("session:*").unwrap();
    spawn(&host, ("plain", "go")).await;
    let told = all(&host, everything).await;
    assert_eq!(names(&told), ["session_completed"]);
    assert!(told[0].1.is_some(), "recorded");
}

each_store!(all_hook_events_are_there_for_who_says_so_and_the_end_comes_once);
async fn all_hook_events_are_there_for_who_says_so_and_the_end_comes_once(at: At) {
    let stage = Stage::new();
    stage.brain.say("fine");
    let host = at.host(&stage).await;
    let everything = host.router().subscribe(EventFilter::all().with_hook_events()).unwrap();
    spawn(&host, ("plain", "go")).await;
    let told = all(&host, everything).await;
    let names = names(&told);
    for name in ["session_start", "prompt_submit", "execution_start", "llm_request", "execution_end"] {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    let ends = names.iter().filter(|name| matches!(**name, "session_end" | "session_completed"));
    assert_eq!(ends.collect::<Vec<_>>(), [&"session_completed"]);
}

each_store!(a_filter_for_the_end_gets_the_terminal_event_and_no_hook_event);
async fn a_filter_for_the_end_gets_the_terminal_event_and_no_hook_event(at: At) {
    let stage = Stage::new();
    stage.brain.then(Step::Fail(ProviderErrorKind::Auth));
    let host = at.host(&stage).await;
    let ends = host.router().subscribe("session:end").unwrap();
    spawn(&host, ("plain", "go")).await;
    let told = all(&host, ends).await;
    assert_eq!(names(&told), ["session_error"]);
    assert!(told[0].1.is_some(), "recorded");
}

each_store!(hook_events_come_from_the_sessions_that_were_asked_for);
async fn hook_events_come_from_the_sessions_that_were_asked_for(at: At) {
    let stage = Stage::new();
    let host = at.host(&stage).await;
    let id = |name: &str| amplifier_core::SessionId::new(name).unwrap();
    let mine = host.router().subscribe("prompt:submit source=mine").unwrap();
    let tree = host.router().subscribe("prompt:submit tree=other").unwrap();
    for name in ["other", "mine"] {
        spawn(&host, SpawnRequest::new("plain", name).session_id(id(name))).await;
    }
    let prompts = |told: Vec<(String, Option<u64>, Value)>| -> Vec<Value> {
        told.into_iter().map(|(_, _, data)| data["prompt"].clone()).collect()
    };
    assert_eq!(prompts(all(&host, mine).await), [json!("mine")]);
    assert_eq!(prompts(all(&host, tree).await), [json!("other")]);
}

each_store!(a_wait_for_a_hook_event_ends_with_it);
async fn a_wait_for_a_hook_event_ends_with_it(at: At) {
    let stage = Stage::new();
    let host = at.host(&stage).await;
    let waiting = {
        let router = host.router().clone();
        let filter = EventFilter::names(["execution:start"]).unwrap();
        tokio::spawn(async move { router.wait_for_event(filter, super::SECOND).await })
    };
    stage.clock.asleep_within(super::SECOND).await;
    spawn(&host, ("plain", "go")).await;
    let event = soon("the wait", waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(event.event_type, EventType::ExecutionStart);
}
