//! `provider-openai-compatible`: any server that speaks OpenAI's Chat Completions.
//!
//! `base_url` is required, a key is not: vLLM, llama.cpp, LM Studio, gateways.

use amplifier_core::ModuleSpec;
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, Mount, MountError};
use async_trait::async_trait;

use super::config::{Api, CONFIG_KEYS};
use super::wire::Wire;
use super::{Service, bearer};

pub(super) static SERVICE: Service = Service {
    module: "provider-openai-compatible",
    name: "openai-compatible",
    key_env: &["OPENAI_COMPATIBLE_API_KEY"],
    base_env: &["OPENAI_COMPATIBLE_BASE_URL"],
    model_env: &["OPENAI_COMPATIBLE_MODEL"],
    version_env: &[],
    base_url: None,
    default_port: None,
    default_model: "",
    key_required: false,
    cache_key: false,
    sees: false,
    wire: |settings| if settings.api == Some(Api::Responses) { Wire::Responses } else { Wire::Chat },
    address: bearer,
    models_path: Some("models"),
    list: &[],
};

/// The module `provider-openai-compatible`.
#[derive(Debug, Clone, Copy)]
pub struct OpenAiCompatible;

#[async_trait]
impl Module for OpenAiCompatible {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: SERVICE.module,
            aliases: &[],
            kind: ModuleKind::Provider,
            summary: "any server that speaks OpenAI's Chat Completions, at a base_url",
            config_keys: CONFIG_KEYS,
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        super::mount(&SERVICE, spec, mount)
    }
}
