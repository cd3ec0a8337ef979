//! The lock file of a process: its name, the line in it, and whether its process lives.
//!
//! Guarantees: the lock decides who lives. What the line says is used to name a process, to ring
//! at it and to tell a glance of a third process from a life, and is believed in nothing else.
//! Never here: waits of more than some looks.

use std::path::{Path, PathBuf};

use amplifier_core::Timestamp;
use amplifier_fs::boot::{Place, Relation};
use amplifier_fs::process_table::process;
use amplifier_fs::{lock, read};
use serde::{Deserialize, Serialize};

use crate::OwnerId;

const VERSION: u32 = 1;
const BEGINNING: &str = "instance-";
const END: &str = ".lock";
/// Longest owner that stands in a file's name as it is; a name may have 255 bytes.
const MAX_NAME_BYTES: usize = 100;
/// Longest lock file that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;
/// How often a lock is tried that a dead process seems to hold: then a third one is looking at it,
/// for some microseconds.
pub(super) const LOOKS: usize = 200;

/// The line in a lock file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    pub(super) owner: String,
    pub(super) pid: u32,
    /// When the process was started, in clock ticks since the system's start.
    started: Option<u64>,
    place: Place,
    /// Where its socket lies.
    pub(super) doorbell: String,
    /// When it entered, by the clock of the file system.
    at: Option<Timestamp>,
}

impl Record {
    /// What this process says of itself.
    pub(super) fn of_this_process(owner: &OwnerId, doorbell: &Path) -> Self {
        let pid = std::process::id();
        Self {
            version: VERSION,
            owner: owner.as_str().to_owned(),
            pid,
            started: started(pid),
            place: Place::here(),
            doorbell: doorbell.to_string_lossy().into_owned(),
            at: made(doorbell),
        }
    }

    /// The bytes of the lock file.
    pub(super) fn line(&self) -> Vec<u8> {
        // Numbers and texts are always JSON; an empty file would be a lock all the same.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Reads a lock file; `None` if there is none, or no such line in it.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let (bytes, _) = read::bytes(path, MAX_BYTES).ok()?;
        Self::parse(&bytes)
    }

    /// `None` if it is damaged.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// True if the process is certainly gone, so that somebody else holds its lock.
    pub(super) fn has_ended(&self) -> bool {
        match Place::here().relation(&self.place) {
            Relation::OtherBoot => true,
            Relation::Same => self.started.is_some_and(|ticks| started(self.pid) != Some(ticks)),
            _ => false,
        }
    }
}

fn started(pid: u32) -> Option<u64> {
    Some(process(i32::try_from(pid).ok()?)?.started_ticks)
}

/// When a file was made: time as the file system tells it.
fn made(path: &Path) -> Option<Timestamp> {
    let since = read::modified(path).ok()??.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_micros(i64::try_from(since.as_micros()).ok()?))
}

/// True as long as the process that made the lock file has not been torn down, and in doubt.
pub(super) fn lives(path: &Path) -> bool {
    for _ in 0..LOOKS {
        match lock::probe(path) {
            Ok(None) => return false,
            Err(_) => return true,
            Ok(Some(_)) if !Record::read(path).is_some_and(|record| record.has_ended()) => return true,
            Ok(Some(_)) => std::thread::yield_now(),
        }
    }
    true
}

/// The name of an owner's lock file. An owner may be any text: one that is no file name is hashed.
pub(super) fn lock_name(owner: &OwnerId) -> String {
    let text = owner.as_str();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match text.len() <= MAX_NAME_BYTES && text.bytes().all(plain) {
        true => format!("{BEGINNING}{text}{END}"),
        // No plain name holds a dot, so none is taken for a hash.
        false => format!("{BEGINNING}.{}{END}", blake3::hash(text.as_bytes()).to_hex()),
    }
}

/// Where an owner's lock file lies.
pub(super) fn lock_path(run: &Path, owner: &OwnerId) -> PathBuf {
    run.join(lock_name(owner))
}

/// What stands for the owner in the name of a lock file; `None` for other files.
pub(super) fn stem(name: &str) -> Option<&str> {
    name.strip_prefix(BEGINNING)?.strip_suffix(END)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_owner_has_a_file_name_of_its_own() {
        let name = |text: &str| lock_name(&OwnerId::new(text).unwrap());
        assert_eq!(name("0199-ab_C"), "instance-0199-ab_C.lock");
        let long = "x".repeat(200);
        let odd = ["a/b", "../../x", ".", "a.b", "ä", "a b", &long];
        let names: std::collections::BTreeSet<_> = odd.iter().map(|text| name(text)).collect();
        assert_eq!(names.len(), odd.len());
        assert!(names.iter().all(|name| name.len() < 100 && !name.contains('/')), "{names:?}");
        assert!(names.iter().all(|name| stem(name).is_some()));
        assert_eq!(stem("processes-1.jsonl"), None);
    }

    #[test]
    fn a_record_survives_its_line_and_says_when_its_process_is_gone() {
        let owner = OwnerId::new("o").unwrap();
        let own = Record::of_this_process(&owner, Path::new("/tmp"));
        let mut read = Record::parse(&own.line()).unwrap();
        assert_eq!((read.owner.as_str(), read.pid, read.version), ("o", std::process::id(), VERSION));
        assert!(!read.has_ended());
        read.started = Some(1);
        assert_eq!(read.has_ended(), cfg!(target_os = "linux"), "its process id is another's now");
        read.place = Place::default();
        assert!(!read.has_ended(), "in doubt it lives");
        assert!(Record::parse(b"").is_none() && Record::parse(b"{\"version\":1").is_none());
    }
}
