//! One command, from its start to its result.
//!
//! Guarantees: the result comes at the latest when the time-out and the grace of its tree have
//! passed; a background process that keeps the output open does not delay it by more than
//! [`DRAIN`]; if the future is dropped, the tree is killed.

use std::ffi::{OsStr, OsString};
use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::Clock;
use amplifier_core::module::tool::ToolError;
use amplifier_core::until::until;
use amplifier_foundation::fs::tool_io::{self, Kind};
use amplifier_foundation::process::Tree;
use process_wrap::tokio::{ChildWrapper, CommandWrap, ProcessSession};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::task::AbortHandle;

use super::environment::Variables;
use super::gate::Gate;
use super::output::Capture;
use super::sandbox;

/// How long output is waited for once the shell itself has ended.
const DRAIN: Duration = Duration::from_millis(200);
/// How long a killed shell is waited for.
const COLLECT: Duration = Duration::from_secs(2);
const READ_BYTES: usize = 32 * 1024;

/// What shall run.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) program: Program,
    pub(crate) cwd: PathBuf,
    pub(crate) variables: Variables,
    /// `Some`: inside the sandbox, writing only there.
    pub(crate) writable: Option<Vec<PathBuf>>,
    pub(crate) timeout: Duration,
}

/// What a program is made of.
#[derive(Debug)]
pub(crate) enum Program {
    /// A text that a shell reads.
    Shell(String),
    /// A program and its arguments, and what it can read. No shell reads them.
    Argv { argv: Vec<OsString>, input: Vec<u8> },
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) output: String,
    pub(crate) ended: Ended,
    /// True if a part of its tree runs on.
    pub(crate) background: bool,
}

/// How the shell ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Exit(ExitStatus),
    TimedOut,
}

/// Runs a command; its processes belong to `tree`.
pub(crate) async fn run(
    request: Request,
    mut tree: Tree,
    clock: &Arc<dyn Clock>,
) -> Result<Report, ToolError> {
    let deadline = clock.monotonic().saturating_add(request.timeout);
    tree.starting();
    let too_late = || ToolError::Refused("the command could not be started in time".into());
    let starting = until(start(request, tree.needs_gate()), clock.sleep_until(deadline)).await;
    let Started { child, pipe, gate, input } = starting.ok_or_else(too_late)??;
    if let Some(id) = child.id() {
        let recorded = until(tree.started(id), clock.sleep_until(deadline)).await.ok_or_else(too_late)?;
        recorded.map_err(|error| ToolError::failed("recording the command", error))?;
    }
    let _feeding = feed(gate, input);
    let mut running = Running { child, pipe: Some(pipe), capture: Capture::default(), status: None };
    let in_time = until(running.pump(), clock.sleep_until(deadline)).await;
    let ended = match in_time {
        Some(status) => {
            Ended::Exit(status.map_err(|error| ToolError::failed("waiting for the shell", error))?)
        }
        None => {
            let reading = async {
                let _ = running.pump().await;
                std::future::pending::<()>().await;
            };
            until(reading, tree.end()).await;
            until(running.pump(), clock.sleep(COLLECT)).await;
            Ended::TimedOut
        }
    };
    tree.collected();
    until(running.drain(), clock.sleep(DRAIN)).await;
    if let Some(pipe) = running.pipe.take() {
        tree.processes().drain(discard(pipe));
    }
    let background = tree.release().await;
    Ok(Report { output: running.capture.into_text(), ended, background })
}

/// A shell that runs, or waits at its gate.
struct Started {
    child: Box<dyn ChildWrapper>,
    pipe: Receiver,
    gate: Option<Gate>,
    /// What it can read, and where that is written unless it is behind the gate.
    input: Option<(Vec<u8>, Option<PipeWriter>)>,
}

/// Opens the gate, and writes what the program can read for as long as the result lives.
fn feed(gate: Option<Gate>, input: Option<(Vec<u8>, Option<PipeWriter>)>) -> Option<Feeding> {
    let behind = gate.map(Gate::open);
    let (bytes, pipe) = input?;
    let mut pipe = Sender::from_owned_fd(OwnedFd::from(pipe.or(behind)?)).ok()?;
    // A program that reads nothing of it has its reasons.
    let writing = tokio::spawn(async move { drop(pipe.write_all(&bytes).await) });
    Some(Feeding(writing.abort_handle()))
}

/// Writes until it is dropped.
struct Feeding(AbortHandle);

impl Drop for Feeding {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn start(request: Request, gated: bool) -> Result<Started, ToolError> {
    let failed = |error: io::Error| ToolError::failed("starting the shell", error);
    let (reader, writer) = io::pipe().map_err(failed)?;
    let pipe = Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(failed)?;
    let second = writer.try_clone().map_err(failed)?;
    let shell = shell();
    let (argv, input) = match request.program {
        Program::Shell(text) => (vec![shell.into(), "-c".into(), text.into()], None),
        Program::Argv { argv, input } => (argv, Some(input)),
    };
    let (program, arguments) =
        argv.split_first().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let mut command = Command::new(if gated { OsStr::new(shell) } else { program });
    command.current_dir(&request.cwd).stdin(Stdio::null()).stdout(writer).stderr(second);
    request.variables.remove.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.envs(request.variables.set);
    let mut own_pipe = None;
    let gate = match gated {
        true => Some(Gate::shut(&argv, input.is_some(), &mut command).map_err(failed)?),
        false => {
            command.args(arguments);
            if input.is_some() {
                let (reader, writer) = io::pipe().map_err(failed)?;
                command.stdin(reader);
                own_pipe = Some(writer);
            }
            None
        }
    };
    let mut command = CommandWrap::from(tokio::process::Command::from(command));
    command.wrap(ProcessSession);
    let child = match request.writable {
        None => command.spawn().map_err(failed)?,
        Some(writable) => sandbox::spawn(command, writable).await.map_err(|error| {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<sandbox::Unavailable>()) {
                Some(unavailable) => ToolError::Refused(unavailable.to_string()),
                None => failed(error),
            }
        })?,
    };
    Ok(Started { child, pipe, gate, input: input.map(|bytes| (bytes, own_pipe)) })
}

fn shell() -> &'static str {
    let bash = "/bin/bash";
    if matches!(tool_io::kind(Path::new(bash)), Ok(Kind::File(_))) { bash } else { "sh" }
}

async fn discard(mut pipe: Receiver) {
    let mut buffer = vec![0; READ_BYTES];
    while matches!(pipe.read(&mut buffer).await, Ok(1..)) {}
}

struct Running {
    child: Box<dyn ChildWrapper>,
    /// `None` once everybody has closed the other end.
    pipe: Option<Receiver>,
    capture: Capture,
    status: Option<ExitStatus>,
}

impl Running {
    /// Reads output until the shell ends. Nothing is lost if the future is dropped.
    async fn pump(&mut self) -> io::Result<ExitStatus> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            if let Some(status) = self.status {
                return Ok(status);
            }
            // The wrapper's own wait would also wait for orphans, where this process adopts them.
            let shell = self.child.inner_mut().wait();
            let Some(pipe) = &mut self.pipe else {
                self.status = Some(shell.await?);
                continue;
            };
            tokio::select! {
                status = shell => self.status = Some(status?),
                read = pipe.read(&mut buffer) => self.took(&buffer, read),
            }
        }
    }

    /// Reads output until everybody has closed the other end.
    async fn drain(&mut self) {
        let mut buffer = vec![0; READ_BYTES];
        while let Some(pipe) = &mut self.pipe {
            let read = pipe.read(&mut buffer).await;
            self.took(&buffer, read);
        }
    }

    fn took(&mut self, buffer: &[u8], read: io::Result<usize>) {
        match read {
            Ok(0) | Err(_) => self.pipe = None,
            Ok(len) => self.capture.push(&buffer[..len]),
        }
    }
}
