//! Tool calls that never got an answer.
//!
//! Providers refuse a conversation in which a call has no result. Guarantees: each answer
//! made here is marked as interrupted and as an error, carries the call's id and name, and
//! stands in the order of the calls. Call ids that a provider uses again are told apart by
//! where they stand.
//! Never here: running a tool, or changing what is stored.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use amplifier_core::turn::interrupted_result;
use amplifier_core::{Message, Role, ToolCall};

/// The calls of the last assistant message that have no result. Empty if the conversation went on
/// after it; for gaps further up see [`completed`].
pub fn open_calls(messages: &[Arc<Message>]) -> Vec<ToolCall> {
    let results = messages.iter().rev().take_while(|message| message.role == Role::Tool).count();
    let after = messages.len() - results;
    match after.checked_sub(1) {
        Some(caller) => missing(&messages[caller], &messages[after..]).cloned().collect(),
        None => Vec::new(),
    }
}

/// [`completed`] for a conversation that goes on: the calls at its end that have no result stay open,
/// and are returned beside it. Each needs its answer, in this order, before anything else.
pub fn reopened(messages: &[Arc<Message>]) -> (Vec<Arc<Message>>, Vec<ToolCall>) {
    let open = open_calls(messages);
    let mut whole = completed(messages);
    // Nothing stands behind the answers to the last round.
    whole.truncate(whole.len().saturating_sub(open.len()));
    (whole, open)
}

/// The conversation as providers take it: each call has exactly one answer, right behind its
/// message. A result that stands further down is moved there, a call without one gets an
/// interrupted one, and a result that answers no call is left out. Shares all other messages.
pub fn completed(messages: &[Arc<Message>]) -> Vec<Arc<Message>> {
    let mut whole = Vec::with_capacity(messages.len());
    let mut moved = HashSet::new();
    let mut next = 0;
    while let Some(message) = messages.get(next) {
        let results = results_behind(messages, next);
        let answers: Vec<Arc<Message>> = missing(message, &messages[results.clone()])
            .map(|call| match stray(messages, results.end, &call.id, &mut moved) {
                Some(result) => Arc::clone(result),
                None => Arc::new(interrupted_result(call)),
            })
            .collect();
        if message.role != Role::Tool {
            whole.push(Arc::clone(message));
        }
        whole.extend(in_place(message, &messages[results.clone()]));
        whole.extend(answers);
        next = results.end;
    }
    whole
}

/// The results that answer a call of the message, each call's first one.
fn in_place(caller: &Message, results: &[Arc<Message>]) -> Vec<Arc<Message>> {
    let mut open: HashSet<&str> = caller.tool_calls.iter().map(|call| call.id.as_str()).collect();
    let answers = |result: &&Arc<Message>| result.tool_call_id.as_deref().is_some_and(|id| open.remove(id));
    results.iter().filter(answers).cloned().collect()
}

/// The result of a call that stands too far down, before the id is called again; each is taken once.
fn stray<'a>(
    messages: &'a [Arc<Message>],
    from: usize,
    id: &str,
    taken: &mut HashSet<usize>,
) -> Option<&'a Arc<Message>> {
    let rest = messages.iter().enumerate().skip(from);
    let mut until_again =
        rest.take_while(|(_, message)| !message.tool_calls.iter().any(|call| call.id == id));
    let is_result =
        |message: &Message| message.role == Role::Tool && message.tool_call_id.as_deref() == Some(id);
    let (at, result) = until_again.find(|(at, message)| is_result(message) && !taken.contains(at))?;
    taken.insert(at);
    Some(result)
}

fn results_behind(messages: &[Arc<Message>], caller: usize) -> Range<usize> {
    let start = caller + 1;
    let count = messages[start..].iter().take_while(|message| message.role == Role::Tool).count();
    start..start + count
}

fn missing<'a>(caller: &'a Message, results: &[Arc<Message>]) -> impl Iterator<Item = &'a ToolCall> {
    let answered: HashSet<String> = results.iter().filter_map(|result| result.tool_call_id.clone()).collect();
    caller.tool_calls.iter().filter(move |call| !answered.contains(&call.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use amplifier_core::message::INTERRUPTED;
    use serde_json::Value;

    /// `u` user, `a` assistant, `a:1,2` assistant with calls, `t:1` a result.
    fn conversation(script: &str) -> Vec<Arc<Message>> {
        let one = |step: &str| {
            let (who, ids) = step.split_once(':').unwrap_or((step, ""));
            let calls =
                ids.split(',').filter(|id| !id.is_empty()).map(|id| ToolCall::new(id, "bash", Value::Null));
            let mut message = match who {
                "u" => Message::user("u"),
                "a" => Message::assistant("a"),
                _ => Message::tool_result(&ToolCall::new(ids, "bash", Value::Null), "ok", false),
            };
            if who == "a" {
                message.tool_calls = calls.collect();
            }
            Arc::new(message)
        };
        script.split_whitespace().map(one).collect()
    }

    fn script(messages: impl IntoIterator<Item = Arc<Message>>) -> String {
        let one = |message: Arc<Message>| match message.role {
            Role::User => "u".to_owned(),
            Role::Tool if message.metadata.contains_key(INTERRUPTED) => {
                assert!(message.is_error());
                assert_eq!(message.name.as_deref(), Some("bash"));
                format!("!:{}", message.tool_call_id.clone().unwrap())
            }
            Role::Tool => format!("t:{}", message.tool_call_id.clone().unwrap()),
            _ => "a".to_owned(),
        };
        messages.into_iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn calls_without_result_at_the_end_are_answered_in_call_order() {
        for (given, expected) in [
            ("", ""),
            ("u", ""),
            ("u a", ""),
            ("u a:1,2,3", "!:1 !:2 !:3"),
            ("u a:1,2,3 t:2", "!:1 !:3"),
            ("u a:1 t:1", ""),
            ("u a:1 t:1 a:1", "!:1"),
            ("u a:1 u", ""),
            ("t:1", ""),
        ] {
            let messages = conversation(given);
            let answers: Vec<_> =
                open_calls(&messages).iter().map(interrupted_result).map(Arc::new).collect();
            assert_eq!(script(answers.clone()), expected, "{given}");
            let (mut goes_on, open) = reopened(&messages);
            assert_eq!(open.len(), answers.len(), "{given}");
            goes_on.extend(answers);
            assert_eq!(script(goes_on), script(completed(&messages)), "{given}");
        }
    }

    #[test]
    fn gaps_anywhere_are_closed_where_they_are() {
        for (given, expected) in [
            ("u a:1,2 t:2 u a:1 t:1 a", "u a t:2 !:1 u a t:1 a"),
            ("u a:1 u a:2", "u a !:1 u a !:2"),
            ("u a:1 t:1 a", "u a t:1 a"),
            ("u a:1,2 t:2 u t:1 a", "u a t:2 t:1 u a"),
            ("u a:1 u a:1 t:1", "u a !:1 u a t:1"),
            ("u a:1 t:1 t:1 t:9 a t:8 u t:7", "u a t:1 a u"),
            ("t:1 u a", "u a"),
        ] {
            assert_eq!(script(completed(&conversation(given))), expected, "{given}");
        }
    }
}
