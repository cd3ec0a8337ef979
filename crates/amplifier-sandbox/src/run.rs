//! One command, from its start to its result.
//!
//! Guarantees: the result comes at the latest when the time-out and the grace of its tree have
//! passed; a background process that keeps the output open does not delay it by more than
//! [`DRAIN`]; if the future is dropped, the tree is killed.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use amplifier_core::Clock;
use amplifier_core::until::until;
use amplifier_foundation::process::Tree;
use process_wrap::tokio::ChildWrapper;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::task::AbortHandle;

use super::capture::Capture;
use super::confinement::Enforced;
use super::error::RunError;
use super::launch::{Pipes, Request, launch};

/// How long output is waited for once the program itself has ended.
const DRAIN: Duration = Duration::from_millis(200);
/// How long a killed program is waited for.
const COLLECT: Duration = Duration::from_secs(2);
const READ_BYTES: usize = 32 * 1024;

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// What it printed, errors among it, cut in the middle.
    pub output: String,
    /// How it ended.
    pub ended: Ended,
    /// True if a part of its tree runs on.
    pub background: bool,
    /// What the kernel has held it to.
    pub enforced: Enforced,
}

/// How a program ended.
#[derive(Debug)]
pub enum Ended {
    /// By itself, or by somebody's signal.
    Exit(ExitStatus),
    /// Its time had passed; it was ended with its tree.
    TimedOut,
}

/// Runs a program, which can read `input`, else nothing; its processes belong to `tree`.
pub async fn run(
    request: Request,
    input: Option<Vec<u8>>,
    mut tree: Tree,
    clock: &dyn Clock,
) -> Result<Report, RunError> {
    let deadline = clock.monotonic().saturating_add(request.timeout);
    let pipes = Pipes { input: input.is_some(), errors: false };
    let launched = launch(request, pipes, &mut tree, clock, deadline).await?;
    let enforced = launched.enforced;
    let _feeding = launched.input.zip(input).map(|(pipe, bytes)| feed(pipe, bytes));
    let mut running = Reading {
        child: launched.child,
        pipe: Some(launched.output),
        capture: Capture::default(),
        status: None,
    };
    let in_time = until(running.pump(), clock.sleep_until(deadline)).await;
    let ended = match in_time {
        Some(status) => Ended::Exit(status.map_err(RunError::Wait)?),
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
    Ok(Report { output: running.capture.into_text(), ended, background, enforced })
}

/// Writes what the program can read for as long as the result lives.
fn feed(mut pipe: Sender, bytes: Vec<u8>) -> Feeding {
    // A program that reads nothing of it has its reasons.
    let writing = tokio::spawn(async move { drop(pipe.write_all(&bytes).await) });
    Feeding(writing.abort_handle())
}

/// Writes until it is dropped.
struct Feeding(AbortHandle);

impl Drop for Feeding {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn discard(mut pipe: Receiver) {
    let mut buffer = vec![0; READ_BYTES];
    while matches!(pipe.read(&mut buffer).await, Ok(1..)) {}
}

struct Reading {
    child: Box<dyn ChildWrapper>,
    /// `None` once everybody has closed the other end.
    pipe: Option<Receiver>,
    capture: Capture,
    status: Option<ExitStatus>,
}

impl Reading {
    /// Reads output until the program ends. Nothing is lost if the future is dropped.
    async fn pump(&mut self) -> io::Result<ExitStatus> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            if let Some(status) = self.status {
                return Ok(status);
            }
            // The wrapper's own wait would also wait for orphans, where this process adopts them.
            let program = self.child.inner_mut().wait();
            let Some(pipe) = &mut self.pipe else {
                self.status = Some(program.await?);
                continue;
            };
            tokio::select! {
                status = program => self.status = Some(status?),
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
