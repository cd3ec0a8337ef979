//! Where a setting comes from, and the files that settings are read from.
//!
//! Guarantees: a later [`Scope`] beats an earlier one. Never here: reading.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::home::{AmplifierHome, FOLDER};

/// Who sets something. Later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// `$AMPLIFIER_HOME/settings.yaml`.
    User,
    /// `<project>/.amplifier/settings.yaml`, shared by all who work on the project.
    Project,
    /// `<project>/.amplifier/settings.local.yaml`, for one person in one project.
    Local,
    /// `settings.yaml` in the session's folder.
    Session,
    /// A variable of the process.
    Environment,
    /// An argument of the command.
    Flag,
}

impl Scope {
    /// The name in messages and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Project => "project",
            Self::Local => "local",
            Self::Session => "session",
            Self::Environment => "environment",
            Self::Flag => "flag",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The place that set something. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Setter {
    /// A line of a file.
    File {
        /// Whose file.
        scope: Scope,
        /// The file.
        path: Arc<Path>,
        /// The line, counted from 1.
        line: u32,
    },
    /// A variable of the process.
    Variable(&'static str),
    /// An argument, as it is typed: `--model`.
    Flag(&'static str),
    /// The program itself, and why.
    Program(&'static str),
}

impl Setter {
    /// The scope.
    pub fn scope(&self) -> Scope {
        match self {
            Self::File { scope, .. } => *scope,
            Self::Variable(_) => Scope::Environment,
            Self::Flag(_) | Self::Program(_) => Scope::Flag,
        }
    }
}

impl fmt::Display for Setter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { scope, path, line } => write!(f, "{scope} settings {}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Program(reason) => f.write_str(reason),
        }
    }
}

/// A value with the place that set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set<T> {
    /// The value.
    pub value: T,
    /// Who set it.
    pub by: Setter,
}

impl<T> Set<T> {
    /// A value that somebody set.
    pub fn new(value: T, by: Setter) -> Self {
        Self { value, by }
    }
}

/// Whether the project's own files may widen permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProjectTrust {
    /// A person trusts the directory.
    Trusted,
    /// Nobody said so.
    Untrusted,
}

/// The files of the scopes, whether they exist or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsFiles {
    user: PathBuf,
    project: Option<PathBuf>,
    local: PathBuf,
    session: Option<PathBuf>,
    project_is_home: bool,
}

impl SettingsFiles {
    /// The files for a project. Where the project's folder is the user's own (`~`), its files are the user's.
    pub fn new(home: &AmplifierHome, project: &Path) -> Self {
        let folder = project.join(FOLDER);
        let real = |path: &Path| amplifier_fs::read::real_path(path).unwrap_or_else(|_| path.to_owned());
        let project_is_home = real(&folder) == real(home.path());
        Self {
            user: home.settings_file(),
            project: (!project_is_home).then(|| folder.join("settings.yaml")),
            local: folder.join("settings.local.yaml"),
            session: None,
            project_is_home,
        }
    }

    /// The same with the settings of a session, which lie in its folder.
    #[must_use]
    pub fn with_session(mut self, folder: &Path) -> Self {
        self.session = Some(folder.join("settings.yaml"));
        self
    }

    /// The file of a scope; `None` where the scope has none.
    pub fn of(&self, scope: Scope) -> Option<&Path> {
        match scope {
            Scope::User => Some(&self.user),
            Scope::Project => self.project.as_deref(),
            Scope::Local => Some(&self.local),
            Scope::Session => self.session.as_deref(),
            Scope::Environment | Scope::Flag => None,
        }
    }

    /// Whether a scope's file came with the project, so that it needs trust to widen anything.
    pub fn needs_trust(&self, scope: Scope) -> bool {
        matches!(scope, Scope::Project | Scope::Local) && !self.project_is_home
    }
}
