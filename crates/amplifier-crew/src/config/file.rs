//! `foreman.yaml`, and the same keys in a bundle: with file and line of whatever is wrong.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use amplifier_background::declared::resolved;
use amplifier_bundle::bundle::{Code, Diagnostic, Node, Position, PreparedBundle, Severity, yaml};
use amplifier_fs::read;
use amplifier_fs::read::ReadError;
use amplifier_trigger::{ConfigError, ConfigFault, TriggerRegistry};
use serde_json::{Map, Value};

use super::{CrewConfig, KEYS};

/// The name of a project's file.
pub const FILE_NAME: &str = "foreman.yaml";
/// The keys by which the settings of an orchestrator are known to be those of a foreman.
const FOREMAN: [&str; 2] = ["worker_pools", "background_sessions"];

/// A crew that was read, and where from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CrewFile {
    /// The crew.
    pub config: CrewConfig,
    /// The file.
    pub file: PathBuf,
    /// What a person should be told; no errors among it.
    pub diagnostics: Vec<Diagnostic>,
}

/// Why no crew was read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CrewFileError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file is wrong.
    #[error("{}", errors(diagnostics))]
    Wrong {
        /// Everything that was noticed, at least one error among it.
        diagnostics: Vec<Diagnostic>,
    },
}

fn errors(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error());
    errors.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl CrewFileError {
    /// True if there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Read(error) if error.is_missing())
    }
}

impl CrewFile {
    /// Reads a `foreman.yaml`. Paths in it are relative to its folder. `trusted`: somebody vouches for it.
    pub fn read(path: &Path, trusted: bool, registry: &TriggerRegistry) -> Result<Self, CrewFileError> {
        let (text, _) = read::text(path, yaml::MAX_BYTES as u64)?;
        let wrong = |diagnostics| CrewFileError::Wrong { diagnostics };
        let node = yaml::parse(&text, path).map_err(|error| wrong(vec![error.into()]))?;
        let config = CrewConfig::parse(&node, registry).map_err(|error| {
            let fault = |fault: &ConfigFault| {
                let error = Diagnostic::new(Severity::Error, Code::BadValue, path, fault.to_string());
                error.at(place(&node, &fault.field))
            };
            wrong(error.faults.iter().map(fault).collect())
        })?;
        let mut file = Self { config, file: path.to_owned(), diagnostics: Vec::new() };
        file.settle(path.parent().unwrap_or(Path::new("/")), trusted, |field| place(&node, field));
        file.config.chosen_by_project = true;
        Ok(file)
    }

    /// Reads what a bundle's orchestrator is set to; `None` for a bundle of something else. Other settings of that
    /// orchestrator are its own. `trusted`: somebody vouches for the bundle.
    pub fn of_bundle(
        bundle: &PreparedBundle,
        trusted: bool,
        registry: &TriggerRegistry,
    ) -> Result<Option<Self>, CrewFileError> {
        let Some(entry) = &bundle.bundle.session.orchestrator else { return Ok(None) };
        let settings = &entry.spec.config;
        if !FOREMAN.iter().any(|key| settings.contains_key(*key)) {
            return Ok(None);
        }
        let origin = entry.origins.last();
        let file: Arc<Path> = match (origin, &bundle.base_path) {
            (Some(origin), _) => Arc::clone(&origin.file),
            (None, base) => Arc::from(base.as_deref().unwrap_or(Path::new("/")).join(&bundle.name)),
        };
        let position = origin.map_or(Position::START, |origin| origin.position);
        let own: Map<String, Value> = settings
            .iter()
            .filter(|(key, _)| KEYS.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let config = CrewConfig::parse(&own, registry).map_err(|error: ConfigError| {
            let fault = |fault: &ConfigFault| {
                let message = format!("session.orchestrator.config.{fault}");
                Diagnostic::new(Severity::Error, Code::BadValue, &file, message).at(position)
            };
            CrewFileError::Wrong { diagnostics: error.faults.iter().map(fault).collect() }
        })?;
        let mut read = Self { config, file: file.to_path_buf(), diagnostics: Vec::new() };
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        read.settle(&folder, trusted, |_| position);
        Ok(Some(read))
    }

    /// Paths become absolute, and what widens goes where nobody vouches.
    fn settle(&mut self, folder: &Path, trusted: bool, place: impl Fn(&str) -> Position) {
        for pool in &mut self.config.pools {
            pool.worker_bundle = resolved(&pool.worker_bundle, folder);
        }
        for session in &mut self.config.background_sessions {
            session.bundle = resolved(&session.bundle, folder);
            session.chosen_by_project = true;
        }
        if trusted {
            return;
        }
        for field in self.config.distrust() {
            let message = format!("{field} does not count, because the directory is not trusted");
            let warning = Diagnostic::new(Severity::Warning, Code::NotRead, &self.file, message);
            self.diagnostics.push(warning.at(place(field)).help("run `amplifier trust` if you trust it"));
        }
    }
}

/// Where a field stands; where it is missing, what should hold it.
fn place(root: &Node, field: &str) -> Position {
    root.place_of(field).unwrap_or(root.position)
}
