//! `provider-scripted`: answers from a script instead of a model.
//!
//! Guarantees: offline, and the same each time; every session counts its steps from
//! the beginning; a configuration is read once, however many sessions mount it.
//! Waiting goes through the session's clock. It calls itself scripted
//! ([`ProviderInfo::scripted`]), so that nobody takes its answers for a model's.

mod answer;
mod script;
mod step;
mod template;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use amplifier_core::message::{Content, ContentBlock, ToolCall};
use amplifier_core::module::provider::{
    ChatRequest, ChatResponse, ChatStream, ModelInfo, Provider, ProviderError, ProviderErrorKind,
    ProviderInfo,
};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError};
use amplifier_core::{Activation, Clock, Message, Price};
use async_trait::async_trait;
use serde_json::Value;

use answer::Answer;
use script::{Counter, Moment, Script};
use step::Failure;
pub use step::Step;

const ID: &str = "provider-scripted";

/// Configurations that are kept; sessions of one host rarely use more than one.
const MAX_CACHED: usize = 8;

/// The module `provider-scripted`.
#[derive(Debug, Default)]
pub struct Scripted {
    fixed: Option<Arc<Script>>,
    // Held to compare configurations; never across an await.
    cache: Mutex<Vec<(ModuleSpec, Arc<Script>)>>,
}

impl Scripted {
    /// A module that takes its script from the bundle.
    pub fn from_config() -> Self {
        Self::default()
    }

    /// A module with a script of the program's own, for tests; the bundle's is not read.
    pub fn new(steps: Vec<Step>) -> Self {
        Self { fixed: Some(Arc::new(Script::new("scripted", steps))), cache: Mutex::default() }
    }

    /// A provider outside any session. Of a module that takes its script from bundles, it has no step.
    pub fn provider(&self, clock: Arc<dyn Clock>) -> Arc<dyn Provider> {
        let script = self.fixed.clone().unwrap_or_else(|| Arc::new(Script::new("scripted", Vec::new())));
        Arc::new(Scripting::new(script, clock, Activation::FIRST))
    }

    fn script(&self, spec: &ModuleSpec) -> Result<Arc<Script>, MountError> {
        if let Some(script) = &self.fixed {
            return Ok(Arc::clone(script));
        }
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, script)) = cache.iter().find(|(known, _)| known == spec) {
            return Ok(Arc::clone(script));
        }
        let script = Arc::new(Script::parse(spec)?);
        if cache.len() == MAX_CACHED {
            cache.remove(0);
        }
        cache.push((spec.clone(), Arc::clone(&script)));
        Ok(script)
    }
}

#[async_trait]
impl Module for Scripted {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: ID,
            aliases: &[],
            kind: ModuleKind::Provider,
            summary: "Answers from a script in the bundle; asks no model",
            config_keys: &["script", "default", "priority", "default_model", "prices"],
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let env = mount.env();
        let scripting = Scripting::new(self.script(spec)?, Arc::clone(&env.clock), env.activation);
        mount.provider(Arc::new(scripting));
        Ok(())
    }
}

/// The provider of one session.
#[derive(Debug)]
struct Scripting {
    script: Arc<Script>,
    clock: Arc<dyn Clock>,
    activation: Activation,
    counters: Box<[Counter]>,
    calls: AtomicU32,
}

impl Scripting {
    fn new(script: Arc<Script>, clock: Arc<dyn Clock>, activation: Activation) -> Self {
        let counters = script.counters();
        Self { script, clock, activation, counters, calls: AtomicU32::new(0) }
    }

    fn response(&self, step: &Step, moment: &Moment, model: Option<String>) -> ChatResponse {
        let mut message = Message::assistant(step.text.fill(moment));
        if let Some(thinking) = &step.thinking {
            let text = std::mem::take(&mut message.content);
            message.content = Content::Blocks(vec![
                ContentBlock::thinking(thinking.as_str(), None),
                ContentBlock::text(match text {
                    Content::Text(text) => text,
                    _ => String::new(),
                }),
            ]);
        }
        message.tool_calls = step.calls.iter().map(|(tool, given)| self.call(tool, given, moment)).collect();
        let model = model.unwrap_or_else(|| self.script.info.default_model.clone());
        let mut response = ChatResponse::new(message, model);
        response.usage = step.usage;
        response.cost_micro_usd = step.cost_micro_usd;
        if let Some(stop) = &step.stop {
            response.stop = stop.clone();
        }
        response
    }

    /// Ids differ between activations too: a resumed conversation holds those of the earlier one.
    fn call(&self, tool: &str, given: &Value, moment: &Moment) -> ToolCall {
        let count = self.calls.fetch_add(1, Ordering::AcqRel) + 1;
        ToolCall::new(format!("call_{}_{count}", self.activation), tool, template::fill_all(given, moment))
    }

    fn error(&self, failure: &Failure) -> ProviderError {
        let mut error =
            ProviderError::new(self.script.info.name.as_str(), failure.kind, failure.message.as_str());
        error.retry_after = failure.retry_after;
        error
    }
}

#[async_trait]
impl Provider for Scripting {
    fn info(&self) -> &ProviderInfo {
        &self.script.info
    }

    async fn models(&self) -> Result<Vec<ModelInfo>, ProviderError> {
        Ok(vec![ModelInfo::named(self.script.info.default_model.as_str())])
    }

    fn price(&self, model: &str) -> Option<Price> {
        Some(self.script.prices.find(model).unwrap_or(Price::FREE))
    }

    async fn stream(&self, request: ChatRequest) -> Result<ChatStream, ProviderError> {
        let moment = self.script.moment(&request.messages);
        let (step, failure) = self.script.choose(&moment, &self.counters);
        if !step.delay.is_zero() {
            self.clock.sleep(step.delay).await;
        }
        match failure {
            Some(failure) if failure.kind != ProviderErrorKind::StreamCut => return Err(self.error(failure)),
            _ => {}
        }
        let response = self.response(step, &moment, request.model);
        Ok(Box::pin(Answer::new(response, failure.is_some())))
    }
}
