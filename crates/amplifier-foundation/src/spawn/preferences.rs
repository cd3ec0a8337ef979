//! Provider preferences: which provider one names, which model its glob means, what its settings may change.
//!
//! Guarantees: a glob is never sent to a service: it becomes the newest model that matches, or the
//! preference is skipped. A preference changes no credential and no address, however deep its settings
//! hide them.
//! Never here: asking a provider for its models, or mounting one.

mod version;

use amplifier_core::ModuleSpec;
use amplifier_core::module::provider::ProviderInfo;
use serde_json::{Map, Value};

use crate::bundle::ProviderPreference;
use crate::redact::names_secret;

pub use version::natural_cmp;

/// Most models that an error names.
const NEAREST: usize = 5;

/// Settings that a preference may not change, in any spelling of case and `-`: what proves who asks, and
/// where a request goes. Keys that name a secret ([`crate::redact`]) are protected too.
pub const PROTECTED_CONFIG_KEYS: [&str; 38] = [
    // Credentials.
    "api_key",
    "api_key_env",
    "secret",
    "password",
    "token",
    "access_token",
    "bearer_token",
    "client_id",
    "client_secret",
    "tenant_id",
    "headers",
    "default_headers",
    "extra_headers",
    "managed_identity_client_id",
    "use_managed_identity",
    "use_default_credential",
    // Addresses, and what is a part of them.
    "base_url",
    "api_base",
    "endpoint",
    "azure_endpoint",
    "host",
    "url",
    "api_version",
    "deployment",
    "deployment_name",
    "organization",
    "project",
    // The way there.
    "proxy",
    "proxies",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "verify",
    "verify_ssl",
    "ssl_verify",
    "ca_bundle",
    "ca_cert",
];

/// What a preference's provider is looked for in: an entry of a mount plan, or a mounted provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The module: `provider-anthropic`.
    pub module: &'a str,
    /// The instance's name, where it has one of its own.
    pub id: Option<&'a str>,
    /// The model it uses where nothing is said, where known.
    pub model: Option<&'a str>,
    /// Lower goes first.
    pub priority: i64,
}

impl<'a> From<&'a ModuleSpec> for Candidate<'a> {
    fn from(spec: &'a ModuleSpec) -> Self {
        let text = |key| spec.config.get(key).and_then(Value::as_str);
        Self {
            module: &spec.module,
            id: spec.id.as_deref(),
            model: text("default_model").or_else(|| text("model")),
            priority: spec.config.get("priority").and_then(Value::as_i64).unwrap_or(100),
        }
    }
}

impl<'a> From<&'a ProviderInfo> for Candidate<'a> {
    fn from(info: &'a ProviderInfo) -> Self {
        let model = Some(info.default_model.as_str()).filter(|model| !model.is_empty());
        Self { module: &info.module, id: Some(&info.name), model, priority: info.priority }
    }
}

impl Candidate<'_> {
    /// True if `provider` names this one: by the instance's id, by the module, or by the module without
    /// `provider-`. Case does not count.
    pub fn is_named(&self, provider: &str) -> bool {
        self.is_instance(provider) || short(self.module).eq_ignore_ascii_case(short(provider))
    }

    fn is_instance(&self, provider: &str) -> bool {
        self.id.is_some_and(|id| id.eq_ignore_ascii_case(provider))
    }
}

fn short(module: &str) -> &str {
    let prefix = "provider-";
    match module.get(..prefix.len()) {
        Some(start) if start.eq_ignore_ascii_case(prefix) => &module[prefix.len()..],
        _ => module,
    }
}

/// The one that a preference means: an instance of that id; else, of the instances of that module, those
/// whose own model the preference wants, if there are any, and of them the one that goes first.
pub fn position<'a>(
    preference: &ProviderPreference,
    candidates: impl IntoIterator<Item = Candidate<'a>>,
) -> Option<usize> {
    let rank = |candidate: &Candidate<'_>| {
        let other = !candidate.is_instance(&preference.provider);
        let wanted = preference.model.as_deref().zip(candidate.model);
        (other, !wanted.is_some_and(|(pattern, model)| matches(pattern, model)), candidate.priority)
    };
    let named = candidates.into_iter().enumerate().filter(|(_, one)| one.is_named(&preference.provider));
    named.min_by_key(|(_, candidate)| rank(candidate)).map(|(at, _)| at)
}

/// Whose preferences count: the caller's if there are any, else the agent's own. Where both are empty the
/// parent's plan stays as it is.
pub fn order<'a>(
    caller: &'a [ProviderPreference],
    agent: &'a [ProviderPreference],
) -> &'a [ProviderPreference] {
    if caller.is_empty() { agent } else { caller }
}

/// True if a model's name stands for any that it matches: it holds `*`, `?`, `[` or `{`.
pub fn is_glob(model: &str) -> bool {
    model.contains(['*', '?', '[', '{'])
}

/// The model that a pattern means: the highest match by [`natural_cmp`]; case does not count, and `*` takes
/// in `/` too. A plain name, and one that is listed as it is written, means itself. `None`: no model matches.
pub fn newest_match<'a>(pattern: &'a str, models: &'a [String]) -> Option<&'a str> {
    if !is_glob(pattern) || models.iter().any(|model| model == pattern) {
        return Some(pattern);
    }
    let matching = models.iter().map(String::as_str).filter(|model| matches(pattern, model));
    matching.max_by(|a, b| natural_cmp(a, b))
}

fn matches(pattern: &str, model: &str) -> bool {
    // `/` parts directories for the matcher, and is a character like others in a model's name.
    let plain = |text: &str| text.to_lowercase().replace('/', "\u{1}");
    fast_glob::glob_match(plain(pattern), plain(model))
}

/// A preference that can be used.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Usable<'a> {
    /// The preference.
    pub preference: &'a ProviderPreference,
    /// Its model by its own name; the provider's default where `None`.
    pub model: Option<&'a str>,
}

/// A glob that matches no model of its provider.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnmatchedGlob {
    /// The provider, as the preference names it.
    pub provider: String,
    /// The glob.
    pub glob: String,
    /// The provider's models that resemble it most, at most five.
    pub nearest: Vec<String>,
}

impl std::fmt::Display for UnmatchedGlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { provider, glob, nearest } = self;
        match nearest.as_slice() {
            [] => write!(f, "`{glob}` of {provider}, which lists no models"),
            nearest => write!(f, "`{glob}` of {provider}, whose nearest models are {}", nearest.join(", ")),
        }
    }
}

/// Why none of the preferences can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PreferenceError {
    /// Each provider that is here has no model that its glob matches.
    #[error("no model matches {}; name a model or another pattern", listed(globs))]
    NoModel {
        /// The globs, in the order of the preferences.
        globs: Vec<UnmatchedGlob>,
    },
}

fn listed(globs: &[UnmatchedGlob]) -> String {
    globs.iter().map(UnmatchedGlob::to_string).collect::<Vec<_>>().join("; ")
}

/// The preferences that can be used, the best first, each with its model's own name. `models` lists what the
/// provider of a preference offers, or is `None` where that provider is not there; it matters for globs alone.
/// Preferences of absent providers and globs that match nothing are skipped; `Err` if nothing is left because
/// of the latter, `Ok` with nothing if none of the providers is there.
pub fn usable<'a>(
    preferences: &'a [ProviderPreference],
    models: impl Fn(&ProviderPreference) -> Option<&'a [String]>,
) -> Result<Vec<Usable<'a>>, PreferenceError> {
    let (mut found, mut globs) = (Vec::new(), Vec::new());
    for preference in preferences {
        let Some(models) = models(preference) else { continue };
        match preference.model.as_deref() {
            None => found.push(Usable { preference, model: None }),
            Some(glob) => match newest_match(glob, models) {
                Some(model) => found.push(Usable { preference, model: Some(model) }),
                None => globs.push(UnmatchedGlob {
                    provider: preference.provider.clone(),
                    glob: glob.to_owned(),
                    nearest: nearest(glob, models),
                }),
            },
        }
    }
    match found.is_empty() && !globs.is_empty() {
        true => Err(PreferenceError::NoModel { globs }),
        false => Ok(found),
    }
}

/// The models that share the longest beginning with a glob, of these the newest.
fn nearest(glob: &str, models: &[String]) -> Vec<String> {
    let shared = |model: &str| {
        let pairs = glob.chars().flat_map(char::to_lowercase).zip(model.chars().flat_map(char::to_lowercase));
        pairs.take_while(|(a, b)| a == b).count()
    };
    let mut models: Vec<&String> = models.iter().collect();
    models.sort_by(|a, b| shared(b).cmp(&shared(a)).then_with(|| natural_cmp(b, a)));
    models.into_iter().take(NEAREST).cloned().collect()
}

/// Lays a preference's settings over those of a provider; maps are merged, everything else is replaced.
/// Returns the names of the [`PROTECTED_CONFIG_KEYS`] that were left out: `http.proxy`.
pub fn merge(provider: &mut ModuleSpec, preference: &ProviderPreference) -> Vec<String> {
    let mut left_out = Vec::new();
    merge_map(&mut provider.config, &preference.config.0, "", &mut left_out);
    left_out
}

fn merge_map(
    into: &mut Map<String, Value>,
    from: &Map<String, Value>,
    path: &str,
    left_out: &mut Vec<String>,
) {
    for (key, value) in from {
        let name = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (into.get_mut(key), value) {
            _ if is_protected(key) => left_out.push(name),
            (Some(Value::Object(into)), Value::Object(from)) => merge_map(into, from, &name, left_out),
            _ => drop(into.insert(key.clone(), allowed(value, &name, left_out))),
        }
    }
}

/// A value without the protected keys of the maps in it.
fn allowed(value: &Value, path: &str, left_out: &mut Vec<String>) -> Value {
    match value {
        Value::Object(from) => {
            let mut into = Map::new();
            merge_map(&mut into, from, path, left_out);
            Value::Object(into)
        }
        Value::Array(values) => values.iter().map(|value| allowed(value, path, left_out)).collect(),
        plain => plain.clone(),
    }
}

fn is_protected(key: &str) -> bool {
    let key = key.to_ascii_lowercase().replace('-', "_");
    PROTECTED_CONFIG_KEYS.contains(&key.as_str()) || names_secret(&key)
}

#[cfg(test)]
mod tests;
