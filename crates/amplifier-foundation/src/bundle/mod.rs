//! Bundles: what a user writes to say what a session is made of.
//!
//! Text becomes a typed [`Bundle`] in [`parse`](parse_bundle), bundles become one in [`Bundle::compose`],
//! and the result becomes a [`MountPlan`]. Everything here is pure: paths are joined but never opened.
//!
//! Guarantees: whatever the text, parsing ends, uses bounded memory and never panics; each fault is a
//! [`Diagnostic`] with file, line and column; each entry knows which bundle, file and line set it.

pub mod diagnostic;
pub mod model;
pub mod node;
pub mod provenance;

pub use diagnostic::{Code, Diagnostic, Parsed, Severity, Strictness};
pub use model::{
    AgentAccess, AgentDef, AgentEntry, Agents, Bundle, ContextEntry, ContextTarget, Declared, Include,
    ModuleEntry, ProviderPreference, SessionSection, SpawnSection,
};
pub use node::{Node, Position};
pub use provenance::{Origin, Provenance};
