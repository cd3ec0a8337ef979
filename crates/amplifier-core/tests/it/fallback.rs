//! Several choices: who is asked next, when, and what of an earlier one's answers it is shown.

use std::pin::pin;
use std::sync::Arc;

use amplifier_core::hook::{Injection, Verdict};
use amplifier_core::module::provider::{Provider, ProviderErrorKind};
use amplifier_core::turn::{Choice, ModelOptions, TurnError};
use amplifier_core::*;
use serde_json::Value;

use crate::support::*;

fn fails(kind: ProviderErrorKind) -> Answer {
    Answer::Fails(kind, None)
}

struct Two {
    first: Arc<FakeProvider>,
    second: Arc<FakeProvider>,
    bench: Bench,
}

fn two(first: Vec<Answer>, second: Vec<Answer>, more: impl FnOnce(Kit) -> Kit) -> Two {
    let (first, second) = (FakeProvider::named("first", first), FakeProvider::named("second", second));
    let choices = vec![
        Choice::new(Arc::clone(&first) as Arc<dyn Provider>),
        Choice::new(Arc::clone(&second) as Arc<dyn Provider>).with_model("big"),
    ];
    let mut options = ModelOptions::default();
    options.model = Some("counts for nothing".into());
    let kit = more(Kit::new(Vec::new()));
    let bench = kit.build_with(|builder| builder.choices(choices).options(options));
    Two { first, second, bench }
}

fn models(provider: &FakeProvider) -> Vec<Option<String>> {
    provider.requests.lock().unwrap().iter().map(|request| request.model.clone()).collect()
}

#[test]
fn the_next_choice_answers_this_call_and_all_later_ones() {
    let calls = Answer::Calls(vec![call("c1", "t")]);
    let Two { first, second, mut bench } =
        two(vec![fails(ProviderErrorKind::Auth)], vec![calls], |kit| kit.tool("t", Does::Answers));
    assert_eq!(bench.turn().unwrap().text, "done");
    assert_eq!(bench.turn().unwrap().turns, 3, "a call that another choice answers counts once");
    assert_eq!((models(&first), models(&second)), (vec![None], vec![Some("big".into()); 3]));
    let told = bench.hook.data(EventType::ProviderError);
    let names =
        ["provider", "model", "next_provider", "next_model"].map(|key| told[0][key].as_str().unwrap());
    assert_eq!((told.len(), names), (1, ["first", "fake-1", "second", "big"]));
    let notices: Vec<String> = bench.display.0.lock().unwrap().clone();
    let notices: Vec<&String> =
        notices.iter().filter(|line| line.contains("going on with second/big")).collect();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert_eq!(bench.session.model().unwrap(), "second/fake-1");
}

#[test]
fn the_last_choices_error_is_the_turns() {
    let Two { first, second, mut bench } =
        two(vec![fails(ProviderErrorKind::Quota)], vec![fails(ProviderErrorKind::Auth)], |kit| kit);
    let result = bench.turn();
    assert!(matches!(&result, Err(TurnError::Provider(error)) if error.kind == ProviderErrorKind::Auth));
    assert_eq!((first.requests(), second.requests()), (1, 1));
    let told = bench.hook.data(EventType::ProviderError);
    assert_eq!(
        (told.len(), &told[1]["provider"], &told[1]["next_provider"]),
        (2, &"second".into(), &Value::Null)
    );
    // The next turn begins where the last one ended.
    assert_eq!((bench.turn().unwrap().text.as_str(), first.requests()), ("done", 1));
}

#[test]
fn what_passes_is_tried_again_before_anybody_else_is_asked() {
    let Two { first, second, mut bench } = two(vec![Answer::Cut("hal"); 9], vec![], |kit| kit);
    let clock = bench.clock.clone();
    {
        let mut turn = pin!(bench.driver.turn("hi".into()));
        let reply = loop {
            match idle(turn.as_mut()) {
                Some(reply) => break reply,
                None => clock.advance(clock.next_wake().expect("the turn waits for the clock")),
            }
        };
        assert_eq!(reply.unwrap().text, "done");
    }
    assert_eq!((first.requests(), second.requests()), (4, 1));
    let shown = bench.display.0.lock().unwrap().clone();
    let count = |start: &str| shown.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!((count("Text(\"hal\")"), count("Restarted")), (4, 4), "each partial answer is told void");
}

#[test]
fn what_is_no_fault_of_a_provider_changes_none() {
    let check = |answers: Vec<Answer>, wanted: fn(&TurnError) -> bool, more: fn(Kit) -> Kit| {
        let Two { second, mut bench, .. } = two(answers, vec![], more);
        let error = bench.turn().unwrap_err();
        assert!(wanted(&error), "{error:?}");
        assert_eq!(second.requests(), 0, "{error:?}");
    };
    let long = fails(ProviderErrorKind::ContextTooLong);
    check(vec![long.clone(), long], |error| matches!(error, TurnError::Provider(_)), |kit| kit);
    check(
        vec![],
        |error| matches!(error, TurnError::Denied { .. }),
        |kit| kit.verdict(EventType::LlmRequest, Verdict::Deny { reason: "no".into() }),
    );
    let Two { second, mut bench, .. } = two(vec![Answer::Hangs], vec![], |kit| kit);
    assert!(matches!(bench.turn_cancelled_when_idle(CancelLevel::Graceful), Err(TurnError::Cancelled)));
    assert_eq!((second.requests(), bench.hook.count(EventType::ProviderError)), (0, 0));
}

#[test]
fn hooks_may_object_to_the_next_choice_and_are_not_heard_twice() {
    let injecting = |ephemeral| {
        let mut injection = Injection::ephemeral("it is Sunday");
        injection.ephemeral = ephemeral;
        let verdict = Verdict::Inject(injection);
        two(vec![fails(ProviderErrorKind::Auth)], vec![], |kit| {
            kit.verdict(EventType::ProviderRequest, verdict)
        })
    };
    for (ephemeral, second_turn) in [(true, 4), (false, 5)] {
        let Two { second, mut bench, .. } = injecting(ephemeral);
        bench.turn().unwrap();
        assert_eq!(second.request_texts(0), ["hi", "it is Sunday"], "ephemeral: {ephemeral}");
        let asked = bench.hook.data(EventType::ProviderRequest);
        assert_eq!([&asked[0]["provider"], &asked[1]["provider"]], ["first", "second"]);
        bench.turn().unwrap();
        assert_eq!(second.request_texts(1).len(), second_turn, "ephemeral: {ephemeral}");
    }
}

/// Reasoning with a proof, and a call with data beside it.
fn thoughtful(id: &str) -> Answer {
    let mut message = Message::assistant("");
    let proof = Some(format!("proof of {id}"));
    message.content = Content::Blocks(vec![ContentBlock::thinking("hm", proof), ContentBlock::text("so")]);
    let mut call = call(id, "t");
    call.extra.insert("thought_signature".into(), format!("proof of {id}").into());
    message.tool_calls.push(call);
    Answer::Says(Box::new(message))
}

fn proofs(provider: &FakeProvider, request: usize) -> Vec<String> {
    let messages = provider.requests.lock().unwrap()[request].messages.to_vec();
    let text = serde_json::to_string(&messages).unwrap();
    let parts = text.split("proof of ").skip(1);
    parts.map(|part| part[..2].to_owned()).collect()
}

#[test]
fn reasoning_of_one_provider_goes_back_to_nobody_else() {
    let first = vec![thoughtful("c1"), fails(ProviderErrorKind::Auth)];
    let Two { first, second, mut bench } =
        two(first, vec![thoughtful("c2"), Answer::Text("done")], |kit| kit.tool("t", Does::Answers));
    bench.turn().unwrap();
    assert_eq!(proofs(&first, 1), ["c1", "c1"], "its own");
    assert_eq!(second.request_texts(0), ["hi", "so", "t ran"]);
    assert!(proofs(&second, 0).is_empty());
    assert_eq!(proofs(&second, 1), ["c2", "c2"], "its own alone");
    let held = serde_json::to_string(&bench.held()).unwrap();
    assert_eq!(held.matches("proof of").count(), 4, "the transcript keeps all");

    // The next activation begins with the first choice again.
    let Two { first, mut bench, .. } = two(vec![], vec![], |kit| kit);
    let messages = serde_json::from_str::<Vec<Arc<Message>>>(&held).unwrap();
    bench.driver.restore(messages, Vec::new());
    bench.turn().unwrap();
    assert_eq!(proofs(&first, 0), ["c1", "c1"]);
}
