//! What the model is told of a child: the reference system's result, as JSON.
//!
//! Guarantees: it names the session, whatever became of it, so that it can be gone on with; its answer,
//! or what there is of one, is bounded, and the whole is in the session.

use amplifier_core::module::tool::{ToolError, ToolOutput};
use amplifier_core::{SessionId, SessionOutcome, Usage};
use serde::Serialize;

/// Longest answer that is passed on, in bytes.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// The result of one call.
#[derive(Debug, Serialize)]
pub(super) struct Answer<'a> {
    response: String,
    session_id: &'a SessionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    /// Model calls of this activation.
    turn_count: u32,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    metadata: Metadata<'a>,
}

#[derive(Debug, Serialize)]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Used>,
    /// Absent where no price is known, which is not zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_usd: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Used {
    input_tokens: u64,
    output_tokens: u64,
}

impl From<Usage> for Used {
    fn from(usage: Usage) -> Self {
        Self { input_tokens: usage.input_tokens, output_tokens: usage.output_tokens }
    }
}

impl<'a> Answer<'a> {
    /// Of a child that runs in the background.
    pub(super) fn running(session_id: &'a SessionId, agent: Option<&'a str>, note: Option<&'a str>) -> Self {
        let metadata = Metadata { model: None, usage: None, cost_usd: None, duration_ms: None, note };
        let response = String::new();
        Self { response, session_id, agent, turn_count: 0, status: "running", error: None, metadata }
    }

    /// Of a child that has ended.
    pub(super) fn ended(
        session_id: &'a SessionId,
        agent: Option<&'a str>,
        outcome: &'a SessionOutcome,
        model: Option<String>,
        note: Option<&'a str>,
    ) -> Self {
        let unrecorded =
            outcome.unrecorded.then_some("the session could not be kept; it cannot be gone on with");
        let metadata = Metadata {
            model,
            usage: Some(outcome.usage.into()),
            cost_usd: outcome.cost_micro_usd.map(|micro| micro as f64 / 1e6),
            duration_ms: Some(outcome.duration_ms),
            note: unrecorded.or(note),
        };
        let completed = outcome.is_completed();
        Self {
            response: shortened(&outcome.output),
            session_id,
            agent,
            turn_count: outcome.turns,
            status: if completed { "success" } else { outcome.kind.as_str() },
            error: outcome.error.as_ref().map(|error| error.message.as_str()),
            metadata,
        }
    }

    /// The result of the tool; a child that did not complete is a failure.
    pub(super) fn output(&self) -> Result<ToolOutput, ToolError> {
        let text =
            serde_json::to_string(self).map_err(|error| ToolError::failed("writing the result", error))?;
        Ok(match self.status {
            "success" | "running" => ToolOutput::text(text),
            _ => ToolOutput::failure(text),
        })
    }
}

/// The beginning and the end of a text that is too long, at character borders.
fn shortened(text: &str) -> String {
    if text.len() <= MAX_RESPONSE_BYTES {
        return text.to_owned();
    }
    let half = MAX_RESPONSE_BYTES / 2;
    let (head, tail) = (text.floor_char_boundary(half), text.ceil_char_boundary(text.len() - half));
    format!(
        "{}\n[… {} bytes left out; the session has them …]\n{}",
        &text[..head],
        tail - head,
        &text[tail..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use amplifier_core::outcome::{FailureKind, OutcomeError};
    use amplifier_core::{Activation, OutcomeKind};
    use serde_json::{Value, json};

    fn told(kind: OutcomeKind, output: &str) -> (Value, bool) {
        let error = OutcomeError::new(FailureKind::TimedOut, "the time is up");
        let error = (kind != OutcomeKind::Completed).then_some(error);
        let mut outcome = SessionOutcome::new(kind, Activation::FIRST, output, error);
        (outcome.turns, outcome.cost_micro_usd, outcome.duration_ms) = (2, Some(1_500), 7);
        let id = SessionId::new("0-1_explorer").unwrap();
        let output = Answer::ended(&id, Some("explorer"), &outcome, None, None).output().unwrap();
        (serde_json::from_str(&output.text).unwrap(), output.is_error)
    }

    #[test]
    fn a_result_has_the_references_fields() {
        let metadata =
            json!({"usage": {"input_tokens": 0, "output_tokens": 0}, "cost_usd": 0.0015, "duration_ms": 7});
        let expected = json!({"response": "42", "session_id": "0-1_explorer", "agent": "explorer", "turn_count": 2,
            "status": "success", "metadata": metadata});
        assert_eq!(told(OutcomeKind::Completed, "42"), (expected, false));
        let (failed, is_error) = told(OutcomeKind::TimedOut, "half an ans");
        let parts = (&failed["status"], &failed["error"], &failed["response"], &failed["session_id"]);
        assert_eq!(
            parts,
            (&json!("timed_out"), &json!("the time is up"), &json!("half an ans"), &json!("0-1_explorer"))
        );
        assert!(is_error);
    }

    #[test]
    fn a_long_answer_stays_json_and_keeps_both_ends() {
        let long = format!("head{}tail", "\"ä\n".repeat(100_000));
        let (told, _) = told(OutcomeKind::Completed, &long);
        let response = told["response"].as_str().unwrap();
        assert!(response.len() < MAX_RESPONSE_BYTES + 100);
        assert!(response.starts_with("head") && response.ends_with("tail") && response.contains("left out"));
    }
}
