//! A conversation as rounds: one message, or a message with tool calls and its results.
//!
//! Guarantees: rounds follow one another without a gap; only the first message of a round is no
//! tool result.

use std::sync::Arc;

use amplifier_core::{Message, Role};

/// The rounds of a conversation, in order.
pub(super) fn of(messages: &[Arc<Message>]) -> impl Iterator<Item = &[Arc<Message>]> {
    let mut rest = messages;
    std::iter::from_fn(move || {
        let behind = rest.get(1..)?;
        let results = behind.iter().take_while(|message| message.role == Role::Tool).count();
        let (round, more) = rest.split_at(1 + results);
        rest = more;
        Some(round)
    })
}

/// The longest beginning of the conversation in which each call has its result, and each result its call.
pub(super) fn whole(messages: &[Arc<Message>]) -> &[Arc<Message>] {
    let count: usize = of(messages).take_while(|round| is_whole(round)).map(<[_]>::len).sum();
    &messages[..count]
}

/// True if the results answer the calls, each exactly once, in any order.
fn is_whole(round: &[Arc<Message>]) -> bool {
    let Some((first, results)) = round.split_first() else { return true };
    let mut called: Vec<Option<&str>> = first.tool_calls.iter().map(|call| Some(call.id.as_str())).collect();
    let mut answered: Vec<Option<&str>> = results.iter().map(|one| one.tool_call_id.as_deref()).collect();
    called.sort_unstable();
    answered.sort_unstable();
    first.role != Role::Tool && called == answered
}
