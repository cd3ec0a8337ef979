//! One step of a script: when it applies, and what it answers.
//!
//! Guarantees: a step that was made from a bundle's configuration is whole: its
//! pattern compiles, its error kind exists, no key was misspelled.

use std::time::Duration;

use amplifier_core::Usage;
use amplifier_core::module::provider::{ProviderErrorKind, StopReason};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::template::Template;
use crate::price::Usd;

/// One step of a script.
#[derive(Debug, Clone, Default)]
pub struct Step {
    pub(super) prompt: Option<Pattern>,
    pub(super) turn: Option<u64>,
    pub(super) after_tool: Option<String>,
    pub(super) times: Option<u32>,
    pub(super) text: Template,
    pub(super) thinking: Option<String>,
    pub(super) calls: Vec<(String, Value)>,
    pub(super) delay: Duration,
    pub(super) error: Option<Failure>,
    pub(super) usage: Option<Usage>,
    pub(super) cost_micro_usd: Option<u64>,
    pub(super) stop: Option<StopReason>,
}

/// What a prompt is compared with.
#[derive(Debug, Clone)]
pub(super) enum Pattern {
    /// The prompt holds this text.
    Holds(String),
    /// The prompt matches.
    Matches(Regex),
}

impl Pattern {
    /// `/…/` is a regular expression, anything else a text to be found.
    fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            Some(regex) => Regex::new(regex).map(Self::Matches).map_err(|error| {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
                format!("when.prompt `{text}` is no regular expression: {reason}")
            }),
            None => Ok(Self::Holds(text.to_owned())),
        }
    }

    pub(super) fn is_match(&self, prompt: &str) -> bool {
        match self {
            Self::Holds(text) => prompt.contains(text.as_str()),
            Self::Matches(regex) => regex.is_match(prompt),
        }
    }
}

/// A failure that a step plays.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) kind: ProviderErrorKind,
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
    /// How often before the step answers; `None`: always.
    pub(super) times: Option<u32>,
}

impl Step {
    /// A step that always applies and answers with a text. `{{prompt}}` stands for the user's message,
    /// `{{note}}` for what a hook added last,
    /// `{{result}}` for the last result of a tool, `{{result.data.files.0}}` for a part of it where it is JSON.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: Template::new(text), ..Self::default() }
    }

    /// A step that applies once and calls a tool.
    pub fn call(tool: impl Into<String>, arguments: Value) -> Self {
        Self { times: Some(1), ..Self::default() }.and_call(tool, arguments)
    }

    /// A step that fails each time.
    pub fn fails(kind: ProviderErrorKind) -> Self {
        let failure = Failure { kind, message: "a scripted failure".into(), retry_after: None, times: None };
        Self { error: Some(failure), ..Self::default() }
    }

    /// Calls one more tool in the same answer.
    #[must_use]
    pub fn and_call(mut self, tool: impl Into<String>, arguments: Value) -> Self {
        self.calls.push((tool.into(), arguments));
        self
    }

    /// Applies only to prompts that hold this text, right after the prompt.
    #[must_use]
    pub fn when_prompt_holds(mut self, text: impl Into<String>) -> Self {
        self.prompt = Some(Pattern::Holds(text.into()));
        self
    }

    /// Applies only to the n-th user message of the conversation, counted from 1, right after it.
    #[must_use]
    pub fn when_turn(mut self, turn: u64) -> Self {
        self.turn = Some(turn);
        self
    }

    /// Applies only when the last answer had this tool called; `*` is any tool.
    #[must_use]
    pub fn after_tool(mut self, tool: impl Into<String>) -> Self {
        self.after_tool = Some(tool.into());
        self
    }

    /// Applies at most this often in one session.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Waits before it answers, by the session's clock.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Reasons before it answers.
    #[must_use]
    pub fn thinking(mut self, thinking: impl Into<String>) -> Self {
        self.thinking = Some(thinking.into());
        self
    }

    /// Fails this often before it answers.
    #[must_use]
    pub fn after_failures(
        mut self,
        kind: ProviderErrorKind,
        retry_after: Option<Duration>,
        times: u32,
    ) -> Self {
        let message = "a scripted failure".into();
        self.error = Some(Failure { kind, message, retry_after, times: Some(times) });
        self
    }

    /// Reports this usage.
    #[must_use]
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    /// Reports this cost, in millionths of a US dollar.
    #[must_use]
    pub fn cost_micro_usd(mut self, cost: u64) -> Self {
        self.cost_micro_usd = Some(cost);
        self
    }

    /// Says that the model stopped for this reason.
    #[must_use]
    pub fn stop(mut self, stop: StopReason) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Reads a step of a bundle.
    pub(super) fn parse(given: &Value) -> Result<Self, String> {
        let given = Given::deserialize(given).map_err(|error| error.to_string())?;
        given.step()
    }

    /// True if the step names a condition.
    pub(super) fn is_conditional(&self) -> bool {
        self.prompt.is_some() || self.turn.is_some() || self.after_tool.is_some()
    }
}

/// A step as a bundle writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    #[serde(default)]
    when: GivenWhen,
    text: Option<String>,
    thinking: Option<String>,
    #[serde(default)]
    tool_calls: Vec<GivenCall>,
    #[serde(default)]
    delay_ms: u64,
    error: Option<GivenError>,
    usage: Option<Usage>,
    cost_usd: Option<Usd>,
    stop: Option<StopReason>,
    times: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenWhen {
    prompt: Option<String>,
    turn: Option<u64>,
    after_tool: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenCall {
    #[serde(alias = "name")]
    tool: String,
    #[serde(default, alias = "input")]
    arguments: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenError {
    kind: ProviderErrorKind,
    message: Option<String>,
    retry_after_ms: Option<u64>,
    times: Option<u32>,
}

impl Given {
    fn step(self) -> Result<Step, String> {
        if self.text.is_none() && self.tool_calls.is_empty() && self.error.is_none() {
            return Err("nothing to answer; give text, tool_calls or error".into());
        }
        if self.when.turn == Some(0) {
            return Err("when.turn is 0; user messages are counted from 1".into());
        }
        let prompt = self.when.prompt.as_deref().map(Pattern::parse).transpose()?;
        let mut step = Step {
            prompt,
            turn: self.when.turn,
            after_tool: self.when.after_tool,
            times: self.times,
            text: Template::new(self.text.unwrap_or_default()),
            thinking: self.thinking,
            calls: self.tool_calls.into_iter().map(|call| (call.tool, call.arguments)).collect(),
            delay: Duration::from_millis(self.delay_ms),
            error: self.error.map(GivenError::failure),
            usage: self.usage,
            cost_micro_usd: self.cost_usd.map(|cost| cost.0),
            stop: self.stop,
        };
        // Unbounded, it would answer its own tools' results with the same calls for ever.
        if !step.calls.is_empty() && !step.is_conditional() {
            step.times = step.times.or(Some(1));
        }
        Ok(step)
    }
}

impl GivenError {
    fn failure(self) -> Failure {
        Failure {
            kind: self.kind,
            message: self.message.unwrap_or_else(|| "a scripted failure".into()),
            retry_after: self.retry_after_ms.map(Duration::from_millis),
            times: self.times,
        }
    }
}
