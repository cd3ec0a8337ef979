//! `amplifier mcp serve`, as a client that knows nothing but JSON lines meets it.

use std::io::{PipeWriter, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kit::{Done, Place, Running};

/// Answers at once, or never.
const SCRIPT: &str = "- {when: {prompt: hang}, text: never, delay_ms: 600000}
- {when: {prompt: again}, text: 'again: {{prompt}}'}
- {text: 'answer: {{prompt}}'}";

/// A client with its server.
struct Client {
    input: Option<PipeWriter>,
    server: Running,
    last: u64,
}

impl Client {
    fn of(place: &Place, flags: &[&str]) -> Self {
        let (theirs, input) = std::io::pipe().unwrap();
        let server = place.call(&[&["mcp", "serve", "-B", "b"], flags].concat()).stdin(theirs).start();
        let mut client = Self { input: Some(input), server, last: 0 };
        let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let told = client.request("initialize", &hello);
        assert_eq!(told["result"]["serverInfo"]["name"], "amplifier", "{told}");
        assert_eq!(told["result"]["protocolVersion"], "2025-06-18");
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        client
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
    }

    /// Sends a request; its number.
    fn ask(&mut self, method: &str, params: &Value) -> u64 {
        self.last += 1;
        let id = self.last;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    /// Every line on the way is JSON, or the test fails.
    fn request(&mut self, method: &str, params: &Value) -> Value {
        let id = self.ask(method, params);
        self.server.until(|message| message["id"] == id && message.get("method").is_none())
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let told = self.request("tools/call", &json!({"name": tool, "arguments": arguments}));
        told["result"].clone()
    }

    /// What a call that must succeed gives; its text says the same as its data.
    #[track_caller]
    fn ok(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments);
        assert_eq!(result["isError"], false, "{result}");
        let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, result["structuredContent"]);
        text
    }

    /// What a call that must fail says.
    #[track_caller]
    fn fails(&mut self, tool: &str, arguments: Value, part: &str) {
        let result = self.call(tool, arguments);
        assert_eq!(result["isError"], true, "{result}");
        let said = result["content"][0]["text"].as_str().unwrap();
        assert!(said.contains(part), "{said}");
    }

    /// Goes away.
    fn leave(mut self) -> Done {
        self.input = None;
        self.server.done()
    }
}

#[test]
fn tools_are_listed_with_what_they_take_and_give() {
    let place = Place::scripted(SCRIPT);
    let mut client = Client::of(&place, &[]);
    let told = client.request("tools/list", &json!({}));
    let tools = told["result"]["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 12);
    for tool in tools {
        assert!(
            tool["inputSchema"]["type"] == "object" && tool["outputSchema"]["type"] == "object",
            "{tool}"
        );
        assert!(tool["annotations"]["readOnlyHint"].is_boolean(), "{tool}");
    }
    client.leave().ok();
}

#[test]
fn one_prompt_is_answered_and_replied_to() {
    let place = Place::scripted(SCRIPT);
    let mut client = Client::of(&place, &[]);
    let told = client.ok("amplifier", json!({"prompt": "hello"}));
    assert_eq!((&told["response"], &told["status"]), (&json!("answer: hello"), &json!("completed")));
    let id = told["session_id"].clone();
    let told = client.ok("amplifier-reply", json!({"session_id": id, "prompt": "again, please"}));
    assert_eq!((&told["response"], &told["session_id"]), (&json!("again: again, please"), &id));
    let listed = client.ok("list", json!({}));
    assert_eq!(
        (&listed["sessions"][0]["session_id"], &listed["sessions"][0]["status"]),
        (&id, &json!("completed"))
    );
    let status = client.ok("status", json!({"session_id": id}));
    assert_eq!(status["outcome"]["response"], "again: again, please");
    client.leave().ok();
}

#[test]
fn a_session_is_started_waited_for_told_more_and_stopped() {
    let place = Place::scripted(SCRIPT);
    let mut client = Client::of(&place, &[]);
    let id = client.ok("spawn", json!({"instruction": "hang", "name": "mine"}))["session_id"].clone();
    let waited = client.ok("wait", json!({"session_ids": [id], "timeout": 0.2}));
    assert_eq!((&waited["status"], &waited["sessions"][0]["status"]), (&json!("running"), &json!("running")));
    assert_eq!(client.ok("list", json!({"running": true}))["sessions"][0]["name"], "mine");
    client.fails("send", json!({"session_id": id, "message": "more", "timeout": 0.1}), "still works");
    client.ok("cancel", json!({"session_id": id, "now": true}));
    let waited = client.ok("wait", json!({"session_id": id}));
    assert_eq!((&waited["status"], &waited["sessions"][0]["status"]), (&json!("ended"), &json!("cancelled")));
    client.ok("send", json!({"session_id": id, "message": "go on"}));
    let waited = client.ok("wait", json!({"session_id": id}));
    assert_eq!(waited["sessions"][0]["response"], "answer: go on");
    client.leave().ok();
}

#[test]
fn a_wait_gives_signs_of_life_and_its_cancellation_stops_no_session() {
    let place = Place::scripted(SCRIPT);
    let mut client = Client::of(&place, &["--on-exit", "cancel"]);
    let id = client.ok("spawn", json!({"instruction": "hang"}))["session_id"].clone();
    let params = json!({"name": "wait", "arguments": {"session_id": id}, "_meta": {"progressToken": "p"}});
    let asked = client.ask("tools/call", &params);
    let step = client.server.until(|message| message["method"] == "notifications/progress");
    assert_eq!(step["params"]["progressToken"], "p");
    client.send(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": asked}}),
    );
    assert_eq!(client.ok("status", json!({"session_id": id}))["status"], "running");
    client.leave().ok();
}

#[test]
fn a_client_that_goes_leaves_its_sessions_as_it_was_told_to() {
    let place = Place::scripted(SCRIPT);
    let state = |id: &Value| {
        let waited = place.run(&["session", "wait", id.as_str().unwrap(), "--timeout", "5s", "--json"]);
        waited.json()[0]["outcome"].clone()
    };
    for (flags, expect) in [
        (&["--on-exit", "cancel"][..], "cancelled"),
        (&["--drain-timeout", "200ms"][..], "cancelled"),
        (&["--on-exit", "detach"][..], "running"),
    ] {
        let mut client = Client::of(&place, flags);
        let id = client.ok("spawn", json!({"instruction": "hang"}))["session_id"].clone();
        let began = Instant::now();
        client.leave().ok();
        assert!(began.elapsed() < Duration::from_secs(60), "{flags:?}");
        if expect == "running" {
            assert_eq!(
                place.run(&["session", "show", id.as_str().unwrap(), "--json"]).json()["status"],
                "running"
            );
            place.run(&["session", "cancel", id.as_str().unwrap(), "--now"]).ok();
        } else {
            assert_eq!(state(&id), expect, "{flags:?}");
        }
    }
    let mut client = Client::of(&place, &[]);
    let id = client.ok("spawn", json!({"instruction": "short"}))["session_id"].clone();
    client.leave().ok();
    assert_eq!(state(&id), "completed");
}

#[test]
fn events_triggers_and_issues_of_the_project_are_reached() {
    let place = Place::scripted(SCRIPT);
    place.run(&["trust"]).ok();
    place.write(
        ".amplifier/background.yaml",
        "background_sessions:\n  - name: hand\n    bundle: b\n    triggers: [{type: manual}]\n    instruction_template: 'do {event_data}'\n",
    );
    let mut client = Client::of(&place, &[]);
    let heard = client.ok("wait_for_event", json!({"filter": "work:*", "timeout": 0}));
    assert_eq!(heard["status"], "timed_out");
    let cursor = heard["cursor"].clone();
    let emitted = client.ok("emit", json!({"name": "work:done", "data": {"n": 1}}));
    assert!(emitted["event_id"].is_string());
    let heard = client.ok("wait_for_event", json!({"filter": "work:*", "after": cursor, "timeout": 5}));
    assert_eq!((&heard["event"]["name"], &heard["event"]["data"]["n"]), (&json!("work:done"), &json!(1)));
    let fired = client.ok("trigger_fire", json!({"name": "hand", "data": {"x": 1}}));
    assert_eq!(fired["owned"], false);
    client.fails("trigger_fire", json!({"name": "other"}), "there are hand");
    let added = client.ok("issue_add", json!({"title": "mend it", "type": "bug", "priority": 1}));
    assert_eq!(added["status"], "open");
    client.leave().ok();
}

#[test]
fn what_goes_wrong_is_a_result_that_says_what_to_do() {
    let place = Place::scripted(SCRIPT);
    let mut client = Client::of(&place, &[]);
    client.fails("amplifier", json!({"prompt": " "}), "say what is to be done");
    client.fails("amplifier", json!({"prompt": "x", "bundle": "no-such"}), "no-such");
    client.fails("amplifier", json!({"prompt": "x", "provider": "no-such"}), "no-such");
    client.fails("spawn", json!({"instruction": "x", "permission_mode": "bypassPermissions"}), "dontAsk");
    client.fails("spawn", json!({"instruction": "x", "cwd": "no/such/folder"}), "no/such/folder");
    client.fails("status", json!({"session_id": "ffff"}), "`list` tells");
    client.fails("wait", json!({}), "session_ids");
    client.fails("cancel", json!({"session": 3}), "session_id");
    client.fails("emit", json!({"name": "session:completed"}), "session:completed");
    client.fails("issue_add", json!({"title": "x", "priority": 9}), "from 0 (first) to 4");
    let told = client.request("tools/call", &json!({"name": "nonsense", "arguments": {}}));
    assert!(
        told["error"]["message"].as_str().unwrap().contains("there are amplifier, amplifier-reply"),
        "{told}"
    );
    client.leave().ok();
    place.run(&["mcp", "serve", "--permission-mode", "bypassPermissions"]).code(2).says(&["cannot bypass"]);
}

#[test]
fn a_person_who_starts_it_by_hand_is_told() {
    let place = Place::scripted(SCRIPT);
    place.call(&["mcp", "serve"]).input("").done().ok();
    let done = place.call(&["mcp", "serve"]).input("hello\n").done();
    assert!(done.stdout.lines().all(|line| line.starts_with('{')), "{done:#?}");
}

#[test]
fn a_session_has_amplifier_itself_as_a_server() {
    let place = Place::scripted(SCRIPT);
    let server = json!({"command": [env!("CARGO_BIN_EXE_amplifier"), "mcp", "serve", "-B", "b"]});
    let tools = json!([{"module": "tool-mcp", "config": {"servers": {"own": server}}}]);
    let script = "- {when: {prompt: go}, times: 1, tool_calls: [{tool: mcp__own__amplifier, arguments: {prompt: hello}}]}\n\
                  - {text: 'it said {{result}}'}";
    place.bundle("client", script, &format!("tools: {tools}"));
    let bundle = "./.amplifier/bundles/client.yaml";
    let done = place.run(&["run", "-B", bundle, "--permission-mode", "bypassPermissions", "go"]).ok();
    assert!(done.stdout.contains("answer: hello"), "{done:#?}");
    assert_eq!(place.sessions().len(), 2);
}

#[test]
fn servers_of_an_untrusted_projects_bundle_do_not_start() {
    let place = Place::new();
    let tools =
        json!([{"module": "tool-mcp", "config": {"servers": {"s": {"command": ["touch", "started"]}}}}]);
    place.bundle("b", "- text: hello", &format!("tools: {tools}"));
    let started = place.project().join("started");
    place.run(&["run", "-B", "b", "hi"]).ok().says(&["servers of tool-mcp", "amplifier trust"]);
    assert!(!started.exists());
    place.run(&["trust"]).ok();
    place.run(&["run", "-B", "b", "hi"]).ok().says(&["MCP server `s`"]);
    assert!(started.exists());
}
