//! `amplifier run` against a model service: what it answers, and how it fails.

use amplifier_tests::process::{Done, call, run};
use amplifier_tests::project::{TempProject, metadata, shape, transcript};
use amplifier_tests::server::{Reply, Server};
use serde_json::{Value, json};

/// A bundle in the project whose provider is at this address.
pub(crate) fn bundle_at(project: &TempProject, url: &str) {
    project.bundle(
        "wired",
        format!(
            "---\nbundle: {{name: wired}}\nsession: {{orchestrator: loop-streaming, context: context-simple}}\n\
             providers:\n  - module: provider-openai-compatible\n    config: {{base_url: \"{url}\", default_model: test-model}}\n\
             tools:\n  - module: tool-filesystem\n  - module: tool-bash\n---\nYou are tested.\n"
        ),
    );
}

pub(crate) fn wired(replies: impl IntoIterator<Item = Reply>) -> (TempProject, Server) {
    let (project, server) = (TempProject::new(), Server::start(replies));
    bundle_at(&project, &server.url());
    (project, server)
}

#[test]
fn a_tool_conversation_goes_over_the_wire_and_on_to_the_disk() {
    let arguments = json!({"file_path": "made.txt", "content": "by the model"});
    let (project, server) = wired([Reply::Call("write_file", arguments), Reply::Say("It is written.")]);
    let done = run(&project, ["run", "-B", "wired", "--output-format", "json", "write it"]).exits(0);
    let result = done.json();
    assert_eq!((&result["status"], &result["response"]), (&json!("success"), &json!("It is written.")));
    assert_eq!(project.read("made.txt"), "by the model");
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0]["messages"][0]["role"], "system");
    let last = requests[1]["messages"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["role"], &last["tool_call_id"]), (&json!("tool"), &json!("call_1")));
    let messages = transcript(&project.session());
    assert_eq!(
        messages.iter().map(|message| message["role"].as_str().unwrap()).collect::<Vec<_>>(),
        ["user", "assistant", "tool", "assistant"]
    );
    server.then(Reply::Say("Still here."));
    assert_eq!(run(&project, ["continue", "there?"]).exits(0).stdout, "Still here.\n");
    assert_eq!(server.requests()[2]["messages"].as_array().unwrap().len(), 6);
}

/// One run: its exit code, what it tells, what is on disk, how many requests it took.
struct Case {
    replies: Vec<Reply>,
    exit: i32,
    says: &'static [&'static str],
    disk: &'static str,
    requests: usize,
}

fn check(name: &str, case: Case) -> Done {
    let (project, server) = wired(case.replies);
    let done = run(&project, ["run", "-B", "wired", "hello"]).exits(case.exit).says(case.says);
    assert_eq!(shape(&transcript(&project.session())), case.disk, "{name}: what is on disk");
    assert_eq!(server.requests().len(), case.requests, "{name}: requests");
    let status = metadata(&project.session())["amplifier"]["status"].clone();
    assert_eq!(status, if case.exit == 0 { "completed" } else { "failed" }, "{name}");
    // Whatever happened, the session goes on.
    server.then(Reply::Say("again"));
    assert_eq!(run(&project, ["continue", "go on"]).exits(0).stdout, "again\n", "{name}");
    assert!(shape(&transcript(&project.session())).ends_with("u:go on a:again"), "{name}");
    done
}

#[test]
fn a_key_that_is_refused_is_told_and_not_tried_again() {
    let replies = vec![Reply::Status(401, "", "the key is wrong")];
    check(
        "401",
        Case { replies, exit: 1, says: &["error:", "the key is wrong"], disk: "u:hello", requests: 1 },
    );
}

#[test]
fn a_request_that_is_refused_is_told_and_not_tried_again() {
    let replies = vec![Reply::Status(404, "", "no such model")];
    check("404", Case { replies, exit: 1, says: &["no such model"], disk: "u:hello", requests: 1 });
}

#[test]
fn a_rate_limit_is_waited_out() {
    let replies = vec![Reply::Status(429, "retry-after: 0\r\n", "slow down"), Reply::Say("hi")];
    let done =
        check("429", Case { replies, exit: 0, says: &["slow down"], disk: "u:hello a:hi", requests: 2 });
    assert_eq!(done.stdout, "hi\n");
}

#[test]
fn a_rate_limit_that_outlasts_all_patience_is_temporary() {
    let (project, _server) = wired([Reply::Status(429, "retry-after: 3600\r\n", "come back tomorrow")]);
    run(&project, ["run", "-B", "wired", "hello"]).exits(75).says(&["come back tomorrow"]);
    assert_eq!(shape(&transcript(&project.session())), "u:hello");
}

#[test]
fn a_service_in_trouble_is_asked_four_times() {
    let replies = vec![Reply::Status(503, "retry-after: 0\r\n", "in trouble"); 4];
    check("503", Case { replies, exit: 1, says: &["in trouble"], disk: "u:hello", requests: 4 });
}

#[test]
fn a_stream_that_is_cut_is_no_answer_and_is_asked_again() {
    let replies = vec![Reply::Cut("Hel"), Reply::Say("Hello, whole")];
    let done =
        check("cut", Case { replies, exit: 0, says: &[], disk: "u:hello a:Hello, whole", requests: 2 });
    assert!(done.stdout.ends_with("Hello, whole\n"), "{}", done.stdout);
}

#[test]
fn what_is_no_http_is_told() {
    let replies = vec![Reply::Garbage, Reply::Garbage, Reply::Say("hi")];
    check("garbage", Case { replies, exit: 0, says: &[], disk: "u:hello a:hi", requests: 3 });
}

#[test]
fn a_server_that_is_not_there_is_told_with_its_address_and_loses_nothing() {
    let project = TempProject::new();
    let gone = Server::start([]).url();
    bundle_at(&project, &gone);
    let port = gone.trim_end_matches("/v1").rsplit(':').next().unwrap().to_owned();
    run(&project, ["run", "-B", "wired", "hello"]).exits(1).says(&["error:", &port]);
    assert_eq!(shape(&transcript(&project.session())), "u:hello");
    let server = Server::start([Reply::Say("back")]);
    bundle_at(&project, &server.url());
    assert_eq!(run(&project, ["continue", "and now?"]).exits(0).stdout, "back\n");
}

#[test]
fn a_deadline_ends_a_silent_service() {
    let (project, _server) = wired([Reply::Hang("Once upon")]);
    let done = run(&project, ["run", "-B", "wired", "--timeout", "1s", "tell"]).exits(124);
    assert!(done.stderr.contains("time is up"), "{}", done.stderr);
    assert_eq!(metadata(&project.session())["amplifier"]["outcome"]["output"], "Once upon");
}

#[test]
fn the_last_line_of_a_stream_is_one_result() {
    let (project, _server) = wired([Reply::Say("hi")]);
    let done = run(&project, ["run", "-B", "wired", "--output-format", "stream-json", "hello"]).exits(0);
    let lines: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["type"], &lines[0]["subtype"]), (&json!("system"), &json!("init")));
    let results: Vec<&Value> = lines.iter().filter(|line| line["type"] == "result").collect();
    assert_eq!(results, [lines.last().unwrap()]);
    assert_eq!(results[0]["usage"]["input_tokens"], 7);
    assert_eq!(results[0]["total_cost_usd"], Value::Null, "no price is not a price of zero");
}

#[test]
fn no_key_of_the_machine_and_none_of_a_call_is_in_anything_written() {
    let (project, _server) = wired([Reply::Status(401, "", "sk-secret-0123456789abcdefghij is wrong")]);
    let done = call(&project, ["run", "-B", "wired", "hello"])
        .env("OPENAI_COMPATIBLE_API_KEY", "sk-secret-0123456789abcdefghij")
        .done()
        .exits(1);
    assert!(!done.stderr.contains("sk-secret"), "{}", done.stderr);
    for file in ["metadata.json", "transcript.jsonl", "events.jsonl"] {
        let text = std::fs::read_to_string(project.session().join(file)).unwrap_or_default();
        assert!(!text.contains("sk-secret"), "{file}: {text}");
    }
}

/// Nothing but a key and an address in the environment: the bundle that is built in.
#[test]
fn the_built_in_bundle_works_with_a_key_from_the_environment() {
    let (project, server) = (TempProject::new(), Server::start([]));
    project.write("found.txt", "needle");
    server.then(Reply::Call("grep", json!({"pattern": "needle"})));
    server.then(Reply::Say("in found.txt"));
    let key = "sk-secret-0123456789abcdefghij";
    let done = call(&project, ["run", "where is it?"])
        .env("OPENAI_API_KEY", key)
        .env("OPENAI_BASE_URL", server.url())
        .done()
        .exits(0);
    assert_eq!(done.stdout, "in found.txt\n");
    let request = &server.requests()[1];
    let tools: Vec<&str> = request["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["function"]["name"].as_str().unwrap())
        .collect();
    for tool in ["read_file", "write_file", "edit_file", "bash", "grep", "glob", "todo"] {
        assert!(tools.contains(&tool), "{tool}: {tools:?}");
    }
    assert!(request["messages"].to_string().contains("found.txt"), "{request}");
    let events = std::fs::read_to_string(project.session().join("events.jsonl")).unwrap();
    let names: Vec<String> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].as_str().unwrap().to_owned())
        .collect();
    for event in ["session:start", "prompt:submit", "tool:pre", "tool:post", "llm:response", "session:end"] {
        assert!(names.iter().any(|name| name == event), "{event}: {names:?}");
    }
    assert!(!events.contains(key) && !metadata(&project.session()).to_string().contains(key));
}
