//! `foreman start`: the owner of a project's pools, background sessions and triggers.
//!
//! Guarantees: everything that is configured runs, or the command ends with all that is wrong; nothing that was
//! claimed is lost: what a stop cuts off is gone on with at the next start. It ends in order at the first signal,
//! at once at the second, and when another process asks.

use amplifier_app::beside::{Beside, BesideOptions, BesideRunning};
use amplifier_app::command::declared::{declared, refused, sources};
use amplifier_app::context::{self, Context};
use amplifier_app::detach;
use amplifier_app::owning::{self, Owning, not_beside, not_started};
use amplifier_app::standing::Log;
use amplifier_app::terminal::{Code, Signals, chain, logging, plain, say};
use amplifier_background::control::{Owner, OwnerOptions, Standing};
use amplifier_background::declared::Sources;
use amplifier_background::trigger::TriggerRegistry;
use amplifier_background::{BackgroundError, BackgroundSessionManager};
use amplifier_crew::config::RetentionConfig;
use amplifier_crew::{Crew, CrewError};
use amplifier_foundation::store::Retention;
use amplifier_foundation::{Host, Shutdown};
use amplifier_web::{Web, WebOptions};
use serde_json::{Value, json};

use super::plan::Plan;
use super::{detached, here};
use crate::args::daemon::{Format, StartArgs};
use crate::exit::{Failure, not_begun};

/// What a daemon logs unless somebody says otherwise.
const LOGGED: &str = "info";

/// Starts the daemon, here or in a process of its own.
pub(crate) fn start(args: &StartArgs) -> Result<Code, Failure> {
    if !args.foreground {
        return detached::begin();
    }
    if args.log_format == Format::Json {
        logging::begin_as(LOGGED, "--log-format", args.log_format.into());
    }
    run(args, &here()?, None)
}

/// Is the daemon until it is stopped. `left`: who started this process.
pub(super) fn run(
    args: &StartArgs,
    context: &Context,
    left: Option<&mut detach::Owner>,
) -> Result<Code, Failure> {
    context.tell_warnings();
    let runtime = context::runtime()?;
    let code = runtime.block_on(own(args, context, left));
    // A module that blocks its thread must not keep the process.
    runtime.shutdown_background();
    code
}

async fn own(args: &StartArgs, context: &Context, left: Option<&mut detach::Owner>) -> Result<Code, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::work(&error))?;
    if let Some(owner) = &left {
        signals = signals.with(owner.signals().map_err(|error| Failure::work(&error))?);
    }
    let host = owning::host(context).await?;
    let code = owned(args, context, &host, signals, left).await;
    host.shutdown(Shutdown::Now).await;
    code
}

async fn owned(
    args: &StartArgs,
    context: &Context,
    host: &Host,
    mut signals: Signals,
    left: Option<&mut detach::Owner>,
) -> Result<Code, Failure> {
    let plan = Plan::load(&args.of, context, host).await?;
    plan.tell();
    let sources = sources(None, context, host);
    let files = declared(None, context, host).await?;
    let keys = context.variables();
    let manager = BackgroundSessionManager::with(host, TriggerRegistry::new(), move |name| keys.get(name));
    let mut options = BesideOptions::default();
    options.listen = args.listen.clone().or_else(|| plan.config().listen.clone());
    let hosts = plan.config().allowed_hosts.iter().chain(&files.allowed_hosts).chain(&args.allow_hosts);
    options.allowed_hosts = hosts.cloned().collect();
    options.notify = plan.notify().iter().chain(&files.notify).cloned().collect();
    let crew = Crew::new(host, &manager, plan.config().clone());
    let web = Web::new(host, &manager, WebOptions::default());
    options.max_connections = Some(web.listen_options().max_connections);
    let beside = Beside::prepare(host, context.variables().as_ref(), options).await;
    let beside = beside.map_err(|error| not_beside(&error))?;
    let started = tokio::select! {
        biased;
        started = start_owner(args, sources, host, (&manager, &crew)) => started?,
        signal = signals.next() => return Err(not_begun(signal)),
    };
    let running = match beside.begin(host, &manager, Some(web.routes())).await {
        Ok(running) => running,
        Err(error) => {
            manager.shutdown(Shutdown::Now).await;
            return Err(not_beside(&error));
        }
    };
    if running.address().is_some() {
        web.warm_up();
    }
    if let Some(owner) = left {
        leave(args, context, owner, &plan, &running)?;
    }
    serve(args, host, started, (running, &web), signals, &plan).await
}

/// Becomes the owner, and starts what files declare and then the crew. `Err`: nothing runs.
async fn start_owner(
    args: &StartArgs,
    sources: Sources,
    host: &Host,
    (manager, crew): (&BackgroundSessionManager, &Crew),
) -> Result<Owner, Failure> {
    let mut options = OwnerOptions::new(sources);
    options.drain = args.drain_timeout.0;
    options.retention = retention(&crew.config().retention);
    let owner = Owner::start(host, manager.clone(), options).await.map_err(|error| not_started(&error))?;
    match crew.start().await {
        Ok(()) => {
            // Whoever is told that it runs finds the pools.
            manager.publish_now().await;
            Ok(owner)
        }
        Err(error) => {
            manager.shutdown(Shutdown::Now).await;
            Err(no_crew(&error))
        }
    }
}

/// What the store keeps: what is configured, and else what any store does.
fn retention(wanted: &RetentionConfig) -> Retention {
    let mut retention = Retention::default();
    for (keep, age) in [
        (&mut retention.events, wanted.events),
        (&mut retention.runs, wanted.runs),
        (&mut retention.sessions, wanted.sessions),
        (&mut retention.commands, wanted.commands),
    ] {
        if let Some(age) = age {
            *keep = keep.age(age);
        }
    }
    retention
}

fn no_crew(error: &CrewError) -> Failure {
    match error {
        CrewError::Start { source: BackgroundError::Bundle { source, .. }, .. } => {
            Failure::bundle(source).saying(chain(error))
        }
        CrewError::Manager(error) => refused(error),
        other => Failure::config(other),
    }
}

/// Tells who started this process that it is ready, and where it logs from now on.
fn leave(
    args: &StartArgs,
    context: &Context,
    owner: &mut detach::Owner,
    plan: &Plan,
    running: &BesideRunning,
) -> Result<(), Failure> {
    let log = detached::log_of(context)?;
    owner.ready(&ready_text(args, plan, running, Some(&log.display().to_string())));
    owner.leave_for_good(log).map_err(|error| Failure::work(&error))?;
    logging::begin_as(LOGGED, "--log-format", args.log_format.into());
    Ok(())
}

/// What a daemon says once it is ready.
fn ready_text(args: &StartArgs, plan: &Plan, running: &BesideRunning, log: Option<&str>) -> String {
    let pid = std::process::id();
    let address = running.address();
    if args.json {
        return format!("{}\n", ready_object(plan, running, log));
    }
    let mut lines = vec![format!("process {pid} works on issues: {}", plan.in_short())];
    if let Some(address) = address {
        lines.push(format!("dashboard at http://{address}/; `foreman open` prints a link that lets you in"));
    }
    if let Some(log) = log {
        lines.push(format!("log {log}; `foreman stop` ends it"));
    }
    lines.iter().map(|line| format!("{}\n", plain(line))).collect()
}

/// What a program is told once the daemon is ready.
fn ready_object(plan: &Plan, running: &BesideRunning, log: Option<&str>) -> Value {
    let address = running.address();
    json!({
        "type": "ready", "pid": std::process::id(), "pools": plan.pools(), "address": address, "log": log,
        "url": address.map(|address| format!("http://{address}/")),
    })
}

async fn serve(
    args: &StartArgs,
    host: &Host,
    owner: Owner,
    (running, web): (BesideRunning, &Web),
    signals: Signals,
    plan: &Plan,
) -> Result<Code, Failure> {
    let log = Log::new(args.json || args.log_format == Format::Json, owner.manager());
    let owning = Owning { host, owner, running, log, drain: args.drain_timeout.0, signals };
    let ready = |log: &Log, running: &BesideRunning, now: &[Standing]| {
        if args.foreground && !args.json {
            say(ready_text(args, plan, running, None).trim_end());
        }
        log.ready_with(host, now, || ready_object(plan, running, None));
        log.listening(running);
    };
    owning.serve(ready, || web.close()).await
}
