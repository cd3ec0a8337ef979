//! Signed requests.

use std::time::Duration;

use amplifier_background::notify::given_up;
use amplifier_tests::receiver::{Received, Receiver};
use amplifier_tests::stage::Stage;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};

use super::{SECRET, by_post, emit, entries, start, told, until};

/// What the specification says, computed here.
fn is_signed(request: &Received) -> bool {
    let key = STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    let (id, time) = (request.header("webhook-id"), request.header("webhook-timestamp"));
    mac.update(format!("{id}.{time}.{}", request.body).as_bytes());
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    request.header("webhook-signature") == expected
}

fn seconds(request: &Received) -> i64 {
    request.header("webhook-timestamp").parse().unwrap()
}

#[tokio::test]
async fn an_event_is_posted_as_a_signed_cloud_event() {
    let (stage, receiver) = (Stage::new(), Receiver::start(&[]));
    let host = stage.host_in_memory();
    let notifier = start(&host, json!([by_post(&receiver.url())])).await;
    emit(&host, "other", json!(1)).await;
    let id = emit(&host, "work:done", json!({"n": 1})).await.to_string();
    let request = receiver.told(1).await.remove(0);
    assert_eq!(request.line, "POST /told HTTP/1.1");
    assert_eq!(request.header("webhook-id"), id);
    assert!(is_signed(&request), "{request:?}");
    assert!(request.header("content-type").starts_with("application/cloudevents+json"));
    assert_eq!(seconds(&request), 1_767_225_600);
    let event: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!((&event["specversion"], &event["type"]), (&json!("1.0"), &json!("work:done")));
    assert_eq!((&event["id"], &event["data"]), (&json!(id), &json!({"n": 1})));
    notifier.stop(Duration::from_secs(1)).await;
    assert_eq!(receiver.all().len(), 1);
}

#[tokio::test]
async fn what_fails_is_tried_again_with_the_same_id_and_a_time_of_its_own() {
    let replies = ["500 No", "429 Slow\r\nretry-after: 100", "408 Late", "204 Yes"];
    let (stage, receiver) = (Stage::new(), Receiver::start(&replies));
    let host = stage.host_in_memory();
    let _notifier = start(&host, json!([by_post(&receiver.url())])).await;
    let id = emit(&host, "work:done", json!({})).await.to_string();
    emit(&host, "work:later", json!({})).await;
    until(&stage, Duration::from_secs(1), async || receiver.all().len() >= 5).await;
    let all = receiver.all();
    assert!(all[..4].iter().all(|request| request.header("webhook-id") == id && is_signed(request)));
    assert!(all[4].body.contains("work:later"), "the order of the log is kept");
    let waits: Vec<i64> = all.windows(2).take(3).map(|pair| seconds(&pair[1]) - seconds(&pair[0])).collect();
    for (wait, least) in waits.iter().zip([1, 100, 4]) {
        assert!(*wait >= least, "{waits:?}");
    }
    assert!(told(&host, "notify:failed").await.is_empty());
}

#[tokio::test]
async fn what_will_never_work_is_not_tried_again_and_is_told() {
    for reply in ["400 No", "401 No", "410 Gone", "302 There\r\nlocation: /elsewhere"] {
        let (stage, receiver) = (Stage::new(), Receiver::start(&[reply]));
        let host = stage.host_in_memory();
        let list = json!([by_post(&receiver.url())]);
        let _notifier = start(&host, list.clone()).await;
        let id = emit(&host, "work:done", json!({})).await;
        emit(&host, "work:next", json!({})).await;
        let all = receiver.told(2).await;
        assert!(all[1].body.contains("work:next"), "{reply}: {all:?}");
        let failed = told(&host, "notify:failed").await;
        assert_eq!((failed.len(), &failed[0]["event_id"]), (1, &json!(id)), "{reply}");
        assert_eq!(failed[0]["attempts"], 1);
        let error = failed[0]["error"].as_str().unwrap();
        assert!(error.contains(&reply[..3]) && !error.contains("/told"), "{error}");
        assert_eq!(given_up(host.store().as_ref(), &entries(list), 0).await.unwrap().failed, 1);
    }
}

#[tokio::test]
async fn a_target_that_fails_or_hangs_holds_up_no_other_one() {
    let (stage, hangs, works) = (Stage::new(), Receiver::start(&[""; 20]), Receiver::start(&[]));
    let host = stage.host_in_memory();
    // Nobody listens at a port that was just closed.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let list = json!([by_post(&hangs.url()), by_post(&format!("http://{closed}/")), by_post(&works.url())]);
    let _notifier = start(&host, list).await;
    for at in 0..3 {
        emit(&host, "work:done", json!({ "at": at })).await;
    }
    assert_eq!(works.told(3).await.len(), 3);
    // Who hangs is asked again once its time is over.
    hangs.told(1).await;
    until(&stage, Duration::from_secs(10), async || hangs.all().len() >= 2).await;
    let all = hangs.all();
    assert_eq!(all[0].header("webhook-id"), all[1].header("webhook-id"));
    assert!(seconds(&all[1]) - seconds(&all[0]) >= 600);
}

#[tokio::test]
async fn secrets_that_are_not_set_are_told_at_once() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let list = entries(json!([
        {"url": "https://one.example/hunter2", "secret_env": "NOTIFY_ONE"},
        {"url": "https://two.example", "secret_env": "NOTIFY_TWO"},
        {"url": "https://three.example", "secret_env": "NOTIFY_THREE"},
        {"command": ["no-such-program-anywhere"]},
        {"command": ["./no-such-program"]},
    ]));
    let variable = |name: &str| match name {
        "NOTIFY_TWO" => Some("not base64, hunter2!".to_owned()),
        "NOTIFY_THREE" => Some("whsec_aHVudGVy".to_owned()),
        _ => None,
    };
    let error = amplifier_modules::notify::deliveries(&list, &host, &variable).unwrap_err().to_string();
    for part in [
        "notify[0].secret_env: the variable `NOTIFY_ONE` is not set",
        "notify[1].secret_env: the secret in NOTIFY_TWO is not base64",
        "notify[2].secret_env: the secret in NOTIFY_THREE has fewer than 8 bytes",
        "notify[3].command[0]: there is no program `no-such-program-anywhere`",
        "notify[4].command[0]: there is no program `./no-such-program`",
    ] {
        assert!(error.contains(part), "{part} in\n{error}");
    }
    assert!(!error.contains("hunter2"), "{error}");
}
