//! What a bundle may set of a loop.

use amplifier_core::module::{ModuleSpec, MountError, parse_config};
use serde::Deserialize;

/// Keys that the loops understand.
pub(super) const CONFIG_KEYS: &[&str] = &["max_iterations", "max_turns", "extended_thinking", "parallel"];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Given {
    max_iterations: Option<i64>,
    max_turns: Option<i64>,
    extended_thinking: bool,
    parallel: Option<bool>,
}

/// The settings of one loop.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    /// Model calls for one user message; `None`: only the session's own limits count.
    pub(super) max_iterations: Option<u64>,
    /// Whether the model shall reason where the session does not say.
    pub(super) extended_thinking: bool,
    /// Whether tools of one answer run at the same time, if the bundle says.
    pub(super) parallel: Option<bool>,
}

impl Settings {
    /// Reads the settings. A limit below zero is no limit, as in the reference system.
    pub(super) fn parse(spec: &ModuleSpec) -> Result<Self, MountError> {
        let given: Given = parse_config(spec)?;
        let limit = given.max_iterations.or(given.max_turns);
        if limit == Some(0) {
            return Err(MountError::config(
                spec,
                "config: max_iterations is 0; give at least 1, or leave it out for no limit",
            ));
        }
        Ok(Self {
            max_iterations: limit.and_then(|limit| u64::try_from(limit).ok()),
            extended_thinking: given.extended_thinking,
            parallel: given.parallel,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(config: Value) -> Result<Settings, String> {
        let mut spec = ModuleSpec::new("loop-basic");
        spec.config = config.as_object().cloned().unwrap_or_default();
        Settings::parse(&spec).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_of_the_reference_are_read() {
        assert_eq!(parse(json!({})), Ok(Settings::default()));
        let all = parse(json!({"max_iterations": 9, "extended_thinking": true, "parallel": false, "x": 1}));
        let expected = Settings { max_iterations: Some(9), extended_thinking: true, parallel: Some(false) };
        assert_eq!(all, Ok(expected));
        assert_eq!(parse(json!({"max_turns": -1})).map(|settings| settings.max_iterations), Ok(None));
        assert!(parse(json!({"max_iterations": 0})).is_err_and(|error| error.contains("at least 1")));
        assert!(parse(json!({"max_iterations": "ten"})).is_err_and(|error| error.contains("loop-basic")));
    }
}
