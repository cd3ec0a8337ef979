//! What a command's exit code and output mean.
//!
//! Guarantees: a denial of one command stands, whatever others say; what cannot be read is told and changes nothing.

use serde::Deserialize;
use serde_json::Value;

use super::command::Ended;
use super::config::Event;

/// Most characters that a command may tell the model.
const CONTEXT_CHARS: usize = 10_000;
/// Most characters of a notice.
const NOTICE_CHARS: usize = 500;

/// What commands want.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answer {
    /// Do not do it, or do not stop: why.
    pub(super) block: Option<String>,
    /// Ask a person: what.
    pub(super) ask: Option<String>,
    /// Other arguments of the tool.
    pub(super) updated: Option<Value>,
    /// What to tell the model.
    pub(super) context: Vec<String>,
    /// What to tell the user.
    pub(super) notices: Vec<String>,
    /// End the session's work: why.
    pub(super) stop: Option<String>,
}

impl Answer {
    /// Both; the first denial and question count, and the last arguments.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.block = self.block.or(other.block);
        self.ask = self.ask.or(other.ask);
        self.updated = other.updated.or(self.updated);
        self.stop = self.stop.or(other.stop);
        self.context.extend(other.context);
        self.notices.extend(other.notices);
        self
    }

    fn fault(text: String) -> Self {
        Self { notices: vec![text], ..Self::default() }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Said {
    #[serde(rename = "continue")]
    go_on: Option<bool>,
    stop_reason: Option<String>,
    decision: Option<Decision>,
    reason: Option<String>,
    system_message: Option<String>,
    /// As the reference system's hooks write it.
    context_injection: Option<String>,
    additional_context: Option<String>,
    hook_specific_output: Specific,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Specific {
    permission_decision: Option<Decision>,
    permission_decision_reason: Option<String>,
    additional_context: Option<String>,
    updated_input: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Decision {
    #[serde(alias = "approve", alias = "continue")]
    Allow,
    #[serde(alias = "block")]
    Deny,
    Ask,
}

/// What a command wants, by how it ended. `fail_closed`: one that failed before a tool or prompt is an objection.
pub(super) fn read(event: Event, line: &str, ended: Ended, fail_closed: bool) -> Answer {
    let name = shortened(line.trim(), 60);
    let failed = |what: String| {
        let text = format!("`{name}` ({}) {what}", event.name());
        let gate = matches!(event, Event::PreToolUse | Event::UserPromptSubmit);
        match fail_closed && gate {
            true => Answer { block: Some(text.clone()), ..Answer::fault(text) },
            false => Answer::fault(text),
        }
    };
    match ended {
        Ended::TimedOut => failed("was ended, it took too long".to_owned()),
        Ended::NotRun(why) => failed(format!("could not be run: {why}")),
        Ended::Exit { code: Some(0), output, .. } => {
            said(event, output.trim()).unwrap_or_else(|why| failed(format!("printed {why}")))
        }
        Ended::Exit { code: Some(2), errors, .. } => objection(event, errors.trim(), &name),
        Ended::Exit { code, errors, .. } => {
            let how =
                code.map_or_else(|| "was ended by a signal".to_owned(), |code| format!("ended with {code}"));
            let why = errors.trim().lines().last().unwrap_or_default();
            let colon = if why.is_empty() { "" } else { ": " };
            failed(format!("{how}{colon}{}", shortened(why, NOTICE_CHARS)))
        }
    }
}

/// Exit code 2: what it means at this event.
fn objection(event: Event, errors: &str, name: &str) -> Answer {
    let why = match errors {
        "" => format!("`{name}` objects"),
        errors => shortened(errors, CONTEXT_CHARS),
    };
    match event {
        Event::PreToolUse | Event::UserPromptSubmit | Event::Stop | Event::SubagentStop => {
            Answer { block: Some(why), ..Answer::default() }
        }
        Event::PostToolUse | Event::PostToolUseFailure => Answer { context: vec![why], ..Answer::default() },
        _ => Answer::fault(shortened(&why, NOTICE_CHARS)),
    }
}

/// Exit code 0: JSON, or words. `Err`: what was printed instead.
fn said(event: Event, output: &str) -> Result<Answer, String> {
    if !output.starts_with('{') {
        if output.contains(['\u{fffd}', '␀']) {
            return Err("something that is no text".to_owned());
        }
        // Where the model begins, words are for it; elsewhere for nobody.
        let told = matches!(event, Event::UserPromptSubmit | Event::SessionStart | Event::SubagentStart);
        let context = (told && !output.is_empty()).then(|| shortened(output, CONTEXT_CHARS));
        return Ok(Answer { context: context.into_iter().collect(), ..Answer::default() });
    }
    let said: Said = serde_json::from_str(output)
        .map_err(|error| format!("JSON that is not understood: {}", shortened(&error.to_string(), 200)))?;
    let Said { hook_specific_output: specific, .. } = said;
    let reason = specific.permission_decision_reason.or(said.reason).filter(|reason| !reason.is_empty());
    let reason = |otherwise: &str| shortened(reason.as_deref().unwrap_or(otherwise), CONTEXT_CHARS);
    let context = [said.context_injection, said.additional_context, specific.additional_context];
    let context = context.into_iter().flatten().filter(|text| !text.trim().is_empty());
    let mut answer = Answer {
        context: context.map(|text| shortened(&text, CONTEXT_CHARS)).collect(),
        notices: said.system_message.iter().map(|text| shortened(text, NOTICE_CHARS)).collect(),
        updated: specific.updated_input.filter(|_| event == Event::PreToolUse),
        ..Answer::default()
    };
    match (specific.permission_decision.or(said.decision), event) {
        (Some(Decision::Deny), Event::PostToolUse | Event::PostToolUseFailure) => {
            answer.context.push(reason("a hook objects to this result"));
        }
        (Some(Decision::Deny), _) => answer.block = Some(reason("a hook objects")),
        (Some(Decision::Ask), Event::PreToolUse) => {
            answer.ask = Some(reason("a hook wants a person to look"))
        }
        _ => {}
    }
    if said.go_on == Some(false) {
        let why = said.stop_reason.unwrap_or_else(|| "a hook has stopped the session".to_owned());
        answer.stop = Some(shortened(&why, NOTICE_CHARS));
    }
    Ok(answer)
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}… [cut]", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn exit(code: i32, output: impl ToString, errors: &str) -> Ended {
        Ended::Exit { code: Some(code), output: output.to_string(), errors: errors.to_owned() }
    }

    fn answer(event: Event, ended: Ended) -> Answer {
        read(event, "check.sh", ended, false)
    }

    #[test]
    fn exit_codes_mean_what_scripts_expect() {
        let block = |event| answer(event, exit(2, "", "no rm\n")).block;
        assert_eq!(block(Event::PreToolUse).as_deref(), Some("no rm"));
        assert_eq!(block(Event::UserPromptSubmit).as_deref(), Some("no rm"));
        assert_eq!(block(Event::Stop).as_deref(), Some("no rm"));
        assert_eq!(answer(Event::PostToolUse, exit(2, "", "lint")).context, ["lint"]);
        assert_eq!(answer(Event::SessionEnd, exit(2, "", "x")).notices, ["x"]);
        assert_eq!(answer(Event::PreToolUse, exit(2, "", "")).block.as_deref(), Some("`check.sh` objects"));
        let other = answer(Event::PreToolUse, exit(7, "", "a\nlast line"));
        assert_eq!(other.block, None);
        assert_eq!(other.notices, ["`check.sh` (PreToolUse) ended with 7: last line"]);
        let closed = read(Event::PreToolUse, "check.sh", Ended::TimedOut, true);
        assert!(closed.block.is_some_and(|why| why.contains("took too long")));
        assert_eq!(read(Event::PostToolUse, "c", Ended::TimedOut, true).block, None);
    }

    #[test]
    fn decisions_are_read_in_all_their_spellings() {
        let pre = |said: Value| answer(Event::PreToolUse, exit(0, said, ""));
        let specific = |decision: &str| {
            pre(json!({"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": decision,
                                              "permissionDecisionReason": "why"}}))
        };
        assert_eq!(specific("deny").block.as_deref(), Some("why"));
        assert_eq!(specific("ask").ask.as_deref(), Some("why"));
        assert_eq!(specific("allow"), Answer::default());
        assert_eq!(pre(json!({"decision": "block", "reason": "old"})).block.as_deref(), Some("old"));
        assert_eq!(pre(json!({"decision": "approve"})), Answer::default());
        assert_eq!(pre(json!({"continue": false, "stopReason": "enough"})).stop.as_deref(), Some("enough"));
        let updated = json!({"hookSpecificOutput": {"updatedInput": {"command": "ls"}}});
        assert_eq!(pre(updated).updated, Some(json!({"command": "ls"})));
        let post = answer(Event::PostToolUse, exit(0, json!({"decision": "block", "reason": "lint"}), ""));
        assert_eq!((post.block, post.context), (None, vec!["lint".to_owned()]));
        let told = json!({"systemMessage": "hi", "suppressOutput": true, "hookSpecificOutput": {"additionalContext": "c"}});
        let told = answer(Event::UserPromptSubmit, exit(0, told, ""));
        assert_eq!((told.context, told.notices), (vec!["c".to_owned()], vec!["hi".to_owned()]));
    }

    #[test]
    fn words_are_for_the_model_only_where_it_begins_and_rubbish_is_told() {
        assert_eq!(answer(Event::SessionStart, exit(0, " branch main\n", "")).context, ["branch main"]);
        assert_eq!(answer(Event::PreToolUse, exit(0, "checked", "")), Answer::default());
        for rubbish in ["{\"decision\": 5}", "{not json", "{\"decision\": \"perhaps\"}", "\u{fffd}\u{fffd}"] {
            let said = answer(Event::PreToolUse, exit(0, rubbish, ""));
            assert_eq!((said.block.is_some(), said.notices.len()), (false, 1), "{rubbish}");
        }
        let long = "x".repeat(20_000);
        let told = answer(Event::SessionStart, exit(0, long, "")).context;
        assert!(told[0].len() < 10_100 && told[0].ends_with("[cut]"));
    }

    #[test]
    fn the_strongest_answer_of_several_counts() {
        let deny = answer(Event::PreToolUse, exit(2, "", "no"));
        let ask = answer(Event::PreToolUse, exit(0, json!({"decision": "ask", "reason": "sure?"}), ""));
        let both = ask.and(deny);
        assert_eq!((both.block.as_deref(), both.ask.as_deref()), (Some("no"), Some("sure?")));
    }
}
