//! What settings say, typed: of one file, and of all scopes together.
//!
//! Guarantees: every value knows who set it. `Debug` shows no configuration of a module, because
//! that may hold keys.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use amplifier_core::permission::{Mode, RuleEffect};
use amplifier_core::turn::RetryPolicy;
use amplifier_core::{Limits, ModuleSpec};

use super::scope::{Set, Setter};
use crate::bundle::diagnostic::Diagnostic;
use crate::bundle::model::{Neighbours, ProjectFiles};

/// A permission rule as it is written: `write(src/**)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleText {
    /// What it does.
    pub effect: RuleEffect,
    /// The rule; it is known to be well-formed.
    pub text: String,
}

/// Limits, each with who set it. `None`: not set in any scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitSettings {
    /// Levels of children below a root.
    pub max_depth: Option<Set<u32>>,
    /// Descendants of one root at once.
    pub max_concurrent: Option<Set<u32>>,
    /// Descendants of one root in all.
    pub max_descendants: Option<Set<u32>>,
    /// Model calls of one activation.
    pub max_turns: Option<Set<u32>>,
    /// Time of one activation.
    pub timeout: Option<Set<Duration>>,
    /// Tokens of a session and its descendants.
    pub max_tokens: Option<Set<u64>>,
    /// Cost of a session and its descendants, in millionths of a US dollar.
    pub max_cost_micro_usd: Option<Set<u64>>,
}

/// How failed model calls are tried again, each with who set it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetrySettings {
    /// Attempts in all.
    pub max_attempts: Option<Set<u32>>,
    /// The first wait.
    pub first_wait: Option<Set<Duration>>,
    /// The longest wait that the service did not ask for.
    pub longest_wait: Option<Set<Duration>>,
    /// How long rate limits are waited out.
    pub rate_limit_patience: Option<Set<Duration>>,
}

/// What of other programs is read, each with who set it. `None`: not set in any scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NeighbourSettings {
    /// Agents of Claude Code.
    pub claude: Option<Set<bool>>,
    /// Agents of Codex.
    pub codex: Option<Set<bool>>,
    /// `AGENTS.md`.
    pub agents_md: Option<Set<bool>>,
    /// `CLAUDE.md` where there is no `AGENTS.md`.
    pub claude_md: Option<Set<bool>>,
}

/// Something in a project's file that does not count, because nobody trusts the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ignored {
    /// What: `permissions.allow shell(*)`.
    pub what: String,
    /// Where it stands.
    pub by: Setter,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, by } = self;
        write!(f, "{what} ({by}) is ignored, because the directory is not trusted; run `amplifier trust`")
    }
}

/// Settings, of one file or of all scopes merged.
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// The bundle to run: `bundle.active`, a name, path or address.
    pub bundle: Option<Set<String>>,
    /// Bundles that are always composed: `bundle.app`, lowest scope first, each once.
    pub app_bundles: Vec<Set<String>>,
    /// Names that people gave to addresses: `bundle.added`.
    pub added_bundles: BTreeMap<String, Set<String>>,
    /// The provider to use.
    pub provider: Option<Set<String>>,
    /// The model to use.
    pub model: Option<Set<String>>,
    /// Configured providers: `config.providers`, highest scope first, one entry a key. Those of
    /// several scopes are merged, the higher scope's values winning; `by` names the highest.
    pub providers: Vec<Set<ModuleSpec>>,
    /// Configuration of modules that a bundle mounts: `overrides`, merged like providers.
    pub overrides: BTreeMap<String, Set<ModuleSpec>>,
    /// Where modules are loaded from: `sources.modules`. Kept and shown; modules here are built in.
    pub module_sources: BTreeMap<String, Set<String>>,
    /// Where bundles of a name are loaded from: `sources.bundles`.
    pub bundle_sources: BTreeMap<String, Set<String>>,
    /// The permission mode.
    pub mode: Option<Set<Mode>>,
    /// Every rule that counts, of all scopes.
    pub rules: Vec<Set<RuleText>>,
    /// Limits.
    pub limits: LimitSettings,
    /// Retries.
    pub retry: RetrySettings,
    /// What of other programs is read beside what bundles ask for.
    pub neighbours: NeighbourSettings,
    /// The log filter.
    pub log: Option<Set<String>>,
    /// What does not count for want of trust.
    pub ignored: Vec<Ignored>,
    /// What was noticed in the files: unknown keys and the like.
    pub warnings: Vec<Diagnostic>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("bundle", &self.bundle)
            .field("provider", &self.provider)
            .field("model", &self.model)
            .field("providers", &self.providers.iter().map(|set| set.value.key()).collect::<Vec<_>>())
            .field("overrides", &self.overrides.keys().collect::<Vec<_>>())
            .field("mode", &self.mode)
            .field("rules", &self.rules)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// The limits, without who set them.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        let set = &self.limits;
        limits.max_depth = value(&set.max_depth);
        limits.max_concurrent = value(&set.max_concurrent);
        limits.max_descendants = value(&set.max_descendants);
        limits.max_turns = value(&set.max_turns);
        limits.max_tokens = value(&set.max_tokens);
        limits.max_cost_micro_usd = value(&set.max_cost_micro_usd);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        limits.timeout_ms = value(&set.timeout).map(millis);
        limits
    }

    /// Other programs whose agents are read.
    pub fn neighbours(&self) -> Neighbours {
        let set = &self.neighbours;
        let on = |set| value(set).unwrap_or_default();
        Neighbours { claude: on(&set.claude), codex: on(&set.codex) }
    }

    /// Files of instructions that belong to every system prompt.
    pub fn project_files(&self) -> ProjectFiles {
        let set = &self.neighbours;
        let on = |set| value(set).unwrap_or_default();
        ProjectFiles { agents_md: on(&set.agents_md), claude_md: on(&set.claude_md) }
    }

    /// These retries over the given defaults.
    pub fn retry_policy(&self, mut policy: RetryPolicy) -> RetryPolicy {
        let set = &self.retry;
        policy.max_attempts = value(&set.max_attempts).unwrap_or(policy.max_attempts);
        policy.first_wait = value(&set.first_wait).unwrap_or(policy.first_wait);
        policy.longest_wait = value(&set.longest_wait).unwrap_or(policy.longest_wait);
        policy.rate_limit_patience = value(&set.rate_limit_patience).unwrap_or(policy.rate_limit_patience);
        policy
    }
}

fn value<T: Copy>(set: &Option<Set<T>>) -> Option<T> {
    set.as_ref().map(|set| set.value)
}
