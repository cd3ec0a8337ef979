//! Background sessions: declared, run by one process, reached from all others.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::kit::{Place, Running};

const SCRIPT: &str = "- {when: {prompt: slow}, text: never, delay_ms: 600000}
- {when: {prompt: process that ran you}, text: went on}
- {text: the answer}";

const HAND: &str = "background_sessions:
  - name: hand
    bundle: b
    instruction_template: '{trigger.data}'
";

/// A place where `hand` is declared and fired by hand alone.
fn place() -> Place {
    let place = Place::scripted(SCRIPT);
    place.write(FILE, HAND);
    place
}

const FILE: &str = ".amplifier/background.yaml";

/// An owner that runs what is declared.
fn owner(place: &Place, args: &[&str]) -> (Running, Value) {
    let args = [&["background", "start", "--json"], args].concat();
    let mut owner = place.call(&args).start();
    let ready = owner.until(|line| line["type"] == "ready");
    (owner, ready)
}

fn status(place: &Place, name: &str) -> Value {
    place.run(&["background", "status", name, "--json"]).ok().json()
}

fn stop(place: &Place, owner: Running) {
    place.run(&["background", "stop", "--now"]).ok().says(&["have stopped"]);
    owner.done().ok();
}

/// The first line of an owner about a session that stands so.
fn session(owner: &mut Running, state: &str) -> Value {
    owner.until(|line| line["type"] == "session" && line["state"] == state)
}

#[test]
fn one_process_owns_what_is_declared_and_others_reach_it() {
    let place = place();
    place.run(&["background", "status"]).ok().says(&["not running"]);
    let (mut owner, ready) = owner(&place, &[]);
    assert_eq!(ready["background_sessions"][0]["name"], "hand");
    let second = place.run(&["background", "start"]).code(75);
    second.says(&[&format!("run by process {} since", ready["pid"])]);
    let seen = status(&place, "hand");
    assert_eq!((&seen["running"], &seen["owner"]["pid"]), (&json!(true), &ready["pid"]));

    let fired = place.run(&["background", "fire", "hand", r#"{"n": 1}"#, "--wait"]).ok();
    assert_eq!((fired.stdout.as_str(), fired.stderr.as_str()), ("the answer\n", ""));
    let began = session(&mut owner, "running");
    let ended = session(&mut owner, "completed");
    assert_eq!((&began["name"], &began["session_id"]), (&json!("hand"), &ended["session_id"]));
    assert!(ended["session_id"].as_str().unwrap().starts_with("bg-hand-"), "{ended}");
    let seen = status(&place, "hand");
    assert_eq!(
        (&seen["counts"]["runs"], &seen["queued"], &seen["sessions"]),
        (&json!(1), &json!(0), &json!([]))
    );

    place.run(&["background", "fire", "hand", "slow"]).code(2).says(&["the data is no JSON"]);
    place.run(&["background", "fire", "nobody"]).code(2).says(&["there are hand"]);
    place.run(&["background", "stop"]).ok().says(&["have stopped"]);
    owner.until(|line| line["type"] == "stopped");
    owner.done().ok();
    assert_eq!(status(&place, "hand")["running"], false);
    place.run(&["background", "stop"]).code(1).says(&["no process runs"]);
}

#[test]
fn an_owner_that_was_killed_runs_nothing_and_the_next_one_goes_on() {
    let place = place();
    let (mut killed, _) = owner(&place, &[]);
    let run = place.run(&["background", "fire", "hand", r#""slow""#, "--json"]).ok().json();
    let began = session(&mut killed, "running");
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.done().code, None);
    let seen = status(&place, "hand");
    assert_eq!(
        (&seen["running"], &seen["state"], &seen["owner"]),
        (&json!(false), &json!(null), &json!(null))
    );
    assert_eq!(seen["sessions"], json!([began["session_id"]]));
    place.run(&["background", "status"]).ok().says(&["not running"]);
    place.run(&["background", "stop", "hand"]).code(1).says(&["no process runs"]);

    let (mut next, _) = owner(&place, &[]);
    let ended = session(&mut next, "completed");
    assert_eq!((&ended["run_id"], &ended["session_id"]), (&run["run_id"], &began["session_id"]));
    stop(&place, next);
}

#[test]
fn a_firing_without_an_owner_waits_for_one() {
    let place = place();
    let fired = place.run(&["background", "fire", "hand", "--json"]).ok().says(&["the run waits"]);
    assert_eq!(fired.json()["owned"], false);
    assert_eq!(status(&place, "hand")["queued"], 1);
    let late = place.run(&["background", "fire", "hand", "--wait", "--timeout", "50ms"]);
    late.code(124).says(&["has not ended within the time"]);
    let (mut owner, _) = owner(&place, &[]);
    session(&mut owner, "completed");
    session(&mut owner, "completed");
    assert_eq!(status(&place, "hand")["queued"], 0);
    stop(&place, owner);
}

#[test]
fn a_paused_one_takes_in_and_starts_nothing_whoever_runs_it() {
    let place = place();
    place.run(&["background", "pause", "hand"]).ok().says(&["is paused"]);
    place.run(&["background", "pause", "hand"]).ok().says(&["paused already"]);
    let (mut owner, ready) = owner(&place, &[]);
    assert_eq!(ready["background_sessions"][0]["state"], "paused");
    place.run(&["background", "fire", "hand"]).ok();
    let seen = status(&place, "hand");
    assert_eq!((&seen["state"], &seen["queued"]), (&json!("paused"), &json!(1)));
    place.run(&["background", "resume", "hand"]).ok().says(&["goes on"]);
    session(&mut owner, "completed");
    // In an owner that runs it counts at once.
    place.run(&["background", "pause", "hand"]).ok();
    place.run(&["background", "fire", "hand"]).ok();
    let seen = status(&place, "hand");
    assert_eq!((&seen["queued"], &seen["sessions"]), (&json!(1), &json!([])));
    let resumed = place.run(&["background", "resume", "hand", "--json"]).ok().json();
    assert_eq!((&resumed["changed"], &resumed["paused"]), (&json!(true), &json!(false)));
    session(&mut owner, "completed");
    stop(&place, owner);
}

#[test]
fn what_is_added_and_removed_is_taken_up_by_the_owner_and_leaves_the_file_as_it_was() {
    let place = Place::scripted(SCRIPT);
    let text = "# what runs here\nbackground_sessions: # by the team\n  - name: hand # mine\n    bundle: b\n\n# end\n";
    place.write(FILE, text);
    let (mut owner, _) = owner(&place, &[]);
    let cron = ["--cron", "0 9 * * MON-FRI", "--timezone", "Europe/Berlin"];
    let added =
        place.run(&[&["background", "add", "nightly", "-B", "b"], &cron[..], &["do it"]].concat()).ok();
    let lines: Vec<&str> = added.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{added:#?}");
    let told =
        |line: &&str| line.starts_with("next  ") && line.contains("T09:00:00+") && line.ends_with(":00:00Z");
    assert!(lines.iter().all(told), "{lines:?}");
    added.says(&["nightly is declared in", "has taken it up"]);
    owner.until(|line| line["type"] == "background" && line["name"] == "nightly");
    assert_eq!(status(&place, "nightly")["triggers"][0]["state"], "watching");
    let listed = place.run(&["background", "list"]).ok().stdout;
    assert!(listed.contains("cron 0 9 * * MON-FRI Europe/Berlin"), "{listed}");
    place
        .run(&["background", "add", "nightly", "-B", "b", "--every", "1h", "x"])
        .code(2)
        .says(&["declared already"]);

    place.run(&["background", "rm", "nightly"]).ok().says(&["declared no longer", "has taken it up"]);
    owner.until(|line| line["name"] == "nightly" && line["state"] == "stopped");
    assert_eq!(std::fs::read_to_string(place.project().join(FILE)).unwrap(), text);
    place.run(&["background", "rm", "nightly"]).code(2).says(&["declares no background session nightly"]);
    stop(&place, owner);
}

#[test]
fn each_way_to_begin_can_be_typed_and_what_is_wrong_is_told_in_the_words_typed() {
    let place = Place::scripted(SCRIPT);
    place.write("local/bundle.yaml", "bundle: {name: local}\n");
    let add =
        |name: &str, more: &[&str]| place.run(&[&["background", "add", name, "-B", "b"], more].concat());
    let waits = |name: &str, more: &[&str]| add(name, more).ok().stdout;
    assert_eq!(waits("a", &["--every", "5m", "x"]).lines().count(), 3);
    assert_eq!(
        waits("b", &["--at", "2099-01-01T03:00", "--timezone", "Asia/Kolkata", "x"]).lines().count(),
        1
    );
    assert_eq!(
        waits("c", &["--on", "work:*,session_completed", "x"]),
        "waits for on work:*, session_completed\n"
    );
    assert_eq!(waits("d", &["--watch", "src/**/*.rs", "x"]), "waits for changes of src/**/*.rs\n");
    let hook = ["--webhook", "ci", "--scheme", "github", "--secret-env", "CI_SECRET", "x"];
    add("e", &hook).ok().says(&["CI_SECRET is not set here"]);
    // A path that somebody types is relative to where it is typed, one in the file to the file.
    place.run(&["background", "add", "f", "-B", "./local", "--every", "1h", "{event_summary}"]).ok();
    let listed = place.run(&["background", "list", "--json"]).ok().json();
    let names: Vec<&str> =
        listed.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(
        listed[5]["bundle"],
        place.project().canonicalize().unwrap().join("local").display().to_string()
    );

    add("g", &["--cron", "61 * * * *", "x"]).code(2).says(&["--cron: "]);
    add("g", &["--cron", "@daily", "--timezone", "Mars/Olympus", "x"]).code(2).says(&["--timezone: "]);
    add("g", &["--every", "1ms", "x"]).code(2).says(&["--every: "]);
    add("g", &["--every", "1h", "{nothing}"]).code(2).says(&["the instruction: "]);
    add("g", &["--webhook", "x", "x"]).code(2).says(&["--secret-env"]);
    add("g", &["x"]).code(2);
    add("no name", &["--every", "1h", "x"]).code(2).says(&["is no name"]);
    place.run(&["background", "add", "g", "-B", "nope", "--every", "1h", "x"]).code(2).says(&["nope"]);
    assert_eq!(place.run(&["background", "list", "--json"]).ok().json().as_array().unwrap().len(), 6);
}

#[test]
fn all_that_is_wrong_with_files_is_told_at_once_with_its_place() {
    let place = Place::scripted(SCRIPT);
    place.bundle("declares", SCRIPT, "background_sessions: [{name: twice, bundle: b}]");
    place.write(
        FILE,
        "background_sessions:\n  - name: a\n    bundle: b\n    pool_size: 0\n    triggers:\n      - type: timer\n        \
         config: {cron: '61 * * * *'}\n  - name: twice\n    bundle: b\n  - bundle: b\n    colour: red\nnotifies: []\n",
    );
    for command in [&["start"][..], &["status"], &["list"], &["fire", "a"]] {
        let done = place.run(&[&["background"], command, &["-B", "declares"]].concat()).code(2);
        done.says(&[
            "background.yaml:4:5: error: a: pool_size",
            "background.yaml:7:18: error: a: triggers[0].config.cron",
            "background.yaml:8:5: error: the background session `twice` is declared twice, first in",
            "declares.yaml:",
            "background.yaml:10:5: error: name: this is missing",
            "background.yaml:11:5: error: colour",
            "background.yaml:12:1: error: the key `notifies` is not known here",
        ]);
    }
    place.write(FILE, "background_sessions: {a: b}\n");
    place.run(&["background", "start"]).code(2).says(&["background.yaml:1:", "not a list"]);
    place.write(
        FILE,
        "background_sessions:\n  - name: a\n    bundle: nowhere\n  - name: b\n    bundle: nobody\n",
    );
    let failed = place.run(&["background", "start"]).code(2);
    failed.says(&["background.yaml:2: ", "`nowhere`", "background.yaml:4: ", "`nobody`"]);
    assert_eq!(status(&place, "a")["running"], false);
}

#[test]
fn bundles_declare_too_and_those_that_include_others_win_key_by_key() {
    let place = Place::scripted(SCRIPT);
    place.write("kit/worker.yaml", "bundle: {name: worker}\n");
    place.write(
        "kit/base.yaml",
        "bundle: {name: base}\nbackground_sessions:\n  - {name: one, bundle: ./worker.yaml, pool_size: 3}\n  \
         - {name: two, bundle: b, triggers: [{type: timer, config: {every: 1h}}]}\n",
    );
    place.write(
        "top.yaml",
        "bundle: {name: top}\nincludes: [./kit/base.yaml]\nbackground_sessions:\n  \
         - {name: two, triggers: [{type: timer, config: {every: 2h}}]}\n",
    );
    let listed = place.run(&["background", "list", "-B", "./top.yaml", "--json"]).ok().json();
    let project = place.project().canonicalize().unwrap();
    assert_eq!(listed[0]["bundle"], project.join("kit/worker.yaml").display().to_string());
    let two = &listed[1];
    assert_eq!((&two["bundle"], &two["triggers"][0]["what"]), (&json!("b"), &json!("every 2h")));
    assert_eq!((&two["declared"]["bundle"], &two["declared"]["line"]), (&json!("top"), &json!(4)));
    place.run(&["background", "rm", "two", "-B", "./top.yaml"]).code(2).says(&["top.yaml:4"]);
    // A pause needs no file.
    place.run(&["background", "pause", "two", "-B", "./top.yaml"]).ok();
    let listed = place.run(&["background", "list", "-B", "./top.yaml"]).ok().stdout;
    assert!(listed.contains("paused"), "{listed}");
}

#[test]
fn a_file_of_an_untrusted_directory_widens_nothing() {
    let place = Place::scripted(SCRIPT);
    place.write(
        FILE,
        "background_sessions:\n  - {name: a, bundle: b, permissions: acceptEdits}\n  \
         - {name: c, bundle: b, permissions: plan}\nnotify: [{events: [run_dead], command: [touch, x]}]\n",
    );
    let said = place.run(&["background", "list"]).ok().stderr;
    assert!(
        said.contains("permissions of a does not count") && said.contains("notify does not count"),
        "{said}"
    );
    assert!(!said.contains("permissions of c"), "{said}");
    place.run(&["trust"]).ok();
    assert_eq!(place.run(&["background", "list"]).ok().stderr, "");
}

#[test]
fn the_first_signal_lets_sessions_finish_and_the_second_cuts_them_off() {
    let place = Place::scripted(
        "- {when: {prompt: slow}, text: never, delay_ms: 600000}\n- {text: done, delay_ms: 300}",
    );
    place.write(FILE, HAND);
    let (mut drains, _) = owner(&place, &[]);
    place.run(&["background", "fire", "hand"]).ok();
    session(&mut drains, "running");
    drains.signal(Signal::SIGTERM);
    session(&mut drains, "completed");
    drains.done().code(143);

    let (mut cut, _) = owner(&place, &[]);
    place.run(&["background", "fire", "hand", r#""slow""#]).ok();
    session(&mut cut, "running");
    cut.signal(Signal::SIGINT);
    cut.until(|line| line["type"] == "stopping");
    cut.signal(Signal::SIGINT);
    session(&mut cut, "failed");
    cut.done().code(130);

    let (mut bounded, _) = owner(&place, &["--drain-timeout", "50ms"]);
    place.run(&["background", "fire", "hand", r#""slow""#]).ok();
    session(&mut bounded, "running");
    place.run(&["background", "stop"]).ok();
    bounded.done().ok();
}

#[test]
fn one_of_several_is_stopped_and_the_others_go_on() {
    let place = place();
    place.write(FILE, &format!("{HAND}  - {{name: other, bundle: b}}\n"));
    let (owner, _) = owner(&place, &[]);
    place.run(&["background", "stop", "hand"]).ok().says(&["background session hand has stopped"]);
    assert_eq!(status(&place, "hand")["state"], "stopped");
    place.run(&["background", "fire", "other", "--wait"]).ok();
    place.run(&["background", "stop", "hand"]).code(1).says(&["there is no background session hand here"]);
    // What is read anew leaves it stopped; a resume starts it again.
    place.run(&["background", "add", "third", "-B", "b", "--every", "1h", "x"]).ok();
    assert_eq!(status(&place, "hand")["state"], "stopped");
    place.run(&["background", "resume", "hand"]).ok().says(&["hand goes on"]);
    place.run(&["background", "fire", "hand", "--wait"]).ok();
    stop(&place, owner);
}

#[test]
fn what_sessions_write_is_printed_and_followed() {
    let place = place();
    place.run(&["background", "logs", "hand"]).ok().says(&["no session of hand has written anything"]);
    let (owner, _) = owner(&place, &[]);
    place.run(&["background", "fire", "hand", r#""first""#, "--wait"]).ok();
    let mut follow = place.call(&["background", "logs", "-f", "--json", "hand"]).start();
    let has = |line: &Value, text: &str| line["message"].to_string().contains(text);
    follow.until(|line| has(line, "the answer"));
    place.run(&["background", "fire", "hand", r#""second""#, "--wait"]).ok();
    let second = follow.until(|line| has(line, "second"));
    assert!(second["session_id"].as_str().unwrap().starts_with("bg-hand-"), "{second}");
    follow.signal(Signal::SIGINT);
    follow.done().code(130);
    let all = place.run(&["background", "logs", "hand"]).ok().stdout;
    assert_eq!(all.matches("the answer").count(), 2, "{all}");
    stop(&place, owner);
}
