//! `amplifier event`: processes of one project tell each other what happened.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::kit::{Place, Running};

/// Emits an event; its id.
fn emit(place: &Place, name: &str, data: &str) -> String {
    place.run(&["event", "emit", name, data]).ok().stdout.trim().to_owned()
}

/// A `tail` that is registered.
fn tail(place: &Place, more: &[&str]) -> Running {
    let running = place.call(&[&["event", "tail", "--json"], more].concat()).start();
    running.until_said("following");
    running
}

fn numbers(events: &[Value]) -> Vec<Value> {
    events.iter().map(|event| event["data"]["n"].clone()).collect()
}

#[test]
fn an_event_of_one_process_reaches_another_as_a_cloud_event() {
    let place = Place::new();
    let mut tail = tail(&place, &["draft:*", "-n", "1"]);
    emit(&place, "other:name", "{}");
    let id = emit(&place, "draft:ready", r#"{"title": "x", "n": 1.50}"#);
    let event = tail.until(|_| true);
    tail.done().ok();
    let project = place.project().canonicalize().unwrap();
    let encoded = project.to_str().unwrap().replace('/', "%2F");
    let time = event["time"].as_str().unwrap();
    assert!(time.len() == 27 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    let expected = json!({
        "specversion": "1.0", "id": id, "source": format!("/amplifier/{encoded}"), "type": "draft:ready",
        "time": time, "datacontenttype": "application/json", "sequence": "00000000000000000002",
        "correlationid": id, "hopcount": 0, "data": {"title": "x", "n": 1.5},
    });
    assert_eq!(event, expected);
}

#[test]
fn a_session_s_end_is_an_event_of_its_own_and_can_be_waited_for() {
    let place = Place::scripted("- text: hello");
    let session = {
        let run = place.run(&["run", "-B", "b", "--output-format", "json", "hi"]).ok().json();
        run["session_id"].as_str().map_or_else(|| place.sessions().remove(0), str::to_owned)
    };
    let wait = ["event", "wait", "session:end", "--session", session.as_str(), "--json"];
    let event = place.run(&wait).ok().json();
    assert_eq!((&event["type"], &event["subject"]), (&json!("session_completed"), &json!(session)));
    assert!(event["source"].as_str().unwrap().ends_with(&format!("/sessions/{session}")), "{event}");
    assert_eq!(event["data"]["output"], "hello");
    let other = ["event", "replay", "session:end", "--tree", "another", "--json"];
    assert_eq!(place.run(&other).ok().stdout, "");
}

#[test]
fn a_wait_ends_with_the_event_or_with_124() {
    let place = Place::new();
    let waiting = place.call(&["event", "wait", "draft:*", "--field", "data.n=2", "--json"]).start();
    waiting.until_said("waiting for draft:* data.n=2");
    // Said before it is registered: one of these comes after that.
    let emitted = std::thread::scope(|scope| {
        let done = scope.spawn(|| waiting.done().ok().json());
        let mut count = 0;
        while !done.is_finished() {
            emit(&place, "draft:ready", r#"{"n": 1}"#);
            emit(&place, "draft:ready", r#"{"n": 2}"#);
            count += 1;
            assert!(count < 100, "the wait does not see what is emitted");
        }
        done.join().unwrap()
    });
    assert_eq!(emitted["data"]["n"], 2);
    let late = place.run(&["event", "wait", "never", "--timeout", "50ms"]).code(124);
    assert_eq!(late.says(&["error: no event passed never within 50ms"]).stdout, "");
    let found = place.run(&["event", "wait", "draft:*", "--from", "1", "--timeout", "0s", "--json"]).ok();
    assert_eq!(found.json()["data"]["n"], 1);
}

#[test]
fn the_log_is_replayed_to_its_end_and_followed_from_any_place() {
    let place = Place::new();
    for n in 1..=5 {
        emit(&place, if n % 2 == 0 { "even" } else { "odd" }, &format!("{{\"n\": {n}, \"big\": {}}}", n > 3));
    }
    let replay = |more: &[&str]| {
        let done = place.run(&[&["event", "replay", "--json"], more].concat()).ok();
        numbers(&done.lines())
    };
    assert_eq!(replay(&[]), [1, 2, 3, 4, 5]);
    assert_eq!(replay(&["--from", "3", "odd"]), [3, 5]);
    assert_eq!(replay(&["--field", "data.big=true"]), [4, 5]);
    assert_eq!(replay(&["--field", "data.big=true", "--field", "data.n=4"]), [4]);
    assert_eq!(replay(&["--session", "nobody"]).len(), 0);
    let mut tail = tail(&place, &["--from", "4", "-n", "3"]);
    emit(&place, "later", r#"{"n": 6}"#);
    tail.until(|event| event["data"]["n"] == 6);
    assert_eq!(numbers(&tail.done().ok().lines()), [4, 5, 6]);
    let gone = place.run(&["event", "replay", "--from", "99"]).code(2);
    gone.says(&["the log does not hold that place; read on at the oldest event, 1"]);
}

#[test]
fn people_are_shown_a_line_an_event_and_no_control_characters() {
    let place = Place::new();
    let data = json!({"text": "a\u{9b}2J\nb", "long": "x".repeat(500)});
    emit(&place, "draft:ready", &data.to_string());
    emit(&place, "b", "null");
    let shown = place.run(&["event", "replay"]).ok().stdout;
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 2, "{shown}");
    assert!(lines[0].starts_with("     1  20") && lines[0].ends_with('…'), "{shown}");
    assert!(lines[1].starts_with("     2  20") && lines[1].ends_with("-"), "{shown}");
    let column = |line: &str, text: &str| line.find(text).unwrap();
    assert_eq!(column(lines[0], "draft:ready"), column(lines[1], " b ") + 1);
    assert!(!shown.contains('\u{9b}'));
}

#[test]
fn data_comes_from_the_line_a_file_or_standard_input() {
    let place = Place::new();
    place.write("data.json", "{\n  \"n\": 1\n}\n");
    let file = place.run(&["event", "emit", "a", "@data.json", "--json"]).ok();
    let piped = place.call(&["event", "emit", "a", "-", "--json"]).input("{\"n\": 2}").done().ok();
    assert_eq!(numbers(&file.lines()), [1]);
    assert_eq!(numbers(&piped.lines()), [2]);
    let none = place.run(&["event", "emit", "a", "--json"]).ok();
    assert_eq!(none.json()["data"], Value::Null);
    assert_eq!(place.run(&["event", "emit", "a", "-1", "--json"]).ok().json()["data"], -1);
}

#[test]
fn what_makes_no_sense_is_one_error_with_code_2_and_records_nothing() {
    let place = Place::new();
    let big = format!("\"{}\"", "x".repeat(1 << 20));
    place.write("big.json", &big);
    let cases: &[(&[&str], &str)] = &[
        (&["emit", "session:completed", "{}"], "`session:completed` belongs to the kernel"),
        (&["emit", "run:mine"], "`run:mine` belongs to the kernel"),
        (&["emit", "Draft"], "`Draft` holds 'D'"),
        (&["emit", "draft", "{broken"], "the data is no JSON"),
        (&["emit", "draft", "@missing.json"], "missing.json"),
        (&["emit", "draft", "@big.json"], "big.json"),
        (&["tail", "session:made_up"], "session:made_up"),
        (&["tail", "a b"], "`a b`"),
        (&["tail", "--field", "n=1"], "write it as data.PATH=VALUE"),
        (&["tail", "--field", "data..n=1"], "`.n`"),
        (&["wait", "a", "--session", "../x"], "../x"),
        (&["wait", "a", "--timeout", "soon"], "soon"),
        (&["wait", "a", "--from", "99"], "read on at the oldest event"),
        (&["why", "nonsense"], "`nonsense` is no event's id"),
        (&["why", "018f3e9a-0000-7000-8000-000000000001"], "the log holds no event"),
    ];
    for (words, part) in cases {
        let done = place.run(&[&["event"], *words].concat()).code(2).says(&[part]);
        assert_eq!(done.stdout, "", "{words:?}");
        assert_eq!(done.stderr.matches("error:").count(), 1, "{done:#?}");
    }
    let piped = place.call(&["event", "emit", "draft", "-"]).input(big).done().code(2);
    piped.says(&["standard input has more than 1048576 bytes"]);
    assert_eq!(place.run(&["event", "replay"]).ok().stdout, "");
}

#[test]
fn an_interrupt_ends_a_tail_and_a_reader_that_went_away_ends_it_quietly() {
    let place = Place::new();
    let running = tail(&place, &[]);
    running.signal(Signal::SIGINT);
    running.done().code(130);
    let waiting = place.call(&["event", "wait", "never"]).start();
    waiting.until_said("waiting");
    waiting.signal(Signal::SIGTERM);
    waiting.done().code(143);
    // Without anything to be told: nobody emits.
    let mut unread = tail(&place, &[]);
    unread.close_stdout();
    let done = unread.done().ok();
    assert!(!done.stderr.contains("error") && !done.stderr.contains("panic"), "{done:#?}");
}

#[test]
fn why_names_an_event_by_its_id_and_by_its_place() {
    let place = Place::new();
    let id = emit(&place, "a", "{\"n\": 1}");
    let by_id = place.run(&["event", "why", &id, "--json"]).ok();
    let by_place = place.run(&["event", "why", "1", "--json"]).ok();
    assert_eq!(by_id.stdout, by_place.stdout);
    let line = by_id.json();
    assert_eq!((&line["kind"], &line["event"]["id"]), (&json!("event"), &json!(id)));
    assert!(place.run(&["event", "why", &id]).ok().stdout.starts_with("event         1  20"));
    place.run(&["event", "why", "7"]).code(2);
}
