//! Gates: events at which a hook, a permission layer or a person may object.
//!
//! Guarantees: a question without somebody to answer it is a denial at once; no
//! answer in time, or before the session is asked to stop, is a denial; what was
//! allowed for the session is not asked again.

use serde_json::{Value, json};

use super::TurnError;
use crate::approval::{ApprovalAnswer, ApprovalRequest};
use crate::event::EventType;
use crate::hook::Round;
use crate::permission::{Access, Ruling, mcp_server};
use crate::session::Core;
use crate::until::until;

/// Why something may not be done.
#[derive(Debug)]
pub(super) struct Denial {
    pub(super) by: String,
    pub(super) reason: String,
}

/// What the permission layers allow of a tool call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    Freely,
    InSandbox,
}

impl Core {
    /// Asks the hooks about an event, and a person if a hook wants that. `Ok` holds the
    /// data if a hook changed it.
    pub(super) async fn gate(
        &self,
        event: &EventType,
        data: impl FnOnce() -> Value,
    ) -> Result<Option<Value>, Denial> {
        if !self.hooks.listens(event) {
            return Ok(None);
        }
        // Boxed as in `notify`.
        Box::pin(self.asked_gate(event, data)).await
    }

    async fn asked_gate(
        &self,
        event: &EventType,
        data: impl FnOnce() -> Value,
    ) -> Result<Option<Value>, Denial> {
        let mut round = self.ask_hooks(event, data).await;
        let (denied, question) = (round.denied.take(), round.question.take());
        let modified = round.modified.take();
        match denied {
            Some((by, reason)) => {
                self.absorb(Round { injections: Vec::new(), ..round });
                return Err(Denial { by, reason });
            }
            None => self.absorb(round),
        }
        if let Some((by, question)) = question {
            let mut request = ApprovalRequest::new(self.env.session.clone(), question.prompt);
            request.timeout = question.timeout;
            let key = format!("hook {by}: {}", question.about);
            self.approve(&key, request).await.map_err(|reason| Denial { by, reason })?;
        }
        Ok(modified)
    }

    /// The prompt's gate: `Ok` holds the prompt if a hook changed it.
    pub(crate) async fn gate_prompt(
        &self,
        data: impl FnOnce() -> Value,
    ) -> Result<Option<String>, TurnError> {
        let gate = until(self.gate(&EventType::PromptSubmit, data), self.env.cancel.cancelled_now()).await;
        let modified = gate.ok_or(TurnError::Cancelled)?.map_err(|denial| self.refused(denial))?;
        Ok(modified.and_then(|data| data.get("prompt").and_then(Value::as_str).map(str::to_owned)))
    }

    /// A denial ends the turn, unless it only is how a cancelled turn ends.
    pub(super) fn refused(&self, denial: Denial) -> TurnError {
        match self.env.cancel.is_cancelled() {
            true => TurnError::Cancelled,
            false => TurnError::Denied { hook: denial.by, reason: denial.reason },
        }
    }

    /// Judges what a tool is about to touch.
    pub(super) async fn judge(&self, tool: &str, accesses: &[Access]) -> Result<Allowed, Denial> {
        let mut allowed = Allowed::Freely;
        for access in accesses {
            let decision = self.permissions.decide(access, self.env.approver.can_answer());
            match decision.ruling {
                Ruling::Allow => {}
                Ruling::Sandboxed => allowed = Allowed::InSandbox,
                Ruling::Ask => self.ask_access(tool, access, &decision.origin).await?,
                Ruling::Deny => {
                    if decision.unasked {
                        self.ledger().denied_unasked = true;
                    }
                    let unasked = if decision.unasked { "; nobody can be asked" } else { "" };
                    return Err(self.violation(tool, access, &decision.origin, unasked).await);
                }
            }
        }
        Ok(allowed)
    }

    async fn ask_access(&self, tool: &str, access: &Access, origin: &str) -> Result<(), Denial> {
        let prompt = format!("{tool} wants to {access}");
        let mut request = ApprovalRequest::new(self.env.session.clone(), prompt);
        request.tool = Some(tool.to_owned());
        match self.approve(&session_key(access), request).await {
            Ok(()) => Ok(()),
            Err(reason) => Err(self.violation(tool, access, origin, &format!("; {reason}")).await),
        }
    }

    async fn violation(&self, tool: &str, access: &Access, origin: &str, why: &str) -> Denial {
        let reason = format!("permission denied: {tool} may not {access} ({origin}{why})");
        let data =
            || json!({"tool_name": tool, "access": access.to_string(), "origin": origin, "reason": reason});
        self.notify(&EventType::PolicyViolation, data).await;
        Denial { by: origin.to_owned(), reason }
    }

    /// Asks a person. `Err` holds why not.
    async fn approve(&self, key: &str, request: ApprovalRequest) -> Result<(), String> {
        if self.ledger().approved.contains(key) {
            return Ok(());
        }
        if !self.env.approver.can_answer() {
            self.ledger().denied_unasked = true;
            return Err("nobody can be asked".into());
        }
        let prompt = request.prompt.clone();
        self.tell(EventType::ApprovalRequired, &prompt).await;
        let deadline = self.env.clock.monotonic().saturating_add(request.timeout);
        let time = until(self.env.clock.sleep_until(deadline), self.env.cancel.cancelled());
        let asking = self.env.activity.asking();
        let answer = until(self.env.approver.request(request), time).await;
        drop(asking);
        let refused = match answer {
            Some(ApprovalAnswer::Allow) => None,
            Some(ApprovalAnswer::AllowForSession) => {
                self.ledger().approved.insert(key.to_owned());
                None
            }
            Some(ApprovalAnswer::Deny { reason }) => Some(reason),
            None if self.env.cancel.is_cancelled() => Some("the session was asked to stop".to_owned()),
            None => Some("nobody answered in time".to_owned()),
        };
        let event = if refused.is_some() { EventType::ApprovalDenied } else { EventType::ApprovalGranted };
        self.tell(event, &prompt).await;
        refused.map_or(Ok(()), Err)
    }

    async fn tell(&self, event: EventType, prompt: &str) {
        self.notify(&event, || json!({"prompt": prompt})).await;
    }
}

/// What "for the rest of the session" covers: a command as typed, a path, a host, a server.
fn session_key(access: &Access) -> String {
    match access {
        Access::Mcp(name) => Access::Mcp(mcp_server(name).to_owned()).to_string(),
        other => other.to_string(),
    }
}
