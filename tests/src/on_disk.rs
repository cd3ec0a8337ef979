//! Stores in files, as processes of one project open them.
//!
//! Guarantees: the clock and the ids are the machine's, as different processes need them.
//! Never here: a project; the folder holds the database and what processes know of each other.

use std::path::Path;
use std::sync::Arc;

use amplifier_core::Clock;
use amplifier_foundation::host::{RandomIds, SystemClock};
use amplifier_foundation::store::{Instance, OwnerId, SqliteOptions, SqliteStore};

/// The store of a folder, for one of several processes.
pub fn shared(folder: &Path, owner: &OwnerId) -> SqliteStore {
    let instance = Instance::enter(&folder.join("run"), owner.clone()).unwrap();
    SqliteStore::open(options(folder).instance(instance)).unwrap()
}

/// The store of a folder in which nobody else is.
pub fn alone(folder: &Path) -> SqliteStore {
    SqliteStore::open(options(folder)).unwrap()
}

fn options(folder: &Path) -> SqliteOptions {
    SqliteOptions::new(folder.join("amplifier.db"), Arc::new(SystemClock::new()), Arc::new(RandomIds::new()))
}

/// The wall clock, in microseconds since 1970.
pub fn now_micros() -> i64 {
    SystemClock::new().now().as_micros()
}
