//! Sessions that a run has spawned: waited for, stopped, counted, and told.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::kit::{Done, Place, Running};

/// The own session delegates `job` in the background, or not, and then answers; what the job does
/// follows.
fn script(background: bool, job: &str) -> String {
    let arguments =
        format!("{{agent: self, instruction: job, context_depth: none, background: {background}}}");
    format!(
        "- {{when: {{prompt: go}}, tool_calls: [{{tool: delegate, arguments: {arguments}}}], usage: {{input_tokens: 1, output_tokens: 2}}, cost_usd: 0.00001}}\n\
         - {{when: {{after_tool: delegate}}, text: the answer, usage: {{input_tokens: 3, output_tokens: 4}}, cost_usd: 0.00002}}\n\
         {job}"
    )
}

const TOOLS: &str = "tools: [{module: tool-delegate}, {module: tool-bash}, {module: tool-filesystem}]";

const ENDS: &str = "- {when: {prompt: job}, text: the job is done, usage: {input_tokens: 5, output_tokens: 6}, cost_usd: 0.00003}";
const FAILS: &str = "- {when: {prompt: job}, error: {kind: invalid, message: no such thing}}";
const HANGS: &str = "- {when: {prompt: job}, text: never, delay_ms: 60000}";
/// Until there is a file `go-on`.
const WAITS: &str = "- {when: {prompt: job}, tool_calls: [{tool: bash, arguments: {command: 'while [ ! -e go-on ]; do sleep 0.02; done'}}]}
- {when: {after_tool: bash}, text: the job is done}";

fn place(background: bool, job: &str) -> Place {
    let place = Place::new();
    place.bundle("b", &script(background, job), TOOLS);
    place
}

fn args<'a>(format: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["run", "-B", "b", "--output-format", format];
    args.extend(["--permission-mode", "bypassPermissions"]);
    args.extend(more);
    args.push("go");
    args
}

/// Runs until the background session is waited for.
fn until_left(place: &Place, more: &[&str]) -> Running {
    let running = place.call(&args("stream-json", more)).start();
    running.until_said("waiting for a background session");
    running
}

/// The last line; before it nothing is a result.
#[track_caller]
fn result(done: &Done) -> Value {
    let mut lines = done.lines();
    let last = lines.pop().unwrap();
    assert_eq!(last["type"], "result", "{done:#?}");
    assert!(lines.iter().all(|line| line["type"] != "result"), "{done:#?}");
    last
}

#[track_caller]
fn outcomes(result: &Value) -> Vec<&str> {
    let children = result["children"].as_array().unwrap().iter();
    children.map(|child| child["outcome"].as_str().unwrap()).collect()
}

#[test]
fn a_background_session_is_waited_for_and_the_result_comes_last() {
    let place = place(true, WAITS);
    let running = until_left(&place, &[]);
    place.write("go-on", "");
    let done = running.done().ok().says(&["at most 10m", "[self] completed"]);
    let result = result(&done);
    assert_eq!((&result["subtype"], &result["result"]), (&json!("success"), &json!("the answer")));
    assert_eq!((outcomes(&result), &result["num_turns"]), (vec!["completed"], &json!(2)));
    let id = result["children"][0]["session_id"].as_str().unwrap();
    assert_eq!(place.run(&["session", "show", id, "--json"]).ok().json()["status"], "completed");
}

#[test]
fn sub_sessions_have_the_same_lines_from_their_beginning_to_their_end() {
    let done = place(false, ENDS).run(&args("stream-json", &[])).ok();
    let lines = done.lines();
    let root = &lines[0]["session_id"];
    for (seq, line) in lines.iter().enumerate() {
        assert_eq!(line["seq"], json!(seq), "{line}");
        assert!(line["ts"].is_string() && line.get("parent_session_id").is_some(), "{line}");
    }
    let of_child: Vec<&Value> = lines.iter().filter(|line| line["session_id"] != *root).collect();
    assert!(of_child.iter().all(|line| line["parent_session_id"] == *root), "{done:#?}");
    let kinds: Vec<&str> = of_child.iter().map(|line| line["type"].as_str().unwrap()).collect();
    let deltas = kinds.iter().filter(|kind| **kind == "text_delta").count();
    assert_eq!(deltas, 4);
    let others: Vec<&str> = kinds.into_iter().filter(|kind| *kind != "text_delta").collect();
    assert_eq!(others, ["system", "user", "assistant", "system"]);
    let init = of_child[0];
    assert_eq!((&init["subtype"], &init["agent"]), (&json!("init"), &json!("self")));
    assert_eq!((&init["bundle"], &init["depth"]), (&json!("b"), &json!(1)));
    let end = of_child.last().unwrap();
    assert_eq!((&end["subtype"], &end["outcome"]), (&json!("session_end"), &json!("completed")));
    assert_eq!((&end["num_turns"], &end["total_cost_usd"]), (&json!(1), &json!(0.000_03)));
    assert_eq!(outcomes(&result(&done)), ["completed"]);
}

#[test]
fn the_answer_of_the_run_alone_is_on_standard_output() {
    for background in [true, false] {
        let done = place(background, ENDS).run(&args("text", &[])).ok();
        assert_eq!(done.stdout, "the answer\n");
        assert!(!done.stderr.contains("the job is done"), "{done:#?}");
    }
}

#[test]
fn usage_and_cost_are_those_of_the_whole_tree() {
    let check = |job: &str, usage: (u64, u64), cost: Value| {
        let place = place(false, job);
        let end = result(&place.run(&args("stream-json", &[])).ok());
        let object = place.run(&args("json", &[])).ok().json();
        for found in [end, object] {
            let tokens = (&found["usage"]["input_tokens"], &found["usage"]["output_tokens"]);
            assert_eq!(tokens, (&json!(usage.0), &json!(usage.1)), "{found}");
            assert_eq!((&found["total_cost_usd"], &found["num_turns"]), (&cost, &json!(2)), "{found}");
            assert_eq!(found["children"].as_array().unwrap().len(), 1);
        }
    };
    check(ENDS, (9, 12), json!(0.000_06));
    // A call that failed has cost nothing.
    check(FAILS, (4, 6), json!(0.000_03));
}

#[test]
fn a_failure_that_nobody_saw_exits_with_5_and_names_the_session() {
    let place = place(true, FAILS);
    let done = place.run(&args("stream-json", &[])).code(5);
    let result = result(&done);
    assert_eq!((&result["subtype"], &result["is_error"]), (&json!("abandoned_children"), &json!(true)));
    assert_eq!((&result["result"], outcomes(&result)), (&json!("the answer"), vec!["failed"]));
    assert_eq!(result["error_type"], "abandoned_children");
    let id = result["children"][0]["session_id"].as_str().unwrap();
    done.says(&["a background session was left, or failed", &format!("{id}  self  failed")]);
    let object = place.run(&args("json", &[])).code(5).json();
    assert_eq!((&object["status"], &object["error_type"]), (&json!("error"), &json!("abandoned_children")));
    assert_eq!((&object["response"], outcomes(&object)), (&json!("the answer"), vec!["failed"]));
    assert_eq!(place.run(&args("text", &[])).code(5).stdout, "the answer\n");
}

#[test]
fn a_failure_that_the_model_saw_is_none_of_the_run() {
    let done = place(false, FAILS).run(&args("stream-json", &[])).ok();
    assert_eq!(outcomes(&result(&done)), ["failed"]);
    assert!(!done.stderr.contains("was left"), "{done:#?}");
}

#[test]
fn what_is_left_is_stopped_when_the_run_shall_not_wait() {
    let check = |more: &[&str], says: &str| {
        let place = place(true, HANGS);
        let done = place.run(&args("stream-json", more)).code(5).says(&[says, "self  cancelled"]);
        let result = result(&done);
        assert_eq!(
            (&result["subtype"], outcomes(&result)),
            (&json!("abandoned_children"), vec!["cancelled"])
        );
        let id = result["children"][0]["session_id"].as_str().unwrap();
        assert_eq!(place.run(&["session", "show", id, "--json"]).ok().json()["status"], "cancelled");
    };
    check(&["--on-exit", "cancel"], "(--on-exit cancel)");
    check(&["--drain-timeout", "100ms"], "the time is up (--drain-timeout)");
}

#[test]
fn signals_count_while_background_sessions_are_waited_for() {
    let check = |job: &str, signals: &[Signal], code: i32| {
        let place = place(true, job);
        let running = until_left(&place, &[]);
        for signal in signals {
            running.signal(*signal);
            if *signal == Signal::SIGINT && signals.len() > 1 {
                running.until_said("Ctrl+C again");
            }
        }
        let result = result(&running.done().code(code));
        assert_eq!((&result["subtype"], outcomes(&result)), (&json!("cancelled"), vec!["cancelled"]));
        assert_eq!(result["result"], "the answer");
    };
    check(HANGS, &[Signal::SIGINT], 130);
    check(HANGS, &[Signal::SIGTERM], 143);
    // A running tool outlasts a graceful stop; SIGTERM becomes immediate by itself.
    check(WAITS, &[Signal::SIGINT, Signal::SIGTERM], 130);
    check(WAITS, &[Signal::SIGTERM], 143);
}

#[test]
fn an_interrupt_of_the_run_reaches_what_it_has_spawned() {
    let place = Place::new();
    let arguments = "{agent: self, instruction: job, context_depth: none, background: true}";
    let script = format!(
        "- {{when: {{prompt: go}}, tool_calls: [{{tool: delegate, arguments: {arguments}}}]}}\n\
         - {{when: {{after_tool: delegate}}, text: never, delay_ms: 60000}}\n{HANGS}"
    );
    place.bundle("b", &script, TOOLS);
    let mut running = place.call(&args("stream-json", &[])).start();
    running.until(|line| line["type"] == "user" && line["parent_session_id"].is_string());
    running.signal(Signal::SIGINT);
    let result = result(&running.done().code(130));
    assert_eq!(outcomes(&result), ["cancelled"]);
}

#[test]
fn a_permission_that_a_sub_session_lacked_exits_with_4() {
    let write =
        "- {when: {prompt: job}, tool_calls: [{tool: write_file, arguments: {path: ../x, content: x}}]}
- {when: {after_tool: write_file}, text: I could not.}";
    for background in [true, false] {
        let place = place(background, write);
        let done = place.run(&["run", "-B", "b", "--output-format", "stream-json", "go"]).code(4);
        let result = result(&done);
        assert_eq!(
            (&result["subtype"], &result["result"]),
            (&json!("error_permission"), &json!("the answer"))
        );
        assert_eq!(outcomes(&result), ["completed"]);
        done.says(&["a permission was needed and nobody could be asked"]);
    }
}

#[test]
fn a_trace_tells_whose_call_it_is() {
    let read = "- {when: {prompt: job}, tool_calls: [{tool: read_file, arguments: {path: a.txt}}]}
- {when: {after_tool: read_file}, text: done}";
    let place = place(false, read);
    place.write("a.txt", "content\n");
    let object = place.run(&args("json-trace", &[])).ok().json();
    let trace = object["execution_trace"].as_array().unwrap();
    let tools: Vec<&str> = trace.iter().map(|step| step["tool"].as_str().unwrap()).collect();
    assert_eq!(tools, ["delegate", "read_file"]);
    assert_eq!(trace[0]["session_id"], object["session_id"]);
    assert_eq!(trace[1]["session_id"], object["children"][0]["session_id"]);
    // Both calls have the same id, because each session counts from the beginning.
    assert!(trace[0]["result"]["output"].as_str().unwrap().contains("done"), "{trace:?}");
    assert!(trace[1]["result"]["output"].as_str().unwrap().contains("content"), "{trace:?}");
    assert_eq!(object["metadata"]["total_agents_invoked"], 1);
}

/// Calls a tool again and again; each model call costs a cent.
const SPENDS: &str =
    "- {when: {prompt: go}, tool_calls: [{tool: read_file, arguments: {path: a.txt}}], cost_usd: 0.01}
- {when: {after_tool: read_file}, tool_calls: [{tool: read_file, arguments: {path: a.txt}}], cost_usd: 0.01}";

#[test]
fn a_run_that_has_spent_its_budget_exits_with_3() {
    let place = Place::new();
    place.bundle("b", SPENDS, TOOLS);
    place.write("a.txt", "content\n");
    let check = |done: Done| {
        let result = result(&done.code(3));
        assert_eq!(
            (&result["subtype"], &result["error_type"]),
            (&json!("error_max_budget"), &json!("limit"))
        );
        // The call that reached it is paid; none follows.
        assert_eq!((&result["total_cost_usd"], &result["num_turns"]), (&json!(0.04), &json!(5)));
    };
    check(place.run(&args("stream-json", &["--max-budget-usd", "0.035"])));
    let with_variable = |amount: &str, more: &[&str]| {
        place.call(&args("stream-json", more)).env("AMPLIFIER_MAX_BUDGET_USD", amount).done()
    };
    check(with_variable("0.035", &[]));
    check(with_variable("900", &["--max-budget-usd", "$0.035"]));
}

#[test]
fn what_sub_sessions_spend_counts_against_the_budget_of_the_run() {
    let place = place(false, &ENDS.replace("0.00003", "5"));
    let done = place.run(&args("stream-json", &["--max-budget-usd", "2.50"])).code(3);
    let result = result(&done);
    assert_eq!((&result["subtype"], outcomes(&result)), (&json!("error_max_budget"), vec!["completed"]));
    assert_eq!(result["total_cost_usd"], json!(5.000_01));
}

#[test]
fn variables_bound_the_tree_and_are_refused_by_name() {
    let place = place(false, ENDS);
    let with_variable =
        |name: &str, value: &str| place.call(&args("stream-json", &[])).env(name, value).done();
    // The model is told that it may not, and goes on.
    for name in ["AMPLIFIER_MAX_SPAWN_DEPTH", "AMPLIFIER_MAX_CONCURRENT"] {
        let done = with_variable(name, "0").ok();
        assert_eq!(outcomes(&result(&done)), Vec::<&str>::new());
        assert!(done.stdout.contains("is reached: 0 of 0"), "{done:#?}");
        for bad in ["-1", "many", "1.5"] {
            with_variable(name, bad).code(2).says(&[name, bad, "whole number"]);
        }
        assert_eq!(outcomes(&result(&with_variable(name, "1").ok())), ["completed"]);
    }
    for bad in ["-1", "NaN", "much"] {
        with_variable("AMPLIFIER_MAX_BUDGET_USD", bad).code(2).says(&[
            "AMPLIFIER_MAX_BUDGET_USD",
            bad,
            "2.50",
        ]);
    }
}

#[test]
fn an_agent_of_the_project_is_delegated_to() {
    let place = Place::new();
    let script = "- {when: {prompt: go}, tool_calls: [{tool: delegate, arguments: {agent: scout, instruction: look, context_depth: none}}]}\n\
                  - {when: {after_tool: delegate}, text: 'it said {{result}}'}\n\
                  - {when: {prompt: look}, text: I looked}";
    place.bundle("b", script, "tools: [{module: tool-delegate}]");
    let agent = "---\nmeta: {name: scout, description: Looks around.}\n---\nYou look around.\n";
    place.write(".amplifier/agents/scout.md", agent);
    let listed = place.run(&["agents", "list", "-B", "b"]).ok();
    assert!(listed.stdout.contains("scout") && listed.stdout.contains("Looks around."), "{listed:#?}");
    let done = place.run(&["run", "-B", "b", "--output-format", "json", "go"]).ok();
    let told = done.json();
    assert!(told["response"].as_str().unwrap().contains("I looked"), "{told}");
    let children = place.run(&["session", "list", "--all", "--json"]).ok().json();
    assert!(children.as_array().unwrap().iter().any(|row| row["agent_name"] == "scout"), "{children}");
}
