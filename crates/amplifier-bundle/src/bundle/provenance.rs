//! Where an entry of a bundle came from: its bundle, file and line.
//!
//! Each entry carries its origins; a merged entry carries one for each file that had a say, in the order
//! in which they were applied. Nothing here reads a file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::node::Position;

/// The place that set an entry. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Origin {
    /// The name of the bundle; empty when it has none.
    pub bundle: Arc<str>,
    /// The file, as the caller named it.
    pub file: Arc<Path>,
    /// The place in the file.
    pub position: Position,
}

impl Origin {
    /// A place in a bundle's file.
    pub fn new(bundle: impl Into<Arc<str>>, file: impl Into<Arc<Path>>, position: Position) -> Self {
        Self { bundle: bundle.into(), file: file.into(), position }
    }
}

impl Default for Origin {
    /// No bundle, no file, line 1: for entries that a program made.
    fn default() -> Self {
        Self { bundle: "".into(), file: PathBuf::new().into(), position: Position::START }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} ({})", self.file.display(), self.position.line, self.bundle)
    }
}

#[derive(Serialize)]
struct OriginJson<'a> {
    bundle: &'a str,
    file: String,
    line: u32,
}

impl Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let file = self.file.display().to_string();
        OriginJson { bundle: &self.bundle, file, line: self.position.line }.serialize(serializer)
    }
}

/// Which places set what, by path: `tools.tool-bash`, `session.orchestrator`, `instruction`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Provenance(BTreeMap<String, Vec<Origin>>);

impl Provenance {
    /// The places that had a say in an entry, the last one last; empty when nobody set it.
    pub fn of(&self, path: &str) -> &[Origin] {
        self.0.get(path).map_or(&[], Vec::as_slice)
    }

    /// Every path with its places, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Origin])> {
        self.0.iter().map(|(path, origins)| (path.as_str(), origins.as_slice()))
    }

    /// Whether nothing was set by anybody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn set(&mut self, path: impl Into<String>, origins: Vec<Origin>) {
        self.0.insert(path.into(), origins);
    }

    pub(crate) fn add(&mut self, path: impl Into<String>, origins: &[Origin]) {
        let known = self.0.entry(path.into()).or_default();
        extend_unique(known, origins);
    }

    pub(crate) fn remove(&mut self, path: &str) -> Option<Vec<Origin>> {
        self.0.remove(path)
    }
}

/// Appends the origins that are not there yet.
pub(crate) fn extend_unique(known: &mut Vec<Origin>, more: &[Origin]) {
    for origin in more {
        if !known.contains(origin) {
            known.push(origin.clone());
        }
    }
}
