//! Webhooks: published vectors, and every answer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use amplifier_core::{Clock, Timestamp};
use amplifier_trigger::webhook::{MAX_BODY_BYTES, Response, Scheme, Secret, SecretError, WebhookConfig};
use amplifier_trigger::{
    Acceptance, Hooks, TriggerEvent, TriggerRow, TriggerSource, TriggerSpec, WebhookHandle, WebhookTrigger,
};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::kit::{TestClock, context, one, soon};

/// From GitHub's documentation, "Validating webhook deliveries".
const GITHUB: (&str, &str, &str) = (
    "It's a Secret to Everybody",
    "Hello, World!",
    "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
);

/// From the specification of Standard Webhooks: secret, id, time, body, signature.
const STANDARD: (&str, &str, &str, &str, &str) = (
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "1614265330",
    r#"{"test": 2432232314}"#,
    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
);

type Headers<'a> = Vec<(&'a str, &'a str)>;

/// A hook whose events are taken in by a table of deliveries, as a store does.
struct Stage {
    hook: WebhookHandle,
    taken: Arc<Mutex<Vec<TriggerEvent>>>,
    clock: TestClock,
}

fn stage(entry: Value, secret: &str, at: &str, full: bool) -> Stage {
    let config = one(json!({"type": "webhook", "name": "hook", "config": entry}));
    let TriggerSpec::Webhook(webhook) = &config.spec else { panic!() };
    let clock = TestClock::at(at);
    let secret = Secret::of(webhook.scheme, "HOOK_SECRET", Some(secret)).unwrap();
    let (trigger, hook) = WebhookTrigger::new(webhook.clone(), secret, Arc::new(clock.clone()), None);
    let row = TriggerRow::first(&config, clock.now());
    let mut events = Box::new(trigger).watch(context(row, Arc::new(clock.clone())));
    let taken: Arc<Mutex<Vec<TriggerEvent>>> = Arc::default();
    let table = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let event = event.unwrap();
            let mut table = table.lock().unwrap();
            let known = table.iter().any(|known| known.id == event.id);
            event.receipt.answer(match (full, known) {
                (true, _) => Acceptance::Full { retry_after: Duration::from_millis(1_500) },
                (_, true) => Acceptance::Repeated(event.id.clone()),
                _ => Acceptance::Accepted,
            });
            if !known {
                table.push(event);
            }
        }
    });
    Stage { hook, taken, clock }
}

impl Stage {
    async fn call(&self, path: &str, headers: &Headers<'_>, body: &str) -> Response {
        let headers: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let body = Bytes::from(body.to_owned());
        soon("the answer", self.hook.deliver(path, headers, body)).await
    }

    fn taken(&self) -> usize {
        self.taken.lock().unwrap().len()
    }
}

fn bearer(more: Value) -> Value {
    let mut config = json!({"path": "jobs", "secret_env": "HOOK_SECRET", "scheme": "bearer"});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

fn auth<'a>(more: &[(&'a str, &'a str)]) -> Headers<'a> {
    [[("Authorization", "Bearer 12345678")].as_slice(), more].concat()
}

const NOW: &str = "2026-01-01T00:00:00Z";

#[tokio::test]
async fn the_vector_of_github_is_verified_before_the_body_is_parsed() {
    let (secret, body, signature) = GITHUB;
    let config = json!({"path": "github", "secret_env": "HOOK_SECRET", "scheme": "github"});
    let stage = stage(config, secret, NOW, false);
    // The body of the vector is no JSON, which only a right signature gets to hear.
    assert_eq!(
        stage.call("/hooks/github", &vec![("X-Hub-Signature-256", signature)], body).await.status,
        400
    );
    let wrong: [Headers<'_>; 7] = [
        vec![],
        vec![("X-Hub-Signature-256", &signature[7..])],
        vec![("X-Hub-Signature-256", "sha256=")],
        vec![("X-Hub-Signature-256", "sha256=zz")],
        vec![("X-Hub-Signature-256", &signature[..signature.len() - 2])],
        vec![(
            "X-Hub-Signature-256",
            "sha256=+57107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        )],
        vec![("X-Hub-Signature", signature)],
    ];
    for headers in &wrong {
        assert_eq!(stage.call("/hooks/github", headers, body).await.status, 401, "{headers:?}");
    }
    assert_eq!(
        stage.call("github", &vec![("X-Hub-Signature-256", signature)], "Hello, World?").await.status,
        401
    );
    assert_eq!(stage.taken(), 0);
}

#[tokio::test]
async fn the_vector_of_standard_webhooks_is_accepted_within_five_minutes() {
    let (secret, id, time, body, signature) = STANDARD;
    let at = Timestamp::from_micros(1_614_265_330_000_000).to_string();
    let config = json!({"path": "std", "secret_env": "HOOK_SECRET", "scheme": "standard"});
    let stage = stage(config, secret, &at, false);
    let headers = |id, time, signature| -> Headers<'_> {
        vec![("webhook-id", id), ("Webhook-Timestamp", time), ("WEBHOOK-SIGNATURE", signature)]
    };
    assert_eq!(stage.call("/hooks/std", &headers(id, time, signature), body).await.status, 202);
    assert_eq!(stage.call("/hooks/std", &headers(id, time, signature), body).await.status, 200);
    let several = format!("v1,AAAA v2,{} {signature}", &signature[3..]);
    assert_eq!(stage.call("/hooks/std", &headers(id, time, &several), body).await.status, 200);
    for wrong in [
        headers("msg_other", time, signature),
        headers(id, "1614265331", signature),
        headers(id, "soon", signature),
        headers(id, time, &signature[3..]),
        headers(id, time, "v1,"),
    ] {
        assert_eq!(stage.call("/hooks/std", &wrong, body).await.status, 401, "{wrong:?}");
    }
    stage.clock.pass(Duration::from_secs(301));
    assert_eq!(stage.call("/hooks/std", &headers(id, time, signature), body).await.status, 401);
    stage.clock.set_by(-602);
    assert_eq!(stage.call("/hooks/std", &headers(id, time, signature), body).await.status, 401);
    assert_eq!(stage.taken(), 1);
}

/// What Svix sends is the same under other names; the two families are not mixed.
#[tokio::test]
async fn headers_of_the_older_family_are_verified_too() {
    let (secret, id, time, body, signature) = STANDARD;
    let at = Timestamp::from_micros(1_614_265_330_000_000).to_string();
    let config = json!({"path": "std", "secret_env": "HOOK_SECRET", "scheme": "standard"});
    // Some services show the secret without the padding.
    let stage = stage(config, secret.trim_end_matches('='), &at, false);
    let svix = vec![("svix-id", id), ("svix-timestamp", time), ("svix-signature", signature)];
    assert_eq!(stage.call("std", &svix, body).await.status, 202);
    assert_eq!(stage.call("std", &svix, body).await.status, 200);
    let mixed = [vec![("webhook-id", "msg_other")], svix.clone()].concat();
    assert_eq!(stage.call("std", &mixed, body).await.status, 401);
    let half = vec![("svix-id", id), ("webhook-timestamp", time), ("webhook-signature", signature)];
    assert_eq!(stage.call("std", &half, body).await.status, 401);
}

/// A sender that changes its secret signs with both for a while.
#[tokio::test]
async fn a_call_that_is_signed_with_the_old_and_the_new_secret_reaches_both() {
    let at = Timestamp::from_micros(1_614_265_330_000_000).to_string();
    let config = || json!({"path": "std", "secret_env": "HOOK_SECRET", "scheme": "standard"});
    let secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_bmV3IHNlY3JldCBvZiBtaW5l"];
    let sign = |text| {
        let secret = Secret::of(Scheme::Standard, "HOOK_SECRET", Some(text)).unwrap();
        secret.sign("msg_1", 1_614_265_330, b"{}")
    };
    let both = format!("{} {}", sign(secrets[0]), sign(secrets[1]));
    for secret in secrets {
        let stage = stage(config(), secret, &at, false);
        let call = |signature: String| {
            let stage = &stage;
            async move {
                let headers = vec![
                    ("webhook-id", "msg_1"),
                    ("webhook-timestamp", "1614265330"),
                    ("webhook-signature", signature.as_str()),
                ];
                stage.call("std", &headers, "{}").await.status
            }
        };
        assert_eq!(call(both.clone()).await, 202);
        let other = secrets.into_iter().find(|other| *other != secret).unwrap();
        assert_eq!(call(sign(other)).await, 401);
    }
}

#[test]
fn what_is_signed_is_the_published_vector() {
    let (secret, id, time, body, signature) = STANDARD;
    let secret = Secret::of(Scheme::Standard, "HOOK_SECRET", Some(secret)).unwrap();
    assert_eq!(secret.sign(id, time.parse().unwrap(), body.as_bytes()), signature);
}

/// GitHub sends a `ping` when a webhook is made: no work to do, unless somebody asks for it.
#[tokio::test]
async fn the_ping_of_github_starts_nothing_unless_it_is_asked_for() {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"12345678").unwrap();
    mac.update(b"{}");
    let digest = mac.finalize().into_bytes();
    let signature = format!("sha256={}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    for (events, pinged, taken) in
        [(json!([]), 200, 1), (json!(["push"]), 200, 1), (json!(["push", "ping"]), 202, 2)]
    {
        let config = json!({"path": "gh", "secret_env": "HOOK_SECRET", "scheme": "github", "events": events});
        let stage = stage(config, "12345678", NOW, false);
        let call = |event: &'static str, delivery: &'static str| {
            let headers = vec![
                ("X-Hub-Signature-256", signature.as_str()),
                ("X-GitHub-Event", event),
                ("X-GitHub-Delivery", delivery),
            ];
            let stage = &stage;
            async move { stage.call("gh", &headers, "{}").await.status }
        };
        assert_eq!(call("ping", "1").await, pinged);
        assert_eq!(call("push", "2").await, 202);
        assert_eq!(stage.taken(), taken);
    }
}

#[tokio::test]
async fn a_path_that_is_claimed_is_paused_until_somebody_takes_its_calls() {
    let hooks = Hooks::new();
    let claim = hooks.claim("jobs", "nightly").unwrap();
    let taken = hooks.claim("jobs", "daily").unwrap_err().to_string();
    assert!(taken.contains("nightly") && taken.contains("daily") && taken.contains("`jobs`"), "{taken}");
    let call = async || {
        let headers = [("authorization", b"Bearer 12345678".as_slice())];
        soon("the answer", hooks.deliver("/hooks/jobs", headers, Bytes::from_static(b"{}"))).await
    };
    let paused = call().await;
    assert_eq!(paused.status, 503);
    assert!(paused.headers.contains(&("retry-after", "60".to_owned())), "{paused:?}");
    let stage = stage(bearer(json!({})), "12345678", NOW, false);
    claim.set(Some(stage.hook.clone()));
    assert_eq!(call().await.status, 202);
    claim.set(None);
    assert_eq!(call().await.status, 503);
    assert_eq!(hooks.paths(), [("jobs".to_owned(), "nightly".to_owned())]);
    drop(claim);
    assert_eq!(call().await.status, 404);
    assert!(!hooks.has("jobs"));
}

#[tokio::test]
async fn gitlab_and_bearer_send_the_secret_itself() {
    let config = json!({"path": "lab", "secret_env": "HOOK_SECRET", "scheme": "gitlab"});
    let stage = stage(config, "12345678", NOW, false);
    let call = |token: &'static str| {
        let headers =
            vec![("X-Gitlab-Token", token), ("X-Gitlab-Event", "Push Hook"), ("X-Gitlab-Event-UUID", "u-1")];
        async {
            let headers = headers;
            stage.call("lab", &headers, "{}").await.status
        }
    };
    assert_eq!((call("12345678").await, call("12345678").await), (202, 200));
    assert_eq!((call("123456789").await, call("1234567").await, call("").await), (401, 401, 401));
    assert_eq!(stage.taken.lock().unwrap()[0].event_name.as_deref(), Some("Push Hook"));
    let stage = self::stage(bearer(json!({})), "12345678", NOW, false);
    assert_eq!(stage.call("jobs", &auth(&[]), "{}").await.status, 202);
    for wrong in ["12345678", "Basic 12345678", "Bearer", "Bearer 1234"] {
        assert_eq!(stage.call("jobs", &vec![("authorization", wrong)], "{}").await.status, 401, "{wrong}");
    }
}

#[tokio::test]
async fn a_delivery_that_comes_again_has_the_same_id() {
    let stage = stage(bearer(json!({})), "12345678", NOW, false);
    let id = |response: &Response| serde_json::from_str::<Value>(&response.body).unwrap()["id"].clone();
    let first = stage.call("jobs", &auth(&[("Idempotency-Key", "a")]), "{\"n\":1}").await;
    let again = stage.call("jobs", &auth(&[("Idempotency-Key", "a")]), "{\"n\":1}").await;
    assert_eq!((first.status, again.status), (202, 200));
    assert_eq!(id(&first), id(&again));
    // Without an id of its own each call is a delivery.
    let (one, other) =
        (stage.call("jobs", &auth(&[]), "{}").await, stage.call("jobs", &auth(&[]), "{}").await);
    assert_eq!((one.status, other.status), (202, 202));
    assert_ne!(id(&one), id(&other));
    assert_eq!(stage.taken(), 3);
}

#[tokio::test]
async fn what_is_not_wanted_is_answered_and_makes_no_event() {
    let config = bearer(json!({"events": ["issues"], "match": {"data.action": ["opened", "reopened"]}}));
    let stage = stage(config, "12345678", NOW, false);
    let call = async |event: &str, body: &str| {
        let response = stage.call("jobs", &auth(&[("ce-type", event)]), body).await;
        (response.status, response.body.contains("ignored"))
    };
    assert_eq!(call("issues", r#"{"action": "opened"}"#).await, (202, false));
    assert_eq!(call("push", r#"{"action": "opened"}"#).await, (200, true));
    assert_eq!(call("issues", r#"{"action": "closed"}"#).await, (200, true));
    assert_eq!(call("issues", "[]").await, (200, true));
    assert_eq!(stage.taken(), 1);
    // The body may name the event, too.
    assert_eq!(
        stage.call("jobs", &auth(&[]), r#"{"type": "issues", "action": "reopened"}"#).await.status,
        202
    );
}

#[tokio::test]
async fn too_much_is_refused_with_its_own_answer() {
    let stage = stage(bearer(json!({})), "12345678", NOW, true);
    let largest = format!("\"{}\"", "x".repeat(MAX_BODY_BYTES - 2));
    assert_eq!(stage.call("jobs", &auth(&[]), &format!("{largest} ")).await.status, 413);
    let full = stage.call("jobs", &auth(&[]), &largest).await;
    assert_eq!(full.status, 429);
    assert!(full.headers.contains(&("retry-after", "2".to_owned())), "{full:?}");
    // The size is looked at before the signature.
    assert_eq!(stage.call("jobs", &vec![], &"x".repeat(MAX_BODY_BYTES + 1)).await.status, 413);
    assert_eq!(stage.call("other", &auth(&[]), "{}").await.status, 404);
}

#[tokio::test]
async fn a_hook_without_its_trigger_says_so() {
    let secret = Secret::of(Scheme::Bearer, "HOOK_SECRET", Some("12345678")).unwrap();
    let config = WebhookConfig::new("jobs", Scheme::Bearer, "HOOK_SECRET");
    let clock = Arc::new(TestClock::at(NOW));
    let (trigger, hook) = WebhookTrigger::new(config.clone(), secret.clone(), clock.clone(), None);
    let hooks = Hooks::new();
    hooks.add(hook.clone()).unwrap();
    assert!(hooks.add(hook.clone()).is_err());
    drop(trigger);
    let headers = [("authorization", b"Bearer 12345678".as_slice())];
    let response = hooks.deliver("/hooks/jobs/?a=b", headers, Bytes::from_static(b"{}")).await;
    assert_eq!(response.status, 503);
    assert!(response.headers.iter().any(|(name, _)| *name == "retry-after"));
    assert_eq!(hooks.deliver("/hooks/none", headers, Bytes::from_static(b"{}")).await.status, 404);
    // One that has ended makes way for the next.
    let (_trigger, next) = WebhookTrigger::new(config, secret, clock, None);
    hooks.add(next).unwrap();
}

#[test]
fn a_webhook_without_a_secret_is_an_error_and_the_secret_is_shown_nowhere() {
    let missing = |value| Secret::of(Scheme::Github, "HOOK_SECRET", value).unwrap_err();
    for value in [None, Some(""), Some("  ")] {
        assert_eq!(missing(value), SecretError::Missing { variable: "HOOK_SECRET".into() });
    }
    let short = missing(Some("hunter2"));
    assert!(matches!(short, SecretError::Short { .. }) && !short.to_string().contains("hunter2"), "{short}");
    let bad = Secret::of(Scheme::Standard, "HOOK_SECRET", Some("whsec_not base64!")).unwrap_err();
    assert!(matches!(bad, SecretError::Base64 { .. }) && !bad.to_string().contains("not base64!"), "{bad}");
    let secret = Secret::of(Scheme::Github, "HOOK_SECRET", Some("a secret of mine")).unwrap();
    let config = WebhookConfig::new("github", Scheme::Github, "HOOK_SECRET");
    let (trigger, hook) = WebhookTrigger::new(config, secret, Arc::new(TestClock::at(NOW)), None);
    assert!(!format!("{trigger:?} {hook:?}").contains("mine"));
}
