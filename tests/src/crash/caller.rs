//! A sender of webhooks that outlives who takes them in: it sends each delivery until it is answered with 2xx.
//!
//! Guarantees: a delivery has one id however often it is sent; what was answered is said as `run hook N RUN`.
//! Never here: a second delivery before the first one was answered.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use amplifier_background::trigger::Hooks;
use serde_json::Value;

/// What signs the calls.
pub const SECRET: &str = "a secret of the campaigns";
/// The variable that holds it.
pub const SECRET_ENV: &str = "HOOK_SECRET";
/// The webhook's path.
pub const PATH: &str = "jobs";
/// How long it waits before it sends the next delivery, or the same one again.
const PAUSE: Duration = Duration::from_millis(60);
/// How long it waits for an answer.
const ANSWER: Duration = Duration::from_secs(60);

/// The sender.
#[derive(Debug)]
pub struct Caller {
    /// Where it calls now; empty while nobody listens.
    address: Arc<Mutex<String>>,
    stop: Arc<AtomicBool>,
    lines: Receiver<String>,
    thread: Option<JoinHandle<()>>,
}

impl Caller {
    /// Starts one that calls nobody yet.
    pub fn start() -> Self {
        let (address, stop) = (Arc::<Mutex<String>>::default(), Arc::new(AtomicBool::new(false)));
        let (sender, lines) = channel();
        let (at, stopped) = (Arc::clone(&address), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut n = 1;
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(PAUSE);
                let address = at.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(run) = deliver(&address, n) {
                    let _ = sender.send(format!("run hook {n} {run}"));
                    n += 1;
                }
            }
        });
        Self { address, stop, lines, thread: Some(thread) }
    }

    /// From now on it calls there.
    pub fn call(&self, address: &str) {
        address.clone_into(&mut self.address.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What was answered since the last call.
    pub fn said(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }

    /// Ends it; what was answered last.
    pub fn end(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
        self.said()
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Sends a delivery once. The run that it leads to, if it is answered with 2xx.
fn deliver(address: &str, n: usize) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    let body = format!("{{\"n\":{n}}}");
    let request = format!(
        "POST /hooks/{PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\nIdempotency-Key: d{n}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    // Cut off in the middle: nothing was acknowledged, whatever had come.
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let is_taken = head.split(' ').nth(1)?.starts_with('2');
    let body: Value = serde_json::from_str(body).ok()?;
    is_taken.then(|| body["id"].as_str().map(|id| id.replace('/', ":")))?
}

/// Serves webhooks over HTTP as little as a [`Caller`] needs it, until the process ends. Its address.
pub fn serve(hooks: Hooks) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (hooks, runtime) = (hooks.clone(), runtime.clone());
            std::thread::spawn(move || runtime.block_on(answer(stream, &hooks)));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, hooks: &Hooks) -> Option<()> {
    let (mut read, mut buffer) = (Vec::new(), [0; 1024]);
    let (head, body) = loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        read.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok())?;
        if body.len() >= length {
            break (head.to_owned(), body.to_owned());
        }
    };
    let path = head.split(' ').nth(1)?;
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers: Vec<(&str, &[u8])> = headers.map(|(name, value)| (name, value.as_bytes())).collect();
    let answer = hooks.deliver(path, headers, body.into_bytes().into()).await;
    let text = format!(
        "HTTP/1.1 {} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}",
        answer.status,
        answer.body.len(),
        answer.body
    );
    stream.write_all(text.as_bytes()).ok()
}
