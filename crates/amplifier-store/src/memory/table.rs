//! A table that can take back what was done to it since the last commit.
//!
//! Guarantees: after `undo` it is as after the last `keep`, at the cost of the rows that changed.

use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Table<K, V> {
    rows: BTreeMap<K, V>,
    /// What stood under a key before, the oldest change first.
    before: Vec<(K, Option<V>)>,
}

impl<K: Ord, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), before: Vec::new() }
    }
}

impl<K: Ord + Clone, V> Table<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.rows.values()
    }

    /// The rows behind a key, in order.
    pub(super) fn behind(&self, key: Option<&K>) -> impl Iterator<Item = &V> {
        self.entries_behind(key).map(|(_, row)| row)
    }

    /// The same with their keys.
    pub(super) fn entries_behind<'t>(
        &'t self,
        key: Option<&K>,
    ) -> impl Iterator<Item = (&'t K, &'t V)> + use<'t, K, V> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.rows.range((key.map_or(Unbounded, Excluded), Unbounded))
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    /// The keys from one on, in order.
    pub(super) fn from(&self, key: K) -> impl Iterator<Item = &K> {
        self.rows.range(key..).map(|(key, _)| key)
    }

    pub(super) fn put(&mut self, key: K, row: V) {
        let old = self.rows.insert(key.clone(), row);
        self.before.push((key, old));
    }

    pub(super) fn remove(&mut self, key: &K) {
        if let Some(old) = self.rows.remove(key) {
            self.before.push((key.clone(), Some(old)));
        }
    }
}

/// The end of a commit, one way or the other.
pub(super) trait Undo {
    fn keep(&mut self);
    fn undo(&mut self);
}

impl<K: Ord, V> Undo for Table<K, V> {
    fn keep(&mut self) {
        self.before.clear();
    }

    fn undo(&mut self) {
        while let Some((key, old)) = self.before.pop() {
            match old {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undo_takes_back_every_change_since_keep() {
        let mut table = Table::default();
        table.put("a", 1);
        table.put("b", 2);
        table.keep();
        table.put("a", 3);
        table.remove(&"a");
        table.put("a", 4);
        table.put("c", 5);
        table.remove(&"b");
        table.undo();
        assert_eq!(table.rows, BTreeMap::from([("a", 1), ("b", 2)]));
        table.undo();
        assert_eq!(table.len(), 2);
    }
}
