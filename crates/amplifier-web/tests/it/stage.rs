//! A listener with everything behind it, and a client that may be as rude as it likes.

use std::net::SocketAddr;
use std::time::Duration;

use amplifier_app::listen::{Listener, Rate, Serving, routes};
use amplifier_background::trigger::TriggerRegistry;
use amplifier_background::{BackgroundConfig, BackgroundSessionManager};
use amplifier_foundation::Host;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use amplifier_web::{Logins, Role, Tokens, Web, WebOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A project with the background session `night`, served.
pub(crate) struct Served {
    pub(crate) stage: Stage,
    pub(crate) host: Host,
    pub(crate) manager: BackgroundSessionManager,
    pub(crate) web: Web,
    pub(crate) server: Serving,
    /// A token that may change things, and one that may not.
    pub(crate) write: String,
    pub(crate) read: String,
}

/// A declaration of the bundle `plain`.
pub(crate) fn config(name: &str, more: &Value) -> BackgroundConfig {
    let mut map = json!({"name": name, "bundle": "plain", "instruction_template": "{event_data}"});
    for (key, value) in more.as_object().unwrap() {
        map[key] = value.clone();
    }
    BackgroundConfig::parse(&map, &TriggerRegistry::new()).unwrap()
}

impl Served {
    pub(crate) async fn new() -> Self {
        Self::with(WebOptions::default()).await
    }

    pub(crate) async fn with(options: WebOptions) -> Self {
        let stage = Stage::new();
        let host = stage.host_in_memory();
        let manager = BackgroundSessionManager::new(&host);
        let timer = json!({"triggers": [{"type": "timer", "name": "nightly", "config": {"every": "1h"}}]});
        manager.start(config("night", &timer)).await.unwrap();
        let web = Web::new(&host, &manager, options);
        let clock = std::sync::Arc::clone(host.clock());
        let listener = Listener::bind("127.0.0.1:0", web.listen_options(), clock.clone()).await.unwrap();
        let all = routes(manager.hooks(), Rate::default(), clock).merge(web.routes());
        let server = listener.serve(all);
        let tokens = Tokens::of(&host);
        let write = tokens.add(&"robot".parse().unwrap(), Role::Write, "tester").await.unwrap();
        let read = tokens.add(&"viewer".parse().unwrap(), Role::Read, "tester").await.unwrap();
        let (write, read) = (write.text().to_owned(), read.text().to_owned());
        Self { stage, host, manager, web, server, write, read }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(crate) async fn connect(&self) -> Client {
        Client(soon("a connection", TcpStream::connect(self.address())).await.unwrap())
    }

    /// One request, as it stands, on a connection of its own.
    pub(crate) async fn raw(&self, request: &str) -> Answer {
        let mut client = self.connect().await;
        client.send(request.as_bytes()).await;
        match request.starts_with("HEAD ") {
            true => client.head().await,
            false => client.answer().await,
        }
    }

    /// A request with these headers (each ended by CR LF).
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &bearer(&self.read), "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &bearer(&self.write), &body.to_string()).await
    }

    /// Logs in; the cookie as a browser would send it.
    pub(crate) async fn log_in(&self, role: Role) -> String {
        let link = Logins::of(&self.host).link("alice", role).await.unwrap();
        let answer = self.ask("GET", &link.path(), "", "").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let cookie = answer.header("set-cookie").unwrap();
        format!("Cookie: {}\r\n", cookie.split(';').next().unwrap())
    }

    pub(crate) async fn end(self) {
        self.web.close();
        assert_eq!(self.server.stop(Duration::from_secs(5)).await, 0, "nobody is cut off");
    }
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// A connection.
pub(crate) struct Client(pub(crate) TcpStream);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_str(&self.body).unwrap()
    }

    /// The kind of a fault.
    #[track_caller]
    pub(crate) fn fault(&self, status: u16) -> String {
        let said = self.json(status);
        assert!(!said["error"]["message"].as_str().unwrap().is_empty());
        said["error"]["kind"].as_str().unwrap().to_owned()
    }
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        soon("the sending", self.0.write_all(bytes)).await.unwrap();
    }

    /// A head: the status and the headers.
    pub(crate) async fn head(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon("an answer", self.0.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Answer { status, headers, body: String::new() }
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        soon("a body", self.0.read_exact(&mut body)).await.unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    /// A piece of a body whose length nobody knows; `None` at its end.
    pub(crate) async fn piece(&mut self) -> Option<String> {
        let mut line = String::new();
        while !line.ends_with("\r\n") {
            line.push(char::from(soon("a piece", self.0.read_u8()).await.ok()?));
        }
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut piece = vec![0; length + 2];
        soon("a piece", self.0.read_exact(&mut piece)).await.ok()?;
        piece.truncate(length);
        (length > 0).then(|| String::from_utf8(piece).unwrap())
    }
}
