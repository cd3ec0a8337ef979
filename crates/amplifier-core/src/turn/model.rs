//! One model call: gate, reserve, ask, settle, and go on with the next choice when one fails for good.
//!
//! Guarantees: a call is counted against the session's limits and reserved in
//! the budgets before it is made, at what it may cost at most, and settled after, on
//! every path. A stream that ended without its end marker is tried again, never taken
//! for an answer; what it brought is charged by estimate.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Choice, Turn, TurnError};
use crate::event::EventType;
use crate::hook::Injection;
use crate::limits::{LimitKind, LimitReached};
use crate::message::Message;
use crate::module::context::ViewBudget;
use crate::module::provider::{ChatRequest, ChatResponse, ProviderErrorKind, ReasoningEffort};
use crate::session::Core;
use crate::transcript::MessageView;

/// What a session asks of its model beyond the conversation.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ModelOptions {
    /// The model, where the session was given no [choices](Choice); the provider's default where `None`.
    pub model: Option<String>,
    /// Longest answer in tokens.
    pub max_output_tokens: Option<u64>,
    /// 0.0 to 2.0.
    pub temperature: Option<f64>,
    /// Whether the model shall reason.
    pub reasoning: Option<ReasoningEffort>,
    /// True: `llm:request` and `llm:response` carry the whole request and answer (`session.raw`).
    pub raw_events: bool,
    /// Most characters of one injection of a hook; a longer one is left out and told.
    pub injection_size_limit: Option<u64>,
    /// Estimated tokens that hooks may inject in one turn; going over is told, not refused.
    pub injection_budget_per_turn: Option<u64>,
}

/// What stays the same when a request is made again with less of the conversation.
struct Ask {
    choice: Choice,
    /// What hooks add to this request alone.
    additions: Arc<[Arc<Message>]>,
    reasoning: Option<ReasoningEffort>,
}

impl Turn<'_> {
    /// Asks the model to go on with the conversation. The answer is not appended yet.
    pub async fn complete(&mut self) -> Result<ChatResponse, TurnError> {
        let core = self.core;
        core.count_turn()?;
        let choice = core.choice()?;
        core.gate_request(&choice).await?;
        let additions = core.flush_injections().await?.into();
        let mut ask = Ask { choice, additions, reasoning: self.reasoning };
        loop {
            let result = match core.call(&ask, false).await {
                Err(TurnError::Provider(error)) if error.kind == ProviderErrorKind::ContextTooLong => {
                    Box::pin(core.call(&ask, true)).await
                }
                result => result,
            };
            let Err(error) = &result else { return result };
            let Some(next) = core.fall_back(error) else { return result };
            ask.choice = next;
            // What hooks add to the request was said before the first try.
            let said = core.ledger().injections.len();
            Box::pin(core.gate_request(&ask.choice)).await?;
            core.ledger().injections.truncate(said);
        }
    }
}

impl Core {
    async fn gate_request(&self, choice: &Choice) -> Result<(), TurnError> {
        let data = || {
            let turns = self.ledger().turns;
            json!({"provider": choice.name(), "model": choice.model(), "iteration": turns})
        };
        let gate = self.gate(&EventType::ProviderRequest, data).await;
        gate.map(drop).map_err(|denial| self.refused(denial))
    }

    pub(super) fn count_turn(&self) -> Result<(), LimitReached> {
        let mut ledger = self.ledger();
        if let Some(limit) = self.limits.max_turns
            && ledger.turns >= limit
        {
            let (value, used) = (u64::from(limit), u64::from(ledger.turns));
            return Err(LimitReached::new(LimitKind::Turns, value, used, self.limits_from.as_str()));
        }
        ledger.turns += 1;
        Ok(())
    }

    /// Injections that stay become messages before the next call, behind the results of all
    /// tools. The others are returned, as additions to that call's request.
    async fn flush_injections(&self) -> Result<Vec<Arc<Message>>, TurnError> {
        let (passing, staying) = std::mem::take(&mut self.ledger().injections)
            .into_iter()
            .partition::<Vec<_>, _>(|one| one.ephemeral);
        let messages: Vec<Message> = staying.into_iter().map(injected).filter(super::is_kept).collect();
        if !messages.is_empty() {
            Box::pin(self.append(messages)).await?;
        }
        Ok(passing.into_iter().map(injected).map(Arc::new).collect())
    }

    async fn call(&self, ask: &Ask, squeeze: bool) -> Result<ChatResponse, TurnError> {
        let choice = &ask.choice;
        let provider = &choice.provider;
        let (mut request, tokens) = self.request(ask, squeeze).await;
        let data = || self.request_data(choice, &request, tokens);
        self.gate(&EventType::LlmRequest, data).await.map_err(|denial| self.refused(denial))?;
        let mut aside = self.set_aside(choice, &mut request, tokens)?;
        let mut result = self.attempts(provider, &request, &mut aside).await;
        aside.settle(result.as_mut().ok());
        match result {
            Ok(mut response) => {
                self.sign(choice, &mut response.message);
                self.account(choice.name(), &response).await;
                Ok(response)
            }
            Err(TurnError::Cancelled) => Err(TurnError::Cancelled),
            Err(error) => {
                Box::pin(self.tell_failure(choice, &error)).await;
                Err(error)
            }
        }
    }

    async fn request(&self, ask: &Ask, squeeze: bool) -> (ChatRequest, u64) {
        let system = self.system.render();
        let text = |system: &Arc<str>| system.len() as u64 / 4;
        let reserved_tokens = system.as_ref().map_or(0, text)
            + self.schema_tokens
            + ask.additions.iter().map(|message| message.estimated_tokens()).sum::<u64>();
        let window_tokens = None;
        let view = self.context.view(ViewBudget { reserved_tokens, window_tokens, squeeze }).await;
        if view.left_out > 0 {
            let data = || json!({"left_out": view.left_out, "tokens": view.tokens});
            self.notify(&EventType::ContextCompaction, data).await;
        }
        let mut messages = view.messages;
        if !ask.additions.is_empty() {
            messages.push(MessageView::of(Arc::clone(&ask.additions)));
        }
        let options = &self.options;
        let request = ChatRequest {
            system,
            messages: self.readable(&ask.choice, messages),
            tools: Arc::clone(self.tools.schemas()),
            model: ask.choice.model.clone(),
            max_output_tokens: options.max_output_tokens,
            temperature: options.temperature,
            reasoning: options.reasoning.or(ask.reasoning),
            cache_key: Some(self.env.session.clone().into()),
        };
        (request, reserved_tokens + view.tokens)
    }

    fn request_data(&self, choice: &Choice, request: &ChatRequest, tokens: u64) -> Value {
        let mut data = json!({
            "provider": choice.name(), "model": choice.model(), "message_count": request.messages.len(),
            "tool_count": request.tools.len(), "estimated_tokens": tokens,
        });
        if self.options.raw_events {
            let messages: Vec<Arc<Message>> = request.messages.to_vec();
            data["raw"] = json!({"system": request.system, "messages": messages, "tools": request.tools});
        }
        data
    }

    async fn account(&self, provider: &str, response: &ChatResponse) {
        self.ledger().account(provider, response);
        let message = self.options.raw_events.then_some(&response.message);
        let data = || {
            json!({
                "provider": provider, "model": response.model, "usage": response.usage, "stop": response.stop,
                "tool_calls": response.message.tool_calls.len(), "raw": message,
            })
        };
        for event in [EventType::LlmResponse, EventType::ProviderResponse] {
            self.notify(&event, data).await;
        }
    }
}

fn injected(injection: Injection) -> Message {
    let mut message = Message::new(injection.role, injection.text);
    message.metadata.insert("source".into(), "hook".into());
    message
}
