//! One model call: reserve, gate, ask, wait out what passes, settle.
//!
//! Guarantees: a call is counted against the session's limits and reserved in
//! the budgets before it is made, and settled after, on every path. A stream
//! that ended without its end marker is tried again, never taken for an answer.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Turn, TurnError};
use crate::budget::Amount;
use crate::event::EventType;
use crate::hook::Injection;
use crate::limits::{LimitKind, LimitReached};
use crate::message::Message;
use crate::module::context::ViewBudget;
use crate::module::provider::{
    ChatRequest, ChatResponse, Provider, ProviderError, ProviderErrorKind, ReasoningEffort,
};
use crate::session::Core;
use crate::transcript::MessageView;

/// What a session asks of its model beyond the conversation.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ModelOptions {
    /// The model; the provider's default where `None`.
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
    provider: Arc<dyn Provider>,
    /// What hooks add to this request alone.
    additions: Arc<[Arc<Message>]>,
    reasoning: Option<ReasoningEffort>,
}

impl Turn<'_> {
    /// Asks the model to go on with the conversation. The answer is not appended yet.
    pub async fn complete(&mut self) -> Result<ChatResponse, TurnError> {
        let core = self.core;
        core.count_turn()?;
        let provider = core.provider()?;
        let data = || json!({"provider": provider.info().name, "model": core.model(&provider), "iteration": core.ledger().turns});
        core.gate(&EventType::ProviderRequest, data).await.map_err(|denial| core.refused(denial))?;
        let additions = core.flush_injections().await?;
        let ask = Ask { provider, additions: additions.into(), reasoning: self.reasoning };
        match core.call(&ask, false).await {
            Err(TurnError::Provider(error)) if error.kind == ProviderErrorKind::ContextTooLong => {
                core.call(&ask, true).await
            }
            result => result,
        }
    }
}

impl Core {
    fn provider(&self) -> Result<Arc<dyn Provider>, TurnError> {
        self.providers.first().cloned().ok_or_else(|| {
            let message =
                "no provider is configured; name one in the bundle or set a key such as ANTHROPIC_API_KEY";
            ProviderError::new("none", ProviderErrorKind::Config, message).into()
        })
    }

    fn model<'a>(&'a self, provider: &'a Arc<dyn Provider>) -> &'a str {
        self.options.model.as_deref().unwrap_or(&provider.info().default_model)
    }

    fn count_turn(&self) -> Result<(), LimitReached> {
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
            self.append(messages).await?;
        }
        Ok(passing.into_iter().map(injected).map(Arc::new).collect())
    }

    async fn call(&self, ask: &Ask, squeeze: bool) -> Result<ChatResponse, TurnError> {
        let provider = &ask.provider;
        let (request, tokens) = self.request(ask, squeeze).await;
        let name = provider.info().name.clone();
        let model = self.model(provider).to_owned();
        let data = || self.request_data(&name, &model, &request, tokens);
        self.gate(&EventType::LlmRequest, data).await.map_err(|denial| self.refused(denial))?;
        if self.budget.limits_cost() && !provider.info().scripted {
            return Err(TurnError::UnknownPrice { model });
        }
        let reserved = Amount { tokens: tokens + request.max_output_tokens.unwrap_or(0), micro_usd: 0 };
        let reservation = self.budget.reserve(reserved)?;
        let result = self.attempts(provider, &request).await;
        let used = result.as_ref().map_or(Amount::default(), |response| Amount {
            tokens: response.usage.map_or(tokens, |usage| usage.total()),
            micro_usd: response.cost_micro_usd.unwrap_or(0),
        });
        reservation.settle(used);
        match result {
            Ok(response) => {
                self.account(&name, &response).await;
                Ok(response)
            }
            Err(error) => Err(self.failed(&name, error).await),
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
            let round = self.ask_hooks(&EventType::ContextCompaction, data).await;
            self.absorb(round);
        }
        let mut messages = view.messages;
        if !ask.additions.is_empty() {
            messages.push(MessageView::of(Arc::clone(&ask.additions)));
        }
        let options = &self.options;
        let request = ChatRequest {
            system,
            messages,
            tools: Arc::clone(self.tools.schemas()),
            model: options.model.clone(),
            max_output_tokens: options.max_output_tokens,
            temperature: options.temperature,
            reasoning: options.reasoning.or(ask.reasoning),
            cache_key: Some(self.env.session.as_str().to_owned()),
        };
        (request, reserved_tokens + view.tokens)
    }

    fn request_data(&self, provider: &str, model: &str, request: &ChatRequest, tokens: u64) -> Value {
        let mut data = json!({
            "provider": provider, "model": model, "message_count": request.messages.len(),
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
            let round = self.ask_hooks(&event, data).await;
            self.absorb(round);
        }
    }

    async fn failed(&self, provider: &str, error: TurnError) -> TurnError {
        if matches!(error, TurnError::Cancelled) {
            return error;
        }
        let data = || json!({"provider": provider, "error": error.to_string()});
        let round = self.ask_hooks(&EventType::ProviderError, data).await;
        self.absorb(round);
        error
    }
}

fn injected(injection: Injection) -> Message {
    let mut message = Message::new(injection.role, injection.text);
    message.metadata.insert("source".into(), "hook".into());
    message
}
