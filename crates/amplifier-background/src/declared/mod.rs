//! Background sessions as files declare them: `background_sessions:` of a bundle, and
//! `.amplifier/background.yaml` of a project.
//!
//! Guarantees: every fault of every file is told at once, with file, line, field and what to write instead;
//! a name has one declaration. What a project's own file says widens nothing while nobody vouches for
//! its directory: each thing that does not count is told.
//! Never here: starting anything.

pub mod edit;
mod merge;
mod place;
mod read;
mod short;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use amplifier_bundle::bundle::{BundleError, Diagnostic, PreparedBundle, Severity};
use amplifier_bundle::settings::home::FOLDER;
use amplifier_foundation::Host;
use amplifier_foundation::fs::read::ReadError;
use amplifier_trigger::{BackgroundName, TriggerRegistry};

use crate::config::BackgroundConfig;
use crate::notify::NotifyConfig;

pub use place::{relative_to, resolved};
pub use short::in_short;

/// The name of a project's file in `.amplifier`.
pub const FILE_NAME: &str = "background.yaml";
/// The key of the list, in bundles and in the file.
pub const LIST: &str = "background_sessions";
/// The key of the file beside it.
pub const NOTIFY: &str = "notify";
/// The key of the file for the hosts that requests to its webhooks may name.
pub const HOSTS: &str = "allowed_hosts";
/// The keys of the file.
pub const FILE_KEYS: [&str; 3] = [LIST, NOTIFY, HOSTS];

/// A background session, and where it is declared.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Declared {
    /// What it is.
    pub config: BackgroundConfig,
    /// Where.
    pub place: DeclaredAt,
}

impl Declared {
    /// One that code declares, in the name of a file.
    pub fn new(config: BackgroundConfig, place: DeclaredAt) -> Self {
        Self { config, place }
    }
}

impl DeclaredAt {
    /// A line of a file, counted from 1.
    pub fn new(file: Arc<Path>, line: u32) -> Self {
        Self { file, line, bundle: None }
    }
}

/// Where a background session is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeclaredAt {
    /// The file.
    pub file: Arc<Path>,
    /// The line, counted from 1.
    pub line: u32,
    /// The bundle that declares it; `None` for the project's file, which `background rm` can change.
    pub bundle: Option<String>,
}

impl std::fmt::Display for DeclaredAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// What is read, and who vouches for it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Sources {
    /// A bundle whose `background_sessions:` count: a name, path or URI.
    pub bundle: Option<String>,
    /// True if the project's own settings have chosen that bundle.
    pub bundle_by_project: bool,
    /// True if somebody vouches for the project's directory.
    pub trusted: bool,
}

impl Sources {
    /// The project's file alone, of a directory for which nobody vouches.
    pub fn new() -> Self {
        Self::default()
    }
}

/// All that is declared.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Declarations {
    /// In the order of the bundle, then of the file.
    pub sessions: Vec<Declared>,
    /// `notify:` of the project's file; nothing in a directory for which nobody vouches.
    pub notify: Vec<NotifyConfig>,
    /// `allowed_hosts:` of the project's file, as it is written; nothing in such a directory.
    pub allowed_hosts: Vec<String>,
    /// What a person should be told; no errors among it.
    pub diagnostics: Vec<Diagnostic>,
}

/// Why nothing of what is declared can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeclareError {
    /// Files are wrong.
    #[error("{}", errors(diagnostics))]
    Files {
        /// Everything that was noticed, at least one error among it.
        diagnostics: Vec<Diagnostic>,
    },
    /// The project's file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The bundle cannot be used.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

fn errors(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error());
    errors.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The file of a project. It need not exist.
pub fn file_of(project: &Path) -> PathBuf {
    project.join(FOLDER).join(FILE_NAME)
}

impl Declarations {
    /// Reads all that counts in the host's project.
    pub async fn load(
        host: &Host,
        sources: &Sources,
        registry: &TriggerRegistry,
    ) -> Result<Self, DeclareError> {
        let bundle = match &sources.bundle {
            Some(name) => Some(host.prepare(name).await?),
            None => None,
        };
        let mut reading = read::Reading::new(registry);
        if let Some(bundle) = &bundle {
            let vouched = sources.trusted || !(sources.bundle_by_project || is_of_project(host, bundle));
            reading.bundle(bundle, vouched, sources.bundle_by_project);
        }
        reading.file(&file_of(host.project()), sources.trusted)?;
        reading.finish()
    }

    /// The background session of a name.
    pub fn get(&self, name: &BackgroundName) -> Option<&Declared> {
        self.sessions.iter().find(|declared| declared.config.name == *name)
    }

    /// What a person should be told.
    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity != Severity::Note)
    }
}

/// True for a bundle that a name of the project led to.
fn is_of_project(host: &Host, bundle: &PreparedBundle) -> bool {
    let named = host.bundles().distrusted();
    bundle.files.iter().any(|(file, _)| named.contains(file))
}
