//! The loops: order, limits, cuts.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::limits::LimitKind;
use amplifier_core::module::Module;
use amplifier_core::module::provider::ReasoningEffort;
use amplifier_core::turn::TurnError;
use amplifier_core::*;
use amplifier_modules::context::ContextSimple;
use amplifier_modules::orchestrator::{LoopBasic, LoopStreaming};
use serde_json::{Value, json};

use crate::support::*;

fn kit(module: impl Module + 'static, config: Value, answers: Vec<Answer>) -> Kit {
    Kit::new(answers).module(module, config).module(ContextSimple, json!({}))
}

fn both(config: Value, answers: impl Fn() -> Vec<Answer>) -> [Kit; 2] {
    [kit(LoopBasic, config.clone(), answers()), kit(LoopStreaming, config, answers())]
}

/// Ids of the results in the transcript, in order.
fn results(bench: &Bench) -> Vec<String> {
    bench.held().iter().filter_map(|message| message.tool_call_id.clone()).collect()
}

fn shown(bench: &Bench, what: &str) -> Vec<usize> {
    let shown = bench.display.0.lock().unwrap();
    shown.iter().enumerate().filter(|(_, line)| line.starts_with(what)).map(|(at, _)| at).collect()
}

#[test]
fn a_loop_ends_on_an_answer_without_tool_calls() {
    let answers =
        || vec![Answer::Calls(vec![call("c1", "t")]), Answer::Text("the end"), Answer::Text("more")];
    for kit in both(json!({}), answers) {
        let mut bench = kit.tool("t", Does::Answers).build();
        assert_eq!(bench.turn().unwrap().text, "the end");
        assert_eq!(bench.provider.requests(), 2);
        assert_eq!(bench.provider.request_texts(1), ["hi", "", "t ran"], "results come before the next call");
    }
}

#[test]
fn tools_run_together_only_in_the_streaming_loop_and_results_keep_their_order() {
    let answers = || vec![Answer::Calls(vec![call("c1", "slow"), call("c2", "fast"), call("c3", "slow")])];
    let parallel_off = kit(LoopStreaming, json!({"parallel": false}), answers());
    let [basic, streaming] = both(json!({}), answers);
    for (kit, parallel) in [(basic, false), (streaming, true), (parallel_off, false)] {
        let mut bench = kit.tool("slow", Does::AnswersAfter(5)).tool("fast", Does::Answers).build();
        bench.turn().unwrap();
        assert_eq!(results(&bench), ["c1", "c2", "c3"]);
        let (started, ended) = (shown(&bench, "ToolStarted"), shown(&bench, "ToolEnded"));
        assert_eq!(started[1] < ended[0], parallel, "starts {started:?}, ends {ended:?}");
    }
}

#[test]
fn the_message_with_calls_is_held_before_the_first_tool_starts() {
    for kit in both(json!({}), || vec![Answer::Calls(vec![call("c1", "slow"), call("c2", "slow")])]) {
        let mut bench = kit.tool("slow", Does::Hangs).build();
        {
            let turn = pin!(bench.driver.turn("hi".into()));
            assert!(idle(turn).is_none());
        }
        let held = bench.held();
        assert_eq!(held.last().unwrap().tool_calls.len(), 2);
    }
}

#[test]
fn graceful_cancellation_lets_running_tools_finish_and_starts_no_other() {
    let many = || vec![Answer::Calls((0..20).map(|n| call(&format!("c{n}"), "t")).collect())];
    for (kit, finish) in both(json!({}), many).into_iter().zip([1, 16]) {
        let mut bench = kit.tool("t", Does::Sleeps).build();
        let (clock, cancel, tool) = (bench.clock.clone(), bench.cancel.clone(), Arc::clone(&bench.tools[0]));
        let result = {
            let mut turn = pin!(bench.driver.turn("hi".into()));
            assert!(idle(turn.as_mut()).is_none());
            cancel.cancel(CancelLevel::Graceful, CancelReason::Requested);
            assert!(idle(turn.as_mut()).is_none(), "running tools go on");
            clock.advance(Duration::from_secs(1));
            idle(turn).unwrap()
        };
        assert!(matches!(result, Err(TurnError::Cancelled)));
        assert_eq!(tool.calls.lock().unwrap().len(), finish);
        let held = bench.held();
        assert_calls_have_one_result_each(&held);
        let ran = held.iter().filter(|message| message.text() == "t ran").count();
        let not_run = held.iter().filter(|message| message.text().starts_with("[not run: ")).count();
        assert_eq!((ran, not_run), (finish, 20 - finish));
        assert_eq!(bench.provider.requests(), 1);
    }
}

/// Cancels at the n-th poll of a turn. False once the turn has fewer polls.
fn cut_at(kit: Kit, level: CancelLevel, n: usize) -> bool {
    let mut bench = kit.tool("a", Does::Answers).tool("b", Does::AnswersAfter(2)).build();
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
    assert_calls_have_one_result_each(&bench.held());
    assert_eq!(bench.held().len(), bench.session.messages().len());
    assert!(matches!(result, Ok(_) | Err(TurnError::Cancelled)), "{result:?}");
    cut
}

#[test]
fn a_cut_at_any_poll_leaves_each_call_with_one_result() {
    let answers = || {
        let calls = vec![call("c1", "b"), call("c2", "a"), call("c3", "none"), call("c4", "b")];
        vec![Answer::Calls(calls), Answer::Text("the end")]
    };
    for level in [CancelLevel::Immediate, CancelLevel::Graceful] {
        for which in 0..2 {
            let kit = || both(json!({}), answers).into_iter().nth(which).unwrap();
            let cuts = (0..).take_while(|n| cut_at(kit(), level, *n)).count();
            assert!(cuts > 10, "the turn has only {cuts} points to cut at");
        }
    }
}

#[test]
fn iterations_are_limited_where_the_bundle_says() {
    let answers = || (0..9).map(|n| Answer::Calls(vec![call(&format!("c{n}"), "t")])).collect();
    for key in ["max_iterations", "max_turns"] {
        for kit in both(json!({key: 3}), answers) {
            let mut bench = kit.tool("t", Does::Answers).build();
            let result = bench.turn();
            let Err(TurnError::Limit(limit)) = &result else { panic!("{result:?}") };
            assert_eq!((limit.limit, limit.value, limit.used), (LimitKind::Turns, 3, 3));
            assert_eq!(bench.provider.requests(), 3);
            assert_eq!(bench.driver.outcome_of(&result).kind, OutcomeKind::LimitReached);
        }
    }
}

#[test]
fn calls_that_may_be_cut_off_are_told_to_the_model_and_not_run() {
    for kit in both(json!({}), || vec![Answer::CutCalls(vec![call("c1", "t"), call("c2", "t")])]) {
        let mut bench = kit.tool("t", Does::Answers).build();
        assert_eq!(bench.turn().unwrap().text, "done");
        assert!(bench.tools[0].calls.lock().unwrap().is_empty());
        let held = bench.held();
        assert_calls_have_one_result_each(&held);
        assert!(held[2].is_error() && held[2].text().contains("output limit"));
    }
}

#[test]
fn a_model_that_never_gets_a_call_whole_is_stopped() {
    let answers = || (0..9).map(|n| Answer::CutCalls(vec![call(&format!("c{n}"), "t")])).collect();
    for kit in both(json!({}), answers) {
        let mut bench = kit.tool("t", Does::Answers).build();
        let error = bench.turn().unwrap_err();
        assert!(error.to_string().contains("raise max_output_tokens"), "{error}");
        assert_eq!(bench.provider.requests(), 3);
        assert_calls_have_one_result_each(&bench.held());
    }
}

#[test]
fn calls_with_one_id_each_get_their_result() {
    for kit in both(json!({}), || vec![Answer::Calls(vec![call("same", "t"), call("same", "t")])]) {
        let mut bench = kit.tool("t", Does::Answers).build();
        bench.turn().unwrap();
        assert_eq!(results(&bench), ["same", "same#1"]);
        assert_calls_have_one_result_each(&bench.held());
    }
}

#[test]
fn extended_thinking_asks_the_model_to_reason() {
    for (config, expected) in
        [(json!({"extended_thinking": true}), Some(ReasoningEffort::Medium)), (json!({}), None)]
    {
        for kit in both(config.clone(), Vec::new) {
            let mut bench = kit.build();
            bench.turn().unwrap();
            assert_eq!(bench.provider.requests.lock().unwrap()[0].reasoning, expected);
        }
    }
}
