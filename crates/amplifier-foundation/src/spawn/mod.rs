//! `spawn_bundle`: the one path by which sessions start.
//!
//! Guarantees: `Err` means that no session exists. Once one exists it runs in a
//! task of the host and gets exactly one outcome per activation, whatever its
//! caller does. Dropping a foreground call cancels the session, first gracefully,
//! after ten seconds at once.

pub mod context;
mod error;
mod guarded;
mod mount;
pub mod preferences;
mod record;
mod request;
mod resolve;
mod result;
mod supervisor;
mod transcript;
mod untrusted;
mod wanted;

use std::sync::Arc;

use amplifier_core::message::Message;
use amplifier_core::{Activation, AmplifierSession, CancelLevel, CancelReason, CancelToken};

pub use context::{ContextDepth, ContextForm, ContextRequest, ContextScope};
pub use error::{SessionFailed, SpawnError};
use guarded::guarded;
use record::Recorded;
use request::Target;
pub use request::{BundleRef, SpawnRequest};
use resolve::Resolved;
pub use result::{SpawnResult, SpawnTask};
use supervisor::Supervisor;
use wanted::Wanted;

use crate::host::{Host, Starting};
use crate::storage::{StorageError, repair};

/// How often a resume is resolved anew because other activations have ended meanwhile.
const RESOLVES: usize = 5;

/// Starts a session, or opens one again. In the foreground it returns with the
/// outcome there; in the background, or kept open, once the session is recorded and runs.
/// Dropped before that, no session exists.
pub async fn spawn_bundle(host: &Host, request: impl Into<SpawnRequest>) -> Result<SpawnResult, SpawnError> {
    let request = request.into();
    let (background, keep_open) = (request.background, request.keep_open);
    let cancel = CancelToken::new();
    let guard = CancelOnDrop(Some(cancel.clone()));
    // In a task of the host, which its shutdown waits for: a caller that goes away leaves nothing half begun.
    let starting = tokio::spawn(start(host.starting(), request, cancel));
    let result = match starting.await {
        Ok(started) => SpawnResult::new(started?),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => return Err(SpawnError::ShutDown),
        },
    };
    match (background, keep_open) {
        (true, _) => {}
        (false, true) => result.session().first_turn().await,
        (false, false) => drop(result.outcome().await),
    }
    guard.disarm();
    Ok(result)
}

async fn start(
    starting: Starting,
    request: SpawnRequest,
    cancel: CancelToken,
) -> Result<AmplifierSession, SpawnError> {
    let host = starting.host();
    let (resolved, wanted, recorded) = prepare(&host, &request).await?;
    match run(&host, &request, resolved, wanted, &recorded, &cancel).await {
        Ok(session) => Ok(session),
        Err(error) => {
            record::undo(&host, &recorded).await;
            Err(error)
        }
    }
}

/// Steps 1 to 3. Two that resume one session may both have read it before either opened it;
/// the later one then resolves again what the earlier one left.
async fn prepare(host: &Host, request: &SpawnRequest) -> Result<(Resolved, Wanted, Recorded), SpawnError> {
    for _ in 0..RESOLVES {
        let mut resolved = resolve::resolve(host, request).await?;
        let wanted = wanted::wanted(host, &resolved.bundle.plan, request.provider.as_deref())?;
        if let Some(recorded) = record::record(host, request, &mut resolved).await? {
            return Ok((resolved, wanted, recorded));
        }
    }
    let Target::Resume(id) = &request.target else { return Err(SpawnError::Abandoned) };
    Err(StorageError::Locked { id: id.clone(), holder: None }.into())
}

/// Steps 4 and 5. `Err`: what was mounted is cleaned up, and nothing runs.
async fn run(
    host: &Host,
    request: &SpawnRequest,
    resolved: Resolved,
    wanted: Wanted,
    recorded: &Recorded,
    cancel: &CancelToken,
) -> Result<AmplifierSession, SpawnError> {
    let began = host.clock().monotonic();
    let (session, mut driver) = mount::mount(host, request, &resolved, wanted, recorded, cancel).await?;
    match enter(host, &session, recorded, cancel).await {
        Ok((history, repaired)) => driver.restore(history, repaired),
        Err(error) => {
            host.sessions().remove(&session);
            session.env().coordinator.clean_up().await;
            return Err(error);
        }
    }
    let user_home = host.user_home().map(std::path::Path::to_path_buf);
    let supervisor = Supervisor {
        host: host.clone(),
        session: session.clone(),
        driver,
        recorded: recorded.clone(),
        first: request.text.clone(),
        context: request.context.clone(),
        mentions: resolved.bundle.mentions(&resolved.cwd, user_home),
        keep_open: request.keep_open,
        began,
    };
    tokio::spawn(supervisor.run());
    Ok(session)
}

/// Puts the session into the host's table before anything says that it runs.
async fn enter(
    host: &Host,
    session: &AmplifierSession,
    recorded: &Recorded,
    cancel: &CancelToken,
) -> Result<(Vec<Arc<Message>>, usize), SpawnError> {
    match cancel.is_cancelled() {
        true => Err(SpawnError::Abandoned),
        false if !host.sessions().insert(session.clone()) => Err(SpawnError::ShutDown),
        false => history(host, recorded).await,
    }
}

/// Of a resume: gives every tool call that was cut off its result, then marks the activation as
/// running. The conversation as the model shall see it, in which gaps further up are closed too, and
/// how many calls were cut off.
async fn history(host: &Host, recorded: &Recorded) -> Result<(Vec<Arc<Message>>, usize), SpawnError> {
    if recorded.activation == Activation::FIRST {
        return Ok((Vec::new(), 0));
    }
    let Recorded { id, activation, metadata, history, .. } = recorded;
    let missing: Vec<Arc<Message>> = repair::interrupted(history).into_iter().map(Arc::new).collect();
    if !missing.is_empty() {
        guarded(id, "append to", host.storage().append(id, *activation, &missing)).await?;
    }
    guarded(id, "describe", host.storage().describe(id, *activation, metadata)).await?;
    Ok((repair::completed(history), missing.len()))
}

/// Cancels if the caller's future is dropped.
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
