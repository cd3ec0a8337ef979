//! What one reader of a durable consumer knows of the events from the floor on.
//!
//! Guarantees: the floor as this reader knows it passes nothing that it has not seen acknowledged.
//! Never here: the store. What is noted here was read there, and may be outdated.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{MonoTime, SessionEvent};
use amplifier_store::Epoch;

/// What a reader knows of the events from the floor on.
#[derive(Debug)]
pub(super) struct View {
    /// The floor as the store had it last.
    pub(super) floor: u64,
    /// Behind the last event that was looked at.
    pub(super) scanned: u64,
    pub(super) items: BTreeMap<u64, Item>,
    /// How long an event may be in hand.
    pub(super) ttl: Duration,
}

#[derive(Debug)]
pub(super) struct Item {
    pub(super) event: Arc<SessionEvent>,
    pub(super) state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum State {
    /// In hand of this reader.
    Mine,
    /// Somebody else has it; looked at again then.
    Elsewhere(MonoTime),
    /// Given back, and to be taken at once.
    Free,
    /// Acknowledged above the floor, with the epoch of its lease.
    Acked(Epoch),
}

impl View {
    /// An event that may be taken now; else when to look again.
    pub(super) fn due(&self, now: MonoTime) -> (Option<(u64, Arc<SessionEvent>)>, Option<MonoTime>) {
        let mut next: Option<MonoTime> = None;
        for (sequence, item) in &self.items {
            match item.state {
                State::Free => return (Some((*sequence, Arc::clone(&item.event))), None),
                State::Elsewhere(at) if at <= now => {
                    return (Some((*sequence, Arc::clone(&item.event))), None);
                }
                State::Elsewhere(at) => next = Some(next.map_or(at, |next| next.min(at))),
                State::Mine | State::Acked(_) => {}
            }
        }
        (None, next)
    }

    /// Has every event that somebody else has looked at again.
    pub(super) fn recheck_all(&mut self) {
        for item in self.items.values_mut() {
            if let State::Elsewhere(_) = item.state {
                item.state = State::Elsewhere(MonoTime::default());
            }
        }
    }

    /// Where the floor may be, as far as this reader knows.
    pub(super) fn reach(&self) -> u64 {
        let open = self.items.iter().find(|(_, item)| !matches!(item.state, State::Acked(_)));
        open.map_or(self.scanned, |(sequence, _)| *sequence)
    }

    /// Notes where the floor is.
    pub(super) fn rise(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
        self.scanned = self.scanned.max(floor);
        self.items = self.items.split_off(&self.floor);
    }
}
