//! `amplifier event tail`, `wait` and `replay`: reading the log.
//!
//! Guarantees: each event is printed once, in the order of the log; what could not be read is told on
//! stderr; a signal ends with its code, a reader that went away quietly.

use std::convert::Infallible;
use std::time::Duration;

use amplifier_app::terminal::Signals;
use amplifier_core::SessionId;
use amplifier_foundation::Host;
use amplifier_foundation::router::{Cursor, RouterError};
use amplifier_foundation::settings::duration;

use super::{failure, select};
use crate::args::event::{ReplayArgs, Selection, TailArgs, WaitArgs};
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::output::{self, Stdout};
use amplifier_app::command::event::Form;

/// Prints events as they come.
pub(super) async fn tail(args: TailArgs, context: &Context) -> Result<Code, Failure> {
    let (filter, form) = (select::filter(&args.filter, &args.selection)?, Form::of(args.json));
    let mut signals = Signals::listen().map_err(|error| Failure::work(&error))?;
    let host = context.host().await?;
    let from = place(&host, args.from).await?;
    let subscribed = host.router().subscribe_from(from, filter).await;
    let mut events = subscribed.map_err(|error| failure(&error))?;
    output::say(&format!("following the events of this project from {}; Ctrl+C ends", from.sequence));
    let stdout = Stdout::watched();
    let (mut left, mut lost) = (args.count, 0);
    while left != Some(0) {
        let next = tokio::select! {
            biased;
            signal = signals.next() => return Ok(signal.code()),
            () = stdout.closed() => break,
            next = events.next() => next,
        };
        match next {
            None => break,
            Some(Ok(event)) => {
                stdout.write(&form.line(&event)?);
                left = left.map(|left| left - 1);
            }
            Some(Err(error @ RouterError::Gone { .. })) => {
                output::say(&format!("warning: events were lost: {error}"));
            }
            Some(Err(error)) => return Err(failure(&error)),
        }
        if events.lost() > lost {
            output::say(&format!("warning: {} events that are in no log were lost", events.lost() - lost));
            lost = events.lost();
        }
    }
    Ok(stdout.code(Code::Success))
}

/// Waits for one event.
pub(super) async fn wait(args: WaitArgs, context: &Context) -> Result<Code, Failure> {
    let (filter, form) = (select::filter(&args.filter, &args.selection)?, Form::of(args.json));
    let mut signals = Signals::listen().map_err(|error| Failure::work(&error))?;
    let host = context.host().await?;
    let within = duration::format(args.timeout.0);
    let router = host.router();
    let found = async {
        output::say(&format!("waiting for {filter}, at most {within}; Ctrl+C ends"));
        match args.from {
            None => router.wait_for_event(filter.clone(), args.timeout.0).await,
            Some(from) => {
                let from = router.place(from).await?;
                let found = router.wait_after(filter.clone(), from, args.timeout.0).await?;
                Ok(found.map(|(event, _)| event))
            }
        }
    };
    let found = tokio::select! {
        biased;
        signal = signals.next() => return Ok(signal.code()),
        found = found => found.map_err(|error| failure(&error))?,
        never = settled(&host, &args.selection, args.timeout.0) => match never {},
    };
    match found {
        Some(event) => Ok(output::print(&form.line(&event)?)),
        None => {
            let message = format!("no event passed {filter} within {within}");
            Err(Failure::usage(message).code(Code::TimedOut, "timed_out"))
        }
    }
}

/// Sees to it that the end of a session whose process dies is recorded: else nobody may, and its event would
/// be waited for in vain. Never ends.
async fn settled(host: &Host, selection: &Selection, within: Duration) -> Infallible {
    let ids: Vec<_> = selection.sessions.iter().filter_map(|id| SessionId::new(id).ok()).collect();
    // What is not known here, or cannot be read, the wait itself tells.
    let _ = host.project_sessions().wait_all(&ids, within).await;
    std::future::pending().await
}

/// Prints what the log holds.
pub(super) async fn replay(args: ReplayArgs, context: &Context) -> Result<Code, Failure> {
    let (filter, form) = (select::filter(&args.filter, &args.selection)?, Form::of(args.json));
    let mut signals = Signals::listen().map_err(|error| Failure::work(&error))?;
    let host = context.host().await?;
    let from = match args.from {
        Some(_) => place(&host, args.from).await?,
        None => host.router().oldest().await.map_err(|error| failure(&error))?,
    };
    let mut replay = host.router().replay(from, filter).await.map_err(|error| failure(&error))?;
    let stdout = Stdout::new();
    loop {
        let page = tokio::select! {
            biased;
            signal = signals.next() => return Ok(signal.code()),
            () = stdout.closed() => break,
            page = replay.next() => page,
        };
        let Some(page) = page else { break };
        let mut text = String::new();
        for event in page.map_err(|error| failure(&error))? {
            text.push_str(&form.line(&event)?);
        }
        if !text.is_empty() {
            stdout.write(&text);
        }
    }
    Ok(stdout.code(Code::Success))
}

/// The place that was named, or the end of the log.
async fn place(host: &Host, sequence: Option<u64>) -> Result<Cursor, Failure> {
    let place = match sequence {
        Some(sequence) => host.router().place(sequence).await,
        None => host.router().tail().await,
    };
    place.map_err(|error| failure(&error))
}
