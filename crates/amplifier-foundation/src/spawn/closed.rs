//! The handle of a session that has ended, for a request whose key it has: its outcome and its
//! conversation, and nothing that could run.

use std::sync::Arc;

use amplifier_core::activity::Activity;
use amplifier_core::approval::NoDisplay;
use amplifier_core::clock::BoxFuture;
use amplifier_core::coordinator::Coordinator;
use amplifier_core::env::{SessionEnv, SessionEnvInner};
use amplifier_core::message::Message;
use amplifier_core::module::Parts;
use amplifier_core::module::context::{ContextManager, ContextView, ViewBudget};
use amplifier_core::module::orchestrator::Orchestrator;
use amplifier_core::transcript::{MessageLog, MessageView, Transcript, TranscriptError};
use amplifier_core::turn::{Turn, TurnError};
use amplifier_core::{AmplifierSession, CancelToken, SessionId, SessionOutcome};
use async_trait::async_trait;

use super::SpawnError;
use super::guarded::guarded;
use crate::host::Host;
use crate::storage::SessionStorage;

/// A session's conversation after its end.
#[derive(Debug)]
struct Closed {
    id: SessionId,
    messages: MessageLog,
}

/// The handle; its outcome is there.
pub(super) async fn session(
    host: &Host,
    storage: &Arc<dyn SessionStorage>,
    id: &SessionId,
    outcome: Arc<SessionOutcome>,
) -> Result<AmplifierSession, SpawnError> {
    let stored = guarded(id, "load", storage.load(id)).await?;
    let metadata = stored.metadata;
    let inner = &host.0;
    let env = SessionEnv::new(SessionEnvInner {
        session: id.clone(),
        parent: metadata.spawned_by().cloned(),
        root: metadata.trace_id.clone().unwrap_or_else(|| id.clone()),
        depth: 0,
        activation: outcome.activation,
        cwd: metadata.working_dir.unwrap_or_else(|| host.project().to_path_buf()),
        folder: inner.project_paths.as_ref().map(|paths| paths.session(id)),
        clock: Arc::clone(&inner.clock),
        ids: Arc::clone(&inner.ids),
        paths: Arc::clone(&inner.paths),
        variables: Arc::clone(&inner.variables),
        cancel: CancelToken::new(),
        activity: Activity::new(Arc::clone(&inner.clock)),
        approver: Arc::clone(&inner.approver),
        display: Arc::new(NoDisplay),
        events: Arc::new(inner.router.clone()),
        coordinator: Coordinator::new(),
    });
    let closed = Arc::new(Closed { id: id.clone(), messages: MessageLog::new(stored.transcript) });
    let mut parts = Parts::default();
    parts.orchestrator = Some(Arc::clone(&closed) as Arc<dyn Orchestrator>);
    parts.context = Some(Arc::clone(&closed) as Arc<dyn ContextManager>);
    let (session, driver) = AmplifierSession::builder(env).parts(parts).build(closed)?;
    driver.settle(outcome);
    Ok(session)
}

#[async_trait]
impl Orchestrator for Closed {
    fn name(&self) -> &str {
        "closed"
    }

    async fn run(&self, _turn: &mut Turn<'_>) -> Result<String, TurnError> {
        Err(TurnError::Cancelled)
    }
}

#[async_trait]
impl ContextManager for Closed {
    fn append(&self, messages: &[Arc<Message>]) {
        self.messages.extend(messages.iter().cloned());
    }

    fn replace(&self, _messages: Vec<Arc<Message>>) {}

    fn messages(&self) -> MessageView {
        self.messages.view()
    }

    async fn view(&self, _budget: ViewBudget) -> ContextView {
        ContextView::whole(self.messages.view(), 0)
    }
}

impl Transcript for Closed {
    fn append<'a>(&'a self, _messages: &'a [Arc<Message>]) -> BoxFuture<'a, Result<(), TranscriptError>> {
        Box::pin(async move { Err(TranscriptError::Fenced { session: self.id.clone() }) })
    }
}
