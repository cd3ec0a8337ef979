//! A provider without a session, for who wants to know what it offers.
//!
//! Guarantees: nothing is recorded and no model is asked by mounting it; what it opened is cleaned up with the process.
//! Never here: a way to a model around a session; that is [`spawn_bundle`](super::spawn_bundle)'s.

use std::sync::Arc;

use amplifier_core::activity::Activity;
use amplifier_core::approval::{NoDisplay, NobodyToAsk};
use amplifier_core::coordinator::Coordinator;
use amplifier_core::env::{SessionEnv, SessionEnvInner};
use amplifier_core::module::provider::{ModelInfo, ProviderError, ProviderInfo};
use amplifier_core::module::{Mount, MountError, Parts};
use amplifier_core::panic::caught;
use amplifier_core::{Activation, CancelToken, ModuleSpec, SessionId};

use super::SpawnError;
use crate::host::Host;

/// What a provider says of itself.
#[derive(Debug)]
pub struct Offer {
    /// What is known of it without asking.
    pub info: ProviderInfo,
    /// Its models, or why it does not tell them.
    pub models: Result<Vec<ModelInfo>, ProviderError>,
}

/// Mounts a provider and asks it for its models. `Err`: it cannot be mounted.
pub async fn offer(host: &Host, spec: &ModuleSpec) -> Result<Offer, SpawnError> {
    let module = spec.module.clone();
    let Some(found) = host.modules().get(&module) else {
        let known: Vec<&str> = host.modules().infos().iter().map(|info| info.id).collect();
        let known: Vec<&str> = known.into_iter().filter(|id| id.starts_with("provider-")).collect();
        let help = format!("there are: {}", known.join(", "));
        return Err(SpawnError::UnknownModule { kind: "provider", module, help });
    };
    let env = surroundings(host)?;
    let mut parts = Parts::default();
    let mut mount = Mount::new(&env, &mut parts);
    let panicked = |message| MountError::Panicked { module: module.clone(), message };
    caught(found.mount(spec, &mut mount)).await.map_err(panicked)??;
    let Some(provider) = parts.providers.into_iter().next() else {
        return Err(MountError::config(spec, "it brings no provider").into());
    };
    let models = match caught(provider.models()).await {
        Ok(models) => models,
        Err(message) => return Err(MountError::Panicked { module, message }.into()),
    };
    Ok(Offer { info: provider.info().clone(), models })
}

fn surroundings(host: &Host) -> Result<SessionEnv, SpawnError> {
    let inner = &host.0;
    let session = SessionId::new(host.ids().v4().to_string())?;
    Ok(SessionEnv::new(SessionEnvInner {
        root: session.clone(),
        session,
        parent: None,
        depth: 0,
        activation: Activation::FIRST,
        cwd: host.project().to_path_buf(),
        folder: None,
        clock: Arc::clone(&inner.clock),
        ids: Arc::clone(&inner.ids),
        paths: Arc::clone(&inner.paths),
        variables: Arc::clone(&inner.variables),
        cancel: CancelToken::new(),
        activity: Activity::new(Arc::clone(&inner.clock)),
        approver: Arc::new(NobodyToAsk),
        display: Arc::new(NoDisplay),
        events: Arc::new(inner.router.clone()),
        coordinator: Coordinator::new(),
    }))
}
