//! A program that lives longer than one call, with pipes to it and from it.
//!
//! Guarantees: it is recorded before it does anything; dropped, its whole tree is killed; asked to
//! end, the tree has two seconds. Its pipes may be taken and outlive the handle: they then
//! end when the tree does.
//! Never here: what is said through the pipes, and a bound on it. Whoever takes a pipe bounds what it keeps.

use std::process::ExitStatus;
use std::time::Duration;

use amplifier_core::Clock;
use amplifier_core::until::until;
use amplifier_foundation::process::Tree;
use process_wrap::tokio::ChildWrapper;
use tokio::net::unix::pipe::{Receiver, Sender};

use super::confinement::Enforced;
use super::error::RunError;
use super::launch::{Launched, Pipes, Request, launch};

/// How long a killed program is waited for.
const COLLECT: Duration = Duration::from_secs(2);
/// The number of the interrupting signal, the same on all systems.
const SIGINT: i32 = 2;

/// Starts a program that goes on; its processes belong to `tree`. The request's time bounds
/// the start alone.
pub async fn start(request: Request, mut tree: Tree, clock: &dyn Clock) -> Result<Running, RunError> {
    let deadline = clock.monotonic().saturating_add(request.timeout);
    let pipes = Pipes { input: true, errors: true };
    let Launched { child, input, output, errors, enforced } =
        launch(request, pipes, &mut tree, clock, deadline).await?;
    Ok(Running { child, tree, input, output: Some(output), errors, enforced, status: None })
}

/// A program that runs. Dropped, its tree is killed.
#[derive(Debug)]
#[must_use = "dropping what runs kills it"]
pub struct Running {
    child: Box<dyn ChildWrapper>,
    tree: Tree,
    input: Option<Sender>,
    output: Option<Receiver>,
    errors: Option<Receiver>,
    enforced: Enforced,
    status: Option<ExitStatus>,
}

impl Running {
    /// Its process id, until it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// What the kernel holds it to.
    pub fn enforced(&self) -> Enforced {
        self.enforced
    }

    /// What writes to its input; once. Dropped, the program reads the end of it.
    pub fn take_input(&mut self) -> Option<Sender> {
        self.input.take()
    }

    /// What reads its output; once.
    pub fn take_output(&mut self) -> Option<Receiver> {
        self.output.take()
    }

    /// What reads its errors; once.
    pub fn take_errors(&mut self) -> Option<Receiver> {
        self.errors.take()
    }

    /// Waits for its end. May be dropped and called again. Parts of its tree may live on.
    pub async fn wait(&mut self) -> Result<ExitStatus, RunError> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        // The wrapper's own wait would also wait for orphans, where this process adopts them.
        let status = self.child.inner_mut().wait().await.map_err(RunError::Wait)?;
        self.status = Some(status);
        self.tree.collected();
        Ok(status)
    }

    /// Interrupts it and its process group, as Ctrl+C at a terminal does. Nothing once it has ended.
    pub fn interrupt(&self) {
        // Until it is waited for nobody else gets its id.
        if self.status.is_none() && self.child.id().is_some() {
            let _ = self.child.signal(SIGINT);
        }
    }

    /// Lets what it has started live on until the session ends. For after [`Running::wait`]; before it the program
    /// itself lives on. True if there is anything.
    pub async fn release(self) -> bool {
        self.tree.release().await
    }

    /// Ends its whole tree: asks, waits two seconds, kills. Returns how it ended, if that can be told.
    pub async fn end(mut self, clock: &dyn Clock) -> Option<ExitStatus> {
        let left = self.tree.end().await;
        let status = until(self.wait(), clock.sleep(COLLECT)).await.and_then(Result::ok);
        // What is left is killed by the tree as it is dropped.
        if left == 0 && status.is_some() {
            self.tree.release().await;
        }
        status
    }
}
