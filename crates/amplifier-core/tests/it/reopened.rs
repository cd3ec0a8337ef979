//! Sessions that go on after they were cut off in the middle of tool calls.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use amplifier_core::hook::Verdict;
use amplifier_core::message::{EXTERNAL, INTERRUPTED};
use amplifier_core::module::tool::Repeat;
use amplifier_core::permission::{Access, Layer, Mode, Permissions};
use amplifier_core::turn::TurnError;
use amplifier_core::*;

use crate::support::*;

/// A session whose last round of calls has no results but that of its second call.
fn reopened(kit: Kit, names: &[&str], with: impl FnOnce(Permissions) -> Permissions) -> Bench {
    let kit = Kit { activation: Activation::FIRST.next(), ..kit };
    let permissions = with(Permissions::unrestricted());
    let mut bench = kit.build_with(|builder| builder.permissions(permissions));
    let mut said = Message::assistant("I look");
    said.tool_calls = names.iter().enumerate().map(|(n, name)| call(&format!("c{n}"), name)).collect();
    let mut open = said.tool_calls.clone();
    let there = open.remove(1);
    let held = vec![
        Arc::new(Message::user("go")),
        Arc::new(said),
        Arc::new(Message::tool_result(&there, "it was there", false)),
    ];
    bench.transcript.held.lock().unwrap().extend(held.iter().cloned());
    bench.driver.restore(held, open);
    bench
}

fn mixed() -> Kit {
    Kit::new(vec![Answer::Text("I see")])
        .repeatable("pure", Does::Answers, Repeat::Pure)
        .repeatable("same", Does::Answers, Repeat::Idempotent)
        .tool("never", Does::Answers)
        .repeatable("broken", Does::Panics, Repeat::Pure)
}

const NAMES: [&str; 7] = ["same", "pure", "never", "pure", "gone", "broken", "same"];

fn calls(bench: &Bench) -> Vec<usize> {
    bench.tools.iter().map(|tool| tool.calls.lock().unwrap().len()).collect()
}

/// The texts of the results that were given at the resume; `!` for one that is marked interrupted.
fn given(bench: &Bench) -> Vec<String> {
    let one = |message: &Arc<Message>| match message.metadata.contains_key(INTERRUPTED) {
        true => "!".to_owned(),
        false => message.text(),
    };
    bench.held().iter().skip(3).filter(|message| message.role == Role::Tool).map(one).collect()
}

#[test]
fn calls_that_may_be_repeated_run_again_and_the_others_are_marked_interrupted() {
    let mut bench = reopened(mixed(), &NAMES, |all| all);
    assert_eq!(bench.turn().unwrap().text, "I see");
    assert_eq!(given(&bench), ["same ran", "!", "pure ran", "!", "!", "same ran"]);
    assert_eq!(calls(&bench), [1, 2, 0, 0]);
    let held = bench.held();
    assert_calls_have_one_result_each(&held);
    let ids: Vec<_> = held[2..9].iter().map(|message| message.tool_call_id.as_deref().unwrap()).collect();
    assert_eq!(ids, ["c1", "c0", "c2", "c3", "c4", "c5", "c6"], "in the order of the calls");
    assert_eq!((held[9].role, held.len()), (Role::User, 11));
    assert_eq!(bench.provider.request_texts(0)[2..4], ["it was there", "same ran"]);
    assert_eq!(bench.provider.request_texts(0).len(), 10);
    let told = bench.hook.data(EventType::ProviderToolSequenceRepaired);
    assert_eq!((told.len(), &told[0]["repaired"], &told[0]["repeated"]), (1, &3.into(), &3.into()));
    bench.turn().unwrap();
    assert_eq!((calls(&bench), bench.held().len()), (vec![1, 2, 0, 0], 13), "once, not at each turn");
}

#[test]
fn a_repeated_call_passes_hooks_and_permissions() {
    let deny = Verdict::Deny { reason: "not now".into() };
    let kit = Kit::new(vec![]).verdict(EventType::ToolPre, deny).repeatable("t", Does::Answers, Repeat::Pure);
    let mut bench = reopened(kit, &["t", "t"], |all| all);
    bench.turn().unwrap();
    assert_eq!((given(&bench), calls(&bench)), (vec!["refused by recorder: not now".to_owned()], vec![0]));

    let write = Access::Write(permission::ResolvedPath::vouched("/w/x".into()));
    let kit = Kit::new(vec![]).repeatable("t", Does::Touches(write), Repeat::Idempotent);
    let mut bench = reopened(kit, &["t", "t"], |all| {
        all.with(Layer::of_mode("mode plan", Mode::Plan, vec!["/w".into()]))
    });
    bench.turn().unwrap();
    assert!(given(&bench)[0].starts_with("permission denied"), "{:?}", given(&bench));
    assert_eq!(calls(&bench), [0]);
}

#[test]
fn a_session_that_is_asked_to_stop_repeats_nothing() {
    for level in [CancelLevel::Graceful, CancelLevel::Immediate] {
        let mut bench = reopened(mixed(), &NAMES, |all| all);
        bench.session.cancel(level);
        assert!(matches!(bench.turn(), Err(TurnError::Cancelled)));
        assert_eq!(given(&bench), ["!"; 6]);
        assert_eq!(calls(&bench), [0; 4]);
        assert_calls_have_one_result_each(&bench.held());
    }
}

#[test]
fn a_call_that_another_program_made_is_never_run_here() {
    let kit = Kit { activation: Activation::FIRST.next(), ..mixed() };
    let mut bench = kit.build_with(|builder| builder);
    let mut said = Message::assistant("");
    let mut made = call("c1", "pure");
    made.extra.insert(EXTERNAL.into(), "claude".into());
    said.tool_calls = vec![made.clone()];
    bench.driver.restore(vec![Arc::new(Message::user("go")), Arc::new(said)], vec![made]);
    bench.turn().unwrap();
    assert_eq!(calls(&bench), [0; 4]);
    let results = bench.held().iter().filter(|message| message.metadata.contains_key(INTERRUPTED)).count();
    assert_eq!(results, 1);
}

/// Cancels at the n-th poll. False once the turn has fewer polls.
fn cut_at(level: CancelLevel, n: usize) -> bool {
    let mut bench = reopened(mixed(), &NAMES, |all| all);
    let cancel = bench.cancel.clone();
    let mut cut = false;
    let result = {
        let turn = pin!(bench.driver.turn("hi".into()));
        polled(turn, |poll| {
            if poll == n {
                cut = true;
                cancel.cancel(level, CancelReason::Requested);
            }
        })
        .expect("a cut turn ends by itself")
    };
    let held = bench.held();
    assert_calls_have_one_result_each(&held);
    let remembered = bench.session.messages().to_vec();
    assert!(
        held.len() == remembered.len() && held.iter().zip(&remembered).all(|(a, b)| Arc::ptr_eq(a, b)),
        "cut at {n}: the transcript and the conversation differ"
    );
    assert!(matches!(result, Ok(_) | Err(TurnError::Cancelled)), "cut at {n}");
    cut
}

#[test]
fn a_cut_at_any_poll_of_a_repetition_leaves_each_call_with_one_result() {
    for level in [CancelLevel::Immediate, CancelLevel::Graceful] {
        let cuts = (0..).take_while(|n| cut_at(level, *n)).count();
        assert!(cuts > 8, "the turn has only {cuts} points to cut at");
    }
}

#[test]
fn without_durable_results_no_model_is_asked() {
    let mut bench = reopened(mixed(), &NAMES, |all| all);
    bench.transcript.fails.store(true, Ordering::Release);
    assert!(matches!(bench.turn(), Err(TurnError::Transcript(_))));
    assert_eq!((bench.provider.requests(), bench.held().len()), (0, 3));
    assert_eq!(bench.hook.count(EventType::ProviderToolSequenceRepaired), 0);
}

#[test]
fn a_session_without_open_calls_says_nothing_of_a_repair() {
    let kit = Kit { activation: Activation::FIRST.next(), ..mixed() };
    let mut bench = kit.build();
    bench.driver.restore(vec![Arc::new(Message::user("go")), Arc::new(Message::assistant("there"))], vec![]);
    bench.turn().unwrap();
    assert_eq!(bench.hook.count(EventType::ProviderToolSequenceRepaired), 0);
    assert_eq!(bench.held().len(), 2);
}
