//! `provider-azure-openai`: OpenAI's models in Azure, by Chat Completions.
//!
//! The model is the name of a deployment. `base_url` (or `AZURE_OPENAI_ENDPOINT`)
//! may be the resource (`https://name.openai.azure.com`), a deployment's own
//! address, or the resource's `/openai/v1`, which needs no `api_version`.

use amplifier_core::ModuleSpec;
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, Mount, MountError};
use async_trait::async_trait;

use super::config::CONFIG_KEYS;
use super::wire::Wire;
use super::{Address, Service, Target};

/// The version of the API where nothing names one.
const API_VERSION: &str = "2024-10-21";

pub(super) static SERVICE: Service = Service {
    module: "provider-azure-openai",
    name: "azure-openai",
    key_env: &["AZURE_OPENAI_API_KEY"],
    base_env: &["AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_BASE_URL"],
    model_env: &["AZURE_OPENAI_DEPLOYMENT", "AZURE_OPENAI_DEPLOYMENT_NAME"],
    version_env: &["AZURE_OPENAI_API_VERSION", "OPENAI_API_VERSION"],
    base_url: None,
    default_port: None,
    default_model: "",
    key_required: true,
    cache_key: true,
    sees: true,
    wire: |_| Wire::Chat,
    address,
    // The endpoint lists what could be deployed, not what is.
    models_path: None,
    list: &[],
};

fn address(address: &Address<'_>) -> Target {
    let headers = address.key_header("api-key", "");
    let base = address.base.path();
    if base.ends_with("/v1/") {
        return Target { url: address.below(address.path), headers };
    }
    let deployed = base.contains("/deployments/");
    let model = address.model;
    let path = if deployed {
        address.path.to_owned()
    } else {
        format!("openai/deployments/{model}/{}", address.path)
    };
    let mut url = address.below(&path);
    if !url.query_pairs().any(|(name, _)| name == "api-version") {
        let version = address.settings.api_version.as_deref().unwrap_or(API_VERSION);
        url.query_pairs_mut().append_pair("api-version", version);
    }
    Target { url, headers }
}

/// The module `provider-azure-openai`.
#[derive(Debug, Clone, Copy)]
pub struct AzureOpenAi;

#[async_trait]
impl Module for AzureOpenAi {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: SERVICE.module,
            aliases: &[],
            kind: ModuleKind::Provider,
            summary: "OpenAI's models deployed in Azure",
            config_keys: CONFIG_KEYS,
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        super::mount(&SERVICE, spec, mount)
    }
}
