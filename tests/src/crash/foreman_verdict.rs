//! What is wrong with what a crew has left, once nothing is left to do.
//!
//! Guarantees: it judges what other processes have read: issues, log, sessions, runs. Each rule is a sentence of
//! the crew's promise: each issue is completed exactly once, after all that it depends on; an attempt has one
//! session; no session runs, and no process is left.
//! Never here: a flaw that an order of crashes explains.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What was wanted, and what others have read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct History {
    /// The issues as they were imported.
    pub wanted: Vec<Value>,
    /// The log, in its order.
    pub events: Vec<Value>,
    /// All issues.
    pub issues: Vec<Value>,
    /// All sessions.
    pub sessions: Vec<Value>,
    /// All runs.
    pub runs: Vec<Value>,
}

impl std::fmt::Display for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [issues, runs, sessions, events] =
            [&self.issues, &self.runs, &self.sessions, &self.events].map(Vec::len);
        let begun = self.named("issue_started").count();
        let cut = self.ends().filter(|(_, _, outcome)| *outcome != "completed").count();
        write!(
            f,
            "{issues} issues, begun {begun} times and cut off {cut} times, {runs} runs, {sessions} sessions, {events} events"
        )
    }
}

impl History {
    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| event["type"] == name)
    }

    /// Ends of activations: a session, its activation, its outcome.
    fn ends(&self) -> impl Iterator<Item = (&str, u64, &str)> {
        let ends = self.events.iter().filter(|event| text(&event["type"]).starts_with("session_"));
        ends.filter_map(|event| {
            let data = &event["data"];
            Some((data["session_id"].as_str()?, data["activation"].as_u64()?, data["outcome"].as_str()?))
        })
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The place of an event in the log.
fn place(event: &Value) -> u64 {
    text(&event["sequence"]).parse().unwrap_or(0)
}

fn id(event: &Value) -> &str {
    text(&event["data"]["issue_id"])
}

/// Everything that is wrong with a history.
pub fn flaws(history: &History) -> Vec<String> {
    let mut flaws = log(history);
    flaws.extend(completed(history));
    flaws.extend(order(history));
    flaws.extend(attempts(history));
    flaws.extend(ends(history));
    flaws
}

/// The log is whole.
fn log(history: &History) -> Vec<String> {
    let places: Vec<u64> = history.events.iter().map(place).collect();
    let whole = places.iter().zip(1..).all(|(place, wanted)| *place == wanted);
    (!whole).then(|| format!("the log has gaps: {places:?}")).into_iter().collect()
}

/// Each issue is there, once, and was completed exactly once.
fn completed(history: &History) -> Vec<String> {
    let mut flaws = Vec::new();
    if history.issues.len() != history.wanted.len() {
        flaws.push(format!("there are {} issues of {}", history.issues.len(), history.wanted.len()));
    }
    for wanted in history.wanted.iter().map(|one| text(&one["id"])) {
        let status: Vec<&str> =
            history.issues.iter().filter(|one| one["id"] == wanted).map(|one| text(&one["status"])).collect();
        if status != ["completed"] {
            flaws.push(format!("{wanted} is {status:?}"));
        }
        for (event, least) in
            [("issue_opened", 1), ("issue_completed", 1), ("issue_failed", 0), ("issue_retried", 0)]
        {
            let count = history.named(event).filter(|event| id(event) == wanted).count();
            if count != least {
                flaws.push(format!("{wanted} has {count} times {event}"));
            }
        }
    }
    flaws
}

/// No issue begins before all that it depends on is completed, and none after it is.
fn order(history: &History) -> Vec<String> {
    let done: BTreeMap<&str, u64> =
        history.named("issue_completed").map(|event| (id(event), place(event))).collect();
    let mut needs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for wanted in &history.wanted {
        let list = wanted["depends_on"].as_array().map(Vec::as_slice).unwrap_or_default();
        needs.insert(text(&wanted["id"]), list.iter().map(text).collect());
    }
    let mut flaws = Vec::new();
    let mut begun = BTreeSet::new();
    for event in history.named("issue_started") {
        begun.insert(id(event));
        for need in needs.get(id(event)).into_iter().flatten() {
            if done.get(need).is_none_or(|done| *done > place(event)) {
                flaws.push(format!("{} began at {} before {need} was completed", id(event), place(event)));
            }
        }
        if done.get(id(event)).is_some_and(|done| *done < place(event)) {
            flaws.push(format!("{} began at {}, and was completed before", id(event), place(event)));
        }
    }
    flaws.extend(
        done.keys().filter(|id| !begun.contains(*id)).map(|id| format!("{id} was completed and never begun")),
    );
    flaws
}

/// A round of an issue has one run, and an attempt of a run one session.
fn attempts(history: &History) -> Vec<String> {
    let mut runs: BTreeMap<(&str, u64), BTreeSet<&str>> = BTreeMap::new();
    let mut sessions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut issues: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for event in history.named("issue_started") {
        let data = &event["data"];
        let (run, session) = (text(&data["run_id"]), text(&data["session_id"]));
        runs.entry((id(event), data["round"].as_u64().unwrap_or(0))).or_default().insert(run);
        sessions.entry(run).or_default().insert(session);
        issues.entry(session).or_default().insert(id(event));
    }
    let mut flaws = Vec::new();
    for ((issue, round), runs) in runs.iter().filter(|(_, runs)| runs.len() != 1) {
        flaws.push(format!("round {round} of {issue} has the runs {runs:?}"));
    }
    for (session, of) in issues.iter().filter(|(_, of)| of.len() != 1) {
        flaws.push(format!("session {session} worked on {of:?}"));
    }
    for (run, sessions) in &sessions {
        let row = history.runs.iter().find(|row| row["run_id"] == *run);
        let attempts = row.and_then(|row| row["attempt"].as_u64()).unwrap_or(0);
        if sessions.len() as u64 > attempts {
            flaws.push(format!("run {run} had {attempts} attempts, and the sessions {sessions:?}"));
        }
    }
    for row in history.runs.iter().filter(|row| row["state"] != "completed" && row["state"] != "cancelled") {
        flaws.push(format!("run {} is left {}", row["run_id"], row["state"]));
    }
    flaws
}

/// Each session is at its end, each activation ended once, and one session of an issue completed, once.
fn ends(history: &History) -> Vec<String> {
    let mut flaws = Vec::new();
    for session in history.sessions.iter().filter(|one| matches!(text(&one["status"]), "running" | "unknown"))
    {
        flaws.push(format!("session {} is {}", session["session_id"], session["status"]));
    }
    let mut told = BTreeMap::new();
    let mut well: BTreeMap<&str, usize> = BTreeMap::new();
    for (session, activation, outcome) in history.ends() {
        let ends: &mut Vec<&str> = told.entry((session, activation)).or_default();
        ends.push(outcome);
        *well.entry(session).or_default() += usize::from(outcome == "completed");
    }
    for ((session, activation), ends) in told.iter().filter(|(_, ends)| ends.len() != 1) {
        flaws.push(format!("activation {activation} of {session} ends {ends:?}"));
    }
    let mut by_issue: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for event in history.named("issue_started") {
        by_issue.entry(id(event)).or_default().insert(text(&event["data"]["session_id"]));
    }
    for (issue, sessions) in by_issue {
        let count: usize = sessions.iter().map(|session| well.get(session).copied().unwrap_or(0)).sum();
        // One that has reported by its tool is not gone on with once it is lost.
        let reported = history
            .named("issue_completed")
            .any(|event| id(event) == issue && event["data"]["actor"] != "foreman");
        if count > 1 || count == 0 && !reported {
            flaws.push(format!("sessions of {issue} completed {count} times: {sessions:?}"));
        }
    }
    flaws
}

/// Processes that are left: those whose folder is this one, those with the mark of a session, those of daemons.
pub fn left_behind(project: &Path, daemons: &BTreeSet<i32>, history: &History) -> Vec<String> {
    let sessions: BTreeSet<&str> = history.sessions.iter().map(|one| text(&one["session_id"])).collect();
    let mut left = Vec::new();
    for process in amplifier_foundation::fs::process_table::processes().into_iter().filter(|one| !one.ended) {
        let of = |what: &str| std::fs::read(format!("/proc/{}/{what}", process.pid)).unwrap_or_default();
        let environment = String::from_utf8_lossy(&of("environ")).into_owned();
        let marked = environment.split('\0').filter_map(|entry| entry.strip_prefix("AMPLIFIER_SESSION_ID="));
        let marked = marked.into_iter().any(|session| sessions.contains(session));
        let here = std::fs::read_link(format!("/proc/{}/cwd", process.pid)).is_ok_and(|cwd| cwd == project);
        if marked || here || daemons.contains(&process.group) {
            let command = String::from_utf8_lossy(&of("cmdline")).replace('\0', " ");
            left.push(format!("process {} is left: {command}", process.pid));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(name: &str, issue: &str, session: &str) -> Value {
        let run = format!("pool:issues:1:{issue}.0");
        json!({"type": name, "data": {
            "issue_id": issue, "round": 0, "session_id": session, "run_id": run, "actor": "foreman",
        }})
    }

    fn end(session: &str, activation: u64, outcome: &str) -> Value {
        json!({"type": format!("session_{outcome}"),
            "data": {"session_id": session, "activation": activation, "outcome": outcome}})
    }

    /// `b` needs `a`, whose session was lost once.
    fn honest() -> Vec<Value> {
        vec![
            event("issue_opened", "a", ""),
            event("issue_opened", "b", ""),
            event("issue_started", "a", "s1"),
            end("s1", 1, "lost"),
            event("issue_started", "a", "s1"),
            end("s1", 2, "completed"),
            event("issue_completed", "a", "s1"),
            event("issue_started", "b", "s2"),
            end("s2", 1, "completed"),
            event("issue_completed", "b", "s2"),
        ]
    }

    fn history(mut events: Vec<Value>) -> History {
        for (event, place) in events.iter_mut().zip(1..) {
            event["sequence"] = json!(format!("{place:020}"));
        }
        let issue = |id: &str| json!({"id": id, "status": "completed"});
        let run =
            |id: &str| json!({"run_id": format!("pool:issues:1:{id}.0"), "state": "completed", "attempt": 1});
        let session = |id: &str| json!({"session_id": id, "status": "completed"});
        History {
            wanted: vec![json!({"id": "a"}), json!({"id": "b", "depends_on": ["a"]})],
            events,
            issues: ["a", "b"].map(issue).into(),
            sessions: ["s1", "s2"].map(session).into(),
            runs: ["a", "b"].map(run).into(),
        }
    }

    #[track_caller]
    fn finds(history: &History, what: &str) {
        let found = flaws(history);
        assert!(found.iter().any(|flaw| flaw.contains(what)), "{what}: {found:#?}");
    }

    #[test]
    fn what_a_crew_must_not_do_is_found() {
        assert_eq!(flaws(&history(honest())), Vec::<String>::new());
        let with = |at: usize, event: Value| {
            let mut events = honest();
            events.insert(at, event);
            history(events)
        };
        let with_out = |at: usize| {
            let mut events = honest();
            events.remove(at);
            history(events)
        };
        finds(&with(10, event("issue_completed", "b", "s2")), "b has 2 times issue_completed");
        finds(&with(2, event("issue_started", "b", "s2")), "b began at 3 before a was completed");
        finds(&with(8, event("issue_started", "b", "s3")), "had 1 attempts, and the sessions");
        finds(&with(8, event("issue_started", "b", "s1")), "session s1 worked on");
        finds(&with(7, event("issue_started", "a", "s1")), "a began at 8, and was completed before");
        finds(&with(9, end("s2", 1, "lost")), "activation 1 of s2 ends");
        finds(&with_out(8), "sessions of b completed 0 times");
        finds(&with(9, end("s2", 2, "completed")), "sessions of b completed 2 times");
        let mut again = event("issue_started", "b", "s2");
        again["data"]["run_id"] = json!("other:issues:1:b.0");
        finds(&with(8, again), "round 0 of b has the runs");
        let mut without = honest();
        without.truncate(9);
        finds(&history(without), "b has 0 times issue_completed");
        let mut gap = history(honest());
        gap.events.remove(3);
        finds(&gap, "the log has gaps");
    }

    #[test]
    fn what_is_left_is_found() {
        for (what, change) in [
            (
                "session \"s2\" is \"running\"",
                (|history| history.sessions[1]["status"] = json!("running")) as fn(&mut History),
            ),
            ("run \"pool:issues:1:b.0\" is left \"leased\"", |history| {
                history.runs[1]["state"] = json!("leased")
            }),
            ("b is [\"in_progress\"]", |history| history.issues[1]["status"] = json!("in_progress")),
            ("there are 1 issues of 2", |history| drop(history.issues.pop())),
        ] {
            let mut history = history(honest());
            change(&mut history);
            finds(&history, what);
        }
        let folder = tempfile::tempdir().unwrap();
        let folder = std::fs::canonicalize(folder.path()).unwrap();
        let mut sleep = std::process::Command::new("sleep").arg("60").current_dir("/").spawn().unwrap();
        let group = std::process::Command::new("sleep").arg("60").env("AMPLIFIER_SESSION_ID", "s1").spawn();
        let mut marked = group.unwrap();
        // Its environment can be read a moment after it runs.
        let environment = format!("/proc/{}/environ", marked.id());
        while !std::fs::read_to_string(&environment).unwrap().contains("AMPLIFIER_SESSION_ID") {
            std::thread::yield_now();
        }
        let left = left_behind(&folder, &BTreeSet::new(), &history(honest()));
        let (pid, other) = (marked.id(), sleep.id());
        marked.kill().and_then(|()| marked.wait().map(drop)).unwrap();
        sleep.kill().and_then(|()| sleep.wait().map(drop)).unwrap();
        assert!(left.iter().any(|flaw| flaw.starts_with(&format!("process {pid} is left"))), "{left:?}");
        assert!(!left.iter().any(|flaw| flaw.starts_with(&format!("process {other} "))), "{left:?}");
    }
}
