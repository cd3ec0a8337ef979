//! Which part of a parent's conversation a child is given, and in which form.
//!
//! Two forms: **quoted** puts the text of the conversation in front of the instruction, in the
//! reference system's words; **fork** begins the child's own conversation with the parent's messages.
//! Depth is applied first, then scope.
//! Guarantees: neither form changes a message. A fork shares the parent's messages and keeps their
//! order, so a service's prompt cache still matches; with all of the conversation in full scope it is a
//! prefix of it. It holds no tool call without its result and no result without its call, in any
//! combination. What is quoted cannot end the quotation.
//! Never here: reading a transcript, or sending anything.

mod rounds;

use std::sync::Arc;

use amplifier_core::{Message, Role};
use serde::{Deserialize, Serialize};

/// Most characters of one quoted message.
pub const MAX_QUOTED_CHARS: usize = 2_000;
/// Most characters of one quoted tool result in [`ContextScope::Full`].
pub const MAX_QUOTED_RESULT_CHARS: usize = 4_000;

/// Tools whose results are answers of other agents.
const AGENT_TOOLS: [&str; 2] = ["delegate", "task"];

const BEGIN: &str = "[PARENT CONVERSATION CONTEXT]";
const INTRODUCTION: &str = "The following is recent conversation history from the parent session:";
const END: &str = "[END PARENT CONTEXT]";
const TASK: &str = "[YOUR TASK]";

/// How far back a child sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ContextDepth {
    /// Nothing.
    #[default]
    None,
    /// The last turns. A turn is a user message and all that follows it; what a hook says in the user's
    /// place begins none. The turn that is running counts.
    Recent(u32),
    /// From the beginning.
    All,
}

/// Which messages a child sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ContextScope {
    /// What the user and the model said.
    #[default]
    Conversation,
    /// That, and what other agents answered: the results of `delegate` and `task`.
    Agents,
    /// Everything, with all tool results and what hooks added.
    Full,
}

/// How a child is given it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ContextForm {
    /// As text in front of the instruction.
    #[default]
    Quoted,
    /// As the beginning of its own conversation.
    Fork,
}

/// What a child is given of its parent's conversation. The default is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ContextRequest {
    /// How far back.
    pub depth: ContextDepth,
    /// Which messages.
    pub scope: ContextScope,
    /// In which form.
    pub form: ContextForm,
}

impl ContextRequest {
    /// A part of the conversation, as text.
    pub fn quoted(depth: ContextDepth, scope: ContextScope) -> Self {
        Self { depth, scope, form: ContextForm::Quoted }
    }

    /// A part of the conversation, as the beginning of the child's own.
    pub fn fork(depth: ContextDepth, scope: ContextScope) -> Self {
        Self { depth, scope, form: ContextForm::Fork }
    }

    /// True if the child is given nothing.
    pub fn is_none(&self) -> bool {
        matches!(self.depth, ContextDepth::None | ContextDepth::Recent(0))
    }
}

/// The first user message of a child: its instruction, behind the quotation where one is asked for.
pub fn framed(messages: &[Arc<Message>], request: &ContextRequest, instruction: &str) -> String {
    let quotation = match request.form {
        ContextForm::Quoted => quoted(messages, request),
        ContextForm::Fork => None,
    };
    match quotation {
        Some(quotation) => behind(&quotation, instruction),
        None => instruction.to_owned(),
    }
}

/// An instruction behind a quotation.
pub(super) fn behind(quotation: &str, instruction: &str) -> String {
    format!("{quotation}\n\n{TASK}\n{instruction}")
}

/// The quotation, whatever form is asked for; `None` where there is nothing to quote. A message longer than
/// [`MAX_QUOTED_CHARS`] is cut and says so; in full scope a tool result may have [`MAX_QUOTED_RESULT_CHARS`].
/// Reasoning and images are left out.
pub fn quoted(messages: &[Arc<Message>], request: &ContextRequest) -> Option<String> {
    let wanted = within(messages, request.depth);
    let lines: Vec<String> =
        (0..wanted.len()).filter_map(|at| line(&wanted[at], &wanted[..at], request.scope)).collect();
    (!lines.is_empty()).then(|| format!("{BEGIN}\n{INTRODUCTION}\n\n{}{END}", lines.concat()))
}

/// The messages that a child's conversation begins with, whatever form is asked for: the parent's own.
/// They end in front of the first round of tool calls that is not whole, which in a running turn is the one
/// that spawns the child. Outside of [`ContextScope::Full`] a round is left out whole, or in
/// [`ContextScope::Agents`] kept whole if it calls an agent. Unless it is a prefix of the parent's
/// conversation, the child's begins with a user message.
pub fn forked(messages: &[Arc<Message>], request: &ContextRequest) -> Vec<Arc<Message>> {
    let wanted = within(rounds::whole(messages), request.depth);
    let kept = match request.scope {
        ContextScope::Full => wanted.to_vec(),
        scope => rounds::of(wanted).filter(|round| keeps(round, scope)).flatten().cloned().collect(),
    };
    match (request.depth, request.scope) {
        (ContextDepth::All, ContextScope::Full) => kept,
        _ => kept.into_iter().skip_while(|message| message.role != Role::User).collect(),
    }
}

/// True if the scope wants this message or round.
fn keeps(round: &[Arc<Message>], scope: ContextScope) -> bool {
    let Some(first) = round.first() else { return false };
    let is_agent = |name: &str| AGENT_TOOLS.contains(&name);
    match first.tool_calls.is_empty() {
        true => !from_hook(first),
        false => scope == ContextScope::Agents && first.tool_calls.iter().any(|call| is_agent(&call.name)),
    }
}

/// The end of the conversation that lies within a depth.
fn within(messages: &[Arc<Message>], depth: ContextDepth) -> &[Arc<Message>] {
    let turns = match depth {
        ContextDepth::None | ContextDepth::Recent(0) => return &[],
        ContextDepth::All => return messages,
        ContextDepth::Recent(turns) => turns,
    };
    let begins = |at: &usize| messages[*at].role == Role::User && !from_hook(&messages[*at]);
    let earlier = usize::try_from(turns - 1).unwrap_or(usize::MAX);
    let start = (0..messages.len()).rev().filter(begins).nth(earlier);
    &messages[start.unwrap_or(0)..]
}

/// True for what a hook added to the conversation.
fn from_hook(message: &Message) -> bool {
    message.metadata.contains_key("source")
}

/// A message as it is quoted; `before` are those in front of it.
fn line(message: &Message, before: &[Arc<Message>], scope: ContextScope) -> Option<String> {
    let full = scope == ContextScope::Full;
    let text = message.text();
    if text.is_empty() || (from_hook(message) && !full) {
        return None;
    }
    Some(match message.role {
        Role::User => format!("USER: {}\n\n", cut(&text, MAX_QUOTED_CHARS)),
        Role::Assistant => format!("ASSISTANT: {}\n\n", cut(&text, MAX_QUOTED_CHARS)),
        Role::Tool => {
            let name = tool_of(message, before).unwrap_or("unknown");
            let (kind, limit) = match scope {
                ContextScope::Full => ("Tool", MAX_QUOTED_RESULT_CHARS),
                ContextScope::Agents if AGENT_TOOLS.contains(&name) => ("Agent", MAX_QUOTED_CHARS),
                _ => return None,
            };
            format!("ASSISTANT: [{kind} Result from {name}]: {}\n\n", cut(&text, limit))
        }
        _ => return None,
    })
}

/// The tool that gave a result: as the result says, else as the call does that it answers.
fn tool_of<'a>(result: &'a Message, before: &'a [Arc<Message>]) -> Option<&'a str> {
    let caller = || before.iter().rev().find(|message| message.role != Role::Tool);
    let called = || caller()?.tool_calls.iter().find(|call| Some(&call.id) == result.tool_call_id.as_ref());
    result.name.as_deref().or_else(|| Some(called()?.name.as_str()))
}

/// At most so many characters of a text, without marks that would end the quotation.
fn cut(text: &str, most: usize) -> String {
    let mut cut = match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}... [truncated]", &text[..end]),
        None => text.to_owned(),
    };
    for mark in [BEGIN, END, TASK] {
        // Lower case of ASCII alone keeps every byte in its place.
        let lower = cut.to_ascii_lowercase();
        for (at, found) in lower.match_indices(&mark.to_ascii_lowercase()) {
            let last = at + found.len() - 1;
            cut.replace_range(at..=at, "(");
            cut.replace_range(last..=last, ")");
        }
    }
    cut
}

#[cfg(test)]
mod tests;
