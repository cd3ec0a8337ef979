//! Model calls: limits, budgets, retries, and what a request carries.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use amplifier_core::hook::{Injection, Verdict};
use amplifier_core::limits::LimitKind;
use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_core::outcome::FailureKind;
use amplifier_core::turn::TurnError;
use amplifier_core::*;

use crate::support::*;

fn limits(set: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    set(&mut limits);
    limits
}

#[test]
fn model_calls_beyond_the_limit_are_refused() {
    let kit = Kit::new(vec![Answer::Calls(vec![call("c1", "t")])]).tool("t", Does::Answers);
    let mut bench =
        kit.build_with(|builder| builder.limits(limits(|limits| limits.max_turns = Some(1)), "the bundle"));
    let result = bench.turn();
    let outcome = bench.driver.outcome_of(&result);
    let limit = outcome.error.unwrap().limit.unwrap();
    assert_eq!(outcome.kind, OutcomeKind::LimitReached);
    assert_eq!((limit.limit, limit.value, limit.used), (LimitKind::Turns, 1, 1));
    assert_eq!(limit.set_by, "the bundle");
    assert_eq!((outcome.turns, bench.provider.requests()), (1, 1));
}

#[test]
fn a_call_that_does_not_fit_the_budget_is_not_made() {
    let mut bench = Kit::new(vec![])
        .build_with(|builder| builder.limits(limits(|limits| limits.max_tokens = Some(10)), "me"));
    let result = bench.turn();
    assert!(matches!(result, Err(TurnError::Budget(_))));
    assert_eq!(bench.provider.requests(), 0);
    assert_eq!(bench.hook.count(EventType::ExecutionEnd), 1);
    let outcome = bench.driver.outcome_of(&result);
    assert_eq!(outcome.kind, OutcomeKind::LimitReached);
    assert_eq!(outcome.error.unwrap().limit.unwrap().limit, LimitKind::Tokens);
}

#[test]
fn a_cost_limit_without_a_known_price_refuses_the_call() {
    let mut bench = Kit::new(vec![])
        .build_with(|builder| builder.limits(limits(|limits| limits.max_cost_micro_usd = Some(9)), "me"));
    let result = bench.turn();
    assert_eq!(bench.provider.requests(), 0);
    let outcome = bench.driver.outcome_of(&result);
    assert_eq!(outcome.kind, OutcomeKind::LimitReached);
    let message = outcome.error.unwrap().message;
    assert!(message.contains("no price of model fake-1"), "{message}");
    assert!(message.contains("`prices:` in the config of provider fake"), "what to do: {message}");
}

#[test]
fn the_budget_is_settled_with_what_was_used() {
    let budget = budget::Budget::new("me", Some(1_000), None, None);
    let mut bench = Kit::new(vec![]).build_with(|builder| builder.budget(Arc::clone(&budget)));
    bench.turn().unwrap();
    assert_eq!(budget.used().tokens, 15);
}

#[test]
fn an_answer_that_nobody_counted_is_charged_as_it_looks() {
    const LONG: &str =
        "a sentence of ten words is said again and again. a sentence of ten words is said again and again.";
    let used = |answer: Answer| {
        let budget = budget::Budget::new("me", Some(1_000), None, None);
        let mut bench = Kit::new(vec![answer]).build_with(|builder| builder.budget(Arc::clone(&budget)));
        bench.turn().unwrap();
        budget.used().tokens
    };
    assert!(used(Answer::Uncounted(LONG)) >= used(Answer::Uncounted("a")) + 20);
}

#[test]
fn a_rate_limit_is_waited_out_as_the_service_asks() {
    let limited = Answer::Fails(ProviderErrorKind::RateLimited, Some(Duration::from_secs(7)));
    let mut bench = Kit::new(vec![limited.clone(), limited]).build();
    let clock = bench.clock.clone();
    {
        let mut turn = pin!(bench.driver.turn("hi".into()));
        for _ in 0..2 {
            assert!(idle(turn.as_mut()).is_none());
            assert_eq!(clock.next_wake(), Some(Duration::from_secs(7)));
            clock.advance(Duration::from_millis(6_999));
            assert!(idle(turn.as_mut()).is_none(), "it came back too early");
            clock.advance(Duration::from_millis(1));
        }
        assert_eq!(idle(turn).unwrap().unwrap().text, "done");
    }
    assert_eq!((bench.provider.requests(), bench.hook.count(EventType::ProviderThrottle)), (3, 2));
}

#[test]
fn a_rate_limit_beyond_patience_is_an_outcome_of_its_own() {
    let limited = Answer::Fails(ProviderErrorKind::RateLimited, Some(Duration::from_secs(121)));
    let mut bench = Kit::new(vec![limited]).build();
    let result = bench.turn();
    let error = bench.driver.outcome_of(&result).error.unwrap();
    assert_eq!(
        (error.kind, error.provider),
        (FailureKind::RateLimited, Some(ProviderErrorKind::RateLimited))
    );
}

#[test]
fn waiting_for_a_provider_ends_when_the_session_is_asked_to_stop() {
    let limited = Answer::Fails(ProviderErrorKind::RateLimited, Some(Duration::from_secs(60)));
    let mut bench = Kit::new(vec![limited]).build();
    assert!(matches!(bench.turn_cancelled_when_idle(CancelLevel::Graceful), Err(TurnError::Cancelled)));
}

/// Runs a turn, moving the clock whenever somebody sleeps.
fn turn_through_waits(bench: &mut Bench) -> Result<session::TurnReply, TurnError> {
    let clock = bench.clock.clone();
    let mut turn = pin!(bench.driver.turn("hi".into()));
    loop {
        if let Some(result) = idle(turn.as_mut()) {
            return result;
        }
        clock.advance(clock.next_wake().expect("the turn waits for the clock"));
    }
}

#[test]
fn a_cut_stream_is_tried_again_and_never_an_answer() {
    let mut bench = Kit::new(vec![Answer::Cut("hal"), Answer::Text("whole")]).build();
    assert_eq!(turn_through_waits(&mut bench).unwrap().text, "whole");
    assert!(bench.display.0.lock().unwrap().iter().any(|shown| shown.starts_with("Restarted")));

    let mut bench = Kit::new(vec![Answer::Cut("hal"); 9]).build();
    let result = turn_through_waits(&mut bench);
    assert!(matches!(&result, Err(TurnError::Provider(error)) if error.kind == ProviderErrorKind::StreamCut));
    assert_eq!(bench.provider.requests(), 4);
    assert_eq!(
        (bench.hook.count(EventType::ProviderRetry), bench.hook.count(EventType::ProviderError)),
        (3, 1)
    );
    assert_eq!(bench.held().len(), 1, "only the prompt is kept");
}

#[test]
fn a_permanent_error_is_not_tried_again() {
    for answer in [
        Answer::Fails(ProviderErrorKind::Auth, None),
        Answer::Fails(ProviderErrorKind::Invalid, None),
        Answer::Panics,
    ] {
        let mut bench = Kit::new(vec![answer]).build();
        assert!(matches!(bench.turn(), Err(TurnError::Provider(_))));
        assert_eq!(bench.provider.requests(), 1);
        assert_eq!(bench.hook.count(EventType::ExecutionEnd), 1);
    }
}

#[test]
fn a_conversation_that_is_too_long_is_squeezed_once() {
    let long = Answer::Fails(ProviderErrorKind::ContextTooLong, None);
    let mut bench = Kit::new(vec![long.clone()]).build();
    assert_eq!(bench.turn().unwrap().text, "done");
    assert_eq!(*bench.context.squeezes.lock().unwrap(), [false, true]);

    let mut bench = Kit::new(vec![long.clone(), long]).build();
    assert!(matches!(bench.turn(), Err(TurnError::Provider(_))));
    assert_eq!(*bench.context.squeezes.lock().unwrap(), [false, true]);
}

#[derive(Debug, Default)]
struct CountingPrompt(AtomicU32);

impl SystemPrompt for CountingPrompt {
    fn render(&self) -> Option<Arc<str>> {
        Some(format!("prompt {}", self.0.fetch_add(1, Ordering::AcqRel)).into())
    }
}

#[test]
fn the_system_prompt_is_rendered_for_each_request() {
    let kit = Kit::new(vec![Answer::Calls(vec![call("c1", "t")])]).tool("t", Does::Answers);
    let mut bench = kit.build_with(|builder| builder.system(Arc::new(CountingPrompt::default())));
    bench.turn().unwrap();
    let requests = bench.provider.requests.lock().unwrap();
    let prompts: Vec<&str> = requests.iter().filter_map(|request| request.system.as_deref()).collect();
    assert_eq!(prompts, ["prompt 0", "prompt 1"]);
}

fn injecting(ephemeral: bool, answers: Vec<Answer>) -> Bench {
    let mut injection = Injection::ephemeral("it is Sunday");
    injection.ephemeral = ephemeral;
    Kit::new(answers).verdict(EventType::ProviderRequest, Verdict::Inject(injection)).build()
}

#[test]
fn what_a_hook_adds_at_the_request_is_part_of_that_request() {
    for (ephemeral, kept) in [(true, vec!["hi", "done"]), (false, vec!["hi", "it is Sunday", "done"])] {
        let mut bench = injecting(ephemeral, vec![]);
        bench.turn().unwrap();
        assert_eq!(bench.provider.request_texts(0), ["hi", "it is Sunday"], "ephemeral: {ephemeral}");
        let held: Vec<String> = bench.held().iter().map(|message| message.text()).collect();
        assert_eq!(held, kept);
    }
}

#[test]
fn an_injection_over_its_size_is_left_out_and_a_turn_over_its_budget_is_told() {
    let check = |size: Option<u64>, budget: Option<u64>, request: &[&str], told: &str| {
        let injection = Injection::ephemeral("it is Sunday");
        let kit = Kit::new(vec![Answer::Calls(vec![call("c1", "t")])])
            .tool("t", Does::Answers)
            .verdict(EventType::ProviderRequest, Verdict::Inject(injection));
        let mut options = turn::ModelOptions::default();
        (options.injection_size_limit, options.injection_budget_per_turn) = (size, budget);
        let mut bench = kit.build_with(|builder| builder.options(options));
        bench.turn().unwrap();
        assert_eq!(bench.provider.request_texts(0), request, "{size:?} {budget:?}");
        let shown = bench.display.0.lock().unwrap().clone();
        let notices = shown.iter().filter(|line| line.contains("session.injection_")).collect::<Vec<_>>();
        assert!(notices.iter().all(|line| line.contains(told)), "{notices:?}");
        notices.len()
    };
    let whole = ["hi", "it is Sunday"];
    assert_eq!(check(None, None, &whole, "-"), 0);
    assert_eq!(check(Some(12), Some(6), &whole, "-"), 0);
    assert_eq!(check(Some(11), None, &["hi"], "injection_size_limit is 11"), 2, "each one is told");
    assert_eq!(check(None, Some(5), &whole, "injection_budget_per_turn, 5 tokens"), 1, "once a turn");
}

#[test]
fn what_a_hook_adds_survives_a_squeeze() {
    let mut bench = injecting(true, vec![Answer::Fails(ProviderErrorKind::ContextTooLong, None)]);
    bench.turn().unwrap();
    assert_eq!(bench.provider.request_texts(1), ["hi", "it is Sunday"]);
}
