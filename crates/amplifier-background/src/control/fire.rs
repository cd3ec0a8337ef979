//! Firing by hand, from any process.
//!
//! Guarantees: `Ok` says that the run is durable, whether somebody works on it or not; an owner that lives is
//! told at once.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::until::until;
use amplifier_core::{Payload, RunId, SessionOutcome};
use amplifier_foundation::{EventFilter, Host};
use amplifier_store::{RunRow, StoreError};
use amplifier_trigger::Overlap;
use tokio::sync::watch;

use super::Remote;
use crate::config::BackgroundConfig;
use crate::error::BackgroundError;
use crate::intake::Intake;
use crate::manual;
use crate::run::running_of;
use crate::status::{Active, BackgroundStatus, Board};

/// How often a run is looked at whose events say nothing.
const LOOK: Duration = Duration::from_secs(1);
/// The events that tell of a run's steps.
pub(super) const STEPS: [&str; 2] = ["background:spawn:completed", "background:spawn:error"];

/// A run that somebody fired.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fired {
    /// The run.
    pub run: RunId,
    /// True if a process runs the background sessions; else it waits for the next one that does.
    pub owned: bool,
}

/// Fires a background session of the host's project once. `by`: who does it.
pub async fn fire(
    host: &Host,
    config: BackgroundConfig,
    data: impl Into<Payload>,
    by: Option<&str>,
) -> Result<Fired, BackgroundError> {
    config.check()?;
    let name = config.name.clone();
    let config = Arc::new(config);
    let board = Arc::new(Board::new(BackgroundStatus::starting(&config), watch::Sender::new(0)));
    let intake = Intake::new(host.clone(), Arc::clone(&config), Arc::clone(&board));
    intake.count_waiting().await?;
    let overlap = manual::policy(&config).overlap;
    let running = match overlap {
        Overlap::Queue | Overlap::Allow => Vec::new(),
        _ => running_of(host, &name).await?,
    };
    board.change_quietly(|inner| {
        let taken = running.iter().map(|row| (row.id.clone(), Active::default()));
        inner.running.extend(taken);
    });
    let run = manual::fire(host, &intake, data.into(), by).await?;
    if overlap == Overlap::CancelPrevious {
        cancel(host, &running).await;
    }
    let remote = Remote::new(host);
    let owned = remote.owner().await?.is_some();
    if let Err(error) = remote.look(&name).await {
        tracing::debug!(%error, "the owner looks at its queue by itself");
    }
    Ok(Fired { run, owned })
}

/// Stops sessions whose place a later firing takes.
async fn cancel(host: &Host, rows: &[RunRow]) {
    for session in rows.iter().filter_map(|row| row.session.as_ref()) {
        let stopped = host.project_sessions().cancel(session, amplifier_core::CancelLevel::Graceful).await;
        if let Err(error) = stopped {
            tracing::debug!(%session, %error, "a session needs no stop");
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunEnd {
    /// The run.
    pub row: RunRow,
    /// The outcome of its last session, if it had one.
    pub outcome: Option<Arc<SessionOutcome>>,
}

/// Waits until a run has ended, at most for `within`; `None`: it has not.
pub async fn wait_for_run(
    host: &Host,
    run: &RunId,
    within: Duration,
) -> Result<Option<RunEnd>, BackgroundError> {
    let clock = host.clock();
    let mut steps = EventFilter::names(STEPS).ok().and_then(|filter| host.router().subscribe(filter).ok());
    let end = clock.sleep(within);
    let ended = async {
        loop {
            let row = host.store().run(run).await?;
            let row = row.ok_or(StoreError::Malformed { what: "a run that was fired is gone" })?;
            if row.state.is_final() {
                return Ok(row);
            }
            match &mut steps {
                Some(steps) => drop(until(futures_util::StreamExt::next(steps), clock.sleep(LOOK)).await),
                None => clock.sleep(LOOK).await,
            }
        }
    };
    let Some(row) = until(Box::pin(ended), end).await else { return Ok(None) };
    let row: RunRow = row.map_err(|error: StoreError| error)?;
    let outcome = match &row.session {
        Some(session) => host.store().session(session).await?.and_then(|known| known.settled),
        None => None,
    };
    Ok(Some(RunEnd { row, outcome: outcome.map(|settled| settled.outcome) }))
}
