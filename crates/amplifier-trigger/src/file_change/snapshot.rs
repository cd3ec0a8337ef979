//! The files that count, as they were at the last look.
//!
//! Guarantees: a directory is watched before it is listed, so nothing falls between; at most
//! [`MAX_FILES`](super::MAX_FILES) files are kept. Blocks: for threads that may.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use amplifier_fs::read::{self, Kind, Stamp};

use super::MAX_FILES;
use super::diff::Diff;
use super::eyes::{Blind, Dirty, Eyes, Notices};
use super::selection::Selection;
use crate::config::FileChangeConfig;
use crate::source::TriggerError;

/// The files of one directory, by name.
#[derive(Debug, Default)]
struct Dir {
    files: BTreeMap<String, Stamp>,
    /// Its files of rules.
    rules: BTreeMap<String, Stamp>,
}

/// Files by directory, relative to the root.
pub(super) struct Snapshot {
    root: PathBuf,
    /// What tells the root from another directory in its place.
    identity: Option<u64>,
    selection: Option<Selection>,
    dirs: BTreeMap<PathBuf, Dir>,
    files: usize,
    /// `None` where the system cannot watch, or shall not.
    eyes: Option<Eyes>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("root", &self.root)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    /// An empty snapshot. It watches unless the configuration polls or the system cannot.
    pub(super) fn new(root: &Path, config: &FileChangeConfig, notices: &Notices) -> Self {
        let eyes = match config.poll {
            Some(_) => None,
            None => Eyes::open(notices).map_err(|error| tell_blind(root, &error)).ok(),
        };
        Self {
            root: root.to_owned(),
            identity: None,
            // The configuration was checked when the trigger was made.
            selection: Selection::new(root, config).ok(),
            dirs: BTreeMap::new(),
            files: 0,
            eyes,
        }
    }

    /// True if nobody tells of changes.
    pub(super) fn polls(&self) -> bool {
        self.eyes.is_none()
    }

    /// True if another directory is at the root's place, or none any more, or one again.
    pub(super) fn root_changed(&self) -> bool {
        read::identity(&self.root) != self.identity
    }

    /// Looks at what is dirty. What is found is remembered: the next look compares with it.
    pub(super) fn scan(&mut self, dirty: &Dirty) -> Result<Diff, TriggerError> {
        let mut found = Diff::default();
        let Some(mut selection) = self.selection.take() else { return Ok(found) };
        let root_changed = self.root_changed();
        self.identity = read::identity(&self.root);
        if (dirty.rewatch || root_changed)
            && let Some(eyes) = &mut self.eyes
        {
            eyes.forget();
        }
        let before = selection.clone();
        let mut work = match dirty.all || dirty.rewatch || root_changed {
            true => vec![PathBuf::new()],
            false => self.places(dirty),
        };
        let everywhere = work.first().is_some_and(|dir| dir.as_os_str().is_empty()) && work.len() == 1;
        let mut rules = false;
        let mut result = Ok(());
        while let Some(dir) = work.pop() {
            match self.list(&dir, &mut selection, everywhere, &mut found) {
                Ok(listed) => {
                    rules |= listed.rules;
                    work.extend(listed.below);
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.selection = Some(selection);
        result?;
        if rules && !everywhere {
            found.merge(self.scan(&Dirty::everything())?);
        }
        if let Some(after) = &self.selection {
            // What counts under one set of rules alone has not changed by that.
            found.retain(|path| {
                let path = Path::new(path);
                before.counts_with_parents(path) && after.counts_with_parents(path)
            });
        }
        Ok(found)
    }

    /// The known directories among those that were noted.
    fn places(&self, dirty: &Dirty) -> Vec<PathBuf> {
        let inside = dirty.dirs.iter().filter_map(|dir| dir.strip_prefix(&self.root).ok());
        inside.filter(|dir| self.dirs.contains_key(*dir)).map(Path::to_owned).collect()
    }

    /// Looks at one directory: notes its files that changed, tells which directories below to look at.
    fn list(
        &mut self,
        dir: &Path,
        selection: &mut Selection,
        everywhere: bool,
        found: &mut Diff,
    ) -> Result<Listed, TriggerError> {
        self.see(dir);
        let entries = match read::stamped(&self.root.join(dir), MAX_FILES) {
            Ok((entries, _)) => entries,
            Err(error) if error.is_missing() => {
                self.remove(dir, found);
                return Ok(Listed::default());
            }
            Err(source) if dir.as_os_str().is_empty() => {
                return Err(TriggerError::Files { root: self.root.clone(), source });
            }
            // A directory that nobody may read has no files that count.
            Err(_) => {
                self.remove(dir, found);
                return Ok(Listed::default());
            }
        };
        selection.enter(dir, entries.iter().map(|entry| entry.name.as_str()));
        let mut files = BTreeMap::new();
        let mut folders = Vec::new();
        let mut rules = BTreeMap::new();
        for entry in entries {
            let path = dir.join(&entry.name);
            if entry.kind == Kind::Directory && selection.holds(&path) {
                folders.push(path);
            } else if entry.kind == Kind::File {
                if selection.is_rules(&entry.name) {
                    rules.insert(entry.name.clone(), entry.stamp);
                }
                if selection.counts(&path) {
                    files.insert(entry.name, entry.stamp);
                }
            }
        }
        self.compare(dir, files, found)?;
        self.gone(dir, &folders, found);
        let known = |folder: &PathBuf| self.dirs.contains_key(folder);
        let below = folders.iter().filter(|folder| everywhere || !known(folder)).cloned().collect();
        let known = self.dirs.entry(dir.to_owned()).or_default();
        let changed = known.rules != rules;
        known.rules = rules;
        Ok(Listed { below, rules: changed })
    }

    /// Has a directory watched. Where the system refuses, everything is looked at from now on.
    fn see(&mut self, dir: &Path) {
        let place = self.root.join(dir);
        if let Some(eyes) = &mut self.eyes
            && let Err(error) = eyes.watch(&place)
        {
            tell_blind(&self.root, &error);
            self.eyes = None;
        }
    }

    fn compare(
        &mut self,
        dir: &Path,
        files: BTreeMap<String, Stamp>,
        found: &mut Diff,
    ) -> Result<(), TriggerError> {
        let known = self.dirs.entry(dir.to_owned()).or_default();
        let name = |file: &str| dir.join(file).to_string_lossy().into_owned();
        for (file, before) in &known.files {
            let after = files.get(file);
            if after != Some(before) {
                found.note(name(file), Some(*before), after.copied());
            }
        }
        for (file, after) in &files {
            if !known.files.contains_key(file) {
                found.note(name(file), None, Some(*after));
            }
        }
        self.files = self.files + files.len() - known.files.len();
        known.files = files;
        match self.files > MAX_FILES {
            true => Err(TriggerError::TooManyFiles { root: self.root.clone(), max: MAX_FILES }),
            false => Ok(()),
        }
    }

    /// Forgets directories right below this one that are there no more, or count no more.
    fn gone(&mut self, dir: &Path, folders: &[PathBuf], found: &mut Diff) {
        let below = |path: &&PathBuf| path.parent() == Some(dir) && !folders.contains(path);
        let gone: Vec<PathBuf> = self.dirs.keys().filter(below).cloned().collect();
        for path in gone {
            self.remove(&path, found);
        }
    }

    /// Forgets a directory and all below it: their files are deleted.
    fn remove(&mut self, dir: &Path, found: &mut Diff) {
        let gone: Vec<PathBuf> = self.dirs.keys().filter(|path| path.starts_with(dir)).cloned().collect();
        for path in gone {
            for (file, before) in self.dirs.remove(&path).unwrap_or_default().files {
                self.files -= 1;
                found.note(path.join(file).to_string_lossy().into_owned(), Some(before), None);
            }
        }
        if let Some(eyes) = &mut self.eyes {
            eyes.leave(&self.root.join(dir));
        }
    }
}

/// What a look at one directory leads to.
#[derive(Debug, Default)]
struct Listed {
    /// Directories to look at.
    below: Vec<PathBuf>,
    /// True if its files of rules are other ones than before.
    rules: bool,
}

fn tell_blind(root: &Path, error: &Blind) {
    let reason = &error.0;
    tracing::warn!(root = %root.display(), "files cannot be watched and are looked at every two seconds: {reason}");
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::config::{Change, DEFAULT_DEBOUNCE};

    #[test]
    fn where_the_system_cannot_watch_everything_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let config = FileChangeConfig {
            paths: vec!["**".to_owned()],
            ignore: Vec::new(),
            changes: vec![Change::Created],
            debounce: DEFAULT_DEBOUNCE,
            ignore_files: true,
            poll: None,
        };
        let notices = Notices::default();
        let mut snapshot = Snapshot::new(dir.path(), &config, &notices);
        snapshot.eyes = snapshot.eyes.map(|eyes| eyes.limited(2));
        std::fs::create_dir(dir.path().join("a")).unwrap();
        snapshot.scan(&Dirty::everything()).unwrap();
        assert!(!snapshot.polls());
        // One directory more than can be watched.
        std::fs::create_dir(dir.path().join("b")).unwrap();
        std::fs::write(dir.path().join("b/c"), "1").unwrap();
        let found = snapshot.scan(&Dirty::everything()).unwrap();
        assert!(snapshot.polls());
        assert_eq!(found.changes(&[Change::Created]), [("b/c", Change::Created)]);
        std::fs::write(dir.path().join("b/d"), "1").unwrap();
        let found = snapshot.scan(&Dirty::everything()).unwrap();
        assert_eq!(found.changes(&[Change::Created]), [("b/d", Change::Created)]);
    }
}
