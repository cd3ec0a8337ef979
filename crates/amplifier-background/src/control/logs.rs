//! What the sessions of a background session write, one after the other and as it comes.
//!
//! Guarantees: each line is given once, with its session; sessions that begin later are found, however short.
//! Never here: a lock, a write.

use std::collections::HashSet;
use std::time::Duration;

use amplifier_core::SessionId;
use amplifier_foundation::Host;
use amplifier_foundation::host::{Followed, Lines, ReachError};
use amplifier_foundation::storage::{SessionQuery, StorageError};
use amplifier_store::{RunFilter, StoreError};
use amplifier_trigger::BackgroundName;

use crate::run::{is_own, queue_of, session_prefix};

/// How often it is looked for lines and sessions.
const LOOK: Duration = Duration::from_millis(200);
/// Sessions that are looked for at once.
const PAGE: usize = 200;

/// Why there are no lines.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// A session.
    #[error(transparent)]
    Session(#[from] ReachError),
    /// The files of sessions.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A line that a session has written: an event, or a message where its bundle logs no events.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    /// The session.
    pub session: SessionId,
    /// The line, JSON as a rule.
    pub text: String,
    /// True for an event.
    pub is_event: bool,
}

/// The lines of the sessions of one background session.
#[derive(Debug)]
pub struct SessionLog {
    host: Host,
    name: BackgroundName,
    known: HashSet<SessionId>,
    open: Vec<(SessionId, Followed)>,
    /// Runs up to this place have their last session.
    after: u64,
}

impl SessionLog {
    /// The lines of the last `sessions` sessions, and of those that begin later.
    pub async fn open(host: &Host, name: &BackgroundName, sessions: usize) -> Result<Self, LogError> {
        let query = SessionQuery::default().id_prefix(format!("{}-", session_prefix(name)));
        let mut found = host.storage().list(&query).await?;
        found.retain(|found| is_own(name, &found.id));
        found.sort_by_key(|found| (found.created, found.id.clone()));
        let mut log = Self {
            host: host.clone(),
            name: name.clone(),
            known: found.iter().map(|found| found.id.clone()).collect(),
            open: Vec::new(),
            after: 0,
        };
        for one in found.iter().skip(found.len().saturating_sub(sessions)) {
            log.follow(one.id.clone()).await?;
        }
        Ok(log)
    }

    async fn follow(&mut self, id: SessionId) -> Result<(), LogError> {
        match self.host.project_sessions().follow(&id, Lines::Events).await {
            Ok(followed) => self.open.push((id, followed)),
            // Deleted since.
            Err(ReachError::Unknown { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The lines that are there and were not given yet.
    pub fn read(&mut self) -> Result<Vec<LogLine>, LogError> {
        let mut all = Vec::new();
        for (session, followed) in &mut self.open {
            let is_event = followed.lines() == Lines::Events;
            loop {
                let lines = followed.read()?;
                if lines.is_empty() {
                    break;
                }
                let line = |text| LogLine { session: session.clone(), text, is_event };
                all.extend(lines.into_iter().map(line));
            }
        }
        Ok(all)
    }

    /// The next lines. Waits for them, for ever if there are none.
    pub async fn next(&mut self) -> Result<Vec<LogLine>, LogError> {
        loop {
            let lines = self.read()?;
            if !lines.is_empty() {
                return Ok(lines);
            }
            self.find_new().await?;
            self.host.clock().sleep(LOOK).await;
        }
    }

    /// Follows the sessions of runs that have one which is not known, and those alone that may still write.
    async fn find_new(&mut self) -> Result<(), LogError> {
        let mut filter = RunFilter::default();
        filter.queue = Some(queue_of(&self.name));
        let mut running = HashSet::new();
        let mut all_over = true;
        filter.after = self.after;
        filter.limit = PAGE;
        loop {
            let rows = self.host.store().runs(&filter).await?;
            for row in &rows {
                all_over &= row.state.is_final();
                if all_over {
                    self.after = row.place;
                }
                filter.after = row.place;
                let Some(session) = &row.session else { continue };
                if !row.state.is_final() {
                    running.insert(session.clone());
                }
                if self.known.insert(session.clone()) {
                    running.insert(session.clone());
                    self.follow(session.clone()).await?;
                }
            }
            if rows.len() < PAGE {
                break;
            }
        }
        self.open.retain(|(session, _)| running.contains(session));
        Ok(())
    }
}
