//! Every bound, by somebody who does not keep it.

use std::time::Duration;

use amplifier_app::listen::{BODY_TIME, HEADER_TIME, ListenOptions, MAX_HEADERS, MAX_REQUESTS, Rate};
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{pass, post, stage, stage_with};
use amplifier_tests::soon;

const MIB: usize = 1 << 20;
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_not_waited_for() {
    let stage = stage().await;
    let head = format!("POST /hooks/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", MIB + 1);
    let mut client = stage.connect().await;
    client.send(head.as_bytes()).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    assert!(client.is_closed().await);
    // The largest that is allowed is read, and then the signature is looked at.
    let largest = format!("\"{}\"", "x".repeat(MIB - 2));
    assert_eq!(stage.call("1", &largest).await.status, 202);
    let huge = head.replace(&(MIB + 1).to_string(), "99999999999999999999999");
    assert_eq!(stage.ask(&huge).await.status, 400);
}

#[tokio::test]
async fn a_body_that_does_not_say_is_read_up_to_the_bound() {
    let stage = stage().await;
    let head = "POST /hooks/jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = stage.connect().await;
    client.send(head.as_bytes()).await;
    let chunk = format!("{:x}\r\n{}\r\n", 64 * 1024, "x".repeat(64 * 1024));
    let mut sent = 0_usize;
    // Sends for ever; the other side decides when it is enough.
    let (mut reader, mut writer) = client.0.split();
    let mut answer = Vec::new();
    soon("the answer to a body without end", async {
        let sending = async {
            while writer.write_all(chunk.as_bytes()).await.is_ok() {
                sent += chunk.len();
            }
            std::future::pending::<()>().await;
        };
        let reading = async {
            let mut piece = [0; 1024];
            while !answer.ends_with(b"\n") {
                let read = reader.read(&mut piece).await.unwrap();
                assert!(read > 0, "closed without an answer");
                answer.extend_from_slice(&piece[..read]);
            }
        };
        tokio::select! { () = sending => {}, () = reading => {} }
    })
    .await;
    assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
    // What was sent beyond the bound lies in the buffers of the system and in the little that is read after.
    assert!(sent < 16 * MIB, "{sent}");
    assert_eq!(stage.taken(), 0);
}

#[tokio::test]
async fn headers_that_do_not_come_are_not_waited_for() {
    let stage = stage().await;
    for begun in ["", "GET /healthz HTTP/1.1\r\n", "POST /hooks/jobs HTTP/1.1\r\nHost: localhost\r\nA: "] {
        let mut client = stage.connect().await;
        client.send(begun.as_bytes()).await;
        pass(&stage.clock, HEADER_TIME).await;
        assert!(client.is_closed().await, "{begun:?}");
    }
    // A byte now and then does not help: the time is that of all headers.
    let mut client = stage.connect().await;
    client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n").await;
    stage.clock.asleep_within(HEADER_TIME).await;
    for _ in 0..10 {
        let _ = client.0.write_all(b"A: 1\r\n").await;
        stage.clock.advance(HEADER_TIME / 10);
    }
    assert!(client.is_closed().await);
    // Nor does a connection stay open that says nothing after its first request.
    let mut client = stage.connect().await;
    client.send(HEALTH.as_bytes()).await;
    assert_eq!(client.answer().await.status, 200);
    pass(&stage.clock, HEADER_TIME).await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let stage = stage().await;
    let whole = post("jobs", "1", "{\"n\":1}");
    let mut client = stage.connect().await;
    client.send(&whole.as_bytes()[..whole.len() - 3]).await;
    pass(&stage.clock, BODY_TIME).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    assert!(client.is_closed().await);
    assert_eq!(stage.taken(), 0);
}

#[tokio::test]
async fn a_head_is_bounded_in_bytes_and_in_headers() {
    let stage = stage().await;
    let many = |count: usize| {
        let headers: String = (0..count).map(|at| format!("A{at}: 1\r\n")).collect();
        format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
    };
    assert_eq!(stage.ask(&many(MAX_HEADERS - 1)).await.status, 200);
    assert_eq!(stage.ask(&many(MAX_HEADERS)).await.status, 431);
    let long = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: {}\r\n\r\n", "x".repeat(64 * 1024));
    assert_eq!(stage.ask(&long).await.status, 431);
    let path = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(64 * 1024));
    assert!(matches!(stage.ask(&path).await.status, 414 | 431));
}

#[tokio::test]
async fn what_is_no_http_is_closed() {
    let stage = stage().await;
    for raw in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\r\n\r\n\xff\xff\xff\r\n\r\n",
    ] {
        let mut client = stage.connect().await;
        client.send(raw).await;
        if let Some(answer) = client.try_answer().await {
            assert_eq!(answer.status, 400, "{raw:?}");
        }
        assert!(client.is_closed().await, "{raw:?}");
    }
    assert_eq!(stage.ask(HEALTH).await.status, 200);
}

#[tokio::test]
async fn a_sender_that_calls_too_often_is_told_when_to_come_again() {
    let mut rate = Rate::default();
    (rate.burst, rate.per_second) = (3, 1);
    let stage = stage_with(ListenOptions::default(), rate, Router::new()).await;
    for at in 0..3 {
        assert_eq!(stage.call(&at.to_string(), "{}").await.status, 202);
    }
    let refused = stage.call("3", "{}").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    // Calls that are not signed count, too; other routes do not.
    assert_eq!(stage.ask(&post("jobs", "4", "{}").replace("sha256=", "")).await.status, 429);
    assert_eq!(stage.ask(HEALTH).await.status, 200);
    assert_eq!(stage.taken(), 3);
    stage.clock.advance(Duration::from_secs(1));
    assert_eq!(stage.call("3", "{}").await.status, 202);
    assert_eq!(stage.call("4", "{}").await.status, 429);
}

#[tokio::test]
async fn a_connection_too_many_is_refused_and_others_are_served() {
    let mut options = ListenOptions::default();
    options.max_connections = 2;
    let stage = stage_with(options, Rate::default(), Router::new()).await;
    let (mut one, mut two) = (stage.connect().await, stage.connect().await);
    for client in [&mut one, &mut two] {
        client.send(HEALTH.as_bytes()).await;
        assert_eq!(client.answer().await.status, 200);
    }
    let mut three = stage.connect().await;
    let refused = three.answer().await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert!(three.is_closed().await);
    drop(one);
    two.send(HEALTH.as_bytes()).await;
    assert_eq!(two.answer().await.status, 200);
    // The place of who has gone is free again.
    soon("a free place", async {
        loop {
            let mut client = stage.connect().await;
            let _ = client.0.write_all(HEALTH.as_bytes()).await;
            if client.try_answer().await.is_some_and(|answer| answer.status == 200) {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_ends_after_many_requests() {
    let stage = stage().await;
    let mut client = stage.connect().await;
    for at in 1..=MAX_REQUESTS {
        client.send(HEALTH.as_bytes()).await;
        let answer = client.answer().await;
        assert_eq!(answer.header("connection").is_some(), at == MAX_REQUESTS, "{at}");
    }
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn who_does_not_read_its_answer_is_cut_off() {
    const LARGE: usize = 64 * MIB;
    let large = Router::new().route("/large", get(async || Body::from(vec![b'x'; LARGE])));
    let stage = stage_with(ListenOptions::default(), Rate::default(), large).await;
    let mut client = stage.connect().await;
    client.send(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    pass(&stage.clock, Duration::from_secs(30)).await;
    let mut read = Vec::new();
    let _ = soon("the end", client.0.read_to_end(&mut read)).await;
    assert!(read.starts_with(b"HTTP/1.1 200") && read.len() < LARGE, "{}", read.len());
}
