//! The scripted provider: which step answers, and how.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::message::{Content, ContentBlock, KnownBlock, Message};
use amplifier_core::module::provider::{ChatDelta, ChatRequest, Provider, ProviderErrorKind, StopReason};
use amplifier_core::module::{Module, Mount, Parts};
use amplifier_core::transcript::MessageView;
use amplifier_core::turn::TurnError;
use amplifier_core::*;
use amplifier_modules::context::ContextSimple;
use amplifier_modules::orchestrator::LoopBasic;
use amplifier_modules::scripted::{Scripted, Step};
use serde_json::{Value, json};

use crate::support::*;

fn kit(config: Value) -> Kit {
    Kit::new(vec![])
        .module(LoopBasic, json!({"max_iterations": 9}))
        .module(ContextSimple, json!({}))
        .module(Scripted::from_config(), config)
}

/// Says these prompts, one turn each, and gives the answers.
fn conversation(config: Value, prompts: &[&str]) -> Vec<String> {
    let mut bench = kit(config).tool("search", Does::Answers).tool("other", Does::Answers).build();
    let mut say = |prompt: &&str| {
        let turn = pin!(bench.driver.turn((*prompt).to_owned()));
        idle(turn).expect("a script waits for nothing").unwrap().text
    };
    prompts.iter().map(&mut say).collect()
}

#[test]
fn the_first_step_that_applies_answers() {
    let script = json!([
        {"when": {"prompt": "weather"}, "text": "sunny"},
        {"when": {"prompt": "/^[0-9]+$/"}, "text": "a number"},
        {"when": {"turn": 3}, "text": "the third"},
        {"text": "once", "times": 1},
        {"text": "else: {{prompt}}"},
    ]);
    let answers =
        conversation(json!({"script": script}), &["the weather?", "42", "hi", "hi", "x 42", "weather 42"]);
    assert_eq!(answers, ["sunny", "a number", "the third", "once", "else: x 42", "sunny"]);
}

#[test]
fn results_of_tools_are_answered_by_steps_that_ask_for_them() {
    let script = json!([
        {"when": {"prompt": "find"}, "tool_calls": [{"tool": "search", "arguments": {"q": ["{{prompt}}"]}}]},
        {"when": {"after_tool": "other"}, "text": "other ran"},
        {"when": {"after_tool": "search"}, "text": "found", "tool_calls": [{"tool": "other"}], "times": 1},
        {"when": {"after_tool": "*"}, "text": "some tool ran"},
    ]);
    let answers = conversation(json!({"script": script, "default": "what?"}), &["find it", "hello", "find"]);
    assert_eq!(answers, ["other ran", "what?", "some tool ran"]);
}

#[test]
fn calls_without_a_condition_are_made_once() {
    let script = json!([{"tool_calls": [{"tool": "search"}]}, {"text": "done with it"}]);
    assert_eq!(conversation(json!({"script": script}), &["a", "b"]), ["done with it", "done with it"]);
}

#[test]
fn without_a_step_the_answer_says_that_it_is_scripted() {
    let answers = conversation(json!({}), &["hello"]);
    assert_eq!(answers, ["This answer comes from a script, which has no step for: hello"]);
}

#[test]
fn arguments_usage_cost_and_ids_reach_the_conversation() {
    let script = json!([
        {"tool_calls": [{"tool": "t", "arguments": {"q": ["{{prompt}}", 1]}}, {"name": "t"}],
         "usage": {"input_tokens": 7, "output_tokens": 3}, "cost_usd": 0.00004},
        {"text": "end", "cost_usd": 0.000002},
    ]);
    let mut kit = kit(json!({"script": script})).tool("t", Does::Answers);
    kit.activation = Activation(2);
    let mut bench = kit.build();
    let reply = bench.turn().unwrap();
    assert_eq!(reply.usage, usage(7, 3));
    assert_eq!(bench.driver.outcome_of(&Ok(reply)).cost_micro_usd, Some(42));
    assert_eq!(bench.tools[0].calls.lock().unwrap()[0], json!({"q": ["hi", 1]}));
    let held = bench.held();
    let ids: Vec<&str> = held[1].tool_calls.iter().map(|call| call.id.as_str()).collect();
    assert_eq!(ids, ["call_2_1", "call_2_2"], "ids differ between activations");
}

/// Runs a turn, moving the clock whenever somebody sleeps; the spans that it slept.
fn turn_through_waits(bench: &mut Bench) -> (Result<session::TurnReply, TurnError>, Vec<u128>) {
    let clock = bench.clock.clone();
    let mut turn = pin!(bench.driver.turn("hi".into()));
    let mut waits = Vec::new();
    loop {
        if let Some(result) = idle(turn.as_mut()) {
            return (result, waits);
        }
        let wait = clock.next_wake().expect("the turn waits for the clock");
        waits.push(wait.as_millis());
        clock.advance(wait);
    }
}

#[test]
fn delays_and_errors_go_through_the_clock() {
    let script = json!([{
        "text": "at last", "delay_ms": 30,
        "error": {"kind": "rate_limited", "message": "slow down", "retry_after_ms": 700, "times": 2},
    }]);
    let mut bench = kit(json!({"script": script})).build();
    let (result, waits) = turn_through_waits(&mut bench);
    assert_eq!(result.unwrap().text, "at last");
    assert_eq!(waits, [30, 700, 30, 700, 30]);
    assert_eq!(bench.hook.data(EventType::ProviderThrottle)[0]["error"], "slow down");
}

#[test]
fn an_error_without_times_comes_each_time() {
    let mut bench = kit(json!({"script": [{"error": {"kind": "auth"}}]})).build();
    for _ in 0..2 {
        let (result, _) = turn_through_waits(&mut bench);
        assert!(matches!(&result, Err(TurnError::Provider(error)) if error.kind == ProviderErrorKind::Auth));
    }
}

#[test]
fn a_cut_stream_shows_its_text_and_no_end() {
    let script = json!([{"text": "half of it", "error": {"kind": "stream_cut", "times": 1}}]);
    let mut bench = kit(json!({"script": script})).build();
    let (result, _) = turn_through_waits(&mut bench);
    assert_eq!(result.unwrap().text, "half of it");
    let shown = bench.display.0.lock().unwrap();
    assert_eq!(shown.iter().filter(|line| *line == "Text(\"half \")").count(), 2);
    assert_eq!(shown.iter().filter(|line| line.starts_with("Restarted")).count(), 1);
}

fn deltas(provider: &Arc<dyn Provider>) -> Vec<ChatDelta> {
    let mut request = ChatRequest::default();
    request.messages = MessageView::of(vec![Arc::new(Message::user("hi"))]);
    let mut stream = idle(pin!(provider.stream(request))).unwrap().unwrap();
    let mut all = Vec::new();
    while let Some(delta) =
        idle(pin!(std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)))).expect("nothing to wait for")
    {
        all.push(delta.unwrap());
    }
    all
}

#[test]
fn an_answer_comes_word_by_word_with_its_reasoning_first() {
    let step = Step::text("one two").thinking("hm").and_call("t", json!({})).stop(StopReason::MaxTokens);
    let provider = Scripted::new(vec![step]).provider(Arc::new(ManualClock::default()));
    assert!(provider.info().scripted);
    let deltas = deltas(&provider);
    let names: Vec<String> = deltas.iter().map(|delta| format!("{delta:?}")).collect();
    assert_eq!(names[..3], ["Thinking(\"hm\")", "Text(\"one \")", "Text(\"two\")"]);
    assert!(names[3].starts_with("ToolCallStart"));
    let Some(ChatDelta::Done(response)) = deltas.last() else { panic!("{names:?}") };
    assert_eq!((response.model.as_str(), &response.stop), ("scripted", &StopReason::MaxTokens));
    assert_eq!(response.message.text(), "one two");
    let Content::Blocks(blocks) = &response.message.content else { panic!() };
    assert!(
        matches!(&blocks[0], ContentBlock::Known(KnownBlock::Thinking { thinking, .. }) if thinking == "hm")
    );
}

#[test]
fn a_script_of_a_program_runs_step_by_step() {
    let steps = vec![
        Step::text("late")
            .after_failures(ProviderErrorKind::Unavailable, Some(Duration::from_secs(1)), 1)
            .times(1),
        Step::call("t", json!({"a": 1})),
        Step::text("end").delay(Duration::from_secs(2)),
    ];
    let kit = Kit::new(vec![])
        .module(LoopBasic, json!({}))
        .module(ContextSimple, json!({}))
        .module(Scripted::new(steps), json!({"script": "not read"}))
        .tool("t", Does::Answers);
    let mut bench = kit.build();
    let (first, waits) = turn_through_waits(&mut bench);
    assert_eq!((first.unwrap().text.as_str(), waits), ("late", vec![1_000]));
    let (second, waits) = turn_through_waits(&mut bench);
    assert_eq!((second.unwrap().text.as_str(), waits), ("end", vec![2_000]));
    assert_eq!(*bench.tools[0].calls.lock().unwrap(), [json!({"a": 1})]);
}

fn mount(module: &Scripted, config: Value) -> Result<Parts, String> {
    let bench = Kit::new(vec![]).build();
    let mut spec = ModuleSpec::new("provider-scripted");
    spec.config = config.as_object().cloned().unwrap();
    let mut parts = Parts::default();
    let mut mount = Mount::new(bench.session.env(), &mut parts);
    idle(pin!(module.mount(&spec, &mut mount))).unwrap().map_err(|error| error.to_string())?;
    Ok(parts)
}

#[test]
fn a_wrong_script_is_refused_with_the_place() {
    let ok = json!({"text": "x"});
    for (config, expected) in [
        (json!({"script": {}}), "config: script must be a list of steps"),
        (json!({"script": [ok, {"txt": "x"}]}), "script[1]: unknown field `txt`"),
        (json!({"script": [{"when": {"promt": "x"}, "text": "x"}]}), "script[0]: unknown field `promt`"),
        (json!({"script": [{}]}), "script[0]: nothing to answer; give text, tool_calls or error"),
        (json!({"script": [{"error": {"kind": "boom"}}]}), "script[0]: unknown variant `boom`"),
        (json!({"script": [{"when": {"prompt": "/(/"}, "text": "x"}]}), "`/(/` is no regular expression"),
        (json!({"script": [{"when": {"turn": 0}, "text": "x"}]}), "counted from 1"),
        (json!({"script": [{"tool_calls": [{"arguments": 1}]}]}), "script[0]: missing field `tool`"),
        (json!({"default": {"text": 1}}), "default: invalid type"),
        (json!({"priority": "high"}), "priority is \"high\""),
    ] {
        let error = mount(&Scripted::from_config(), config).unwrap_err();
        assert!(error.contains(expected) && error.contains("provider-scripted"), "{error} / {expected}");
    }
}

#[test]
fn each_session_counts_its_own_steps() {
    let module = Scripted::from_config();
    let config = json!({"script": [{"text": "first", "times": 1}, {"text": "second"}], "priority": 7});
    for _ in 0..2 {
        let parts = mount(&module, config.clone()).unwrap();
        let provider = &parts.providers[0];
        assert_eq!((provider.info().name.as_str(), provider.info().priority), ("scripted", 7));
        let said: Vec<String> = (0..2)
            .map(|_| match deltas(provider).pop() {
                Some(ChatDelta::Done(response)) => response.message.text(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(said, ["first", "second"]);
    }
}

#[test]
fn a_script_costs_nothing_unless_it_says_otherwise() {
    let cost = |config: Value| {
        let mut bench = kit(config).build_with(|builder| {
            let mut limits = Limits::default();
            limits.max_cost_micro_usd = Some(1_000_000);
            builder.limits(limits, "me")
        });
        let (result, _) = turn_through_waits(&mut bench);
        result.map(drop).map_err(|error| error.to_string())?;
        Ok::<_, String>(bench.driver.outcome_of(&Err(TurnError::Cancelled)).cost_micro_usd)
    };
    let usage = json!({"input_tokens": 1_000, "output_tokens": 100});
    let script = json!([{"text": "hi", "usage": usage}]);
    assert_eq!(cost(json!({"script": script})), Ok(Some(0)));
    assert_eq!(cost(json!({"script": [{"text": "hi", "cost_usd": 0.25}]})), Ok(Some(250_000)));
    let prices = json!({"scripted": {"input": 3, "output": 15}});
    assert_eq!(cost(json!({"script": script, "prices": prices})), Ok(Some(4_500)));
    let dear = json!({"script": script, "prices": {"*": {"input": 3, "output": 100_000}}});
    let refused = cost(dear).unwrap_err();
    assert!(refused.contains("the cost budget of me is too small"), "{refused}");
}
