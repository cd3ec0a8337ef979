//! Turns that are cut off: at every point there is.

use std::pin::pin;
use std::sync::Arc;

use amplifier_core::turn::TurnError;
use amplifier_core::*;

use crate::support::*;

fn two_rounds_of_tools() -> Kit {
    Kit::new(vec![
        Answer::Calls(vec![call("c1", "a"), call("c2", "a")]),
        Answer::Calls(vec![call("c3", "b")]),
        Answer::Text("the end"),
    ])
    .tool("a", Does::Answers)
    .tool("b", Does::Fails)
}

/// Cancels at the n-th poll of a turn. False once the turn has fewer polls.
fn cut_at(level: CancelLevel, n: usize) -> bool {
    let mut bench = two_rounds_of_tools().build();
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
    assert_eq!(
        bench.hook.count(EventType::ExecutionStart),
        bench.hook.count(EventType::ExecutionEnd),
        "cut at {n}"
    );
    match result {
        Ok(reply) => assert_eq!(reply.text, "the end"),
        Err(error) => assert!(matches!(error, TurnError::Cancelled), "cut at {n}: {error}"),
    }
    cut
}

#[test]
fn a_cut_at_any_poll_leaves_each_call_with_one_result() {
    for level in [CancelLevel::Immediate, CancelLevel::Graceful] {
        let cuts = (0..).take_while(|n| cut_at(level, *n)).count();
        assert!(cuts > 20, "the turn has only {cuts} points to cut at");
    }
}

#[test]
fn immediate_cancellation_in_a_tool_marks_its_result_interrupted() {
    let mut bench = Kit::new(vec![Answer::Calls(vec![call("c1", "slow"), call("c2", "slow")])])
        .tool("slow", Does::Hangs)
        .build();
    let error = bench.turn_cancelled_when_idle(CancelLevel::Immediate).unwrap_err();
    assert!(matches!(error, TurnError::Cancelled));
    assert_eq!(bench.hook.count(EventType::ExecutionEnd), 1);
    let held = bench.held();
    assert_calls_have_one_result_each(&held);
    let interrupted = held.iter().filter(|message| message.metadata.contains_key("interrupted"));
    assert_eq!(interrupted.count(), 2);
    let outcome = bench.driver.outcome_of(&Err(error));
    assert_eq!(outcome.kind, OutcomeKind::Cancelled);
}

#[test]
fn graceful_cancellation_stops_a_model_call_but_not_a_tool() {
    let mut bench = Kit::new(vec![Answer::Hangs]).build();
    assert!(matches!(bench.turn_cancelled_when_idle(CancelLevel::Graceful), Err(TurnError::Cancelled)));

    let mut bench = Kit::new(vec![Answer::Calls(vec![call("c1", "slow")])]).tool("slow", Does::Hangs).build();
    let cancel = bench.cancel.clone();
    let mut turn = pin!(bench.driver.turn("hi".into()));
    assert!(idle(turn.as_mut()).is_none());
    cancel.cancel(CancelLevel::Graceful, CancelReason::Requested);
    assert!(idle(turn).is_none(), "the tool goes on");
}

#[test]
fn a_turn_of_a_cancelled_session_does_nothing() {
    let mut bench = Kit::new(vec![]).build();
    bench.session.cancel(CancelLevel::Graceful);
    assert!(matches!(bench.turn(), Err(TurnError::Cancelled)));
    assert!(bench.held().is_empty());
    assert_eq!(bench.provider.requests(), 0);
}

#[test]
fn hooks_hear_of_a_cancellation() {
    let mut bench = Kit::new(vec![Answer::Hangs]).build();
    let _ = bench.turn_cancelled_when_idle(CancelLevel::Immediate);
    assert_eq!(bench.hook.data(EventType::CancelRequested)[0]["level"], "immediate");
    assert_eq!(bench.hook.data(EventType::CancelCompleted)[0]["was_immediate"], true);
}

#[test]
fn the_streamed_part_of_an_answer_is_the_output_of_a_cut_turn() {
    for (reason, kind) in
        [(CancelReason::TimedOut, OutcomeKind::TimedOut), (CancelReason::Requested, OutcomeKind::Cancelled)]
    {
        let mut bench = Kit::new(vec![Answer::Stalls("half an answer")]).build();
        let cancel = bench.cancel.clone();
        let result = {
            let mut turn = pin!(bench.driver.turn("hi".into()));
            assert!(idle(turn.as_mut()).is_none());
            cancel.cancel(CancelLevel::Immediate, reason);
            idle(turn).unwrap()
        };
        let outcome = bench.driver.outcome_of(&result);
        assert_eq!((outcome.kind, outcome.output.as_str()), (kind, "half an answer"));
    }
}
