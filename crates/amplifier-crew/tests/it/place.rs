//! A home and a project directory in a temporary folder.

use std::fs;
use std::sync::Arc;

use amplifier_core::{SessionId, Timestamp};
use amplifier_foundation::redact::Redactor;
use amplifier_foundation::storage::{FileStorage, ProjectPaths, SessionMetadata};
use tempfile::TempDir;

pub(crate) fn id(text: &str) -> SessionId {
    SessionId::new(text).unwrap()
}

pub(crate) struct Place {
    pub(crate) root: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("project")).unwrap();
        Self { root }
    }

    pub(crate) fn paths(&self) -> ProjectPaths {
        ProjectPaths::resolve(&self.root.path().join("home"), &self.root.path().join("project")).unwrap()
    }

    pub(crate) fn storage(&self) -> FileStorage {
        FileStorage::new(self.paths(), Redactor::default())
    }
}

pub(crate) fn described(id: &SessionId) -> Arc<SessionMetadata> {
    Arc::new(SessionMetadata::new(id.clone(), Timestamp::from_micros(1_767_225_600_000_000)))
}
