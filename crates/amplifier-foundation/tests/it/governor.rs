//! The governor: who waits, who goes first, and what a session shows of it.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amplifier_core::activity::ActivityState;
use amplifier_core::governor::{Governor, Pass, Verdict};
use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_core::outcome::FailureKind;
use amplifier_core::session::SessionBuilder;
use amplifier_core::turn::{RetryPolicy, TurnError};
use amplifier_core::*;
use amplifier_foundation::governor::ProcessGovernor;

use crate::support::*;

const KEY: &str = "fake";

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(seconds: u64) -> MonoTime {
    MonoTime::from_origin(secs(seconds))
}

fn governor(clock: &ManualClock) -> Arc<ProcessGovernor> {
    Arc::new(ProcessGovernor::new(Arc::new(clock.clone()), Arc::new(SeededIds::default())))
}

fn limited(seconds: u64) -> Verdict {
    Verdict::Limited { retry_after: Some(secs(seconds)) }
}

type Waiting<'a> = Pin<Box<dyn Future<Output = Pass> + Send + 'a>>;

fn ignore(_: MonoTime) {}

fn queue(governor: &ProcessGovernor) -> Waiting<'_> {
    governor.queue(KEY, &ignore)
}

/// Who of the queue may go now, in the order in which they are polled; again until nobody more may.
fn passed(waiting: &mut Vec<(usize, Waiting<'_>)>) -> Vec<(usize, Pass)> {
    let mut all = Vec::new();
    loop {
        let before = all.len();
        waiting.retain_mut(|(name, queue)| match idle(queue.as_mut()) {
            Some(pass) => {
                all.push((*name, pass));
                false
            }
            None => true,
        });
        if all.len() == before {
            return all;
        }
    }
}

fn names(passed: &[(usize, Pass)]) -> Vec<usize> {
    passed.iter().map(|(name, _)| *name).collect()
}

#[test]
fn one_goes_first_and_the_others_follow_after_its_answer_in_their_order() {
    let clock = ManualClock::default();
    let governor = governor(&clock);
    let first = governor.enter(KEY).unwrap();
    governor.report(KEY, first, limited(60));
    assert_eq!(governor.enter(KEY), Err(at(60)));
    governor.enter("another key").unwrap();
    let mut waiting: Vec<_> = (0..9).map(|name| (name, queue(&governor))).collect();
    assert!(passed(&mut waiting).is_empty());
    clock.advance(secs(59));
    assert!(passed(&mut waiting).is_empty());
    clock.advance(secs(1));
    let probe = passed(&mut waiting);
    assert_eq!(names(&probe), [0], "one alone");
    assert_eq!(governor.enter(KEY), Err(at(60)), "nobody overtakes the queue");
    governor.report(KEY, probe[0].1, Verdict::Answered);
    let second = passed(&mut waiting);
    assert_eq!(names(&second), [1, 2]);
    governor.report(KEY, second[0].1, Verdict::Answered);
    assert_eq!(names(&passed(&mut waiting)), [3, 4], "two for each answer");
    governor.report(KEY, second[1].1, Verdict::Failed);
    assert_eq!(names(&passed(&mut waiting)), [5], "a failure frees one place");
    assert_eq!(governor.queued(KEY), 3);
}

#[test]
fn a_key_is_open_again_when_nobody_waits() {
    let clock = ManualClock::default();
    let governor = governor(&clock);
    governor.report(KEY, governor.enter(KEY).unwrap(), limited(5));
    assert_eq!(governor.limited_until(KEY), Some(at(5)));
    clock.advance(secs(5));
    let probe = governor.enter(KEY).unwrap();
    assert!(governor.enter(KEY).is_err());
    governor.report(KEY, probe, Verdict::Answered);
    assert_eq!(governor.limited_until(KEY), None);
    for _ in 0..100 {
        governor.enter(KEY).unwrap();
    }
}

#[test]
fn whoever_stops_waiting_leaves_no_trace() {
    let clock = ManualClock::default();
    let governor = governor(&clock);
    governor.report(KEY, governor.enter(KEY).unwrap(), limited(60));
    let mut waiting: Vec<_> = (0..4).map(|name| (name, queue(&governor))).collect();
    assert!(passed(&mut waiting).is_empty());
    // The first of the queue and one in the middle.
    waiting.retain(|(name, _)| [1, 3].contains(name));
    assert_eq!(governor.queued(KEY), 2);
    clock.advance(secs(60));
    let probe = passed(&mut waiting);
    assert_eq!(names(&probe), [1]);
    // The probe is given up: the next one looks.
    governor.report(KEY, probe[0].1, Verdict::Failed);
    assert_eq!(names(&passed(&mut waiting)), [3]);
    assert_eq!((governor.queued(KEY), clock.next_wake()), (0, None));
}

#[test]
fn refusals_of_calls_that_were_out_together_count_once() {
    let clock = ManualClock::default();
    let governor = governor(&clock);
    let all: Vec<Pass> = (0..50).map(|_| governor.enter(KEY).unwrap()).collect();
    for (index, pass) in all.iter().enumerate() {
        let retry_after = (index == 20).then_some(secs(30));
        governor.report(KEY, *pass, Verdict::Limited { retry_after });
    }
    assert_eq!(governor.limited_until(KEY), Some(at(30)), "the longest wait that was asked for");
    // An answer to a call from before the limit does not lift it.
    governor.report(KEY, all[0], Verdict::Answered);
    assert_eq!(governor.limited_until(KEY), Some(at(30)));
    clock.advance(secs(30));
    let probe = governor.enter(KEY).unwrap();
    governor.report(KEY, probe, Verdict::Limited { retry_after: None });
    let wait = governor.limited_until(KEY).unwrap().saturating_since(at(30));
    assert!(wait > secs(1) && wait <= secs(2), "the second refusal in a row, not the fifty-first: {wait:?}");
}

#[test]
fn whoever_waits_hears_of_each_new_time() {
    let clock = ManualClock::default();
    let governor = governor(&clock);
    governor.report(KEY, governor.enter(KEY).unwrap(), limited(60));
    let heard = Mutex::new(Vec::new());
    let told = |at| heard.lock().unwrap().push(at);
    let (mut first, mut second) = (queue(&governor), governor.queue(KEY, &told));
    assert!(idle(first.as_mut()).is_none() && idle(second.as_mut()).is_none());
    clock.advance(secs(60));
    let probe = idle(first.as_mut()).unwrap();
    governor.report(KEY, probe, limited(100));
    assert!(idle(second.as_mut()).is_none());
    assert_eq!(*heard.lock().unwrap(), [at(60), at(160)]);
}

#[test]
fn a_service_that_never_stops_refusing_is_asked_less_and_less() {
    for retry_after in [None, Some(Duration::ZERO)] {
        let clock = ManualClock::default();
        let governor = governor(&clock);
        let mut asked = 0;
        while clock.monotonic() < at(2 * 3_600) {
            let Ok(pass) = governor.enter(KEY) else {
                clock.advance(secs(1));
                continue;
            };
            asked += 1;
            governor.report(KEY, pass, Verdict::Limited { retry_after });
        }
        assert!((100..200).contains(&asked), "{asked} requests, {retry_after:?}");
    }
    let clock = ManualClock::default();
    let governor = governor(&clock);
    governor.report(KEY, governor.enter(KEY).unwrap(), limited(10 * 24 * 3_600));
    assert_eq!(governor.limited_until(KEY), Some(at(6 * 3_600)), "no service closes a process for days");
}

fn patient(patience: Duration, governor: &Arc<ProcessGovernor>) -> impl Fn(SessionBuilder) -> SessionBuilder {
    let governor = Arc::clone(governor) as Arc<dyn Governor>;
    move |builder| {
        let mut policy = RetryPolicy::default();
        policy.rate_limit_patience = patience;
        builder.retry(policy).governor(Arc::clone(&governor))
    }
}

fn bench(
    clock: &ManualClock,
    answers: Vec<Answer>,
    more: impl Fn(SessionBuilder) -> SessionBuilder,
) -> Bench {
    let mut kit = Kit::new(answers);
    kit.clock = clock.clone();
    kit.build_with(more)
}

fn refusal(seconds: u64) -> Answer {
    Answer::Fails(ProviderErrorKind::RateLimited, Some(secs(seconds)))
}

#[test]
fn a_limit_that_one_session_meets_holds_the_others_back() {
    let clock = ManualClock::default();
    let governor = governor(&clock);
    let mut one = bench(&clock, vec![refusal(600), refusal(600)], patient(secs(3_600), &governor));
    let mut two = bench(&clock, vec![], patient(secs(3_600), &governor));
    let activity = two.session.env().activity.clone();
    {
        let (mut first, mut second) = (pin!(one.driver.turn("a".into())), pin!(two.driver.turn("b".into())));
        assert!(idle(first.as_mut()).is_none() && idle(second.as_mut()).is_none());
        let until = clock.now().saturating_add(secs(600));
        let reason: Arc<str> = "another session has met a rate limit".into();
        assert_eq!(activity.snapshot().state, ActivityState::Waiting { reason, until });
        clock.advance(secs(600));
        // One looks whether it is over; it is not.
        assert!(idle(first.as_mut()).is_none() && idle(second.as_mut()).is_none());
        assert!(
            matches!(activity.snapshot().state, ActivityState::Waiting { until: later, .. } if later > until)
        );
        clock.advance(secs(600));
        assert_eq!(idle(second).unwrap().unwrap().text, "done");
        assert_eq!(idle(first).unwrap().unwrap().text, "done");
    }
    assert_eq!((one.provider.requests(), two.provider.requests()), (3, 1));
    assert_eq!((activity.suspended(), activity.snapshot().state), (secs(1_200), ActivityState::Idle));
    assert_eq!(two.hook.count(EventType::ProviderThrottle), 1);
    let shown = two.display.0.lock().unwrap().join("\n");
    assert!(shown.contains("another session has met a rate limit; trying again in 600000 ms"), "{shown}");
}

#[test]
fn patience_is_of_one_call_and_ends_the_wait_by_the_clock() {
    let clock = ManualClock::default();
    let governor = governor(&clock);
    let mut patient_one = bench(&clock, vec![refusal(50)], patient(secs(3_600), &governor));
    let mut hasty = bench(&clock, vec![], patient(secs(70), &governor));
    let mut first = pin!(patient_one.driver.turn("a".into()));
    assert!(idle(first.as_mut()).is_none());
    let result = {
        let mut second = pin!(hasty.driver.turn("b".into()));
        assert!(idle(second.as_mut()).is_none());
        // The time of the limit is up, but the first of the queue has not gone yet.
        clock.advance(secs(50));
        assert!(idle(second.as_mut()).is_none());
        clock.advance(secs(20));
        idle(second).unwrap()
    };
    let outcome = hasty.driver.outcome_of(&result);
    assert_eq!(outcome.error.unwrap().kind, FailureKind::RateLimited);
    assert_eq!((hasty.provider.requests(), governor.queued(KEY)), (0, 1));
    // A wait that is known to be too long is not begun. (A number that no call has had yet is not from
    // before the limit.)
    governor.report(KEY, Pass(u64::MAX), limited(300));
    let mut late = bench(&clock, vec![], patient(secs(120), &governor));
    let error = late.turn().unwrap_err().to_string();
    assert!(error.contains("it asks to wait for 300 s, and rate_limit_patience is 120 s"), "{error}");
    assert_eq!(late.provider.requests(), 0);
}

#[test]
fn a_session_that_is_stopped_while_it_waits_is_cancelled_and_gone() {
    let clock = ManualClock::default();
    let governor = governor(&clock);
    let mut bench = bench(&clock, vec![refusal(60)], patient(secs(3_600), &governor));
    assert!(matches!(bench.turn_cancelled_when_idle(CancelLevel::Graceful), Err(TurnError::Cancelled)));
    assert_eq!((governor.queued(KEY), bench.hook.count(EventType::ProviderError)), (0, 0));
}

#[test]
fn a_session_that_is_stopped_in_its_request_lets_the_next_one_look() {
    let clock = ManualClock::default();
    let governor = governor(&clock);
    let mut one = bench(&clock, vec![refusal(60), Answer::Hangs], patient(secs(3_600), &governor));
    let mut two = bench(&clock, vec![], patient(secs(3_600), &governor));
    let cancel = one.cancel.clone();
    let (mut first, mut second) = (pin!(one.driver.turn("a".into())), pin!(two.driver.turn("b".into())));
    assert!(idle(first.as_mut()).is_none() && idle(second.as_mut()).is_none());
    clock.advance(secs(60));
    assert!(idle(first.as_mut()).is_none() && idle(second.as_mut()).is_none(), "the probe hangs");
    cancel.cancel(CancelLevel::Graceful, CancelReason::Requested);
    assert!(matches!(idle(first), Some(Err(TurnError::Cancelled))));
    assert_eq!(idle(second).unwrap().unwrap().text, "done");
}
