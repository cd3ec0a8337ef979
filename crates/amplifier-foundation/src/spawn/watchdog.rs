//! Deadlines of sessions, on a thread that no session can block.
//!
//! Guarantees: a session whose time is up is cancelled; one that does not even stop then, because a
//! module blocks its thread, gets its outcome from here and is counted as stuck. The thread starts with
//! the first session that has a deadline, and ends with the host.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amplifier_core::until::until;
use amplifier_core::{CancelLevel, CancelReason};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::finish::Ending;

/// How long a session that was cancelled may take to record its end, before it counts as stuck. More
/// than its turn, its clean-ups and its storage may take together.
const FORCE_AFTER: Duration = Duration::from_secs(60);

/// The thread of one host.
#[derive(Debug, Default)]
pub(crate) struct Watchdog {
    // Held to start the thread, or to copy its handle; never across an await.
    thread: Mutex<Option<Thread>>,
}

#[derive(Debug)]
struct Thread {
    handle: Handle,
    #[expect(dead_code, reason = "stops the thread when it is dropped")]
    stop: oneshot::Sender<()>,
}

impl Watchdog {
    /// Watches a session until it has its outcome. Nothing happens for one without a deadline.
    pub(super) fn watch(&self, ending: &Arc<Ending>) {
        let limits = ending.session.limits();
        if [limits.timeout_ms, limits.first_progress_ms, limits.idle_ms].iter().all(Option::is_none) {
            return;
        }
        match self.handle() {
            Ok(handle) => drop(handle.spawn(watch(Arc::clone(ending)))),
            Err(error) => tracing::error!(%error, "deadlines cannot be watched"),
        }
    }

    fn handle(&self) -> std::io::Result<Handle> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.as_ref() {
            return Ok(thread.handle.clone());
        }
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let run = move || drop(runtime.block_on(stopped));
        std::thread::Builder::new().name("amplifier-deadlines".into()).spawn(run)?;
        *thread = Some(Thread { handle: handle.clone(), stop });
        Ok(handle)
    }
}

async fn watch(ending: Arc<Ending>) {
    let session = &ending.session;
    let clock = ending.host.clock();
    // The outcome is looked at first: one that is there wins over a deadline that passes meanwhile.
    let mut passed = None;
    let expired =
        async { passed = Some(session.env().activity.expired(session.limits(), ending.began).await) };
    let ended = until(session.outcome(), expired).await.is_some();
    let Some(deadline) = passed.filter(|_| !ended) else { return };
    ending.expired(deadline);
    session.env().cancel.cancel(CancelLevel::Immediate, CancelReason::TimedOut);
    let grace = clock.sleep(FORCE_AFTER);
    if until(session.outcome(), grace).await.is_none() {
        tracing::error!(session = %session.id(), "a session does not stop; a module blocks its thread");
        ending.force_stuck(ending.cut_off(Some(CancelReason::TimedOut), Some("a module does not stop")));
    }
}
