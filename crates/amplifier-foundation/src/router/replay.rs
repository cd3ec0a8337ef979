//! Reading the log from a place to its end, and no further.
//!
//! Guarantees: what the log held when it was asked for is read once, in its order, at the speed of the
//! store; a place that the log does not hold is refused with the oldest that can be read.
//! Never here: waiting for what is emitted later; that is a subscription.

use std::sync::Arc;

use amplifier_core::SessionEvent;

use super::{Cursor, EventFilter, EventRouter, RouterError};

/// Events that are read at once.
const PAGE: usize = 1_024;

/// The rest of a log, page by page.
#[derive(Debug)]
pub struct Replay {
    router: EventRouter,
    filter: EventFilter,
    next: Cursor,
    /// The end of the log when the reading began.
    end: u64,
}

impl EventRouter {
    /// What the log holds from `from` on.
    pub async fn replay<F>(&self, from: Cursor, filter: F) -> Result<Replay, RouterError>
    where
        F: TryInto<EventFilter>,
        RouterError: From<F::Error>,
    {
        let filter = filter.try_into()?;
        let end = self.tail().await?.sequence;
        // The place alone is asked for.
        self.0.store.events(from, 0).await?;
        Ok(Replay { router: self.clone(), filter, next: from, end })
    }

    /// The place of a sequence in this log. Whether the log holds it, who reads there is told.
    pub async fn place(&self, sequence: u64) -> Result<Cursor, RouterError> {
        Ok(Cursor { sequence, ..self.tail().await? })
    }

    /// The oldest place that can be read.
    pub async fn oldest(&self) -> Result<Cursor, RouterError> {
        let start = self.place(0).await?;
        match self.0.store.events(start, 0).await.map_err(RouterError::from) {
            Err(RouterError::Gone { oldest }) => Ok(oldest),
            other => other.map(|_| start),
        }
    }
}

impl Replay {
    /// The next events that pass; `None` at the end. A page may be empty though the log goes on.
    pub async fn next(&mut self) -> Option<Result<Vec<Arc<SessionEvent>>, RouterError>> {
        let left = self.end.saturating_sub(self.next.sequence);
        if left == 0 {
            return None;
        }
        let limit = usize::try_from(left).unwrap_or(PAGE).min(PAGE);
        let page = match self.router.0.store.events(self.next, limit).await {
            Ok(page) => page,
            Err(error) => return Some(Err(error.into())),
        };
        if page.events.is_empty() {
            return None;
        }
        self.next = page.next;
        let passing = page.events.into_iter().filter(|event| self.filter.matches(event));
        Some(Ok(passing.collect()))
    }
}
