//! Gates: hooks, permissions and people who may object.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use amplifier_core::approval::ApprovalAnswer;
use amplifier_core::hook::{Question, Verdict};
use amplifier_core::permission::{Access, Layer, Mode};
use amplifier_core::turn::TurnError;
use amplifier_core::*;

use crate::support::*;

fn one_call() -> Vec<Answer> {
    vec![Answer::Calls(vec![call("c1", "t")])]
}

fn result(bench: &Bench) -> String {
    bench.held().iter().find(|message| message.role == Role::Tool).unwrap().text()
}

fn asking_hook() -> Kit {
    let question = Verdict::Ask(Question::new("may it run?"));
    Kit::new(one_call()).tool("t", Does::Answers).verdict(EventType::ToolPre, question)
}

#[test]
fn a_question_without_anybody_to_answer_is_a_denial() {
    let mut bench = asking_hook().build();
    let result_of_turn = bench.turn();
    assert_eq!(result(&bench), "refused by recorder: nobody can be asked");
    assert!(bench.driver.outcome_of(&result_of_turn).denied_unasked);
    assert_eq!(bench.hook.count(EventType::ApprovalRequired), 0);
}

#[test]
fn an_answer_that_does_not_come_in_time_is_a_denial() {
    let mut kit = asking_hook();
    kit.approver = FakeApprover::new(None);
    let mut bench = kit.build();
    let clock = bench.clock.clone();
    {
        let mut turn = pin!(bench.driver.turn("hi".into()));
        assert!(idle(turn.as_mut()).is_none());
        assert_eq!(clock.next_wake(), Some(Duration::from_secs(300)));
        clock.advance(Duration::from_secs(299));
        assert!(idle(turn.as_mut()).is_none());
        clock.advance(Duration::from_secs(1));
        assert_eq!(idle(turn).unwrap().unwrap().text, "done");
    }
    assert_eq!(result(&bench), "refused by recorder: nobody answered in time");
    assert_eq!(bench.hook.count(EventType::ApprovalDenied), 1);
}

#[test]
fn a_question_is_withdrawn_when_the_session_is_asked_to_stop() {
    for (event, level) in
        [(EventType::ToolPre, CancelLevel::Graceful), (EventType::PromptSubmit, CancelLevel::Immediate)]
    {
        let question = Verdict::Ask(Question::new("may it?"));
        let mut kit = Kit::new(one_call()).tool("t", Does::Answers).verdict(event, question);
        kit.approver = FakeApprover::new(None);
        let mut bench = kit.build();
        let result = bench.turn_cancelled_when_idle(level);
        assert!(matches!(result, Err(TurnError::Cancelled)), "{level:?}: {result:?}");
        assert!(bench.tools[0].calls.lock().unwrap().is_empty());
    }
}

#[test]
fn what_was_allowed_for_the_session_is_not_asked_again() {
    for (answer, questions) in [(ApprovalAnswer::Allow, 2), (ApprovalAnswer::AllowForSession, 1)] {
        let mut kit = asking_hook();
        kit.answers = vec![Answer::Calls(vec![call("c1", "t"), call("c2", "t")])];
        let approver = FakeApprover::new(Some(answer));
        kit.approver = Arc::clone(&approver) as Arc<dyn approval::Approver>;
        let mut bench = kit.build();
        bench.turn().unwrap();
        assert_eq!(approver.1.load(Ordering::Acquire), questions);
        assert_eq!(bench.tools[0].calls.lock().unwrap().len(), 2);
    }
}

fn restricted(access: Access, approver: Option<Arc<FakeApprover>>) -> Bench {
    let mut kit = Kit::new(one_call()).tool("t", Does::Touches(access));
    if let Some(approver) = approver {
        kit.approver = approver;
    }
    let layer = Layer::of_mode("mode default", Mode::Default, vec!["/w".into()]);
    kit.build_with(|builder| builder.permissions(Permissions::unrestricted().with(layer)))
}

#[test]
fn a_denial_that_somebody_could_have_lifted_is_remembered() {
    let mut bench = restricted(Access::Network("example.org".into()), None);
    let turn = bench.turn();
    assert_eq!(
        result(&bench),
        "permission denied: t may not connect to example.org (mode default; nobody can be asked)"
    );
    assert!(bench.driver.outcome_of(&turn).denied_unasked);
    assert_eq!(bench.hook.count(EventType::PolicyViolation), 1);
    assert!(bench.tools[0].calls.lock().unwrap().is_empty());
}

#[test]
fn a_person_decides_where_a_layer_asks() {
    let deny = ApprovalAnswer::Deny { reason: "never".into() };
    for (answer, expected) in [
        (ApprovalAnswer::Allow, "t ran"),
        (deny, "permission denied: t may not connect to example.org (mode default; never)"),
    ] {
        let approver = FakeApprover::new(Some(answer));
        let mut bench = restricted(Access::Network("example.org".into()), Some(approver));
        let turn = bench.turn();
        assert_eq!(result(&bench), expected);
        assert!(!bench.driver.outcome_of(&turn).denied_unasked, "a person was asked");
    }
}

#[test]
fn a_hook_may_refuse_or_change_a_prompt() {
    let denial = Verdict::Deny { reason: "off topic".into() };
    let mut bench = Kit::new(vec![]).verdict(EventType::PromptSubmit, denial).build();
    let result = bench.turn();
    assert!(matches!(&result, Err(TurnError::Denied { reason, .. }) if reason == "off topic"));
    assert!(bench.held().is_empty());
    assert_eq!(bench.driver.outcome_of(&result).error.unwrap().kind, outcome::FailureKind::Denied);

    let change = Verdict::Modify(serde_json::json!({"prompt": "hello"}));
    let mut bench = Kit::new(vec![]).verdict(EventType::PromptSubmit, change).build();
    bench.turn().unwrap();
    assert_eq!(bench.held()[0].text(), "hello");
}
