//! The event stream: resume, lag, clients that do not read.

use amplifier_core::Payload;
use amplifier_tests::soon;
use amplifier_web::{Tokens, WebOptions};
use serde_json::{Value, json};
use std::time::Duration;

use super::stage::{Client, Served, bearer};

/// An open stream.
struct Stream(Client, String);

/// One message of it.
#[derive(Debug)]
struct Message {
    id: Option<String>,
    event: Option<String>,
    data: Value,
}

impl Served {
    async fn stream(&self, query: &str, headers: &str) -> Stream {
        let mut client = self.connect().await;
        let auth = bearer(&self.read);
        let request = format!("GET /api/v1/events{query} HTTP/1.1\r\nHost: localhost\r\n{auth}{headers}\r\n");
        client.send(request.as_bytes()).await;
        let head = client.head().await;
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        let mut stream = Stream(client, String::new());
        assert_eq!(stream.block().await.unwrap(), "retry: 2000");
        stream
    }

    async fn emit(&self, n: usize) {
        self.host.router().emit("work:step", json!({ "n": n })).await.unwrap();
    }
}

impl Stream {
    /// What stands between two empty lines; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.1.split_once("\n\n") {
                let block = block.to_owned();
                self.1 = rest.to_owned();
                return Some(block);
            }
            self.1.push_str(&self.0.piece().await?);
        }
    }

    async fn next(&mut self) -> Message {
        loop {
            let block = self.block().await.expect("a message");
            let field = |name: &str| {
                let value = block.lines().find_map(|line| line.strip_prefix(name));
                value.map(str::to_owned)
            };
            if let Some(data) = field("data: ") {
                let data = serde_json::from_str(&data).unwrap();
                return Message { id: field("id: "), event: field("event: "), data };
            }
        }
    }

    async fn numbers(&mut self, count: usize) -> Vec<u64> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(self.next().await.data["data"]["n"].as_u64().unwrap());
        }
        all
    }
}

#[tokio::test]
async fn events_come_as_they_are_recorded_and_a_return_misses_nothing() {
    let served = Served::new().await;
    let mut first = served.stream("?filter=work:*", "").await;
    served.emit(1).await;
    served.host.router().emit("other", Payload::null()).await.unwrap();
    served.emit(2).await;
    let one = first.next().await;
    assert_eq!(one.data["specversion"], "1.0");
    assert_eq!((one.data["type"].as_str(), one.data["data"]["n"].as_u64()), (Some("work:step"), Some(1)));
    let last = first.next().await.id.unwrap();
    drop(first);
    for n in 3..=5 {
        served.emit(n).await;
    }
    let mut second = served.stream("?filter=work:*", &format!("Last-Event-ID: {last}\r\n")).await;
    served.emit(6).await;
    assert_eq!(second.numbers(4).await, [3, 4, 5, 6]);
    // A browser's own stream cannot set headers at first.
    let mut third = served.stream(&format!("?filter=work:*&last_event_id={last}"), "").await;
    assert_eq!(third.numbers(4).await, [3, 4, 5, 6]);
    let mut all = served.stream("?filter=work:*&from=oldest", "").await;
    assert_eq!(all.numbers(6).await, [1, 2, 3, 4, 5, 6]);
    let mut some = served.stream("?from=oldest&match=n:4&filter=work:step", "").await;
    assert_eq!(some.numbers(1).await, [4]);
    served.end().await;
}

#[tokio::test]
async fn a_place_that_the_log_does_not_hold_is_told() {
    let served = Served::new().await;
    served.emit(1).await;
    for last in ["0-1", "ffff-99", "1-99999999"] {
        let mut stream = served.stream("?filter=work:*", &format!("Last-Event-ID: {last}\r\n")).await;
        let gone = stream.next().await;
        assert_eq!(gone.event.as_deref(), Some("gone"), "{last}");
        assert!(gone.data["oldest"].as_str().unwrap().contains('-'));
        assert_eq!(stream.numbers(1).await, [1], "it goes on at the oldest");
    }
    for bad in ["", "x", "1", "1-", "-1", "1-x", "1--1", "../1-1", "1-99999999999999999999999"] {
        let headers = format!("{}Last-Event-ID: {bad}\r\n", bearer(&served.read));
        let answer = served.ask("GET", "/api/v1/events", &headers, "").await;
        assert_eq!(answer.fault(400), "bad_request", "{bad}");
    }
    for bad in ["?filter=Not A Name", "?from=yesterday", "?session=..%2Fx", "?unknown=1", "?match=x"] {
        assert_eq!(
            served.get(&format!("/api/v1/events{}", bad.replace(' ', "%20"))).await.fault(400),
            "bad_request",
            "{bad}"
        );
    }
    served.end().await;
}

#[tokio::test]
async fn a_silent_stream_says_that_it_lives_as_long_as_its_token_is_good() {
    let served = Served::new().await;
    let mut stream = served.stream("?filter=work:*", "").await;
    let heartbeat = Duration::from_secs(15);
    served.stage.clock.pass(heartbeat).await;
    assert_eq!(stream.block().await.unwrap(), ":");
    Tokens::of(&served.host).revoke(&"viewer".parse().unwrap(), "tester").await.unwrap();
    served.stage.clock.pass(heartbeat).await;
    assert_eq!(stream.block().await, None, "the stream of a token that was taken back ends");
    served.end().await;
}

#[tokio::test]
async fn a_stream_in_which_much_happens_ends_with_its_token_too() {
    let served = Served::new().await;
    let mut stream = served.stream("?filter=work:*", "").await;
    Tokens::of(&served.host).revoke(&"viewer".parse().unwrap(), "tester").await.unwrap();
    for n in 0..3 {
        served.emit(n).await;
        stream.next().await;
        served.stage.clock.advance(Duration::from_secs(5));
    }
    served.emit(3).await;
    let ended = async { while stream.block().await.is_some() {} };
    soon("the end of the stream", ended).await;
    served.end().await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_off_and_holds_nobody_up() {
    let served = Served::new().await;
    let mut deaf = served.stream("?filter=work:*", "").await;
    let mut other = served.stream("?filter=work:*", "").await;
    let big = "x".repeat(200_000);
    // More than the buffers of both ends hold.
    for n in 0..100 {
        served.host.router().emit("work:step", json!({ "n": n, "big": big })).await.unwrap();
        assert_eq!(other.numbers(1).await, [n]);
    }
    assert_eq!(served.host.router().subscribers(), 2);
    let gone = async {
        while served.host.router().subscribers() > 1 {
            served.stage.clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the end of the deaf one", gone).await;
    while deaf.block().await.is_some() {}
    served.emit(100).await;
    assert_eq!(other.numbers(1).await, [100]);
    served.end().await;
}

#[tokio::test]
async fn a_reader_that_lags_reads_on_from_the_log() {
    let served = Served::new().await;
    let mut slow = served.stream("?filter=work:*", "").await;
    // Far more than the ring and the buffers of both ends hold.
    let big = "x".repeat(8_000);
    for n in 0..4_000 {
        served.host.router().emit("work:step", json!({ "n": n, "big": big })).await.unwrap();
    }
    let read = slow.numbers(4_000).await;
    assert!(read.iter().copied().eq(0..4_000), "in order, each once");
    served.end().await;
}

#[tokio::test]
async fn streams_are_counted_and_end_with_the_listener() {
    let mut options = WebOptions::default();
    options.max_streams = 2;
    let served = Served::with(options).await;
    let (mut one, two) = (served.stream("", "").await, served.stream("", "").await);
    let refused = served.get("/api/v1/events").await;
    assert_eq!((refused.fault(503).as_str(), refused.header("retry-after")), ("busy", Some("5")));
    drop(two);
    let again = async {
        loop {
            let answer = served.ask("HEAD", "/api/v1/events", &bearer(&served.read), "").await;
            if answer.status == 200 {
                return;
            }
        }
    };
    soon("a place", again).await;
    served.web.close();
    while one.block().await.is_some() {}
    served.end().await;
}
