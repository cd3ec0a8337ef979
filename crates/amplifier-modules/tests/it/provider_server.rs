//! An HTTP server on loopback that answers as a test says, byte for byte.
//!
//! One listener a test; each connection carries one request. Every read has a
//! deadline of ten seconds, and the thread ends with the server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

/// What a client sent.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Method, path and headers, as they came.
    pub head: String,
    /// The body as JSON; `null` if there was none.
    pub body: Value,
    /// The body as it came.
    pub raw: String,
}

impl Seen {
    /// The value of a header; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
        line.map_or("", |line| line[name.len() + 1..].trim())
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or("")
    }
}

/// What a client gets.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    pieces: Vec<Vec<u8>>,
    end: End,
}

/// What comes behind the last piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The end of the body, as HTTP knows it.
    Clean,
    /// A closed connection in the middle of the body.
    Broken,
    /// Nothing, until the client goes.
    Silence,
    /// Not even a head.
    Nothing,
}

impl Reply {
    /// A body in one piece.
    pub fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::status(200, body)
    }

    /// A body in one piece under another status.
    pub fn status(status: u16, body: impl AsRef<[u8]>) -> Self {
        Self { status, headers: Vec::new(), pieces: vec![body.as_ref().to_vec()], end: End::Clean }
    }

    /// A body in pieces that arrive apart: each is a chunk of its own.
    pub fn pieces(pieces: Vec<Vec<u8>>) -> Self {
        Self { status: 200, headers: Vec::new(), pieces, end: End::Clean }
    }

    /// No answer at all.
    pub fn never() -> Self {
        Self { end: End::Nothing, ..Self::ok("") }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The connection breaks behind the last piece.
    pub fn broken(mut self) -> Self {
        self.end = End::Broken;
        self
    }

    /// The connection stays open and silent behind the last piece.
    pub fn silent(mut self) -> Self {
        self.end = End::Silence;
        self
    }

    /// True if the client went away while nothing more came.
    fn send(&self, stream: &mut TcpStream) -> std::io::Result<bool> {
        if self.end == End::Nothing {
            return wait_for_close(stream);
        }
        let mut out = format!("HTTP/1.1 {} X\r\ntransfer-encoding: chunked\r\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            write!(out, "{name}: {value}\r\n")?;
        }
        out.extend_from_slice(b"\r\n");
        for piece in self.pieces.iter().filter(|piece| !piece.is_empty()) {
            write!(out, "{:x}\r\n", piece.len())?;
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        }
        if self.end == End::Clean {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        stream.write_all(&out)?;
        stream.flush()?;
        if self.end == End::Silence { wait_for_close(stream) } else { Ok(false) }
    }
}

fn wait_for_close(stream: &mut TcpStream) -> std::io::Result<bool> {
    match stream.read(&mut [0]) {
        Ok(count) => Ok(count == 0),
        Err(error) => Ok(error.kind() == std::io::ErrorKind::ConnectionReset),
    }
}

type Script = dyn Fn(usize, &Seen) -> Reply + Send + Sync;

/// A listener and what it has seen.
pub struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    left: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers the request with number `n`, from 0, by `script(n, request)`.
    pub fn new(script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let script: Arc<Script> = Arc::new(script);
        let left = Arc::new(AtomicUsize::new(0));
        let mut server = Self { address, seen, stop, left, thread: None };
        let shared = (Arc::clone(&server.seen), Arc::clone(&server.stop), Arc::clone(&server.left));
        let serve = move || serve(&listener, &script, &shared.0, &shared.1, &shared.2);
        server.thread = Some(std::thread::spawn(serve));
        server
    }

    /// Gives everybody the same.
    pub fn always(reply: Reply) -> Self {
        Self::new(move |_, _| reply.clone())
    }

    /// `http://127.0.0.1:port`, and a path behind it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Server {
    /// Ends the server; how many clients went away while it was silent.
    pub fn finish(mut self) -> usize {
        self.end();
        self.left.load(Ordering::SeqCst)
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn serve(
    listener: &TcpListener,
    script: &Arc<Script>,
    seen: &Mutex<Vec<Seen>>,
    stop: &AtomicBool,
    left: &AtomicUsize,
) {
    for stream in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(mut stream) = stream else { continue };
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        let Some(request) = read(&mut stream) else { continue };
        let number = {
            let mut all = seen.lock().unwrap();
            all.push(request.clone());
            all.len() - 1
        };
        if script(number, &request).send(&mut stream).unwrap_or(false) {
            left.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let mut seen = Seen { head, body: Value::Null, raw: String::new() };
    let length = seen.header("content-length").parse().unwrap_or(0);
    while bytes.len() < head_end + length {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
    }
    seen.body = serde_json::from_slice(&bytes[head_end..]).unwrap_or(Value::Null);
    seen.raw = String::from_utf8_lossy(&bytes[head_end..]).into_owned();
    Some(seen)
}
