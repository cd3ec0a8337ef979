//! What differs between two looks.
//!
//! Guarantees: two differences that follow each other make one; what ends as it began is none.

use std::collections::BTreeMap;

use amplifier_fs::read::Stamp;

use crate::config::Change;
use crate::manual::nominal;

/// Files with their stamps before and after; `None` where there was no file.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Diff(BTreeMap<String, (Option<Stamp>, Option<Stamp>)>);

impl Diff {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes what became of a file.
    pub(super) fn note(&mut self, path: String, before: Option<Stamp>, after: Option<Stamp>) {
        let before = self.0.get(&path).map_or(before, |(first, _)| *first);
        match before == after {
            true => drop(self.0.remove(&path)),
            false => drop(self.0.insert(path, (before, after))),
        }
    }

    /// Adds a later difference.
    pub(super) fn merge(&mut self, later: Self) {
        for (path, (before, after)) in later.0 {
            self.note(path, before, after);
        }
    }

    /// Leaves out what does not count.
    pub(super) fn retain(&mut self, counts: impl Fn(&str) -> bool) {
        self.0.retain(|path, _| counts(path));
    }

    /// The changes of the wanted kinds, in the order of their paths.
    pub(super) fn changes(&self, wanted: &[Change]) -> Vec<(&str, Change)> {
        self.0
            .iter()
            .map(|(path, stamps)| (path.as_str(), kind(stamps)))
            .filter(|(_, change)| wanted.contains(change))
            .collect()
    }

    /// Tells this difference from all others, for an id.
    pub(super) fn nominal(&self) -> String {
        nominal("f-", serde_json::to_string(&self.0).unwrap_or_default().as_bytes())
    }
}

fn kind((before, after): &(Option<Stamp>, Option<Stamp>)) -> Change {
    match (before, after) {
        (None, _) => Change::Created,
        (Some(_), None) => Change::Deleted,
        (Some(_), Some(_)) => Change::Modified,
    }
}
