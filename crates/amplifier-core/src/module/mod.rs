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
use serde_json::{Map, Value};

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

    /// False for an orchestrator whose sessions ask no model themselves, and need no provider.
    fn needs_provider(&self) -> bool {
        true
    }

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

    /// The providers that are mounted so far: all of them, for tools and hooks.
    pub fn providers(&self) -> &[Arc<dyn Provider>] {
        &self.parts.providers
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
///
/// An error names the key and what it takes, and never the value, which may be a secret.
pub fn parse_config<T: serde::de::DeserializeOwned>(spec: &ModuleSpec) -> Result<T, MountError> {
    let read = |config: Map<String, Value>| T::deserialize(Value::Object(config));
    read(spec.config.clone()).map_err(|error| {
        let text = error.to_string();
        let wanted = text.rsplit_once("expected ").map_or(text.as_str(), |(_, wanted)| wanted);
        // The key without which the fault is another one, or none, is the one at fault.
        let is_culprit = |key: &&String| {
            let mut rest = spec.config.clone();
            rest.remove(*key);
            read(rest).err().is_none_or(|other| other.to_string() != text)
        };
        let message = match spec.config.iter().find(|(key, _)| is_culprit(key)) {
            Some((key, value)) if wanted.len() < text.len() => {
                format!("config: `{key}` cannot be {}; give {}", kind_of(value), in_words(wanted))
            }
            Some((key, _)) => format!("config: `{key}`: {text}"),
            None => format!("config: several settings are wrong; give {}", in_words(wanted)),
        };
        MountError::config(spec, message)
    })
}

/// What serde says that it expected, for somebody who writes YAML.
fn in_words(wanted: &str) -> &str {
    match wanted {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" | "string" => "text",
        "a sequence" => "a list",
        other if other.starts_with("struct ") => "a map",
        other => other,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "this number",
        Value::String(_) => "this text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(default)]
    struct Config {
        headers: std::collections::BTreeMap<String, String>,
        size: u32,
    }

    impl Default for Config {
        fn default() -> Self {
            Self { headers: Default::default(), size: 1 }
        }
    }

    #[test]
    fn a_wrong_setting_is_named_and_its_value_is_not_shown() {
        let check = |config: Value, expect: &str| {
            let mut spec = ModuleSpec::new("m");
            spec.config = config.as_object().cloned().unwrap_or_default();
            let said = parse_config::<Config>(&spec)
                .map_or_else(|error| error.to_string(), |read| format!("{read:?}"));
            assert_eq!(said, expect);
        };
        let json = |text: &str| serde_json::from_str(text).unwrap();
        check(json(r#"{"size": 3, "else": 1}"#), "Config { headers: {}, size: 3 }");
        let secret = json(r#"{"size": 3, "headers": "Bearer sk-secret"}"#);
        check(secret, "module m: config: `headers` cannot be this text; give a map");
        check(
            json(r#"{"size": -3}"#),
            "module m: config: `size` cannot be this number; give a whole number that is not negative",
        );
        check(
            json(r#"{"size": null}"#),
            "module m: config: `size` cannot be empty; give a whole number that is not negative",
        );
    }
}
