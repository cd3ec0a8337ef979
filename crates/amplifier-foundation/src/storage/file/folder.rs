//! One session's folder: what it holds, and how it is read and made.
//!
//! Guarantees: reading changes nothing. A folder that was begun and not finished, by a
//! crash, holds neither metadata nor transcript and counts as no session.

use std::path::{Path, PathBuf};

use amplifier_core::{Activation, SessionId};

use super::super::error::json_reason;
use super::super::{SessionMetadata, StorageError, StoredSession};
use super::open::OpenSession;
use super::transcript::{self, Parsed};
use amplifier_fs::append::AppendFile;
use amplifier_fs::write::{Access, Staged};
use amplifier_fs::{read, write};

pub(super) const METADATA: &str = "metadata.json";
pub(super) const TRANSCRIPT: &str = "transcript.jsonl";
pub(super) const BACKUP: &str = ".backup";
const LOCK: &str = ".lock";
/// How many torn lines are kept beside one transcript.
const MAX_TORN: usize = 10_000;

/// The folder of one session, there or not.
#[derive(Debug)]
pub(super) struct Folder {
    id: SessionId,
    path: PathBuf,
}

/// What was read, and where it came from.
struct Found {
    content: Vec<u8>,
    from_backup: bool,
}

impl Folder {
    pub(super) fn new(id: SessionId, path: PathBuf) -> Self {
        Self { id, path }
    }

    pub(super) fn id(&self) -> &SessionId {
        &self.id
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn lock_path(&self) -> PathBuf {
        self.path.join(LOCK)
    }

    pub(super) fn transcript_path(&self) -> PathBuf {
        self.path.join(TRANSCRIPT)
    }

    fn metadata_path(&self) -> PathBuf {
        self.path.join(METADATA)
    }

    pub(super) fn exists(&self) -> bool {
        [self.metadata_path(), self.transcript_path()]
            .iter()
            .any(|path| read::is_file(path) || read::is_file(&backup_of(path)))
    }

    pub(super) fn check_exists(&self) -> Result<(), StorageError> {
        match self.exists() {
            true => Ok(()),
            false => Err(StorageError::not_found(&self.id)),
        }
    }

    /// Makes the session, or leaves nothing behind. Three fsyncs: the metadata, the folder,
    /// the folder above.
    pub(super) fn create(
        &self,
        metadata: &[u8],
        activation: Activation,
    ) -> Result<OpenSession, StorageError> {
        match write::create_dir(&self.path, Access::Private) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => other.map_err(StorageError::io("create", &self.path))?,
        }
        let held = match self.lock() {
            Err(StorageError::Locked { .. }) => return Err(StorageError::Exists { id: self.id.clone() }),
            other => other?,
        };
        if self.exists() {
            return Err(StorageError::Exists { id: self.id.clone() });
        }
        match self.fill(metadata) {
            Ok(transcript) => Ok(OpenSession::new(held, activation, transcript, &Parsed::default())),
            Err(error) => {
                // The first failure is the one to tell; what stays counts as no session.
                let _ = write::remove_tree(&self.path);
                Err(error)
            }
        }
    }

    fn fill(&self, metadata: &[u8]) -> Result<AppendFile, StorageError> {
        let (target, transcript) = (self.metadata_path(), self.transcript_path());
        let staged =
            Staged::write(&target, metadata, Access::Private).map_err(StorageError::io("write", &target))?;
        staged.commit().map_err(StorageError::io("write", &target))?;
        write::create(&transcript, &[], Access::Private).map_err(StorageError::io("create", &transcript))?;
        write::sync_dir(&self.path).map_err(StorageError::io("flush", &self.path))?;
        if let Some(above) = self.path.parent() {
            write::sync_dir(above).map_err(StorageError::io("flush", above))?;
        }
        AppendFile::open(&transcript, 0).map_err(StorageError::io("open", &transcript))
    }

    pub(super) fn load(&self) -> Result<StoredSession, StorageError> {
        self.check_exists()?;
        let mut warnings = Vec::new();
        let metadata = self.read_metadata(&mut warnings)?;
        let parsed = self.read_transcript(&mut warnings)?.1;
        Ok(self.stored(metadata, parsed, warnings))
    }

    /// Locks, reads and mends.
    pub(super) fn open(&self, activation: Activation) -> Result<(OpenSession, StoredSession), StorageError> {
        self.check_exists()?;
        let held = self.lock()?;
        // Deleted between the two lines above: the lock has made a new, empty folder entry at most.
        self.check_exists()?;
        let mut warnings = Vec::new();
        let metadata = self.read_metadata(&mut warnings)?;
        let current = metadata.amplifier.activation;
        if activation < current {
            return Err(StorageError::Fenced { id: self.id.clone(), activation, current });
        }
        let (found, parsed) = self.read_transcript(&mut warnings)?;
        write::sweep(&self.path).map_err(StorageError::io("tidy", &self.path))?;
        let transcript = self.mend(found, &parsed)?;
        let session = OpenSession::new(held, activation, transcript, &parsed);
        let mut stored = self.stored(metadata, parsed, warnings);
        stored.activation = activation;
        Ok((session, stored))
    }

    /// Puts other files in the place of lock and transcript: who holds the earlier ones writes into nothing.
    pub(super) fn take_over(&self) -> Result<(), StorageError> {
        let (transcript, lock) = (self.transcript_path(), self.lock_path());
        if let Some(content) =
            read::bytes_if_any(&transcript).map_err(StorageError::io("read", &transcript))?
        {
            write::replace(&transcript, &content, Access::Private)
                .map_err(StorageError::io("write", &transcript))?;
        }
        write::replace(&lock, &[], Access::Private).map_err(StorageError::io("write", &lock))
    }

    /// Two fsyncs: the file, the folder.
    pub(super) fn replace_metadata(&self, content: &[u8]) -> Result<(), StorageError> {
        let path = self.metadata_path();
        write::replace(&path, content, Access::Private).map_err(StorageError::io("write", &path))
    }

    fn stored(&self, metadata: SessionMetadata, parsed: Parsed, warnings: Vec<String>) -> StoredSession {
        let mut stored = StoredSession::new(metadata, parsed.messages);
        stored.metadata.session_id.get_or_insert_with(|| self.id.clone());
        stored.warnings = warnings;
        stored
    }

    fn read_metadata(&self, warnings: &mut Vec<String>) -> Result<SessionMetadata, StorageError> {
        let path = self.metadata_path();
        let Some(found) = find(&path)? else {
            warnings.push(format!("{} is missing; the session goes on with what is known", path.display()));
            return Ok(SessionMetadata::default());
        };
        if found.from_backup {
            warnings.push(backup_used(&path));
        }
        serde_json::from_slice(&found.content).map_err(|error| StorageError::DamagedMetadata {
            line: error.line(),
            column: error.column(),
            reason: json_reason(&error),
            backup: Some(backup_of(&path)).filter(|backup| !found.from_backup && read::is_file(backup)),
            path: if found.from_backup { backup_of(&path) } else { path },
        })
    }

    fn read_transcript(&self, warnings: &mut Vec<String>) -> Result<(Option<Found>, Parsed), StorageError> {
        let path = self.transcript_path();
        let Some(found) = find(&path)? else {
            warnings.push(format!("{} is missing; the session begins without messages", path.display()));
            return Ok((None, Parsed::default()));
        };
        if found.from_backup {
            warnings.push(backup_used(&path));
        }
        let parsed = transcript::parse(&found.content).map_err(|damage| StorageError::Damaged {
            line: damage.line,
            reason: damage.reason,
            backup: Some(backup_of(&path)).filter(|backup| !found.from_backup && read::is_file(backup)),
            path: if found.from_backup { backup_of(&path) } else { path.clone() },
        })?;
        if parsed.torn_len > 0 {
            let len = parsed.torn_len;
            let path = path.display();
            warnings.push(format!("the last line of {path} is torn ({len} bytes) and was left out"));
        }
        if parsed.left_out > 0 {
            let count = parsed.left_out;
            warnings.push(format!("{count} system messages in {} were left out", path.display()));
        }
        Ok((Some(found), parsed))
    }

    /// Brings the transcript into a state that can be appended to, and opens it.
    fn mend(&self, found: Option<Found>, parsed: &Parsed) -> Result<AppendFile, StorageError> {
        let path = self.transcript_path();
        match found {
            None => write::replace(&path, &[], Access::Private).map_err(StorageError::io("create", &path))?,
            Some(found) => {
                if parsed.torn_len > 0 {
                    self.keep_torn(&found.content[parsed.good_len..])?;
                }
                if found.from_backup {
                    let good = &found.content[..parsed.good_len];
                    write::replace(&path, good, Access::Private).map_err(StorageError::io("write", &path))?;
                }
            }
        }
        AppendFile::open(&path, parsed.good_len as u64).map_err(StorageError::io("open", &path))
    }

    /// Two fsyncs: the file, the folder.
    fn keep_torn(&self, torn: &[u8]) -> Result<(), StorageError> {
        for number in 1..MAX_TORN {
            let path = self.path.join(format!("{TRANSCRIPT}.torn-{number}"));
            match write::create(&path, torn, Access::Private) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(StorageError::io("write", &path)(error)),
                Ok(()) => return write::sync_dir(&self.path).map_err(StorageError::io("flush", &self.path)),
            }
        }
        let full = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        Err(StorageError::io("keep a torn line in", &self.path)(full))
    }
}

/// The file, or else the copy that the reference system left of it.
fn find(path: &Path) -> Result<Option<Found>, StorageError> {
    let main = read::bytes_if_any(path).map_err(StorageError::io("read", path))?;
    if let Some(content) = main {
        return Ok(Some(Found { content, from_backup: false }));
    }
    let backup = backup_of(path);
    let content = read::bytes_if_any(&backup).map_err(StorageError::io("read", &backup))?;
    Ok(content.map(|content| Found { content, from_backup: true }))
}

pub(super) fn backup_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(BACKUP);
    PathBuf::from(name)
}

fn backup_used(path: &Path) -> String {
    format!("{} is missing; its copy {} was read instead", path.display(), backup_of(path).display())
}
