//! What a session writes, as it comes, from any process.
//!
//! Guarantees: each whole line is given once, in order, from the first on; after the session's end what it
//! has written last, then `None`. A message is there as soon as it is durable, at most a tenth of a second
//! later; deltas of a model's answer stay in the process that runs the session.
//! Never here: a lock, a write.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::clock::BoxFuture;
use amplifier_core::until::until;
use amplifier_core::{Clock, SessionId, SessionOutcome};

use super::{ProjectSessions, ReachError};
use crate::storage::StorageError;
use amplifier_fs::follow::Follow;

/// How often the file is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Which lines of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lines {
    /// The conversation: a message as JSON on each.
    Transcript,
    /// What happened, if the session's bundle has `hooks-logging`; else the conversation.
    Events,
}

/// A session that is followed.
pub struct Followed {
    clock: Arc<dyn Clock>,
    watch: BoxFuture<'static, Result<Arc<SessionOutcome>, ReachError>>,
    lines: Lines,
    file: Follow,
    ended: Option<Option<Arc<SessionOutcome>>>,
}

impl std::fmt::Debug for Followed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Followed")
            .field("lines", &self.lines)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl ProjectSessions {
    /// Follows a session from its first line on. Errors: `Unknown`; sessions that are not kept in files
    /// have no lines, and are `Unknown` too.
    pub async fn follow(&self, id: &SessionId, lines: Lines) -> Result<Followed, ReachError> {
        let unknown = || ReachError::Unknown { session: id.clone() };
        let Some(paths) = self.host().0.project_paths.as_ref() else { return Err(unknown()) };
        if !self.host().storage().exists(id).await? {
            return Err(unknown());
        }
        let folder = paths.session(id);
        let events = folder.join("events.jsonl");
        let lines = if amplifier_fs::read::is_file(&events) { lines } else { Lines::Transcript };
        let file = match lines {
            Lines::Transcript => folder.join("transcript.jsonl"),
            Lines::Events => events,
        };
        Ok(Followed {
            clock: Arc::clone(self.host().clock()),
            watch: self.ended(id),
            lines,
            file: Follow::new(file),
            ended: None,
        })
    }
}

impl Followed {
    /// Which lines these are.
    pub fn lines(&self) -> Lines {
        self.lines
    }

    /// How the session ended, once that was seen; `None` also where nobody knows.
    pub fn outcome(&self) -> Option<&Arc<SessionOutcome>> {
        self.ended.as_ref().and_then(Option::as_ref)
    }

    /// The lines that are there and were not given yet; none if all were.
    pub fn read(&mut self) -> Result<Vec<String>, ReachError> {
        self.file.lines().map_err(|error| StorageError::io("read", self.file.path())(error).into())
    }

    /// The next lines; `None` once the session has ended and all were given.
    pub async fn next(&mut self) -> Result<Option<Vec<String>>, ReachError> {
        loop {
            let lines = self.read()?;
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
            if self.ended.is_some() {
                return Ok(self.file.rest().map(|rest| vec![rest]));
            }
            self.ended = match until(&mut self.watch, self.clock.sleep(LOOK_AGAIN)).await {
                Some(Ok(outcome)) => Some(Some(outcome)),
                Some(Err(ReachError::NoOutcome { .. })) => Some(None),
                Some(Err(error)) => return Err(error),
                None => None,
            };
        }
    }
}
