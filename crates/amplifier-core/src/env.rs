//! What a session lends to its modules.
//!
//! Guarantees: everything here is set before the first module is mounted, and
//! stays the same until the session ends.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::activity::Activity;
use crate::approval::{Approver, Display, Origin};
use crate::cancel::CancelToken;
use crate::clock::{BoxFuture, Clock, Ids};
use crate::coordinator::Coordinator;
use crate::event::{EventType, NewEvent};
use crate::id::{Activation, EventId, SessionId};
use crate::payload::Payload;
use crate::permission::Paths;

/// Where sessions' own events go.
pub trait EventSink: Send + Sync + fmt::Debug {
    /// Emits an event. `Ok` once it is recorded (in memory: once it was fanned out).
    fn emit<'a>(&'a self, event: NewEvent) -> BoxFuture<'a, Result<EventId, EmitError>>;

    /// True if somebody asked for this hook event of the session; cheap. Only then its data is built.
    fn wants(&self, _event: &EventType) -> bool {
        false
    }

    /// Tells a hook event of the session with its data, to whoever asked: recorded nowhere, waited for by nobody.
    fn tell(&self, _event: &EventType, _data: Payload) {}
}

/// Why an event was not emitted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The name may not be used.
    #[error(transparent)]
    Name(#[from] crate::event::InvalidName),
    /// The payload cannot be carried.
    #[error(transparent)]
    Payload(#[from] crate::payload::PayloadError),
    /// The router is shut down.
    #[error("the event router is shut down; nothing can be emitted any more")]
    Closed,
    /// One hop more than a chain of causes may have.
    #[error("event `{name}` is hop {hops} of its chain, of {limit} at most; something reacts to itself")]
    Hops {
        /// The event's name.
        name: String,
        /// How many events lie before it in its chain.
        hops: u32,
        /// The limit.
        limit: u32,
    },
    /// The event was not recorded.
    #[error("the event could not be recorded")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store cannot say whether the event was recorded.
    #[error("nobody can say whether the event was recorded; look for it before you emit it again")]
    InDoubt(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The session does not run here any more: somebody has taken it for lost, and may have gone on with it.
    #[error(
        "session `{session}` was taken over in its activation {activation}; nothing is emitted in its name here"
    )]
    TakenOver {
        /// The session.
        session: SessionId,
        /// The activation that has ended.
        activation: Activation,
    },
    /// A kernel event from somebody who may not emit it.
    #[error("event `{name}` belongs to the kernel and cannot be emitted")]
    Kernel {
        /// The event's name.
        name: String,
    },
}

impl From<std::convert::Infallible> for EmitError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// Where modules find keys and other variables: configuration and environment.
pub trait Variables: Send + Sync + fmt::Debug {
    /// The value of a variable. Never written to a log, an event or an error.
    fn get(&self, name: &str) -> Option<String>;
}

/// No variables at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoVariables;

impl Variables for NoVariables {
    fn get(&self, _name: &str) -> Option<String> {
        None
    }
}

/// A session's surroundings. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SessionEnv(Arc<SessionEnvInner>);

/// The fields of [`SessionEnv`].
#[derive(Debug)]
pub struct SessionEnvInner {
    /// The session.
    pub session: SessionId,
    /// Its parent.
    pub parent: Option<SessionId>,
    /// The root of its tree; itself for a root.
    pub root: SessionId,
    /// Levels below the root; 0 for a root.
    pub depth: u32,
    /// This activation.
    pub activation: Activation,
    /// The working directory: absolute, resolved.
    pub cwd: PathBuf,
    /// The folder of the session on disk; `None` in memory.
    pub folder: Option<PathBuf>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Entropy.
    pub ids: Arc<dyn Ids>,
    /// Paths.
    pub paths: Arc<dyn Paths>,
    /// Keys and other variables.
    pub variables: Arc<dyn Variables>,
    /// Cancellation.
    pub cancel: CancelToken,
    /// What the session does, for whoever supervises it.
    pub activity: Activity,
    /// Whom to ask.
    pub approver: Arc<dyn Approver>,
    /// Where to show progress.
    pub display: Arc<dyn Display>,
    /// Where own events go.
    pub events: Arc<dyn EventSink>,
    /// What modules share.
    pub coordinator: Coordinator,
}

impl SessionEnv {
    /// Makes the surroundings of a session.
    pub fn new(inner: SessionEnvInner) -> Self {
        Self(Arc::new(inner))
    }

    /// Whose doing the display is shown.
    pub fn origin(&self) -> Origin {
        Origin { session: self.session.clone(), parent: self.parent.clone() }
    }
}

impl std::ops::Deref for SessionEnv {
    type Target = SessionEnvInner;
    fn deref(&self) -> &SessionEnvInner {
        &self.0
    }
}
