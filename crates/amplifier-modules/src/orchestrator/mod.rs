//! Orchestrators: the loop between model and tools.
//!
//! Guarantees of the loop that they share: it ends on an answer without tool calls;
//! the message with tool calls is appended before the first tool starts, all results
//! before the next model call; a graceful cancellation lets running tools finish and
//! starts no other; a call whose arguments may be cut off is never run.
//! Never here: retries, permissions, budgets, durability; the kernel's `Turn` has them.

mod external;
pub mod foreman;
mod loop_basic;
mod loop_streaming;
mod settings;
pub(crate) mod stop;

use std::sync::Arc;

use amplifier_core::CancelLevel;
use amplifier_core::limits::{LimitKind, LimitReached};
use amplifier_core::message::{Message, ToolCall};
use amplifier_core::module::Module;
use amplifier_core::module::orchestrator::Orchestrator;
use amplifier_core::module::provider::{ReasoningEffort, StopReason};
use amplifier_core::turn::{Turn, TurnError};
use async_trait::async_trait;
use futures_util::{StreamExt, stream};

pub use external::LoopExternal;
pub use foreman::OrchestratorForeman;
pub use loop_basic::LoopBasic;
pub use loop_streaming::LoopStreaming;
use settings::Settings;

/// Tools of one answer that run at the same time; further ones wait for a place.
const MAX_PARALLEL: usize = 16;
/// Answers in a row that may reach the output limit inside a tool call.
const MAX_CUT_ANSWERS: u32 = 3;

/// The orchestrators of this build.
pub fn orchestrators() -> Vec<Arc<dyn Module>> {
    vec![Arc::new(LoopBasic), Arc::new(LoopStreaming), Arc::new(OrchestratorForeman), Arc::new(LoopExternal)]
}

/// The loop, with its settings.
#[derive(Debug)]
struct Loop {
    name: &'static str,
    settings: Settings,
    parallel: bool,
}

#[async_trait]
impl Orchestrator for Loop {
    fn name(&self) -> &str {
        self.name
    }

    async fn run(&self, turn: &mut Turn<'_>) -> Result<String, TurnError> {
        if self.settings.extended_thinking {
            turn.reason(ReasoningEffort::Medium);
        }
        let (mut made, mut cut_answers, mut held) = (0, 0, 0);
        loop {
            stop_if_cancelled(turn)?;
            self.check_limit(made)?;
            let response = turn.complete().await?;
            made += 1;
            let mut message = response.message;
            tell_apart(&mut message.tool_calls);
            let calls = message.tool_calls.clone();
            let text = message.text();
            turn.append([message]).await?;
            if calls.is_empty() {
                // Boxed, as mostly nobody objects.
                match Box::pin(stop::goes_on(turn, &text, &mut held)).await? {
                    true => continue,
                    false => return Ok(text),
                }
            }
            let cut_off = response.stop == StopReason::MaxTokens;
            cut_answers = if cut_off { cut_answers + 1 } else { 0 };
            if cut_off {
                turn.append(calls.iter().map(cut_off_result)).await?;
                self.check_cut_answers(cut_answers)?;
            } else {
                // Boxed, so that an answer without calls has no room for them.
                Box::pin(self.run_tools(turn, &calls)).await?;
            }
        }
    }
}

impl Loop {
    fn check_limit(&self, made: u64) -> Result<(), LimitReached> {
        match self.settings.max_iterations {
            Some(limit) if made >= limit => Err(LimitReached::new(
                LimitKind::Turns,
                limit,
                made,
                format!("{} (max_iterations)", self.name),
            )),
            _ => Ok(()),
        }
    }

    /// A model that never gets its tool call whole would go on for ever.
    fn check_cut_answers(&self, cut_answers: u32) -> Result<(), TurnError> {
        if cut_answers < MAX_CUT_ANSWERS {
            return Ok(());
        }
        let message = format!(
            "{cut_answers} answers in a row reached the output limit inside a tool call; raise max_output_tokens"
        );
        Err(TurnError::Module { module: self.name.to_owned(), message })
    }

    /// Runs the calls of one answer and appends their results in the order of the calls.
    async fn run_tools(&self, turn: &Turn<'_>, calls: &[ToolCall]) -> Result<(), TurnError> {
        if self.parallel && calls.len() > 1 {
            let running: Vec<_> = calls.iter().map(|call| run_unless_cancelled(turn, call)).collect();
            let results: Vec<Message> = stream::iter(running).buffered(MAX_PARALLEL).collect().await;
            return turn.append(results).await;
        }
        for call in calls {
            let result = run_unless_cancelled(turn, call).await;
            turn.append([result]).await?;
        }
        Ok(())
    }
}

fn stop_if_cancelled(turn: &Turn<'_>) -> Result<(), TurnError> {
    if turn.cancelled() == CancelLevel::None { Ok(()) } else { Err(TurnError::Cancelled) }
}

async fn run_unless_cancelled(turn: &Turn<'_>, call: &ToolCall) -> Message {
    match turn.cancelled() {
        CancelLevel::None => turn.run_tool(call).await,
        _ => Message::tool_result(call, "[not run: the session was asked to stop]", true),
    }
}

fn cut_off_result(call: &ToolCall) -> Message {
    let text = "[not run: your answer reached the output limit, so the arguments of this call may be cut off; \
                call again with shorter arguments, or split the work]";
    Message::tool_result(call, text, true)
}

/// Gives calls of one answer that share an id, or have none, ids of their own: a result
/// names its call by the id alone.
fn tell_apart(calls: &mut [ToolCall]) {
    for index in 0..calls.len() {
        let (before, rest) = calls.split_at_mut(index);
        let Some(call) = rest.first_mut() else { return };
        if call.id.is_empty() || before.iter().any(|other| other.id == call.id) {
            call.id = format!("{}#{index}", call.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn calls_with_one_id_are_told_apart() {
        let mut calls: Vec<ToolCall> =
            ["a", "a", "", "b", "a"].iter().map(|id| ToolCall::new(*id, "t", Value::Null)).collect();
        tell_apart(&mut calls);
        let ids: Vec<&str> = calls.iter().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["a", "a#1", "#2", "b", "a#4"]);
    }
}
