//! A whole script, and how the step for a request is found in it.
//!
//! Guarantees: the first step that applies is taken; a step without `after_tool` but
//! with another condition applies right after the user's message only, so it does
//! not answer the results of its own tool calls.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use amplifier_core::message::{Content, Message, Role};
use amplifier_core::module::provider::ProviderInfo;
use amplifier_core::module::{ModuleSpec, MountError};
use amplifier_core::transcript::MessageView;
use serde::Deserialize;
use serde_json::Value;

use super::ID;
use super::step::{Failure, Step};
use crate::price::Prices;

/// What is answered where no step applies and the script names nothing else.
const DEFAULT_TEXT: &str = "This answer comes from a script, which has no step for: {{prompt}}";

/// A script, checked.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) info: ProviderInfo,
    pub(super) steps: Vec<Step>,
    pub(super) default: Step,
    /// What its models cost; nothing where it does not say.
    pub(super) prices: Prices,
    counts: bool,
    counts_turns: bool,
}

impl Script {
    pub(super) fn new(name: &str, steps: Vec<Step>) -> Self {
        let mut info = ProviderInfo::new(name, ID, "scripted");
        info.scripted = true;
        let counts = |step: &Step| {
            step.times.is_some() || step.error.as_ref().is_some_and(|error| error.times.is_some())
        };
        Self {
            info,
            counts: steps.iter().any(counts),
            counts_turns: steps.iter().any(|step| step.turn.is_some()),
            steps,
            default: Step::text(DEFAULT_TEXT),
            prices: Prices::default(),
        }
    }

    /// Reads a module's configuration.
    pub(super) fn parse(spec: &ModuleSpec) -> Result<Self, MountError> {
        let wrong = |message: String| MountError::config(spec, format!("config: {message}"));
        let steps = match spec.config.get("script") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(given)) => {
                let parse = |(index, given)| {
                    Step::parse(given).map_err(|error| wrong(format!("script[{index}]: {error}")))
                };
                given.iter().enumerate().map(parse).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(wrong("script must be a list of steps".into())),
        };
        let mut script = Self::new(spec.id.as_deref().unwrap_or("scripted"), steps);
        match spec.config.get("default") {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => script.default = Step::text(text.as_str()),
            Some(given) => {
                script.default = Step::parse(given).map_err(|error| wrong(format!("default: {error}")))?;
            }
        }
        if let Some(priority) = spec.config.get("priority") {
            let not_whole = || wrong(format!("priority is {priority}; give a whole number"));
            script.info.priority = priority.as_i64().ok_or_else(not_whole)?;
        }
        if let Some(prices) = spec.config.get("prices") {
            let prices = Prices::deserialize(prices);
            script.prices = prices.map_err(|error| wrong(format!("prices: {error}")))?;
        }
        if let Some(model) = spec.config.get("default_model") {
            let no_text = || wrong(format!("default_model is {model}; give a name"));
            script.info.default_model = model.as_str().ok_or_else(no_text)?.to_owned();
        }
        Ok(script)
    }

    /// Room to count the steps of one session.
    pub(super) fn counters(&self) -> Box<[Counter]> {
        let len = if self.counts { self.steps.len() } else { 0 };
        (0..len).map(|_| Counter::default()).collect()
    }

    /// The step for a request, and the failure that it plays this time.
    pub(super) fn choose(&self, moment: &Moment, counters: &[Counter]) -> (&Step, Option<&Failure>) {
        for (index, step) in self.steps.iter().enumerate() {
            if !moment.suits(step) {
                continue;
            }
            let Some(counter) = counters.get(index) else { return (step, step.error.as_ref()) };
            if step.times.is_some_and(|times| counter.used.load(Ordering::Acquire) >= times) {
                continue;
            }
            if let Some(failure) = step.error.as_ref().filter(|failure| counter.fails(failure)) {
                return (step, Some(failure));
            }
            counter.used.fetch_add(1, Ordering::AcqRel);
            return (step, None);
        }
        (&self.default, self.default.error.as_ref())
    }

    /// What a request says about the place in the conversation.
    pub(super) fn moment(&self, messages: &MessageView) -> Moment {
        let mut moment = Moment::default();
        moment.prompt = messages.find_last(|message| {
            match message.role {
                _ if is_of_hook(message) => {
                    moment.notes.push(Arc::clone(message));
                    return false;
                }
                Role::Tool if !moment.past_results => moment.results.push(Arc::clone(message)),
                _ => moment.past_results = true,
            }
            message.role == Role::User
        });
        if self.counts_turns {
            let mut turn = 0;
            messages
                .for_each(|message| turn += u64::from(message.role == Role::User && !is_of_hook(message)));
            moment.turn = turn;
        }
        moment
    }
}

/// How often a step was used.
#[derive(Debug, Default)]
pub(super) struct Counter {
    used: AtomicU32,
    failed: AtomicU32,
}

impl Counter {
    fn fails(&self, failure: &Failure) -> bool {
        let Some(times) = failure.times else { return true };
        self.failed.fetch_add(1, Ordering::AcqRel) < times
    }
}

/// The place in a conversation at which an answer is wanted.
#[derive(Debug, Default)]
pub(super) struct Moment {
    prompt: Option<Arc<Message>>,
    /// Results of the tools that the last answer called.
    results: Vec<Arc<Message>>,
    past_results: bool,
    /// What hooks added to the request behind it.
    notes: Vec<Arc<Message>>,
    turn: u64,
}

impl Moment {
    /// The text of the user's last message.
    pub(super) fn prompt(&self) -> Cow<'_, str> {
        match self.prompt.as_deref() {
            None => Cow::Borrowed(""),
            Some(Message { content: Content::Text(text), .. }) => Cow::Borrowed(text),
            Some(message) => Cow::Owned(message.text()),
        }
    }

    /// The text of the last result of a tool that the last answer called.
    pub(super) fn result(&self) -> Cow<'_, str> {
        self.results.first().map_or(Cow::Borrowed(""), |message| Cow::Owned(message.text()))
    }

    /// What hooks added to the request behind the user's last message, the last of it.
    pub(super) fn note(&self) -> Cow<'_, str> {
        self.notes.first().map_or(Cow::Borrowed(""), |message| Cow::Owned(message.text()))
    }

    fn suits(&self, step: &Step) -> bool {
        let place = match step.after_tool.as_deref() {
            Some("*") => !self.results.is_empty(),
            Some(tool) => self.results.iter().any(|result| result.name.as_deref() == Some(tool)),
            None => !step.is_conditional() || self.results.is_empty(),
        };
        place
            && step.turn.is_none_or(|turn| turn == self.turn)
            && step.prompt.as_ref().is_none_or(|pattern| pattern.is_match(&self.prompt()))
    }
}

fn is_of_hook(message: &Message) -> bool {
    message.metadata.get("source").is_some_and(|source| source == "hook")
}
