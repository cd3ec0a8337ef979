//! What a bundle may set of `tool-events`.

use std::time::Duration;

use amplifier_core::module::{ModuleSpec, MountError, parse_config};
use amplifier_core::{CustomName, EventPattern, EventType};
use serde::Deserialize;

use super::{DEFAULT_WAIT, span};

/// Keys that the module understands.
pub(super) const CONFIG_KEYS: &[&str] = &["tools", "max_wait", "emits", "bundles"];

/// Longest wait that a model may ask for, where the bundle does not say.
const MAX_WAIT: Duration = Duration::from_secs(60 * 60);

/// A tool of the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Offered {
    EmitEvent,
    WaitForEvent,
    Spawn,
    Wait,
}

const ALL: [Offered; 4] = [Offered::EmitEvent, Offered::WaitForEvent, Offered::Spawn, Offered::Wait];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Given {
    tools: Option<Vec<Offered>>,
    #[serde(deserialize_with = "span")]
    max_wait: Option<Duration>,
    emits: Option<Vec<String>>,
    bundles: Option<Vec<String>>,
}

/// The settings of one session's tools.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// The tools that there are.
    pub(super) tools: Vec<Offered>,
    /// Longest wait.
    pub(super) max_wait: Duration,
    /// Patterns of names that may be emitted; `None`: every custom name.
    emits: Option<Vec<EventPattern>>,
    /// Names of bundles that may be spawned; `None`: every name.
    pub(super) bundles: Option<Vec<String>>,
}

impl Settings {
    /// Reads the module's configuration.
    pub(super) fn parse(spec: &ModuleSpec) -> Result<Self, MountError> {
        let Given { tools, max_wait, emits, bundles } = parse_config(spec)?;
        let pattern = |text: &String| {
            EventPattern::new(text)
                .map_err(|error| MountError::config(spec, format!("config: emits: {error}")))
        };
        let emits =
            emits.map(|emits| emits.iter().map(pattern).collect::<Result<Vec<_>, _>>()).transpose()?;
        let max_wait = max_wait.filter(|span| !span.is_zero()).unwrap_or(MAX_WAIT);
        Ok(Self { tools: tools.unwrap_or_else(|| ALL.to_vec()), max_wait, emits, bundles })
    }

    /// True if the bundle lets its sessions emit this name.
    pub(super) fn may_emit(&self, name: &CustomName) -> bool {
        let event = EventType::Custom(name.clone());
        self.emits.as_ref().is_none_or(|emits| emits.iter().any(|pattern| pattern.matches(&event)))
    }

    /// How long a wait takes at most.
    pub(super) fn wait(&self, asked: Option<Duration>) -> Duration {
        asked.unwrap_or(DEFAULT_WAIT).min(self.max_wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(config: Value) -> Result<Settings, String> {
        let mut spec = ModuleSpec::new(super::super::ID);
        spec.config = config.as_object().cloned().unwrap_or_default();
        Settings::parse(&spec).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_said_is_every_tool_and_name_and_an_hour() {
        let settings = parse(json!({})).unwrap();
        assert_eq!((settings.tools.as_slice(), settings.max_wait), (ALL.as_slice(), MAX_WAIT));
        assert_eq!(settings.wait(None), DEFAULT_WAIT);
        assert_eq!(settings.wait(Some(Duration::from_secs(86_400))), MAX_WAIT);
        assert!(settings.may_emit(&CustomName::new("anything").unwrap()));
    }

    #[test]
    fn a_bundle_may_narrow_it() {
        let settings =
            parse(json!({"tools": ["emit_event"], "max_wait": "90s", "emits": ["draft:*"], "bundles": []}))
                .unwrap();
        assert_eq!((settings.tools.len(), settings.wait(None)), (1, Duration::from_secs(90)));
        assert!(settings.may_emit(&CustomName::new("draft:ready").unwrap()));
        assert!(!settings.may_emit(&CustomName::new("review:done").unwrap()));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (wrong, part) in [
            (json!({"tools": ["emit"]}), "emit_event"),
            (json!({"max_wait": "soon"}), "15m"),
            (json!({"emits": ["A b"]}), "emits"),
        ] {
            assert!(parse(wrong.clone()).is_err_and(|error| error.contains(part)), "{wrong}");
        }
    }
}
