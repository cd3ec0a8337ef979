//! The hooks that ask, remind, tell where a session works, and name it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::kit::Place;

/// A bundle `b` with these hooks and this script, or whatever else `more` says.
fn bundle(place: &Place, hooks: &Value, script: &Value, more: &Value) {
    let mut bundle = json!({
        "bundle": {"name": "b"},
        "session": {"raw": true, "orchestrator": "loop-streaming", "context": "context-simple"},
        "providers": [{"module": "provider-scripted", "config": {"script": script}}],
        "tools": [{"module": "tool-filesystem"}, {"module": "tool-bash"}, {"module": "tool-todo"}],
        "hooks": hooks,
    });
    let more = more.as_object().unwrap();
    more.iter().for_each(|(key, value)| bundle[key] = value.clone());
    place.write(".amplifier/bundles/b.yaml", &bundle.to_string());
}

fn session(place: &Place, file: &str) -> String {
    let project = std::fs::read_dir(place.home().join("projects")).unwrap().next().unwrap().unwrap();
    std::fs::read_to_string(project.path().join("sessions/s").join(file)).unwrap()
}

/// The last message of each request, from the log of events.
fn last_messages(place: &Place) -> Vec<String> {
    let events = session(place, "events.jsonl");
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let requests = events.filter(|event| event["event"] == "llm:request");
    let last = |request: Value| {
        let messages = request["data"]["raw"]["messages"].as_array().unwrap().clone();
        messages.last().unwrap()["content"].as_str().unwrap_or_default().to_owned()
    };
    requests.map(last).collect()
}

const RUN: [&str; 6] = ["run", "-B", "b", "--session-id", "s", "go"];

#[test]
fn a_rule_refuses_and_a_question_needs_somebody_to_ask() {
    let place = Place::new();
    let script = json!([
        {"when": {"after_tool": "write_file"}, "text": "got {{result}}"},
        {"when": {"prompt": "lock"}, "tool_calls": [{"tool": "write_file", "arguments": {"path": "Cargo.lock", "content": "x"}}]},
        {"tool_calls": [{"tool": "write_file", "arguments": {"path": "note.txt", "content": "x"}}]},
    ]);
    let rules = json!([{"tool": "write_file", "pattern": "*.lock", "action": "deny", "reason": "locks are generated"},
                       {"tool": "Write", "action": "ask"}]);
    let approval = |config: Value| json!([{"module": "hooks-approval", "config": config}]);
    bundle(&place, &approval(json!({"rules": rules})), &script, &json!({}));
    let denied = place.run(&["run", "-B", "b", "lock"]).ok().stdout;
    assert!(denied.contains("refused by hooks-approval: locks are generated"), "{denied}");
    place.run(&["run", "-B", "b", "go"]).code(4);
    assert!(!place.project().join("note.txt").exists());
    bundle(&place, &approval(json!({"rules": rules, "default_action": "continue"})), &script, &json!({}));
    place.run(&["run", "-B", "b", "go"]).ok();
    assert!(place.project().join("note.txt").exists());
    bundle(&place, &approval(json!({"rules": [{"tool": "bash"}]})), &script, &json!({}));
    place.run(&["run", "-B", "b", "go"]).code(2).says(&["rules[0]: `action` is missing"]);
}

#[test]
fn open_items_are_recalled_after_some_calls_without_a_look() {
    let place = Place::new();
    let todo = json!({"tool": "todo", "arguments": {"action": "set", "todos": [
        {"content": "write tests", "status": "in_progress"}, {"content": "read", "status": "completed"}]}});
    let read = json!({"tool_calls": [{"tool": "bash", "arguments": {"command": "true"}}], "times": 3});
    let script = json!([{"tool_calls": [todo], "times": 1}, read, {"text": "done"}]);
    let hooks = json!([{"module": "hooks-todo-reminder", "config": {"after_turns": 2, "inject_role": "user", "priority": 10}},
                       {"module": "hooks-logging"}]);
    bundle(&place, &hooks, &script, &json!({}));
    place.run(&RUN).ok();
    let recalled: Vec<bool> = last_messages(&place)
        .iter()
        .map(|text| text.contains("Your todo list, 1 open") && text.contains("→ write tests"))
        .collect();
    assert_eq!(recalled, [false, false, false, true, false]);
    assert!(!session(&place, "transcript.jsonl").contains("Your todo list"));
}

#[test]
fn the_model_is_told_where_it_works_and_how_git_stands() {
    let place = Place::new();
    let git = |args: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(args).current_dir(place.project()).env("HOME", place.home());
        for (name, value) in [
            ("GIT_AUTHOR_NAME", "a"),
            ("GIT_AUTHOR_EMAIL", "a@b"),
            ("GIT_COMMITTER_NAME", "a"),
            ("GIT_COMMITTER_EMAIL", "a@b"),
        ] {
            command.env(name, value);
        }
        command.output().is_ok_and(|output| output.status.success())
    };
    let hooks = json!([{"module": "hooks-status-context"}, {"module": "hooks-logging"}]);
    bundle(&place, &hooks, &json!([{"text": "done"}]), &json!({}));
    place.run(&RUN).ok();
    let untrusted = last_messages(&place).pop().unwrap();
    assert!(!untrusted.contains("git"), "{untrusted}");
    place.run(&["trust"]).ok();
    place.run(&["session", "delete", "s", "--force"]).ok();
    place.run(&RUN).ok();
    let [told] = last_messages(&place).try_into().unwrap();
    let project = std::fs::canonicalize(place.project()).unwrap();
    for part in [
        &format!("Working directory: {}", project.display()),
        "Session ID: s\n",
        "Is sub-session: No",
        "Platform: ",
        "Today's date: 20",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(told.contains("Is directory a git repo: No"), "{told}");
    assert!(!session(&place, "transcript.jsonl").contains("Working directory"));
    if !git(&["init", "-q", "-b", "main"]) {
        eprintln!("skipped: git is not there");
        return;
    }
    // A program that the repository's configuration names must not run.
    git(&["config", "core.fsmonitor", "touch ran; false"]);
    place.write("a.txt", "1");
    assert!(git(&["add", "a.txt"]) && git(&["commit", "-qm", "the first one"]));
    place.write("b.txt", "1");
    place.run(&["session", "delete", "s", "--force"]).ok();
    let _ = std::fs::remove_file(place.project().join("ran"));
    place.run(&RUN).ok();
    let [told] = last_messages(&place).try_into().unwrap();
    for part in ["Is directory a git repo: Yes", "Current branch: main", "?? b.txt", "the first one"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!place.project().join("ran").exists());
}

/// A service of OpenAI's kind that names sessions and answers everything else; what it was asked.
fn service() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let body = String::from_utf8(body).unwrap();
            let says = if body.contains("You name conversations") {
                "Login repair | Mends the login."
            } else {
                "ok"
            };
            seen.lock().unwrap().push(body);
            let piece = json!({"id": "x", "object": "chat.completion.chunk", "model": "m",
                "choices": [{"index": 0, "delta": {"role": "assistant", "content": says}, "finish_reason": null}]});
            let end = json!({"id": "x", "object": "chat.completion.chunk", "model": "m",
                "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}});
            let text = format!("data: {piece}\n\ndata: {end}\n\ndata: [DONE]\n\n");
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n{text}"
            );
        }
    });
    (url, asked)
}

fn metadata(place: &Place) -> Value {
    serde_json::from_str(&session(place, "metadata.json")).unwrap()
}

#[test]
fn a_session_is_named_by_its_words_then_by_a_model_and_never_instead_of_a_person() {
    let place = Place::new();
    let (url, asked) = service();
    let config = json!({"base_url": url, "default_model": "m", "api_key": "k"});
    let providers = json!({"providers": [{"module": "provider-openai-compatible", "config": config}]});
    bundle(&place, &json!([{"module": "hooks-session-naming"}]), &json!([]), &providers);
    place
        .run(&[
            "run",
            "-B",
            "b",
            "--session-id",
            "s",
            "Fix the login of the web site please, it is broken now",
        ])
        .ok();
    let named = metadata(&place);
    assert_eq!(named["name"], "Fix the login of the web site please,…");
    assert!(named["name_generated_at"].is_string() && asked.lock().unwrap().len() == 1);
    place.run(&["run", "--resume", "s", "and now?"]).ok();
    let named = metadata(&place);
    assert_eq!((&named["name"], &named["description"]), (&json!("Login repair"), &json!("Mends the login.")));
    assert_eq!(
        asked.lock().unwrap().iter().filter(|body| body.contains("You name conversations")).count(),
        1
    );
    place.run(&["run", "--resume", "s", "and then?"]).ok();
    assert_eq!((metadata(&place)["name"].clone(), asked.lock().unwrap().len()), (json!("Login repair"), 4));
    place.run(&["session", "delete", "s", "--force"]).ok();
    place.run(&["run", "-B", "b", "--session-id", "s", "--name", "mine", "hello"]).ok();
    assert_eq!(metadata(&place)["name"], "mine");
    assert!(metadata(&place).get("name_generated_at").is_none());
    // Somebody renames a session that had a name of its words.
    place.run(&["session", "delete", "s", "--force"]).ok();
    place.run(&["run", "-B", "b", "--session-id", "s", "hello"]).ok();
    let path = place.home().join("projects");
    let path =
        std::fs::read_dir(path).unwrap().next().unwrap().unwrap().path().join("sessions/s/metadata.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"name\": \"hello\"", "\"name\": \"ours\"")).unwrap();
    place.run(&["run", "--resume", "s", "and now?"]).ok();
    assert_eq!(metadata(&place)["name"], "ours");
}

#[test]
fn a_role_means_what_the_table_says_for_agents_and_for_calls() {
    let place = Place::new();
    let says = |text: &str| json!({"script": [{"text": text}]});
    let lead = json!({"script": [
        {"when": {"after_tool": "delegate"}, "text": "{{result.response}} / {{result.metadata.note}}"},
        {"when": {"prompt": "call"}, "tool_calls": [{"tool": "delegate", "arguments": {"agent": "plain", "instruction": "x", "model_role": ["odd", "fast"]}}]},
        {"when": {"prompt": "unknown"}, "tool_calls": [{"tool": "delegate", "arguments": {"agent": "plain", "instruction": "x", "model_role": "odd"}}]},
        {"tool_calls": [{"tool": "delegate", "arguments": {"agent": "quick", "instruction": "x"}}]},
    ], "priority": 1});
    let providers = json!([
        {"module": "provider-scripted", "id": "lead", "config": lead},
        {"module": "provider-scripted", "id": "small", "config": says("the small one")},
    ]);
    let agents = json!({"quick": {"description": "d", "instruction": "i", "model_role": "fast"},
                        "plain": {"description": "d", "instruction": "i"}});
    let routing = json!([{"module": "hooks-routing", "config": {"default_matrix": "balanced",
        "roles": {"fast": {"candidates": [{"provider": "absent", "model": "x"}, {"provider": "small", "model": "tiny"}]}}}}]);
    let more = json!({"providers": providers, "agents": agents, "tools": [{"module": "tool-delegate"}]});
    bundle(&place, &routing, &json!([]), &more);
    let said = |prompt: &str| place.run(&["run", "-B", "b", prompt]).ok().stdout;
    assert!(said("agent").starts_with("the small one"), "{}", said("agent"));
    assert!(said("call").starts_with("the small one"), "{}", said("call"));
    let unknown = said("unknown");
    assert!(!unknown.contains("the small one") && unknown.contains("model_role names no role"), "{unknown}");
    // Settings say more than a bundle, and without one too.
    bundle(&place, &json!([]), &json!([]), &more);
    assert!(!said("agent").starts_with("the small one"));
    let table =
        json!({"overrides": {"hooks-routing": {"config": {"roles": {"fast": [{"provider": "small"}]}}}}});
    place.write_home("settings.yaml", &table.to_string());
    assert!(said("agent").starts_with("the small one"));
}
