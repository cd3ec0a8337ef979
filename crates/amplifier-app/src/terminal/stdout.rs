//! Standard output, and what happens when nobody reads it.
//!
//! Guarantees: every write is flushed; after the first failure nothing is written any more; a
//! failure other than a reader that went away is told on stderr once.

use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::Notify;

use super::Code;

/// Standard output.
#[derive(Debug, Default)]
pub struct Stdout {
    // Held for one write; never across an await.
    failed: Mutex<Option<ErrorKind>>,
    gone: Arc<Notify>,
}

/// Blocks until nobody can read what is written; false if the system does not tell. A file always can.
fn wait_for_hangup() -> bool {
    let stdout = std::io::stdout();
    loop {
        // Nothing is asked for: that the other end is gone is told all the same.
        let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(_) => return false,
            Ok(_) => return fds.iter().any(|fd| fd.any().unwrap_or(false)),
        }
    }
}

impl Stdout {
    /// Standard output, nothing written yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same for what is written now and then: [`Stdout::closed`] also resolves when whoever reads goes
    /// away while nothing is written. A thread waits for that as long as the process lives.
    pub fn watched() -> Self {
        let stdout = Self::new();
        let gone = Arc::clone(&stdout.gone);
        let watch = std::thread::Builder::new().name("stdout-watch".into());
        // Without the thread the next write tells.
        let _ = watch.spawn(move || {
            if wait_for_hangup() {
                gone.notify_one()
            }
        });
        stdout
    }

    /// Writes and flushes.
    pub fn write(&self, text: &str) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_some() {
            return;
        }
        let mut stdout = std::io::stdout().lock();
        if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            *failed = Some(error.kind());
            self.gone.notify_one();
            if error.kind() != ErrorKind::BrokenPipe {
                super::write_line(&format!("error: standard output cannot be written: {error}"));
            }
        }
    }

    /// Resolves once nothing can be written any more.
    pub async fn closed(&self) {
        self.gone.notified().await;
    }

    /// `code`, unless the result could not be written though somebody wants it.
    pub fn code(&self, code: Code) -> Code {
        match *self.failed.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(kind) if kind != ErrorKind::BrokenPipe && code == Code::Success => Code::Failed,
            _ => code,
        }
    }
}
