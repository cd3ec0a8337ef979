//! Putting a session together.

use std::sync::{Arc, Mutex};

use super::ledger::Ledger;
use super::mailbox::mailbox;
use super::{AmplifierSession, Core, FixedPrompt, Progress, SessionDriver, SystemPrompt};
use crate::budget::Budget;
use crate::env::SessionEnv;
use crate::governor::Governor;
use crate::hook::HookRegistry;
use crate::limits::Limits;
use crate::module::Parts;
use crate::module::tool::ToolSet;
use crate::permission::Permissions;
use crate::transcript::Transcript;
use crate::turn::{Choice, ModelOptions, RetryPolicy};

/// Why a session cannot be put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The bundle names no module of this kind.
    #[error("the bundle has no {kind}; set session.{kind} in it")]
    Missing {
        /// `orchestrator` or `context`.
        kind: &'static str,
    },
}

/// Takes the parts of a session.
#[derive(Debug)]
pub struct SessionBuilder {
    env: SessionEnv,
    parts: Parts,
    system: Arc<dyn SystemPrompt>,
    permissions: Permissions,
    limits: Limits,
    limits_from: String,
    budget: Option<Arc<Budget>>,
    options: ModelOptions,
    retry: RetryPolicy,
    governor: Option<Arc<dyn Governor>>,
    choices: Vec<Choice>,
}

impl SessionBuilder {
    pub(super) fn new(env: SessionEnv) -> Self {
        Self {
            env,
            parts: Parts::default(),
            system: Arc::new(FixedPrompt::default()),
            permissions: Permissions::unrestricted(),
            limits: Limits::default(),
            limits_from: "the session".into(),
            budget: None,
            options: ModelOptions::default(),
            retry: RetryPolicy::default(),
            governor: None,
            choices: Vec::new(),
        }
    }

    /// The mounted modules. Providers go by their priority, the first mounted first among equals.
    #[must_use]
    pub fn parts(mut self, mut parts: Parts) -> Self {
        parts.providers.sort_by_key(|provider| provider.info().priority);
        self.parts = parts;
        self
    }

    /// Where the system prompt comes from.
    #[must_use]
    pub fn system(mut self, system: Arc<dyn SystemPrompt>) -> Self {
        self.system = system;
        self
    }

    /// What the session may do.
    #[must_use]
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// The session's bounds, and who set them.
    #[must_use]
    pub fn limits(mut self, limits: Limits, set_by: impl Into<String>) -> Self {
        (self.limits, self.limits_from) = (limits, set_by.into());
        self
    }

    /// The budget; without one the session has its own, by its limits.
    #[must_use]
    pub fn budget(mut self, budget: Arc<Budget>) -> Self {
        self.budget = Some(budget);
        self
    }

    /// What to ask of the model.
    #[must_use]
    pub fn options(mut self, options: ModelOptions) -> Self {
        self.options = options;
        self
    }

    /// When model calls are made again.
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Who has model calls wait while a key is limited; without one each session finds out by itself.
    #[must_use]
    pub fn governor(mut self, governor: Arc<dyn Governor>) -> Self {
        self.governor = Some(governor);
        self
    }

    /// Whom the session asks: the first, and when it fails for good the next. Without them it asks the
    /// first of its providers for [`ModelOptions::model`], which counts for nothing beside choices.
    #[must_use]
    pub fn choices(mut self, choices: Vec<Choice>) -> Self {
        self.choices = choices;
        self
    }

    /// The session and its driver. Whoever holds the driver runs the turns.
    pub fn build(
        self,
        transcript: Arc<dyn Transcript>,
    ) -> Result<(AmplifierSession, SessionDriver), BuildError> {
        let missing = |kind| BuildError::Missing { kind };
        let hooks = HookRegistry::new();
        self.parts.hooks.into_iter().for_each(|hook| hooks.add(hook));
        let tools = ToolSet::new(self.parts.tools);
        let schema_tokens = tools.schemas().iter().map(|tool| (tool.description.len() + 64) as u64 / 4).sum();
        let limits = self.limits;
        let own_budget =
            || Budget::new(self.limits_from.as_str(), limits.max_tokens, limits.max_cost_micro_usd, None);
        let budget = self.budget.unwrap_or_else(own_budget);
        let mut choices = self.choices;
        if choices.is_empty() {
            let first = self.parts.providers.into_iter().next();
            choices.extend(first.map(|provider| Choice { provider, model: self.options.model.clone() }));
        }
        let core = Arc::new(Core {
            env: self.env,
            choices,
            tools,
            schema_tokens,
            hooks,
            orchestrator: self.parts.orchestrator.ok_or_else(|| missing("orchestrator"))?,
            context: self.parts.context.ok_or_else(|| missing("context"))?,
            system: self.system,
            transcript,
            permissions: self.permissions,
            limits,
            limits_from: self.limits_from,
            budget,
            options: self.options,
            retry: self.retry,
            governor: self.governor,
            progress: Progress::default(),
            ledger: Mutex::new(Ledger::default()),
        });
        let (sender, receiver) = mailbox();
        let session = AmplifierSession { core: Arc::clone(&core), commands: sender };
        Ok((session, SessionDriver::new(core, receiver)))
    }
}
