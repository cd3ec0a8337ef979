//! A model service on loopback that speaks OpenAI's Chat Completions and answers by a list.
//!
//! Guarantees: one answer a request, in order; a request is counted when it was read whole;
//! behind the end of the list it answers 500, so that a request too many is seen.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::PATIENCE;

/// One answer.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A text.
    Say(&'static str),
    /// A call of one tool.
    Call(&'static str, Value),
    /// Calls of several tools at once.
    Calls(Vec<(&'static str, Value)>),
    /// A status with further header lines and an error text.
    Status(u16, &'static str, &'static str),
    /// A text whose stream breaks off.
    Cut(&'static str),
    /// Begins with a text and then says nothing more.
    Hang(&'static str),
    /// Something that is no HTTP.
    Garbage,
}

/// A server. Dropped, it is gone, with its connections.
#[derive(Debug)]
pub struct Server {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    replies: VecDeque<Reply>,
    requests: Vec<Value>,
    streams: Vec<TcpStream>,
    closed: bool,
}

impl Server {
    /// Starts a server with these answers.
    pub fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        shared.lock().replies.extend(replies);
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let mut state = serving.lock();
                if state.closed {
                    return;
                }
                state.streams.push(stream.try_clone().unwrap());
                drop(state);
                let serving = Arc::clone(&serving);
                std::thread::spawn(move || serving.answer(stream));
            }
        });
        Self { port, shared }
    }

    /// `base_url` for a provider.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// Adds an answer.
    pub fn then(&self, reply: Reply) {
        self.shared.lock().replies.push_back(reply);
    }

    /// Takes back the answers that nobody has had.
    pub fn forget(&self) {
        self.shared.lock().replies.clear();
    }

    /// The bodies of the requests so far.
    pub fn requests(&self) -> Vec<Value> {
        self.shared.lock().requests.clone()
    }

    /// Waits until that many requests were read.
    pub fn asked(&self, count: usize) {
        let state = self.shared.lock();
        let few = |state: &mut State| state.requests.len() < count;
        let waited = self.shared.changed.wait_timeout_while(state, PATIENCE, few);
        let came = waited.unwrap_or_else(PoisonError::into_inner).0.requests.len();
        assert!(came >= count, "{came} of {count} requests came within {PATIENCE:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let streams = {
            let mut state = self.shared.lock();
            state.closed = true;
            std::mem::take(&mut state.streams)
        };
        for stream in streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, mut stream: TcpStream) {
        let Some(body) = read_request(&stream) else { return };
        let reply = {
            let mut state = self.lock();
            state.requests.push(body);
            self.changed.notify_all();
            state.replies.pop_front()
        };
        let reply = reply.unwrap_or(Reply::Status(500, "", "the list of answers is at its end"));
        // Whoever asked may be gone.
        let _ = write_reply(&mut stream, &reply);
        if matches!(reply, Reply::Hang(_)) {
            // Until the other side, or the server, closes it.
            let _ = stream.read(&mut [0; 1]);
        }
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn read_request(stream: &TcpStream) -> Option<Value> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

fn write_reply(stream: &mut TcpStream, reply: &Reply) -> std::io::Result<()> {
    match reply {
        Reply::Garbage => stream.write_all(b"I speak no such protocol\n"),
        Reply::Status(status, headers, text) => {
            let body = json!({"error": {"message": text, "type": "test"}}).to_string();
            write!(
                stream,
                "HTTP/1.1 {status} Told\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
        }
        Reply::Say(text) => {
            events(stream, &[delta(json!({"role": "assistant", "content": text}), Value::Null)])?;
            events(stream, &[delta(json!({}), json!("stop")), usage()])?;
            stream.write_all(b"data: [DONE]\n\n")
        }
        Reply::Call(name, arguments) => write_calls(stream, &[(*name, arguments.clone())]),
        Reply::Calls(calls) => write_calls(stream, calls),
        Reply::Cut(text) | Reply::Hang(text) => {
            events(stream, &[delta(json!({"role": "assistant", "content": text}), Value::Null)])
        }
    }?;
    stream.flush()
}

fn write_calls(stream: &mut TcpStream, calls: &[(&str, Value)]) -> std::io::Result<()> {
    let one = |(index, (name, arguments)): (usize, &(&str, Value))| {
        let function = json!({"name": name, "arguments": arguments.to_string()});
        json!({"index": index, "id": format!("call_{}", index + 1), "type": "function", "function": function})
    };
    let calls: Vec<Value> = calls.iter().enumerate().map(one).collect();
    events(stream, &[delta(json!({"role": "assistant", "tool_calls": calls}), Value::Null)])?;
    events(stream, &[delta(json!({}), json!("tool_calls")), usage()])?;
    stream.write_all(b"data: [DONE]\n\n")
}

fn delta(delta: Value, finish: Value) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "test-model",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}

fn usage() -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "test-model", "choices": [],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}})
}

/// The first events of an answer bring its head.
fn events(stream: &mut TcpStream, events: &[Value]) -> std::io::Result<()> {
    if events[0]["choices"][0]["delta"]["role"].is_string() {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
    }
    for event in events {
        write!(stream, "data: {event}\n\n")?;
    }
    Ok(())
}
