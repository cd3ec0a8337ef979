//! Bundles: what a user writes to say what a session is made of.
//!
//! Text becomes a typed [`Bundle`] in [`parse`](parse_bundle), bundles become one in [`Bundle::compose`],
//! and the result becomes a [`MountPlan`]. These steps are pure: paths are joined but never opened. A
//! [`BundleLoader`] is what opens files: it locates a bundle, follows its includes and gives a
//! [`PreparedBundle`].
//!
//! Guarantees: whatever the text, parsing ends, uses bounded memory and never panics; each fault is a
//! [`Diagnostic`] with file, line and column; each entry knows which bundle, file and line set it.

pub mod builtin;
mod compose;
pub mod diagnostic;
pub mod error;
#[cfg(test)]
mod fuzz;
pub mod include;
mod inputs;
pub mod locate;
pub(crate) mod merge;
pub mod model;
mod neighbour;
pub mod node;
pub mod parse;
pub mod plan;
pub mod prepare;
mod project;
pub mod prompt;
pub mod provenance;
pub mod roster;
pub mod settings;
pub mod validate;
pub mod yaml;

pub use diagnostic::{Code, Diagnostic, Parsed, Severity, Strictness};
pub use error::BundleError;
pub use locate::{Located, NameOrigin, Notice, OnNotice};
pub use model::{
    AgentAccess, AgentDef, AgentEntry, Agents, Bundle, ContextEntry, ContextTarget, Declared, Include,
    ModuleEntry, Neighbours, ProjectFiles, ProviderPreference, SessionSection, SpawnSection, ToolNames,
};
pub use node::{Node, Position};
pub use parse::{
    FileKind, kind_of, parse_agent, parse_bundle, parse_claude_agent, parse_codex_agent, parse_front,
};
pub use plan::MountPlan;
pub use prepare::{BundleLoader, LoaderOptions, PreparedBundle};
pub use prompt::{SystemPrompt, SystemPromptSource};
pub use provenance::{Origin, Provenance};
pub use roster::ContextFile;
pub use settings::Settings;
pub use yaml::{YamlError, YamlFault};
