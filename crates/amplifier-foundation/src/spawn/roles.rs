//! What the roles of models mean: a role such as `fast` stands for provider preferences.
//!
//! The table is the `roles` of the module `hooks-routing`: of a bundle, and of the settings' `overrides`, which count
//! where no bundle mounts it too. Guarantees: a role none of whose providers is here means nothing, so the next one counts;
//! what cannot be read is passed over and told.

use std::collections::BTreeMap;

use amplifier_core::ModuleSpec;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::plan::Planned;
use super::preferences::{self, Candidate};
use crate::bundle::ProviderPreference;
use crate::host::Host;

/// The module whose configuration is the table.
const MODULE: &str = "hooks-routing";
/// In a list of the settings: what the bundle says.
const BASE: &str = "base";
/// Most roles, and most preferences of one.
const MOST: usize = 100;

/// Provider preferences by role.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Roles {
    table: BTreeMap<String, Vec<ProviderPreference>>,
    /// What could not be read.
    pub(super) faults: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Map { candidates: Vec<Value> },
    List(Vec<Value>),
    One(Value),
}

impl Roles {
    /// The table of a session with these hooks; `None` if nobody has written one.
    pub(super) fn of(host: &Host, hooks: &[Planned]) -> Option<Self> {
        let mut roles = Self::default();
        let mounted = hooks.iter().find(|planned| planned.spec.module == MODULE);
        let configs =
            mounted.map(|planned| &planned.spec.config).into_iter().chain(host.0.overrides.get(MODULE));
        for config in configs {
            for key in ["roles", "overrides"] {
                if let Some(Value::Object(table)) = config.get(key) {
                    roles.add(table);
                }
            }
        }
        (!roles.table.is_empty() || !roles.faults.is_empty()).then_some(roles)
    }

    fn add(&mut self, table: &Map<String, Value>) {
        for (role, given) in table.iter().take(MOST) {
            let values = match Given::deserialize(given) {
                Ok(Given::Map { candidates: values } | Given::List(values)) => values,
                Ok(Given::One(value)) => vec![value],
                Err(_) => Vec::new(),
            };
            let mut found = Vec::new();
            for value in values.into_iter().take(MOST) {
                if value == BASE {
                    found.extend(self.table.get(role).cloned().unwrap_or_default());
                    continue;
                }
                match ProviderPreference::deserialize(value) {
                    Ok(preference) => found.push(preference),
                    Err(_) => self
                        .faults
                        .push(format!("role `{role}` has an entry that is no `provider` with `model`")),
                }
            }
            self.table.insert(role.clone(), found);
        }
    }

    /// The preferences of the first of these roles that one of the providers can take.
    pub(crate) fn resolve<'a>(
        &self,
        roles: &[String],
        providers: impl IntoIterator<Item = &'a ModuleSpec> + Clone,
    ) -> Option<Vec<ProviderPreference>> {
        let here = |preference: &&ProviderPreference| {
            preferences::position(preference, providers.clone().into_iter().map(Candidate::from)).is_some()
        };
        roles.iter().find_map(|role| {
            let found: Vec<_> = self.table.get(role)?.iter().filter(here).cloned().collect();
            (!found.is_empty()).then_some(found)
        })
    }

    /// The roles that there are.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.table.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn roles(tables: &[Value]) -> Roles {
        let mut roles = Roles::default();
        tables.iter().for_each(|table| roles.add(table.as_object().unwrap()));
        roles
    }

    fn models(roles: &Roles, wanted: &[&str], modules: &[&str]) -> Option<Vec<String>> {
        let specs: Vec<ModuleSpec> = modules.iter().map(|module| ModuleSpec::new(*module)).collect();
        let wanted: Vec<String> = wanted.iter().map(|role| (*role).to_owned()).collect();
        let found = roles.resolve(&wanted, &specs)?;
        Some(found.into_iter().map(|one| one.model.unwrap_or_default()).collect())
    }

    #[test]
    fn a_role_means_what_is_here_of_it_and_else_the_next_one_counts() {
        let roles = roles(&[
            json!({"fast": {"description": "quick", "candidates": [
                {"provider": "openai", "model": "mini"}, {"provider": "anthropic", "model": "haiku-*"}]},
                "coding": [{"provider": "gemini", "model": "pro"}], "one": {"provider": "ollama"}}),
            json!({"fast": [{"provider": "ollama", "model": "llama"}, "base"]}),
        ]);
        let all = ["provider-openai", "provider-anthropic", "provider-ollama"];
        assert_eq!(models(&roles, &["fast"], &all).unwrap(), ["llama", "mini", "haiku-*"]);
        assert_eq!(models(&roles, &["fast"], &["provider-anthropic"]).unwrap(), ["haiku-*"]);
        assert_eq!(models(&roles, &["coding", "unknown", "one"], &all).unwrap(), [""]);
        assert_eq!(models(&roles, &["coding"], &all), None);
        assert_eq!(roles.names().collect::<Vec<_>>(), ["coding", "fast", "one"]);
        assert!(roles.faults.is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let roles = roles(&[json!({"fast": [3, {"provider": "openai"}], "slow": "x"})]);
        assert_eq!(roles.faults.len(), 2, "{:?}", roles.faults);
        assert_eq!(models(&roles, &["fast"], &["provider-openai"]).unwrap(), [""]);
    }
}
