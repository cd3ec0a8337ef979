//! What a daemon is asked: to stop, to pause, to go on, to drain.
//!
//! Guarantees: exit 0 says that it is so. A pause is durable: it holds for the next daemon too.

use amplifier_app::command::runs::actor;
use amplifier_app::terminal::{Code, Signals, plain, say};
use amplifier_background::control::{self, ControlError, Remote, StopHow};
use amplifier_background::trigger::BackgroundName;
use amplifier_core::until::until;
use amplifier_foundation::Host;
use amplifier_foundation::store::{RunFilter, RunState};
use serde_json::json;

use super::plan::pools_of;
use super::{here, small, unasked};
use crate::args::daemon::{DrainArgs, PauseArgs, StopArgs};
use crate::exit::Failure;
use amplifier_app::exit::print_json;

/// Has the daemon end.
pub(crate) fn stop(args: &StopArgs) -> Result<Code, Failure> {
    small(async {
        let host = here()?.host().await?;
        let remote = Remote::new(&host);
        let owner = remote.owner().await.map_err(|error| Failure::store(&error))?;
        let how = if args.now { StopHow::Now } else { StopHow::Drain };
        remote.stop(None, how).await.map_err(|error| unasked(&error))?;
        if args.json {
            return print_json(&json!({ "stopped": true, "owner": owner }));
        }
        say(&owner
            .map_or_else(|| "stopped".to_owned(), |owner| plain(&format!("stopped ({owner})")).into_owned()));
        Ok(Code::Success)
    })
}

/// Has pools begin nothing.
pub(crate) fn pause(args: &PauseArgs) -> Result<Code, Failure> {
    small(async {
        let host = here()?.host().await?;
        let names = set(&host, args.name.as_deref(), true).await?;
        tell(args.json, &names, true)
    })
}

/// Lets pools go on.
pub(crate) fn resume(args: &PauseArgs) -> Result<Code, Failure> {
    small(async {
        let host = here()?.host().await?;
        let names = set(&host, args.name.as_deref(), false).await?;
        tell(args.json, &names, false)
    })
}

fn tell(as_json: bool, names: &[BackgroundName], paused: bool) -> Result<Code, Failure> {
    if as_json {
        return print_json(&json!({ "pools": names, "paused": paused }));
    }
    let all: Vec<&str> = names.iter().map(BackgroundName::as_str).collect();
    let all = all.join(", ");
    say(&match paused {
        true => format!("{all} begin nothing until `foreman resume`; what runs goes on"),
        false => format!("{all} go on"),
    });
    Ok(Code::Success)
}

/// Pauses pools, or lets them go on, and has the daemon act on it if there is one.
async fn set(host: &Host, name: Option<&str>, paused: bool) -> Result<Vec<BackgroundName>, Failure> {
    let known = pools_of(host).await?;
    let names = match name {
        None => known,
        Some(name) => {
            let wanted = BackgroundName::new(name).map_err(|error| Failure::usage(error.to_string()))?;
            if !known.contains(&wanted) {
                let known: Vec<&str> = known.iter().map(BackgroundName::as_str).collect();
                let help = format!("there are {}", known.join(", "));
                return Err(Failure::usage(format!("there is no pool {wanted}")).help(help));
            }
            vec![wanted]
        }
    };
    if names.is_empty() {
        return Err(
            Failure::usage("no foreman has run in this project yet").help("`foreman start` starts one")
        );
    }
    let remote = Remote::new(host);
    for name in &names {
        control::set_paused(host, name, paused, Some(&actor()))
            .await
            .map_err(|error| Failure::store(&error))?;
        match remote.pause(name).await {
            Ok(_) | Err(ControlError::NoOwner) => {}
            Err(error) => return Err(unasked(&error)),
        }
    }
    Ok(names)
}

/// Has all pools begin nothing, and waits until nothing runs.
pub(crate) fn drain(args: &DrainArgs) -> Result<Code, Failure> {
    small(async {
        let mut signals = Signals::listen().map_err(|error| Failure::work(&error))?;
        let host = here()?.host().await?;
        let names = set(&host, None, true).await?;
        let clock = host.clock();
        let drained = async {
            match args.timeout {
                Some(within) => until(idle(&host, &names), clock.sleep(within.0)).await,
                None => Some(idle(&host, &names).await),
            }
        };
        let drained = tokio::select! {
            biased;
            drained = drained => drained,
            signal = signals.next() => return Err(Failure::told(signal.code(), "stopped waiting; the pools begin nothing more").kind("cancelled")),
        };
        let Some(drained) = drained else {
            let failure = Failure::usage("sessions still run; the pools begin nothing more");
            return Err(failure.code(Code::TimedOut, "timed_out"));
        };
        drained?;
        if args.json {
            return print_json(&json!({ "pools": names, "paused": true, "running": 0 }));
        }
        say("nothing runs any more, and nothing begins until `foreman resume`");
        Ok(Code::Success)
    })
}

/// Until no run of these is at work. What ends is heard from the log; listening begins before the first look.
async fn idle(host: &Host, names: &[BackgroundName]) -> Result<(), Failure> {
    let mut ends = host.router().subscribe("session:end").map_err(|error| Failure::work(&error))?;
    loop {
        if running(host, names).await? == 0 {
            return Ok(());
        }
        if ends.next().await.is_none() {
            return Err(Failure::usage("the log of events has ended").code(Code::Failed, "store"));
        }
    }
}

/// How many runs of these are at work.
pub(super) async fn running(host: &Host, names: &[BackgroundName]) -> Result<usize, Failure> {
    let mut count = 0;
    for name in names {
        for state in [RunState::Leased, RunState::Running] {
            let mut filter = RunFilter::default();
            (filter.queue, filter.state) = (Some(control::queue_of(name)), Some(state));
            count += host.store().runs(&filter).await.map_err(|error| Failure::store(&error))?.len();
        }
    }
    Ok(count)
}
