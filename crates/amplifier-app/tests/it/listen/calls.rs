//! Webhooks, from the socket to whoever takes their events in.

use std::process::Stdio;

use amplifier_app::listen::Rate;
use amplifier_tests::{skipped, soon};
use axum::Router;
use serde_json::Value;

use super::{allowed, hook, post, signature, stage, stage_with};

fn id(body: &str) -> String {
    serde_json::from_str::<Value>(body).unwrap()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_call_is_answered_once_its_event_is_durable_and_a_repetition_has_the_same_id() {
    let stage = stage().await;
    let durable = stage.table.store.lock().await;
    let mut client = stage.connect().await;
    client.send(post("jobs", "d-1", "{\"n\":1}").as_bytes()).await;
    stage.table.arrived(1).await;
    // Somebody else is served meanwhile, and nothing is answered to the first one.
    assert_eq!(stage.ask("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.status, 200);
    assert_eq!(stage.taken(), 0);
    let mut nothing = [0];
    assert!(client.0.try_read(&mut nothing).is_err(), "no answer before it is durable");
    drop(durable);
    let first = client.answer().await;
    assert_eq!((first.status, stage.taken()), (202, 1));
    let again = stage.call("d-1", "{\"n\":1}").await;
    assert_eq!((again.status, id(&again.body)), (200, id(&first.body)));
    let other = stage.call("d-2", "{\"n\":1}").await;
    assert_eq!(other.status, 202);
    assert_ne!(id(&other.body), id(&first.body));
    assert_eq!(stage.taken(), 2);
}

#[tokio::test]
async fn a_call_that_is_not_signed_is_told_so_and_nothing_of_it_is_parsed() {
    let stage = stage().await;
    let signed = post("jobs", "1", "{}");
    let unsigned = signed.replace(&signature("{}"), "sha256=00");
    assert_eq!(stage.ask(&unsigned).await.status, 401);
    assert_eq!(stage.ask(&unsigned.replace("{}", "{{")).await.status, 401);
    assert_eq!(stage.call("1", "no json").await.status, 400);
    assert_eq!(stage.taken(), 0);
    assert_eq!(stage.ask(&signed).await.status, 202);
}

#[tokio::test]
async fn webhooks_come_and_go_while_it_runs() {
    let stage = stage().await;
    let call = async || stage.ask(&post("later/on", "1", "{}")).await;
    assert_eq!(call().await.status, 404);
    let claim = stage.hooks.claim("later/on", "nightly").unwrap();
    let paused = call().await;
    assert_eq!((paused.status, paused.header("retry-after")), (503, Some("60")));
    claim.set(Some(hook("later/on", &stage.clock, &stage.table)));
    assert_eq!(call().await.status, 202);
    drop(claim);
    assert_eq!(call().await.status, 404);
}

#[tokio::test]
async fn one_connection_makes_many_calls_also_at_once() {
    let stage = stage().await;
    let mut client = stage.connect().await;
    for at in 0..3 {
        client.send(post("jobs", &format!("a-{at}"), "{}").as_bytes()).await;
        assert_eq!(client.answer().await.status, 202);
    }
    let several: String = (0..3).map(|at| post("jobs", &format!("b-{at}"), "{}")).collect();
    client.send(several.as_bytes()).await;
    for _ in 0..3 {
        assert_eq!(client.answer().await.status, 202);
    }
    assert_eq!(stage.taken(), 6);
}

#[tokio::test]
async fn a_body_may_come_in_chunks() {
    let stage = stage().await;
    let body = "{\"n\":12}";
    let head = format!(
        "POST /hooks/jobs?token=x HTTP/1.1\r\nHost: localhost\r\nX-Hub-Signature-256: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
        signature(body)
    );
    let mut client = stage.connect().await;
    client.send(head.as_bytes()).await;
    for part in [&body[..3], &body[3..]] {
        client.send(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes()).await;
    }
    client.send(b"0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 202);
    // Two lengths that differ are no request.
    let two =
        "POST /hooks/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}";
    assert_eq!(stage.ask(two).await.status, 400);
}

#[tokio::test]
async fn curl_is_served() {
    let curl = std::process::Command::new("curl").arg("--version").stdout(Stdio::null()).status();
    if curl.is_err() {
        return skipped("curl_is_served", "there is no curl");
    }
    let stage = stage_with(allowed(&["hooks.example.com"]), Rate::default(), Router::new()).await;
    let curl = async |host: &str, more: &[&str]| {
        let mut command = tokio::process::Command::new("curl");
        command.args(["--noproxy", "*", "-sS", "-m", "20", "-o", "-", "-w", "\n%{http_code}", "--resolve"]);
        let address = stage.address;
        command.arg(format!("hooks.example.com:{}:{}", address.port(), address.ip())).args(more);
        command.arg(format!("http://{host}:{}/hooks/jobs", address.port()));
        let output = soon("curl", command.output()).await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let large = format!("\"{}\"", "x".repeat(600_000));
    let signed = format!("X-Hub-Signature-256: {}", signature(&large));
    let file = std::env::temp_dir().join(format!("amplifier-listen-{}", std::process::id()));
    std::fs::write(&file, &large).unwrap();
    let at = format!("@{}", file.display());
    // A large body is announced with `Expect: 100-continue`.
    let taken =
        curl("hooks.example.com", &["--data-binary", &at, "-H", &signed, "-H", "Expect: 100-continue"]).await;
    assert!(taken.ends_with("\n202"), "{taken}");
    let chunked = curl("127.0.0.1", &["-T", file.to_str().unwrap(), "-X", "POST", "-H", &signed]).await;
    assert!(chunked.ends_with("\n202"), "{chunked}");
    std::fs::remove_file(&file).unwrap();
    assert!(curl("localhost", &["-d", "{}"]).await.ends_with("\n401"));
    assert!(curl("localhost", &[]).await.ends_with("\n405"));
    assert!(curl("localhost", &["-d", "{}", "-H", "Host: evil.example"]).await.ends_with("\n421"));
}
