//! Providers whose keys are at hand: what a run uses where nobody configured one.
//!
//! Guarantees: nothing is asked over the network; no value of a variable leaves this module; the
//! order is the order of `TABLE`, and a session prefers the first.

use amplifier_core::env::Variables;
use amplifier_core::module::ModuleSpec;
use serde_json::Value;

/// Which variables, all of them set, speak for which provider; the first row of a provider counts.
const TABLE: [(&[&str], &str); 8] = [
    (&["ANTHROPIC_API_KEY"], "provider-anthropic"),
    (&["OPENAI_API_KEY"], "provider-openai"),
    (&["AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"], "provider-azure-openai"),
    (&["AZURE_OPENAI_API_KEY", "AZURE_OPENAI_BASE_URL"], "provider-azure-openai"),
    (&["GEMINI_API_KEY"], "provider-gemini"),
    (&["GOOGLE_API_KEY"], "provider-gemini"),
    (&["OLLAMA_HOST"], "provider-ollama"),
    (&["OLLAMA_BASE_URL"], "provider-ollama"),
];

/// The priority of the first provider; each next one comes after it.
const FIRST_PRIORITY: i64 = 100;

/// The providers whose variables are set, the preferred one first. Their keys stay where they are:
/// each module reads its own variables when it is mounted.
pub fn detect(variables: &dyn Variables) -> Vec<ModuleSpec> {
    let set = |name: &&str| variables.get(name).is_some_and(|value| !value.trim().is_empty());
    let mut found: Vec<ModuleSpec> = Vec::new();
    for (wanted, module) in TABLE {
        if found.iter().all(|spec| spec.module != module) && wanted.iter().all(set) {
            let mut spec = ModuleSpec::new(module);
            let place = i64::try_from(found.len()).unwrap_or(i64::MAX);
            spec.config.insert("priority".into(), Value::from(FIRST_PRIORITY.saturating_add(place)));
            found.push(spec);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Given(Vec<(&'static str, &'static str)>);

    impl Variables for Given {
        fn get(&self, name: &str) -> Option<String> {
            self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn keys_at_hand_name_their_providers_in_order() {
        let check = |given: &[(&'static str, &'static str)], expect: &[&str]| {
            let found = detect(&Given(given.to_vec()));
            let modules: Vec<&str> = found.iter().map(|spec| spec.module.as_str()).collect();
            assert_eq!(modules, expect, "{given:?}");
            let priorities: Vec<_> = found.iter().map(|spec| spec.config["priority"].as_i64()).collect();
            assert!(priorities.is_sorted(), "{priorities:?}");
        };
        check(&[], &[]);
        check(&[("ANTHROPIC_API_KEY", " ")], &[]);
        check(&[("OLLAMA_HOST", "h"), ("OPENAI_API_KEY", "k")], &["provider-openai", "provider-ollama"]);
        check(&[("GEMINI_API_KEY", "k"), ("GOOGLE_API_KEY", "k")], &["provider-gemini"]);
        check(&[("AZURE_OPENAI_API_KEY", "k")], &[]);
        check(
            &[("AZURE_OPENAI_API_KEY", "k"), ("AZURE_OPENAI_ENDPOINT", "e"), ("ANTHROPIC_API_KEY", "k")],
            &["provider-anthropic", "provider-azure-openai"],
        );
    }

    #[test]
    fn no_key_is_copied() {
        let found = detect(&Given(vec![("ANTHROPIC_API_KEY", "sk-very-secret")]));
        assert!(!format!("{found:?}").contains("sk-very"));
    }
}
