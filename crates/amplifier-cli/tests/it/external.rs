//! `loop-external`: another agent's command line behind the built `amplifier`. The agent is a script that prints what
//! `claude` and `codex` print.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::kit::{Done, Place};

const AGENT: &str = include_str!("../../../../tests/agents/agent.sh");
const SESSION: &str = "0f3c9f4e-52a4-4f0e-9d36-1f6f6a2c7b10";

/// A place with the bundle `b`, whose agent is the script; `more` are further lines of its config.
fn place(kind: &str, more: &str) -> Place {
    let place = Place::new();
    let agent = place.project().join("../agent.sh");
    std::fs::write(&agent, AGENT).unwrap();
    let config = format!("{{kind: {kind}, command: [bash, '{}']{more}}}", agent.display());
    let text = format!(
        "---\nbundle: {{name: b, version: 1.0.0}}\n\
         session: {{orchestrator: {{module: loop-external, config: {config}}}, context: context-simple}}\n\
         ---\nBe short.\n"
    );
    std::fs::create_dir_all(place.home().join("bundles")).unwrap();
    std::fs::write(place.home().join("bundles/b.md"), text).unwrap();
    place
}

trait Agent {
    fn ask(&self, more: &[&str]) -> Done;
    fn log(&self, name: &str) -> String;
    fn transcript(&self) -> Vec<Value>;
    fn is_alive(&self, file: &str) -> bool;
}

impl Agent for Place {
    fn ask(&self, more: &[&str]) -> Done {
        self.run(&[&["run", "-B", "b", "--output-format", "stream-json"], more].concat())
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.project().join(name)).unwrap_or_default()
    }

    fn transcript(&self) -> Vec<Value> {
        let path = self.session_folder(&self.sessions()[0]).join("transcript.jsonl");
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn is_alive(&self, file: &str) -> bool {
        let pid: i32 = self.log(file).trim().parse().unwrap();
        kill(Pid::from_raw(pid), None).is_ok()
            && !std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    }
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn until_there(path: &Path) {
    eventually("the agent has begun", || path.exists() && std::fs::metadata(path).unwrap().len() > 0);
}

/// Role, text or name of the call, in order.
fn shape(messages: &[Value]) -> Vec<String> {
    let content = |message: &Value| match &message["content"] {
        Value::String(text) => text.clone(),
        blocks => blocks.as_array().unwrap().iter().map(|block| block["type"].as_str().unwrap()).collect(),
    };
    let calls = |message: &Value| -> String {
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        calls.map(|call| format!("+{}", call["tool"].as_str().unwrap())).collect()
    };
    let line = |message: &Value| {
        format!("{}:{}{}", message["role"].as_str().unwrap(), content(message).trim(), calls(message))
    };
    messages.iter().map(line).collect()
}

#[test]
fn what_claude_says_and_does_is_the_sessions() {
    let place = place("claude", ", model: sonnet");
    let lines = place.ask(&["please work"]).ok().lines();
    let end = lines.last().unwrap();
    assert_eq!((&end["subtype"], &end["result"]), (&json!("success"), &json!("There are two files.")));
    assert_eq!((&end["num_turns"], &end["total_cost_usd"]), (&json!(3), &json!(0.0123)));
    assert_eq!(end["usage"]["output_tokens"], 50);
    assert_eq!(end["usage"]["input_tokens"].as_u64().unwrap(), 3 * 1104, "the sub-agent's too");
    let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).count();
    assert_eq!((of("tool_start"), of("tool_end")), (1, 1), "{lines:#?}");
    let texts =
        lines.iter().filter_map(|line| line["text"].as_str().filter(|_| line["type"] == "text_delta"));
    assert_eq!(texts.collect::<String>(), "I look. There are two files.");
    let messages = place.transcript();
    let expect = [
        "user:please work",
        "assistant:thinkingtext",
        "assistant:+Bash",
        "tool:a.txt\nb.txt",
        "assistant:There are two files.",
    ];
    assert_eq!(shape(&messages), expect);
    assert_eq!(messages[1]["metadata"]["external"]["session_id"], SESSION);
    assert_eq!(messages[2]["tool_calls"][0]["external"], "claude");
    let args = place.log("args.log");
    assert!(args.contains("-p ") && args.contains("--model sonnet") && !args.contains("please"), "{args}");
    assert_eq!(place.log("prompts.log"), "<instructions>\nBe short.\n</instructions>\n\nplease work\n===\n");
}

#[test]
fn what_codex_says_and_does_is_the_sessions() {
    let prices = ", model: gpt-5, prices: {gpt-5: {input: 1, output: 10}}";
    let place = place("codex", prices);
    let end = place.ask(&["please work"]).ok().lines().pop().unwrap();
    assert_eq!((&end["subtype"], &end["result"]), (&json!("success"), &json!("One file is changed.")));
    assert_eq!((&end["usage"]["input_tokens"], &end["usage"]["output_tokens"]), (&json!(1000), &json!(30)));
    assert_eq!(end["total_cost_usd"], 0.0013);
    let expect = [
        "user:please work",
        "assistant:thinking+command_execution",
        "tool:a.txt\n[exit code 2]",
        "assistant:+file_change",
        "tool:[completed]",
        "assistant:+mcp__docs__search",
        "tool:found",
        "assistant:+web_search",
        "tool:[completed]",
        "assistant:+todo_list",
        "tool:[completed]",
        "assistant:One file is changed.",
    ];
    assert_eq!(shape(&place.transcript()), expect);
    assert!(
        place
            .log("args.log")
            .starts_with("exec --json --skip-git-repo-check --sandbox workspace-write --model gpt-5 -")
    );
    // The thread's total has grown by as much again: only that is charged.
    let session = place.sessions()[0].clone();
    let end = place.ask(&["--resume", &session, "and more"]).ok().lines().pop().unwrap();
    assert_eq!(end["usage"]["input_tokens"], 1000);
    assert!(place.log("args.log").lines().last().unwrap().ends_with(&format!("resume {SESSION} -")));
}

#[test]
fn a_resumed_session_goes_on_with_the_agents_own() {
    let place = place("claude", "");
    place.ask(&["please work"]).ok();
    let session = place.sessions()[0].clone();
    place.ask(&["--resume", &session, "and more work"]).ok();
    let args = place.log("args.log");
    let last = args.lines().last().unwrap();
    assert!(last.contains(&format!("--resume {SESSION}")) && !last.contains("--fork-session"), "{last}");
    assert!(place.log("prompts.log").ends_with("===\nand more work\n===\n"), "told once");
    assert_eq!(place.transcript().len(), 10);
    place.ask(&["--resume", &session, "--fork-session", "another work"]).ok();
    let args = place.log("args.log");
    assert!(args.lines().last().unwrap().contains(&format!("--resume {SESSION} --fork-session")), "{args}");
}

#[test]
fn where_the_agent_does_not_know_its_session_it_begins_anew_and_is_told() {
    for kind in ["claude", "codex"] {
        let place = place(kind, "");
        place.ask(&["please work"]).ok();
        let session = place.sessions()[0].clone();
        let done = place.ask(&["--resume", &session, "you are lost"]).ok();
        let told = format!("does not know its session {SESSION} any more");
        assert!(done.stdout.contains(&told), "{done:#?}");
        let prompts = place.log("prompts.log");
        let last = prompts.split("===\n").filter(|prompt| !prompt.is_empty()).last().unwrap();
        assert!(
            last.contains("<conversation>\nUser: please work\n") && last.ends_with("you are lost\n"),
            "{last}"
        );
    }
}

#[test]
fn failures_of_the_agent_have_the_right_outcome() {
    for (kind, word, code, subtype, says) in [
        ("claude", "auth", 1, "error_during_execution", "not logged in"),
        ("claude", "limited", 75, "error_rate_limit", "hit your limit"),
        ("claude", "nothing", 1, "error_during_execution", "ended without a result"),
        ("claude", "dies", 1, "error_during_execution", "TypeError: it broke"),
        ("codex", "auth", 1, "error_during_execution", "codex login"),
        ("codex", "error", 1, "error_during_execution", "stream disconnected"),
    ] {
        let place = place(kind, "");
        let done = place.ask(&["please", "--max-turns", "9"]);
        assert_eq!(done.code, Some(0), "{done:#?}");
        let done = place.ask(&[&format!("please {word}")]).code(code);
        let end = done.lines().pop().unwrap();
        assert_eq!((&end["subtype"], &end["is_error"]), (&json!(subtype), &json!(true)), "{word}");
        done.says(&[says]);
    }
}

#[test]
fn rubbish_and_floods_are_told_and_the_turn_goes_on() {
    let place = place("claude", "");
    let done = place.ask(&["it is broken"]).ok();
    assert_eq!(done.lines().last().unwrap()["result"], "There are two files.");
    assert!(done.stdout.contains("this is no JSON") && done.stdout.contains("further ones are not told"));
    let done = place.ask(&["here is a flood"]).ok();
    assert_eq!(done.lines().last().unwrap()["result"], "There are two files.");
    assert!(done.stdout.contains("a line of 50000000 bytes"), "{done:#?}");
}

#[test]
fn the_limit_of_turns_counts_the_agents_calls() {
    let place = place("claude", "");
    let done = place.ask(&["--max-turns", "3", "so many"]).code(3);
    let end = done.lines().pop().unwrap();
    assert_eq!((&end["subtype"], &end["num_turns"]), (&json!("error_max_turns"), &json!(3)));
    assert!(place.log("args.log").contains("--max-turns 3"));
    let done = place.ask(&["--max-turns", "2", "it stops"]).code(3);
    assert_eq!(done.lines().pop().unwrap()["subtype"], "error_max_turns");
}

#[test]
fn a_budget_is_passed_on_and_charged() {
    let place = place("claude", "");
    let done = place.ask(&["--max-budget-usd", "0.5", "please work"]).ok();
    assert!(place.log("args.log").contains("--max-budget-usd 0.500000"));
    assert_eq!(done.lines().pop().unwrap()["total_cost_usd"], 0.0123);
    let codex = self::place("codex", "");
    codex.ask(&["--max-budget-usd", "0.5", "please work"]).code(3).says(&["no price"]);
}

#[test]
fn a_session_that_runs_out_of_time_leaves_no_agent() {
    let place = place("claude", "");
    let done = place.ask(&["--timeout", "2s", "now it hangs"]).code(124);
    assert_eq!(done.lines().pop().unwrap()["subtype"], "error_timeout");
    assert!(!place.is_alive("agent.pid") && !place.is_alive("sleeper.pid"));
    let messages = place.transcript();
    assert_eq!(shape(&messages)[1], "assistant:+Bash");
    assert_eq!((messages.len(), &messages[2]["metadata"]["interrupted"]), (3, &json!(true)));
}

#[test]
fn an_agent_that_says_nothing_is_ended() {
    let place = place("claude", ", start_timeout: 1");
    place.ask(&["be quiet"]).code(1).says(&["said nothing for 1 s", "start_timeout"]);
    assert!(!place.is_alive("agent.pid"));
}

#[test]
fn ctrl_c_lets_the_agent_put_its_things_in_order() {
    let place = place("claude", "");
    let running = place.call(&["run", "-B", "b", "be careful"]).start();
    let begun = place.project().join("begun");
    eventually("the agent has begun", || begun.exists());
    running.signal(Signal::SIGINT);
    running.done().code(130);
    let messages = place.transcript();
    assert!(shape(&messages).contains(&"assistant:I was asked to stop.".to_owned()), "{messages:#?}");
}

#[test]
fn an_agent_whose_session_is_killed_is_ended_and_resumed() {
    let place = place("claude", "");
    let running = place.call(&["run", "-B", "b", "now it hangs"]).start();
    until_there(&place.project().join("agent.pid"));
    eventually("its call is recorded", || {
        let sessions = place.sessions();
        let path = sessions.first().map(|id| place.session_folder(id).join("transcript.jsonl"));
        path.is_some_and(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains("toolu_1")))
    });
    running.signal(Signal::SIGKILL);
    assert_eq!(running.done().code, None);
    let session = place.sessions()[0].clone();
    eventually("the agent is gone", || {
        place.run(&["session", "list", "--all"]).ok();
        !place.is_alive("agent.pid") && !place.is_alive("sleeper.pid")
    });
    place.ask(&["--resume", &session, "now work"]).ok();
    assert!(place.log("args.log").lines().last().unwrap().contains(&format!("--resume {SESSION}")));
    let messages = place.transcript();
    let results = messages.iter().filter(|message| message["tool_call_id"] == "toolu_1").count();
    assert_eq!(results, 2, "one of each run: {:#?}", shape(&messages));
}

/// Asks with a folder for temporary files of its own: everything below that may be written, and the place lies in the
/// machine's.
fn confined(place: &Place, more: &[&str]) -> Done {
    let tmp = place.project().join("../tmp");
    std::fs::create_dir_all(&tmp).unwrap();
    // Somebody has used the agent before: the sandbox lets nobody make the folder.
    std::fs::create_dir_all(place.project().join("../home/.claude")).unwrap();
    let line = [&["run", "-B", "b", "--output-format", "stream-json"], more].concat();
    place.call(&line).env("TMPDIR", tmp.to_str().unwrap()).done()
}

/// Which of the files that the agent tries to write are there: in the project, beside it, in the user's folder, in
/// Amplifier's, in the agent's own.
fn written(place: &Place) -> [bool; 5] {
    let user = place.project().join("../home");
    let files = [
        place.project().join("inside.txt"),
        place.project().join("../outside.txt"),
        user.join("outside.txt"),
        user.join(".amplifier/outside.txt"),
        user.join(".claude/projects/kept"),
    ];
    files.map(|file| file.exists())
}

/// The last command line of the agent.
fn last_line(place: &Place) -> String {
    let log = std::fs::read_to_string(place.project().join("../home/.claude/args.log")).unwrap();
    log.lines().last().unwrap().to_owned()
}

#[test]
fn permissions_hold_the_agent() {
    let place = place("claude", "");
    let done = confined(&place, &["it writes"]);
    if done.code == Some(1) && done.stderr.contains("sandbox not available") {
        return eprintln!("skipped: {}", done.stderr);
    }
    assert_eq!(done.code, Some(0), "{done:#?}");
    assert_eq!(written(&place), [true, false, false, false, true]);
    let line = last_line(&place);
    assert!(line.contains("--allowedTools Bash") && line.contains("--permission-mode acceptEdits"), "{line}");
}

#[test]
fn in_plan_mode_the_agent_writes_to_its_own_folder_alone() {
    let place = place("claude", "");
    let done = confined(&place, &["--permission-mode", "plan", "it writes"]);
    if done.code == Some(1) && done.stderr.contains("sandbox not available") {
        return eprintln!("skipped: {}", done.stderr);
    }
    assert_eq!(written(&place), [false, false, false, false, true], "{done:#?}");
    assert!(last_line(&place).contains("--permission-mode plan"), "{}", last_line(&place));
}

#[test]
fn an_agent_in_the_sandbox_that_changes_its_own_settings_is_told() {
    let place = place("claude", "");
    let quiet = confined(&place, &["it writes"]);
    if quiet.code == Some(1) && quiet.stderr.contains("sandbox not available") {
        return eprintln!("skipped: {}", quiet.stderr);
    }
    assert!(!quiet.stderr.contains("its own settings"), "{quiet:#?}");
    confined(&place, &["it settles"]).ok().says(&[
        "it has changed its own settings",
        ".claude/hooks/later.sh",
        ".claude/settings.json",
    ]);
    // The same again changes nothing; outside of the sandbox it may do what it likes.
    assert!(!confined(&place, &["it settles"]).ok().stderr.contains("its own settings"));
}

#[test]
fn an_agent_outside_of_the_sandbox_needs_a_rule_or_a_flag() {
    let free = place("claude", "");
    confined(&free, &["--permission-mode", "bypassPermissions", "it writes"]).ok();
    assert_eq!(written(&free), [true; 5]);
    assert!(last_line(&free).contains("--permission-mode bypassPermissions"), "{}", last_line(&free));
    let allowed = place("claude", "");
    allowed.write_home("settings.yaml", "permissions: {allow: ['shell(bash *)']}\n");
    confined(&allowed, &["it writes"]).ok();
    assert_eq!(written(&allowed), [true; 5]);
    assert!(last_line(&allowed).contains("--permission-mode acceptEdits"), "{}", last_line(&allowed));
}

#[test]
fn a_rule_against_its_command_or_every_host_keeps_an_agent_from_starting() {
    let place = place("claude", "");
    for (rule, says) in [("'shell(bash *)'", "permission denied"), ("network", "denies every host")] {
        place.write_home("settings.yaml", &format!("permissions: {{deny: [{rule}]}}\n"));
        let done = confined(&place, &["it writes"]).says(&[says]);
        assert_ne!(done.code, Some(0), "{done:#?}");
        assert_eq!(written(&place), [false; 5]);
    }
}

#[test]
fn variables_that_look_like_secrets_are_passed_only_by_name() {
    let place = place("claude", ", env_passthrough: [SOME_TOKEN, ANTHROPIC_API_KEY]");
    place.write_home("keys.env", "ANTHROPIC_API_KEY=sk-ant-from-the-file-0123\n");
    let call = place.call(&["run", "-B", "b", "please work"]);
    call.env("SOME_TOKEN", "t").env("SOME_PASSWORD", "p").env("CLAUDECODE", "1").done().ok();
    let variables = place.log("variables.log");
    assert!(variables.contains("SOME_TOKEN=t") && variables.contains("HOME="), "{variables}");
    assert!(variables.contains("ANTHROPIC_API_KEY=sk-ant-from"), "{variables}");
    assert!(!variables.contains("SOME_PASSWORD") && !variables.contains("CLAUDECODE"), "{variables}");
}

#[test]
fn an_agent_that_is_not_there_is_one_clear_line() {
    let place = place("claude", "");
    let bundle = "bundle: {name: c}\nsession: {orchestrator: {module: loop-external, config: {kind: claude, command: [no-such-agent]}}, context: context-simple}\n";
    std::fs::write(place.home().join("bundles/c.yaml"), bundle).unwrap();
    place
        .run(&["run", "-B", "c", "hi"])
        .code(2)
        .says(&["there is no program `no-such-agent`", "set `command`"]);
    std::fs::write(place.home().join("bundles/c.yaml"), bundle.replace("kind: claude, ", "")).unwrap();
    place.run(&["run", "-B", "c", "hi"]).code(2).says(&["`kind` is missing"]);
}

#[test]
fn which_program_runs_is_not_for_an_untrusted_project_to_say() {
    let place = place("claude", "");
    let text = std::fs::read_to_string(place.home().join("bundles/b.md")).unwrap();
    place.write(".amplifier/bundles/own.md", &text.replace("name: b", "name: own"));
    let done = place.call(&["run", "-B", "own", "please work"]).env("PATH", "/usr/bin:/bin").done();
    done.says(&["not trusted", "command of loop-external"]);
    assert_eq!(place.log("args.log"), "");
}

#[test]
fn the_example_works_with_whatever_claude_is_on_the_path() {
    let place = place("claude", "");
    let bin = place.project().join("../bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join("claude"), AGENT).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(bin.join("claude"), mode).unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/claude-worker");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let call = place.call(&["run", "-B", example.to_str().unwrap(), "please work"]).env("PATH", &path);
    let done = call.done().ok();
    assert_eq!(done.stdout, "There are two files.\n");
    assert!(place.log("prompts.log").contains("nobody can answer a question"));
}
