//! `provider-ollama`: models on this machine or in its network, by Ollama's own API.

use amplifier_core::ModuleSpec;
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, Mount, MountError};
use async_trait::async_trait;

use super::config::CONFIG_KEYS;
use super::wire::Wire;
use super::{Service, bearer};

pub(super) static SERVICE: Service = Service {
    module: "provider-ollama",
    name: "ollama",
    key_env: &["OLLAMA_API_KEY"],
    base_env: &["OLLAMA_HOST", "OLLAMA_BASE_URL"],
    model_env: &["OLLAMA_MODEL"],
    version_env: &[],
    base_url: Some("http://127.0.0.1:11434/"),
    default_port: Some(11434),
    default_model: "llama3.2",
    key_required: false,
    cache_key: false,
    sees: false,
    wire: |_| Wire::Ollama,
    address: bearer,
    models_path: Some("api/tags"),
    list: &[],
};

/// The module `provider-ollama`.
#[derive(Debug, Clone, Copy)]
pub struct Ollama;

#[async_trait]
impl Module for Ollama {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: SERVICE.module,
            aliases: &[],
            kind: ModuleKind::Provider,
            summary: "local models by Ollama",
            config_keys: CONFIG_KEYS,
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        super::mount(&SERVICE, spec, mount)
    }
}
