//! Sessions that are kept: going on, listing, showing, copying, deleting.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::kit::Place;

const TURNS: &str = "- {when: {turn: 1}, text: one}\n- {when: {turn: 2}, text: two}\n- {text: more}";

fn with_session() -> (Place, String) {
    let place = Place::scripted(TURNS);
    place.run(&["run", "-B", "b", "--name", "first", "--session-id", "abc-1", "hi"]).ok();
    (place, "abc-1".to_owned())
}

#[test]
fn a_session_goes_on_by_continue_by_id_and_by_the_beginning_of_its_id() {
    let (place, id) = with_session();
    assert_eq!(place.run(&["continue", "go on"]).ok().stdout, "two\n");
    assert_eq!(place.run(&["resume", &id, "go on"]).ok().stdout, "more\n");
    assert_eq!(place.run(&["run", "--resume", "abc", "go on"]).ok().stdout, "more\n");
    assert_eq!(place.run(&["session", "resume", "ab", "go on"]).ok().stdout, "more\n");
    assert_eq!(place.call(&["run", "-c"]).input("go on").done().ok().stdout, "more\n");
    assert_eq!(place.sessions(), ["abc-1"]);
    let shown = place.run(&["session", "show", "abc", "--json"]).ok().json();
    assert_eq!(
        (&shown["turn_count"], &shown["messages"], &shown["name"]),
        (&json!(6), &json!(12), &json!("first"))
    );
}

#[test]
fn an_ambiguous_beginning_names_those_that_fit() {
    let (place, _) = with_session();
    for id in ["abc-2", "abc-3", "abc-4"] {
        place.run(&["run", "-B", "b", "--session-id", id, "hi"]).ok();
    }
    let done = place.run(&["run", "--resume", "abc", "hi"]).code(2).says(&["fits several sessions", "abc-"]);
    assert_eq!(done.stderr.matches("abc-").count(), 3, "{}", done.stderr);
    place.run(&["run", "-B", "b", "--session-id", "abc-1", "hi"]).code(2).says(&["abc-1 exists already"]);
}

#[test]
fn a_forked_run_leaves_the_session_as_it_was() {
    let (place, id) = with_session();
    assert_eq!(
        place.run(&["run", "--resume", &id, "--fork-session", "--session-id", "copy", "hi"]).ok().stdout,
        "two\n"
    );
    let messages = |id: &str| place.run(&["session", "show", id, "--json"]).ok().json()["messages"].clone();
    assert_eq!((messages(&id), messages("copy")), (json!(2), json!(4)));
    place.run(&["run", "--resume", &id, "--fork-session", "-B", "nope", "hi"]).code(2);
    assert_eq!(place.sessions().len(), 2, "a copy is made only for a run that can begin");
}

#[test]
fn a_session_is_copied_up_to_a_turn() {
    let (place, id) = with_session();
    place.run(&["continue", "second"]).ok();
    assert_eq!(place.run(&["session", "fork", &id, "-t", "1", "-n", "short"]).ok().stdout, "short\n");
    let shown = place.run(&["session", "show", "short", "--json", "-T"]).ok().json();
    assert_eq!((&shown["messages"], &shown["transcript"][1]["content"]), (&json!(2), &json!("one")));
    let new = place.run(&["session", "fork", &id]).ok().says(&["amplifier run --resume"]).stdout;
    assert!(place.sessions().contains(&new.trim().to_owned()));
    place.run(&["session", "fork", &id, "-t", "9"]).code(2).says(&["has 2 turns, not 9"]);
    place.run(&["session", "fork", &id, "-n", "../up"]).code(2).says(&["session id"]);
    place.run(&["session", "fork", &id, "-n", "short"]).code(2).says(&["exists already"]);
}

#[test]
fn a_list_tells_where_each_session_stands() {
    let (place, id) = with_session();
    let done = place.run(&["session", "list"]).ok();
    let line = done.stdout.lines().nth(1).unwrap();
    assert!(
        done.stdout.starts_with("ID") && line.starts_with(&id) && line.contains("completed"),
        "{}",
        done.stdout
    );
    assert!(line.contains(" b ") && line.ends_with("first"), "{line}");
    // The database wins over a copy.
    let metadata = place.session_folder(&id).join("metadata.json");
    let text = fs::read_to_string(&metadata).unwrap().replace("\"completed\"", "\"running\"");
    fs::write(&metadata, text).unwrap();
    let status = |id: &str| place.run(&["session", "show", id, "--json"]).ok().json()["status"].clone();
    assert_eq!(status(&id), "completed");
    // A session without a row whose owner died says running and nobody holds it.
    fs::remove_file(metadata.ancestors().nth(3).unwrap().join("amplifier.db")).unwrap();
    assert_eq!(status(&id), "lost");
    fs::write(&metadata, "{ broken").unwrap();
    let listed = place.run(&["session", "list", "--json"]).ok().json();
    assert_eq!(listed[0]["status"], "damaged");
    assert!(listed[0]["damage"].is_string());
    assert_eq!(place.run(&["session", "list", "--running", "--json"]).ok().json(), json!([]));
}

#[test]
fn a_session_that_runs_is_told_with_its_process_and_kept_from_others() {
    let place = Place::scripted("- {text: late, delay_ms: 60000}");
    let args = ["run", "-B", "b", "--session-id", "busy", "--output-format", "stream-json", "go"];
    let mut running = place.call(&args).start();
    running.until(|line| line["type"] == "user");
    let listed = place.run(&["session", "list", "--running", "--json"]).ok().json();
    assert_eq!((&listed[0]["session_id"], &listed[0]["status"]), (&json!("busy"), &json!("running")));
    assert!(listed[0]["process"].is_u64());
    let home = place.project().join("../home");
    let everywhere =
        place.call(&["session", "list", "--all-projects", "--json"]).cwd(&home).done().ok().json();
    assert_eq!(everywhere[0]["status"], "running", "also seen from another project");
    let other = place.call(&["session", "list", "--json"]).cwd(&home).done().ok().json();
    assert_eq!(other, json!([]));
    let shown =
        place.call(&["session", "show", "busy", "--json"]).cwd(&home).done().ok().says(&["belongs to"]);
    assert_eq!(shown.json()["status"], "running");
    place.run(&["run", "--resume", "busy", "hi"]).code(75).says(&["busy is open in process"]);
    place.run(&["session", "delete", "busy", "-f"]).code(75).says(&["busy is open in process"]);
    running.signal(Signal::SIGINT);
    running.done().code(130);
}

#[test]
fn deleting_needs_a_yes_or_force() {
    let (place, id) = with_session();
    place.run(&["session", "delete", &id]).code(2).says(&["delete session abc-1", "--force"]);
    assert_eq!(place.sessions(), ["abc-1"]);
    place.run(&["session", "delete", "abc", "-f"]).ok().says(&["deleted abc-1"]);
    assert_eq!(place.sessions(), Vec::<String>::new());
    place.run(&["session", "delete", "abc", "-f"]).code(2).says(&["abc was not found"]);
}

#[test]
fn a_session_is_exported_as_json_and_as_markdown() {
    let (place, id) = with_session();
    let whole = place.run(&["session", "export", &id]).ok().json();
    assert_eq!(
        (&whole["metadata"]["bundle"], &whole["transcript"][0]["content"]),
        (&json!("b"), &json!("hi"))
    );
    let text = place.run(&["session", "export", &id, "--format", "markdown"]).ok().stdout;
    assert!(
        text.starts_with("# first\n") && text.contains("## User\n\nhi\n\n## Assistant\n\none\n"),
        "{text}"
    );
}

#[test]
fn a_damaged_transcript_is_reported_and_left_alone() {
    let (place, id) = with_session();
    let transcript = place.session_folder(&id).join("transcript.jsonl");
    let whole = fs::read_to_string(&transcript).unwrap();
    // A torn last line is cut off with a warning.
    fs::write(&transcript, format!("{whole}{{\"role\":\"us")).unwrap();
    place.run(&["resume", &id, "go on"]).ok().says(&["warning"]);
    // Other damage is not.
    let broken = format!("nonsense\n{whole}");
    fs::write(&transcript, &broken).unwrap();
    place.run(&["resume", &id, "go on"]).code(1).says(&["transcript.jsonl:1 is damaged"]);
    assert_eq!(fs::read_to_string(&transcript).unwrap(), broken);
}

#[test]
fn a_home_that_cannot_be_written_is_one_clear_error() {
    let place = Place::scripted("- text: hello");
    fs::create_dir_all(place.home().parent().unwrap()).unwrap();
    fs::write(place.home(), "a file in the place of the folder").unwrap();
    let done = place.run(&["run", "-B", "b", "hi"]);
    assert!([Some(1), Some(2)].contains(&done.code), "{done:?}");
    done.says(&[".amplifier"]);
}

#[test]
fn a_session_of_the_reference_system_goes_on() {
    let place = Place::scripted("- text: 'turn two: {{prompt}}'");
    place.run(&["run", "-B", "b", "--session-id", "template", "hi"]).ok();
    let sessions = place.session_folder("template").parent().unwrap().to_path_buf();
    let folder = sessions.join("0f8fad5b-d9cb-469f-a165-70867728950e");
    fs::create_dir_all(&folder).unwrap();
    let metadata = json!({
        "session_id": "0f8fad5b-d9cb-469f-a165-70867728950e", "created": "2026-01-02T03:04:05.678901+00:00",
        "bundle": "bundle:b", "model": "anthropic/claude", "turn_count": 1, "incremental": true,
        "working_dir": place.project(),
    });
    fs::write(folder.join("metadata.json"), serde_json::to_string_pretty(&metadata).unwrap()).unwrap();
    let line = |role: &str, text: &str| json!({"role": role, "content": text}).to_string() + "\n";
    fs::write(folder.join("transcript.jsonl"), line("user", "one") + &line("assistant", "two")).unwrap();
    assert_eq!(place.run(&["resume", "0f8f", "go on"]).ok().stdout, "turn two: go on\n");
    let shown = place.run(&["session", "show", "0f8f", "--json"]).ok().json();
    assert_eq!((&shown["messages"], &shown["turn_count"]), (&json!(4), &json!(2)));
}

#[test]
fn a_bundle_of_an_address_with_credentials_is_resumed_without_them() {
    use amplifier_foundation::source::{SourceUri, git::entry_name};
    let place = Place::scripted(TURNS);
    let Ok(SourceUri::Git(uri)) = "git+https://example.invalid/o/kit@v1".parse() else { panic!("no git") };
    let cached = place.home().join("cache").join(entry_name(&uri, "v1"));
    fs::create_dir_all(&cached).unwrap();
    fs::rename(place.project().join(".amplifier/bundles/b.yaml"), cached.join("bundle.yaml")).unwrap();
    let written = "git+https://user:hunter2@example.invalid/o/kit@v1";
    assert_eq!(place.run(&["run", "-B", written, "--session-id", "abc", "hi"]).ok().stdout, "one\n");
    let metadata = fs::read_to_string(place.session_folder("abc").join("metadata.json")).unwrap();
    assert!(!metadata.contains("hunter2"), "{metadata}");
    assert_eq!(place.run(&["run", "--resume", "abc", "go on"]).ok().stdout, "two\n");
}

#[test]
fn an_empty_list_says_why_it_is_empty() {
    let place = Place::scripted("- text: hello");
    let check = |args: &[&str], says: &str| {
        let done = place.run(&[&["session", "list"], args].concat()).ok().says(&[says]);
        assert_eq!(done.stdout, "", "{args:?}");
    };
    check(&[], "begin one with");
    place.run(&["run", "-B", "b", "hi"]).ok();
    check(&["--running"], "no session runs here");
    check(&["-n", "0"], "the limit is 0");
}
