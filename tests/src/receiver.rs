//! Somebody on loopback who is told things by POST, and answers by a list.
//!
//! Guarantees: a request is counted when it was read whole; behind the end of the list it answers 200.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::{PATIENCE, soon};

/// A request.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its first line.
    pub line: String,
    /// Its headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: String,
}

impl Received {
    /// A header; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// The server. What it was told stays with it.
#[derive(Debug, Clone)]
pub struct Receiver {
    port: u16,
    shared: Arc<(Mutex<Vec<Received>>, Condvar)>,
}

impl Receiver {
    /// Starts one that answers with these, in their order: a status, and further header lines behind it
    /// (`429 Slow\r\nretry-after: 7`). An empty one is no answer: the connection stays open.
    pub fn start(replies: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared: Arc<(Mutex<Vec<Received>>, Condvar)> = Arc::default();
        let replies: Vec<String> = replies.iter().map(|reply| (*reply).to_owned()).collect();
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                held.extend(answer(stream, &replies, &serving));
            }
        });
        Self { port, shared }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/told", self.port)
    }

    /// What it was told so far.
    pub fn all(&self) -> Vec<Received> {
        self.shared.0.lock().unwrap().clone()
    }

    /// Waits until it was told so much.
    pub fn wait(&self, count: usize) -> Vec<Received> {
        let (told, changed) = &*self.shared;
        let guard = told.lock().unwrap();
        let (guard, late) = changed.wait_timeout_while(guard, PATIENCE, |told| told.len() < count).unwrap();
        assert!(!late.timed_out(), "{} of {count} requests came within {PATIENCE:?}", guard.len());
        guard.clone()
    }

    /// The same, while others on this thread go on.
    pub async fn told(&self, count: usize) -> Vec<Received> {
        let waiting = async {
            while self.all().len() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        soon("a request", waiting).await;
        self.all()
    }
}

/// Reads a request and answers it; gives the stream back where there is no answer.
fn answer(
    stream: TcpStream,
    replies: &[String],
    shared: &(Mutex<Vec<Received>>, Condvar),
) -> Option<TcpStream> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: BTreeMap<String, String> = lines
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let received = Received { line: lines[0].clone(), headers, body: String::from_utf8(body).unwrap() };
    let reply = {
        let mut told = shared.0.lock().unwrap();
        told.push(received);
        replies.get(told.len() - 1).cloned().unwrap_or_else(|| "200 OK".to_owned())
    };
    shared.1.notify_all();
    let mut stream = reader.into_inner();
    if reply.is_empty() {
        return Some(stream);
    }
    let _ = write!(stream, "HTTP/1.1 {reply}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    None
}
