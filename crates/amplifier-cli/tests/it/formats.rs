//! Text, json, json-trace and stream-json, and what becomes of errors in each.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::{Value, json};

use crate::kit::{Done, Place};

const TOOL: &str =
    "- {when: {prompt: go}, text: I look., tool_calls: [{tool: read_file, arguments: {path: a.txt}}]}
- {when: {after_tool: read_file}, text: it is there}
- {text: hello}";

const TOOLS: &str = "tools: [{module: tool-filesystem}]";

fn place() -> Place {
    let place = Place::new();
    place.bundle("b", TOOL, TOOLS);
    place.write("a.txt", "content\n");
    place
}

/// What every stream promises.
#[track_caller]
fn stream(done: &Done) -> Vec<Value> {
    let lines = done.lines();
    for (seq, line) in lines.iter().enumerate() {
        assert_eq!(line["seq"], json!(seq), "{line}");
        for key in ["type", "session_id", "parent_session_id", "ts"] {
            assert!(line.get(key).is_some(), "{key} is not in {line}");
        }
    }
    let results = lines.iter().filter(|line| line["type"] == "result").count();
    assert_eq!((results, &lines.last().unwrap()["type"]), (1, &json!("result")), "{done:#?}");
    lines
}

#[test]
fn text_in_a_pipe_is_the_answer_once_and_nothing_else() {
    let place = place();
    let done = place.run(&["run", "-B", "b", "go"]).ok();
    assert_eq!(done.stdout, "it is there\n");
    assert!(!done.stderr.contains('\u{1b}'), "{}", done.stderr);
    done.says(&["notice: provider scripted answers from a script; no model is asked"]);
}

#[test]
fn json_is_one_object() {
    let object = place().run(&["run", "-B", "b", "--output-format", "json", "go"]).ok().json();
    assert_eq!(object["status"], "success");
    assert_eq!(object["response"], "it is there");
    assert_eq!(object["bundle"], "b");
    assert_eq!(object["model"], "scripted/scripted");
    assert_eq!(object["scripted"], true);
    assert_eq!(object["children"], json!([]));
    assert_eq!(object["num_turns"], 2);
    assert_eq!(object["total_cost_usd"], 0.0, "a script costs nothing");
    assert!(
        object["usage"].is_object() && object["timestamp"].is_string() && object["session_id"].is_string()
    );
}

#[test]
fn a_trace_holds_each_tool_call_with_its_result() {
    let object = place().run(&["run", "-B", "b", "--output-format", "json-trace", "go"]).ok().json();
    assert_eq!(object["metadata"]["total_tool_calls"], 1);
    let step = &object["execution_trace"][0];
    assert_eq!(
        (&step["type"], &step["tool"], &step["sequence"]),
        (&json!("tool_call"), &json!("read_file"), &json!(1))
    );
    assert_eq!(step["arguments"], json!({"path": "a.txt"}));
    assert_eq!(step["result"]["success"], true);
    assert!(step["result"]["output"].as_str().unwrap().contains("content"), "{step}");
    assert!(step["duration_ms"].is_u64() && step["timestamp"].is_string());
}

#[test]
fn a_stream_begins_with_init_and_ends_with_one_result() {
    let done = place().run(&["run", "-B", "b", "--output-format", "stream-json", "go"]).ok();
    let lines = stream(&done);
    assert_eq!((&lines[0]["type"], &lines[0]["subtype"]), (&json!("system"), &json!("init")));
    assert_eq!((&lines[0]["bundle"], &lines[0]["scripted"]), (&json!("b"), &json!(true)));
    let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).collect::<Vec<_>>();
    let text: String = of("text_delta").iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(text, "I look.it is there");
    let calls = &of("assistant")[0]["message"]["content"];
    assert_eq!((&calls[1]["type"], &calls[1]["name"]), (&json!("tool_use"), &json!("read_file")));
    let result = &of("user")[1]["message"]["content"][0];
    assert_eq!((&result["type"], &result["tool_use_id"]), (&json!("tool_result"), &calls[1]["id"]));
    let end = lines.last().unwrap();
    assert_eq!(
        (&end["subtype"], &end["is_error"], &end["num_turns"]),
        (&json!("success"), &json!(false), &json!(2))
    );
    assert_eq!((&end["result"], &end["children"]), (&json!("it is there"), &json!([])));
    assert!(lines.iter().all(|line| line["session_id"] == lines[0]["session_id"]));
}

#[test]
fn without_a_session_the_result_is_the_only_line() {
    let place = place();
    let done = place.run(&["run", "-B", "nope", "--output-format", "stream-json", "go"]).code(2);
    let lines = stream(&done);
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["subtype"], &lines[0]["is_error"]),
        (&json!("error_during_execution"), &json!(true))
    );
    assert!(lines[0]["error"].as_str().unwrap().contains("there is no bundle `nope`"));
    let object = place.run(&["run", "-B", "nope", "--output-format", "json", "go"]).code(2).json();
    assert_eq!((&object["status"], &object["error_type"]), (&json!("error"), &json!("configuration")));
}

#[test]
fn each_way_to_fail_has_its_code_subtype_and_words() {
    let check = |script: &str, args: &[&str], code: i32, subtype: &str, kind: &str| {
        let place = Place::new();
        place.bundle("b", script, TOOLS);
        let run = |format: &str| {
            let mut all = vec!["run", "-B", "b", "--output-format", format, "go"];
            all.extend(args);
            place.run(&all).code(code)
        };
        let done = run("stream-json").says(&["amplifier run --resume"]);
        let end = stream(&done).pop().unwrap();
        assert_eq!((&end["subtype"], &end["is_error"]), (&json!(subtype), &json!(true)), "{end}");
        let object = run("json").json();
        assert_eq!((&object["status"], &object["error_type"]), (&json!("error"), &json!(kind)), "{object}");
        assert!(object["session_id"].is_string());
    };
    check("- {error: {kind: auth, message: wrong key}}", &[], 1, "error_during_execution", "provider");
    check("- {error: {kind: invalid}}", &[], 1, "error_during_execution", "provider");
    let limited = "- {error: {kind: rate_limited, retry_after_ms: 3600000}}";
    check(limited, &[], 75, "error_rate_limit", "rate_limited");
    let loops = "- {when: {after_tool: '*'}, tool_calls: [{tool: read_file, arguments: {path: a}}]}
- {tool_calls: [{tool: read_file, arguments: {path: a}}]}";
    check(loops, &["--max-turns", "2"], 3, "error_max_turns", "limit");
    check("- {text: late, delay_ms: 60000}", &["--timeout", "200ms"], 124, "error_timeout", "timed_out");
}

#[test]
fn a_rate_limit_is_waited_out_as_long_as_the_settings_say() {
    let place =
        Place::scripted("- {error: {kind: rate_limited, retry_after_ms: 300, times: 1}, text: hello}");
    assert_eq!(place.run(&["run", "-B", "b", "go"]).ok().stdout, "hello\n");
    place.write_home("settings.yaml", "rate_limit_patience: 100ms\n");
    place.run(&["run", "-B", "b", "go"]).code(75);
}

#[test]
fn a_reader_that_goes_away_stops_the_session_and_it_settles() {
    let place = Place::new();
    let script =
        "- {when: {turn: 1}, text: I wait., tool_calls: [{tool: bash, arguments: {command: COMMAND}}]}
- {when: {after_tool: bash}, text: never, delay_ms: 60000}";
    let script = script.replace("COMMAND", "'while [ ! -e go-on ]; do sleep 0.02; done'");
    place.bundle("b", &script, "tools: [{module: tool-bash}]");
    let args =
        ["run", "-B", "b", "--permission-mode", "bypassPermissions", "--output-format", "stream-json", "go"];
    let mut running = place.call(&args).start();
    running.until(|line| line["type"] == "tool_start");
    running.close_stdout();
    place.write("go-on", "");
    let done = running.done().code(1);
    assert!(!done.stderr.contains("panick"), "{done:?}");
    let shown = place.run(&["session", "show", &place.sessions()[0], "--json"]).ok().json();
    assert_eq!((&shown["status"], &shown["messages"]), (&json!("cancelled"), &json!(3)));
}

#[test]
fn a_reader_that_reads_nothing_at_all_is_no_panic_either() {
    let place = Place::scripted("- text: hello");
    for format in ["text", "json", "stream-json"] {
        let mut running = place.call(&["run", "-B", "b", "--output-format", format, "go"]).start();
        running.close_stdout();
        let done = running.done();
        assert!(done.code.is_some() && !done.stderr.contains("panick"), "{done:?}");
    }
    let listed = place.run(&["session", "list", "--json"]).ok().json();
    let settled = |session: &Value| ["completed", "cancelled"].contains(&session["status"].as_str().unwrap());
    assert!(listed.as_array().unwrap().iter().all(settled), "{listed}");
}

#[test]
fn a_full_disk_behind_stdout_is_a_failure() {
    let Ok(full) = File::options().write(true).open("/dev/full") else {
        eprintln!("skipped: there is no /dev/full here");
        return;
    };
    let place = Place::scripted("- text: hello");
    place
        .call(&["run", "-B", "b", "go"])
        .stdout(full)
        .done()
        .code(1)
        .says(&["standard output cannot be written"]);
}

#[test]
fn the_answer_is_also_written_to_a_file() {
    let place = Place::scripted("- text: hello");
    place.run(&["run", "-B", "b", "-o", "answer.txt", "go"]).ok();
    assert_eq!(std::fs::read_to_string(place.project().join("answer.txt")).unwrap(), "hello\n");
}

#[test]
fn a_link_is_followed_and_a_device_is_written_to() {
    let place = Place::scripted("- text: hello");
    let path = |name: &str| place.project().join(name);
    place.write("real.txt", "old");
    std::fs::set_permissions(path("real.txt"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink("real.txt", path("link")).unwrap();
    place.run(&["run", "-B", "b", "-o", "link", "go"]).ok();
    assert_eq!(std::fs::read_to_string(path("real.txt")).unwrap(), "hello\n");
    assert!(path("link").is_symlink());
    assert_eq!(path("real.txt").metadata().unwrap().mode() & 0o777, 0o600);
    // A terminal of our own: if it were replaced, nobody else would miss it.
    let pty = nix::pty::openpty(None, None).unwrap();
    let terminal = nix::unistd::ttyname(&pty.slave).unwrap();
    let name = terminal.to_str().unwrap();
    place.run(&["run", "-B", "b", "-o", name, "go"]).ok();
    let mut written = [0; 64];
    let read = File::from(pty.master).read(&mut written).unwrap();
    assert_eq!(&written[..read], b"hello\r\n");
    nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    place.run(&["run", "-B", "b", "-o", "pipe", "go"]).code(2).says(&["no pipe"]);
}

#[test]
fn logs_go_to_stderr_and_only_when_asked_for() {
    let place = Place::scripted("- text: hello");
    let quiet = place.run(&["run", "-B", "b", "go"]).ok();
    assert_eq!(quiet.stderr.lines().count(), 1, "{}", quiet.stderr);
    let loud = place.call(&["run", "-B", "b", "go"]).env("AMPLIFIER_LOG", "trace").done().ok();
    assert_eq!(loud.stdout, "hello\n");
    place
        .call(&["bundle", "current"])
        .env("AMPLIFIER_LOG", "a=b=c")
        .done()
        .ok()
        .says(&["AMPLIFIER_LOG is ignored"]);
}
