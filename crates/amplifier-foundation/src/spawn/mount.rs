//! Step 6: the session's surroundings, its modules, and the session itself.
//!
//! Guarantees: the surroundings are complete before the first module is mounted; what a parent lends
//! (approver, display, cancellation) is among them; no two sessions share a configuration that a module
//! could change; what was mounted is cleaned up if a later module fails, or the caller goes away meanwhile.

use std::path::Path;
use std::sync::Arc;

use amplifier_core::activity::Activity;
use amplifier_core::approval::{NoticeLevel, Shown};
use amplifier_core::budget::Budget;
use amplifier_core::coordinator::Coordinator;
use amplifier_core::env::{EventSink, SessionEnv, SessionEnvInner};
use amplifier_core::limits::LimitKind;
use amplifier_core::module::orchestrator::Orchestrator;
use amplifier_core::module::{Mount, MountError, Parts};
use amplifier_core::panic::caught;
use amplifier_core::session::SessionDriver;
use amplifier_core::turn::{Choice, ModelOptions};
use amplifier_core::until::until;
use amplifier_core::{AmplifierSession, CancelToken};

use super::SpawnError;
use super::answer::{AnswerCheck, Checked};
use super::choices;
use super::finish;
use super::node::{Lent, Node};
use super::plan::SessionPlan;
use super::record::Recorded;
use super::resolve::Resolved;
use super::spawner::{Spawner, Stay};
use super::title::SessionTitle;
use super::transcript::StoredTranscript;
use crate::host::Host;
use crate::router::{DEFAULT_MAX_HOPS, SessionEvents};

/// What a request brings beside its spec: the budget that it shares, and what checks its answers.
type Beside<'a> = (Stay, Option<&'a Arc<Budget>>, Option<&'a Arc<dyn AnswerCheck>>);

/// A session with everything mounted, and nothing run.
pub(super) struct Mounted {
    pub(super) session: AmplifierSession,
    pub(super) driver: SessionDriver,
    pub(super) node: Arc<Node>,
}

pub(super) async fn mount(
    host: &Host,
    resolved: &Resolved,
    recorded: &Recorded,
    cancel: &CancelToken,
    (stay, shared, check): Beside<'_>,
) -> Result<Mounted, SpawnError> {
    let node = node(resolved, recorded, shared);
    let env = surroundings(host, resolved, recorded, &node, cancel);
    warn(&env, "storage", &recorded.warnings);
    warn(&env, "bundle", resolved.distrusted.as_slice());
    warn(&env, "bundle", resolved.plan.left_out.as_slice());
    warn(&env, "preferences", resolved.plan.protected.as_slice());
    if resolved.parent.is_none() {
        warn(&env, "roles", &resolved.plan.roles.faults);
    }
    env.coordinator.provide(Arc::new(Spawner::new(host.clone(), Arc::clone(&node), stay)));
    env.coordinator.provide(Arc::new(SessionTitle::of(&recorded.metadata)));
    let mounted = async {
        let mut parts = parts(host, &env, &resolved.plan).await?;
        if let Some(check) = check {
            let checked =
                |inner| Arc::new(Checked { inner, check: Arc::clone(check) }) as Arc<dyn Orchestrator>;
            parts.orchestrator = parts.orchestrator.map(checked);
        }
        if let Some(wanted) = &resolved.wish.provider {
            choices::only(&mut parts.providers, wanted)?;
        }
        let choices = choices::preferred(&env, &resolved.plan, &parts.providers).await?;
        let model = choices::model(&env, resolved.wish.model.as_deref(), &parts.providers).await?;
        build(host, resolved, recorded, env.clone(), &node, (parts, choices, model))
    };
    let result = until(mounted, cancel.cancelled()).await.unwrap_or(Err(SpawnError::Abandoned));
    match result {
        Ok((session, driver)) => Ok(Mounted { session, driver, node }),
        Err(error) => {
            finish::clean_up(host, &env).await;
            Err(error)
        }
    }
}

fn warn(env: &SessionEnv, source: &str, lines: &[String]) {
    for text in lines {
        env.display.show(&env.origin(), Shown::Notice { level: NoticeLevel::Warning, source, text });
    }
}

fn node(resolved: &Resolved, recorded: &Recorded, shared: Option<&Arc<Budget>>) -> Arc<Node> {
    let metadata = &recorded.metadata;
    let lent = Lent {
        id: recorded.id.clone(),
        root: metadata.trace_id.clone().unwrap_or_else(|| recorded.id.clone()),
        depth: resolved.depth(),
        self_depth: metadata.self_delegation_depth.unwrap_or(0),
        plan: Arc::clone(&resolved.plan),
        bounds: Arc::clone(&resolved.bounds),
        permissions: resolved.layers(),
        storage: Arc::clone(&resolved.storage),
        cwd: resolved.cwd.clone(),
        wish: resolved.wish.clone(),
        chosen_by_project: resolved.chosen_by_project,
        patience: resolved.patience,
        cause: metadata.amplifier.cause,
        parent: resolved.parent.as_ref().map(|parent| Arc::clone(&parent.node)),
        children: Arc::default(),
    };
    Node::new(lent, shared)
}

fn surroundings(
    host: &Host,
    resolved: &Resolved,
    recorded: &Recorded,
    node: &Node,
    cancel: &CancelToken,
) -> SessionEnv {
    let inner = &host.0;
    let lender = resolved.parent.as_ref().and_then(|parent| parent.live.as_ref()).map(AmplifierSession::env);
    let activity = match lender {
        Some(env) => env.activity.child(),
        None => Activity::new(Arc::clone(&inner.clock)),
    };
    activity.set_foreground(!resolved.background);
    let events = Arc::new(SessionEvents::new(
        inner.router.clone(),
        (node.id.clone(), node.root.clone()),
        node.cause,
        resolved.bounds.limits.max_hops.unwrap_or(DEFAULT_MAX_HOPS),
        Arc::clone(&inner.redactor),
    ));
    let env = SessionEnv::new(SessionEnvInner {
        session: node.id.clone(),
        parent: recorded.metadata.spawned_by().cloned(),
        root: node.root.clone(),
        depth: node.depth,
        activation: recorded.activation,
        cwd: resolved.cwd.clone(),
        folder: inner.project_paths.as_ref().map(|paths| paths.session(&recorded.id)),
        clock: Arc::clone(&inner.clock),
        ids: Arc::clone(&inner.ids),
        paths: Arc::clone(&inner.paths),
        variables: Arc::clone(&inner.variables),
        cancel: cancel.clone(),
        activity,
        approver: Arc::clone(lender.map_or(&inner.approver, |env| &env.approver)),
        display: Arc::clone(lender.map_or(&inner.display, |env| &env.display)),
        events: Arc::clone(&events) as Arc<dyn EventSink>,
        coordinator: Coordinator::new(),
    });
    env.coordinator.provide(events);
    env
}

async fn parts(host: &Host, env: &SessionEnv, plan: &SessionPlan) -> Result<Parts, MountError> {
    env.coordinator.provide(Arc::clone(&host.0.redactor));
    if let Some(ledger) = &host.0.processes {
        env.coordinator.provide(Arc::new(ledger.for_session(env.session.clone())));
    }
    let mut parts = Parts::default();
    for planned in plan.modules() {
        let spec = planned.spec.as_ref();
        let Some(module) = host.modules().get(&spec.module) else { continue };
        let mut mount = Mount::new(env, &mut parts);
        let panicked = |message| MountError::Panicked { module: spec.module.clone(), message };
        caught(module.mount(spec, &mut mount)).await.map_err(panicked)??;
    }
    parts.tools.extend(host.0.tools.iter().cloned());
    parts.hooks.extend(host.0.hooks.iter().cloned());
    parts.tools.retain(|tool| plan.narrowed.iter().all(|names| names.permit(&tool.schema().name)));
    Ok(parts)
}

fn build(
    host: &Host,
    resolved: &Resolved,
    recorded: &Recorded,
    env: SessionEnv,
    node: &Node,
    (parts, choices, model): (Parts, Vec<Choice>, Option<String>),
) -> Result<(AmplifierSession, SessionDriver), SpawnError> {
    let mut options = ModelOptions::default();
    options.model = model;
    options.max_output_tokens = resolved.wish.max_output_tokens;
    let plan = &resolved.plan;
    options.raw_events = plan.section.raw.unwrap_or(false);
    options.injection_size_limit = plan.section.injection_size_limit;
    options.injection_budget_per_turn = plan.section.injection_budget_per_turn;
    let user_home = host.user_home().map(Path::to_path_buf);
    let system = match &plan.agent {
        Some(agent) => Arc::new(agent.home.agent_prompt(&agent.def, &resolved.cwd, user_home)),
        None => plan.bundle.prompt(&resolved.cwd, user_home),
    };
    let transcript =
        StoredTranscript::new(Arc::clone(&recorded.storage), recorded.id.clone(), recorded.activation);
    let mut retry = host.0.retry.clone();
    retry.rate_limit_patience = node.patience.unwrap_or(retry.rate_limit_patience);
    let builder = AmplifierSession::builder(env)
        .parts(parts)
        .system(system)
        .permissions(resolved.layers())
        .limits(resolved.bounds.limits.clone(), resolved.bounds.set_by(LimitKind::Turns))
        .budget(Arc::clone(&node.budget))
        .options(options)
        .governor(Arc::clone(&host.0.governor) as Arc<_>)
        .retry(retry);
    let builder = if choices.is_empty() { builder } else { builder.choices(choices) };
    Ok(builder.build(Arc::new(transcript))?)
}
