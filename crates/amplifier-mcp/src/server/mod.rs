//! `amplifier mcp serve`: sessions, events, triggers and issues of a project as tools of an MCP server.
//!
//! Guarantees: a session runs in a process of its own, as with `amplifier run --background`, and is reached through
//! the store: a client that is gone, or a call that is cancelled, ends no session. No wait is longer than
//! [`MAX_WAIT`]. Every failure is a result that says what to do. Stdout carries the protocol alone.
//! Never here: how a session is started ([`Starter`] does it), a question to a person.

mod describe;
mod perform;
mod types;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amplifier_background::declared::Sources;
use amplifier_core::permission::Mode;
use amplifier_core::{CancelLevel, SessionId};
use amplifier_foundation::Host;
use async_trait::async_trait;
use rmcp::ServiceExt;
use rmcp::service::{QuitReason, ServerInitializeError};
use rmcp::transport::async_rw::AsyncRwTransport;

use perform::Server;

/// Longest wait of one call.
pub const MAX_WAIT: Duration = Duration::from_secs(5 * 60);
/// Longest message of a client, in bytes.
const MAX_LINE: usize = 16 << 20;
/// Sessions whose ends a server may wait for when its client goes.
const MAX_STARTED: usize = 10_000;

/// A session that a client wants.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Wanted {
    /// What it is asked.
    pub prompt: String,
    /// The session that goes on; `None` for a new one.
    pub resume: Option<SessionId>,
    /// Its bundle by name, path or address; the active one where none is named.
    pub bundle: Option<String>,
    /// Its provider.
    pub provider: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// A name for people.
    pub name: Option<String>,
    /// Its directory.
    pub cwd: Option<PathBuf>,
    /// Its mode, never `bypassPermissions`.
    pub permission_mode: Option<Mode>,
    /// Most model calls.
    pub max_turns: Option<u32>,
    /// Most that it may cost, in US dollars.
    pub max_budget_usd: Option<f64>,
    /// Longest time.
    pub timeout: Option<Duration>,
}

/// Why no session was started, for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotStarted(pub String);

/// What starts sessions.
#[async_trait]
pub trait Starter: Send + Sync + fmt::Debug {
    /// Starts one in a process of its own. `Ok`: it is recorded, and can be reached from any process.
    async fn start(&self, wanted: Wanted) -> Result<SessionId, NotStarted>;
}

/// What becomes of the sessions that clients have started, when the client goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnExit {
    /// They are waited for.
    Drain,
    /// They are stopped.
    Cancel,
    /// They go on.
    Detach,
}

/// A server.
#[derive(Debug)]
pub struct Serving {
    /// The project.
    pub host: Host,
    /// What starts sessions.
    pub starter: Arc<dyn Starter>,
    /// Where background sessions are declared that `trigger_fire` may fire.
    pub sources: Sources,
    /// What becomes of sessions when the client goes.
    pub on_exit: OnExit,
    /// How long they are waited for then, before they are stopped.
    pub drain: Duration,
}

/// Why serving has ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// What came is not the protocol.
    #[error("the client does not speak MCP; start this command from an MCP client, it is none for people")]
    Protocol(#[source] Box<ServerInitializeError>),
    /// A task of the server failed.
    #[error("the server has failed")]
    Failed(#[source] tokio::task::JoinError),
}

impl Serving {
    /// Serves until standard input ends, and then as `on_exit` says.
    pub async fn run(self) -> Result<(), ServeError> {
        let (input, output) = rmcp::transport::stdio();
        let transport = AsyncRwTransport::new(input, output).with_max_line_length(MAX_LINE);
        let started = Arc::<Started>::default();
        let server = Server::new(&self, Arc::clone(&started));
        let service = match server.serve(transport).await {
            Ok(service) => service,
            // It has changed its mind.
            Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
            Err(error) => return Err(ServeError::Protocol(Box::new(error))),
        };
        let ended = service.waiting().await.map_err(ServeError::Failed)?;
        self.leave(started.ids()).await;
        match ended {
            QuitReason::JoinError(error) => Err(ServeError::Failed(error)),
            _ => Ok(()),
        }
    }

    async fn leave(&self, started: Vec<SessionId>) {
        let sessions = self.host.project_sessions();
        if self.on_exit == OnExit::Detach || started.is_empty() {
            return;
        }
        let within = if self.on_exit == OnExit::Drain { self.drain } else { Duration::ZERO };
        let Ok(ended) = sessions.wait_all(&started, within).await else { return };
        let left: Vec<SessionId> =
            ended.into_iter().filter_map(|(id, end)| end.is_none().then_some(id)).collect();
        for id in &left {
            if let Err(error) = sessions.cancel(id, CancelLevel::Graceful).await {
                tracing::debug!(session = %id, %error, "a session needs no stop");
            }
        }
    }
}

/// The sessions that were started, the latest last.
#[derive(Debug, Default)]
struct Started {
    // Held to push or to copy; never across an await.
    ids: Mutex<Vec<SessionId>>,
}

impl Started {
    fn push(&self, id: SessionId) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() >= MAX_STARTED {
            ids.remove(0);
        }
        if !ids.contains(&id) {
            ids.push(id);
        }
    }

    fn ids(&self) -> Vec<SessionId> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
