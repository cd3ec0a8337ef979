//! `provider-anthropic`: Anthropic's Messages API.
//!
//! Guarantees: thinking blocks go back with their signatures; the system prompt and
//! the last message are marked for the prompt cache unless `enable_prompt_caching: false`.

use amplifier_core::ModuleSpec;
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, Mount, MountError};
use async_trait::async_trait;

use super::config::CONFIG_KEYS;
use super::wire::Wire;
use super::{Address, Service, Target};

/// The version of the protocol that is spoken.
const VERSION: &str = "2023-06-01";

pub(super) static SERVICE: Service = Service {
    module: "provider-anthropic",
    name: "anthropic",
    key_env: &["ANTHROPIC_API_KEY"],
    base_env: &["ANTHROPIC_BASE_URL"],
    model_env: &["ANTHROPIC_MODEL"],
    version_env: &[],
    base_url: Some("https://api.anthropic.com/"),
    default_port: None,
    default_model: "claude-sonnet-4-5",
    key_required: true,
    cache_key: false,
    sees: true,
    wire: |_| Wire::Anthropic,
    address,
    models_path: Some("models?limit=1000"),
    list: super::list::ANTHROPIC,
};

/// The base URL is the root; one that already ends in `/v1` is taken too.
fn address(address: &Address<'_>) -> Target {
    let versioned = address.base.path().ends_with("/v1/");
    let path = if versioned { address.path.to_owned() } else { format!("v1/{}", address.path) };
    let mut headers = address.key_header("x-api-key", "");
    headers.push(("anthropic-version".into(), VERSION.into()));
    Target { url: address.below(&path), headers }
}

/// The module `provider-anthropic`.
#[derive(Debug, Clone, Copy)]
pub struct Anthropic;

#[async_trait]
impl Module for Anthropic {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: SERVICE.module,
            aliases: &[],
            kind: ModuleKind::Provider,
            summary: "Claude models by Anthropic's Messages API",
            config_keys: CONFIG_KEYS,
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        super::mount(&SERVICE, spec, mount)
    }
}
