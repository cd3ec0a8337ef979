//! Webhooks, from the request to the run: what is answered is true.

use std::sync::Arc;
use std::time::Duration;

use amplifier_background::trigger::webhook::{MAX_BODY_BYTES, Response};
use amplifier_core::Clock;
use amplifier_foundation::store::{MemoryStore, Store};
use amplifier_tests::fake::Step;
use amplifier_tests::faulty::When;
use amplifier_tests::faulty_store::{FaultyStore, StoreFault};
use amplifier_tests::gate::Gate;
use amplifier_tests::ids::SeededIds;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

use super::world::{BOTH, Life, On, SECRET, World, hook, with};
use super::{conserved, rows, seen, states};

/// From GitHub's documentation, "Validating webhook deliveries": what `SECRET` signs of this body.
const GITHUB_BODY: &str = "Hello, World!";
const GITHUB_SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

/// `openssl dgst -sha256 -hmac "It's a Secret to Everybody"` of this body.
const ISSUE: &str = r#"{"action":"opened","issue":{"number":7}}"#;
const ISSUE_SIGNATURE: &str = "sha256=33fe170446247a50613065bc1b8d931a44075fec379f4c008e942634bdba2427";

/// From the specification of Standard Webhooks: secret, id, time, body, signature.
const STANDARD: (&str, &str, &str, &str, &str) = (
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "1614265330",
    r#"{"test": 2432232314}"#,
    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
);

fn declared(more: Value) -> Value {
    json!({"triggers": [hook(more)]})
}

fn id(response: &Response) -> String {
    let body: Value = serde_json::from_str(&response.body).unwrap();
    body["id"].as_str().unwrap_or_else(|| panic!("{response:?}")).to_owned()
}

/// A call with these headers.
async fn call(life: &Life, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let body = body.as_bytes().to_vec().into();
    soon("the answer", life.hook("hook").deliver(path, headers, body)).await
}

#[tokio::test]
async fn a_delivery_is_202_once_it_is_durable_and_200_with_the_same_id_ever_after() {
    for on in BOTH {
        let world = World::new(on);
        let life = world.life().await;
        life.start(declared(json!({}))).await;
        let first = life.deliver("a", &json!({"n": 1})).await;
        assert_eq!(first.status, 202, "{first:?}");
        let run = rows(&life.host, "night").await[0].id.to_string();
        assert_eq!(run, id(&first).replace('/', ":"), "the run is there when 202 is told");
        let again = life.deliver("a", &json!({"n": 1})).await;
        assert_eq!((again.status, id(&again)), (200, id(&first)));
        life.quiet().await;
        life.end().await;
        // The next process knows it, too.
        let life = world.life().await;
        life.start(declared(json!({}))).await;
        let again = life.deliver("a", &json!({"n": 1})).await;
        assert_eq!((again.status, id(&again)), (200, id(&first)));
        assert_eq!(life.deliver("b", &json!({"n": 1})).await.status, 202);
        life.fired(1).await;
        assert_eq!(conserved(&life.host, "night").await.triggered, 2);
        life.end().await;
    }
}

#[tokio::test]
async fn nothing_is_answered_while_the_store_has_not_taken_it() {
    let stage = Stage::new();
    let memory: Arc<dyn Store> =
        Arc::new(MemoryStore::new(Arc::new(stage.clock.clone()), &SeededIds::new(7)));
    let store = FaultyStore::new(memory, When::Never, StoreFault::Error);
    let world = World::over(Arc::new(store.clone()), stage);
    let life = world.life().await;
    life.start(declared(json!({}))).await;
    let gate = Gate::new();
    store.set(When::Method("other"), StoreFault::Wait(gate.clone()));
    let hook = life.hook("hook");
    let token = format!("Bearer {SECRET}");
    let call = tokio::spawn(async move {
        let headers = [("authorization", token.as_bytes()), ("idempotency-key", b"a".as_slice())];
        hook.deliver("/hooks/jobs", headers, b"{}".as_slice().into()).await
    });
    gate.reached(1).await;
    assert!(!call.is_finished() && rows(&life.host, "night").await.is_empty());
    store.set(When::Never, StoreFault::Error);
    gate.open();
    assert_eq!(soon("the answer", call).await.unwrap().status, 202);
    life.fired(1).await;
    // A full disk: the caller hears after half a minute that it is not known, and may send it again.
    store.set(When::Method("other"), StoreFault::Error);
    let body = json!({});
    let late = life.deliver("b", &body);
    let late = super::world::lapse(&world.stage, Duration::from_millis(500), late).await;
    assert_eq!(late.status, 503, "{late:?}");
    assert!(late.headers.iter().any(|(name, _)| *name == "retry-after"));
    store.set(When::Never, StoreFault::Error);
    let again = life.deliver("b", &body);
    let again = super::world::lapse(&world.stage, Duration::from_millis(500), again).await;
    assert!([200, 202].contains(&again.status), "{again:?}");
    life.fired(2).await;
    assert_eq!(conserved(&life.host, "night").await.rows(), 2);
}

#[tokio::test]
async fn a_full_queue_is_429_with_retry_after_and_the_same_delivery_is_taken_later() {
    for on in BOTH {
        let world = World::new(on);
        let gate = Gate::new();
        world.stage.brain.then(Step::Wait("done".into(), gate.clone()));
        let life = world.life().await;
        life.start(with(declared(json!({})), json!({"queue": {"capacity": 1}}))).await;
        assert_eq!(life.deliver("a", &json!({})).await.status, 202);
        gate.reached(1).await;
        seen(&life.manager, "night", "the first", |status| status.active.len() == 1).await;
        assert_eq!(life.deliver("b", &json!({})).await.status, 202);
        let full = life.deliver("c", &json!({})).await;
        assert_eq!((full.status, states(&life.host, "night").await.len()), (429, 2));
        let after = full.headers.iter().find(|(name, _)| *name == "retry-after").unwrap();
        assert!(after.1.parse::<u64>().unwrap() >= 1);
        // What was taken in is known while the queue is full.
        assert_eq!(life.deliver("b", &json!({})).await.status, 200);
        gate.open();
        life.quiet().await;
        assert_eq!(life.deliver("c", &json!({})).await.status, 202, "it was not taken in before");
        life.quiet().await;
        let counts = conserved(&life.host, "night").await;
        assert_eq!((counts.triggered, counts.rejected, counts.rows()), (4, 1, 3));
        life.end().await;
    }
}

#[tokio::test]
async fn what_is_not_a_signed_call_of_json_is_refused_and_counts_nowhere() {
    let world = World::new(On::Memory);
    let life = world.life().await;
    let config = json!({
        "path": "jobs", "scheme": "bearer", "secret_env": "HOOK_SECRET",
        "events": ["opened"], "match": {"data.n": 1},
    });
    life.start(declared(json!({ "config": config }))).await;
    let token = format!("Bearer {SECRET}");
    let signed = [("authorization", token.as_str()), ("ce-type", "opened")];
    let other = [("authorization", token.as_str()), ("ce-type", "closed")];
    let wrong = format!("Bearer {}", SECRET.to_lowercase());
    let large = "x".repeat(MAX_BODY_BYTES + 1);
    for (path, headers, body, status) in [
        ("/hooks/jobs", [("authorization", wrong.as_str()), ("ce-type", "opened")].as_slice(), "{}", 401),
        ("/hooks/jobs", &[], "{}", 401),
        ("/hooks/jobs", &signed, "no json", 400),
        ("/hooks/jobs", &signed, &large, 413),
        ("/hooks/jobs", &[], &large, 413),
        ("/hooks/other", &signed, "{}", 404),
        ("/hooks/jobs", &other, r#"{"n":1}"#, 200),
        ("/hooks/jobs", &signed, r#"{"n":2}"#, 200),
    ] {
        let response = call(&life, path, headers, body).await;
        assert_eq!(response.status, status, "{response:?}");
        assert!(!response.body.contains(SECRET));
    }
    assert_eq!(conserved(&life.host, "night").await.triggered, 0);
    assert_eq!(call(&life, "/hooks/jobs", &signed, r#"{"n":1}"#).await.status, 202);
    life.fired(1).await;
    let firing = &life.firings().await[0];
    assert_eq!((&firing["event_name"], &firing["source"]), (&json!("opened"), &json!("/hooks/jobs")));
    life.end().await;
}

#[tokio::test]
async fn each_scheme_starts_a_session_that_may_only_read() {
    let config = |scheme: &str| {
        let path = json!({"path": "jobs", "scheme": scheme, "secret_env": "HOOK_SECRET"});
        declared(json!({ "config": path }))
    };
    // GitHub.
    let world = World::new(On::Memory);
    let life = world.life().await;
    life.start(config("github")).await;
    let headers = |signature| {
        [("X-Hub-Signature-256", signature), ("X-GitHub-Delivery", "d-1"), ("X-GitHub-Event", "issues")]
    };
    // The published body is no JSON, which only the right signature gets to hear.
    assert_eq!(call(&life, "/hooks/jobs", &headers(GITHUB_SIGNATURE), GITHUB_BODY).await.status, 400);
    assert_eq!(call(&life, "/hooks/jobs", &headers(GITHUB_SIGNATURE), ISSUE).await.status, 401);
    assert_eq!(call(&life, "/hooks/jobs", &headers(ISSUE_SIGNATURE), ISSUE).await.status, 202);
    assert_eq!(call(&life, "/hooks/jobs", &headers(ISSUE_SIGNATURE), ISSUE).await.status, 200);
    let session = life.quiet().await[0].session.clone().unwrap();
    let firing = &life.firings().await[0];
    assert_eq!((&firing["event_name"], &firing["cause"]["delivery"]), (&json!("issues"), &json!("d-1")));
    let metadata = life.host.storage().load(&session).await.unwrap().metadata;
    let said = serde_json::to_string(&metadata).unwrap();
    assert!(said.contains("\"trigger_type\":\"webhook\"") && said.contains("plan"), "{said}");
    life.end().await;
    // GitLab.
    let life = world.life().await;
    life.start_as("lab", json!({})).await;
    life.start(config("gitlab")).await;
    let headers =
        [("X-Gitlab-Token", SECRET), ("X-Gitlab-Event", "Push Hook"), ("X-Gitlab-Event-UUID", "u-1")];
    assert_eq!(call(&life, "/hooks/jobs", &headers, "{}").await.status, 202);
    assert_eq!(call(&life, "/hooks/jobs", &headers, "{}").await.status, 200);
    assert_eq!(call(&life, "/hooks/jobs", &[("X-Gitlab-Token", "another")], "{}").await.status, 401);
    life.fired(1).await;
    life.end().await;
}

#[tokio::test]
async fn standard_webhooks_are_verified_with_their_time() {
    let (secret, id, time, body, signature) = STANDARD;
    let world = World::at(On::Memory, "2021-02-25T15:02:10Z");
    assert_eq!(world.stage.clock.now().as_micros() / 1_000_000, time.parse::<i64>().unwrap());
    let host = world.life().await.host;
    let variable = move |name: &str| (name == "HOOK_SECRET").then(|| secret.to_owned());
    let registry = world.registry.clone();
    let manager = amplifier_background::BackgroundSessionManager::with(&host, registry.clone(), variable);
    let config = json!({"path": "jobs", "scheme": "standard", "secret_env": "HOOK_SECRET"});
    manager.start(super::config("night", declared(json!({ "config": config })))).await.unwrap();
    let handle = manager.handles(&super::name("night")).unwrap().into_values().next().unwrap();
    let amplifier_background::trigger::TriggerHandle::Webhook(hook) = handle else { panic!() };
    let call = async |signature: &str| {
        let headers = [
            ("webhook-id", id.as_bytes()),
            ("webhook-timestamp", time.as_bytes()),
            ("webhook-signature", signature.as_bytes()),
        ];
        soon("the answer", hook.deliver("/hooks/jobs", headers, body.as_bytes().to_vec().into())).await.status
    };
    assert_eq!((call(signature).await, call(signature).await), (202, 200));
    assert_eq!(call("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OA=").await, 401);
    world.stage.clock.set_by(301);
    assert_eq!(call(signature).await, 401, "it is older than five minutes");
    super::runs(&host, "night", "one run", super::all(amplifier_foundation::store::RunState::Completed, 1))
        .await;
    conserved(&host, "night").await;
}

#[tokio::test]
async fn a_webhook_without_its_secret_is_an_error_at_start() {
    let world = World::new(On::Memory);
    let life = world.life().await;
    let config = json!({"path": "jobs", "scheme": "github", "secret_env": "NOT_SET"});
    let config = super::config("night", declared(json!({ "config": config })));
    let error = life.manager.start(config).await.unwrap_err();
    let told = amplifier_core::causes::chain(&error);
    assert!(told.contains("NOT_SET is not set") && life.manager.statuses().is_empty(), "{told}");
}

#[tokio::test]
async fn the_largest_body_is_taken_in() {
    for on in BOTH {
        let world = World::new(on);
        let life = world.life().await;
        life.start(with(declared(json!({})), json!({"instruction_template": "Look at {event_name}"}))).await;
        let body = Value::String("x".repeat(MAX_BODY_BYTES - 2));
        let response = life.deliver("a", &body).await;
        assert_eq!(response.status, 202, "{}", response.body);
        life.fired(1).await;
        life.end().await;
    }
}
