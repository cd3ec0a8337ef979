//! Step 4: the session's surroundings, its modules, and the session itself.
//!
//! Guarantees: the surroundings are complete before the first module is mounted;
//! each session gets its own copy of every module's configuration; what was
//! mounted is cleaned up if a later module fails, or the caller goes away meanwhile.

use std::path::Path;
use std::sync::Arc;

use amplifier_core::approval::{NoticeLevel, Shown};
use amplifier_core::coordinator::Coordinator;
use amplifier_core::env::{SessionEnv, SessionEnvInner};
use amplifier_core::module::{Mount, MountError, Parts};
use amplifier_core::panic::caught;
use amplifier_core::session::SessionDriver;
use amplifier_core::turn::ModelOptions;
use amplifier_core::until::until;
use amplifier_core::{AmplifierSession, CancelToken, ModuleSpec};

use super::SpawnError;
use super::record::Recorded;
use super::request::SpawnRequest;
use super::resolve::Resolved;
use super::transcript::StoredTranscript;
use super::wanted::Wanted;
use crate::host::Host;

pub(super) async fn mount(
    host: &Host,
    request: &SpawnRequest,
    resolved: &Resolved,
    wanted: Wanted,
    recorded: &Recorded,
    cancel: &CancelToken,
) -> Result<(AmplifierSession, SessionDriver), SpawnError> {
    let env = surroundings(host, resolved, recorded, cancel);
    warn(&env, "storage", &recorded.warnings);
    warn(&env, "bundle", resolved.distrusted.as_slice());
    warn(&env, "bundle", wanted.left_out.as_slice());
    let result = match until(parts(host, &env, &wanted.specs), cancel.cancelled()).await {
        Some(Ok(parts)) => build(host, request, resolved, recorded, env.clone(), parts),
        Some(Err(error)) => Err(error.into()),
        None => Err(SpawnError::Abandoned),
    };
    if result.is_err() {
        env.coordinator.clean_up().await;
    }
    result
}

fn warn(env: &SessionEnv, source: &str, lines: &[String]) {
    for text in lines {
        env.display.show(&env.origin(), Shown::Notice { level: NoticeLevel::Warning, source, text });
    }
}

fn surroundings(host: &Host, resolved: &Resolved, recorded: &Recorded, cancel: &CancelToken) -> SessionEnv {
    let inner = &host.0;
    let folder = inner.project_paths.as_ref().map(|paths| paths.session(&recorded.id));
    SessionEnv::new(SessionEnvInner {
        session: recorded.id.clone(),
        parent: recorded.metadata.spawned_by().cloned(),
        root: recorded.metadata.trace_id.clone().unwrap_or_else(|| recorded.id.clone()),
        depth: 0,
        activation: recorded.activation,
        cwd: resolved.cwd.clone(),
        folder,
        clock: Arc::clone(&inner.clock),
        ids: Arc::clone(&inner.ids),
        paths: Arc::clone(&inner.paths),
        variables: Arc::clone(&inner.variables),
        cancel: cancel.clone(),
        approver: Arc::clone(&inner.approver),
        display: Arc::clone(&inner.display),
        events: Arc::new(inner.router.clone()),
        coordinator: Coordinator::new(),
    })
}

async fn parts(host: &Host, env: &SessionEnv, specs: &[ModuleSpec]) -> Result<Parts, MountError> {
    env.coordinator.provide(Arc::new(host.0.redactor.clone()));
    let mut parts = Parts::default();
    for spec in specs {
        let Some(module) = host.modules().get(&spec.module) else { continue };
        let mut mount = Mount::new(env, &mut parts);
        let panicked = |message| MountError::Panicked { module: spec.module.clone(), message };
        caught(module.mount(spec, &mut mount)).await.map_err(panicked)??;
    }
    parts.tools.extend(host.0.tools.iter().cloned());
    parts.hooks.extend(host.0.hooks.iter().cloned());
    Ok(parts)
}

fn build(
    host: &Host,
    request: &SpawnRequest,
    resolved: &Resolved,
    recorded: &Recorded,
    env: SessionEnv,
    mut parts: Parts,
) -> Result<(AmplifierSession, SessionDriver), SpawnError> {
    if let Some(wanted) = &request.provider {
        super::wanted::prefer(&mut parts.providers, wanted)?;
    }
    let mut options = ModelOptions::default();
    options.model = request.model.clone();
    options.max_output_tokens = request.max_output_tokens;
    let section = &resolved.bundle.plan.session;
    options.raw_events = section.raw.unwrap_or(false);
    options.injection_size_limit = section.injection_size_limit;
    options.injection_budget_per_turn = section.injection_budget_per_turn;
    let system = resolved.bundle.system_prompt(&resolved.cwd, host.user_home().map(Path::to_path_buf));
    let transcript =
        StoredTranscript::new(Arc::clone(host.storage()), recorded.id.clone(), recorded.activation);
    let builder = AmplifierSession::builder(env)
        .parts(parts)
        .system(Arc::new(system))
        .permissions(resolved.permissions.clone())
        .limits(resolved.limits.clone(), resolved.limits_from)
        .options(options)
        .retry(host.0.retry.clone());
    Ok(builder.build(Arc::new(transcript))?)
}
