//! Views of random conversations, and of those that grow.

use std::collections::HashSet;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use amplifier_core::message::{Role, ToolCall};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn simple(max_tokens: u64) -> Simple {
    Simple { settings: Settings { max_tokens, ..Settings::default() }, state: Mutex::default() }
}

fn budget(reserved: u64, squeeze: bool) -> ViewBudget {
    let mut budget = ViewBudget::default();
    budget.reserved_tokens = reserved;
    budget.squeeze = squeeze;
    budget
}

fn view(context: &Simple, reserved: u64, squeeze: bool) -> ContextView {
    let future = pin!(context.view(budget(reserved, squeeze)));
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(view) => view,
        Poll::Pending => unreachable!("a view waits for nothing"),
    }
}

fn texts(view: &ContextView) -> Vec<String> {
    view.messages.to_vec().iter().map(|message| message.text()).collect()
}

/// A part of a conversation that providers accept only whole.
#[derive(Debug, Clone)]
enum Unit {
    User(usize),
    Instruction(usize),
    Answer(usize),
    /// An answer with calls whose results have these sizes.
    Calls(Vec<usize>),
}

fn unit() -> impl Strategy<Value = Unit> {
    let size = 0usize..600;
    prop_oneof![
        3 => size.clone().prop_map(Unit::User),
        1 => (0usize..40).prop_map(Unit::Instruction),
        3 => size.clone().prop_map(Unit::Answer),
        4 => prop::collection::vec(size, 1..4).prop_map(Unit::Calls),
    ]
}

fn messages_of(units: &[Unit]) -> Vec<Arc<Message>> {
    let mut all = Vec::new();
    let text = |n: usize, size: usize| format!("{n} {}", "x".repeat(size));
    for (n, unit) in units.iter().enumerate() {
        match unit {
            Unit::User(size) => all.push(Message::user(text(n, *size))),
            Unit::Instruction(size) => all.push(Message::new(Role::Developer, text(n, *size))),
            Unit::Answer(size) => all.push(Message::assistant(text(n, *size))),
            Unit::Calls(sizes) => {
                let call = |k: usize| ToolCall::new(format!("{n}-{k}"), "t", Value::Null);
                let mut message = Message::assistant("");
                message.tool_calls = (0..sizes.len()).map(call).collect();
                let calls = message.tool_calls.clone();
                all.push(message);
                // Results may come in any order.
                let results = calls.iter().zip(sizes).rev();
                all.extend(results.map(|(call, size)| Message::tool_result(call, "x".repeat(*size), false)));
            }
        }
    }
    all.into_iter().map(Arc::new).collect()
}

fn assert_nothing_dangles(messages: &[Arc<Message>]) {
    let mut open = HashSet::new();
    for message in messages {
        match message.role {
            Role::Tool => {
                assert!(open.remove(message.tool_call_id.as_deref().unwrap()), "a result without call")
            }
            _ => assert!(open.is_empty(), "a call without results: {open:?}"),
        }
        open.extend(message.tool_calls.iter().map(|call| call.id.as_str()));
    }
    assert!(open.is_empty());
}

proptest! {
    #[test]
    fn any_view_is_a_conversation_that_providers_accept(
        units in prop::collection::vec(unit(), 1..60),
        max_tokens in 50u64..4_000,
        reserved in 0u64..200,
        steps in 1usize..5,
        squeeze in any::<bool>(),
    ) {
        let context = simple(max_tokens);
        let all = messages_of(&units);
        // Appended in pieces between which views are made, as a session does.
        let borders: Vec<usize> = (0..all.len()).filter(|at| all[*at].role != Role::Tool).collect();
        let mut done = 0;
        for step in 1..=steps {
            let end = if step == steps { all.len() } else { borders[borders.len() * step / steps].max(done) };
            context.append(&all[done..end]);
            done = end;
            let view = view(&context, reserved, squeeze && step == steps);
            let shown = view.messages.to_vec();
            assert_nothing_dangles(&shown);
            let total: u64 = shown.iter().map(|message| message.estimated_tokens()).sum();
            prop_assert_eq!(view.tokens, total);
            assert_order_and_keeps(&all[..done], &view);
            assert_fits(&all[..done], &view, max_tokens, reserved);
            let kept = context.messages().to_vec();
            prop_assert!(kept.len() == done && kept.iter().zip(&all).all(|(a, b)| Arc::ptr_eq(a, b)));
        }
    }
}

/// The view is a part of the conversation in its order, with one note where something is missing.
fn assert_order_and_keeps(all: &[Arc<Message>], view: &ContextView) {
    let place = |shown: &Arc<Message>| all.iter().position(|message| Arc::ptr_eq(message, shown));
    let shown = view.messages.to_vec();
    let places: Vec<usize> = shown.iter().filter_map(place).collect();
    assert!(places.is_sorted_by(|a, b| a < b));
    assert_eq!(places.len() + view.left_out, all.len());
    let notes: Vec<String> =
        shown.iter().filter(|message| place(message).is_none()).map(|message| message.text()).collect();
    match view.left_out {
        0 => assert!(notes.is_empty()),
        n => assert_eq!(notes, [format!("[{n} earlier messages left out]")]),
    }
    for (index, message) in all.iter().enumerate() {
        let last_prompt = all.iter().rposition(|message| message.role == Role::User) == Some(index);
        if last_prompt || message.role == Role::Developer {
            assert!(places.contains(&index), "message {index} must be shown");
        }
    }
}

/// A view that is too long shows nothing that could have been left out.
fn assert_fits(all: &[Arc<Message>], view: &ContextView, max_tokens: u64, reserved: u64) {
    if view.tokens + reserved <= max_tokens {
        return;
    }
    let Some(last_border) = all.iter().rposition(|message| message.role != Role::Tool) else { return };
    let prompts: Vec<usize> = (0..all.len()).filter(|at| all[*at].role == Role::User).collect();
    let place = |shown: &Arc<Message>| all.iter().position(|message| Arc::ptr_eq(message, shown));
    for at in view.messages.to_vec().iter().filter_map(place).filter(|at| *at < last_border) {
        let pinned =
            all[at].role == Role::Developer || prompts.first() == Some(&at) || prompts.last() == Some(&at);
        assert!(pinned, "message {at} takes room although the view is too long");
    }
}

fn long(n: usize) -> Vec<Arc<Message>> {
    let prompt = Message::user("the task");
    let pair = |n: usize| [Message::assistant("x".repeat(396)), Message::user(format!("{n}"))];
    std::iter::once(prompt).chain((0..n).flat_map(pair)).map(Arc::new).collect()
}

#[test]
fn a_view_is_whole_below_the_threshold_and_short_above() {
    let context = simple(1_000);
    context.append(&long(7));
    assert_eq!(view(&context, 0, false).left_out, 0);
    assert!(view(&context, 700, false).left_out > 0, "what is reserved counts too");
    context.append(&long(1));
    let short = view(&context, 0, false);
    assert!(short.left_out > 0 && short.tokens <= 500);
    assert_eq!(texts(&short)[0], "the task");
    assert_eq!(texts(&short)[1], format!("[{} earlier messages left out]", short.left_out));
}

#[test]
fn a_cut_stays_where_it_is_until_the_view_is_too_long_again() {
    let context = simple(1_000);
    context.append(&long(20));
    let first = view(&context, 0, false);
    let mut moved = 0;
    let mut last = first.left_out;
    for _ in 0..20 {
        context.append(&long(1)[1..]);
        let next = view(&context, 0, false);
        assert!(next.tokens <= 800);
        moved += usize::from(next.left_out != last);
        last = next.left_out;
    }
    assert!((1..=7).contains(&moved), "the cut moved {moved} times");
}

#[test]
fn a_squeezed_view_is_half_and_stays_below_what_was_refused() {
    let context = simple(1_000_000);
    context.append(&long(50));
    let refused = view(&context, 100, false);
    assert_eq!(refused.left_out, 0);
    let squeezed = view(&context, 100, true);
    assert!(squeezed.tokens + 100 <= (refused.tokens + 100) / 4, "half of the target usage");
    context.append(&long(1));
    let next = view(&context, 100, false);
    assert!(next.left_out > 0 && next.tokens < refused.tokens, "the refused length is not tried again");
}

#[test]
fn without_auto_compact_nothing_is_left_out() {
    let mut context = simple(10);
    context.settings.auto_compact = false;
    context.append(&long(9));
    assert_eq!(view(&context, 0, true).left_out, 0);
}

#[test]
fn what_a_hook_said_is_not_taken_for_the_prompt() {
    let context = simple(300);
    let mut reminder = Message::user("reminder");
    reminder.metadata.insert("source".into(), "hook".into());
    let mut all = long(3);
    all.push(Arc::new(Message::user("the question")));
    let answers = (0..9).map(|_| Message::assistant("x".repeat(200)));
    all.extend(answers.map(Arc::new));
    all.push(Arc::new(reminder));
    context.append(&all);
    let shown = texts(&view(&context, 0, false));
    assert_eq!(shown[0], "the task");
    assert!(shown.contains(&"the question".to_owned()) && shown.contains(&"reminder".to_owned()));
}

#[test]
fn a_resumed_conversation_replaces_the_old_one() {
    let context = simple(1_000);
    context.append(&long(20));
    context.replace(vec![Arc::new(Message::user("again"))]);
    assert_eq!(texts(&view(&context, 0, false)), ["again"]);
}

#[test]
fn settings_out_of_range_are_refused() {
    for (config, expected) in [
        (json!({"max_tokens": 0}), "max_tokens is 0"),
        (json!({"compact_threshold": 80}), "compact_threshold is 80"),
        (json!({"target_usage": 0.0}), "target_usage is 0"),
    ] {
        let settings: Settings = serde_json::from_value(config).unwrap();
        assert!(settings.check().unwrap_err().contains(expected));
    }
}
