//! Tool calls: whatever happens, the model gets one result.

use amplifier_core::hook::Verdict;
use amplifier_core::*;
use serde_json::json;

use crate::support::*;

fn result_of(kit: Kit, name: &str) -> (Bench, String) {
    let mut kit = kit;
    kit.answers = vec![Answer::Calls(vec![call("c1", name)])];
    let mut bench = kit.build();
    assert_eq!(bench.turn().unwrap().text, "done");
    let held = bench.held();
    assert_calls_have_one_result_each(&held);
    let result = held.iter().find(|message| message.role == Role::Tool).unwrap();
    let (text, is_error) = (result.text(), result.is_error());
    let expected = if is_error { EventType::ToolError } else { EventType::ToolPost };
    assert_eq!(bench.hook.count(expected), 1);
    (bench, format!("{}{text}", if is_error { "error: " } else { "" }))
}

#[test]
fn every_end_of_a_tool_is_a_result() {
    for (does, expected) in [
        (Does::Answers, "t ran"),
        (Does::Fails, "error: no such thing"),
        (Does::Panics, "error: tool t panicked: the tool broke"),
        (Does::PanicsInAccess, "error: tool t panicked: cannot say"),
    ] {
        let (_, text) = result_of(Kit::new(vec![]).tool("t", does), "t");
        assert_eq!(text, expected);
    }
}

#[test]
fn an_unknown_tool_is_named_with_those_that_exist() {
    let (_, text) = result_of(Kit::new(vec![]).tool("t", Does::Answers), "u");
    assert_eq!(text, "error: there is no tool `u`; there are: t");
}

#[test]
fn a_hook_that_denies_keeps_the_tool_from_running() {
    let denial = Verdict::Deny { reason: "not today".into() };
    let kit = Kit::new(vec![]).tool("t", Does::Answers).verdict(EventType::ToolPre, denial);
    let (bench, text) = result_of(kit, "t");
    assert_eq!(text, "error: refused by recorder: not today");
    assert!(bench.tools[0].calls.lock().unwrap().is_empty());
}

#[test]
fn a_hook_may_change_arguments_and_results() {
    let kit = Kit::new(vec![])
        .tool("t", Does::Answers)
        .verdict(EventType::ToolPre, Verdict::Modify(json!({"tool_input": {"changed": 1}})))
        .verdict(EventType::ToolPost, Verdict::Modify(json!({"result": "changed"})));
    let (bench, text) = result_of(kit, "t");
    assert_eq!(text, "changed");
    assert_eq!(*bench.tools[0].calls.lock().unwrap(), [json!({"changed": 1})]);
}

#[test]
fn data_that_a_hook_made_of_another_shape_changes_nothing() {
    let kit = Kit::new(vec![])
        .tool("t", Does::Answers)
        .verdict(EventType::ToolPre, Verdict::Modify(json!("text")))
        .verdict(EventType::ToolPost, Verdict::Modify(json!([1])));
    assert_eq!(result_of(kit, "t").1, "t ran");
}
