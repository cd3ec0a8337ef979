//! What one activation has used and learned so far.

use std::collections::HashSet;
use std::sync::Arc;

use crate::hook::Injection;
use crate::message::{Message, Role, ToolCall, Usage};
use crate::module::provider::ChatResponse;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Tokens so far.
    pub(crate) usage: Usage,
    /// Which of the session's choices is asked.
    pub(crate) choice: usize,
    /// True if the conversation holds answers of several providers, as far as is known.
    pub(crate) mixed: bool,
    /// Who answered last, as `provider/model`.
    pub(crate) model: Option<String>,
    /// Cost so far; `None` without an answer, and where the cost of one is not known.
    pub(crate) cost_micro_usd: Option<u64>,
    /// The cost of an answer is not known.
    unpriced: bool,
    /// Model calls so far.
    pub(crate) turns: u32,
    /// A call was denied that somebody could have allowed.
    pub(crate) denied_unasked: bool,
    /// What a person allowed for the rest of the session.
    pub(crate) approved: HashSet<String>,
    /// What hooks want to tell the model before its next answer.
    pub(crate) injections: Vec<Injection>,
    /// Estimated tokens that hooks have injected in this turn.
    pub(crate) injected_tokens: u64,
    /// Bytes of text and reasoning that the present attempt has streamed.
    pub(crate) streamed_bytes: u64,
    /// Text of the answer that is being streamed.
    pub(crate) partial: String,
    /// Text of the last whole answer.
    pub(crate) last_text: String,
    /// Appends that the storage has not answered yet: cut off now, nobody would know what it holds.
    pub(crate) appending: u32,
    /// Tool calls that have no result yet.
    open_calls: Vec<ToolCall>,
}

impl Ledger {
    pub(crate) fn account(&mut self, provider: &str, response: &ChatResponse) {
        self.model = Some(format!("{provider}/{}", response.model));
        self.spent(response.usage.unwrap_or_default(), response.cost_micro_usd);
        self.said(response.message.text());
    }

    pub(crate) fn spent(&mut self, usage: Usage, cost_micro_usd: Option<u64>) {
        self.usage += usage;
        self.unpriced |= cost_micro_usd.is_none();
        let sum = |cost| self.cost_micro_usd.unwrap_or(0).saturating_add(cost);
        self.cost_micro_usd = cost_micro_usd.map(sum).filter(|_| !self.unpriced);
    }

    pub(crate) fn said(&mut self, text: String) {
        self.partial.clear();
        if !text.is_empty() {
            self.last_text = text;
        }
    }

    pub(crate) fn track_calls(&mut self, messages: &[Arc<Message>]) {
        for message in messages {
            match message.role {
                Role::Assistant => self.open_calls.extend_from_slice(&message.tool_calls),
                Role::Tool => {
                    self.open_calls.retain(|call| Some(&call.id) != message.tool_call_id.as_ref());
                }
                _ => {}
            }
        }
    }

    /// Takes over calls of an earlier activation.
    pub(crate) fn reopen(&mut self, calls: Vec<ToolCall>) {
        self.open_calls = calls;
    }

    pub(crate) fn open_calls(&self) -> Vec<ToolCall> {
        self.open_calls.clone()
    }

    pub(crate) fn take_open_calls(&mut self) -> Vec<ToolCall> {
        std::mem::take(&mut self.open_calls)
    }

    /// What there is of an answer: the streamed part, else the last whole text.
    pub(crate) fn output_so_far(&self) -> String {
        if self.partial.is_empty() { self.last_text.clone() } else { self.partial.clone() }
    }
}
