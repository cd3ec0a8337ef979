//! What only the log knows of runs: the sessions of attempts before the last, and workers of issues.
//!
//! Guarantees: the log is read once, from the first event that may matter on. What it no longer holds is not
//! known.

use std::collections::BTreeMap;

use amplifier_core::{EventType, IssueId, RunId, SessionEvent, SessionId, Timestamp};
use amplifier_foundation::{EventFilter, EventRouter, Host};
use serde::Deserialize;

use super::error::ReportError;

/// What the log has told.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The sessions of attempts that did not complete.
    pub(super) attempts: BTreeMap<RunId, BTreeMap<u32, SessionId>>,
    /// Sessions of workers that have ended, with their issues.
    pub(super) workers: BTreeMap<SessionId, IssueId>,
}

#[derive(Deserialize)]
struct OfAttempt {
    run_id: Option<RunId>,
    attempt: Option<u32>,
    spawned_session_id: Option<SessionId>,
}

#[derive(Deserialize)]
struct OfEnd {
    metadata: Option<OfWorker>,
}

/// What the metadata of a worker's session say.
#[derive(Deserialize)]
pub(super) struct OfWorker {
    pub(super) issue_id: Option<IssueId>,
    pub(super) run_id: Option<RunId>,
}

impl OfWorker {
    /// The issue of a worker that has no run of its own.
    pub(super) fn issue(self) -> Option<IssueId> {
        self.issue_id.filter(|_| self.run_id.is_none())
    }
}

impl Seen {
    /// Reads the log from a time on.
    pub(super) async fn since(host: &Host, since: Timestamp) -> Result<Self, ReportError> {
        let mut seen = Self::default();
        let router = host.router();
        let names = [EventType::SessionCompleted, EventType::SessionError, EventType::BackgroundSpawnError];
        let filter = EventFilter::names(names.map(|name| name.name().to_owned()));
        let filter = filter.map_err(amplifier_foundation::router::RouterError::from)?;
        let from = place_at(router, host, since).await?;
        let from = router.place(from).await?;
        let mut replay = router.replay(from, filter).await?;
        while let Some(page) = replay.next().await {
            page?.iter().for_each(|event| seen.note(event));
        }
        Ok(seen)
    }

    fn note(&mut self, event: &SessionEvent) {
        if event.event_type == EventType::BackgroundSpawnError {
            let Ok(OfAttempt {
                run_id: Some(run),
                attempt: Some(attempt),
                spawned_session_id: Some(session),
            }) = event.payload.decode()
            else {
                return;
            };
            self.attempts.entry(run).or_default().insert(attempt, session);
            return;
        }
        let Some(source) = event.source.as_ref().filter(|source| event.root.as_ref() == Some(*source)) else {
            return;
        };
        let told: Option<OfEnd> = event.payload.decode().ok();
        if let Some(issue) = told.and_then(|told| told.metadata).and_then(OfWorker::issue) {
            self.workers.insert(source.clone(), issue);
        }
    }
}

/// The sequence from which on the log holds what was recorded at a time or later. Times rise with sequences,
/// but for clocks that were set; what lies before such a place may be missed.
async fn place_at(router: &EventRouter, host: &Host, time: Timestamp) -> Result<u64, ReportError> {
    let (mut low, mut high) = (router.oldest().await?.sequence, router.tail().await?.sequence);
    while low < high {
        let middle = low + (high - low) / 2;
        let page = host.store().events(router.place(middle).await?, 1).await?;
        match page.events.first() {
            Some(event) if event.at < time => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}
