//! The listener, over real sockets: a client that may be as rude as it likes, and a clock that stands still.

mod bounds;
mod calls;
mod hosts;
mod stop;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amplifier_app::listen::{AllowedHosts, ListenOptions, Listener, Rate, Serving, routes};
use amplifier_background::trigger::webhook::{Scheme, Secret, WebhookConfig};
use amplifier_background::trigger::{
    Acceptance, BackgroundName, Hooks, TriggerConfig, TriggerContext, TriggerEvent, TriggerRow,
    TriggerSource, TriggerSpec, WebhookHandle, WebhookTrigger,
};
use amplifier_core::{CancelToken, Clock};
use amplifier_tests::clock::ManualClock;
use amplifier_tests::ids::SeededIds;
use amplifier_tests::soon;
use axum::Router;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const SECRET: &str = "a secret of this test";

/// A listener with the webhook `jobs`, whose events a table takes in.
pub(crate) struct Stage {
    pub(crate) server: Option<Serving>,
    pub(crate) address: SocketAddr,
    pub(crate) clock: ManualClock,
    pub(crate) hooks: Hooks,
    pub(crate) table: Table,
}

/// What takes events in, as a store does.
#[derive(Clone, Default)]
pub(crate) struct Table {
    pub(crate) rows: Arc<Mutex<Vec<TriggerEvent>>>,
    /// While it is locked, nothing becomes durable.
    pub(crate) store: Arc<tokio::sync::Mutex<()>>,
    /// Events that have come this far.
    arrived: Arc<AtomicUsize>,
}

impl Table {
    /// Waits until so many events have come to be taken in.
    pub(crate) async fn arrived(&self, count: usize) {
        let waiting = async {
            while self.arrived.load(Ordering::SeqCst) < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        soon("an event", waiting).await;
    }
}

pub(crate) async fn stage() -> Stage {
    stage_with(ListenOptions::default(), Rate::default(), Router::new()).await
}

pub(crate) async fn stage_with(options: ListenOptions, rate: Rate, more: Router) -> Stage {
    let (clock, hooks) = (ManualClock::new(), Hooks::new());
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let table = Table::default();
    hooks.add(hook("jobs", &clock, &table)).unwrap();
    let listener = Listener::bind("127.0.0.1:0", options, Arc::clone(&shared)).await.unwrap();
    let address = listener.address();
    let server = listener.serve(routes(hooks.clone(), rate, shared).merge(more));
    Stage { server: Some(server), address, clock, hooks, table }
}

/// A webhook whose events go into a table, as into a store.
pub(crate) fn hook(path: &str, clock: &ManualClock, table: &Table) -> WebhookHandle {
    let secret = Secret::of(Scheme::Github, "HOOK_SECRET", Some(SECRET)).unwrap();
    let config = WebhookConfig::new(path, Scheme::Github, "HOOK_SECRET");
    let declared = TriggerConfig::new(TriggerSpec::Webhook(config.clone()));
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let (trigger, handle) = WebhookTrigger::new(config, secret, Arc::clone(&shared), None);
    let row = TriggerRow::first(&declared, clock.now());
    let name = BackgroundName::new("nightly").unwrap();
    let context = TriggerContext::new(name, row, shared, Arc::new(SeededIds::new(1)), CancelToken::new());
    let mut events = Box::new(trigger).watch(context);
    let table = table.clone();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let event = event.unwrap();
            table.arrived.fetch_add(1, Ordering::SeqCst);
            let _durable = table.store.lock().await;
            let mut rows = table.rows.lock().unwrap();
            let known = rows.iter().any(|known| known.id == event.id);
            event.receipt.answer(match known {
                true => Acceptance::Repeated(event.id.clone()),
                false => Acceptance::Accepted,
            });
            if !known {
                rows.push(event);
            }
        }
    });
    handle
}

impl Stage {
    pub(crate) async fn connect(&self) -> Client {
        Client(soon("a connection", TcpStream::connect(self.address)).await.unwrap())
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, request: &str) -> Answer {
        let mut client = self.connect().await;
        client.send(request.as_bytes()).await;
        client.answer().await
    }

    /// A call of the webhook `jobs` with the headers of GitHub.
    pub(crate) async fn call(&self, delivery: &str, body: &str) -> Answer {
        self.ask(&post("jobs", delivery, body)).await
    }

    pub(crate) fn taken(&self) -> usize {
        self.table.rows.lock().unwrap().len()
    }
}

/// A request that GitHub could make.
pub(crate) fn post(path: &str, delivery: &str, body: &str) -> String {
    format!(
        "POST /hooks/{path} HTTP/1.1\r\nHost: localhost\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: {delivery}\r\n\
         X-Hub-Signature-256: {}\r\nContent-Length: {}\r\n\r\n{body}",
        signature(body),
        body.len()
    )
}

pub(crate) fn signature(body: &str) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let digest = mac.finalize().into_bytes();
    format!("sha256={}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

pub(crate) fn allowed(hosts: &[&str]) -> ListenOptions {
    let mut options = ListenOptions::default();
    options.allowed_hosts = AllowedHosts::parse(hosts).unwrap();
    options
}

/// A connection.
pub(crate) struct Client(pub(crate) TcpStream);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        soon("the sending", self.0.write_all(bytes)).await.unwrap();
    }

    /// Reads one answer, as long as it says it is.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("an answer")
    }

    /// `None`: the connection was closed.
    pub(crate) async fn try_answer(&mut self) -> Option<Answer> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match soon("an answer", self.0.read(&mut byte)).await {
                Ok(1..) => head.push(byte[0]),
                Ok(0) | Err(_) => return None,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: HashMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        soon("a body", self.0.read_exact(&mut body)).await.ok()?;
        Some(Answer { status, headers, body: String::from_utf8(body).unwrap() })
    }

    /// True once the other side has closed the connection, with whatever it says before.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match soon("the end", self.0.read_to_end(&mut rest)).await {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// Waits until the listener has armed a deadline, and lets it pass.
pub(crate) async fn pass(clock: &ManualClock, span: Duration) {
    clock.asleep_within(span).await;
    clock.advance(span);
}
