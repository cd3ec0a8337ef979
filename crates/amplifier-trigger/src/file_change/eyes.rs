//! What the system says about where something has changed.
//!
//! Guarantees: at most [`MAX_DIRTY`] directories are noted, beyond that everything is; a notice about
//! reading is none. Never here: what has changed; notices are hints.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::ModifyKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Most directories that are noted one by one.
const MAX_DIRTY: usize = 1_024;

/// Most directories that one source watches; the system has a limit for all programs of a user.
const MAX_WATCHED: usize = 50_000;

/// Where to look.
#[derive(Debug, Default, Clone)]
pub(super) struct Dirty {
    /// Directories in which something has changed; absolute.
    pub(super) dirs: BTreeSet<PathBuf>,
    /// Everywhere.
    pub(super) all: bool,
    /// Watches may be gone: set them again.
    pub(super) rewatch: bool,
}

impl Dirty {
    pub(super) fn everything() -> Self {
        Self { all: true, rewatch: true, ..Self::default() }
    }
}

/// Notices as they come in. Clones are the same.
#[derive(Debug, Default, Clone)]
pub(super) struct Notices(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    // Guards plain data; never held across an await.
    noted: Mutex<Noted>,
    woken: Notify,
}

#[derive(Debug, Default)]
struct Noted {
    dirty: Dirty,
    count: u64,
}

impl Notices {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, note: impl FnOnce(&mut Dirty)) {
        {
            let mut noted = self.noted();
            note(&mut noted.dirty);
            if noted.dirty.dirs.len() > MAX_DIRTY {
                noted.dirty.dirs.clear();
                noted.dirty.all = true;
            }
            noted.count += 1;
        }
        self.0.woken.notify_one();
    }

    /// Notes that everything is to be looked at.
    pub(super) fn all(&self) {
        self.note(|dirty| (dirty.all, dirty.rewatch) = (true, true));
    }

    /// Resolves once there is a notice that was not taken.
    pub(super) async fn noticed(&self) {
        loop {
            let woken = self.0.woken.notified();
            {
                let noted = self.noted();
                if noted.dirty.all || !noted.dirty.dirs.is_empty() {
                    return;
                }
            }
            woken.await;
        }
    }

    /// How many notices there were.
    pub(super) fn count(&self) -> u64 {
        self.noted().count
    }

    /// Takes what was noted.
    pub(super) fn take(&self) -> Dirty {
        std::mem::take(&mut self.noted().dirty)
    }

    /// Takes a notice of the system in.
    fn hear(&self, event: &Event) {
        if event.need_rescan() {
            return self.all();
        }
        let leaves = matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
        if matches!(event.kind, EventKind::Access(_)) || event.paths.is_empty() {
            return;
        }
        self.note(|dirty| {
            for path in &event.paths {
                // A directory's own change (its entries) and a file's change are seen from above; a new
                // directory is found by listing where it stands.
                dirty.dirs.extend(path.parent().map(Path::to_owned));
            }
            dirty.rewatch |= leaves;
        });
    }
}

/// The system's watch over directories.
pub(super) struct Eyes {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    /// Most directories that are watched.
    limit: usize,
}

/// The system cannot watch (any more): no such interface, or its limit is reached.
#[derive(Debug)]
pub(super) struct Blind(pub(super) notify::Error);

impl Eyes {
    pub(super) fn open(notices: &Notices) -> Result<Self, Blind> {
        let notices = notices.clone();
        let hear = move |event: notify::Result<Event>| match event {
            Ok(event) => notices.hear(&event),
            Err(_) => notices.all(),
        };
        let watcher = notify::recommended_watcher(hear).map_err(Blind)?;
        Ok(Self { watcher, watched: BTreeSet::new(), limit: MAX_WATCHED })
    }

    /// Watches a directory, not what is below it. One that is gone is nothing to watch.
    pub(super) fn watch(&mut self, dir: &Path) -> Result<(), Blind> {
        if self.watched.contains(dir) {
            return Ok(());
        }
        if self.watched.len() >= self.limit {
            return Err(Blind(notify::Error::new(notify::ErrorKind::MaxFilesWatch)));
        }
        match self.watcher.watch(dir, RecursiveMode::NonRecursive) {
            Ok(()) => drop(self.watched.insert(dir.to_owned())),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(Blind(error)),
        }
        Ok(())
    }

    /// Eyes that see less.
    #[cfg(test)]
    pub(super) fn limited(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Forgets which directories are watched, so that each is watched anew.
    pub(super) fn forget(&mut self) {
        self.watched.clear();
    }

    /// Watches a directory and all below it no longer.
    pub(super) fn leave(&mut self, dir: &Path) {
        let gone: Vec<PathBuf> = self.watched.iter().filter(|path| path.starts_with(dir)).cloned().collect();
        for path in gone {
            self.watched.remove(&path);
            // The system has forgotten it by itself if it was removed.
            let _ = self.watcher.unwatch(&path);
        }
    }
}

fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => {
            matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{AccessKind, AccessMode, CreateKind, Flag, RemoveKind};

    fn event(kind: EventKind, path: &str) -> Event {
        Event::new(kind).add_path(PathBuf::from(path))
    }

    #[test]
    fn what_is_noted_is_where_to_look() {
        let notices = Notices::default();
        notices.hear(&event(EventKind::Access(AccessKind::Open(AccessMode::Any)), "/r/a"));
        assert_eq!(notices.count(), 0);
        notices.hear(&event(EventKind::Create(CreateKind::File), "/r/a/b"));
        let dirty = notices.take();
        assert_eq!(dirty.dirs, BTreeSet::from([PathBuf::from("/r/a")]));
        assert!(!dirty.all && !dirty.rewatch);
        notices.hear(&event(EventKind::Remove(RemoveKind::Folder), "/r/a"));
        assert!(notices.take().rewatch);
    }

    #[test]
    fn an_overflow_is_a_look_at_everything() {
        let notices = Notices::default();
        notices.hear(&Event::new(EventKind::Other).set_flag(Flag::Rescan));
        assert!(notices.take().all);
        for n in 0..=MAX_DIRTY {
            notices.hear(&event(EventKind::Create(CreateKind::File), &format!("/r/{n}/a")));
        }
        let dirty = notices.take();
        assert!(dirty.all && dirty.dirs.len() < 2);
    }
}
