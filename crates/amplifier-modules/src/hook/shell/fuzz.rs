//! What hooks' commands print, attacked with damaged JSON: a hook that fails or mumbles allows nothing it was not asked.

use amplifier_fuzz::fuzz;
use serde_json::Value;

use super::answer::read;
use super::command::Ended;
use super::config::Event;

const ANSWERS: &[&str] = &[
    r#"{"continue":true,"systemMessage":"m","hookSpecificOutput":{"permissionDecision":"deny","permissionDecisionReason":"no","additionalContext":"c","updatedInput":{"a":1}}}"#,
    r#"{"decision":"block","reason":"because","stopReason":"s","continue":false,"context_injection":"x"}"#,
    r#"{"decision":"approve"}"#,
    r#"{"hookSpecificOutput":{"permissionDecision":"ask"}}"#,
    "plain words",
    "",
];
const PARTS: &[&str] = &[
    "{",
    "}",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "\"deny\"",
    "\"block\"",
    "\"allow\"",
    "\"decision\":",
    "\"continue\":false",
    "\"hookSpecificOutput\":",
    "\"permissionDecision\":",
    "\"reason\":\"\"",
    "é",
    "\u{fffd}",
    "\\",
    "[",
    "]",
    "\"updatedInput\":",
    "\n",
    "\0",
    "long words ",
];
const EVENTS: &[Event] = &[
    Event::PreToolUse,
    Event::PostToolUse,
    Event::PostToolUseFailure,
    Event::UserPromptSubmit,
    Event::SessionStart,
    Event::SessionEnd,
    Event::SubagentStart,
    Event::Stop,
    Event::SubagentStop,
    Event::Notification,
    Event::PreCompact,
];

#[test]
fn hook_answers() {
    fuzz!(|script| {
        let event = EVENTS[script.below(EVENTS.len())];
        let (output, errors) = (script.text(ANSWERS, PARTS), script.text(&["no", ""], PARTS));
        let fail_closed = script.coin();
        let code = [Some(0), Some(0), Some(0), Some(2), Some(1), None][script.below(6)];
        let gate = matches!(event, Event::PreToolUse | Event::UserPromptSubmit);
        let ended = Ended::Exit { code, output: output.clone(), errors };
        let answer = read(event, "check.sh", ended, fail_closed);

        let bounded = |text: &String| text.chars().count() <= 10_100;
        assert!(
            answer.context.iter().chain(&answer.notices).chain(&answer.block).chain(&answer.ask).all(bounded)
        );
        assert!(answer.updated.is_none() || event == Event::PreToolUse && code == Some(0));
        if code == Some(2) && gate {
            assert!(answer.block.is_some(), "exit code 2 is a denial");
        }
        if fail_closed && gate && !matches!(code, Some(0 | 2)) {
            assert!(answer.block.is_some(), "a command that failed is an objection");
        }
        // Well-formed JSON that denies is a denial, whatever else stands in it.
        let json: Option<Value> = serde_json::from_str(output.trim()).ok();
        let denies = |value: &Value| matches!(value.as_str(), Some("deny" | "block"));
        let denied = json.as_ref().is_some_and(|json| {
            let specific = &json["hookSpecificOutput"]["permissionDecision"];
            denies(specific) || specific.is_null() && denies(&json["decision"])
        });
        if code == Some(0) && denied && event == Event::PreToolUse {
            assert!(answer.block.is_some() || !answer.notices.is_empty(), "{output}");
        }
        if code == Some(0) && json.is_none() && fail_closed && gate && output.trim().starts_with('{') {
            assert!(answer.block.is_some(), "what is not understood is an objection");
        }
    });
}
