//! A provider that does what a test tells it to.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};

use amplifier_core::clock::BoxFuture;
use amplifier_core::module::provider::{
    ChatDelta, ChatRequest, ChatResponse, ChatStream, ModelInfo, Provider, ProviderError, ProviderErrorKind,
    ProviderInfo,
};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, Mount, MountError};
use amplifier_core::price::Price;
use amplifier_core::{Message, ModuleSpec, Role, ToolCall, Usage};
use async_trait::async_trait;
use futures_core::Stream;
use serde_json::Value;

use crate::gate::Gate;

/// What the provider does with one request.
#[derive(Debug, Clone)]
pub enum Step {
    /// Answers with a text.
    Say(String),
    /// Asks for tools: name and arguments each.
    Call(Vec<(&'static str, Value)>),
    /// Refuses.
    Fail(ProviderErrorKind),
    /// Begins an answer and breaks off.
    Cut(String),
    /// Begins an answer, waits at the gate, then finishes it.
    Wait(String, Gate),
    /// Waits at the gate before it says anything at all.
    Late(String, Gate),
    /// Waits at the gate, then writes for as long as it may, and names no cost.
    Fill(Gate),
    /// Panics.
    Panic,
}

/// A provider that follows a list of steps; behind their end it says `done`. What was asked of one prompt
/// ([`Brain::to`]) has a list of its own. Clones share the lists.
#[derive(Debug, Clone)]
pub struct Brain(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    module: &'static str,
    info: ProviderInfo,
    steps: Mutex<VecDeque<Step>>,
    /// Steps of those with this in their system prompt.
    own: Mutex<Vec<(&'static str, VecDeque<Step>)>>,
    /// Steps of those who were told last what ends like this.
    prompts: Mutex<HashMap<String, VecDeque<Step>>>,
    price: OnceLock<Price>,
    requests: Mutex<Vec<ChatRequest>>,
    configs: Mutex<Vec<Value>>,
}

impl Default for Brain {
    fn default() -> Self {
        Self::new()
    }
}

impl Brain {
    /// A provider without steps.
    pub fn new() -> Self {
        Self::named(super::PROVIDER)
    }

    /// A provider of another module.
    pub fn named(module: &'static str) -> Self {
        let mut info = ProviderInfo::new(module.trim_start_matches("provider-"), module, "brain-1");
        info.scripted = true;
        Self(Arc::new(Inner {
            module,
            info,
            steps: Mutex::default(),
            own: Mutex::default(),
            prompts: Mutex::default(),
            price: OnceLock::new(),
            requests: Mutex::default(),
            configs: Mutex::default(),
        }))
    }

    /// How many there are of it: this one, its clones, and those that are mounted in sessions.
    pub fn instances(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Names a price, by which is set aside what a call may cost; an answer says that it cost 1,000 micro-USD.
    pub fn costs(&self, price: Price) -> &Self {
        self.0.price.set(price).expect("a price is named once");
        self
    }

    /// Adds a step for whoever was told last what ends like this.
    pub fn to(&self, prompt: &str, step: Step) -> &Self {
        self.0.prompts.lock().unwrap().entry(prompt.to_owned()).or_default().push_back(step);
        self
    }

    /// Adds a step.
    pub fn then(&self, step: Step) -> &Self {
        self.0.steps.lock().unwrap().push_back(step);
        self
    }

    /// Adds a step for sessions with this in their system prompt; they follow no other steps from now on.
    pub fn of(&self, whose: &'static str, step: Step) -> &Self {
        let mut own = self.0.own.lock().unwrap();
        match own.iter_mut().find(|(known, _)| *known == whose) {
            Some((_, steps)) => steps.push_back(step),
            None => own.push((whose, VecDeque::from([step]))),
        }
        drop(own);
        self
    }

    /// Forgets the steps that were not taken.
    pub fn clear(&self) -> &Self {
        self.0.steps.lock().unwrap().clear();
        self
    }

    /// Adds an answer.
    pub fn say(&self, text: &str) -> &Self {
        self.then(Step::Say(text.to_owned()))
    }

    /// Adds a call of one tool.
    pub fn call(&self, tool: &'static str) -> &Self {
        self.then(Step::Call(vec![(tool, Value::Object(serde_json::Map::new()))]))
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<ChatRequest> {
        self.0.requests.lock().unwrap().clone()
    }

    /// The messages of the last request, as role and text.
    pub fn last_request(&self) -> Vec<(String, String)> {
        shown(self.requests().last().expect("the provider was asked"))
    }

    /// The messages of each request of sessions with this in their system prompt.
    pub fn requests_of(&self, whose: &str) -> Vec<Vec<(String, String)>> {
        let own =
            |request: &&ChatRequest| request.system.as_ref().is_some_and(|system| system.contains(whose));
        self.requests().iter().filter(own).map(shown).collect()
    }

    /// The configurations with which it was mounted.
    pub fn configs(&self) -> Vec<Value> {
        self.0.configs.lock().unwrap().clone()
    }

    fn next(&self, system: &str, told: &str) -> Option<Step> {
        let mut prompts = self.0.prompts.lock().unwrap();
        let own =
            prompts.iter_mut().find(|(prompt, steps)| !steps.is_empty() && told.ends_with(prompt.as_str()));
        if let Some((_, steps)) = own {
            return steps.pop_front();
        }
        drop(prompts);
        let mut own = self.0.own.lock().unwrap();
        match own.iter_mut().find(|(whose, _)| system.contains(whose)) {
            Some((_, steps)) => steps.pop_front(),
            None => self.0.steps.lock().unwrap().pop_front(),
        }
    }

    fn answer(&self, step: Step, longest: u64) -> Result<ChatStream, ProviderError> {
        let (name, number) = (&self.0.info.name, self.requests().len());
        let mut parts: VecDeque<Part> = VecDeque::new();
        match step {
            Step::Panic => panic!("the brain hurts"),
            Step::Fail(kind) => return Err(ProviderError::new(name, kind, "told to fail")),
            Step::Cut(text) => parts.push_back(Part::Delta(ChatDelta::Text(text))),
            Step::Say(text) => {
                parts.push_back(Part::Delta(ChatDelta::Text(text.clone())));
                parts.push_back(Part::Pause(Box::pin(tokio::task::yield_now())));
                parts.push_back(Part::Delta(done(Message::assistant(text))));
            }
            Step::Wait(text, gate) => {
                parts.push_back(Part::Delta(ChatDelta::Text(text.clone())));
                parts.push_back(Part::Pause(Box::pin(async move { gate.pass().await })));
                parts.push_back(Part::Delta(done(Message::assistant(text))));
            }
            Step::Late(text, gate) => {
                parts.push_back(Part::Pause(Box::pin(async move { gate.pass().await })));
                parts.push_back(Part::Delta(done(Message::assistant(text))));
            }
            Step::Fill(gate) => {
                parts.push_back(Part::Pause(Box::pin(async move { gate.pass().await })));
                parts.push_back(Part::Delta(filled(longest)));
            }
            Step::Call(tools) => {
                let mut message = Message::assistant("");
                let call = |(index, (tool, arguments)): (usize, (&str, Value))| {
                    ToolCall::new(format!("call-{number}-{index}"), tool, arguments)
                };
                message.tool_calls = tools.into_iter().enumerate().map(call).collect();
                parts.push_back(Part::Delta(done(message)));
            }
        }
        Ok(Box::pin(Answer { parts }))
    }
}

fn shown(request: &ChatRequest) -> Vec<(String, String)> {
    let messages = request.messages.to_vec();
    messages.iter().map(|message| (format!("{:?}", message.role).to_lowercase(), message.text())).collect()
}

fn done(message: Message) -> ChatDelta {
    let mut response = ChatResponse::new(message, "brain-1");
    let mut usage = Usage::default();
    (usage.input_tokens, usage.output_tokens) = (10, 5);
    response.usage = Some(usage);
    response.cost_micro_usd = Some(1_000);
    ChatDelta::Done(Box::new(response))
}

/// An answer of this many tokens, at the model's price; its request is counted lower than anybody estimates it.
fn filled(output_tokens: u64) -> ChatDelta {
    let mut response = ChatResponse::new(Message::assistant("full"), "brain-1");
    response.usage = Some(Usage { input_tokens: 1, output_tokens, ..Usage::default() });
    ChatDelta::Done(Box::new(response))
}

/// How long a model writes that nobody bounds, in tokens.
const ENDLESS: u64 = 1_000_000;

enum Part {
    Delta(ChatDelta),
    Pause(BoxFuture<'static, ()>),
}

struct Answer {
    parts: VecDeque<Part>,
}

impl Stream for Answer {
    type Item = Result<ChatDelta, ProviderError>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.parts.front_mut() {
                Some(Part::Pause(pause)) => match pause.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(()) => drop(self.parts.pop_front()),
                },
                Some(Part::Delta(_)) => {
                    let Some(Part::Delta(delta)) = self.parts.pop_front() else { unreachable!("looked at") };
                    return Poll::Ready(Some(Ok(delta)));
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

#[async_trait]
impl Provider for Brain {
    fn info(&self) -> &ProviderInfo {
        &self.0.info
    }

    fn price(&self, _model: &str) -> Option<Price> {
        self.0.price.get().copied()
    }

    async fn models(&self) -> Result<Vec<ModelInfo>, ProviderError> {
        Ok(vec![ModelInfo::named("brain-1")])
    }

    async fn stream(&self, request: ChatRequest) -> Result<ChatStream, ProviderError> {
        let system = request.system.clone().unwrap_or_default();
        let messages = request.messages.to_vec();
        let told = messages.iter().rev().find(|message| message.role == Role::User);
        let told = told.map(|message| message.text()).unwrap_or_default();
        let longest = request.max_output_tokens.unwrap_or(ENDLESS);
        self.0.requests.lock().unwrap().push(request);
        let step = self.next(&system, &told);
        self.answer(step.unwrap_or_else(|| Step::Say("done".to_owned())), longest)
    }
}

#[async_trait]
impl Module for Brain {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: self.0.module,
            aliases: &[],
            kind: ModuleKind::Provider,
            summary: "says what a test wants",
            config_keys: &[],
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        self.0.configs.lock().unwrap().push(Value::Object(spec.config.clone()));
        mount.provider(Arc::new(self.clone()));
        Ok(())
    }
}
