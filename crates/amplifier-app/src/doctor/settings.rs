//! Each setting that somebody has set, with its value and who set it.
//!
//! Guarantees: secrets in the configuration of modules are taken out.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use amplifier_core::ModuleSpec;
use amplifier_core::permission::RuleEffect;
use amplifier_foundation::redact::Redactor;
use amplifier_foundation::settings::{Set, Setter, Settings, duration};
use serde::Serialize;
use serde_json::Value;

/// A setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Listed {
    /// Its key, as it is written in a file.
    key: String,
    value: String,
    /// `user`, `project`, `local`, `environment`, `flag`.
    layer: &'static str,
    /// The file with its line, the variable, or the flag.
    set_by: String,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} ({})", self.key, self.value, self.set_by)
    }
}

/// Lists them.
pub(super) fn list(settings: &Settings, redactor: &Redactor) -> Vec<Listed> {
    let mut list = List { all: Vec::new(), redactor };
    list.one("bundle.active", &settings.bundle);
    for app in &settings.app_bundles {
        list.add("bundle.app", &app.value, &app.by);
    }
    list.map("bundle.added", &settings.added_bundles);
    list.one("provider", &settings.provider);
    list.one("provider.model", &settings.model);
    for set in &settings.providers {
        list.module(format!("config.providers.{}", set.value.key()), set);
    }
    for (name, set) in &settings.overrides {
        list.module(format!("overrides.{name}"), set);
    }
    list.map("sources.bundles", &settings.bundle_sources);
    list.map("sources.modules", &settings.module_sources);
    if let Some(mode) = &settings.mode {
        list.add("permissions.mode", mode.value.as_str(), &mode.by);
    }
    for rule in &settings.rules {
        let key = match rule.value.effect {
            RuleEffect::Allow => "permissions.allow",
            RuleEffect::Ask => "permissions.ask",
            _ => "permissions.deny",
        };
        list.add(key, &rule.value.text, &rule.by);
    }
    bounds(&mut list, settings);
    list.one("log", &settings.log);
    list.all
}

fn bounds(list: &mut List<'_>, settings: &Settings) {
    let (limits, retry) = (&settings.limits, &settings.retry);
    list.one("limits.max_depth", &limits.max_depth);
    list.one("limits.max_concurrent", &limits.max_concurrent);
    list.one("limits.max_descendants", &limits.max_descendants);
    list.one("limits.max_turns", &limits.max_turns);
    list.span("limits.timeout", &limits.timeout);
    list.one("limits.max_tokens", &limits.max_tokens);
    list.one("limits.max_cost_micro_usd", &limits.max_cost_micro_usd);
    list.one("retry.max_attempts", &retry.max_attempts);
    list.span("retry.first_wait", &retry.first_wait);
    list.span("retry.longest_wait", &retry.longest_wait);
    list.span("rate_limit_patience", &retry.rate_limit_patience);
}

struct List<'a> {
    all: Vec<Listed>,
    redactor: &'a Redactor,
}

impl List<'_> {
    fn add(&mut self, key: impl Into<String>, value: &str, by: &Setter) {
        let (layer, set_by) = (by.scope().as_str(), by.to_string());
        self.all.push(Listed { key: key.into(), value: self.redactor.text(value), layer, set_by });
    }

    fn one<T: fmt::Display>(&mut self, key: &str, set: &Option<Set<T>>) {
        if let Some(set) = set {
            self.add(key, &set.value.to_string(), &set.by);
        }
    }

    fn span(&mut self, key: &str, set: &Option<Set<Duration>>) {
        if let Some(set) = set {
            self.add(key, &duration::format(set.value), &set.by);
        }
    }

    fn map(&mut self, key: &str, map: &BTreeMap<String, Set<String>>) {
        for (name, set) in map {
            let value = amplifier_foundation::source::uri::without_credentials(&set.value);
            self.add(format!("{key}.{name}"), &value, &set.by);
        }
    }

    fn module(&mut self, key: String, set: &Set<ModuleSpec>) {
        let mut config = Value::Object(set.value.config.clone());
        self.redactor.redact(&mut config);
        self.add(key, &format!("{} {config}", set.value.module), &set.by);
    }
}
