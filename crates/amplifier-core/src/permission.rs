//! Permissions: a list of layers that must all allow.
//!
//! Guarantees: a session's ruling is the strictest of its layers'. A child's
//! list is its parent's plus its own, so a child can do at most what its parent
//! can. Inside a layer deny beats ask, ask beats allow, and a rule beats the
//! mode. Paths are compared after links and `..` are resolved.
//! Never here: files. A [`ResolvedPath`] comes from the [`Paths`] port.

mod rule;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use rule::{InvalidRule, Rule, RuleEffect, RuleKind};

/// An absolute path without links or `..` in any part that exists.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResolvedPath(PathBuf);

impl ResolvedPath {
    /// For implementations of [`Paths`] alone: vouches that `path` is resolved.
    pub fn vouched(path: PathBuf) -> Self {
        Self(path)
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for ResolvedPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

/// How a path in a tool's arguments becomes one that can be judged.
pub trait Paths: Send + Sync + fmt::Debug {
    /// Makes `text` absolute against `base`, expands a leading `~/`, and resolves links
    /// and `..`; a leaf that does not exist yet keeps its name below its resolved folder.
    fn resolve(&self, base: &Path, text: &str) -> Result<ResolvedPath, PathError>;
}

/// Why a path cannot be judged.
#[derive(Debug, thiserror::Error)]
#[error("path `{path}` cannot be resolved")]
pub struct PathError {
    /// The path as given.
    pub path: String,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

/// Something that a tool is about to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Read a file or folder.
    Read(ResolvedPath),
    /// Create, change or delete a file.
    Write(ResolvedPath),
    /// Run a shell command.
    Shell(String),
    /// Talk to a host.
    Network(String),
    /// Use an MCP server (`server`), or one of its tools (`server/tool`).
    Mcp(String),
}

/// The server of [`Access::Mcp`].
pub(crate) fn mcp_server(name: &str) -> &str {
    name.split_once('/').map_or(name, |(server, _)| server)
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path) => write!(f, "read {}", path.as_path().display()),
            Self::Write(path) => write!(f, "write {}", path.as_path().display()),
            Self::Shell(command) => write!(f, "run `{}`", command.chars().take(200).collect::<String>()),
            Self::Network(host) => write!(f, "connect to {host}"),
            Self::Mcp(name) => match name.split_once('/') {
                Some((server, tool)) => write!(f, "use {tool} of MCP server {server}"),
                None => write!(f, "use MCP server {name}"),
            },
        }
    }
}

/// What the layers say. Later variants are stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ruling {
    /// Do it.
    Allow,
    /// Do it inside the sandbox; where there is none, do not.
    Sandboxed,
    /// Ask somebody first.
    Ask,
    /// Do not.
    Deny,
}

/// The modes of the permission table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Mode {
    /// Ask before a write elsewhere, a command, a host.
    #[default]
    Default,
    /// Read only.
    Plan,
    /// Like `Default`.
    AcceptEdits,
    /// What `Default` does where nobody can be asked.
    DontAsk,
    /// Everything; from a flag only.
    BypassPermissions,
}

impl Mode {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Plan => "plan",
            Self::AcceptEdits => "acceptEdits",
            Self::DontAsk => "dontAsk",
            Self::BypassPermissions => "bypassPermissions",
        }
    }

    /// The mode of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Default, Self::Plan, Self::AcceptEdits, Self::DontAsk, Self::BypassPermissions]
            .into_iter()
            .find(|mode| mode.as_str() == name)
    }
}

/// One layer: a mode's table, and rules that override it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Layer {
    /// Who set it: `mode dontAsk (flag)`, `bundle code-review`. Named in refusals.
    pub origin: String,
    /// The table; `None` for a layer that only adds rules and allows the rest.
    pub mode: Option<Mode>,
    /// Folders that count as the working directory: absolute, resolved.
    pub roots: Vec<PathBuf>,
    /// Rules.
    pub rules: Vec<Rule>,
}

impl Layer {
    /// A layer of a mode over its working directories, without rules.
    pub fn of_mode(origin: impl Into<String>, mode: Mode, roots: Vec<PathBuf>) -> Self {
        Self { origin: origin.into(), mode: Some(mode), roots, rules: Vec::new() }
    }

    /// A layer of rules that allows whatever no rule speaks of.
    pub fn of_rules(origin: impl Into<String>, rules: Vec<Rule>) -> Self {
        Self { origin: origin.into(), mode: None, roots: Vec::new(), rules }
    }

    /// What this layer alone says. `asked` tells whether somebody can answer.
    pub fn rule(&self, access: &Access, asked: bool) -> Ruling {
        let ruling = match self.strongest_rule(access) {
            Some(RuleEffect::Deny) => return Ruling::Deny,
            Some(RuleEffect::Allow) => return Ruling::Allow,
            Some(RuleEffect::Ask) if asked => return Ruling::Ask,
            Some(RuleEffect::Ask) => return Ruling::Deny,
            None => self.mode.map_or(Ruling::Allow, |mode| self.table(mode, access)),
        };
        if ruling == Ruling::Ask && !asked { self.table(Mode::DontAsk, access) } else { ruling }
    }

    fn strongest_rule(&self, access: &Access) -> Option<RuleEffect> {
        self.rules.iter().filter(|rule| rule.matches(access)).map(Rule::effect).max()
    }

    /// DESIGN's permission table, a row a mode.
    fn table(&self, mode: Mode, access: &Access) -> Ruling {
        let inside = |path: &ResolvedPath| self.roots.iter().any(|root| path.as_path().starts_with(root));
        match (mode, access) {
            (Mode::BypassPermissions, _) | (_, Access::Read(_)) => Ruling::Allow,
            (Mode::Plan, _) => Ruling::Deny,
            (_, Access::Write(path)) if inside(path) => Ruling::Allow,
            (Mode::Default | Mode::AcceptEdits, _) => Ruling::Ask,
            (Mode::DontAsk, Access::Shell(_)) => Ruling::Sandboxed,
            // Servers are there only if a bundle that somebody vouches for has declared them.
            (Mode::DontAsk, Access::Mcp(_)) => Ruling::Allow,
            (Mode::DontAsk, _) => Ruling::Deny,
        }
    }
}

/// All layers of a session, the root's first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Permissions {
    layers: Vec<Arc<Layer>>,
}

/// What a session's layers say of an access, and which layer decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The strictest ruling.
    pub ruling: Ruling,
    /// The layer that said so; empty for `Allow`.
    pub origin: String,
    /// True if somebody could have allowed it, but nobody can be asked.
    pub unasked: bool,
}

impl Permissions {
    /// No layer: everything is allowed. For sessions that a program starts for itself.
    pub fn unrestricted() -> Self {
        Self::default()
    }

    /// These layers plus one more.
    #[must_use]
    pub fn with(&self, layer: Layer) -> Self {
        let mut layers = self.layers.clone();
        layers.push(Arc::new(layer));
        Self { layers }
    }

    /// The layers, the root's first.
    pub fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }

    /// The ruling over an access. `asked` tells whether somebody can answer.
    pub fn decide(&self, access: &Access, asked: bool) -> Decision {
        let strictest = |asked: bool| {
            let rule = |layer: &Arc<Layer>| (layer.rule(access, asked), layer.origin.clone());
            self.layers.iter().map(rule).fold((Ruling::Allow, String::new()), |worst, next| {
                if next.0 > worst.0 { next } else { worst }
            })
        };
        let (ruling, origin) = strictest(asked);
        let unasked = ruling == Ruling::Deny && !asked && strictest(true).0 == Ruling::Ask;
        Decision { ruling, origin, unasked }
    }

    /// The folders in which a sandboxed command may write: those that every layer with a mode names.
    pub fn writable_roots(&self) -> Vec<PathBuf> {
        let mut moded = self.layers.iter().filter(|layer| layer.mode.is_some());
        let Some(first) = moded.next() else { return Vec::new() };
        let inside = |root: &PathBuf, layer: &Layer| layer.roots.iter().any(|other| root.starts_with(other));
        let mut roots = first.roots.clone();
        for layer in moded {
            let narrower =
                layer.roots.iter().filter(|root| roots.iter().any(|other| root.starts_with(other)));
            let mut next: Vec<PathBuf> = narrower.cloned().collect();
            next.extend(roots.iter().filter(|root| inside(root, layer)).cloned());
            next.sort();
            next.dedup();
            roots = next;
        }
        let denied = |root: &PathBuf| {
            let path = ResolvedPath::vouched(root.clone());
            self.layers.iter().any(|layer| layer.rule(&Access::Write(path.clone()), false) == Ruling::Deny)
        };
        roots.retain(|root| !denied(root));
        roots
    }
}

#[cfg(test)]
mod tests;
