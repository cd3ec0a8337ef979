//! The JSON Schemas of the files that people write: for editors, and for programs that write such files.
//!
//! Guarantees: what this program takes without an error fits its schema. What it refuses for its type does not; that a name
//! is known, or that two keys go together, a schema does not say.

use clap::ValueEnum;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FileKind {
    /// A bundle: bundle.yaml, or what stands between the `---` of bundle.md.
    Bundle,
    /// settings.yaml and settings.local.yaml.
    Settings,
    /// .amplifier/background.yaml.
    Background,
    /// foreman.yaml.
    Foreman,
}

impl FileKind {
    /// Its schema, draft 2020-12.
    pub fn schema(self) -> &'static str {
        match self {
            Self::Bundle => include_str!("schema/bundle.json"),
            Self::Settings => include_str!("schema/settings.json"),
            Self::Background => include_str!("schema/background.json"),
            Self::Foreman => include_str!("schema/foreman.json"),
        }
    }
}
