//! The queue, with the built binary.

use std::sync::Arc;

use amplifier_core::{Clock, Ids, NewEvent, Payload, RunId, SessionId};
use amplifier_foundation::EventRouter;
use amplifier_foundation::host::{RandomIds, SystemClock};
use amplifier_foundation::store::{
    Commit, QueueName, RunMove, RunState, SqliteOptions, SqliteStore, Store, Write,
};
use amplifier_issue::{Actor, End, IssueId, IssueQueue};
use serde_json::{Value, json};

use crate::kit::Place;

/// A place with these issues; in short, `a b>a` is two issues of which the second depends on the first.
fn with(text: &str) -> Place {
    let place = Place::new();
    for word in text.split(' ') {
        let (id, needs) = word.split_once('>').unwrap_or((word, ""));
        let title = format!("title of {id}");
        let mut args = vec!["add", &title, "--id", id];
        if !needs.is_empty() {
            args.extend(["--depends-on", needs]);
        }
        let done = place.run(&args).exits(0);
        assert_eq!(done.stdout, format!("{id}\n"));
    }
    place
}

#[test]
fn an_issue_is_added_shown_and_listed() {
    let place = Place::new();
    let body = "line one\n\u{1b}[2Jline two\n";
    let line = ["add", "Mend it", "--type", "own_type", "--priority", "1", "--body", "-", "--id", "m"];
    place.run_with(&[&line[..], &["--assignee", "bo", "--metadata", r#"{"n":1}"#]].concat(), body).exits(0);
    let made = place.run(&["add", "Without a name"]).exits(0).stdout;
    assert_eq!(made.trim().len(), 8, "{made}");
    let shown = place.json(&["issue", "show", "m"]);
    let issue = &shown["issue"];
    assert_eq!(issue["description"], body);
    let said = ["title", "issue_type", "priority", "status", "assignee"].map(|key| issue[key].clone());
    assert_eq!(json!(said), json!(["Mend it", "own_type", 1, "open", "bo"]));
    assert_eq!((&issue["metadata"], &issue["ready"]), (&json!({"n": 1}), &json!(true)));
    assert_eq!(
        (&shown["notes"][0]["event"], &shown["notes"][0]["actor"]),
        (&json!("issue_opened"), &json!("ada"))
    );
    let text = place.run(&["issue", "show", "m"]).exits(0).stdout;
    assert!(text.contains("line one\n[2Jline two") && text.contains("opened (ada)"), "{text}");
    let table = place.run(&["issue", "list"]).exits(0).stdout;
    assert!(table.lines().nth(1).unwrap().starts_with("m         1  own_type  open    Mend it"), "{table}");
    assert_eq!(place.ids(&["--type", "own_type"]), "m");
}

#[test]
fn dependencies_hold_up_until_they_are_done() {
    let place = with("a b>a c>a,b");
    assert_eq!(place.ids(&["--ready"]), "a");
    assert_eq!(place.ids(&["--needing", "a"]), "b c");
    let blocked = place.json(&["issue", "list", "--blocked"]);
    assert_eq!((&blocked[1]["id"], &blocked[1]["blockers"]), (&json!("c"), &json!(["a", "b"])));
    place.run(&["issue", "close", "a", "--reason", "not needed"]).exits(0).says("a: closed");
    assert_eq!((place.ids(&["--ready"]).as_str(), place.ids(&[]).as_str()), ("b", "b c"));
    assert_eq!(place.ids(&["--all"]), "a b c");
    place.run(&["issue", "update", "b", "--status", "completed", "--result", "it is so"]).exits(0);
    assert_eq!(place.ids(&["--ready"]), "c");
    assert_eq!(place.ids(&["--status", "completed,closed"]), "a b");
    place.run(&["issue", "reopen", "a"]).exits(0).says("a: open");
    assert_eq!(place.ids(&["--ready"]), "a");
    place.run(&["issue", "link", "c", "a", "--remove"]).exits(0);
    assert_eq!(place.ids(&["--ready"]), "a c");
    place.run(&["issue", "link", "c", "elsewhere", "--kind", "related"]).exits(0);
    let links = place.json(&["issue", "show", "c"])["issue"]["links"].clone();
    assert_eq!(links, json!([{"kind": "related", "to": "elsewhere"}]));
}

#[test]
fn a_question_is_answered_once() {
    let place = with("a");
    let ask = ["issue", "update", "a", "--status", "pending_user_input", "--notes", "Which one?"];
    place.run(&ask).exits(0).says("a: asks");
    let both =
        [place.start(&["issue", "answer", "a", "left"]), place.start(&["issue", "answer", "a", "right"])];
    let mut codes = both.map(|call| {
        let done = call.done();
        if done.code != 0 {
            assert!(done.stderr.contains("was answered by ada already"), "{done:?}");
            assert_eq!(done.stderr.lines().count(), 1, "{done:?}");
        }
        done.code
    });
    codes.sort_unstable();
    assert_eq!(codes, [0, 2]);
    let shown = place.json(&["issue", "show", "a"]);
    assert!(["left", "right"].contains(&shown["issue"]["answer"].as_str().unwrap()), "{shown}");
    assert_eq!((&shown["issue"]["answered_by"], &shown["issue"]["status"]), (&json!("ada"), &json!("open")));
}

#[test]
fn what_cannot_be_done_is_one_line_and_changes_nothing() {
    let place = with("parser b>parser");
    place.run(&["issue", "close", "b"]).exits(0);
    let before = place.run(&["export"]).exits(0).stdout;
    let bytes = "x".repeat(300 << 10);
    let check = |args: &[&str], says: &str| {
        let done = place.run_with(args, &bytes).exits(2);
        assert!(done.stdout.is_empty() && done.stderr.contains(says), "{args:?}: {}", done.stderr);
        done
    };
    let help = check(&["issue", "show", "prser"], "there is no issue `prser`");
    assert!(help.stderr.ends_with("help: did you mean `parser`?\n"), "{}", help.stderr);
    check(&["issue", "show", "par"], "did you mean `parser`?");
    check(&["issue", "answer", "b", "yes"], "issue `b` is closed, so it cannot be answered");
    check(&["issue", "retry", "parser"], "issue `parser` is open, so it cannot be");
    check(&["issue", "link", "parser", "b"], "parser → b → parser");
    check(&["issue", "link", "parser", "parser"], "would depend on itself");
    check(&["add", "again", "--id", "parser"], "there already: parser");
    check(&["add", "t", "--depends-on", "parsr"], "`parsr`, which is not there");
    check(&["add", " "], "the title is empty");
    check(&["add", "t", "--body", "-"], "the description has");
    check(&["add", "t", "--metadata", "[1]"], "--metadata is no JSON object");
    check(&["add", "t", "--priority", "5"], "5");
    check(&["add", "t", "--type", "A b"], "a-z");
    check(&["issue", "list", "--status", "done"], "there are open, in_progress");
    for id in ["../up", "a/b", "..", ".hidden", "", "a\\b", "a\nb"] {
        check(&["issue", "show", id], "invalid value");
        check(&["add", "t", "--id", id], "invalid value");
        check(&["logs", id], "invalid value");
        check(&["wait", id], "invalid value");
    }
    check(&["wait", "nobody"], "there is no issue `nobody`");
    check(&["import", "nowhere.jsonl"], "nowhere.jsonl");
    assert_eq!(place.run(&["export"]).exits(0).stdout, before);
}

#[test]
fn of_several_issues_each_is_told_for_itself() {
    let place = with("a b");
    let done = place.run(&["issue", "close", "a", "nobody", "b", "--json"]).exits(2);
    let closed: Vec<Value> = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json!([closed[0]["id"], closed[1]["id"], closed.len()]), json!(["a", "b", 2]));
    assert!(done.stderr.contains("there is no issue `nobody`"), "{done:?}");
}

#[test]
fn ten_thousand_issues_are_imported_at_once_or_not_at_all() {
    let place = Place::new();
    let line = |number: usize, needs: usize| {
        json!({"id": format!("i{number}"), "title": format!("issue {number}"), "depends_on": [format!("i{needs}")]})
            .to_string()
            + "\n"
    };
    let all: String = (1..10_000).map(|number| line(number, number - 1)).collect();
    place.write("circle.jsonl", &(all.clone() + &line(0, 9_999)));
    place.run(&["import", "circle.jsonl"]).exits(2);
    assert_eq!(place.json(&["issue", "list", "--all"]), json!([]));
    place.write("issues.jsonl", &(all + "{\"id\":\"i0\",\"title\":\"the first\"}\n"));
    let told = place.json(&["import", "issues.jsonl"]);
    assert_eq!(told["imported"], 10_000);
    assert_eq!(place.ids(&["--ready"]), "i0");
    let again = place.run(&["import", "issues.jsonl"]).exits(2);
    assert!(again.stderr.contains("are there already: i1, i2"), "{}", again.stderr);
    let lines = place.run(&["export"]).exits(0).stdout;
    assert_eq!(lines.lines().count(), 10_000);
}

#[test]
fn what_is_exported_can_be_imported() {
    let place = with("a b>a");
    place.run(&["issue", "update", "a", "--status", "completed", "--result", "done"]).exits(0);
    let lines = place.run(&["export"]).exits(0).stdout;
    let other = Place::new();
    other.write("all.jsonl", &lines);
    other.run(&["import", "all.jsonl"]).exits(0).says("imported 2 issues");
    assert_eq!((other.ids(&["--all"]).as_str(), other.ids(&["--ready"]).as_str()), ("a b", "b"));
    let shown = other.json(&["issue", "show", "b"]);
    assert_eq!((&shown["issue"]["depends_on"], &shown["blockers"]), (&json!(["a"]), &json!([])));
}

#[test]
fn issues_go_to_the_python_systems_files_and_come_back() {
    let place = with("a b>a c");
    place.run(&["issue", "link", "c", "a", "--kind", "discovered-from"]).exits(0);
    place.run(&["issue", "comment", "b", "look at this"]).exits(0);
    place.run(&["issue", "close", "a", "--reason", "done"]).exits(0);
    place.run(&["export", "--dir", "out/issues"]).exits(0).says("exported 3 issues into out/issues");
    let read = |name: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(place.path("out/issues").join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let keys: Vec<String> = read("issues.jsonl")[0].as_object().unwrap().keys().cloned().collect();
    let wanted = "id title description status priority issue_type assignee created_at updated_at closed_at \
                  parent_id discovered_from blocking_notes metadata";
    assert_eq!(keys.join(" "), wanted);
    let needs = read("dependencies.jsonl");
    let told = needs.iter().map(|line| json!([line["from_id"], line["to_id"], line["dep_type"]]));
    assert_eq!(json!(told.collect::<Vec<_>>()), json!([["b", "a", "blocks"], ["c", "a", "discovered-from"]]));
    assert!(read("events.jsonl").iter().any(|event| event["changes"]["text"] == "look at this"));
    place.run(&["export", "--dir", "out/issues"]).exits(2).says("out/issues/issues.jsonl is there already");

    let other = Place::new();
    let told = other.json(&["import", place.path("out/issues").to_str().unwrap()]);
    assert_eq!(told["issues"], json!(["a", "b", "c"]));
    assert_eq!((other.ids(&["--ready"]).as_str(), other.ids(&["--status", "closed"]).as_str()), ("b c", "a"));
    assert_eq!(other.json(&["issue", "show", "b"])["issue"]["depends_on"], json!(["a"]));
}

#[test]
fn a_wait_ends_when_others_have_done_it_and_its_code_tells_how() {
    let place = with("a b c");
    place.run(&["issue", "close", "a"]).exits(0);
    let done = place.run(&["wait", "a", "--json"]).exits(0);
    assert_eq!(serde_json::from_str::<Value>(&done.stdout).unwrap()["status"], "closed");
    let mut waiting = place.start(&["wait", "a", "b", "b"]);
    waiting.says("b: open");
    let ask = ["issue", "update", "b", "--status", "pending_user_input", "--notes", "Which\u{1b} one?"];
    place.run(&ask).exits(0);
    waiting.says("b asks: Which one?");
    waiting.says("foreman issue answer b");
    place.run(&["issue", "answer", "b", "this"]).exits(0);
    place.run(&["issue", "update", "b", "--status", "completed", "--result", "it is so"]).exits(0);
    let done = waiting.done().exits(0);
    let rows: Vec<_> =
        done.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(rows, ["ISSUE STATUS RESULT", "a closed -", "b completed it is so"]);
    place.run(&["issue", "update", "c", "--status", "failed", "--reason", "no way"]).exits(0);
    place.run(&["wait", "a", "c"]).exits(5);
    place.run(&["issue", "retry", "c"]).exits(0);
    place.run(&["wait", "c", "--timeout", "1ms"]).exits(124).says("not done within the time");
    let mut added = place.start(&["add", "another", "--id", "d", "--wait"]);
    added.says("d: open");
    place.run(&["issue", "cancel", "d", "--reason", "not needed"]).exits(0);
    assert!(added.done().exits(0).stdout.contains("d      closed  cancelled: not needed"));
}

#[test]
fn nothing_that_is_worked_on_is_told_as_nothing() {
    let place = with("a");
    assert_eq!(place.json(&["ps"]), json!([]));
    place.run(&["ps"]).exits(0).says("nothing is worked on");
    place.run(&["logs", "a"]).exits(0).says("no session has worked on a yet");
    place.run(&["runs"]).exits(0).says("`foreman runs --all`");
    assert_eq!(place.json(&["trigger", "list"]), json!([]));
    place.run(&["trigger", "list"]).exits(0).says("`foreman start` does");
    place.run(&["trigger", "history"]).exits(0).says("nothing has fired");
    let line = ["trigger", "simulate", "--every", "1h", "--from", "2026-11-23T00:00Z", "--count", "2"];
    assert_eq!(place.run(&line).exits(0).stdout, "2026-11-23T01:00:00Z\n2026-11-23T02:00:00Z\n");
    place.run(&["trigger", "fire", "nobody"]).exits(2).says("no background session nobody");
}

#[test]
fn what_only_reads_makes_nothing() {
    let place = Place::new();
    place.run(&["issue", "list"]).exits(0).says("no issues; `foreman add` adds one");
    place.run(&["export"]).exits(0);
    place.run(&["ps"]).exits(0);
    assert!(!place.path("../home").exists(), "a list has made something");
}

/// Another process's view of the queue: what a worker pool does to an issue.
struct Pool {
    issues: IssueQueue,
}

impl Pool {
    fn of(place: &Place) -> Self {
        let projects = std::fs::read_dir(place.path("../home/projects")).unwrap();
        let [project] = projects.map(|entry| entry.unwrap().path()).collect::<Vec<_>>().try_into().unwrap();
        let (clock, ids): (Arc<dyn Clock>, Arc<dyn Ids>) =
            (Arc::new(SystemClock::new()), Arc::new(RandomIds::new()));
        let options = SqliteOptions::new(project.join("amplifier.db"), Arc::clone(&clock), Arc::clone(&ids));
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(options).unwrap());
        let router = EventRouter::new(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&ids), "p");
        let seal = move |event: NewEvent| router.seal(event);
        Self { issues: IssueQueue::new(store, seal, clock, ids, Actor::new("coding")) }
    }

    async fn begin(&self, issue: &str, run: &str, session: &str) {
        let (issue, run) = (IssueId::new(issue).unwrap(), RunId::new(run).unwrap());
        let session = SessionId::new(session).unwrap();
        let enqueue = Write::Enqueue {
            run: run.clone(),
            queue: QueueName::new("coding").unwrap(),
            trigger: None,
            payload: Payload::null(),
            priority: 0,
            delay: std::time::Duration::ZERO,
        };
        let step = |from, to| RunMove::new(run.clone(), from, to);
        let leased = step(RunState::Queued, RunState::Leased);
        let begun = step(RunState::Leased, RunState::Running).session(session.clone());
        let commit = Commit::from(enqueue).write(Write::MoveRun(leased)).write(Write::MoveRun(begun));
        assert!(self.issues.store().commit(commit).await.unwrap().applied().is_some());
        self.issues.claim(&issue, &run).await.unwrap();
        self.issues.start(&issue, &run, &session).await.unwrap();
    }

    async fn complete(&self, issue: &str, run: &str) {
        let end = End::Completed { result: "it is mended".to_owned() };
        self.issues.end(&IssueId::new(issue).unwrap(), &RunId::new(run).unwrap(), end).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_worked_on_is_shown_and_its_log_followed_to_its_end() {
    let place = with("a b");
    // Two sessions that have written something.
    place.write("sessions.jsonl", "{\"id\":\"one\",\"title\":\"T\"}\n{\"id\":\"two\",\"title\":\"T\"}\n");
    let bundle = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/issues");
    let ran = place.run(&["run", "sessions.jsonl", "-B", bundle, "--json"]).exits(0).stdout;
    let told: Vec<Value> = ran.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let session = |at: usize| told[at]["session_id"].as_str().unwrap();
    let pool = Pool::of(&place);
    pool.begin("a", "run-1", session(0)).await;
    let ps = place.json(&["ps"]);
    let said =
        ["issue_id", "pool", "run_state", "status", "session_id", "attempt"].map(|key| ps[0][key].clone());
    assert_eq!(json!(said), json!(["a", "coding", "running", "in_progress", session(0), 1]));
    let table = place.run(&["ps"]).exits(0).stdout;
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((&row[..3], &session(0)[..8]), (&["a", "coding", "running"][..], row[3]));
    let log = place.run(&["logs", "a"]).exits(0);
    assert!(log.stdout.contains("[assistant]\nDone.") && log.stderr.contains(session(0)), "{log:?}");
    let raw = place.run(&["logs", "a", "--json"]).exits(0).stdout;
    assert!(
        raw.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["role"].is_string()),
        "{raw}"
    );

    let mut following = place.start(&["logs", "-f", "a"]);
    following.says(session(0));
    let mut waiting = place.start(&["wait", "a"]);
    waiting.says("a: in progress");
    // The first worker fails; another one takes the issue up in a session of its own.
    let (issue, run) = (IssueId::new("a").unwrap(), RunId::new("run-1").unwrap());
    let end = End::Escalated { reason: "it failed".to_owned() };
    pool.issues.end(&issue, &run, end).await.unwrap();
    pool.begin("a", "run-2", session(1)).await;
    following.says(session(1));
    pool.complete("a", "run-2").await;
    let followed = following.done().exits(0);
    assert_eq!(followed.stdout.matches("[assistant]\nDone.").count(), 2, "{followed:?}");
    assert!(waiting.done().exits(0).stdout.contains("a      completed  it is mended"));

    // Who works on what nobody wants any more is asked to stop; this one has ended before.
    pool.begin("b", "run-3", session(1)).await;
    place.run(&["issue", "cancel", "b"]).exits(0).says("b: closed");
    assert_eq!(place.ids(&["--status", "closed"]), "b");
}
