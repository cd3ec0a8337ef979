//! Whole processes of `amplifier` against a server on loopback that answers at once.
//!
//! Guarantees: the server speaks the chat completions wire, counts its own time
//! from the last byte of a request to the last of its answer, and ends with the
//! measurement. Figures are beyond that time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::report::Report;
use super::{TempFolder, process};
use crate::error::Error;

/// A client that sends nothing for this long is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Fills the report.
pub(crate) fn measure(runs: usize, report: &mut Report) -> Result<(), Error> {
    let program = process::release("amplifier-cli", "amplifier")?;
    let parent = super::folder()?;
    let (mut walls, mut cpus, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    let mut first_request = Vec::new();
    for _ in 0..runs {
        let server = Server::start()?;
        let folder = TempFolder::new(&parent)?;
        match process::measure(&command(&program, folder.path(), &server)?) {
            Ok(cost) => {
                walls.push(cost.wall_ms - server.own_ms());
                cpus.push(cost.cpu_ms);
                peaks.push(cost.peak_mib);
            }
            Err(error) => {
                report.fail("run through HTTP", error);
                return Ok(());
            }
        }
        let sizes = server.sizes();
        if sizes.len() != 2 {
            report.fail("run through HTTP", format!("{} requests instead of 2", sizes.len()));
            return Ok(());
        }
        first_request.push(sizes[0] as f64);
    }
    report.row("run with one tool call through HTTP: wall", "ms", Some(80.0), walls);
    report.row("run with one tool call through HTTP: CPU", "ms", None, cpus);
    report.row("run with one tool call through HTTP: peak memory", "MiB", None, peaks);
    report.row("request for \"hi\", default bundle", "bytes", Some(4_096.0), first_request);
    Ok(())
}

/// The default bundle with a provider from the settings.
fn command(program: &Path, folder: &Path, server: &Server) -> Result<Command, Error> {
    let (home, project) = (folder.join("home"), folder.join("project"));
    for path in [&home, &project] {
        std::fs::create_dir_all(path).map_err(Error::file(path))?;
    }
    let settings = home.join("settings.yaml");
    let text = format!(
        "config:\n  providers:\n    - module: provider-openai-compatible\n      \
         config: {{base_url: \"http://{}/v1\", default_model: bench}}\n",
        server.address
    );
    std::fs::write(&settings, text).map_err(Error::file(&settings))?;
    let mut command = Command::new(program);
    command.current_dir(&project).env_clear().env("HOME", folder).env("AMPLIFIER_HOME", &home);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args(["run", "hi"]);
    Ok(command)
}

/// First a call of `glob`, then an answer.
const ANSWERS: [&str; 2] = [
    concat!(
        "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"model\":\"bench\",\"choices\":[{\"index\":0,",
        "\"delta\":{\"role\":\"assistant\",\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"type\":\"function\",",
        "\"function\":{\"name\":\"glob\",\"arguments\":\"{\\\"pattern\\\":\\\"*\\\"}\"}}]}}]}\n\n",
        "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"model\":\"bench\",\"choices\":[{\"index\":0,",
        "\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n"
    ),
    concat!(
        "data: {\"id\":\"2\",\"object\":\"chat.completion.chunk\",\"model\":\"bench\",\"choices\":[{\"index\":0,",
        "\"delta\":{\"role\":\"assistant\",\"content\":\"done\"}}]}\n\n",
        "data: {\"id\":\"2\",\"object\":\"chat.completion.chunk\",\"model\":\"bench\",\"choices\":[{\"index\":0,",
        "\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
    ),
];

struct Server {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    own_micros: AtomicU64,
    /// Bodies in bytes, in the order in which they came. Held to push or copy.
    sizes: Mutex<Vec<usize>>,
}

impl Server {
    fn start() -> Result<Self, Error> {
        let start = |source| Error::Start { command: "server on loopback".into(), source };
        let listener = TcpListener::bind("127.0.0.1:0").map_err(start)?;
        let address = listener.local_addr().map_err(start)?;
        let shared = Arc::<Shared>::default();
        let state = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if state.stop.load(Ordering::Acquire) {
                    return;
                }
                if let Ok(stream) = stream {
                    // A client that goes away ends its own connection only.
                    let _ = serve(stream, &state);
                }
            }
        });
        Ok(Self { address, shared, thread: Some(thread) })
    }

    fn own_ms(&self) -> f64 {
        self.shared.own_micros.load(Ordering::Acquire) as f64 / 1_000.0
    }

    fn sizes(&self) -> Vec<usize> {
        self.shared.sizes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Wakes the listener, so that it sees the mark.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers the requests of one connection until it is closed.
fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some(length) = headers(&mut reader)? {
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let began = Instant::now();
        let turn = {
            let mut sizes = shared.sizes.lock().unwrap_or_else(PoisonError::into_inner);
            sizes.push(length);
            sizes.len() - 1
        };
        let answer = ANSWERS[turn.min(ANSWERS.len() - 1)];
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        writer.write_all([head.as_bytes(), answer.as_bytes()].concat().as_slice())?;
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        shared.own_micros.fetch_add(micros, Ordering::AcqRel);
    }
    Ok(())
}

/// Reads a request's head; returns the length of its body, `None` at the end of the connection.
fn headers(reader: &mut impl BufRead) -> std::io::Result<Option<usize>> {
    let mut length = 0;
    let mut line = String::new();
    let mut any = false;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let text = line.trim();
        if text.is_empty() && any {
            return Ok(Some(length));
        }
        any = true;
        if let Some((name, value)) = text.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_answers_in_turn_and_counts_bodies() {
        let server = Server::start().unwrap();
        let mut stream = TcpStream::connect(server.address).unwrap();
        for (body, expect) in [("{}", "glob"), ("{\"a\":1}", "done")] {
            let request = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = [0; 4_096];
            let read = stream.read(&mut answer).unwrap();
            assert!(String::from_utf8_lossy(&answer[..read]).contains(expect));
        }
        drop(stream);
        assert_eq!(server.sizes(), [2, 7]);
    }
}
