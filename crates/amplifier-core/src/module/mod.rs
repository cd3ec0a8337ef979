//! Module kinds, and how a module is mounted into a session.
//!
//! Contract of [`Module::mount`]: it is called once a session, before the first
//! turn, with the session's surroundings complete. What it opens, it closes in a
//! clean-up that it registers. It shares no mutable state between sessions.

pub mod context;
pub mod orchestrator;
pub mod provider;
mod spec;
pub mod tool;

use std::sync::Arc;

use async_trait::async_trait;

use crate::env::SessionEnv;
use crate::hook::Hook;
use context::ContextManager;
use orchestrator::Orchestrator;
use provider::Provider;
use tool::Tool;

pub use spec::ModuleSpec;

/// What a module is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ModuleKind {
    /// A model service.
    Provider,
    /// Tools for the model.
    Tool,
    /// The loop between model and tools.
    Orchestrator,
    /// Which part of a conversation a request carries.
    Context,
    /// Who watches and may object.
    Hook,
}

impl ModuleKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Tool => "tool",
            Self::Orchestrator => "orchestrator",
            Self::Context => "context",
            Self::Hook => "hook",
        }
    }
}

/// What is known of a module without mounting it.
#[derive(Debug, Clone, Copy)]
pub struct ModuleInfo {
    /// The id that bundles use: `tool-bash`.
    pub id: &'static str,
    /// Other ids that mean the same module.
    pub aliases: &'static [&'static str],
    /// What it is.
    pub kind: ModuleKind,
    /// One line.
    pub summary: &'static str,
    /// Keys that its `config` understands; others are warned about.
    pub config_keys: &'static [&'static str],
}

/// A module that bundles can name.
#[async_trait]
pub trait Module: Send + Sync + std::fmt::Debug {
    /// What is known of it.
    fn info(&self) -> ModuleInfo;

    /// Puts its parts into a session. `Err` names what is wrong with the configuration.
    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError>;
}

/// Where a module puts its parts.
#[derive(Debug)]
pub struct Mount<'a> {
    env: &'a SessionEnv,
    parts: &'a mut Parts,
}

/// The parts that a session is made of.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Parts {
    /// Providers in the order in which they were mounted.
    pub providers: Vec<Arc<dyn Provider>>,
    /// Tools in the order in which they were mounted.
    pub tools: Vec<Arc<dyn Tool>>,
    /// Hooks in the order in which they were mounted.
    pub hooks: Vec<Arc<dyn Hook>>,
    /// The orchestrator.
    pub orchestrator: Option<Arc<dyn Orchestrator>>,
    /// The context manager.
    pub context: Option<Arc<dyn ContextManager>>,
}

impl<'a> Mount<'a> {
    /// Mounts into these parts.
    pub fn new(env: &'a SessionEnv, parts: &'a mut Parts) -> Self {
        Self { env, parts }
    }

    /// The session's surroundings.
    pub fn env(&self) -> &'a SessionEnv {
        self.env
    }

    /// Adds a provider.
    pub fn provider(&mut self, provider: Arc<dyn Provider>) {
        self.parts.providers.push(provider);
    }

    /// Adds a tool.
    pub fn tool(&mut self, tool: Arc<dyn Tool>) {
        self.parts.tools.push(tool);
    }

    /// Adds a hook.
    pub fn hook(&mut self, hook: Arc<dyn Hook>) {
        self.parts.hooks.push(hook);
    }

    /// Sets the orchestrator.
    pub fn orchestrator(&mut self, orchestrator: Arc<dyn Orchestrator>) {
        self.parts.orchestrator = Some(orchestrator);
    }

    /// Sets the context manager.
    pub fn context(&mut self, context: Arc<dyn ContextManager>) {
        self.parts.context = Some(context);
    }
}

/// Why a module could not be mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// A setting is missing or of the wrong shape.
    #[error("module {module}: {message}")]
    Config {
        /// The module.
        module: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// Something that the module needs failed.
    #[error("module {module} could not {action}")]
    Failed {
        /// The module.
        module: String,
        /// What was tried.
        action: String,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The module panicked.
    #[error("module {module} panicked while it was mounted: {message}")]
    Panicked {
        /// The module.
        module: String,
        /// The panic's message.
        message: String,
    },
}

impl MountError {
    /// A setting is missing or of the wrong shape.
    pub fn config(spec: &ModuleSpec, message: impl Into<String>) -> Self {
        Self::Config { module: spec.module.clone(), message: message.into() }
    }
}

/// Reads a module's configuration as a type; unknown keys are the type's decision.
pub fn parse_config<T: serde::de::DeserializeOwned>(spec: &ModuleSpec) -> Result<T, MountError> {
    T::deserialize(serde_json::Value::Object(spec.config.clone()))
        .map_err(|error| MountError::config(spec, format!("config: {error}")))
}
