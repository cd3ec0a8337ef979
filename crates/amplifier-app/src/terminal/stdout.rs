//! Standard output, and what happens when nobody reads it.
//!
//! Guarantees: every write is flushed; after the first failure nothing is written any more; a
//! failure other than a reader that went away is told on stderr once.

use std::io::{ErrorKind, Write};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::Code;

/// Standard output.
#[derive(Debug, Default)]
pub struct Stdout {
    // Held for one write; never across an await.
    failed: Mutex<Option<ErrorKind>>,
    gone: Notify,
}

impl Stdout {
    /// Standard output, nothing written yet.
    pub fn new() -> Self {
        Self::default()
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
                super::say(&format!("error: standard output cannot be written: {error}"));
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
