//! The start of a program: everything before it does anything.
//!
//! Guarantees: where the tree needs a gate the program waits behind it; it leads a process session
//! of its own; it has the pipes that are asked for and no others of this process.

use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use amplifier_core::Clock;
use amplifier_core::clock::MonoTime;
use amplifier_core::until::until;
use amplifier_foundation::fs::tool_io::{self, Kind};
use amplifier_foundation::process::Tree;
use process_wrap::tokio::{ChildWrapper, CommandWrap, ProcessSession};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::confinement::{self, Confinement, Enforced};
use super::error::RunError;
use super::gate::Gate;
use super::variables::Variables;

/// What shall run.
#[derive(Debug)]
pub struct Request {
    /// The program.
    pub program: Program,
    /// Its working directory.
    pub cwd: PathBuf,
    /// Changes to the variables that it inherits.
    pub variables: Variables,
    /// What it may do.
    pub confinement: Confinement,
    /// How long [`run()`](super::run()) waits for its end, and [`start()`](super::start()) for its beginning.
    pub timeout: Duration,
}

/// What a program is made of.
#[derive(Debug)]
pub enum Program {
    /// A text that a shell reads.
    Shell(String),
    /// A program and its arguments. No shell reads them.
    Argv(Vec<OsString>),
}

/// The pipes of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pipes {
    /// It reads from a pipe, else nothing.
    pub(super) input: bool,
    /// Its errors have a pipe of their own, else that of its output.
    pub(super) errors: bool,
}

/// A program that has begun.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) child: Box<dyn ChildWrapper>,
    pub(super) input: Option<Sender>,
    pub(super) output: Receiver,
    pub(super) errors: Option<Receiver>,
    pub(super) enforced: Enforced,
}

/// A program that runs, or waits at its gate.
struct Spawned {
    child: Box<dyn ChildWrapper>,
    gate: Option<Gate>,
    /// What writes to it, unless that is behind the gate.
    input: Option<PipeWriter>,
    output: Receiver,
    errors: Option<Receiver>,
    enforced: Enforced,
}

/// Starts a program, records it, and lets it begin, all before the deadline.
pub(super) async fn launch(
    request: Request,
    pipes: Pipes,
    tree: &mut Tree,
    clock: &dyn Clock,
    deadline: MonoTime,
) -> Result<Launched, RunError> {
    tree.starting();
    let spawning = spawn(request, pipes, tree.needs_gate());
    let spawned = until(spawning, clock.sleep_until(deadline)).await.ok_or(RunError::TooLate)??;
    if let Some(id) = spawned.child.id() {
        let recording = until(tree.started(id), clock.sleep_until(deadline)).await;
        recording.ok_or(RunError::TooLate)?.map_err(RunError::Record)?;
    }
    let behind = spawned.gate.map(Gate::open);
    let input = spawned.input.or(behind).filter(|_| pipes.input);
    let input = input.map(|pipe| Sender::from_owned_fd(OwnedFd::from(pipe)));
    let input = input.transpose().map_err(RunError::Start)?;
    let Spawned { child, output, errors, enforced, .. } = spawned;
    Ok(Launched { child, input, output, errors, enforced })
}

async fn spawn(request: Request, pipes: Pipes, gated: bool) -> Result<Spawned, RunError> {
    let prepared = prepare(request.program, pipes, gated).map_err(RunError::Start)?;
    let Prepared { mut command, gate, input, output, errors } = prepared;
    command.current_dir(&request.cwd);
    request.variables.apply(&mut command);
    let mut command = CommandWrap::from(tokio::process::Command::from(command));
    command.wrap(ProcessSession);
    let spawning = confinement::spawn(command, request.confinement);
    let (child, enforced) = spawning.await.map_err(RunError::starting)?;
    Ok(Spawned { child, gate, input, output, errors, enforced })
}

struct Prepared {
    command: Command,
    gate: Option<Gate>,
    input: Option<PipeWriter>,
    output: Receiver,
    errors: Option<Receiver>,
}

fn prepare(program: Program, pipes: Pipes, gated: bool) -> io::Result<Prepared> {
    let shell = shell();
    let argv = match program {
        Program::Shell(text) => vec![shell.into(), "-c".into(), text.into()],
        Program::Argv(argv) => argv,
    };
    let (first, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(if gated { OsStr::new(shell) } else { first });
    let (output, writer) = io::pipe()?;
    let errors = match pipes.errors {
        true => {
            let (errors, writer) = io::pipe()?;
            command.stderr(writer);
            Some(receiver(errors)?)
        }
        false => {
            command.stderr(writer.try_clone()?);
            None
        }
    };
    command.stdin(Stdio::null()).stdout(writer);
    let (mut gate, mut input) = (None, None);
    if gated {
        gate = Some(Gate::shut(&argv, pipes.input, &mut command)?);
    } else {
        command.args(arguments);
        if pipes.input {
            let (reader, writer) = io::pipe()?;
            command.stdin(reader);
            input = Some(writer);
        }
    }
    Ok(Prepared { command, gate, input, output: receiver(output)?, errors })
}

fn receiver(pipe: PipeReader) -> io::Result<Receiver> {
    Receiver::from_owned_fd(OwnedFd::from(pipe))
}

/// Where a program is: below `cwd`, or in one of the folders of `PATH` if its name has no slash.
pub fn find_program(name: &str, cwd: &Path) -> Option<PathBuf> {
    let is_file = |path: &Path| matches!(tool_io::kind(path), Ok(Kind::File(_)));
    if name.contains('/') {
        let path = cwd.join(name);
        return is_file(&path).then_some(path);
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| is_file(path))
}

fn shell() -> &'static str {
    let bash = "/bin/bash";
    if matches!(tool_io::kind(Path::new(bash)), Ok(Kind::File(_))) { bash } else { "sh" }
}
