//! `spawn_bundle`: the one path by which sessions start.
//!
//! Guarantees: `Err` means that no session exists. Once one exists it runs in a
//! task of the host and gets exactly one outcome per activation, whatever its
//! caller does. Dropping a foreground call cancels the session, first gracefully,
//! after ten seconds at once.

mod error;
mod mount;
mod record;
mod request;
mod resolve;
mod result;
mod supervisor;
mod transcript;
mod wanted;

use amplifier_core::message::Message;
use amplifier_core::{AmplifierSession, CancelLevel, CancelReason, CancelToken};

pub use error::{SessionFailed, SpawnError};
use record::Recorded;
pub use request::{BundleRef, SpawnRequest};
use resolve::Resolved;
pub use result::{SpawnResult, SpawnTask};
use supervisor::Supervisor;

use crate::host::Host;
use crate::storage::repair;

/// Starts a session, or opens one again. In the foreground it returns with the
/// outcome there; in the background, or kept open, once the session is recorded and runs.
pub async fn spawn_bundle(host: &Host, request: impl Into<SpawnRequest>) -> Result<SpawnResult, SpawnError> {
    let request = request.into();
    let mut resolved = resolve::resolve(host, &request).await?;
    let wanted = wanted::wanted(host, &resolved.bundle.plan, request.provider.as_deref())?;
    let recorded = record::record(host, &request, &mut resolved).await?;
    let session = start(host, request.clone(), resolved, wanted, recorded).await?;
    let result = SpawnResult::new(session);
    if !request.background {
        wait(&result, request.keep_open).await;
    }
    Ok(result)
}

async fn start(
    host: &Host,
    request: SpawnRequest,
    resolved: Resolved,
    wanted: wanted::Wanted,
    mut recorded: Recorded,
) -> Result<AmplifierSession, SpawnError> {
    let began = host.clock().monotonic();
    let (session, driver) = match mount::mount(host, &request, &resolved, wanted, &recorded).await {
        Ok(parts) => parts,
        Err(error) => {
            record::undo(host, &recorded).await;
            return Err(error);
        }
    };
    if let Err(error) = reopen(host, &mut recorded).await {
        session.env().coordinator.clean_up().await;
        record::undo(host, &recorded).await;
        return Err(error);
    }
    driver.restore(std::mem::take(&mut recorded.history));
    host.sessions().insert(session.clone());
    let user_home = host.user_home().map(std::path::Path::to_path_buf);
    let first = resolved.bundle.mentions(&resolved.cwd, user_home).prepend(&request.text).text;
    let supervisor = Supervisor {
        host: host.clone(),
        session: session.clone(),
        driver,
        recorded,
        first,
        keep_open: request.keep_open,
        began,
    };
    tokio::spawn(supervisor.run());
    Ok(session)
}

/// Of a resume: marks the activation as running, and gives every tool call that was cut off its result.
async fn reopen(host: &Host, recorded: &mut Recorded) -> Result<(), SpawnError> {
    if recorded.activation == amplifier_core::Activation::FIRST {
        return Ok(());
    }
    let Recorded { id, activation, metadata, history } = recorded;
    host.storage().describe(id, *activation, metadata).await?;
    let missing: Vec<Message> = repair::interrupted(history);
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<_> = missing.into_iter().map(std::sync::Arc::new).collect();
    host.storage().append(id, *activation, &missing).await?;
    history.extend(missing);
    Ok(())
}

/// Waits behind a guard: if the caller's future is dropped, the session is cancelled.
async fn wait(result: &SpawnResult, keep_open: bool) {
    let guard = CancelOnDrop(Some(result.session().env().cancel.clone()));
    match keep_open {
        true => result.session().first_turn().await,
        false => drop(result.outcome().await),
    }
    guard.disarm();
}

struct CancelOnDrop(Option<CancelToken>);

impl CancelOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(token) = self.0.take() {
            token.cancel(CancelLevel::Graceful, CancelReason::Dropped);
        }
    }
}
