//! What a server may ask and tell of its own accord.
//!
//! Guarantees: it learns the session's working directory and nothing else; what it tells of progress reaches
//! the call that it belongs to, or nobody. Never here: asking a person, or a model, on a server's behalf.

#![expect(deprecated, reason = "servers of today ask for roots; the newest protocol alone has none")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::model::{
    ClientCapabilities, ClientConfig, ErrorData, Implementation, ListRootsResult, ProgressNotificationParam,
    ProgressToken, ProtocolVersion, Root, RootsCapabilities,
};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{ClientHandler, RoleClient};
use tokio::sync::mpsc;

/// Steps of progress that wait for their reader.
const QUEUE: usize = 8;

/// Our side of a connection.
#[derive(Debug, Clone)]
pub(super) struct Handler {
    cwd: PathBuf,
    notes: Arc<Notes>,
}

/// What a server has told.
#[derive(Debug, Default)]
pub(super) struct Notes {
    // Held for a look-up or an insertion; never across an await.
    progress: Mutex<HashMap<ProgressToken, mpsc::Sender<String>>>,
    tools_changed: AtomicBool,
}

impl Handler {
    pub(super) fn new(cwd: &Path, notes: Arc<Notes>) -> Self {
        Self { cwd: cwd.to_owned(), notes }
    }
}

impl Notes {
    /// Listens for the progress of a call.
    pub(super) fn listen(self: &Arc<Self>, token: ProgressToken) -> Listening {
        let (sender, steps) = mpsc::channel(QUEUE);
        self.progress().insert(token.clone(), sender);
        Listening { notes: Arc::clone(self), token, steps }
    }

    /// True once after the server has said that its tools are others now.
    pub(super) fn take_changed(&self) -> bool {
        self.tools_changed.swap(false, Ordering::SeqCst)
    }

    fn progress(&self) -> MutexGuard<'_, HashMap<ProgressToken, mpsc::Sender<String>>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears of the progress of one call until it is dropped.
#[derive(Debug)]
pub(super) struct Listening {
    notes: Arc<Notes>,
    token: ProgressToken,
    steps: mpsc::Receiver<String>,
}

impl Listening {
    /// The next step; never `None` in practice, and never ready without one.
    pub(super) async fn next(&mut self) -> String {
        match self.steps.recv().await {
            Some(step) => step,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.notes.progress().remove(&self.token);
    }
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let mut capabilities = ClientCapabilities::default();
        capabilities.roots = Some(RootsCapabilities::default());
        let own = Implementation::new("amplifier", env!("CARGO_PKG_VERSION"));
        // The library's own default has no handshake, and most servers know nothing else.
        ClientConfig::new(capabilities, own).with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    async fn list_roots(&self, _context: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        Ok(ListRootsResult::new(vec![Root::new(file_uri(&self.cwd))]))
    }

    async fn on_progress(&self, step: ProgressNotificationParam, _context: NotificationContext<RoleClient>) {
        let sender = self.notes.progress().get(&step.progress_token).cloned();
        if let Some(sender) = sender {
            // Whoever does not keep up misses steps, and no more.
            let _ = sender.try_send(in_words(&step));
        }
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.notes.tools_changed.store(true, Ordering::SeqCst);
    }
}

fn in_words(step: &ProgressNotificationParam) -> String {
    let of = step.total.map(|total| format!(" of {total}")).unwrap_or_default();
    let message: String = step.message.as_deref().unwrap_or_default().chars().take(200).collect();
    match message.is_empty() {
        true => format!("{}{of}", step.progress),
        false => format!("{}{of}: {message}", step.progress),
    }
}

/// The path as an address.
fn file_uri(path: &Path) -> String {
    let mut uri = "file://".to_owned();
    for byte in path.to_string_lossy().bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                uri.push(char::from(byte))
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_an_address_that_everybody_reads() {
        assert_eq!(file_uri(Path::new("/a b/ü.c")), "file:///a%20b/%C3%BC.c");
    }
}
