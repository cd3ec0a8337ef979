//! `provider-gemini`: Google's Gemini API.
//!
//! Guarantees: the thought signature of a tool call goes back with the call.

use amplifier_core::ModuleSpec;
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, Mount, MountError};
use async_trait::async_trait;

use super::config::CONFIG_KEYS;
use super::wire::Wire;
use super::{Address, Service, Target};

pub(super) static SERVICE: Service = Service {
    module: "provider-gemini",
    name: "gemini",
    key_env: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
    base_env: &["GEMINI_BASE_URL"],
    model_env: &["GEMINI_MODEL"],
    version_env: &[],
    base_url: Some("https://generativelanguage.googleapis.com/v1beta/"),
    default_port: None,
    default_model: "gemini-2.5-pro",
    key_required: true,
    cache_key: false,
    sees: true,
    wire: |_| Wire::Gemini,
    address,
    models_path: Some("models?pageSize=1000"),
    list: super::list::GEMINI,
};

fn address(address: &Address<'_>) -> Target {
    Target { url: address.below(address.path), headers: address.key_header("x-goog-api-key", "") }
}

/// The module `provider-gemini`.
#[derive(Debug, Clone, Copy)]
pub struct Gemini;

#[async_trait]
impl Module for Gemini {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: SERVICE.module,
            aliases: &["provider-google"],
            kind: ModuleKind::Provider,
            summary: "Google's models by the Gemini API",
            config_keys: CONFIG_KEYS,
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        super::mount(&SERVICE, spec, mount)
    }
}
