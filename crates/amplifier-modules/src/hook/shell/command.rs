//! One command of a hook, from its start to what it said.
//!
//! Guarantees: it reads its event on its input, gets no variable that looks like a secret, and is ended with its
//! whole tree when its time has passed; what it prints is bounded while it is read.

use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use amplifier_core::SessionEnv;
use amplifier_core::until::until;
use amplifier_foundation::process::Processes;
use amplifier_sandbox::{Capture, Confinement, Program, Request, RunError, Variables, start};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::Sender;

/// How long output is waited for once the command itself has ended.
const DRAIN: Duration = Duration::from_millis(200);
const READ_BYTES: usize = 16 * 1024;

/// What came of a command.
#[derive(Debug)]
pub(super) enum Ended {
    /// Its exit code, and what it printed. No code: a signal has ended it.
    Exit {
        code: Option<i32>,
        output: String,
        errors: String,
    },
    TimedOut,
    /// It has not run, and why.
    NotRun(String),
}

/// Runs a shell's line in the session's directory.
pub(super) async fn run(
    env: &SessionEnv,
    line: &str,
    input: Vec<u8>,
    passthrough: &[String],
    timeout: Duration,
) -> Ended {
    match attempt(env, line, input, passthrough, timeout).await {
        Ok(Some((status, output, errors))) => Ended::Exit { code: status.code(), output, errors },
        Ok(None) => Ended::TimedOut,
        Err(error) => Ended::NotRun(amplifier_core::causes::chain(&error)),
    }
}

async fn attempt(
    env: &SessionEnv,
    line: &str,
    input: Vec<u8>,
    passthrough: &[String],
    timeout: Duration,
) -> Result<Option<(ExitStatus, String, String)>, RunError> {
    let clock = env.clock.as_ref();
    let deadline = clock.monotonic().saturating_add(timeout);
    let tree = Processes::of(env).begin()?;
    let variables = Variables::of_child(env, passthrough, &tree.mark())
        .with("CLAUDE_PROJECT_DIR", env.cwd.as_os_str())
        .with("AMPLIFIER_PROJECT_DIR", env.cwd.as_os_str())
        .with("AMPLIFIER_HOOKS_DIR", env.cwd.join(".amplifier/hooks"));
    let request = Request {
        program: Program::Shell(line.to_owned()),
        cwd: env.cwd.clone(),
        variables,
        confinement: Confinement::none(),
        timeout,
    };
    let mut running = start(request, tree, clock).await?;
    let (output, errors) = (Mutex::new(Capture::default()), Mutex::new(Capture::default()));
    let (sender, from, errors_from) = (running.take_input(), running.take_output(), running.take_errors());
    let mut talking = Box::pin(async {
        tokio::join!(feed(sender, input), read(from, &output), read(errors_from, &errors));
    });
    let mut silent = false;
    let ending = async {
        loop {
            tokio::select! {
                status = running.wait() => return status,
                () = &mut talking, if !silent => silent = true,
            }
        }
    };
    let status = match until(Box::pin(ending), clock.sleep_until(deadline)).await {
        Some(status) => status?,
        None => {
            running.end(clock).await;
            return Ok(None);
        }
    };
    if !silent {
        until(&mut talking, clock.sleep(DRAIN)).await;
    }
    drop(talking);
    running.release().await;
    let text =
        |capture: Mutex<Capture>| capture.into_inner().unwrap_or_else(PoisonError::into_inner).into_text();
    Ok(Some((status, text(output), text(errors))))
}

async fn feed(sender: Option<Sender>, input: Vec<u8>) {
    if let Some(mut sender) = sender {
        // A command that reads nothing of it has its reasons.
        let _ = sender.write_all(&input).await;
    }
}

async fn read(from: Option<impl AsyncRead + Unpin>, into: &Mutex<Capture>) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        into.lock().unwrap_or_else(PoisonError::into_inner).push(&buffer[..length]);
    }
}
