//! Beginning and end.

use std::sync::Arc;
use std::time::Duration;

use amplifier_app::listen::{ListenOptions, Listener};
use amplifier_tests::clock::ManualClock;
use amplifier_tests::soon;
use tokio::net::TcpStream;

use super::{pass, post, stage};

#[tokio::test]
async fn a_stop_lets_what_is_being_answered_finish() {
    let mut stage = stage().await;
    let durable = Arc::clone(&stage.table.store).lock_owned().await;
    let (mut idle, mut calling) = (stage.connect().await, stage.connect().await);
    idle.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(idle.answer().await.status, 200);
    calling.send(post("jobs", "1", "{}").as_bytes()).await;
    // The call waits for its event to become durable.
    stage.table.arrived(1).await;
    let server = stage.server.take().unwrap();
    let stopping = tokio::spawn(server.stop(Duration::from_secs(5)));
    assert!(idle.is_closed().await, "who waits for nothing is not waited for");
    let refused = soon("a refusal", async {
        while TcpStream::connect(stage.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    refused.await;
    drop(durable);
    let answer = calling.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (202, Some("close")));
    drop(calling);
    assert_eq!(soon("the stop", stopping).await.unwrap(), 0);
    assert_eq!(stage.taken(), 1);
}

#[tokio::test]
async fn a_stop_waits_for_so_long_and_no_longer() {
    let mut stage = stage().await;
    let _durable = Arc::clone(&stage.table.store).lock_owned().await;
    let mut calling = stage.connect().await;
    calling.send(post("jobs", "1", "{}").as_bytes()).await;
    stage.table.arrived(1).await;
    let server = stage.server.take().unwrap();
    let stopping = tokio::spawn(server.stop(Duration::from_secs(5)));
    pass(&stage.clock, Duration::from_secs(5)).await;
    assert_eq!(soon("the stop", stopping).await.unwrap(), 1);
    assert!(calling.is_closed().await);
}

#[tokio::test]
async fn a_listener_that_is_dropped_answers_nobody() {
    let mut stage = stage().await;
    let mut client = stage.connect().await;
    client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    drop(stage.server.take());
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_told_with_what_to_do() {
    let clock = || Arc::new(ManualClock::new());
    let bind = async |address: &str| Listener::bind(address, ListenOptions::default(), clock()).await;
    for wrong in ["", "8080", ":8080", "localhost", "127.0.0.1:", "127.0.0.1:99999", "http://localhost:1"] {
        let error = bind(wrong).await.unwrap_err().to_string();
        assert!(error.contains("127.0.0.1:8733") || error.contains("choose another"), "{wrong}: {error}");
    }
    let first = bind("127.0.0.1:0").await.unwrap();
    assert_ne!(first.address().port(), 0);
    assert!(first.warning().is_none());
    let taken = bind(&first.address().to_string()).await.unwrap_err();
    assert!(taken.to_string().contains(&first.address().to_string()), "{taken}");
    assert!(bind("0.0.0.0:0").await.unwrap().warning().unwrap().contains("encryption"));
    assert!(bind("localhost:0").await.unwrap().warning().is_none());
}
