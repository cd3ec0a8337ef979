//! What a bundle may set of `tool-delegate`, in the reference system's words.

use std::time::Duration;

use amplifier_core::module::{ModuleSpec, MountError, parse_config};
use amplifier_foundation::settings::duration;
use amplifier_foundation::spawn::ContextForm;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::ID;

/// Keys that the module understands.
pub(super) const CONFIG_KEYS: &[&str] = &["features", "settings"];

/// Times that an agent may delegate to itself, one below the other.
const SELF_DEPTH: u32 = 3;
/// Most turns of the parent's conversation that a model may ask for.
const MAX_TURNS: u64 = 10;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Given {
    features: Features,
    settings: Manner,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Features {
    self_delegation: SelfDelegation,
    session_resume: Switch,
    context_inheritance: ContextInheritance,
    provider_selection: Switch,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Switch {
    enabled: bool,
}

impl Default for Switch {
    fn default() -> Self {
        Self { enabled: true }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct SelfDelegation {
    enabled: bool,
    max_depth: u32,
}

impl Default for SelfDelegation {
    fn default() -> Self {
        Self { enabled: true, max_depth: SELF_DEPTH }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct ContextInheritance {
    enabled: bool,
    max_turns: u64,
}

impl Default for ContextInheritance {
    fn default() -> Self {
        Self { enabled: true, max_turns: MAX_TURNS }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Manner {
    exclude_tools: Option<Vec<String>>,
    exclude_hooks: Vec<String>,
    #[serde(deserialize_with = "span")]
    timeout: Option<Duration>,
    context_form: ContextForm,
}

/// The settings of one session's tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    /// Whether an agent may delegate to itself.
    pub(super) to_self: bool,
    /// How often, one below the other.
    pub(super) max_self_depth: u32,
    /// Whether sessions may be gone on with.
    pub(super) resume: bool,
    /// Whether a child is told of the conversation.
    pub(super) context: bool,
    /// Most turns of it.
    pub(super) max_turns: u64,
    /// As text, or as the beginning of the child's own.
    pub(super) context_form: ContextForm,
    /// Whether the model may choose providers.
    pub(super) preferences: bool,
    /// Tool modules that a child does not inherit.
    pub(super) exclude_tools: Vec<String>,
    /// Hook modules that a child does not inherit.
    pub(super) exclude_hooks: Vec<String>,
    /// How long a child may run, where that differs from what holds for every child.
    pub(super) timeout: Option<Duration>,
}

impl Settings {
    /// Reads the module's configuration.
    pub(super) fn parse(spec: &ModuleSpec) -> Result<Self, MountError> {
        let Given { features, settings } = parse_config(spec)?;
        let module = |name: String| match name.as_str() {
            // Earlier versions of the reference named the tool, not its module.
            "delegate" | "task" => ID.to_owned(),
            _ => name,
        };
        let exclude_tools = settings.exclude_tools.unwrap_or_else(|| vec![ID.to_owned()]);
        Ok(Self {
            to_self: features.self_delegation.enabled,
            max_self_depth: features.self_delegation.max_depth,
            resume: features.session_resume.enabled,
            context: features.context_inheritance.enabled,
            max_turns: features.context_inheritance.max_turns,
            context_form: settings.context_form,
            preferences: features.provider_selection.enabled,
            exclude_tools: exclude_tools.into_iter().map(module).collect(),
            exclude_hooks: settings.exclude_hooks,
            timeout: settings.timeout,
        })
    }
}

/// Seconds as a number, or a text like `15m`.
fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let wrong = || {
        let text = format!("timeout is {value}; give seconds above 0, or a text like 15m");
        serde::de::Error::custom(text)
    };
    let found = match &value {
        Value::Null => return Ok(None),
        Value::Number(seconds) => {
            seconds.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        }
        Value::String(text) => duration::parse(text).ok(),
        _ => None,
    };
    found.filter(|span| !span.is_zero()).map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(config: Value) -> Result<Settings, String> {
        let mut spec = ModuleSpec::new(ID);
        spec.config = config.as_object().cloned().unwrap_or_default();
        Settings::parse(&spec).map_err(|error| error.to_string())
    }

    #[test]
    fn the_references_configuration_is_read() {
        let defaults = parse(json!({})).unwrap();
        let reference = parse(json!({
            "features": {"self_delegation": {"enabled": true}, "session_resume": {"enabled": true},
                "context_inheritance": {"enabled": true, "max_turns": 10}, "provider_selection": {"enabled": true}},
            "settings": {"exclude_tools": ["tool-delegate"], "exclude_hooks": [], "timeout": null},
        }));
        assert_eq!(reference, Ok(defaults.clone()));
        assert_eq!((defaults.max_self_depth, defaults.timeout), (3, None));
        let other = parse(json!({
            "features": {"self_delegation": {"enabled": false, "max_depth": 1}, "session_resume": {"enabled": false},
                "context_inheritance": {"enabled": false, "max_turns": 2}, "provider_selection": {"enabled": false}},
            "settings": {"exclude_tools": [], "exclude_hooks": ["hooks-x"], "timeout": 1.5, "context_form": "fork"},
        }));
        let expected = Settings {
            to_self: false,
            max_self_depth: 1,
            resume: false,
            context: false,
            max_turns: 2,
            context_form: ContextForm::Fork,
            preferences: false,
            exclude_tools: Vec::new(),
            exclude_hooks: vec!["hooks-x".to_owned()],
            timeout: Some(Duration::from_millis(1_500)),
        };
        assert_eq!(other, Ok(expected));
    }

    #[test]
    fn the_tools_own_name_means_its_module() {
        let settings = parse(json!({"settings": {"exclude_tools": ["delegate", "tool-bash"]}})).unwrap();
        assert_eq!(settings.exclude_tools, ["tool-delegate", "tool-bash"]);
    }

    #[test]
    fn a_time_out_is_seconds_or_a_span() {
        let timeout = |value: Value| parse(json!({"settings": {"timeout": value}}));
        assert_eq!(timeout(json!("15m")).unwrap().timeout, Some(Duration::from_secs(900)));
        for wrong in [json!(0), json!(-1), json!("soon"), json!([]), json!(1e300)] {
            assert!(timeout(wrong.clone()).is_err_and(|error| error.contains("15m")), "{wrong}");
        }
    }
}
