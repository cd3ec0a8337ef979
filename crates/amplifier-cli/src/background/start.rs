//! `amplifier background start`: the owner of a project's background sessions.
//!
//! Guarantees: everything that is declared runs, or the command ends with all that is wrong; it ends in order at
//! the first signal, at once at the second, and when another process asks.

use std::sync::Arc;

use amplifier_app::beside::{Beside, BesideOptions, BesideRunning};
use amplifier_app::owning::{self, Owning, not_beside, not_started};
use amplifier_app::standing::Log;
use amplifier_app::terminal::Signals;
use amplifier_background::BackgroundSessionManager;
use amplifier_background::control::{Owner, OwnerOptions, Standing};
use amplifier_background::declared::{Declarations, Declared, Sources};
use amplifier_background::trigger::TriggerRegistry;
use amplifier_foundation::host::SystemClock;
use amplifier_foundation::settings::Flags;
use amplifier_foundation::{Host, Shutdown};

use super::{sources, undeclared};
use crate::args::background::StartArgs;
use crate::context::{self, Context};
use crate::exit::{Code, Failure};
use crate::output::say;

pub(super) fn start(args: StartArgs) -> Result<Code, Failure> {
    let context = context::open(None, &Flags::default(), Arc::new(SystemClock::new()))?.unattended();
    context.tell_warnings();
    let runtime = context::runtime()?;
    let code = runtime.block_on(own(&args, &context));
    runtime.shutdown_background();
    code
}

async fn own(args: &StartArgs, context: &Context) -> Result<Code, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::work(&error))?;
    let host = owning::host(context).await?;
    let keys = context.variables();
    let manager = BackgroundSessionManager::with(&host, TriggerRegistry::new(), move |name| keys.get(name));
    let sources = sources(args.bundle.as_deref(), context, &host);
    let beside = beside(args, context, &host, &sources).await?;
    let mut options = OwnerOptions::new(sources);
    options.drain = args.drain_timeout.0;
    let started = tokio::select! {
        biased;
        started = Owner::start(&host, manager, options) => started.map_err(|error| not_started(&error)),
        signal = signals.next() => {
            let failure = Failure::usage("stopped before the background sessions began");
            Err(failure.code(signal.code(), "cancelled"))
        }
    };
    let code = match started {
        Ok(owner) => {
            tell_scripted(context, &host, owner.declared()).await;
            run(args, &host, owner, beside, signals).await
        }
        Err(failure) => Err(failure),
    };
    host.shutdown(Shutdown::Now).await;
    code
}

/// The listener that was asked for, and whom the project's file wants notified.
async fn beside(
    args: &StartArgs,
    context: &Context,
    host: &Host,
    sources: &Sources,
) -> Result<Beside, Failure> {
    let declared = Declarations::load(host, sources, &TriggerRegistry::new()).await;
    let declared = declared.map_err(|error| undeclared(&error))?;
    let mut options = BesideOptions::default();
    options.listen.clone_from(&args.listen);
    options.allowed_hosts = declared.allowed_hosts.into_iter().chain(args.allow_hosts.clone()).collect();
    options.notify = declared.notify;
    let prepared = Beside::prepare(host, context.variables().as_ref(), options).await;
    prepared.map_err(|error| not_beside(&error))
}

async fn run(
    args: &StartArgs,
    host: &Host,
    owner: Owner,
    beside: Beside,
    signals: Signals,
) -> Result<Code, Failure> {
    let manager = owner.manager().clone();
    let log = Log::new(args.json, &manager);
    context::tell(owner.declared().warnings());
    let running = match beside.begin(host, &manager, None).await {
        Ok(running) => running,
        Err(error) => {
            manager.shutdown(Shutdown::Now).await;
            return Err(not_beside(&error));
        }
    };
    let owning = Owning { host, owner, running, log, drain: args.drain_timeout.0, signals };
    let ready = |log: &Log, running: &BesideRunning, now: &[Standing]| {
        log.ready(host, now);
        log.listening(running);
    };
    owning.serve(ready, || {}).await
}

/// Says in whose sessions no model is asked.
async fn tell_scripted(context: &Context, host: &Host, declared: &Declarations) {
    let mut names = Vec::new();
    for Declared { config, .. } in &declared.sessions {
        if host.prepare(&config.bundle).await.is_ok_and(|bundle| context.is_scripted(&bundle)) {
            names.push(config.name.as_str());
        }
    }
    if !names.is_empty() {
        let names = names.join(", ");
        say(&format!("notice: provider scripted answers from a script for {names}; no model is asked"));
    }
}
