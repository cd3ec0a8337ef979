//! `provider-openai`: OpenAI's Responses and Chat Completions APIs.
//!
//! `api: responses | chat` in the config chooses the protocol. Without it, OpenAI's
//! own host is asked by `responses`, and any other `base_url` by `chat`, which is
//! what gateways and local servers speak.

use amplifier_core::ModuleSpec;
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, Mount, MountError};
use async_trait::async_trait;

use super::config::{Api, CONFIG_KEYS, Settings};
use super::wire::Wire;
use super::{Service, bearer};

/// Where `responses` is the default.
const HOST: &str = "api.openai.com";

pub(super) static SERVICE: Service = Service {
    module: "provider-openai",
    name: "openai",
    key_env: &["OPENAI_API_KEY"],
    base_env: &["OPENAI_BASE_URL"],
    model_env: &["OPENAI_MODEL"],
    version_env: &[],
    base_url: Some("https://api.openai.com/v1/"),
    default_port: None,
    default_model: "gpt-5.4",
    key_required: true,
    cache_key: true,
    sees: true,
    wire,
    address: bearer,
    models_path: Some("models"),
    list: super::list::OPENAI,
};

fn wire(settings: &Settings) -> Wire {
    let own = settings.base_url(&SERVICE).is_ok_and(|url| url.host_str() == Some(HOST));
    match settings.api {
        Some(Api::Chat) => Wire::Chat,
        Some(Api::Responses) => Wire::Responses,
        None if own => Wire::Responses,
        None => Wire::Chat,
    }
}

/// The module `provider-openai`.
#[derive(Debug, Clone, Copy)]
pub struct OpenAi;

#[async_trait]
impl Module for OpenAi {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: SERVICE.module,
            aliases: &[],
            kind: ModuleKind::Provider,
            summary: "OpenAI's models by its Responses or Chat Completions API",
            config_keys: CONFIG_KEYS,
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        super::mount(&SERVICE, spec, mount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amplifier_core::env::NoVariables;
    use serde_json::{Map, json};

    fn check(config: serde_json::Value, expect: Wire) {
        let mut spec = ModuleSpec::new("provider-openai");
        spec.config = config.as_object().cloned().unwrap_or_else(Map::new);
        let settings = Settings::read(&spec, &SERVICE, &NoVariables).unwrap();
        assert_eq!(wire(&settings), expect, "{config}");
    }

    #[test]
    fn the_protocol_follows_from_config_and_host() {
        check(json!({}), Wire::Responses);
        check(json!({"api": "chat"}), Wire::Chat);
        check(json!({"base_url": "http://127.0.0.1:1/v1"}), Wire::Chat);
        check(json!({"base_url": "http://127.0.0.1:1/v1", "api": "responses"}), Wire::Responses);
    }
}
