//! Servers over streamable HTTP, on this machine.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use amplifier_core::permission::{Mode, RuleEffect};
use serde_json::{Value, json};

use crate::kit::{Bench, permissions};

/// What a request was: method, headers in small letters, body.
type Seen = Arc<Mutex<Vec<(String, String, Value)>>>;

/// A server that answers with JSON, or as a stream; it knows one session at a time.
#[derive(Clone, Default)]
struct Service {
    seen: Seen,
    /// The session that it knows; another gets 404.
    session: Arc<Mutex<u32>>,
    needs_token: bool,
}

impl Service {
    /// Its address.
    fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let service = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let service = service.clone();
                std::thread::spawn(move || service.serve(stream));
            }
        });
        url
    }

    fn serve(&self, stream: TcpStream) {
        let mut read = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some((method, head, body)) = request(&mut read) {
            let answer = self.answer(&method, &head, &body);
            self.seen.lock().unwrap().push((method, head, body));
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, method: &str, head: &str, body: &Value) -> String {
        if self.needs_token && !head.contains("authorization: bearer sesame") {
            return http("401 Unauthorized", "www-authenticate: Bearer\r\n", "");
        }
        if method != "POST" {
            return http("405 Method Not Allowed", "", "");
        }
        let called = body["method"].as_str().unwrap_or_default();
        let known = format!("mcp-session-id: {}", self.session.lock().unwrap());
        if called != "initialize" && !head.contains(&known) {
            return http("404 Not Found", "", "");
        }
        let result = match called {
            "initialize" => {
                *self.session.lock().unwrap() += 1;
                json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                       "serverInfo": {"name": "web", "version": "1"}})
            }
            "tools/list" => json!({"tools": [
                {"name": "echo", "inputSchema": {"type": "object"}}, {"name": "stream", "inputSchema": {"type": "object"}},
                {"name": "forget", "inputSchema": {"type": "object"}}]}),
            "tools/call" if body["params"]["name"] == "forget" => {
                // As after a restart: nobody's session is known.
                *self.session.lock().unwrap() += 100;
                json!({"content": [{"type": "text", "text": "forgotten"}]})
            }
            "tools/call" => {
                json!({"content": [{"type": "text", "text": body["params"]["arguments"]["text"]}]})
            }
            _ => return http("202 Accepted", "", ""),
        };
        let session = format!("mcp-session-id: {}\r\n", self.session.lock().unwrap());
        let message = json!({"jsonrpc": "2.0", "id": body["id"], "result": result}).to_string();
        match body["params"]["name"] == "stream" {
            true => http(
                "200 OK",
                &format!("{session}content-type: text/event-stream\r\n"),
                &format!("event: message\ndata: {message}\n\n"),
            ),
            false => http("200 OK", &format!("{session}content-type: application/json\r\n"), &message),
        }
    }
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

fn request(read: &mut impl BufRead) -> Option<(String, String, Value)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if read.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    read.read_exact(&mut body).ok()?;
    let method = head.split(' ').next()?.to_ascii_uppercase();
    Some((method, head, serde_json::from_slice(&body).unwrap_or_default()))
}

fn web(url: &str, headers: Value) -> Bench {
    Bench::new(json!({"servers": {"web": {"url": url, "headers": headers}}}))
}

#[tokio::test]
async fn a_service_is_called_with_its_headers_and_its_session() {
    let service = Service { needs_token: true, ..Service::default() };
    let bench = web(&service.start(), json!({"Authorization": "Bearer sesame", "X-Team": "a"}));
    let calls = [
        ("mcp__web__echo", json!({"text": "as JSON"})),
        ("mcp__web__stream", json!({"text": "as a stream"})),
    ];
    assert_eq!(bench.run(&calls).await, ["as JSON", "as a stream"]);
    let seen = service.seen.lock().unwrap();
    assert!(seen.iter().all(|(_, head, _)| head.contains("x-team: a") && head.contains("bearer sesame")));
    let later = seen.iter().filter(|(method, _, body)| method == "POST" && body["method"] != "initialize");
    assert!(
        later.clone().count() >= 4 && later.clone().all(|(_, head, _)| head.contains("mcp-session-id: 1"))
    );
}

#[tokio::test]
async fn a_service_that_has_forgotten_the_session_is_greeted_again() {
    let service = Service::default();
    let bench = web(&service.start(), json!({}));
    let told =
        bench.run(&[("mcp__web__forget", json!({})), ("mcp__web__echo", json!({"text": "again"}))]).await;
    // The answer to the first already names another session.
    assert_eq!(told, ["forgotten", "again"]);
    let seen = service.seen.lock().unwrap();
    let greetings = seen.iter().filter(|(_, _, body)| body["method"] == "initialize").count();
    assert_eq!(greetings, 2);
}

#[tokio::test]
async fn a_service_that_wants_a_token_or_is_not_there_is_told_in_a_line() {
    let service = Service { needs_token: true, ..Service::default() };
    let bench = web(&service.start(), json!({}));
    bench.run(&[]).await;
    let notices = bench.notices();
    assert!(notices.len() == 1 && notices[0].contains("OAuth is not supported"), "{notices:?}");

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bench = web(&format!("http://{free}/mcp"), json!({}));
    bench.run(&[]).await;
    let notices = bench.notices();
    assert!(notices.len() == 1 && notices[0].contains("MCP server `web` cannot be reached"), "{notices:?}");
}

#[tokio::test]
async fn a_rule_against_its_host_keeps_a_service_away() {
    let service = Service::default();
    let bench = web(&service.start(), json!({}));
    let permissions = permissions(Mode::DontAsk, &bench.cwd(), &[(RuleEffect::Deny, "network(127.*)")]);
    let host = bench.builder().permissions(permissions).open(bench.cwd()).await.unwrap();
    bench.run_on(&host, &[]).await;
    assert!(service.seen.lock().unwrap().is_empty());
    let notices = bench.notices();
    assert!(notices[0].contains("deny the network to 127.0.0.1"), "{notices:?}");
}
