//! How the processes of one project know each other: an instance lock, a turnstile, a doorbell.
//!
//! Guarantees: who lives is known from a lock that the system frees when a process is torn down,
//! however it ended, and from nothing else; in doubt a process lives. One process at a time is in
//! the turnstile, and who waits is let in before who comes again. A ring wakes who waits and never
//! makes the one who rings wait; it may be lost, so look at the log now and then all the same.
//! Never here: what is written once the turnstile is passed, and what a ring is about.

mod doorbell;
mod peers;
mod place;
mod record;
mod turnstile;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::Clock;
use amplifier_fs::owned::OwnedFile;
use amplifier_fs::write::{self, Access};

use super::OwnerId;
use doorbell::Doorbell;
use record::Record;
use turnstile::Turnstile;

pub use peers::Peer;
pub use turnstile::{Blocked, Passage};

/// This process in a project's `run/` folder, for as long as it is not dropped. Local file
/// systems only.
#[derive(Debug)]
pub struct Instance {
    owner: OwnerId,
    run: PathBuf,
    /// `None` while it is dropped.
    lock: Option<OwnedFile>,
    doorbell: Doorbell,
    turnstile: Turnstile,
}

/// Why a process could not enter.
#[derive(Debug, thiserror::Error)]
enum EnterError {
    #[error(
        "{} cannot be used; make it writable, or set AMPLIFIER_HOME to a folder on a local disk that is",
        run.display()
    )]
    Folder {
        run: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("owner `{owner}` is in {} already; let each start of a process be an owner of its own", run.display())]
    Owner { run: PathBuf, owner: OwnerId },
    #[error(
        "no socket can be made; set XDG_RUNTIME_DIR to a folder of yours with mode 0700 and a short path"
    )]
    Doorbell {
        #[source]
        source: io::Error,
    },
}

impl From<EnterError> for io::Error {
    fn from(error: EnterError) -> Self {
        let kind = match &error {
            EnterError::Folder { source, .. } | EnterError::Doorbell { source } => source.kind(),
            EnterError::Owner { .. } => io::ErrorKind::AlreadyExists,
        };
        Self::new(kind, error)
    }
}

impl Instance {
    /// Makes this process known in `run`, as `owner`, and removes what dead ones have left there.
    ///
    /// The folder is made if there is none. No fsync but for a new folder: after a restart of the
    /// system nobody is here anyway. The error says what cannot be used, and what to do.
    pub fn enter(run: &Path, owner: OwnerId) -> io::Result<Arc<Self>> {
        let folder = |source| EnterError::Folder { run: run.to_owned(), source };
        let run = std::path::absolute(run).map_err(folder)?;
        write::create_dirs(&run, Access::Private).map_err(folder)?;
        peers::look(&run, &owner);
        let path = record::lock_path(&run, &owner);
        if record::lives(&path) {
            return Err(EnterError::Owner { run, owner }.into());
        }
        let doorbell = Doorbell::bind(&run, &owner).map_err(|source| EnterError::Doorbell { source })?;
        let record = Record::of_this_process(&owner, doorbell.path());
        // A doorbell that is dropped takes its socket away.
        let lock = OwnedFile::create_unflushed(&path, &record.line()).map_err(folder)?;
        let turnstile = Turnstile::new(&run, owner.clone());
        Ok(Arc::new(Self { owner, run, lock: Some(lock), doorbell, turnstile }))
    }

    /// Who this process is here.
    pub fn owner(&self) -> &OwnerId {
        &self.owner
    }

    /// True if the process of this owner lives: until the system has torn it down, and where it
    /// cannot be told. False for an owner that was never here.
    pub fn lives(&self, owner: &OwnerId) -> bool {
        *owner == self.owner || Self::lives_in(&self.run, owner)
    }

    /// As [`Instance::lives`], for who is not here.
    pub fn lives_in(run: &Path, owner: &OwnerId) -> bool {
        record::lives(&record::lock_path(run, owner))
    }

    /// The other processes that live, by owner. Lock files and sockets of the dead are removed.
    pub fn peers(&self) -> Vec<Peer> {
        peers::look(&self.run, &self.owner)
    }

    /// Waits for the turnstile, at most for `within`, and passes it: until the passage is dropped,
    /// nobody else does. Blocks the thread: for threads of the system, not for tasks.
    pub fn pass(&self, clock: &dyn Clock, within: Duration) -> Result<Passage, Blocked> {
        self.turnstile.pass(clock, within)
    }

    /// Wakes every other process that waits for it. Never waits, and tells no failure: who was not
    /// woken looks by itself a little later.
    pub fn ring(&self) {
        self.doorbell.ring(&self.run, &record::lock_name(&self.owner));
    }

    /// Blocks the thread until somebody rings, or has rung since the last call: true. False after
    /// `at_most`, or earlier if a signal came in between.
    pub fn wait(&self, at_most: Duration) -> bool {
        self.doorbell.wait(at_most)
    }
}

impl Drop for Instance {
    /// Who goes away in order leaves nothing; what cannot be removed is swept by the next.
    fn drop(&mut self) {
        self.doorbell.unlink();
        if let Some(lock) = self.lock.take() {
            let _ = lock.remove();
        }
    }
}
