//! Providers over HTTP: one module a service, one implementation for all of them.
//!
//! Guarantees: a request is one attempt; an answer is given out only after the
//! service's own end marker; keys appear in request headers and nowhere else; the
//! protocol that is spoken follows from the module, never from a model's name.
//! Never here: retries, waiting, choosing a provider; that is the kernel's.
//!
//! `genai` builds the requests, sends them and cuts the answers into frames. The
//! frames are read by decoders of our own (`wire`), because genai's take a stream
//! that was cut off for an answer (Gemini, Ollama), skip chunks that they cannot
//! read (Responses) and mix tool calls that come interleaved (Anthropic).

mod anthropic;
mod azure_openai;
mod config;
mod gemini;
mod http;
mod list;
mod ollama;
mod openai;
mod openai_compatible;
pub(crate) mod wire;

use std::sync::Arc;

use amplifier_core::ModuleSpec;
use amplifier_core::module::provider::ProviderInfo;
use amplifier_core::module::{Module, Mount, MountError};

pub use anthropic::Anthropic;
pub use azure_openai::AzureOpenAi;
pub use gemini::Gemini;
pub use ollama::Ollama;
pub use openai::OpenAi;
pub use openai_compatible::OpenAiCompatible;

use crate::services::ServiceInfo;
use config::Settings;
use http::HttpProvider;
use list::Listed;
use wire::Wire;

/// All provider modules of this folder, in alphabetical order.
pub fn providers() -> Vec<Arc<dyn Module>> {
    vec![
        Arc::new(Anthropic),
        Arc::new(AzureOpenAi),
        Arc::new(Gemini),
        Arc::new(Ollama),
        Arc::new(OpenAi),
        Arc::new(OpenAiCompatible),
    ]
}

/// The services of all provider modules of this folder, in alphabetical order.
pub(crate) fn services() -> Vec<ServiceInfo> {
    let all = [
        &anthropic::SERVICE,
        &azure_openai::SERVICE,
        &gemini::SERVICE,
        &ollama::SERVICE,
        &openai::SERVICE,
        &openai_compatible::SERVICE,
    ];
    all.map(Service::info).to_vec()
}

/// What tells one service from another.
#[derive(Debug)]
struct Service {
    /// The module's id.
    module: &'static str,
    /// The provider's name where the bundle gives none.
    name: &'static str,
    /// Variables that hold the key; the first is the one that errors name.
    key_env: &'static [&'static str],
    /// Variables that hold the base URL.
    base_env: &'static [&'static str],
    /// Variables that hold the model or deployment.
    model_env: &'static [&'static str],
    /// Variables that hold the API's version.
    version_env: &'static [&'static str],
    /// The service's own address.
    base_url: Option<&'static str>,
    /// The port where an address names none and no scheme either.
    default_port: Option<u16>,
    /// The model where nothing names one; empty: there is none.
    default_model: &'static str,
    /// Whether a request without key makes sense.
    key_required: bool,
    /// Whether it takes the key of a prompt cache.
    cache_key: bool,
    /// Whether its models can be expected to see images.
    sees: bool,
    /// The protocol, by the settings.
    wire: fn(&Settings) -> Wire,
    /// Where a path of the protocol lies, and with which headers.
    address: fn(&Address<'_>) -> Target,
    /// Where it lists its models; `None` if it cannot.
    models_path: Option<&'static str>,
    /// What its models cost at its own address, as far as is known.
    list: &'static [Listed],
}

impl Service {
    fn info(&self) -> ServiceInfo {
        ServiceInfo {
            module: self.module,
            name: self.name,
            key_env: self.key_env,
            base_env: self.base_env,
            base_url: self.base_url,
            default_model: self.default_model,
            key_required: self.key_required,
            lists_models: self.models_path.is_some(),
        }
    }
}

/// What an address depends on.
struct Address<'a> {
    base: &'a reqwest::Url,
    settings: &'a Settings,
    model: &'a str,
    /// The path below the base URL, by the protocol.
    path: &'a str,
}

/// Where a request goes.
struct Target {
    url: reqwest::Url,
    headers: Vec<(String, String)>,
}

impl Address<'_> {
    /// The path below the base URL; the base's own query stays.
    fn below(&self, path: &str) -> reqwest::Url {
        let mut url = self.base.clone();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        url.set_path(&format!("{}{path}", self.base.path()));
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            url.query_pairs_mut().append_pair(name, value);
        }
        url
    }

    /// The key under a header's name, if there is one.
    fn key_header(&self, name: &str, prefix: &str) -> Vec<(String, String)> {
        let key = self.settings.api_key.as_ref();
        key.map(|key| (name.to_owned(), format!("{prefix}{}", key.reveal()))).into_iter().collect()
    }
}

/// The path below the base URL, with the key as a bearer token.
fn bearer(address: &Address<'_>) -> Target {
    Target { url: address.below(address.path), headers: address.key_header("authorization", "Bearer ") }
}

/// Mounts the provider of a service.
fn mount(service: &'static Service, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
    let env = mount.env();
    let settings = Settings::read(spec, service, env.variables.as_ref())?;
    let name = spec.id.clone().unwrap_or_else(|| service.name.to_owned());
    let mut info = ProviderInfo::new(name, service.module, settings.model.clone());
    info.priority = settings.priority;
    info.governor_key = settings.governor_key(service);
    mount.provider(Arc::new(HttpProvider::new(service, settings, info, env)));
    Ok(())
}
