//! Commands of `hooks-shell` in a session: what they read, what they may do, and what they may not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kit::{Done, Place};
use crate::terminal::at_terminal;

/// Writes what it reads to a file, and nothing else.
const RECORD: &str = "cat >> \"$CLAUDE_PROJECT_DIR/log.jsonl\"";

/// A trusted project whose bundle `b` has these hooks and this script.
fn place(hooks: &Value, script: &Value) -> Place {
    let place = Place::new();
    bundle(&place, hooks, script, &json!({}));
    place.run(&["trust"]).ok();
    place
}

fn bundle(place: &Place, hooks: &Value, script: &Value, more: &Value) {
    let mut bundle = json!({
        "bundle": {"name": "b"},
        "session": {"orchestrator": "loop-streaming", "context": "context-simple"},
        "providers": [{"module": "provider-scripted", "config": {"script": script}}],
        "tools": [{"module": "tool-filesystem"}, {"module": "tool-bash"}],
        "hooks": [{"module": "hooks-shell", "config": {"hooks": hooks}}],
    });
    let more = more.as_object().unwrap();
    more.iter().for_each(|(key, value)| bundle[key] = value.clone());
    place.write(".amplifier/bundles/b.yaml", &bundle.to_string());
}

fn hook(matcher: &str, command: &str) -> Value {
    json!([{"matcher": matcher, "hooks": [{"type": "command", "command": command}]}])
}

fn run(place: &Place) -> Done {
    place.run(&["run", "-B", "b", "--session-id", "s", "go"])
}

fn log(place: &Place) -> Vec<Value> {
    let text = std::fs::read_to_string(place.project().join("log.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The conversation of the session, one line a message.
fn transcript(place: &Place) -> String {
    let project = std::fs::read_dir(place.home().join("projects")).unwrap().next().unwrap().unwrap();
    std::fs::read_to_string(project.path().join("sessions/s/transcript.jsonl")).unwrap()
}

/// A script that writes a file, then says what came of it.
fn writes() -> Value {
    json!([
        {"when": {"after_tool": "write_file"}, "text": "result: {{result}}"},
        {"tool_calls": [{"tool": "write_file", "arguments": {"path": "out.txt", "content": "first"}}]},
    ])
}

#[test]
fn exit_code_2_refuses_a_call_under_the_names_that_scripts_know() {
    let command = format!("{RECORD}; echo 'not in this repository' >&2; exit 2");
    let place = place(&json!({"PreToolUse": hook("Write|Edit", &command)}), &writes());
    let done = run(&place).ok();
    assert!(done.stdout.contains("refused by hooks-shell: not in this repository"), "{}", done.stdout);
    assert!(!place.project().join("out.txt").exists());
    let [told] = log(&place).try_into().unwrap();
    let project = std::fs::canonicalize(place.project()).unwrap();
    for (key, expect) in [
        ("session_id", json!("s")),
        ("cwd", json!(project)),
        ("hook_event_name", json!("PreToolUse")),
        ("tool_name", json!("Write")),
        ("amplifier_tool_name", json!("write_file")),
        ("tool_input", json!({"path": "out.txt", "content": "first", "file_path": project.join("out.txt")})),
    ] {
        assert_eq!(told[key], expect, "{key}: {told}");
    }
    assert!(told["transcript_path"].as_str().unwrap().ends_with("/s/transcript.jsonl"), "{told}");
}

#[test]
fn a_command_changes_arguments_and_tells_the_model() {
    let answer = json!({"systemMessage": "changed it", "hookSpecificOutput": {"hookEventName": "PreToolUse",
        "permissionDecision": "allow", "additionalContext": "house style applies",
        "updatedInput": {"file_path": "other.txt", "content": "second"}}});
    let command = format!("echo '{answer}'");
    let post =
        "jq -r .tool_response.content 2>/dev/null || cat >/dev/null; echo 'line 1 is too long' >&2; exit 2";
    let hooks = json!({"PreToolUse": hook("write_file", &command), "PostToolUse": hook("*", post)});
    let place = place(&hooks, &writes());
    run(&place).ok().says(&["changed it"]);
    assert_eq!(std::fs::read_to_string(place.project().join("other.txt")).unwrap(), "second");
    assert!(!place.project().join("out.txt").exists());
    let said = transcript(&place);
    assert!(said.contains("[hook PreToolUse] house style applies"), "{said}");
    assert!(said.contains("[hook PostToolUse] line 1 is too long"), "{said}");
}

#[test]
fn a_prompt_is_refused_or_added_to() {
    let refused =
        place(&json!({"UserPromptSubmit": hook("", "echo 'no secrets here' >&2; exit 2")}), &writes());
    run(&refused).code(1).says(&["no secrets here"]);
    assert!(!refused.project().join("out.txt").exists());
    let added = place(
        &json!({"UserPromptSubmit": hook("", "jq -r .prompt >/dev/null 2>&1; echo the branch is main")}),
        &json!([{"text": "ok"}]),
    );
    run(&added).ok();
    assert!(transcript(&added).contains("[hook UserPromptSubmit] the branch is main"));
}

#[test]
fn the_end_of_a_turn_waits_until_nobody_objects() {
    let command =
        format!("{RECORD}; [ $(wc -l < log.jsonl) -gt 1 ] || {{ echo 'run the tests first' >&2; exit 2; }}");
    let script = json!([{"times": 1, "text": "finished"}, {"text": "tested"}]);
    let place = place(&json!({"Stop": hook("", &command)}), &script);
    let done = run(&place).ok();
    assert_eq!(done.stdout, "tested\n");
    let told = log(&place);
    let active: Vec<_> =
        told.iter().map(|one| (&one["stop_hook_active"], &one["last_assistant_message"])).collect();
    assert_eq!(active, [(&json!(false), &json!("finished")), (&json!(true), &json!("tested"))]);
}

#[test]
fn an_end_that_is_never_granted_is_bounded() {
    let place = place(&json!({"Stop": hook("", "echo more >&2; exit 2")}), &json!([{"text": "done"}]));
    run(&place).ok().says(&["kept this turn from ending 8 times"]);
    assert_eq!(transcript(&place).matches("\"assistant\"").count(), 9);
}

#[test]
fn a_question_without_somebody_to_ask_is_a_denial() {
    let answer =
        json!({"hookSpecificOutput": {"permissionDecision": "ask", "permissionDecisionReason": "sure?"}});
    let place = place(&json!({"PreToolUse": hook("Write", &format!("echo '{answer}'"))}), &writes());
    run(&place).code(4);
    assert!(!place.project().join("out.txt").exists());
}

#[test]
fn an_answer_for_the_session_covers_one_call_though_the_command_gives_one_reason_for_all() {
    let answer =
        json!({"hookSpecificOutput": {"permissionDecision": "ask", "permissionDecisionReason": "sure?"}});
    let touch = |name: &str| json!([{"tool": "bash", "arguments": {"command": format!("touch {name}")}}]);
    let script = json!([
        {"when": {"after_tool": "bash"}, "times": 1, "tool_calls": touch("two")},
        {"when": {"after_tool": "bash"}, "text": "over"},
        {"tool_calls": touch("one")},
    ]);
    let place = place(&json!({"PreToolUse": hook("Bash", &format!("echo '{answer}'"))}), &script);
    let line = ["run", "-B", "b", "--permission-mode", "bypassPermissions", "go"];
    let (_, screen) = at_terminal(&place, &line, &[("[n]o: ", "a\n"), ("[n]o: ", "n\n")], false);
    let there = |name: &str| place.project().join(name).exists();
    assert!(there("one") && !there("two"), "{screen}");
}

#[test]
fn what_fails_hangs_or_prints_rubbish_is_told_and_goes_on() {
    let slow = "echo $$ > pid; sleep 600 & echo $! >> pid; wait";
    let hooks = json!({"PreToolUse": [{"hooks": [
        {"command": "echo oops >&2; exit 3"}, {"command": "echo '{rubbish'"},
        {"command": "exec /no/such/program"}, {"command": slow, "timeout": 0.3},
        {"command": "head -c 3000000 /dev/zero | tr '\\0' x"},
    ]}]});
    let place = place(&hooks, &writes());
    let parts = ["ended with 3: oops", "JSON that is not understood", "ended with 12", "it took too long"];
    run(&place).ok().says(&parts);
    assert_eq!(std::fs::read_to_string(place.project().join("out.txt")).unwrap(), "first");
    let pids = std::fs::read_to_string(place.project().join("pid")).unwrap();
    let begin = Instant::now();
    for pid in pids.lines().map(|line| line.parse().unwrap()) {
        while amplifier_tests::process::runs(pid) {
            assert!(begin.elapsed() < Duration::from_secs(60), "{pid} lives on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_failure_before_a_tool_is_an_objection_where_that_is_wanted() {
    let place = Place::new();
    let config = json!({"fail_closed": true, "hooks": {"PreToolUse": hook("*", "exit 1")}});
    bundle(&place, &json!({}), &writes(), &json!({"hooks": [{"module": "hooks-shell", "config": config}]}));
    place.run(&["trust"]).ok();
    let done = run(&place).ok();
    assert!(done.stdout.contains("refused by hooks-shell"), "{}", done.stdout);
    assert!(!place.project().join("out.txt").exists());
}

#[test]
fn a_session_and_its_children_are_told_from_begin_to_end() {
    let every: serde_json::Map<String, Value> = [
        "SessionStart",
        "SessionEnd",
        "SubagentStart",
        "SubagentStop",
        "Stop",
        "PreToolUse",
        "PostToolUse",
        "PostToolUseFailure",
    ]
    .iter()
    .map(|event| ((*event).to_owned(), hook("", RECORD)))
    .collect();
    let place = Place::new();
    let child = json!([{"text": "child done"}]);
    let script = json!([
        {"when": {"after_tool": "delegate"}, "text": "over"},
        {"tool_calls": [{"tool": "delegate", "arguments": {"agent": "helper", "instruction": "help", "context_depth": "none"}}]},
    ]);
    let providers = json!([{"module": "provider-scripted", "config": {"script": child}}]);
    let more = json!({"tools": [{"module": "tool-delegate"}],
        "agents": {"helper": {"description": "d", "instruction": "i", "providers": providers}}});
    bundle(&place, &Value::Object(every), &script, &more);
    place.run(&["trust"]).ok();
    let call = place.call(&["run", "-B", "b", "--session-id", "s", "go"]);
    call.env("LAB_API_KEY", "sk-hidden").done().ok();
    let told: Vec<(String, bool)> = log(&place)
        .iter()
        .map(|one| (one["hook_event_name"].as_str().unwrap().to_owned(), one["session_id"] == "s"))
        .collect();
    let expect = [
        ("SessionStart", true),
        ("PreToolUse", true),
        ("SubagentStart", false),
        ("SubagentStop", false),
        ("PostToolUse", true),
        ("Stop", true),
        ("SessionEnd", true),
    ];
    assert_eq!(told, expect.map(|(name, own)| (name.to_owned(), own)));
    let task = &log(&place)[1];
    assert_eq!(
        (&task["tool_name"], &task["tool_input"]["subagent_type"]),
        (&json!("Task"), &json!("helper"))
    );
}

#[test]
fn variables_name_the_session_and_no_secret() {
    let place = place(&json!({"SessionStart": hook("startup", "env > env.txt")}), &json!([{"text": "ok"}]));
    let call = place.call(&["run", "-B", "b", "--session-id", "s", "go"]);
    call.env("LAB_API_KEY", "sk-hidden").env("LAB_NAME", "lab").done().ok();
    let text = std::fs::read_to_string(place.project().join("env.txt")).unwrap();
    for line in ["AMPLIFIER_SESSION_ID=s", "CLAUDE_PROJECT_DIR=/", "AMPLIFIER_HOOKS_DIR=/", "LAB_NAME=lab"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("sk-hidden"), "{text}");
}

#[test]
fn commands_of_a_project_that_nobody_trusts_do_not_run() {
    let place = Place::new();
    let hooks = json!({"SessionStart": hook("", "touch ran")});
    bundle(&place, &hooks, &json!([{"text": "ok"}]), &json!({}));
    run(&place).ok().says(&["ignored in bundle b", "hooks of hooks-shell", "amplifier trust"]);
    assert!(!place.project().join("ran").exists());
    let agents = json!({"agents": {"spy": {"description": "d", "instruction": "i",
        "hooks": [{"module": "hooks-shell", "config": {"hooks": hooks}}]}}});
    bundle(&place, &json!({}), &json!([{"text": "ok"}]), &agents);
    place.run(&["run", "-B", "b", "go"]).ok().says(&["hooks of hooks-shell of agent spy"]);
    place.write(
        ".amplifier/settings.yaml",
        &json!({"overrides": {"hooks-shell": {"config": {"hooks": hooks}}}}).to_string(),
    );
    place.run(&["run", "-B", "b", "go"]).ok().says(&["hooks of hooks-shell"]);
    assert!(!place.project().join("ran").exists());
    place.run(&["trust"]).ok();
    place.run(&["run", "-B", "b", "go"]).ok();
    assert!(place.project().join("ran").exists());
}
