//! A provider's configuration: what a bundle may write, and what it means.
//!
//! Guarantees: a key never shows in `Debug`, an error or a log. What is missing is
//! no error here but at the first request ([`Settings::ready`]), so that commands
//! that ask no model work without any key.
//! Never here: the process's environment; variables come from the session.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use amplifier_core::ModuleSpec;
use amplifier_core::env::Variables;
use amplifier_core::module::provider::ReasoningEffort;
use amplifier_core::module::{MountError, parse_config};
use amplifier_foundation::settings::duration;
use reqwest::Url;
use serde::Deserialize;

use super::Service;
use super::list::{self, Listed};
use crate::price::Prices;

/// A key, or another value that nobody may see.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(value: &str) -> Self {
        Self(value.trim().to_owned())
    }

    /// The value itself. Only for headers and for taking it out of messages.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Keys of `config` that every provider over HTTP understands.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Written {
    api_key: Option<Secret>,
    api_key_env: Option<String>,
    base_url: Option<String>,
    default_model: Option<String>,
    model: Option<String>,
    priority: Option<i64>,
    headers: BTreeMap<String, Secret>,
    timeout: Option<Span>,
    connect_timeout: Option<Span>,
    first_byte_timeout: Option<Span>,
    read_timeout: Option<Span>,
    max_tokens: Option<u64>,
    temperature: Option<f64>,
    extended_thinking: Option<Effort>,
    #[serde(alias = "reasoning_effort")]
    reasoning: Option<Effort>,
    enable_prompt_caching: Option<bool>,
    images: Option<bool>,
    api: Option<Api>,
    deployment: Option<String>,
    api_version: Option<String>,
    prices: Prices,
}

/// A number is seconds, as in bundles of the reference system; a text is a duration: `500ms`, `2m`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "WrittenSpan")]
struct Span(Duration);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected seconds, or a duration such as 500ms or 2m")]
enum WrittenSpan {
    Seconds(f64),
    Text(String),
}

impl TryFrom<WrittenSpan> for Span {
    type Error = String;

    fn try_from(written: WrittenSpan) -> Result<Self, Self::Error> {
        match written {
            WrittenSpan::Seconds(seconds) => Duration::try_from_secs_f64(seconds)
                .map(Self)
                .map_err(|_| "a time-out is a positive number of seconds, or a duration such as 2m".into()),
            WrittenSpan::Text(text) => duration::parse(&text).map(Self).map_err(|error| error.to_string()),
        }
    }
}

/// `true`, `false` or a level.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "expected true, false, or a level such as medium")]
enum Effort {
    Switch(bool),
    Level(Level),
}

/// The levels that services know, by their own names.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

impl Effort {
    fn level(self) -> Option<ReasoningEffort> {
        match self {
            Self::Switch(on) => on.then_some(ReasoningEffort::Medium),
            Self::Level(Level::None) => None,
            Self::Level(Level::Minimal | Level::Low) => Some(ReasoningEffort::Low),
            Self::Level(Level::Medium) => Some(ReasoningEffort::Medium),
            Self::Level(Level::High | Level::XHigh | Level::Max) => Some(ReasoningEffort::High),
        }
    }
}

/// Which of its two protocols OpenAI is asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Api {
    /// `chat/completions`.
    Chat,
    /// `responses`.
    Responses,
}

/// How long each phase of a request may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// Until the connection stands.
    pub(super) connect: Duration,
    /// Until the answer's head is there, connecting included.
    pub(super) first_byte: Duration,
    /// Between two pieces of the answer.
    pub(super) read: Duration,
}

/// A provider's configuration with all defaults filled in.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) api_key: Option<Secret>,
    pub(super) key_name: String,
    base_url: Option<Result<Url, String>>,
    pub(super) model: String,
    pub(super) priority: i64,
    pub(super) headers: BTreeMap<String, Secret>,
    pub(super) timeouts: Timeouts,
    pub(super) max_tokens: Option<u64>,
    pub(super) temperature: Option<f64>,
    pub(super) reasoning: Option<ReasoningEffort>,
    pub(super) prompt_caching: bool,
    pub(super) images: Option<bool>,
    pub(super) api: Option<Api>,
    pub(super) api_version: Option<String>,
    pub(super) prices: Prices,
}

/// Keys of `config` that every provider over HTTP understands, for [`amplifier_core::module::ModuleInfo`].
pub(super) const CONFIG_KEYS: &[&str] = &[
    "api_key",
    "api_key_env",
    "base_url",
    "default_model",
    "model",
    "priority",
    "headers",
    "timeout",
    "connect_timeout",
    "first_byte_timeout",
    "read_timeout",
    "max_tokens",
    "temperature",
    "extended_thinking",
    "reasoning",
    "reasoning_effort",
    "enable_prompt_caching",
    "images",
    "raw",
    "api",
    "deployment",
    "api_version",
    "prices",
];

impl Settings {
    /// Reads `config`; `Err` for a value of the wrong shape.
    pub(super) fn read(
        spec: &ModuleSpec,
        service: &Service,
        variables: &dyn Variables,
    ) -> Result<Self, MountError> {
        let written: Written = parse_config(spec)?;
        let first =
            |names: &[&str]| names.iter().find_map(|name| variables.get(name)).filter(|v| !v.is_empty());
        let expand = |text: String| expand(&text, variables);
        let named = written.api_key_env.as_deref();
        let from_env = || match named {
            Some(name) => first(&[name]),
            None => first(service.key_env),
        };
        let api_key =
            written.api_key.map(|key| expand(key.0)).filter(|key| !key.is_empty()).or_else(from_env);
        let base_url = written.base_url.map(expand).or_else(|| first(service.base_env));
        let base_url = base_url.or_else(|| service.base_url.map(str::to_owned));
        let model = written.deployment.or(written.default_model).or(written.model);
        let model = model.or_else(|| first(service.model_env));
        let span = |value: Option<Span>, default| value.map_or(Duration::from_secs(default), |span| span.0);
        Ok(Self {
            api_key: api_key.map(|key| Secret::new(&key)),
            key_name: named.or(service.key_env.first().copied()).unwrap_or("api_key").to_owned(),
            base_url: base_url.map(|text| base(&text, service)),
            model: model.unwrap_or_else(|| service.default_model.to_owned()),
            priority: written.priority.unwrap_or(100),
            headers: written
                .headers
                .into_iter()
                .map(|(name, value)| (name, Secret(expand(value.0))))
                .collect(),
            timeouts: Timeouts {
                connect: span(written.connect_timeout, 10),
                first_byte: span(written.first_byte_timeout.or(written.timeout), 120),
                read: span(written.read_timeout.or(written.timeout), 120),
            },
            max_tokens: written.max_tokens,
            temperature: written.temperature,
            reasoning: written.reasoning.or(written.extended_thinking).and_then(Effort::level),
            prompt_caching: written.enable_prompt_caching.unwrap_or(true),
            images: written.images,
            api: written.api,
            api_version: written.api_version.or_else(|| first(service.version_env)),
            prices: written.prices,
        })
    }

    /// The base URL, with a final slash. `Err` says what to set.
    pub(super) fn base_url(&self, service: &Service) -> Result<&Url, String> {
        match &self.base_url {
            Some(Ok(url)) => Ok(url),
            Some(Err(message)) => Err(message.clone()),
            None if service.base_env.is_empty() => {
                Err("no server is named; set base_url in its config".into())
            }
            None => Err(format!("no server is named; set base_url in its config or {}", service.base_env[0])),
        }
    }

    /// What is known of a model at the service's own address.
    pub(super) fn listed(&self, service: &Service, model: &str) -> Option<&'static Listed> {
        let own = service.base_url.and_then(|own| Url::parse(own).ok())?;
        let asked = self.base_url(service).ok()?;
        (own.origin() == asked.origin()).then(|| list::find(service.list, model))?
    }

    /// Whose rate limits these settings share: the module, the server, and a fingerprint of the whole
    /// address and of all that a request proves itself with. Holds nothing of a key.
    pub(super) fn governor_key(&self, service: &Service) -> String {
        let url = self.base_url(service).ok();
        let mut hasher = blake3::Hasher::new();
        let headers = self.headers.iter().flat_map(|(name, value)| [name.as_str(), value.reveal()]);
        let key = self.api_key.as_ref().map_or("", Secret::reveal);
        for part in [url.map_or("", Url::as_str), key].into_iter().chain(headers) {
            hasher.update(&part.len().to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let server = url.map(|url| url.origin().ascii_serialization()).unwrap_or_default();
        format!("{} {server} {}", service.module, &hasher.finalize().to_hex()[..8])
    }

    /// All that a request needs, or what to set.
    pub(super) fn ready(&self, service: &Service, model: Option<&str>) -> Result<(&Url, String), String> {
        let base = self.base_url(service)?;
        if service.key_required && self.api_key.is_none() {
            return Err(format!("no key; set {} or api_key_env in its config", self.key_name));
        }
        let model = model.unwrap_or(&self.model);
        if model.is_empty() {
            return Err("no model is named; set default_model in its config or pass -m".into());
        }
        Ok((base, model.to_owned()))
    }
}

/// `${NAME}` as a whole value stands for a variable.
fn expand(text: &str, variables: &dyn Variables) -> String {
    let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    match name {
        Some(name) => variables.get(name).unwrap_or_default(),
        None => text.to_owned(),
    }
}

/// Base URLs end in a slash, carry a scheme, and name a host that can be connected to.
fn base(text: &str, service: &Service) -> Result<Url, String> {
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let wrong = || "base_url is no http or https URL; write it as https://host/path".to_owned();
    let mut url = Url::parse(&with_scheme).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong());
    }
    if with_scheme != text
        && url.port().is_none()
        && let Some(port) = service.default_port
    {
        url.set_port(Some(port)).map_err(|()| wrong())?;
    }
    if url.host_str() == Some("0.0.0.0") {
        url.set_host(Some("127.0.0.1")).map_err(|_| wrong())?;
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use amplifier_core::env::NoVariables;

    fn check(text: &str, expect: &str) {
        let url = base(text, &super::super::ollama::SERVICE).map(String::from).unwrap_or_default();
        assert_eq!(url, expect, "{text}");
    }

    #[test]
    fn base_urls_get_a_scheme_a_port_and_a_final_slash() {
        check("http://h:1/v1", "http://h:1/v1/");
        check("https://h/v1/", "https://h/v1/");
        check("127.0.0.1:11434", "http://127.0.0.1:11434/");
        check("localhost", "http://localhost:11434/");
        check("0.0.0.0", "http://127.0.0.1:11434/");
        check("https://h/x?api-version=1", "https://h/x/?api-version=1");
        check("file:///etc", "");
        check("", "");
    }

    fn timeouts(config: serde_json::Value) -> Timeouts {
        let mut spec = ModuleSpec::new("provider-openai");
        spec.config = config.as_object().cloned().unwrap();
        Settings::read(&spec, &super::super::openai::SERVICE, &NoVariables).unwrap().timeouts
    }

    #[test]
    fn timeouts_are_seconds_or_durations() {
        let millis = |timeouts: Timeouts| {
            [timeouts.connect, timeouts.first_byte, timeouts.read].map(|span| span.as_millis())
        };
        assert_eq!(millis(timeouts(serde_json::json!({}))), [10_000, 120_000, 120_000]);
        assert_eq!(millis(timeouts(serde_json::json!({"timeout": 300.0}))), [10_000, 300_000, 300_000]);
        let config = serde_json::json!({"timeout": 600, "connect_timeout": "500ms", "read_timeout": "2m"});
        assert_eq!(millis(timeouts(config)), [500, 600_000, 120_000]);
    }

    #[test]
    fn a_key_does_not_show_in_debug() {
        let mut spec = ModuleSpec::new("provider-openai");
        spec.config.insert("api_key".into(), "sk-secret".into());
        spec.config.insert("headers".into(), serde_json::json!({"x-token": "hidden"}));
        let settings = Settings::read(&spec, &super::super::openai::SERVICE, &NoVariables).unwrap();
        let debug = format!("{settings:?}");
        assert!(!debug.contains("sk-secret") && !debug.contains("hidden"), "{debug}");
        assert_eq!(settings.api_key.unwrap().reveal(), "sk-secret");
    }

    #[test]
    fn a_governor_key_tells_keys_and_servers_apart_and_holds_neither_key_nor_password() {
        let key = |config: serde_json::Value| {
            let mut spec = ModuleSpec::new("provider-openai");
            spec.config = config.as_object().cloned().unwrap();
            let service = &super::super::openai::SERVICE;
            Settings::read(&spec, service, &NoVariables).unwrap().governor_key(service)
        };
        let one = key(serde_json::json!({"api_key": "sk-secret", "default_model": "a"}));
        assert_eq!(one, key(serde_json::json!({"api_key": "sk-secret", "default_model": "b"})));
        assert!(one.starts_with("provider-openai https://api.openai.com ") && one.len() == 47, "{one}");
        let others = [
            serde_json::json!({"api_key": "sk-other"}),
            serde_json::json!({"api_key": "sk-secret", "headers": {"x-token": "hidden"}}),
            serde_json::json!({"api_key": "sk-secret", "base_url": "https://me:pass@h/v1?token=hidden"}),
            serde_json::json!({"api_key": "sk-secret", "base_url": "https://me:word@h/v1?token=hidden"}),
        ];
        let others = others.map(key);
        for (index, other) in others.iter().enumerate() {
            assert!(*other != one && !others[..index].contains(other), "{other}");
            let told =
                ["secret", "other", "hidden", "pass", "word"].iter().find(|part| other.contains(**part));
            assert_eq!(told, None, "{other}");
        }
    }
}
