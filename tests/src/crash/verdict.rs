//! What is wrong with what background sessions have left, once nothing is left to do.
//!
//! Guarantees: it reads closed files from a process that has run none of it. Each rule is a sentence of issue and
//! design: nothing acknowledged is lost, nothing happens twice, nothing has no outcome, nothing is left running,
//! and the numbers add up.
//! Never here: a flaw that an order of crashes explains.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use amplifier_background::trigger::TriggerEventId;
use amplifier_core::{OutcomeKind, SessionEvent, SessionId, Timestamp};
use amplifier_foundation::store::{OwnerId, RunRow, RunState, Store};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fleet::{DONE, EACH, INSTRUCTION, NAMES, ONCE, Place, Seen, WORK};
use crate::on_disk;

/// What was acknowledged, by the lines that were said.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Acknowledged {
    /// Runs of firings by hand.
    pub runs: BTreeSet<String>,
    /// Events, in the order in which each writer had them acknowledged.
    pub events: BTreeMap<String, Vec<String>>,
    /// What failed, as it was told.
    pub errors: Vec<String>,
}

impl Acknowledged {
    /// Takes note of what was said.
    pub fn hear<'a>(&mut self, lines: impl IntoIterator<Item = &'a String>) {
        for line in lines {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["run", _, _, run] => drop(self.runs.insert(run.to_owned())),
                ["event", writer, _, event] => {
                    self.events.entry(writer.to_owned()).or_default().push(event.to_owned());
                }
                ["error", ..] => self.errors.push(line.clone()),
                _ => {}
            }
        }
    }

    /// How much there is.
    pub fn total(&self) -> usize {
        self.runs.len() + self.events.values().map(Vec::len).sum::<usize>()
    }
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Looked {
    /// Rows of runs.
    pub runs: usize,
    /// Sessions.
    pub sessions: usize,
    /// Their activations.
    pub activations: usize,
    /// Events of the log.
    pub events: usize,
}

impl std::fmt::Display for Looked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { runs, sessions, activations, events } = self;
        write!(f, "{runs} runs, {sessions} sessions, {activations} activations, {events} events")
    }
}

impl Looked {
    /// Adds what was looked at elsewhere.
    pub fn add(&mut self, more: Self) {
        self.runs += more.runs;
        self.sessions += more.sessions;
        self.activations += more.activations;
        self.events += more.events;
    }
}

/// Everything that is wrong. Nobody has the project open but this process.
pub async fn flaws(place: &Place, told: &Acknowledged) -> (Vec<String>, Looked) {
    let Some(folder) = place.store() else {
        let lost = (told.total() > 0).then(|| "there is no database".to_owned());
        return (lost.into_iter().collect(), Looked::default());
    };
    let store = on_disk::shared(&folder, &OwnerId::new("checker").unwrap());
    let seen = Seen::read(&store).await.unwrap();
    let mut judge = Judge { seen, flaws: store.check().await.unwrap(), never_opened: 0 };
    judge.flaws.extend(judge.seen.gaps.clone());
    judge.acknowledged(told);
    judge.runs();
    judge.conservation();
    judge.reactions();
    judge.timers();
    judge.told();
    judge.sessions(&store, &folder).await;
    judge.left_behind(place);
    let activations: usize = judge.seen.sessions.iter().map(|row| row.activation.0 as usize).sum();
    let activations = activations - judge.never_opened;
    let Seen { runs, sessions, events, .. } = &judge.seen;
    let runs = runs.values().map(Vec::len).sum();
    let looked = Looked { runs, sessions: sessions.len(), activations, events: events.len() };
    (judge.flaws, looked)
}

struct Judge {
    seen: Seen,
    flaws: Vec<String>,
    never_opened: usize,
}

/// The parts of a run's payload that are judged.
#[derive(Deserialize)]
struct Firing {
    event: Fired,
}

#[derive(Deserialize)]
struct Fired {
    id: TriggerEventId,
    due: Timestamp,
    #[serde(default)]
    passed: Passed,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Passed {
    coalesced: u64,
    skipped: u64,
}

fn key(firing: &Firing) -> &str {
    firing.event.id.as_str().split('/').nth(1).unwrap_or_default()
}

impl Judge {
    fn flaw(&mut self, flaw: String) {
        self.flaws.push(flaw);
    }

    /// Whatever was acknowledged is there, in the order in which it was.
    fn acknowledged(&mut self, told: &Acknowledged) {
        let there: BTreeSet<&str> = self.seen.runs.values().flatten().map(|row| row.id.as_str()).collect();
        let lost: Vec<_> = told.runs.iter().filter(|run| !there.contains(run.as_str())).cloned().collect();
        let places: BTreeMap<String, u64> = self
            .seen
            .events
            .iter()
            .map(|event| (event.id.0.to_string(), event.sequence.unwrap_or(0)))
            .collect();
        self.flaws.extend(lost.iter().map(|run| format!("the acknowledged run {run} is not there")));
        for (writer, events) in &told.events {
            let found: Vec<u64> = events.iter().filter_map(|event| places.get(event).copied()).collect();
            for event in events.iter().filter(|event| !places.contains_key(*event)) {
                self.flaws.push(format!("the acknowledged event {event} is not there"));
            }
            if !found.is_sorted() {
                self.flaws.push(format!("the events of {writer} have another order"));
            }
        }
    }

    /// Each run is at its end, by legal steps.
    fn runs(&mut self) {
        let mut flaws = Vec::new();
        for row in self.seen.runs.values().flatten() {
            if !row.state.is_final() {
                flaws.push(format!("run {} is left {}", row.id, row.state.as_str()));
            }
            if let Err(error) = row.check() {
                flaws.push(format!("run {}: {error}", row.id));
            }
        }
        self.flaws.extend(flaws);
    }

    /// `triggered = coalesced + skipped + rejected + rows`.
    fn conservation(&mut self) {
        for of in NAMES {
            let (counts, rows) = (self.seen.counts[of], self.seen.runs[of].len() as u64);
            if counts.triggered != counts.coalesced + counts.skipped + counts.rejected + rows {
                self.flaw(format!("{of}: {counts:?}, and {rows} rows"));
            }
        }
    }

    /// Each event that is answered is answered by one run, and each such run answers an event.
    fn reactions(&mut self) {
        for (of, event) in [("react", WORK), ("chain", DONE)] {
            let wanted: BTreeSet<String> =
                self.seen.named(event).map(|event| event.id.0.to_string()).collect();
            let answered: Vec<String> = self.seen.runs[of]
                .iter()
                .filter_map(|row| Some(row.payload.decode::<Firing>().ok()?.event.id.nominal().to_owned()))
                .collect();
            let set: BTreeSet<String> = answered.iter().cloned().collect();
            if set.len() != answered.len() {
                self.flaw(format!(
                    "{of} answers an event twice: {} runs, {} events",
                    answered.len(),
                    set.len()
                ));
            }
            self.flaws.extend(wanted.difference(&set).map(|event| format!("{of} has not answered {event}")));
            self.flaws.extend(
                set.difference(&wanted).map(|event| format!("{of} answers {event}, which is not there")),
            );
        }
    }

    /// Each due time of a timer is a run, or stands in one that came later.
    fn timers(&mut self) {
        let mut by_key: BTreeMap<String, Vec<Fired>> = BTreeMap::new();
        for row in &self.seen.runs["tick"] {
            if let Ok(firing) = row.payload.decode::<Firing>() {
                by_key.entry(key(&firing).to_owned()).or_default().push(firing.event);
            }
        }
        for (timer, every) in [("each", EACH), ("once", ONCE)] {
            let mut fired = by_key.remove(timer).unwrap_or_default();
            fired.sort_by_key(|fired| fired.due);
            self.flaws.extend(gaps(timer, every, &fired));
        }
    }

    /// What a run's end tells is told once for each end.
    fn told(&mut self) {
        #[derive(Deserialize)]
        struct Said {
            run_id: String,
            /// None, if no session could be started: that counts as no attempt.
            #[serde(default)]
            spawned_session_id: Option<String>,
        }
        let mut told: BTreeMap<(String, &str), usize> = BTreeMap::new();
        let mut spawns: BTreeMap<String, u32> = BTreeMap::new();
        let is_spawn = |name: &str| matches!(name, "background_spawn_completed" | "background_spawn_error");
        for event in &self.seen.events {
            let Ok(said) = event.payload.decode::<Said>() else { continue };
            let name = event.event_type.name();
            if is_spawn(name) && said.spawned_session_id.is_some() {
                *spawns.entry(said.run_id.clone()).or_default() += 1;
            }
            *told.entry((said.run_id, name)).or_default() += 1;
        }
        let mut flaws = Vec::new();
        for (of, row) in self.seen.runs.iter().flat_map(|(of, rows)| rows.iter().map(move |row| (of, row))) {
            let count = |name: &str| told.get(&(row.id.to_string(), name)).copied().unwrap_or(0);
            let (done, failed) = (format!("{of}:done"), format!("{of}:failed"));
            let completed = usize::from(row.state == RunState::Completed);
            if count(&done) != completed || count(&failed) != 1 - completed {
                let (done, failed) = (count(&done), count(&failed));
                flaws.push(format!(
                    "run {} is {}, told done {done} and failed {failed}",
                    row.id,
                    row.state.as_str()
                ));
            }
            let spawned = spawns.get(row.id.as_str()).copied().unwrap_or(0);
            if spawned > row.attempt || (spawned < row.attempt && row.state == RunState::Completed) {
                flaws.push(format!("run {} had {} attempts, and {spawned} were told", row.id, row.attempt));
            }
        }
        self.flaws.extend(flaws);
    }

    /// One outcome and one terminal event for each activation, one session for each attempt.
    async fn sessions(&mut self, store: &dyn Store, folder: &Path) {
        let mut ends: BTreeMap<(SessionId, u64), Vec<String>> = BTreeMap::new();
        let mut by_run: BTreeMap<String, BTreeSet<SessionId>> = BTreeMap::new();
        for event in self.seen.events.iter().filter(|event| event.event_type.is_terminal()) {
            let Some(end) = End::of(event) else {
                self.flaws.push(format!("the terminal event {} cannot be read", event.id));
                continue;
            };
            if let Some(run) = end.run {
                by_run.entry(run).or_default().insert(end.session.clone());
            }
            ends.entry((end.session, end.activation)).or_default().push(end.outcome);
        }
        for row in &self.seen.sessions {
            if row.settled.is_none() {
                self.flaws.push(format!("session {} has no outcome", row.id));
            }
            for activation in 1..=u64::from(row.activation.0) {
                match ends.remove(&(row.id.clone(), activation)).as_deref() {
                    Some([_]) => {}
                    // One that was killed before the store had it: the next one has the number behind.
                    None if activation < u64::from(row.activation.0) => self.never_opened += 1,
                    None => self.flaws.push(format!("activation {activation} of {} has no end", row.id)),
                    Some(ends) => {
                        self.flaws.push(format!("activation {activation} of {} ends {ends:?}", row.id))
                    }
                }
            }
        }
        self.flaws
            .extend(ends.keys().map(|(id, at)| format!("activation {at} of {id} ended and is not there")));
        let mut flaws = Vec::new();
        for row in self.seen.runs.values().flatten() {
            let sessions = by_run.get(row.id.as_str()).map_or(0, BTreeSet::len);
            if sessions > row.attempt as usize || (row.state == RunState::Completed && sessions == 0) {
                flaws.push(format!("run {} had {} attempts and {sessions} sessions", row.id, row.attempt));
            }
            flaws.extend(self.ended_as_its_session(store, row).await);
        }
        self.flaws.extend(flaws);
        self.folders(folder);
        self.conversations(folder);
    }

    async fn ended_as_its_session(&self, store: &dyn Store, row: &RunRow) -> Option<String> {
        let session = row.session.as_ref()?;
        let settled = store.session(session).await.unwrap().and_then(|row| row.settled);
        let kind = settled.map(|settled| settled.outcome.kind);
        let fits = match row.state {
            RunState::Completed => kind == Some(OutcomeKind::Completed),
            RunState::Cancelled => kind == Some(OutcomeKind::Cancelled),
            _ => kind.is_some_and(|kind| kind != OutcomeKind::Completed),
        };
        (!fits).then(|| format!("run {} is {}, and its session {kind:?}", row.id, row.state.as_str()))
    }

    /// A session that the store does not know has asked no model.
    fn folders(&mut self, folder: &Path) {
        let known: BTreeSet<&str> = self.seen.sessions.iter().map(|row| row.id.as_str()).collect();
        let mut flaws = Vec::new();
        for folder in entries(&folder.join("sessions")) {
            let id = folder.file_name().unwrap().to_string_lossy().into_owned();
            let transcript = std::fs::read_to_string(folder.join("transcript.jsonl")).unwrap_or_default();
            if !known.contains(id.as_str()) && transcript.contains("\"assistant\"") {
                flaws.push(format!("session {id} has asked a model, and the store does not know it"));
            }
        }
        self.flaws.extend(flaws);
    }

    /// Who has done its work was told what to do, and nobody has written between.
    fn conversations(&mut self, folder: &Path) {
        let done = self.seen.runs.values().flatten().filter(|row| row.state == RunState::Completed);
        let mut flaws = Vec::new();
        for session in done.filter_map(|row| row.session.as_ref()) {
            let path = folder.join("sessions").join(session.as_str()).join("transcript.jsonl");
            let text = std::fs::read_to_string(path).unwrap_or_default();
            flaws.extend(
                conversation(&text).map(|what| format!("the transcript of {session} {what}: {text}")),
            );
        }
        self.flaws.extend(flaws);
    }

    /// No process, and no lock of one.
    fn left_behind(&mut self, place: &Place) {
        let standing = standing(&place.project());
        if !standing.is_empty() {
            self.flaw(format!("processes are left: {standing:?}"));
        }
    }
}

/// What a terminal event says.
struct End {
    session: SessionId,
    activation: u64,
    outcome: String,
    run: Option<String>,
}

impl End {
    fn of(event: &SessionEvent) -> Option<Self> {
        let said: Value = event.payload.decode().ok()?;
        Some(Self {
            session: SessionId::new(said["session_id"].as_str()?).ok()?,
            activation: said["activation"].as_u64()?,
            outcome: said["outcome"].as_str()?.to_owned(),
            run: said["metadata"]["run_id"].as_str().map(str::to_owned),
        })
    }
}

/// What is wrong with the transcript of a session that has done what it was told.
fn conversation(transcript: &str) -> Option<&'static str> {
    let mut messages: Vec<Value> = Vec::new();
    for line in transcript.lines() {
        let Ok(message) = serde_json::from_str(line) else { return Some("has a torn line") };
        messages.push(message);
    }
    let is = |at: usize, role: &str| messages.get(at).is_some_and(|message| message["role"] == role);
    let calls = |at: usize| messages[at]["tool_calls"].as_array().map_or(0, Vec::len);
    let told =
        |message: &Value| message["content"].as_str().is_some_and(|text| text.starts_with(INSTRUCTION));
    if !is(0, "user") || !told(&messages[0]) {
        return Some("does not begin with what was to be done");
    }
    if !is(messages.len() - 1, "assistant") || calls(messages.len() - 1) > 0 {
        return Some("does not end with an answer");
    }
    // Who writes after somebody else has gone on answers a second time, or what nobody asked.
    let twice = (1..messages.len()).any(|at| is(at, "assistant") && is(at - 1, "assistant"));
    let unasked = (1..messages.len()).any(|at| is(at, "tool") && !is(at - 1, "tool") && calls(at - 1) == 0);
    (twice || unasked).then_some("has two writers")
}

/// What is missing between the first and the last firing of a timer, and what is there twice.
fn gaps(timer: &str, every: Duration, fired: &[Fired]) -> Vec<String> {
    let mut flaws = Vec::new();
    for pair in fired.windows(2) {
        let span = pair[1].due.saturating_since(pair[0].due);
        let passed = pair[1].passed.coalesced + pair[1].passed.skipped;
        let wanted = every * u32::try_from(1 + passed).unwrap_or(u32::MAX);
        if span != wanted {
            flaws.push(format!(
                "timer {timer}: {} follows {} after {span:?} with {passed} passed over, not after {wanted:?}",
                pair[1].due, pair[0].due
            ));
        }
    }
    flaws
}

/// The processes of commands whose folder is this one.
pub fn standing(folder: &Path) -> Vec<(i32, String)> {
    let alive = amplifier_foundation::fs::process_table::processes().into_iter().filter(|one| !one.ended);
    let here = |pid: i32| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder);
    let name =
        |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
    alive
        .filter(|process| here(process.pid))
        .map(|process| (process.pid, name(process.pid)))
        .filter(|(_, name)| name != "amplifier")
        .collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(due: i64, coalesced: u64) -> Fired {
        let due = Timestamp::from_micros(due * 1_000_000);
        let id = "tick/each/1/x".parse().unwrap();
        Fired { id, due, passed: Passed { coalesced, skipped: 0 } }
    }

    #[test]
    fn a_conversation_of_two_writers_or_without_its_task_is_found() {
        let line = |role: &str, text: &str| format!("{{\"role\":\"{role}\",\"content\":\"{text}\"}}\n");
        let (told, on, done) = (line("user", "Do it"), line("user", "Go on"), line("assistant", "done"));
        let call = "{\"role\":\"assistant\",\"tool_calls\":[{}]}\n".to_owned();
        let result = line("tool", "ok");
        let check =
            |lines: &[&String]| conversation(&lines.iter().map(|line| line.as_str()).collect::<String>());
        assert_eq!(check(&[&told, &call, &result, &on, &done]), None);
        assert_eq!(check(&[&on, &done]), Some("does not begin with what was to be done"));
        assert_eq!(check(&[]), Some("does not begin with what was to be done"));
        assert_eq!(check(&[&told, &call, &result]), Some("does not end with an answer"));
        assert_eq!(check(&[&told, &on, &done, &done]), Some("has two writers"));
        assert_eq!(check(&[&told, &call, &on, &result, &done]), Some("has two writers"));
        assert_eq!(conversation("{\"role\":\"us"), Some("has a torn line"));
    }

    #[test]
    fn a_firing_that_is_missing_or_there_twice_is_found() {
        let second = Duration::from_secs(1);
        assert_eq!(gaps("t", second, &[fired(1, 0), fired(2, 0), fired(5, 2)]), Vec::<String>::new());
        assert_eq!(gaps("t", second, &[fired(1, 0), fired(3, 0)]).len(), 1);
        assert_eq!(gaps("t", second, &[fired(1, 0), fired(1, 0)]).len(), 1);
        assert_eq!(gaps("t", second, &[fired(1, 0), fired(3, 2)]).len(), 1);
    }
}
