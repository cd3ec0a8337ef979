//! One background session out of what several files of a bundle say of it.
//!
//! Guarantees: the file that is composed later wins, key by key; each key knows its file.
//! Never here: joining the lists or maps inside of a key.

use std::path::Path;
use std::sync::Arc;

use amplifier_bundle::bundle::node::{Entry, Yaml};
use amplifier_bundle::bundle::{Node, Position};

/// What is said of one background session, before it is checked.
#[derive(Debug, Clone)]
pub(super) struct Said {
    /// The last file that says something, and where there.
    pub(super) file: Arc<Path>,
    pub(super) position: Position,
    /// The bundle of that file.
    pub(super) bundle: Option<String>,
    keys: Vec<(Entry, Arc<Path>)>,
}

impl Said {
    /// What one file says; `None` if it is no map.
    pub(super) fn new(node: &Node, file: &Arc<Path>, bundle: Option<String>) -> Option<Self> {
        let keys = node.as_map()?.iter().map(|entry| (entry.clone(), Arc::clone(file))).collect();
        Some(Self { file: Arc::clone(file), position: node.position, bundle, keys })
    }

    /// The name, as it is written.
    pub(super) fn name(&self) -> Option<String> {
        self.key("name").and_then(|(entry, _)| entry.value.as_text())
    }

    fn key(&self, key: &str) -> Option<&(Entry, Arc<Path>)> {
        self.keys.iter().find(|(entry, _)| entry.key == key)
    }

    /// The folder of the file that says a key.
    pub(super) fn folder_of(&self, key: &str) -> &Path {
        let file = self.key(key).map_or(&self.file, |(_, file)| file);
        file.parent().unwrap_or(Path::new("/"))
    }

    /// The same with what a later file says.
    pub(super) fn under(mut self, later: Self) -> Self {
        self.keys.retain(|(entry, _)| later.key(&entry.key).is_none());
        self.keys.extend(later.keys);
        Self { keys: self.keys, ..later }
    }

    /// The whole, as a map.
    pub(super) fn node(&self) -> Node {
        let entries = self.keys.iter().map(|(entry, _)| entry.clone()).collect();
        Node::new(Yaml::Map(entries), self.position)
    }

    /// Where a field stands, such as `triggers[1].config.cron`; where it is missing, what should hold it.
    pub(super) fn place(&self, field: &str) -> (&Arc<Path>, Position) {
        let end = field.find(['.', '[']).unwrap_or(field.len());
        let (first, rest) = field.split_at(end);
        let Some((entry, file)) = self.key(first) else { return (&self.file, self.position) };
        (file, entry.value.place_of(rest).unwrap_or(entry.key_position))
    }
}
