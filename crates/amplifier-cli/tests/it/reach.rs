//! Sessions that another process runs: in the background, detached, waited for, stopped, watched, lost.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::kit::{Done, Place};

/// Longest wait for a process that was killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Until there is a file `go-on`.
const WAITS: &str = "- {when: {prompt: go}, tool_calls: [{tool: bash, arguments: {command: 'while [ ! -e go-on ]; do sleep 0.02; done'}}]}
- {when: {after_tool: bash}, text: the job is done}
- {when: {prompt: again}, text: here I am}";
const HANGS: &str = "- {when: {prompt: go}, text: never, delay_ms: 600000}
- {when: {prompt: again}, text: here I am}";
/// Delegates a job that waits, and answers.
const DELEGATES: &str = "- {when: {prompt: go}, tool_calls: [{tool: delegate, arguments: {agent: self, instruction: job, context_depth: none, background: true}}]}
- {when: {after_tool: delegate}, text: the answer}
- {when: {prompt: job}, tool_calls: [{tool: bash, arguments: {command: 'while [ ! -e go-on ]; do sleep 0.02; done'}}]}
- {when: {after_tool: bash}, text: the job is done}";

const TOOLS: &str = "tools: [{module: tool-delegate}, {module: tool-bash}, {module: tool-filesystem}]";

fn place(script: &str) -> Place {
    let place = Place::new();
    place.bundle("b", script, TOOLS);
    place
}

/// A session in the background; its id.
fn background(place: &Place) -> String {
    let args = ["run", "-B", "b", "--permission-mode", "bypassPermissions", "--background", "go"];
    let done = place.run(&args).ok();
    let id = done.stdout.trim_end();
    assert!(!id.is_empty() && !id.contains('\n'), "{done:#?}");
    id.to_owned()
}

fn shown(place: &Place, id: &str) -> Value {
    place.run(&["session", "show", id, "--json"]).ok().json()
}

/// The process of a session that runs.
fn process(place: &Place, id: &str) -> Pid {
    let shown = shown(place, id);
    assert_eq!(shown["status"], "running", "{shown}");
    Pid::from_raw(i32::try_from(shown["process"].as_i64().unwrap()).unwrap())
}

/// Waits until a process runs no more; one that nobody has asked for its end yet does not count.
fn gone(pid: Pid) {
    let end = Instant::now() + PATIENCE;
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
    };
    while !matches!(state(), None | Some('Z' | 'X')) {
        assert!(Instant::now() < end, "process {pid} does not end");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn crash(place: &Place, id: &str) {
    let pid = process(place, id);
    kill(pid, Signal::SIGKILL).unwrap();
    gone(pid);
}

/// Waits for a session, and for its process.
fn wait(place: &Place, id: &str) -> Done {
    place.run(&["session", "wait", id, "--json"])
}

#[test]
fn a_session_in_the_background_is_seen_and_waited_for_from_elsewhere() {
    let place = place(WAITS);
    let id = background(&place);
    let running = place.run(&["session", "list", "--running", "--json"]).ok().json();
    assert_eq!((running.as_array().unwrap().len(), &running[0]["session_id"]), (1, &json!(id)));
    let pid = process(&place, &id);
    assert_eq!(running[0]["process"], json!(pid.as_raw()));
    let late = place.run(&["session", "wait", &id, "--timeout", "50ms"]).code(124);
    assert_eq!(late.stdout, format!("{id}  running\n"));
    let waiting = place.call(&["session", "wait", &id]).start();
    place.write("go-on", "");
    assert_eq!(waiting.done().ok().stdout, format!("{id}  completed\n"));
    let ended = wait(&place, &id).ok().json();
    assert_eq!((&ended[0]["outcome"], &ended[0]["result"]), (&json!("completed"), &json!("the job is done")));
    assert_eq!(shown(&place, &id)["status"], "completed");
    gone(pid);
    assert_eq!(place.run(&["session", "list", "--running"]).ok().stdout, "");
}

#[test]
#[cfg(target_os = "linux")]
fn what_was_typed_stands_in_no_table_of_processes() {
    let place = place(WAITS);
    let id = background(&place);
    let pid = process(&place, &id);
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let words: Vec<String> =
        line.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
    assert_eq!(words[1..], ["detached-owner", ""]);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    // Leader of a process session of its own, without a terminal.
    assert_eq!((fields[3], fields[4]), (pid.to_string().as_str(), "0"));
    place.run(&["session", "cancel", &id, "--now"]).ok();
    wait(&place, &id).code(1);
}

#[test]
fn a_session_is_stopped_from_elsewhere_gracefully_and_at_once() {
    let place = place(HANGS);
    let id = background(&place);
    place.run(&["session", "cancel", &id]).ok().says(&["was asked to stop"]);
    let ended = wait(&place, &id).code(1).json();
    assert_eq!((&ended[0]["outcome"], &ended[0]["error_type"]), (&json!("cancelled"), &json!("cancelled")));
    place.run(&["session", "cancel", &id]).code(1).says(&["has ended already (cancelled)"]);
    place.run(&["session", "cancel", "nobody"]).code(2);

    // A running tool outlasts a graceful stop.
    place.bundle("b", WAITS, TOOLS);
    let id = background(&place);
    let mut logs = place.call(&["session", "logs", "-f", "--json", &id]).start();
    logs.until(|line| line["tool_calls"].is_array());
    place.run(&["session", "cancel", &id]).ok();
    place.run(&["session", "wait", &id, "--timeout", "100ms"]).code(124);
    let asked = place.run(&["session", "cancel", &id, "--now", "--json"]).ok().json();
    assert_eq!(asked, json!({"session_id": id, "asked": "immediate"}));
    assert_eq!(wait(&place, &id).code(1).json()[0]["outcome"], "cancelled");
    logs.done().ok();
}

#[test]
fn a_session_whose_process_was_killed_is_lost_at_once_and_goes_on_when_resumed() {
    let place = place(HANGS);
    let id = background(&place);
    let waiting = place.call(&["session", "wait", &id, "--json"]).start();
    crash(&place, &id);
    let listed = place.run(&["session", "list", "--json"]).ok().json();
    assert_eq!((&listed[0]["session_id"], &listed[0]["status"]), (&json!(id), &json!("lost")));
    assert_eq!(waiting.done().code(1).json()[0]["outcome"], "lost");
    assert_eq!(shown(&place, &id)["outcome"]["kind"], "lost");
    place.run(&["session", "cancel", &id]).code(1).says(&["is lost"]);
    let again = place.run(&["run", "--resume", &id, "again"]).ok();
    assert_eq!(again.stdout, "here I am\n");
    assert_eq!(shown(&place, &id)["status"], "completed");

    // Without anybody who looks in between.
    let id = background(&place);
    crash(&place, &id);
    assert_eq!(place.run(&["run", "--resume", &id, "again"]).ok().stdout, "here I am\n");
    assert_eq!(wait(&place, &id).ok().json()[0]["outcome"], "completed");
}

#[test]
fn an_end_that_a_killed_process_never_told_is_on_record_for_who_waits_and_for_who_opens_the_store_next() {
    let place = place(HANGS);
    let id = background(&place);
    let end = ["event", "wait", "session:end", "--session", &id, "--json"];
    let waiting = place.call(&end).start();
    waiting.until_said("waiting for");
    crash(&place, &id);
    assert_eq!(waiting.done().ok().json()["data"]["outcome"], "lost");

    // Nobody asks for the session: any event that comes behind its end shows that it is told.
    let id = background(&place);
    crash(&place, &id);
    let field = format!("data.session_id={id}");
    let end = ["event", "wait", "session_error", "--field", &field, "--from", "1", "--json"];
    assert_eq!(place.run(&end).ok().json()["data"]["outcome"], "lost");
}

#[test]
fn a_conversation_is_watched_from_elsewhere_and_left_alone() {
    let place = place(WAITS);
    let id = background(&place);
    let mut attached = place.call(&["session", "attach", &id, "--json"]).start();
    attached.until(|line| line["role"] == "assistant");
    attached.signal(Signal::SIGINT);
    attached.done().code(130).says(&["goes on"]);
    assert_eq!(shown(&place, &id)["status"], "running");
    let mut attached = place.call(&["session", "attach", &id, "--json"]).start();
    attached.until(|line| line["role"] == "assistant");
    place.write("go-on", "");
    let lines = attached.done().ok().lines();
    assert_eq!(lines.last().unwrap()["result"], "the job is done");
    let text = place.run(&["session", "attach", &id]).ok();
    assert!(text.stdout.contains("[user]\ngo\n") && text.stdout.contains("the job is done"), "{text:#?}");
    let logs = place.run(&["session", "logs", "--json", &id]).ok();
    assert_eq!(logs.lines().len(), 4);
}

#[test]
fn a_run_that_detaches_tells_its_answer_and_leaves_what_still_runs() {
    let args = |format| {
        let mut args = vec!["run", "-B", "b", "--permission-mode", "bypassPermissions"];
        args.extend(["--on-exit", "detach", "--output-format", format, "go"]);
        args
    };
    for format in ["text", "json", "stream-json"] {
        let place = place(DELEGATES);
        let done = place.run(&args(format)).ok().says(&["a background session goes on:"]);
        let child = place.sessions().into_iter().find(|id| id.ends_with("_self")).unwrap();
        assert!(done.stderr.contains(&child), "{done:#?}");
        match format {
            "text" => assert_eq!(done.stdout, "the answer\n"),
            "json" => assert_eq!(done.json()["children"][0]["outcome"], "running"),
            _ => {
                let lines = done.lines();
                let result = lines.last().unwrap();
                assert_eq!((&result["type"], &result["subtype"]), (&json!("result"), &json!("success")));
                assert_eq!(result["children"], json!([{"session_id": child, "outcome": "running"}]));
            }
        }
        let pid = process(&place, &child);
        place.write("go-on", "");
        assert_eq!(wait(&place, &child).ok().json()[0]["result"], "the job is done");
        gone(pid);
    }
}

#[test]
fn a_detached_run_writes_what_one_in_the_foreground_writes() {
    let place = place("- {text: hello there}");
    let shape = |done: &Done| -> Vec<String> {
        let kind = |line: &Value| format!("{} {} {}", line["type"], line["subtype"], line["seq"]);
        done.lines().iter().map(kind).collect()
    };
    let run = |format: &str, more: &[&str]| {
        place.run(&[&["run", "-B", "b", "--output-format", format][..], more, &["go"][..]].concat()).ok()
    };
    let detach = ["--on-exit", "detach"];
    assert_eq!(run("text", &detach).stdout, run("text", &[]).stdout);
    assert_eq!(shape(&run("stream-json", &detach)), shape(&run("stream-json", &[])));
    let piped = place.call(&["run", "-B", "b", "--on-exit", "detach"]).input("from a pipe\n").done().ok();
    assert_eq!(piped.stdout, "hello there\n");
}

#[test]
fn an_interrupt_of_a_detached_run_is_handed_on() {
    let place = place(HANGS);
    let args = ["run", "-B", "b", "--on-exit", "detach", "--output-format", "stream-json", "go"];
    let mut running = place.call(&args).start();
    let id = running.until(|line| line["type"] == "user")["session_id"].as_str().unwrap().to_owned();
    running.signal(Signal::SIGINT);
    let lines = running.done().code(130).lines();
    assert_eq!(lines.last().unwrap()["subtype"], "cancelled");
    assert_eq!(shown(&place, &id)["status"], "cancelled");
}

#[test]
fn what_fails_before_a_session_is_told_by_the_caller_with_its_code() {
    let place = place(HANGS);
    for more in [&["--background"][..], &["--on-exit", "detach"]] {
        let args = [&["run", "-B", "nope"][..], more, &["go"][..]].concat();
        let done = place.run(&args).code(2).says(&["there is no bundle `nope`"]);
        assert_eq!(done.stdout, "");
        let object = place.run(&[&args[..], &["--output-format", "json"][..]].concat()).code(2).json();
        assert_eq!(object["status"], "error");
    }
    let args = ["run", "-B", "b", "--background", "--output-format", "stream-json", "go"];
    place.run(&args).code(2).says(&["has nothing to stream"]);
    assert!(place.sessions().is_empty());
}

#[test]
fn a_detached_run_whose_process_is_killed_is_an_error() {
    let place = place(HANGS);
    let args = ["run", "-B", "b", "--on-exit", "detach", "--output-format", "stream-json", "go"];
    let mut running = place.call(&args).start();
    let id = running.until(|line| line["type"] == "user")["session_id"].as_str().unwrap().to_owned();
    crash(&place, &id);
    running.done().code(1).says(&["is gone; the session is lost"]);
}

#[test]
fn of_several_sessions_the_first_or_all_are_waited_for() {
    let place = place(WAITS);
    let first = background(&place);
    place.bundle("b", HANGS, TOOLS);
    let second = background(&place);
    place.write("go-on", "");
    let any = place.run(&["session", "wait", "--any", &second, &first]).ok();
    assert_eq!(any.stdout, format!("{first}  completed\n"));
    place.run(&["session", "cancel", &second]).ok();
    let all = place.run(&["session", "wait", &first, &second]).code(1);
    assert_eq!(all.stdout, format!("{first}  completed\n{second}  cancelled\n"));
}

/// Takes the database away.
fn without_database(place: &Place, id: &str) {
    let project = place.session_folder(id).parent().and_then(Path::parent).unwrap().to_owned();
    for name in ["amplifier.db", "amplifier.db-wal", "amplifier.db-shm"] {
        let _ = std::fs::remove_file(project.join(name));
    }
}

#[test]
fn the_database_is_made_anew_from_the_files() {
    let place = place(HANGS);
    place.run(&["run", "-B", "b", "--session-id", "ended", "again"]).ok();
    let lost = background(&place);
    crash(&place, &lost);
    place.run(&["run", "-B", "b", "--session-id", "damaged", "again"]).ok();
    std::fs::write(place.session_folder("damaged").join("metadata.json"), "{").unwrap();
    without_database(&place, "ended");
    // Files and locks tell as long as there is no row.
    assert_eq!(shown(&place, "ended")["status"], "completed");
    assert_eq!(shown(&place, &lost)["status"], "lost");
    assert_eq!(wait(&place, "ended").ok().json()[0]["result"], "here I am");
    let done = place.run(&["session", "reindex", "--json"]).code(1).json();
    let mut added: Vec<&str> =
        done["added"].as_array().unwrap().iter().map(|a| a["outcome"].as_str().unwrap()).collect();
    added.sort_unstable();
    assert_eq!((added, &done["damaged"][0]["session_id"]), (vec!["completed", "lost"], &json!("damaged")));
    let again = place.run(&["session", "reindex", "--json"]).code(1).json();
    assert_eq!((&again["added"], &again["unchanged"]), (&json!([]), &json!(2)));
    assert_eq!(wait(&place, &lost).code(1).json()[0]["outcome"], "lost");
    for id in ["ended", lost.as_str()] {
        assert_eq!(place.run(&["run", "--resume", id, "again"]).ok().stdout, "here I am\n");
    }
}

#[test]
fn a_session_that_was_deleted_may_begin_anew() {
    let place = place(HANGS);
    for _ in 0..2 {
        place.run(&["run", "-B", "b", "--session-id", "demo", "again"]).ok();
        place.run(&["run", "--resume", "demo", "again"]).ok();
        assert_eq!(wait(&place, "demo").ok().json()[0]["outcome"], "completed");
        place.run(&["session", "delete", "demo", "-f"]).ok();
        wait(&place, "demo").code(2);
    }
}

#[test]
fn files_that_are_ahead_of_the_database_count() {
    let place = place(HANGS);
    place.run(&["run", "-B", "b", "--session-id", "demo", "again"]).ok();
    let folder = place.session_folder("demo");
    let copy = std::fs::read(folder.join("metadata.json")).unwrap();
    place.run(&["run", "--resume", "demo", "again"]).ok();
    // A backup of the session alone: the database knows a later activation.
    std::fs::write(folder.join("metadata.json"), copy).unwrap();
    assert_eq!(place.run(&["run", "--resume", "demo", "again"]).ok().stdout, "here I am\n");
    assert_eq!(shown(&place, "demo")["outcome"]["activation"], 2);
}

#[test]
fn a_database_that_cannot_be_read_is_one_clear_error_and_the_files_still_tell() {
    let place = place(HANGS);
    place.run(&["run", "-B", "b", "--session-id", "demo", "again"]).ok();
    let folder = place.session_folder("demo");
    without_database(&place, "demo");
    let project = folder.parent().and_then(Path::parent).unwrap();
    std::fs::write(
        project.join("amplifier.db"),
        "no database at all, and long enough to be looked at".repeat(40),
    )
    .unwrap();
    let done = place.run(&["run", "-B", "b", "again"]).code(1);
    let errors = done.stderr.lines().filter(|line| line.starts_with("error:")).count();
    assert_eq!(errors, 1, "{done:#?}");
    assert!(done.stderr.contains("amplifier.db") || done.stderr.contains("database"), "{done:#?}");
    let listed = place.run(&["session", "list", "--json"]).ok().says(&["the status is that of the files"]);
    assert_eq!(listed.json()[0]["status"], "completed");
    place.run(&["session", "export", "demo"]).ok();
}

#[test]
fn a_command_that_reads_makes_no_database() {
    let place = place(HANGS);
    place.run(&["session", "list"]).ok();
    place.run(&["session", "list", "--running", "--all"]).ok();
    place.run(&["session", "wait", "nobody"]).code(2);
    assert!(!place.home().join("projects").exists());
}
