//! The issues of a store in memory with their notes, found by id and in lists that are kept in order.
//!
//! Guarantees: a row and the lists that it stands in change together.

use std::collections::HashSet;
use std::iter::Peekable;

use amplifier_core::{IssueId, Timestamp};

use super::table::{Table, Undo};
use crate::{IssueCounts, IssueFilter, IssueNote, IssueOrder, IssueRow, IssueStatus, StoreError};

/// What issues are listed by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum List {
    Status(IssueStatus),
    Ready,
    Claimed,
    Needing(IssueId),
}

/// A list in one order, and what stands where in it.
type Spot = (List, IssueOrder, (u8, u64));

const ORDERS: [IssueOrder; 2] = [IssueOrder::Place, IssueOrder::Urgency];

/// Every issue there was.
#[derive(Debug, Default)]
pub(super) struct Issues {
    rows: Table<u64, IssueRow>,
    places: Table<IssueId, u64>,
    lists: Table<Spot, ()>,
    lengths: Table<List, u64>,
    notes: Table<(u64, u64), IssueNote>,
}

fn lists(row: &IssueRow) -> impl Iterator<Item = List> {
    let status = Some(List::Status(row.status));
    let (ready, claimed) = (row.is_ready().then_some(List::Ready), row.run.as_ref().map(|_| List::Claimed));
    let needing = row.needs.iter().cloned().map(List::Needing);
    status.into_iter().chain(ready).chain(claimed).chain(needing)
}

impl Issues {
    pub(super) fn tables(&mut self) -> [&mut dyn Undo; 5] {
        [&mut self.rows, &mut self.places, &mut self.lists, &mut self.lengths, &mut self.notes]
    }

    pub(super) fn get(&self, id: &IssueId) -> Option<&IssueRow> {
        self.rows.get(self.places.get(id)?)
    }

    pub(super) fn revision(&self, id: &IssueId) -> u64 {
        self.get(id).map_or(0, |row| row.revision)
    }

    /// Writes a row; its place and revision.
    pub(super) fn put(
        &mut self,
        mut row: IssueRow,
        now: Timestamp,
    ) -> Result<(IssueId, u64, u64), StoreError> {
        let mut seen = HashSet::new();
        if !row.needs.iter().all(|needed| seen.insert(needed)) {
            return Err(StoreError::Malformed { what: "an issue names each that it needs once" });
        }
        let known = self.get(&row.id).cloned();
        if let Some(known) = &known {
            (row.place, row.revision, row.created) = (known.place, known.revision + 1, known.created);
            for list in lists(known) {
                self.lengths.put(list.clone(), self.length(&list) - 1);
                ORDERS.iter().for_each(|order| self.lists.remove(&(list.clone(), *order, order.key(known))));
            }
        } else {
            (row.place, row.revision, row.created) = (self.rows.len() as u64 + 1, 1, now);
            self.places.put(row.id.clone(), row.place);
        }
        row.updated = now;
        for list in lists(&row) {
            self.lengths.put(list.clone(), self.length(&list) + 1);
            ORDERS.iter().for_each(|order| self.lists.put((list.clone(), *order, order.key(&row)), ()));
        }
        let written = (row.id.clone(), row.place, row.revision);
        self.rows.put(row.place, row);
        Ok(written)
    }

    /// Adds a note, whose place is not looked at.
    pub(super) fn note(&mut self, issue: IssueId, note: IssueNote) -> Result<(), StoreError> {
        let Some(of) = self.places.get(&issue).copied() else { return Err(StoreError::NoIssue { issue }) };
        let place = self.notes.len() as u64 + 1;
        self.notes.put((of, place), IssueNote { place, ..note });
        Ok(())
    }

    pub(super) fn notes(&self, id: &IssueId, after: u64, limit: usize) -> Vec<IssueNote> {
        let Some(of) = self.places.get(id) else { return Vec::new() };
        let behind = self.notes.entries_behind(Some(&(*of, after)));
        behind.take_while(|((at, _), _)| at == of).map(|(_, note)| note.clone()).take(limit).collect()
    }

    fn length(&self, list: &List) -> u64 {
        self.lengths.get(list).copied().unwrap_or(0)
    }

    pub(super) fn count(&self) -> IssueCounts {
        let of = |status| Some((status, self.length(&List::Status(status)))).filter(|(_, count)| *count > 0);
        IssueCounts {
            by_status: IssueStatus::ALL.into_iter().filter_map(of).collect(),
            ready: self.length(&List::Ready),
            claimed: self.length(&List::Claimed),
        }
    }

    pub(super) fn find(&self, filter: &IssueFilter) -> Vec<IssueRow> {
        let lists = match filter {
            IssueFilter { needing: Some(issue), .. } => vec![List::Needing(issue.clone())],
            IssueFilter { ready: true, .. } => vec![List::Ready],
            IssueFilter { claimed: Some(true), .. } => vec![List::Claimed],
            IssueFilter { statuses, .. } => {
                let wanted = |status: &IssueStatus| statuses.is_empty() || statuses.contains(status);
                IssueStatus::ALL.into_iter().filter(wanted).map(List::Status).collect()
            }
        };
        let (order, (rank, place)) = (filter.order, filter.after.unwrap_or((0, 0)));
        let start = if order == IssueOrder::Place { (0, place) } else { (rank, place) };
        let keys = lists.into_iter().map(|list| {
            let behind = self.lists.entries_behind(Some(&(list.clone(), order, start)));
            behind.map(|(spot, ())| spot).take_while(move |spot| spot.0 == list && spot.1 == order).peekable()
        });
        Merged(keys.collect())
            .filter_map(|spot| self.rows.get(&spot.2.1))
            .filter(|row| filter.fits(row))
            .take(filter.limit)
            .cloned()
            .collect()
    }
}

/// Lists of one order as one.
struct Merged<I: Iterator>(Vec<Peekable<I>>);

impl<'a, I: Iterator<Item = &'a Spot>> Iterator for Merged<I> {
    type Item = &'a Spot;

    fn next(&mut self) -> Option<&'a Spot> {
        let heads = self.0.iter_mut().filter_map(|list| Some((list.peek()?.2, list)));
        heads.min_by_key(|(key, _)| *key)?.1.next()
    }
}
