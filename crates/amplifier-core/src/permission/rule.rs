//! One permission rule: `write(src/**)`, `shell(git *)`, `network(*.example.org)`.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Access;

/// What a rule does. Later variants beat earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RuleEffect {
    /// Allows.
    Allow,
    /// Asks, where somebody can answer.
    Ask,
    /// Denies.
    Deny,
}

/// What a rule speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RuleKind {
    /// [`Access::Read`]; the pattern is a path glob.
    Read,
    /// [`Access::Write`]; the pattern is a path glob.
    Write,
    /// [`Access::Shell`]; `*` in the pattern stands for any text. Advisory: the sandbox enforces.
    Shell,
    /// [`Access::Network`]; `*` in the pattern stands for any text.
    Network,
    /// [`Access::Mcp`]; `*` in the pattern stands for any text, `server` also for `server/tool`.
    Mcp,
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no permission rule; write read(GLOB), write(GLOB), shell(PATTERN), network(HOST), mcp(SERVER) or mcp(SERVER/TOOL)"
)]
pub struct InvalidRule {
    /// The text.
    pub text: String,
}

/// One rule. Path patterns are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    effect: RuleEffect,
    kind: RuleKind,
    pattern: String,
}

impl Rule {
    /// Parses `kind(pattern)`, the kind in any case. A relative path pattern is made absolute
    /// against `base`; `~/` is expanded with `home`. A kind alone stands for all of it.
    pub fn parse(effect: RuleEffect, text: &str, base: &Path, home: &Path) -> Result<Self, InvalidRule> {
        let invalid = || InvalidRule { text: text.to_owned() };
        let (kind, pattern) = match text.trim().split_once('(') {
            Some((kind, rest)) => (kind, rest.strip_suffix(')').ok_or_else(invalid)?.trim()),
            None => (text.trim(), "/**"),
        };
        let kind = match kind.to_ascii_lowercase().as_str() {
            "read" => RuleKind::Read,
            "write" | "edit" => RuleKind::Write,
            "shell" | "bash" => RuleKind::Shell,
            "network" => RuleKind::Network,
            "mcp" => RuleKind::Mcp,
            _ => return Err(invalid()),
        };
        if pattern.is_empty() {
            return Err(invalid());
        }
        let pattern = match kind {
            RuleKind::Read | RuleKind::Write => absolute(pattern, base, home),
            _ if pattern == "/**" => "*".to_owned(),
            _ => pattern.replace("**", "*"),
        };
        Ok(Self { effect, kind, pattern })
    }

    /// What the rule does.
    pub fn effect(&self) -> RuleEffect {
        self.effect
    }

    /// What the rule speaks of.
    pub fn kind(&self) -> RuleKind {
        self.kind
    }

    /// True if the rule speaks of this access.
    pub fn matches(&self, access: &Access) -> bool {
        match (self.kind, access) {
            (RuleKind::Read, Access::Read(path)) | (RuleKind::Write, Access::Write(path)) => {
                self.matches_path(path.as_path())
            }
            (RuleKind::Shell, Access::Shell(command)) => self.matches_command(command),
            (RuleKind::Network, Access::Network(name)) => self.matches_name(name),
            // A pattern that names a server speaks of all its tools.
            (RuleKind::Mcp, Access::Mcp(name)) => {
                self.matches_name(name) || self.matches_name(super::mcp_server(name))
            }
            _ => false,
        }
    }

    fn matches_name(&self, name: &str) -> bool {
        text_matches(&self.pattern.to_ascii_lowercase(), &name.to_ascii_lowercase())
    }

    /// A pattern that names a folder speaks of what lies in it too.
    fn matches_path(&self, path: &Path) -> bool {
        let text = path.to_string_lossy();
        let below = format!("{}/**", self.pattern.trim_end_matches('/'));
        fast_glob::glob_match(&self.pattern, text.as_ref()) || fast_glob::glob_match(&below, text.as_ref())
    }

    /// An allowing rule with a wildcard speaks of one simple command alone, or `git *` would
    /// allow `git log; rm -rf .`. A denying or asking one speaks of every part of a command.
    fn matches_command(&self, command: &str) -> bool {
        if text_matches(&self.pattern, command.trim()) {
            let compound = command.contains([';', '|', '&', '`', '\n', '<', '>']) || command.contains("$(");
            let any = self.pattern == "*" || !self.pattern.contains('*');
            return self.effect != RuleEffect::Allow || any || !compound;
        }
        let parts = || command.split([';', '|', '&', '`', '\n', '(', ')']);
        self.effect != RuleEffect::Allow && parts().any(|part| text_matches(&self.pattern, part.trim()))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}({})", self.effect, self.kind, self.pattern)
    }
}

fn absolute(pattern: &str, base: &Path, home: &Path) -> String {
    let joined = match pattern.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None => base.join(pattern.strip_prefix("./").unwrap_or(pattern)),
    };
    joined.to_string_lossy().into_owned()
}

/// `*` stands for any text, an empty one too; a trailing ` *` also matches no argument at all.
fn text_matches(pattern: &str, text: &str) -> bool {
    if let Some(bare) = pattern.strip_suffix(" *")
        && !bare.contains('*')
        && text == bare
    {
        return true;
    }
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    let mut rest = rest;
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
