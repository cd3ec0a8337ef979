//! How background sessions stand, as both programs show it: for people on stderr or in tables, for programs as
//! JSON.
//!
//! Guarantees: what others wrote moves no cursor; times are UTC, RFC 3339.

use std::path::Path;
use std::time::Duration;

use amplifier_background::control::{Change, OwnerInfo, Standing, TriggerStanding};
use amplifier_background::{BackgroundSessionManager, BackgroundStatus, TriggerState};
use amplifier_core::Timestamp;
use amplifier_foundation::Host;
use amplifier_foundation::settings::duration;
use amplifier_foundation::trigger::timer::rfc3339;
use serde_json::{Value, json};

use crate::beside::BesideRunning;
use crate::terminal::{Stdout, plain, say, table as columns};

/// What an owner tells while it runs.
#[derive(Debug)]
pub struct Log {
    json: Option<Stdout>,
    manager: BackgroundSessionManager,
}

impl Log {
    /// To stderr for people, or as JSON to stdout, one object a line.
    pub fn new(json: bool, manager: &BackgroundSessionManager) -> Self {
        Self { json: json.then(Stdout::new), manager: manager.clone() }
    }

    fn tell(&self, text: impl FnOnce() -> String, object: impl FnOnce() -> Value) {
        match &self.json {
            Some(stdout) => stdout.write(&format!("{}\n", object())),
            None => say(&plain(&text())),
        }
    }

    /// What is listened to, and when it fires next.
    pub fn ready(&self, host: &Host, standings: &[Standing]) {
        self.ready_with(host, standings, || json!({}));
    }

    /// The same; programs are told what the object `more` has too.
    pub fn ready_with(&self, host: &Host, standings: &[Standing], more: impl FnOnce() -> Value) {
        let pid = std::process::id();
        let object = || {
            let sessions: Vec<Value> = standings.iter().map(standing_json).collect();
            let mut ready = json!({
                "type": "ready", "pid": pid, "project": host.project(), "background_sessions": sessions,
            });
            if let (Some(ready), Value::Object(more)) = (ready.as_object_mut(), more()) {
                ready.extend(more);
            }
            ready
        };
        self.tell(|| ready_text(pid, standings), object);
    }

    /// Where webhooks are served, and which, if anywhere.
    pub fn listening(&self, running: &BesideRunning) {
        let Some(address) = running.address() else { return };
        let hooks: Vec<String> = running.hooks().iter().map(|path| format!("/hooks/{path}")).collect();
        self.tell(
            || {
                let hooks = if hooks.is_empty() { "no webhooks".to_owned() } else { hooks.join(", ") };
                format!("listening at http://{address}: {hooks}")
            },
            || json!({ "type": "listening", "address": address, "hooks": hooks }),
        );
    }

    /// Something has changed.
    pub fn change(&self, change: &Change) {
        let more = match change {
            Change::State { name, .. } | Change::Began { name, .. } => {
                self.manager.status(name).map_or(0, |status| status.active.len())
            }
            _ => 0,
        };
        self.tell(|| change_text(change), || change_json(change, more));
    }

    /// It was told to stop.
    pub fn stopping(&self, within: Duration) {
        let within = duration::format(within);
        self.tell(
            || format!("stopping: sessions that run may go on for {within}; Ctrl+C cuts them off"),
            || json!({ "type": "stopping", "drain_timeout": within }),
        );
    }

    /// It has stopped.
    pub fn ended(&self, ended: &[BackgroundStatus]) {
        self.tell(
            || match ended.len() {
                1 => "stopped: 1 background session".to_owned(),
                more => format!("stopped: {more} background sessions"),
            },
            || json!({ "type": "stopped", "background_sessions": ended.len() }),
        );
    }
}

fn ready_text(pid: u32, standings: &[Standing]) -> String {
    let mut lines = vec![match standings.len() {
        0 => format!("process {pid} runs no background session yet; `amplifier background add` declares one"),
        1 => format!("process {pid} runs 1 background session; Ctrl+C ends it"),
        more => format!("process {pid} runs {more} background sessions; Ctrl+C ends it"),
    }];
    for standing in standings {
        let paused = if standing.paused.is_some() { " (paused)" } else { "" };
        lines.push(format!("  {}{paused}: {}", standing.name, triggers(standing)));
    }
    lines.join("\n")
}

/// The triggers in one line, each timer with its next firing.
fn triggers(standing: &Standing) -> String {
    let one = |trigger: &TriggerStanding| match (trigger.state, trigger.next) {
        (Some(TriggerState::Disabled), _) => format!("{} (disabled)", trigger.what),
        (_, Some(next)) => format!("{}, next {}", trigger.what, rfc3339(next)),
        (_, None) => trigger.what.clone(),
    };
    let all: Vec<String> = standing.triggers.iter().map(one).collect();
    if all.is_empty() { "fired by hand".to_owned() } else { all.join("; ") }
}

fn change_text(change: &Change) -> String {
    let why = |error: &Option<String>| error.as_ref().map_or_else(String::new, |error| format!(": {error}"));
    match change {
        Change::Began { name, session } => format!("{name}: session {session} runs"),
        Change::Ended { name, session, run, success, will_retry, error } => {
            let what = match session {
                Some(session) => format!("session {session}"),
                None => format!("run {run}"),
            };
            match (success, will_retry) {
                (true, _) => format!("{name}: {what} completed"),
                (_, true) => format!("{name}: {what} failed and is tried again{}", why(error)),
                (_, false) => format!("{name}: {what} failed{}", why(error)),
            }
        }
        Change::State { name, state, error } => format!("{name}: {}{}", state.as_str(), why(error)),
        Change::Trigger { name, trigger, state, error } => {
            format!("{name}: trigger {trigger} is {}{}", state.as_str(), why(error))
        }
        Change::Missed { events } => format!("warning: {events} events were missed"),
        _ => String::new(),
    }
}

fn change_json(change: &Change, active: usize) -> Value {
    match change {
        Change::Began { name, session } => {
            json!({ "type": "session", "state": "running", "name": name, "session_id": session, "active": active })
        }
        Change::Ended { name, session, run, success, will_retry, error } => json!({
            "type": "session", "state": if *success { "completed" } else { "failed" }, "name": name,
            "session_id": session, "run_id": run, "will_retry": will_retry, "error": error,
        }),
        Change::State { name, state, error } => {
            json!({ "type": "background", "state": state, "name": name, "error": error, "active": active })
        }
        Change::Trigger { name, trigger, state, error } => {
            json!({ "type": "trigger", "state": state, "name": name, "trigger": trigger, "error": error })
        }
        Change::Missed { events } => json!({ "type": "missed", "events": events }),
        _ => Value::Null,
    }
}

/// What is declared.
pub fn listed(standings: &[Standing], project: &Path) -> String {
    let row = |standing: &Standing| {
        let triggers: Vec<&str> = standing.triggers.iter().map(|trigger| trigger.what.as_str()).collect();
        let place = &standing.place;
        let file = place.file.strip_prefix(project).unwrap_or(&place.file).display();
        let bundle = place.bundle.as_ref().map_or_else(String::new, |bundle| format!(" (bundle {bundle})"));
        [
            standing.name.to_string(),
            if triggers.is_empty() { "by hand".to_owned() } else { triggers.join("; ") },
            match (&standing.paused, standing.next()) {
                (Some(_), _) => "paused".to_owned(),
                (None, next) => next.map_or_else(|| "-".to_owned(), rfc3339),
            },
            format!("{file}:{}{bundle}", place.line),
        ]
    };
    let rows: Vec<[String; 4]> = standings.iter().map(row).collect();
    columns(["NAME", "STARTS", "NEXT", "DECLARED"], &rows)
}

/// How all of them stand.
pub fn table(owner: Option<&OwnerInfo>, standings: &[Standing]) -> String {
    let row = |standing: &Standing| {
        [
            standing.name.to_string(),
            state(owner, standing).to_owned(),
            standing.sessions.len().to_string(),
            standing.queued.to_string(),
            standing.next().map_or_else(|| "-".to_owned(), rfc3339),
            standing.error.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<[String; 6]> = standings.iter().map(row).collect();
    columns(["NAME", "STATE", "RUNNING", "QUEUED", "NEXT", "LAST ERROR"], &rows)
}

/// Where a background session is, in a word or two.
pub fn state(owner: Option<&OwnerInfo>, standing: &Standing) -> &'static str {
    match (owner, standing.state) {
        (Some(_), Some(state)) => state.as_str(),
        _ if standing.paused.is_some() => "not running, paused",
        _ => "not running",
    }
}

/// One background session for programs.
pub fn standing_json(standing: &Standing) -> Value {
    let at = |time: Option<Timestamp>| time.map(rfc3339);
    let trigger = |trigger: &TriggerStanding| {
        json!({
            "trigger": trigger.key, "type": trigger.kind, "what": trigger.what, "state": trigger.state,
            "restarts": trigger.restarts, "error": trigger.error, "last_fired": at(trigger.last_fired), "next": at(trigger.next),
        })
    };
    let counts = &standing.counts;
    json!({
        "name": standing.name,
        "bundle": standing.bundle,
        "declared": { "file": standing.place.file, "line": standing.place.line, "bundle": standing.place.bundle },
        "running": standing.state.is_some(),
        "state": standing.state,
        "paused_since": at(standing.paused.as_ref().map(|paused| paused.since)),
        "paused_by": standing.paused.as_ref().and_then(|paused| paused.by.clone()),
        "error": standing.error,
        "queued": standing.queued,
        "dead": standing.dead,
        "sessions": standing.sessions,
        "next": at(standing.next()),
        "counts": {
            "triggered": counts.triggered, "runs": counts.rows(), "coalesced": counts.coalesced,
            "skipped": counts.skipped, "rejected": counts.rejected,
        },
        "triggers": standing.triggers.iter().map(trigger).collect::<Vec<_>>(),
    })
}
