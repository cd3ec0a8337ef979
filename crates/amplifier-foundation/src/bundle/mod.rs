//! Bundles: what a user writes to say what a session is made of.
//!
//! Text becomes a typed [`Bundle`] in [`parse`](parse_bundle), bundles become one in [`Bundle::compose`],
//! and the result becomes a [`MountPlan`]. Everything here is pure: paths are joined but never opened.
//!
//! Guarantees: whatever the text, parsing ends, uses bounded memory and never panics; each fault is a
//! [`Diagnostic`] with file, line and column; each entry knows which bundle, file and line set it.

mod compose;
pub mod diagnostic;
pub(crate) mod merge;
pub mod model;
pub mod node;
pub mod parse;
pub mod plan;
pub mod provenance;
pub mod validate;
pub mod yaml;

pub use diagnostic::{Code, Diagnostic, Parsed, Severity, Strictness};
pub use model::{
    AgentAccess, AgentDef, AgentEntry, Agents, Bundle, ContextEntry, ContextTarget, Declared, Include,
    ModuleEntry, ProviderPreference, SessionSection, SpawnSection,
};
pub use node::{Node, Position};
pub use parse::{FileKind, kind_of, parse_agent, parse_bundle};
pub use plan::MountPlan;
pub use provenance::{Origin, Provenance};
pub use yaml::{YamlError, YamlFault};
