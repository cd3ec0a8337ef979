//! What calls cost: set aside before, settled after, and told where it is known.

use std::pin::pin;
use std::sync::Arc;

use amplifier_core::budget::{Amount, Budget};
use amplifier_core::limits::LimitKind;
use amplifier_core::module::provider::{Provider, ProviderErrorKind};
use amplifier_core::outcome::FailureKind;
use amplifier_core::turn::{Choice, LEAST_OUTPUT, ModelOptions, TurnError};
use amplifier_core::*;

use crate::support::*;

/// A dollar for a million tokens in, ten for a million out: one micro-USD and ten a token.
const PRICE: Price = Price::new(1_000_000, 10_000_000);

/// The fake context reckons each request with this.
const INPUT: u64 = 20;

fn budget(micro_usd: u64) -> Arc<Budget> {
    Budget::new("me", None, Some(micro_usd), None)
}

fn bench(
    budget: &Arc<Budget>,
    max_output: Option<u64>,
    asked: Option<u64>,
    answers: Vec<Answer>,
) -> (Arc<FakeProvider>, Bench) {
    let provider = FakeProvider::priced("fake", Some(PRICE), max_output, answers);
    let mut options = ModelOptions::default();
    options.max_output_tokens = asked;
    let choice = Choice::new(Arc::clone(&provider) as Arc<dyn Provider>);
    let build = |builder: session::SessionBuilder| {
        builder.budget(Arc::clone(budget)).options(options).choices(vec![choice])
    };
    (provider, Kit::new(Vec::new()).build_with(build))
}

#[test]
fn a_call_sets_aside_what_it_may_cost_and_settles_what_it_did() {
    let check = |max_output: Option<u64>, asked: Option<u64>, output: u64| {
        let budget = budget(1_000_000_000);
        let (_, mut bench) =
            bench(&budget, max_output, asked, vec![Answer::Stalls("hal"), Answer::Text("done")]);
        {
            let mut turn = pin!(bench.driver.turn("hi".into()));
            assert!(idle(turn.as_mut()).is_none());
            assert_eq!(budget.used().micro_usd, INPUT + 10 * output, "{max_output:?} {asked:?}");
            bench.cancel.cancel(CancelLevel::Graceful, CancelReason::Requested);
            assert!(idle(turn).is_some());
        }
        // The three letters that came are charged as a token, with the request.
        assert_eq!(budget.used(), Amount { tokens: INPUT + 1, micro_usd: INPUT + 10 });
    };
    check(None, None, 32_768);
    check(Some(4_000), None, 4_000);
    check(Some(4_000), Some(100), 100);

    let budget = budget(1_000_000);
    let (_, mut bench) = bench(&budget, Some(1_000), None, vec![]);
    let result = bench.turn();
    assert_eq!(budget.used(), Amount { tokens: 15, micro_usd: 10 + 50 }, "ten tokens in, five out");
    assert_eq!(bench.driver.outcome_of(&result).cost_micro_usd, Some(60));
}

#[test]
fn calls_side_by_side_never_pass_a_cost_limit_together() {
    let root = budget(25_000);
    // Each call may cost 10,020; what is left pays for half an answer of the third, and for none after it.
    let mut all: Vec<_> =
        (0..5).map(|_| bench(&root, Some(1_000), None, vec![Answer::Stalls("hal")])).collect();
    let mut waiting = 0;
    let mut turns: Vec<_> =
        all.iter_mut().map(|(_, bench)| Box::pin(bench.driver.turn("hi".into()))).collect();
    for turn in &mut turns {
        match idle(turn.as_mut()) {
            None => waiting += 1,
            Some(result) => {
                let Err(TurnError::Budget(refusal)) = result else { panic!("{result:?}") };
                assert_eq!((refusal.limit, refusal.used, refusal.wanted), (25_000, 25_000, 180));
                let told = "$0.025000 of $0.025000 used or set aside, and it may take $0.000180";
                assert!(refusal.to_string().contains(told), "{refusal}");
            }
        }
        assert!(root.used().micro_usd <= 25_000);
    }
    assert_eq!((waiting, root.used().micro_usd), (3, 25_000));
    drop(turns);
    let asked = all.iter().flat_map(|(provider, _)| longest_answers(provider)).collect::<Vec<_>>();
    assert_eq!(asked, [Some(1_000), Some(1_000), Some((25_000 - 20_040 - INPUT) / 10)]);
}

/// How long an answer each request asks for.
fn longest_answers(provider: &FakeProvider) -> Vec<Option<u64>> {
    provider.requests.lock().unwrap().iter().map(|request| request.max_output_tokens).collect()
}

#[test]
fn an_answer_is_asked_for_as_long_as_every_budget_allows_and_without_any_as_the_session_says() {
    let check = |limits: [Option<u64>; 2], asked: Option<u64>, expect: Option<u64>| {
        let above = Budget::new("above", limits[0], None, None);
        let budget = Budget::new("me", None, limits[1], Some(above));
        let (provider, mut bench) = bench(&budget, Some(4_000), asked, vec![]);
        bench.turn().unwrap();
        assert_eq!(longest_answers(&provider), [expect], "{limits:?} {asked:?}");
    };
    check([None, None], None, None);
    check([None, None], Some(100), Some(100));
    check([Some(1_000_000), None], None, Some(4_000));
    check([None, Some(1_000_000)], Some(100), Some(100));
    check([Some(INPUT + 77), None], None, Some(77));
    check([Some(INPUT + 77), Some(INPUT + 500)], Some(100), Some(50));
    check([Some(INPUT + LEAST_OUTPUT), None], None, Some(LEAST_OUTPUT));
    check([Some(INPUT + 5), None], Some(5), Some(5));
    let too_little = Budget::new("me", Some(INPUT + LEAST_OUTPUT - 1), None, None);
    let (provider, mut bench) = bench(&too_little, None, None, vec![]);
    let result = bench.turn();
    assert!(matches!(&result, Err(TurnError::Budget(refusal)) if refusal.wanted == INPUT + LEAST_OUTPUT));
    assert_eq!((provider.requests(), too_little.used().tokens), (0, 0));
}

#[test]
fn an_attempt_that_broke_off_leaves_room_for_another_or_there_is_none() {
    let check = |limit: u64, attempts: usize| {
        let budget = Budget::new("me", Some(limit), None, None);
        let answers = vec![Answer::Cut("12345678"), Answer::Text("done")];
        let (provider, mut bench) = bench(&budget, None, Some(100), answers);
        let clock = bench.clock.clone();
        let mut turn = pin!(bench.driver.turn("hi".into()));
        assert!(idle(turn.as_mut()).is_none());
        clock.advance(clock.next_wake().unwrap());
        let result = idle(turn).unwrap();
        assert_eq!(provider.requests(), attempts, "{result:?}");
        assert_eq!(result.is_ok(), attempts == 2);
        assert!(result.is_ok() || matches!(result, Err(TurnError::Budget(_))), "{result:?}");
        assert!(budget.used().tokens <= limit);
    };
    let lost = INPUT + 2;
    check(lost + INPUT + 100, 2);
    check(lost + INPUT + 99, 1);
}

#[test]
fn a_refused_call_ends_the_session_at_its_cost_limit() {
    let (provider, mut bench) = bench(&budget(10), None, None, vec![]);
    let result = bench.turn();
    let error = bench.driver.outcome_of(&result).error.unwrap();
    assert_eq!((error.kind, error.limit.unwrap().limit), (FailureKind::Limit, LimitKind::Cost));
    assert_eq!(provider.requests(), 0);
}

#[test]
fn answers_that_break_off_are_charged_too() {
    let budget = budget(1_000_000);
    let (_, mut bench) = bench(&budget, Some(100), None, vec![Answer::Cut("12345678"), Answer::Text("done")]);
    let clock = bench.clock.clone();
    {
        let mut turn = pin!(bench.driver.turn("hi".into()));
        assert!(idle(turn.as_mut()).is_none());
        clock.advance(clock.next_wake().unwrap());
        idle(turn).unwrap().unwrap();
    }
    assert_eq!(budget.used(), Amount { tokens: INPUT + 2 + 15, micro_usd: INPUT + 20 + 60 });
    // A refusal costs nothing.
    let (_, mut bench) =
        self::bench(&budget, Some(100), None, vec![Answer::Fails(ProviderErrorKind::Auth, None)]);
    let before = budget.used();
    bench.turn().unwrap_err();
    assert_eq!(budget.used(), before);
}

#[test]
fn a_cost_that_is_not_known_is_not_zero_and_not_a_part_of_the_whole() {
    let cost = |answers: Vec<Answer>, budget: &Arc<Budget>| {
        let (_, mut bench) = bench(budget, Some(100), None, answers);
        let results = [bench.turn(), bench.turn()];
        bench.driver.outcome_of(&results[1]).cost_micro_usd
    };
    let known = budget(1_000_000);
    assert_eq!(cost(vec![], &known), Some(120));
    let unknown = budget(1_000_000);
    assert_eq!(cost(vec![Answer::Uncounted("hello"), Answer::Text("done")], &unknown), None);
    assert_eq!(cost(vec![Answer::Text("done"), Answer::Uncounted("hello")], &unknown), None);
    // The budget is charged an estimate: the request, and "hello" with its four tokens of frame.
    assert_eq!(unknown.used().micro_usd, 2 * (60 + INPUT + 10 * 6));
    let mut bench = Kit::new(vec![]).build();
    let result = bench.turn();
    assert_eq!(bench.driver.outcome_of(&result).cost_micro_usd, None, "no price is no price of zero");
}
