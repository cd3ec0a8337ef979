//! Who changes an issue, and how the event of it is made.

use std::fmt;
use std::sync::Arc;

use amplifier_core::env::EmitError;
use amplifier_core::{Cause, NewEvent, SessionEvent, SessionId};

/// Who changes something: a person, a program or a session. Noted with each change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Actor {
    /// The name of a person or program, or `worker` and the like.
    pub name: Arc<str>,
    /// The session in which it is done.
    pub session: Option<SessionId>,
    /// The root of that session's tree.
    pub root: Option<SessionId>,
    /// The event that caused it.
    pub cause: Option<Cause>,
}

impl Actor {
    /// A person or program outside any session.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), session: None, root: None, cause: None }
    }

    /// The same, under another name.
    #[must_use]
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// The same, in a session.
    #[must_use]
    pub fn in_session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// The same, in the tree of this root.
    #[must_use]
    pub fn below(mut self, root: SessionId) -> Self {
        self.root = Some(root);
        self
    }

    /// The same, because of an event.
    #[must_use]
    pub fn because_of(mut self, cause: Option<Cause>) -> Self {
        self.cause = cause;
        self
    }
}

/// Completes events for a commit: what an event router does, without the router.
pub trait SealEvent: Send + Sync {
    /// The event with id, time and project, but without its place.
    fn seal(&self, event: NewEvent) -> Result<SessionEvent, EmitError>;
}

impl<F> SealEvent for F
where
    F: Fn(NewEvent) -> Result<SessionEvent, EmitError> + Send + Sync,
{
    fn seal(&self, event: NewEvent) -> Result<SessionEvent, EmitError> {
        self(event)
    }
}

impl fmt::Debug for dyn SealEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealEvent")
    }
}
