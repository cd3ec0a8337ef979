//! A crew: how fast it gets through issues, its daemon as a whole process, and its dashboard.
//!
//! Guarantees: the daemon has a home of its own, listens at loopback, and is ended with the measurement.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::report::Report;
use super::streams::Place;
use super::{TempFolder, folder, library, process};
use crate::error::Error;
use crate::run;

/// Issues that are stored, and in short.
const STORED: usize = 100_000;
const FEW: usize = 10_000;
/// Issues that one import takes.
const AT_ONCE: usize = 10_000;
/// A file system in memory, where Linux has it.
const MEMORY: &str = "/dev/shm";
/// Of these so many are not done.
const OPEN: usize = 1_000;
/// Who reads the event stream at once, and how many events each of them is told.
const READERS: usize = 200;
const EVENTS: usize = 300;
const POOLS: &str = "worker_pools: [{name: workers, worker_bundle: ./worker.md, max_concurrent: 4}]\n";
const WORKER: &str = "---\nbundle: {name: worker}\nsession: {orchestrator: loop-basic, context: context-simple}\n\
    providers: [{module: provider-scripted, config: {script: [], default: done}}]\n---\nWork.\n";

/// Fills the report.
pub(crate) fn measure(runs: usize, report: &mut Report) -> Result<(), Error> {
    library::read("speed", "foreman", runs, report)?;
    let program = process::release("foreman", "foreman")?;
    in_memory(&program, runs, report)?;
    let home = TempFolder::new(&folder()?)?;
    let stored = if report.quick { FEW } else { STORED };
    prepare(&program, home.path(), stored)?;
    let token = run::read(command(&program, home.path()).args(["token", "add", "bench", "--role", "write"]))?;
    let token = token.trim().to_owned();
    let (mut starts, mut adds, mut pages, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut works, mut streams) = (Vec::new(), Vec::new());
    for _ in 0..runs.min(5) {
        let began = Instant::now();
        let mut daemon = Daemon::start(&program, home.path())?;
        starts.push(began.elapsed().as_secs_f64() * 1e3);
        for _ in 0..5 {
            let mut add = command(&program, home.path());
            add.args(["add", "Say hello", "--json"]);
            adds.push(process::measure(&add)?.wall_ms);
            let added = Instant::now();
            daemon.until("running")?;
            works.push(added.elapsed().as_secs_f64() * 1e3);
            daemon.until("completed")?;
        }
        let (ms, size) = daemon.page(&program, home.path())?;
        pages.push(ms);
        bytes.push(size / 1_024.0);
        let place = Place { address: daemon.address.clone(), token: token.clone() };
        let times = place.spread("i0", READERS, EVENTS, Duration::from_millis(10))?;
        streams.extend(times.get(times.len() * 99 / 100));
    }
    let what = if report.quick { "10,000" } else { "100,000" };
    report.row(&format!("foreman start to ready, {what} stored issues"), "ms", Some(1_000.0), starts);
    report.row("foreman add beside a daemon, flushes included", "ms", None, adds);
    report.row("from that until its worker runs, as the daemon's log tells", "ms", Some(50.0), works);
    report.row("200 event streams, 100 events a second: p99", "ms", Some(50.0), streams);
    report.row("dashboard, first page", "ms", Some(50.0), pages);
    report.row("dashboard, first page: size without compression", "KiB", Some(100.0), bytes);
    Ok(())
}

/// What `foreman add` takes where a flush costs nothing.
fn in_memory(program: &Path, runs: usize, report: &mut Report) -> Result<(), Error> {
    let what = "foreman add beside a daemon, home in memory";
    if !Path::new(MEMORY).is_dir() {
        report.skip(what, format!("{MEMORY} is not there"));
        return Ok(());
    }
    let home = TempFolder::new(Path::new(MEMORY))?;
    prepare(program, home.path(), 0)?;
    let mut daemon = Daemon::start(program, home.path())?;
    let mut adds = Vec::new();
    for _ in 0..=runs {
        let mut add = command(program, home.path());
        add.args(["add", "Say hello", "--json"]);
        adds.push(process::measure(&add)?.wall_ms);
        daemon.until("completed")?;
    }
    report.row(what, "ms", Some(10.0), adds.split_off(1));
    Ok(())
}

/// A command in the project of this home, which sees nothing else.
fn command(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(home.join("project")).env_clear().env("HOME", home);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn prepare(program: &Path, home: &Path, stored: usize) -> Result<(), Error> {
    let project = home.join("project");
    std::fs::create_dir(&project).map_err(Error::file(&project))?;
    let write = |name: &str, text: &str| {
        let path = project.join(name);
        std::fs::write(&path, text).map_err(Error::file(&path))
    };
    write("foreman.yaml", POOLS)?;
    write("worker.md", WORKER)?;
    for first in (0..stored).step_by(AT_ONCE) {
        let line = |n: usize| {
            let status = if n < OPEN { "blocked" } else { "closed" };
            format!("{}\n", json!({"id": format!("i{n}"), "title": format!("number {n}"), "status": status}))
        };
        write("some.jsonl", &(first..first + AT_ONCE).map(line).collect::<String>())?;
        run::read(command(program, home).args(["import", "some.jsonl"]))?;
    }
    Ok(())
}

/// A daemon that is ready; it ends with this.
struct Daemon {
    child: Child,
    address: String,
    /// What it says. Kept open: it says more.
    said: Option<Lines<BufReader<ChildStdout>>>,
}

impl Daemon {
    fn start(program: &Path, home: &Path) -> Result<Self, Error> {
        let mut command = command(program, home);
        command.args(["start", "--foreground", "--json", "--listen", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let spawned = command.spawn();
        let mut child = spawned.map_err(|source| Error::Start { command: run::line(&command), source })?;
        let said = child.stdout.take().map(|out| BufReader::new(out).lines());
        let mut daemon = Self { child, address: String::new(), said };
        while let Some(Ok(line)) = daemon.said.as_mut().and_then(Iterator::next) {
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            // Told last, once the pools work.
            if let Some(address) = line.get("address").and_then(Value::as_str) {
                daemon.address = address.to_owned();
                break;
            }
        }
        Ok(daemon)
    }

    /// Waits until it tells that a session is so.
    fn until(&mut self, state: &str) -> Result<(), Error> {
        while let Some(Ok(line)) = self.said.as_mut().and_then(Iterator::next) {
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            if line.get("type").and_then(Value::as_str) == Some("session")
                && line.get("state").and_then(Value::as_str) == Some(state)
            {
                return Ok(());
            }
        }
        Err(Error::Format { what: "the daemon's log".to_owned(), message: format!("no session is {state}") })
    }

    /// Milliseconds and bytes of the first page.
    fn page(&mut self, program: &Path, home: &Path) -> Result<(f64, f64), Error> {
        let link = run::read(command(program, home).args(["open", "--json"]))?;
        let link: Value = serde_json::from_str(&link).unwrap_or_default();
        let url = link.get("url").and_then(Value::as_str).unwrap_or_default();
        let path = url.splitn(4, '/').nth(3).unwrap_or_default();
        let answer = self.get(&format!("/{path}"), "")?;
        let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap_or_default();
        let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap_or_default());
        let began = Instant::now();
        let page = self.get("/", &cookie)?;
        let ms = began.elapsed().as_secs_f64() * 1e3;
        if !page.starts_with("HTTP/1.1 200") {
            let message = page.lines().next().unwrap_or_default().to_owned();
            return Err(Error::Format { what: "the dashboard".to_owned(), message });
        }
        Ok((ms, page.len() as f64))
    }

    fn get(&self, path: &str, header: &str) -> Result<String, Error> {
        let failed = |source| Error::Start { command: format!("GET {path}"), source };
        let mut stream = TcpStream::connect(&self.address).map_err(failed)?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(failed)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(failed)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
