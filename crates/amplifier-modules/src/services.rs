//! The model services of this build, and what a configuration of one lacks.
//!
//! Guarantees: keys are looked for and never shown; no service is asked.

use amplifier_core::ModuleSpec;
use amplifier_core::env::Variables;
use serde_json::Value;

/// What a person needs to know of a service before it is configured.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ServiceInfo {
    /// The module's id.
    pub module: &'static str,
    /// The provider's name where nobody gives one.
    pub name: &'static str,
    /// Variables that hold the key, the preferred one first.
    pub key_env: &'static [&'static str],
    /// Variables that hold the base URL.
    pub base_env: &'static [&'static str],
    /// The service's own address; `None`: one must be given.
    pub base_url: Option<&'static str>,
    /// The model where nobody names one; empty: one must be named.
    pub default_model: &'static str,
    /// Whether it answers nobody without a key.
    pub key_required: bool,
    /// Whether it can list its models.
    pub lists_models: bool,
}

/// All of them, in alphabetical order; none in a build without HTTP.
pub fn services() -> Vec<ServiceInfo> {
    #[cfg(feature = "http-providers")]
    return crate::provider::services();
    #[cfg(not(feature = "http-providers"))]
    Vec::new()
}

impl ServiceInfo {
    /// The service of a module, or of its name: `provider-openai`, `openai`.
    pub fn of(name: &str) -> Option<Self> {
        services().into_iter().find(|known| known.module == name || known.name == name)
    }

    /// Where a configuration has its key from, for a person; `Err`: the variable that should hold it.
    pub fn key_of(&self, spec: &ModuleSpec, variables: &dyn Variables) -> Result<String, String> {
        let text = |key| spec.config.get(key).and_then(Value::as_str);
        let is_set = |name: &str| variables.get(name).is_some_and(|value| !value.trim().is_empty());
        if let Some(key) = text("api_key").filter(|key| !key.is_empty()) {
            return match key.strip_prefix("${").and_then(|rest| rest.split(['}', ':']).next()) {
                Some(name) if !is_set(name) && !key.contains(":-") => Err(name.to_owned()),
                Some(name) => Ok(format!("key from {name}")),
                None => Ok("key written in its configuration".to_owned()),
            };
        }
        let named = text("api_key_env");
        let names: Vec<&str> = named.map_or_else(|| self.key_env.to_vec(), |name| vec![name]);
        match names.iter().find(|name| is_set(name)) {
            Some(name) => Ok(format!("key from {name}")),
            None if self.key_required => Err(names.first().copied().unwrap_or("api_key").to_owned()),
            None => Ok("no key, and it needs none".to_owned()),
        }
    }

    /// The model that a configuration names, else its own; `None`: one must be named.
    pub fn model_of(&self, spec: &ModuleSpec) -> Option<String> {
        let text = |key| spec.config.get(key).and_then(Value::as_str);
        let written = text("deployment").or_else(|| text("default_model")).or_else(|| text("model"));
        let model = written.unwrap_or(self.default_model);
        (!model.is_empty()).then(|| model.to_owned())
    }
}

#[cfg(all(test, feature = "http-providers"))]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct One(&'static str);

    impl Variables for One {
        fn get(&self, name: &str) -> Option<String> {
            (name == self.0).then(|| "sk-very-secret".to_owned())
        }
    }

    #[test]
    fn a_key_is_found_where_the_module_finds_it() {
        let check = |config: Value, set: &'static str, expect: Result<&str, &str>| {
            let mut spec = ModuleSpec::new("provider-openai");
            spec.config = config.as_object().cloned().unwrap();
            let found = ServiceInfo::of("openai").unwrap().key_of(&spec, &One(set));
            assert_eq!(found.as_deref().map_err(String::as_str), expect, "{config} {set}");
        };
        check(serde_json::json!({}), "OPENAI_API_KEY", Ok("key from OPENAI_API_KEY"));
        check(serde_json::json!({}), "OTHER", Err("OPENAI_API_KEY"));
        check(serde_json::json!({"api_key_env": "OTHER"}), "OPENAI_API_KEY", Err("OTHER"));
        check(serde_json::json!({"api_key_env": "OTHER"}), "OTHER", Ok("key from OTHER"));
        check(serde_json::json!({"api_key": "${OTHER}"}), "OTHER", Ok("key from OTHER"));
        check(serde_json::json!({"api_key": "${OTHER}"}), "OPENAI_API_KEY", Err("OTHER"));
        check(serde_json::json!({"api_key": "sk-1"}), "", Ok("key written in its configuration"));
    }
}
