//! The runs of a store in memory, found by place, id, state and in the order in which they are begun.
//!
//! Guarantees: a row and what finds it change together.

use std::cmp::Reverse;

use amplifier_core::{RunId, Timestamp};

use super::table::{Table, Undo};
use crate::{QueueName, ReadyRuns, RunFilter, RunRow, RunState};

/// What stands before every time.
const BEGINNING: Timestamp = Timestamp::from_micros(i64::MIN);

/// Every run there was.
#[derive(Debug, Default)]
pub(super) struct Runs {
    rows: Table<u64, RunRow>,
    places: Table<RunId, u64>,
    by_state: Table<(RunState, u64), ()>,
    /// What is queued: in the order in which it is begun, by time, and how much.
    in_order: Table<(QueueName, Reverse<i8>, u64), Timestamp>,
    /// With the time at which each was written.
    by_time: Table<(QueueName, Timestamp, u64), Timestamp>,
    counts: Table<QueueName, u64>,
}

impl Runs {
    pub(super) fn tables(&mut self) -> [&mut dyn Undo; 6] {
        [
            &mut self.rows,
            &mut self.places,
            &mut self.by_state,
            &mut self.in_order,
            &mut self.by_time,
            &mut self.counts,
        ]
    }

    pub(super) fn get(&self, id: &RunId) -> Option<&RunRow> {
        self.rows.get(self.places.get(id)?)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &RunRow> {
        self.rows.values()
    }

    /// The place of the next run.
    pub(super) fn next_place(&self) -> u64 {
        self.rows.len() as u64 + 1
    }

    /// Puts a row in its place.
    pub(super) fn put(&mut self, row: RunRow) {
        if let Some(old) = self.rows.get(&row.place).cloned() {
            self.by_state.remove(&(old.state, old.place));
            if old.state == RunState::Queued {
                self.in_order.remove(&(old.queue.clone(), Reverse(old.priority), old.place));
                self.by_time.remove(&(old.queue.clone(), old.ready_at, old.place));
                self.counts.put(old.queue.clone(), self.count(&old.queue) - 1);
            }
        }
        self.by_state.put((row.state, row.place), ());
        if row.state == RunState::Queued {
            self.in_order.put((row.queue.clone(), Reverse(row.priority), row.place), row.ready_at);
            self.by_time.put((row.queue.clone(), row.ready_at, row.place), row.updated);
            self.counts.put(row.queue.clone(), self.count(&row.queue) + 1);
        }
        self.places.put(row.id.clone(), row.place);
        self.rows.put(row.place, row);
    }

    pub(super) fn count(&self, queue: &QueueName) -> u64 {
        self.counts.get(queue).copied().unwrap_or(0)
    }

    pub(super) fn queues(&self) -> Vec<QueueName> {
        self.counts.entries().filter(|(_, count)| **count > 0).map(|(queue, _)| queue.clone()).collect()
    }

    pub(super) fn find(&self, filter: &RunFilter) -> Vec<RunRow> {
        let fits = |row: &&RunRow| filter.queue.as_ref().is_none_or(|queue| *queue == row.queue);
        let Some(state) = filter.state else {
            let behind = self.rows.behind(Some(&filter.after));
            return behind.filter(fits).take(filter.limit).cloned().collect();
        };
        let of_state = self.by_state.from((state, filter.after.saturating_add(1)));
        let places = of_state.take_while(|(of, _)| *of == state);
        places
            .filter_map(|(_, place)| self.rows.get(place))
            .filter(fits)
            .take(filter.limit)
            .cloned()
            .collect()
    }

    /// The row of this place, if it fits.
    pub(super) fn find_at(&self, place: u64, filter: &RunFilter) -> Vec<RunRow> {
        let fits = |row: &&RunRow| {
            filter.queue.as_ref().is_none_or(|queue| *queue == row.queue)
                && filter.state.is_none_or(|state| state == row.state)
                && row.place > filter.after
        };
        self.rows.get(&place).filter(fits).into_iter().take(filter.limit).cloned().collect()
    }

    pub(super) fn ready(&self, queue: &QueueName, now: Timestamp, limit: usize) -> ReadyRuns {
        let behind = |time| {
            let next = self.by_time.from((queue.clone(), time, u64::MAX)).next();
            next.filter(|(of, ..)| of == queue).map(|(_, at, _)| *at)
        };
        // Where all wait for their time, none of them is passed over one by one.
        let earliest = behind(BEGINNING);
        let was_set_back = || {
            let later = (queue.clone(), now, u64::MAX);
            let mut waiting =
                self.by_time.entries_behind(Some(&later)).take_while(|((of, ..), _)| of == queue);
            waiting.any(|(_, updated)| now < *updated)
        };
        if earliest.is_none_or(|earliest| earliest > now) && !was_set_back() {
            return ReadyRuns { runs: Vec::new(), next: earliest };
        }
        let first = (queue.clone(), Reverse(i8::MAX), 0);
        let in_order = self.in_order.from(first).take_while(|(of, ..)| of == queue);
        let ready = in_order.filter_map(|(_, _, place)| self.rows.get(place)).filter(|row| row.is_ready(now));
        ReadyRuns { runs: ready.take(limit).cloned().collect(), next: behind(now) }
    }
}
