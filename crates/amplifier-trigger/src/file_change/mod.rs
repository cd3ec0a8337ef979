//! Changes of files below a project's directory.
//!
//! The system only says *where* to look (`eyes`); what has changed is told by comparing stamps with
//! those of the last look (`snapshot`). So a change that comes in ten notices is one, a notice about
//! nothing is none, and after an overflow everything is looked at again.
//!
//! Guarantees: no event for a file whose size, time and inode are as before; new directories are watched
//! before they are listed; a root that is removed and made again is found again within two seconds; where
//! the system cannot watch, all files are looked at every two seconds instead. Memory is bounded by
//! [`MAX_FILES`]. Never here: what changed while nobody watched: the first look is the base.

mod diff;
mod eyes;
mod selection;
mod snapshot;

use std::path::{Path, PathBuf};
use std::time::Duration;

use amplifier_core::clock::BoxFuture;
use amplifier_core::until::until;
use amplifier_core::{MonoTime, Payload, Timestamp};
use futures_util::{StreamExt, stream};
use serde::Serialize;

use self::diff::Diff;
use self::eyes::{Dirty, Notices};
use self::selection::Selection;
use self::snapshot::Snapshot;
use crate::config::{Change, FileChangeConfig, TriggerKind};
use crate::event::{Cause, TriggerEvent};
use crate::registry::BuildError;
use crate::source::{TriggerContext, TriggerError, TriggerSource, TriggerStream};

/// Most files that are kept in mind.
pub const MAX_FILES: usize = 200_000;

/// Most changes that one event lists; it tells how many there were.
pub const MAX_LISTED: usize = 1_000;

/// How often the root is looked for, and all files where the system cannot watch.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// For how many spans of quiet a burst is waited for at most.
const MAX_BURST: u32 = 10;

/// The source of changes of files.
#[derive(Debug)]
pub struct FileChangeTrigger {
    root: PathBuf,
    config: FileChangeConfig,
    end_time: Option<Timestamp>,
    notices: Notices,
    /// Lent to the thread that looks; `None` before the first look.
    snapshot: Option<Snapshot>,
}

impl FileChangeTrigger {
    /// Watches below `root`.
    pub fn new(
        root: &Path,
        config: FileChangeConfig,
        end_time: Option<Timestamp>,
    ) -> Result<Self, BuildError> {
        Selection::new(root, &config)?;
        let (notices, snapshot) = (Notices::default(), None);
        Ok(Self { root: root.to_owned(), config, end_time, notices, snapshot })
    }

    /// Looks at some directories, on a thread that may block. The first look is the base: it finds nothing.
    async fn scan(&mut self, dirty: Dirty) -> Result<Diff, TriggerError> {
        let first = self.snapshot.is_none();
        let mut snapshot = match self.snapshot.take() {
            Some(snapshot) => snapshot,
            None => Snapshot::new(&self.root, &self.config, &self.notices),
        };
        let looked = tokio::task::spawn_blocking(move || {
            let found = snapshot.scan(&dirty);
            (snapshot, found)
        });
        let (snapshot, found) =
            looked.await.map_err(|error| TriggerError::Panicked { reason: error.to_string() })?;
        let found = found?;
        self.snapshot = Some(snapshot);
        Ok(if first { Diff::default() } else { found })
    }
}

impl TriggerSource for FileChangeTrigger {
    /// Takes the first look.
    fn prepare(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // What is wrong is told once it is watched, which looks again.
            let _ = self.scan(Dirty::everything()).await;
        })
    }

    fn watch(self: Box<Self>, context: TriggerContext) -> TriggerStream {
        stream::unfold(Some(Watch { trigger: *self, context }), |watch| async {
            let mut watch = watch?;
            match watch.next().await? {
                Ok(event) => Some((Ok(event), Some(watch))),
                // The error is the last word.
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }
}

/// A source at work.
struct Watch {
    trigger: FileChangeTrigger,
    context: TriggerContext,
}

/// What an event says.
#[derive(Serialize)]
struct FilesPayload<'a> {
    root: String,
    changes: Vec<ChangedFile<'a>>,
    total: usize,
    /// The first of them, as the reference system names it.
    file_path: &'a str,
    change_type: Change,
}

#[derive(Serialize)]
struct ChangedFile<'a> {
    path: &'a str,
    change: Change,
}

/// Why a wait ended.
enum Woken {
    Notice,
    Heartbeat,
}

impl Watch {
    async fn next(&mut self) -> Option<Result<TriggerEvent, TriggerError>> {
        loop {
            let found = match self.look().await? {
                Ok(found) => found,
                Err(error) => return Some(Err(error)),
            };
            let now = self.context.now();
            if self.trigger.end_time.is_some_and(|end| now > end) {
                return None;
            }
            let changes = found.changes(&self.trigger.config.changes);
            if !changes.is_empty() {
                return Some(self.event(&found, &changes, now));
            }
        }
    }

    /// Waits for something to look at, and looks. `None` once cancelled.
    async fn look(&mut self) -> Option<Result<Diff, TriggerError>> {
        if self.trigger.snapshot.is_none() {
            return Some(self.trigger.scan(Dirty::everything()).await);
        }
        let polls = self.trigger.snapshot.as_ref().is_some_and(Snapshot::polls);
        let woken = self.wait(polls).await?;
        let mut found = Diff::default();
        if let (Woken::Heartbeat, true) = (&woken, polls) {
            found = match self.trigger.scan(Dirty::everything()).await {
                Ok(found) => found,
                Err(error) => return Some(Err(error)),
            };
            if found.is_empty() {
                return Some(Ok(found));
            }
        }
        if let Woken::Heartbeat = woken
            && !polls
            && !self.trigger.snapshot.as_ref().is_some_and(Snapshot::root_changed)
        {
            return Some(Ok(found));
        }
        if let (Woken::Heartbeat, false) = (&woken, polls) {
            self.trigger.notices.all();
        }
        self.settle(&mut found, polls).await
    }

    async fn wait(&self, polls: bool) -> Option<Woken> {
        let span = match (polls, self.trigger.config.poll) {
            (true, Some(poll)) => poll,
            _ => HEARTBEAT,
        };
        let heartbeat = self.context.clock.sleep(span);
        let noticed = until(Box::pin(self.trigger.notices.noticed()), heartbeat);
        let noticed = until(Box::pin(noticed), Box::pin(self.context.cancel.cancelled())).await?;
        Some(noticed.map_or(Woken::Heartbeat, |()| Woken::Notice))
    }

    /// Waits until a burst is over, and looks at where it was.
    async fn settle(&mut self, found: &mut Diff, polls: bool) -> Option<Result<Diff, TriggerError>> {
        let debounce = self.trigger.config.debounce;
        let began = self.context.clock.monotonic();
        loop {
            let before = self.trigger.notices.count();
            let quiet = self.context.clock.sleep(debounce);
            until(quiet, Box::pin(self.context.cancel.cancelled())).await?;
            let dirty = match polls {
                true => Dirty::everything(),
                false if self.trigger.notices.count() != before && !self.overdue(began) => continue,
                false => self.trigger.notices.take(),
            };
            let more = match self.trigger.scan(dirty).await {
                Ok(more) => more,
                Err(error) => return Some(Err(error)),
            };
            let quiet = !polls || more.is_empty() || self.overdue(began);
            found.merge(more);
            if quiet {
                return Some(Ok(std::mem::take(found)));
            }
        }
    }

    fn overdue(&self, began: MonoTime) -> bool {
        let waited = self.context.clock.monotonic().saturating_since(began);
        waited >= self.trigger.config.debounce * MAX_BURST
    }

    fn event(
        &self,
        found: &Diff,
        changes: &[(&str, Change)],
        now: Timestamp,
    ) -> Result<TriggerEvent, TriggerError> {
        let id = self.context.event_id(&found.nominal())?;
        let listed =
            changes.iter().take(MAX_LISTED).map(|(path, change)| ChangedFile { path, change: *change });
        let (file_path, change_type) = changes.first().copied().unwrap_or(("", Change::Modified));
        let payload = FilesPayload {
            root: self.trigger.root.display().to_string(),
            changes: listed.collect(),
            total: changes.len(),
            file_path,
            change_type,
        };
        let payload = Payload::cut(&payload).unwrap_or_else(|_| Payload::null());
        Ok(TriggerEvent::new(id, TriggerKind::FileChange, now, Cause::Files, payload))
    }
}
