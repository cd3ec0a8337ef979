//! The session: its handles, its driver, its outcome.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_core::outcome::FailureKind;
use amplifier_core::session::{Command, SessionDriver, SessionError};
use amplifier_core::turn::TurnError;
use amplifier_core::*;

use crate::support::*;

/// What a host's supervisor does.
async fn drive(mut driver: SessionDriver) {
    let mut last = None;
    while let Some(command) = driver.next_command().await {
        let Command::Execute { text, reply } = command else { break };
        let result = driver.turn(text).await;
        last = Some(driver.outcome_of(&result));
        let _ = reply.send(result);
    }
    let outcome =
        last.unwrap_or_else(|| SessionOutcome::new(OutcomeKind::Completed, Activation::FIRST, "", None));
    driver.clean_up(&outcome).await;
    driver.settle(Arc::new(outcome));
}

#[test]
fn execution_end_comes_on_every_path() {
    let failing = vec![Answer::Fails(ProviderErrorKind::Auth, None)];
    for (answers, orchestrator, status) in [
        (vec![], FakeLoop::Sequential, "success"),
        (failing, FakeLoop::Sequential, "error"),
        (vec![], FakeLoop::Panics, "error"),
    ] {
        let mut kit = Kit::new(answers);
        kit.orchestrator = orchestrator;
        let mut bench = kit.build();
        let _ = bench.turn();
        assert_eq!(bench.hook.count(EventType::ExecutionStart), 1);
        let ends = bench.hook.data(EventType::ExecutionEnd);
        assert_eq!((ends.len(), &ends[0]["status"]), (1, &status.into()));
    }
    let mut bench = Kit::new(vec![Answer::Hangs]).build();
    let _ = bench.turn_cancelled_when_idle(CancelLevel::Immediate);
    assert_eq!(bench.hook.data(EventType::ExecutionEnd)[0]["status"], "cancelled");
}

#[test]
fn a_panic_of_the_orchestrator_is_an_error_and_its_calls_are_closed() {
    let mut kit = Kit::new(vec![Answer::Calls(vec![call("c1", "t")])]).tool("t", Does::Answers);
    kit.orchestrator = FakeLoop::Panics;
    let mut bench = kit.build();
    let result = bench.turn();
    assert!(matches!(&result, Err(TurnError::Module { message, .. }) if message.contains("the loop broke")));
    assert_calls_have_one_result_each(&bench.held());
    assert_eq!(bench.driver.outcome_of(&result).error.unwrap().kind, FailureKind::Module);
}

#[test]
fn a_transcript_that_cannot_be_written_fails_the_turn() {
    let mut bench = Kit::new(vec![]).build();
    bench.transcript.fails.store(true, Ordering::Release);
    let result = bench.turn();
    assert!(matches!(result, Err(TurnError::Transcript(_))));
    assert_eq!(bench.driver.outcome_of(&result).error.unwrap().kind, FailureKind::Storage);
    assert_eq!(bench.provider.requests(), 0);
    assert!(bench.session.messages().is_empty(), "the conversation holds what the storage holds");
}

#[test]
fn a_session_without_a_provider_says_what_to_do() {
    let mut bench = Kit::new(vec![]).build_with(|builder| {
        let mut parts = module::Parts::default();
        parts.orchestrator = Some(Arc::new(FakeLoop::Sequential));
        parts.context = Some(Arc::new(FakeContext::default()));
        builder.parts(parts)
    });
    let error = bench.turn().unwrap_err();
    assert!(error.to_string().contains("no provider is configured"), "{error}");
}

#[test]
fn the_first_turn_opens_the_session_once() {
    for (activation, opened) in
        [(Activation::FIRST, EventType::SessionStart), (Activation(2), EventType::SessionResume)]
    {
        let mut kit = Kit::new(vec![]);
        kit.activation = activation;
        kit.parent = Some(SessionId::new("p").unwrap());
        let mut bench = kit.build();
        bench.turn().unwrap();
        bench.turn().unwrap();
        assert_eq!(bench.hook.count(opened), 1);
        assert_eq!(bench.hook.count(EventType::SessionFork), usize::from(activation == Activation::FIRST));
        assert_eq!(bench.hook.data(EventType::ExecutionStart)[0]["parent_id"], "p");
    }
}

#[test]
fn events_of_a_turn_come_in_their_order() {
    let mut bench = Kit::new(vec![Answer::Calls(vec![call("c1", "t")])]).tool("t", Does::Answers).build();
    bench.turn().unwrap();
    let call = ["provider_request", "llm_request", "llm_response", "provider_response"];
    let expected: Vec<&str> = ["session_start", "prompt_submit", "execution_start"]
        .into_iter()
        .chain(call)
        .chain(["tool_pre", "tool_post"])
        .chain(["provider_request", "llm_request", "content_block_start", "content_block_end"])
        .chain(["llm_response", "provider_response"])
        .chain(["orchestrator_complete", "execution_end", "prompt_complete"])
        .collect();
    let names = bench.hook.names();
    let names: Vec<&String> = names.iter().filter(|name| *name != "content_block_delta").collect();
    assert_eq!(names, expected);
}

#[test]
fn every_block_that_was_started_is_ended_also_when_the_stream_breaks() {
    let bench = Kit::new(vec![Answer::Cut("hal"), Answer::Text("whole")]).build();
    let Bench { mut driver, clock, hook, .. } = bench;
    let mut turn = pin!(driver.turn("hi".into()));
    assert!(idle(turn.as_mut()).is_none(), "waits before it tries again");
    assert_eq!(hook.data(EventType::ContentBlockEnd)[0]["text"], "hal");
    clock.advance(std::time::Duration::from_secs(5));
    idle(turn).expect("the second attempt answers").unwrap();
    for event in [EventType::ContentBlockStart, EventType::ContentBlockEnd] {
        assert_eq!(hook.count(event), 2);
    }
    assert_eq!(hook.data(EventType::ContentBlockEnd)[1]["text"], "whole");
}

#[test]
fn a_caller_that_goes_away_does_not_cut_its_turn() {
    let bench = Kit::new(vec![Answer::Calls(vec![call("c1", "t")])]).tool("t", Does::Answers).build();
    let Bench { session, driver, transcript, .. } = bench;
    let mut driving = pin!(drive(driver));
    {
        let mut execute = pin!(session.execute("hi"));
        assert!(idle(execute.as_mut()).is_none());
        assert!(polled_once(driving.as_mut()));
    }
    drop(session);
    idle(driving).expect("the driver ends when its handles are gone");
    let held = transcript.held.lock().unwrap();
    assert_eq!(held.last().unwrap().text(), "done", "the turn went on to its end");
}

fn polled_once<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending()
}

#[test]
fn turns_of_one_session_come_one_after_the_other() {
    let bench = Kit::new(vec![Answer::Text("one"), Answer::Text("two")]).build();
    let (mut driving, session) = (pin!(drive(bench.driver)), bench.session);
    let (mut first, mut second) = (pin!(session.execute("a")), pin!(session.execute("b")));
    assert!(idle(first.as_mut()).is_none() && idle(second.as_mut()).is_none());
    assert!(idle(driving.as_mut()).is_none());
    assert_eq!(idle(first).unwrap().unwrap().text, "one");
    assert_eq!(idle(second).unwrap().unwrap().text, "two");
    let mut end = pin!(session.end());
    assert!(idle(end.as_mut()).is_none());
    idle(driving).unwrap();
    assert_eq!(idle(end).unwrap().output, "two");
    assert!(matches!(idle(pin!(session.execute("c"))).unwrap(), Err(SessionError::Ended { .. })));
}

#[test]
fn an_outcome_is_published_once_and_to_everybody() {
    let bench = Kit::new(vec![]).build();
    let outcome = |text| Arc::new(SessionOutcome::new(OutcomeKind::Completed, Activation::FIRST, text, None));
    let mut waiting = pin!(bench.session.outcome());
    assert!(idle(waiting.as_mut()).is_none());
    bench.driver.settle(outcome("first"));
    bench.driver.settle(outcome("second"));
    assert_eq!(idle(waiting).unwrap().output, "first");
    assert_eq!(bench.session.clone().try_outcome().unwrap().output, "first");
}

#[test]
fn a_session_whose_driver_is_gone_is_lost() {
    let bench = Kit::new(vec![]).build();
    drop(bench.driver);
    assert_eq!(idle(pin!(bench.session.outcome())).unwrap().kind, OutcomeKind::Lost);
}

#[test]
fn usage_and_turns_add_up_over_an_activation() {
    let mut bench = Kit::new(vec![]).build();
    bench.turn().unwrap();
    let result = bench.turn();
    let outcome = bench.driver.outcome_of(&result);
    assert_eq!((outcome.usage, outcome.turns), (usage(20, 10), 2));
}
