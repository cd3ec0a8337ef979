//! What sits in front of a session: a display that remembers, an approver that answers.
//!
//! Guarantees: everything shown or asked is kept in order.

use std::sync::{Arc, Mutex};

use amplifier_core::SessionId;
use amplifier_core::approval::{ApprovalAnswer, ApprovalRequest, Approver, Display, Origin, Shown};

use async_trait::async_trait;

/// A display that remembers. Clones share what was shown.
#[derive(Debug, Clone, Default)]
pub struct RecordingDisplay(Arc<Mutex<Vec<String>>>);

impl RecordingDisplay {
    /// A display that was shown nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that was shown, one line each: `kind: text`.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// The notices, as `source: text`.
    pub fn notices(&self) -> Vec<String> {
        let lines = self.lines();
        lines.iter().filter_map(|line| line.strip_prefix("notice: ")).map(str::to_owned).collect()
    }
}

impl Display for RecordingDisplay {
    fn show(&self, _origin: &Origin, shown: Shown<'_>) {
        let line = match shown {
            Shown::Text(text) => format!("text: {text}"),
            Shown::Thinking(text) => format!("thinking: {text}"),
            Shown::Restarted { reason } => format!("restarted: {reason}"),
            Shown::Message(message) => format!("message: {:?} {}", message.role, message.text()),
            Shown::ToolStarted(call) => format!("tool started: {}", call.name),
            Shown::ToolEnded { call, summary, .. } => format!("tool ended: {} {summary}", call.name),
            Shown::Notice { source, text, .. } => format!("notice: {source}: {text}"),
            other => format!("other: {other:?}"),
        };
        self.0.lock().unwrap().push(line);
    }
}

/// An approver that gives one answer to everything, and remembers what it was asked.
#[derive(Debug, Clone)]
pub struct RecordingApprover {
    answer: ApprovalAnswer,
    asked: Arc<Mutex<Vec<(SessionId, String)>>>,
}

impl RecordingApprover {
    /// An approver of one answer.
    pub fn new(answer: ApprovalAnswer) -> Self {
        Self { answer, asked: Arc::default() }
    }

    /// The prompts so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(_, prompt)| prompt.clone()).collect()
    }

    /// The sessions that asked, in order.
    pub fn askers(&self) -> Vec<SessionId> {
        self.asked.lock().unwrap().iter().map(|(session, _)| session.clone()).collect()
    }
}

#[async_trait]
impl Approver for RecordingApprover {
    fn can_answer(&self) -> bool {
        true
    }

    async fn request(&self, request: ApprovalRequest) -> ApprovalAnswer {
        self.asked.lock().unwrap().push((request.session, request.prompt));
        self.answer.clone()
    }
}
