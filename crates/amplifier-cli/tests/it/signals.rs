//! Ctrl+C, a second one, and `kill`.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::kit::{Done, Place, Running};

const SLOW_MODEL: &str = "- {text: never, delay_ms: 60000}";
const SLOW_TOOL: &str =
    "- {when: {turn: 1}, text: I wait., tool_calls: [{tool: bash, arguments: {command: COMMAND}}]}
- {when: {after_tool: bash}, text: done, delay_ms: 60000}";

fn start(place: &Place, more: &[&str]) -> Running {
    let mut args = vec!["run", "-B", "b", "--output-format", "stream-json", "go"];
    args.extend(more);
    place.call(&args).start()
}

/// One result that says cancelled; the session is kept, and can be resumed.
#[track_caller]
fn check_end(place: &Place, done: &Done, code: i32) {
    assert_eq!(done.code, Some(code), "{done:#?}");
    let lines = done.lines();
    let end = lines.last().unwrap();
    assert_eq!((&end["type"], &end["subtype"]), (&json!("result"), &json!("cancelled")), "{done:#?}");
    assert_eq!(lines.iter().filter(|line| line["type"] == "result").count(), 1);
    let id = end["session_id"].as_str().unwrap();
    assert!(done.stderr.contains(&format!("amplifier run --resume {id}")), "{done:#?}");
    let shown = place.run(&["session", "show", id, "--json", "-T"]).ok().json();
    assert_eq!(shown["status"], "cancelled");
    assert_eq!(shown["transcript"][0]["content"], "go");
}

#[test]
fn one_interrupt_stops_a_slow_model_and_the_session_can_go_on() {
    let place = Place::scripted(SLOW_MODEL);
    let mut running = start(&place, &[]);
    running.until(|line| line["type"] == "user");
    running.signal(Signal::SIGINT);
    check_end(&place, &running.done(), 130);
    place.bundle("b", "- text: 'again: {{prompt}}'", "");
    assert_eq!(place.run(&["continue", "more"]).ok().stdout, "again: more\n");
}

#[test]
fn after_one_interrupt_a_running_tool_finishes() {
    let place = Place::new();
    let script = SLOW_TOOL.replace(
        "COMMAND",
        "'echo begun > begun; while [ ! -e go-on ]; do sleep 0.02; done; echo x > finished'",
    );
    place.bundle("b", &script, "tools: [{module: tool-bash}]");
    let mut running = start(&place, &["--permission-mode", "bypassPermissions"]);
    running.until(|line| line["type"] == "tool_start");
    running.signal(Signal::SIGINT);
    place.write("go-on", "");
    check_end(&place, &running.done(), 130);
    assert!(place.project().join("finished").exists(), "the tool was cut off");
}

#[test]
fn a_second_interrupt_stops_a_running_tool() {
    let place = Place::new();
    place.bundle("b", &SLOW_TOOL.replace("COMMAND", "sleep 60"), "tools: [{module: tool-bash}]");
    let mut running = start(&place, &["--permission-mode", "bypassPermissions"]);
    running.until(|line| line["type"] == "tool_start");
    running.signal(Signal::SIGINT);
    running.until_said("Ctrl+C again");
    running.signal(Signal::SIGINT);
    check_end(&place, &running.done(), 130);
}

#[test]
fn a_termination_becomes_immediate_by_itself() {
    let place = Place::new();
    place.bundle("b", &SLOW_TOOL.replace("COMMAND", "sleep 60"), "tools: [{module: tool-bash}]");
    let mut running = start(&place, &["--permission-mode", "bypassPermissions"]);
    running.until(|line| line["type"] == "tool_start");
    running.signal(Signal::SIGTERM);
    check_end(&place, &running.done(), 143);
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminal_that_goes_away_counts_as_a_termination_and_leaves_no_process() {
    let place = Place::new();
    let command = "'echo $$ > pid; exec sleep 60'";
    place.bundle("b", &SLOW_TOOL.replace("COMMAND", command), "tools: [{module: tool-bash}]");
    let mut running = start(&place, &["--permission-mode", "bypassPermissions"]);
    running.until(|line| line["type"] == "tool_start");
    running.signal(Signal::SIGHUP);
    running.signal(Signal::SIGHUP);
    check_end(&place, &running.done(), 143);
    // A command that was cut off before it began has no process either.
    if let Ok(pid) = std::fs::read_to_string(place.project().join("pid")) {
        assert!(!std::path::Path::new("/proc").join(pid.trim()).exists(), "process {pid} is left");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_hangup_that_the_caller_ignores_stays_ignored() {
    let place = Place::scripted("- {text: never, delay_ms: 60000}");
    let mut args = vec!["nohup", env!("CARGO_BIN_EXE_amplifier")];
    args.extend(["run", "-B", "b", "--output-format", "stream-json", "go"]);
    let mut running = place.call_program(&args).start();
    running.until(|line| line["type"] == "user");
    running.signal(Signal::SIGHUP);
    running.signal(Signal::SIGINT);
    check_end(&place, &running.done(), 130);
}

#[test]
fn an_interrupt_while_standard_input_is_waited_for_gives_a_result() {
    let place = Place::scripted("- text: hello");
    let (reader, _writer) = std::io::pipe().unwrap();
    let args = ["run", "-B", "b", "--output-format", "json"];
    let running = place.call(&args).stdin(std::os::fd::OwnedFd::from(reader)).start();
    running.until_said("waiting for standard input");
    running.signal(Signal::SIGINT);
    let done = running.done().code(130);
    assert_eq!(done.json()["error_type"], "cancelled", "{done:#?}");
    assert_eq!(place.sessions(), Vec::<String>::new());
}

#[test]
#[cfg(feature = "git")]
fn an_interrupt_before_the_session_begins_still_gives_a_result() {
    // It takes the connection and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let source = format!("git+https://{}/o/r@main", silent.local_addr().unwrap());
    let place = Place::new();
    let running = place.call(&["run", "-B", &source, "--output-format", "stream-json", "go"]).start();
    running.until_said("fetching");
    running.signal(Signal::SIGINT);
    let done = running.done().code(130).says(&["stopped before the session began"]);
    let lines = done.lines();
    assert_eq!((lines.len(), &lines[0]["subtype"]), (1, &json!("cancelled")), "{done:#?}");
    assert_eq!(place.sessions(), Vec::<String>::new());
}
