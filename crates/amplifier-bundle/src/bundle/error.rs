//! Why a bundle could not be made ready.

use std::path::PathBuf;

use super::diagnostic::Diagnostic;
use crate::source::SourceError;
use crate::source::registry::RegistryError;
use amplifier_fs::read::ReadError;

/// Why a bundle could not be made ready. No message holds credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Nobody knows the name.
    #[error("there is no bundle `{}`; {}", name.escape_debug(), suggestion(near))]
    NotFound {
        /// The name as written.
        name: String,
        /// Names that are like it.
        near: Vec<String>,
    },
    /// The bundle is there, and what was wanted inside it is not.
    #[error("bundle `{name}` has no `{}` in {}; check the path after the name", path.escape_debug(), folder.display())]
    NotInBundle {
        /// The bundle's name or namespace.
        name: String,
        /// The path as written.
        path: String,
        /// The folder that was searched.
        folder: PathBuf,
    },
    /// An include names a known namespace and a path that is not in it.
    #[error("`{}` names nothing in {}; check the path after `{namespace}:`", include.escape_debug(), folder.display())]
    IncludePath {
        /// The include as written.
        include: String,
        /// Its namespace.
        namespace: String,
        /// The namespace's folder.
        folder: PathBuf,
    },
    /// Names that were added stand for each other.
    #[error("the name `{name}` leads back to itself; change where it was added")]
    AliasLoop {
        /// The name.
        name: String,
    },
    /// More bundles include each other than can be meant.
    #[error("`{name}` includes more than {limit} bundles; look for a generated or hostile include list")]
    TooMany {
        /// The bundle that was asked for.
        name: String,
        /// The limit.
        limit: usize,
    },
    /// The bundle's own files are wrong.
    #[error("{}", first_error(diagnostics))]
    Invalid {
        /// Everything that was noticed, errors among it.
        diagnostics: Vec<Diagnostic>,
    },
    /// Its source led to no file.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The registry is damaged.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl BundleError {
    /// What was noticed in files; empty for other errors.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Self::Invalid { diagnostics } => diagnostics,
            _ => &[],
        }
    }
}

fn suggestion(near: &[String]) -> String {
    match near {
        [] => "`amplifier bundle list` shows what there is".to_owned(),
        names => format!("did you mean `{}`", names.join("` or `")),
    }
}

fn first_error(diagnostics: &[Diagnostic]) -> String {
    let mut errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error());
    let first = errors.next().map_or_else(|| "the bundle cannot be used".to_owned(), ToString::to_string);
    match errors.count() {
        0 => first,
        more => format!("{first}\n({more} more)"),
    }
}
