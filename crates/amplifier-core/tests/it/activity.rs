//! Activity: states, suspended time, and which deadline is next.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::activity::{Activity, ActivityGuard, ActivityState, Deadline, next_deadline};
use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_core::permission::{Access, Layer, Mode};
use amplifier_core::*;

use crate::support::*;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(seconds: u64) -> MonoTime {
    MonoTime::from_origin(secs(seconds))
}

fn activity() -> (ManualClock, Activity) {
    let clock = ManualClock::default();
    (clock.clone(), Activity::new(Arc::new(clock)))
}

fn limits(timeout: Option<u64>, first_progress: Option<u64>, idle: Option<u64>) -> Limits {
    let mut limits = Limits::default();
    limits.timeout_ms = timeout.map(|seconds| seconds * 1_000);
    limits.first_progress_ms = first_progress.map(|seconds| seconds * 1_000);
    limits.idle_ms = idle.map(|seconds| seconds * 1_000);
    limits
}

fn state(activity: &Activity) -> ActivityState {
    activity.snapshot().state
}

#[test]
fn what_matters_most_is_shown_and_every_guard_takes_itself_back() {
    let (clock, activity) = activity();
    assert_eq!(state(&activity), ActivityState::Starting);
    let turn = activity.model();
    assert_eq!(state(&activity), ActivityState::Model);
    let (first, second) = (activity.tool(), activity.tool());
    drop(first);
    assert_eq!((state(&activity), activity.snapshot().tools), (ActivityState::Tool, 1));
    let waiting = activity.waiting("slow down", at(60));
    let until = clock.now().saturating_add(secs(60));
    assert_eq!(state(&activity), ActivityState::Waiting { reason: "slow down".into(), until });
    waiting.until(at(90));
    assert!(matches!(state(&activity), ActivityState::Waiting { until: later, .. } if later > until));
    let asking = activity.asking();
    assert_eq!(state(&activity), ActivityState::Asking);
    drop((asking, waiting));
    assert_eq!(state(&activity), ActivityState::Tool);
    drop(second);
    assert_eq!(state(&activity), ActivityState::Model);
    drop(turn);
    assert_eq!(state(&activity), ActivityState::Idle);
    let json =
        serde_json::to_value(ActivityState::Waiting { reason: "r".into(), until: clock.now() }).unwrap();
    assert_eq!((&json["state"], &json["reason"]), (&"waiting".into(), &"r".into()));
}

#[test]
fn a_child_in_the_foreground_suspends_its_parents_and_one_in_the_background_nobody() {
    let (clock, root) = activity();
    let (near, aside) = (root.child(), root.child());
    let far = near.child();
    near.set_foreground(true);
    far.set_foreground(true);
    let asked = aside.asking();
    clock.advance(secs(1));
    let waiting = far.waiting("limit", at(100));
    clock.advance(secs(2));
    assert_eq!([&root, &near, &far, &aside].map(Activity::suspended), [2, 2, 2, 3].map(secs));
    // From now on the root does not wait for it any more; then again.
    near.set_foreground(false);
    clock.advance(secs(4));
    near.set_foreground(true);
    clock.advance(secs(8));
    drop((waiting, asked));
    clock.advance(secs(16));
    assert_eq!([&root, &near, &far, &aside].map(Activity::suspended), [10, 14, 14, 15].map(secs));
    assert!([&root, &near, &far, &aside].iter().all(|one| !one.snapshot().is_suspended));
}

#[derive(Debug, Clone)]
enum Step {
    Ask(usize),
    Answer(usize),
    Foreground(usize, bool),
    Pass(u64),
}

fn step() -> impl proptest::strategy::Strategy<Value = Step> {
    use proptest::prelude::*;
    prop_oneof![
        (0..4usize).prop_map(Step::Ask),
        (0..4usize).prop_map(Step::Answer),
        (1..4usize, any::<bool>()).prop_map(|(who, on)| Step::Foreground(who, on)),
        (1..9u64).prop_map(Step::Pass),
    ]
}

proptest::proptest! {
    /// 0 is the root, 1 and 2 its children, 3 a child of 2; each step's time is counted anew.
    #[test]
    fn suspended_time_is_what_a_plain_count_says(steps in proptest::collection::vec(step(), 1..60)) {
        let (clock, root) = activity();
        let (one, two) = (root.child(), root.child());
        let all = [root, one, two.clone(), two.child()];
        let mut asked: [Vec<ActivityGuard>; 4] = Default::default();
        let (mut front, mut expected) = ([false; 4], [0u64; 4]);
        for step in steps {
            match step {
                Step::Ask(who) => asked[who].push(all[who].asking()),
                Step::Answer(who) => drop(asked[who].pop()),
                Step::Foreground(who, on) => {
                    front[who] = on;
                    all[who].set_foreground(on);
                }
                Step::Pass(seconds) => {
                    clock.advance(secs(seconds));
                    let mut held = [0, 1, 2, 3].map(|who| !asked[who].is_empty());
                    held[2] |= held[3] && front[3];
                    held[0] |= (held[1] && front[1]) || (held[2] && front[2]);
                    for who in 0..4 {
                        expected[who] += if held[who] { seconds } else { 0 };
                    }
                }
            }
            for who in 0..4 {
                proptest::prop_assert_eq!(all[who].suspended(), secs(expected[who]));
            }
        }
    }
}

#[test]
fn the_next_deadline_is_the_first_that_can_pass() {
    let check = |limits: &Limits, activity: &Activity, expect: Option<(u64, Deadline)>| {
        let expect = expect.map(|(seconds, deadline)| (at(seconds), deadline));
        assert_eq!(next_deadline(limits, at(0), &activity.snapshot(), at(10)), expect, "{limits:?}");
    };
    let (clock, activity) = activity();
    check(&limits(None, None, None), &activity, None);
    check(&limits(Some(100), Some(50), Some(70)), &activity, Some((50, Deadline::FirstProgress)));
    clock.advance(secs(10));
    let turn = activity.model();
    check(&limits(Some(100), None, Some(70)), &activity, Some((80, Deadline::Idle)));
    activity.progress();
    check(&limits(Some(100), Some(50), None), &activity, Some((100, Deadline::Timeout)));
    let asking = activity.asking();
    clock.advance(secs(5));
    check(&limits(Some(100), None, Some(20)), &activity, None);
    drop(asking);
    check(&limits(Some(100), None, Some(20)), &activity, Some((35, Deadline::Idle)));
    let tool = activity.tool();
    check(&limits(Some(100), None, Some(20)), &activity, Some((105, Deadline::Timeout)));
    clock.advance(secs(15));
    drop(tool);
    check(&limits(None, None, Some(20)), &activity, Some((50, Deadline::Idle)));
    drop(turn);
    check(&limits(Some(100), Some(1), Some(20)), &activity, Some((105, Deadline::Timeout)));
}

#[test]
fn what_had_passed_before_a_suspension_has_passed() {
    let (clock, activity) = activity();
    clock.advance(secs(10));
    let _asking = activity.asking();
    clock.advance(secs(3));
    let snapshot = activity.snapshot();
    let next = |limits: &Limits| next_deadline(limits, at(0), &snapshot, at(13));
    assert_eq!(next(&limits(Some(10), None, None)), Some((at(13), Deadline::Timeout)));
    assert_eq!(next(&limits(Some(11), None, None)), None);
}

#[test]
fn a_supervisor_wakes_when_a_suspension_or_a_tool_has_ended() {
    let (clock, activity) = activity();
    let limits = limits(Some(60), None, Some(20));
    let mut expired = pin!(activity.expired(&limits, at(0)));
    let turn = activity.model();
    let tool = activity.tool();
    assert!(idle(expired.as_mut()).is_none());
    clock.advance(secs(50));
    let asking = activity.asking();
    assert!(idle(expired.as_mut()).is_none(), "a tool is no silence");
    clock.advance(secs(3_600));
    assert!(idle(expired.as_mut()).is_none(), "nothing passes while a person is asked");
    drop((asking, tool));
    assert!(idle(expired.as_mut()).is_none());
    assert_eq!(clock.next_wake(), Some(secs(10)), "what was left of the time");
    clock.advance(secs(10));
    assert_eq!(idle(expired).unwrap(), Deadline::Timeout);
    drop(turn);
}

#[test]
fn a_silent_turn_is_found_and_says_which_limit() {
    let (clock, activity) = activity();
    let limits = limits(None, Some(120), Some(30));
    let _turn = activity.model();
    activity.progress();
    let mut expired = pin!(activity.expired(&limits, at(0)));
    for _ in 0..3 {
        assert!(idle(expired.as_mut()).is_none());
        clock.advance(secs(29));
        activity.progress();
    }
    assert!(idle(expired.as_mut()).is_none());
    clock.advance(secs(30));
    let deadline = idle(expired).unwrap();
    assert_eq!(deadline, Deadline::Idle);
    let reached = deadline.reached(&limits, "the bundle").unwrap();
    assert_eq!(reached.to_string(), "limit idle_ms is reached: 30000 of 30000, set by the bundle");
    assert!(Deadline::Timeout.reached(&limits, "me").is_none());
}

#[test]
fn a_prompt_is_no_sign_of_life_and_a_streamed_piece_is() {
    let mut bench = Kit::new(vec![Answer::Hangs]).build();
    let activity = bench.session.env().activity.clone();
    {
        let mut turn = pin!(bench.driver.turn("hi".into()));
        assert!(idle(turn.as_mut()).is_none());
        assert_eq!((state(&activity), activity.has_progressed()), (ActivityState::Model, false));
    }
    assert_eq!(state(&activity), ActivityState::Idle, "a turn that is cut off has ended");
    let mut bench = Kit::new(vec![Answer::Stalls("hal")]).build();
    let activity = bench.session.env().activity.clone();
    bench.clock.advance(secs(3));
    let mut turn = pin!(bench.driver.turn("hi".into()));
    assert!(idle(turn.as_mut()).is_none());
    assert_eq!(activity.last_progress(), Some(at(3)));
}

#[test]
fn tools_are_counted_and_a_cut_gives_all_back() {
    let calls = vec![call("c1", "t")];
    let mut bench = Kit::new(vec![Answer::Calls(calls)]).tool("t", Does::Hangs).build();
    let activity = bench.session.env().activity.clone();
    {
        let mut turn = pin!(bench.driver.turn("hi".into()));
        assert!(idle(turn.as_mut()).is_none());
        assert_eq!((state(&activity), activity.snapshot().tools), (ActivityState::Tool, 1));
    }
    assert_eq!((state(&activity), activity.snapshot().tools), (ActivityState::Idle, 0));
}

#[test]
fn a_question_and_a_rate_limit_suspend_the_session() {
    let access = Access::Shell("rm x".into());
    let mut kit = Kit::new(vec![Answer::Calls(vec![call("c1", "t")])]).tool("t", Does::Touches(access));
    kit.approver = FakeApprover::new(None);
    let layer = Layer::of_mode("test", Mode::Default, Vec::new());
    let permissions = Permissions::unrestricted().with(layer);
    let mut bench = kit.build_with(|builder| builder.permissions(permissions));
    let (activity, clock) = (bench.session.env().activity.clone(), bench.clock.clone());
    let mut turn = pin!(bench.driver.turn("hi".into()));
    assert!(idle(turn.as_mut()).is_none());
    assert_eq!(state(&activity), ActivityState::Asking);
    clock.advance(secs(300));
    idle(turn).unwrap().unwrap();
    assert_eq!((activity.suspended(), state(&activity)), (secs(300), ActivityState::Idle));

    let limited = Answer::Fails(ProviderErrorKind::RateLimited, Some(secs(7)));
    let mut bench = Kit::new(vec![limited]).build();
    let (activity, clock) = (bench.session.env().activity.clone(), bench.clock.clone());
    let mut turn = pin!(bench.driver.turn("hi".into()));
    assert!(idle(turn.as_mut()).is_none());
    assert!(matches!(state(&activity), ActivityState::Waiting { reason, .. } if &*reason == "no luck"));
    clock.advance(secs(7));
    idle(turn).unwrap().unwrap();
    assert_eq!(activity.suspended(), secs(7));
}
