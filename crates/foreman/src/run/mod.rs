//! `foreman run`: a file of issues, one session each, a table.
//!
//! Guarantees: nothing runs before the whole file, the settings and every bundle have been read and
//! found usable. Whatever happens then, stdout gets one result. Nobody is asked anything: workers have
//! the permissions of a session with nobody there.

mod json;
mod output;
mod stop;
mod text;

use std::path::Path;
use std::sync::Arc;

use amplifier_app::setup::{Setup, worth_telling};
use amplifier_app::terminal::{Code, Signals, chain, logging, say};
use amplifier_core::Clock;
use amplifier_crew::issue::{IssueList, IssueProgress, IssueRun};
use amplifier_foundation::host::SystemClock;
use amplifier_foundation::settings::Scope;
use amplifier_foundation::{Host, Shutdown};
use tokio::runtime::Builder;

use self::output::Output;
use self::stop::Stop;
use crate::args::run::RunArgs;
use crate::exit::{Failure, code_of, not_begun, unread, unusable};

/// Works on a file of issues.
pub(crate) fn run(args: RunArgs) -> Code {
    let output = Arc::new(Output::new(args.json));
    match in_runtime(&args, &output) {
        Ok(code) => code,
        Err(failure) => {
            output.refuse(&failure);
            failure.report()
        }
    }
}

fn in_runtime(args: &RunArgs, output: &Arc<Output>) -> Result<Code, Failure> {
    let issues = read(&args.file)?;
    // A second thread, so that a signal is heard while a module is busy.
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::work(&error))?;
    let code = runtime.block_on(work(args, &issues, output));
    // A module that blocks its thread must not keep the process.
    runtime.shutdown_background();
    code
}

fn read(file: &Path) -> Result<IssueList, Failure> {
    let issues = IssueList::read(file).map_err(|error| unread(&error))?;
    issues.warnings().iter().for_each(|warning| say(&warning.to_string()));
    Ok(issues)
}

async fn work(args: &RunArgs, issues: &IssueList, output: &Arc<Output>) -> Result<Code, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::work(&error))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let setup = open(args, Arc::clone(&clock))?;
    let host = host(&setup, output).await?;
    let run = crew(args, &setup, &host)?;
    tokio::select! {
        biased;
        checked = check_bundles(&run, &setup, &host, issues, output) => checked?,
        signal = signals.next() => return Err(not_begun(signal)),
    }
    let mut stop = Stop::new(run.stop.clone(), clock);
    let telling = |progress: IssueProgress<'_>| output.progress(&progress);
    let mut running = Box::pin(run.run(&host, issues, &telling));
    let mut gone = false;
    let report = loop {
        tokio::select! {
            biased;
            report = &mut running => break report,
            signal = signals.next() => stop.signalled(signal),
            () = stop.due() => stop.now(),
            () = output.stdout().closed(), if !gone => {
                gone = true;
                stop.gracefully();
            }
        }
    };
    host.shutdown(Shutdown::Now).await;
    let code = code_of(&report, stop.signal);
    Ok(output.end(&report, code))
}

/// Settings, keys and trust, with nobody to ask.
fn open(args: &RunArgs, clock: Arc<dyn Clock>) -> Result<Setup, Failure> {
    let setup = Setup::open(args.cwd.as_deref(), &args.flags(), clock)?.unattended();
    if let Some(error) = setup.trust_fault() {
        say(&format!("warning: {}", chain(error)));
    }
    if let Some(log) = setup.settings().log.as_ref().filter(|log| log.by.scope() != Scope::Environment) {
        logging::begin(&log.value, &log.by.to_string());
    }
    setup.warnings().iter().for_each(|line| say(line));
    Ok(setup)
}

async fn host(setup: &Setup, output: &Arc<Output>) -> Result<Host, Failure> {
    let builder = setup.builder();
    let builder = builder
        .display(Arc::clone(output) as Arc<_>)
        .on_notice(Arc::new(|notice| say(&format!("notice: {notice}"))));
    builder.open(setup.cwd()).await.map_err(|error| Failure::config(&error))
}

/// What all workers have in common.
fn crew(args: &RunArgs, setup: &Setup, host: &Host) -> Result<IssueRun, Failure> {
    let active = setup.chosen(host);
    if let Some(warning) = &active.warning {
        say(&format!("warning: {warning}"));
    }
    let settings = setup.settings();
    let mut run = IssueRun::new(active.name.clone());
    run.chosen_by_project = active.by_project();
    run.max_concurrent = args.max_concurrent;
    run.max_cost_micro_usd = args.max_budget_usd;
    run.limits = setup.limits();
    run.provider = settings.provider.as_ref().map(|set| set.value.clone());
    run.model = settings.model.as_ref().map(|set| set.value.clone());
    run.permissions = setup.permissions(&[], false).map_err(|error| Failure::config(&error))?;
    Ok(run)
}

/// A bundle that cannot be used is told before anything runs, with all the others.
async fn check_bundles(
    run: &IssueRun,
    setup: &Setup,
    host: &Host,
    issues: &IssueList,
    output: &Output,
) -> Result<(), Failure> {
    let mut failures = Vec::new();
    for name in run.bundles(issues) {
        match host.prepare(name).await {
            Ok(bundle) => {
                worth_telling(&bundle.diagnostics).for_each(|diagnostic| say(&diagnostic.to_string()));
                if setup.is_scripted(&bundle) {
                    output.scripted(name);
                }
            }
            Err(error) => failures.push(unusable(name, &error)),
        }
    }
    let Some(last) = failures.pop() else { return Ok(()) };
    for failure in failures {
        failure.report();
    }
    Err(last)
}
