//! Who else is in a `run/` folder, and what the dead have left there.
//!
//! Guarantees: only who holds the lock of a file removes it, with the socket that it names, and a
//! file of a process that lives stays. Nothing is removed but lock files and sockets of ours.
//! Never here: failures; what cannot be read is taken for alive, what cannot be removed stays.

use std::path::Path;

use amplifier_fs::{owned, read};

use super::place;
use super::record::{self, LOOKS, Record};
use crate::OwnerId;

/// Another process that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// Who it is.
    pub owner: OwnerId,
    /// Its process id, in its own space of ids; `None` if its lock file is damaged.
    pub pid: Option<u32>,
}

/// The others that live, by owner; sweeps the rest.
pub(super) fn look(run: &Path, own: &OwnerId) -> Vec<Peer> {
    let own = record::lock_name(own);
    let names = read::names(run).unwrap_or_default();
    let mut peers: Vec<Peer> = names.iter().filter_map(|name| visit(run, name, &own)).collect();
    peers.sort_by(|one, two| one.owner.cmp(&two.owner));
    peers
}

/// The peer to whom the file belongs, if it is one and lives.
fn visit(run: &Path, name: &str, own: &str) -> Option<Peer> {
    let shown = owned::owned_name(name);
    let stem = record::stem(shown)?;
    let path = run.join(name);
    if shown != name {
        // One that is just being made is left alone, as it has no lock yet, and so is one without a line.
        let _ = Record::read(&path).is_some_and(|record| record.has_ended()) && swept(&path);
        return None;
    }
    if name == own && record::lives(&path) || swept(&path) {
        return None;
    }
    let record = Record::read(&path);
    // Gone between two looks.
    read::is_file(&path).then_some(())?;
    let owner = OwnerId::new(record.as_ref().map_or(stem, |record| record.owner.as_str())).ok()?;
    Some(Peer { owner, pid: record.map(|record| record.pid) })
}

/// Removes a file whose process is gone. False: it lives, or that cannot be told.
fn swept(path: &Path) -> bool {
    for _ in 0..LOOKS {
        match owned::take(path) {
            Ok(Some(mut dead)) => {
                if let Some(record) = dead.content().ok().and_then(|content| Record::parse(&content)) {
                    place::remove_socket(Path::new(&record.doorbell));
                }
                // Of a folder that cannot be written, nothing is removed: the dead are dead all the same.
                let _ = dead.remove();
                return true;
            }
            Ok(None) if Record::read(path).is_some_and(|record| record.has_ended()) => {
                std::thread::yield_now();
            }
            Ok(None) | Err(_) => return false,
        }
    }
    false
}
