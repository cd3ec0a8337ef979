//! Five pools of background sessions that are killed: what they are, and when they have nothing left to do.
//!
//! `tick` has timers, `react` answers what somebody emits and writes files, `chain` answers `react`, and `hand`
//! is fired by hand: its sessions write, fail, or leave a process behind, as the firing says. `hook` has a webhook.
//!
//! Guarantees: the same declarations for the library and for the built program.
//! Never here: a judgement; that is [`verdict`](super::verdict).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use amplifier_background::trigger::{BackgroundName, TriggerRegistry};
use amplifier_background::{BackgroundConfig, Counts, queue_of};
use amplifier_core::clock::BoxFuture;
use amplifier_core::{Clock, MonoTime, SessionEvent, Timestamp};
use amplifier_foundation::host::SystemClock;
use amplifier_foundation::store::{
    RunFilter, RunRow, RunState, SessionFilter, SessionRow, Store, StoreError,
};
use serde_json::{Value, json};

use super::caller;
use crate::bundle::BundleText;

/// The background sessions.
pub const NAMES: [&str; 5] = ["chain", "hand", "hook", "react", "tick"];
/// What `react` answers.
pub const WORK: &str = "work:new";
/// What it emits, and `chain` answers.
pub const DONE: &str = "react:done";
/// What the instruction of each session begins with.
pub const INSTRUCTION: &str = "Do ";
/// The interval of the timer that makes up for each firing.
pub const EACH: Duration = Duration::from_millis(1_000);
/// The interval of the timer of which one firing stands for all that were missed.
pub const ONCE: Duration = Duration::from_millis(700);
/// Rows that are read at once.
const PAGE: usize = 1_000;

/// Which of the background sessions start themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timers {
    /// `tick` has its timers, and `hook` its webhook.
    On,
    /// Nothing fires by the clock, and nobody calls.
    Off,
}

/// Where a campaign's project and home are.
#[derive(Debug, Clone)]
pub struct Place {
    around: PathBuf,
}

impl Place {
    /// The place below a folder.
    pub fn in_folder(around: &Path) -> Self {
        Self { around: std::fs::canonicalize(around).unwrap() }
    }

    /// The folder around all of it.
    pub fn around(&self) -> &Path {
        &self.around
    }

    /// The project directory.
    pub fn project(&self) -> PathBuf {
        self.around.join("project")
    }

    /// `AMPLIFIER_HOME`.
    pub fn home(&self) -> PathBuf {
        self.around.join("home")
    }

    /// The folder of the project's database; `None` before there is one.
    pub fn store(&self) -> Option<PathBuf> {
        super::project_folder(&self.home())
    }

    /// Writes bundles and declarations.
    pub fn declare(&self, timers: Timers) {
        let own = self.project().join(".amplifier");
        std::fs::create_dir_all(own.join("bundles")).unwrap();
        for (name, text) in bundles() {
            std::fs::write(own.join(format!("bundles/{name}.md")), text.to_string()).unwrap();
        }
        let declared = json!({"background_sessions": declared(timers)}).to_string();
        // JSON is YAML. Replaced as a whole, for who reads it meanwhile.
        std::fs::write(own.join("background.new"), declared).unwrap();
        std::fs::rename(own.join("background.new"), own.join("background.yaml")).unwrap();
    }

    /// What is declared there.
    pub fn configs(&self) -> Vec<BackgroundConfig> {
        let text = std::fs::read(self.project().join(".amplifier/background.yaml")).unwrap();
        let declared: Value = serde_json::from_slice(&text).unwrap();
        let list = declared["background_sessions"].as_array().unwrap();
        let registry = TriggerRegistry::new();
        list.iter().map(|one| BackgroundConfig::parse(one, &registry).unwrap()).collect()
    }
}

fn scripted(name: &str, config: Value) -> BundleText {
    BundleText::bare(name)
        .orchestrator("loop-streaming")
        .context("context-simple")
        .provider("provider-scripted", config)
}

fn bundles() -> Vec<(&'static str, BundleText)> {
    let write = |content: &str| json!([{"tool": "write_file", "arguments": {"file_path": "out.txt", "content": content}}]);
    let run = json!([{"tool": "bash", "arguments": {"command": "sleep 1000 & setsid sleep 1000 & sleep 0.02; echo ran"}}]);
    let after = json!({"when": {"after_tool": "*"}, "text": "done", "delay_ms": 10});
    let quick = scripted("quick", json!({"default": {"text": "done", "delay_ms": 5}}));
    let writes = json!({"script": [{"when": {"prompt": "n"}, "tool_calls": write("react")}, after]});
    let hand = json!({"script": [
        {"when": {"prompt": "/fails/"}, "error": {"kind": "auth"}},
        {"when": {"prompt": "/writes/"}, "tool_calls": write("hand")},
        {"when": {"prompt": "/leaves/"}, "tool_calls": run},
        {"when": {"prompt": "/thinks/"}, "text": "done", "delay_ms": 8_000},
        after,
    ], "default": {"text": "done", "delay_ms": 20}});
    vec![
        ("quick", quick),
        ("writes", scripted("writes", writes).tool("tool-filesystem")),
        ("hands", scripted("hands", hand).tool("tool-filesystem").tool("tool-bash")),
    ]
}

fn declared(timers: Timers) -> Value {
    let on =
        |event: &str| json!([{"type": "session_event", "name": "log", "config": {"event_names": [event]}}]);
    let timer = |name: &str, every: Duration, misfire: &str| {
        let every = format!("{}ms", every.as_millis());
        json!({"type": "timer", "name": name, "config": {"every": every}, "misfire": misfire})
    };
    let ticks = match timers {
        Timers::On => json!([timer("each", EACH, "all"), timer("once", ONCE, "once")]),
        Timers::Off => json!([]),
    };
    let hand = json!([{"type": "manual", "name": "call"}]);
    let hook = match timers {
        Timers::On => {
            let config = json!({"path": caller::PATH, "scheme": "bearer", "secret_env": caller::SECRET_ENV});
            json!([{"type": "webhook", "name": "call", "config": config}])
        }
        Timers::Off => json!([]),
    };
    let one = |name: &str, bundle: &str, pool: u32, triggers: Value| {
        json!({
            "name": name, "bundle": bundle, "pool_size": pool, "triggers": triggers,
            "instruction_template": format!("{INSTRUCTION}{{event_data}}"), "queue": {"capacity": 100_000, "attempts": 2},
            "on_complete_emit": format!("{name}:done"), "on_error_emit": format!("{name}:failed"),
        })
    };
    json!([
        one("tick", "quick", 2, ticks),
        one("react", "writes", 3, on(WORK)),
        one("chain", "quick", 2, on(DONE)),
        one("hand", "hands", 4, hand),
        one("hook", "quick", 2, hook),
    ])
}

/// What the `n`th firing by hand says; without `processes` none leaves one behind.
pub fn data(n: usize, processes: bool) -> Value {
    let kinds = ["plain", "writes", "plain", "fails", "plain", "leaves", "writes"];
    match kinds[n % kinds.len()] {
        "leaves" if !processes => json!({"n": n, "do": "plain"}),
        kind => json!({"n": n, "do": kind}),
    }
}

/// The same of firings whose sessions take their time: so many are at work at any moment.
pub fn thought(n: usize, processes: bool) -> Value {
    match data(n, processes) {
        plain if plain["do"] == "plain" => json!({"n": n, "do": "thinks"}),
        other => other,
    }
}

/// The name of a background session.
pub fn name(text: &str) -> BackgroundName {
    BackgroundName::new(text).unwrap()
}

/// Everything in a store that a fleet is judged by.
#[derive(Debug)]
pub struct Seen {
    /// The log.
    pub events: Vec<Arc<SessionEvent>>,
    /// Runs by background session.
    pub runs: BTreeMap<&'static str, Vec<RunRow>>,
    /// Numbers by background session.
    pub counts: BTreeMap<&'static str, Counts>,
    /// All sessions.
    pub sessions: Vec<SessionRow>,
    /// What is wrong with the log as a whole.
    pub gaps: Vec<String>,
}

impl Seen {
    /// Reads a store. A store that others write to may be seen at several moments.
    pub async fn read(store: &dyn Store) -> Result<Self, StoreError> {
        let (mut runs, mut counts) = (BTreeMap::new(), BTreeMap::new());
        // What an event leads to comes after it: numbers are read before the log.
        for of in NAMES {
            counts.insert(of, Counts::read(store, &name(of)).await?);
            runs.insert(of, rows(store, of).await?);
        }
        let sessions = sessions(store).await?;
        let (events, gaps) = crate::history::log(store).await?;
        Ok(Self { events, runs, counts, sessions, gaps })
    }

    /// Events of this name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<SessionEvent>> {
        self.events.iter().filter(move |event| event.event_type.name() == name)
    }

    /// True if nothing is left to do: each event was answered, each run is at its end, and no session runs.
    pub fn is_quiet(&self) -> bool {
        let answered = |of: &str, event: &str| self.counts[of].triggered == self.named(event).count() as u64;
        let ended = self.runs.values().flatten().all(|row| row.state.is_final());
        ended
            && answered("react", WORK)
            && answered("chain", DONE)
            && self.sessions.iter().all(|row| row.settled.is_some())
    }

    /// What is left, for people.
    pub fn left(&self) -> String {
        let open = |rows: &[RunRow]| {
            let count = |state| rows.iter().filter(|row| row.state == state).count();
            format!(
                "{} queued {} leased {} running of {}",
                count(RunState::Queued),
                count(RunState::Leased),
                count(RunState::Running),
                rows.len()
            )
        };
        let runs: Vec<String> = self.runs.iter().map(|(of, rows)| format!("{of}: {}", open(rows))).collect();
        let (work, done) = (self.named(WORK).count(), self.named(DONE).count());
        let running = self.sessions.iter().filter(|row| row.settled.is_none()).count();
        format!("{}; {work} {WORK}, {done} {DONE}, {running} sessions run", runs.join("; "))
    }
}

async fn rows(store: &dyn Store, of: &str) -> Result<Vec<RunRow>, StoreError> {
    let mut filter = RunFilter::default();
    (filter.queue, filter.limit) = (Some(queue_of(&name(of))), PAGE);
    let mut all: Vec<RunRow> = Vec::new();
    loop {
        let page = store.runs(&filter).await?;
        let Some(last) = page.last() else { return Ok(all) };
        filter.after = last.place;
        all.extend(page);
    }
}

async fn sessions(store: &dyn Store) -> Result<Vec<SessionRow>, StoreError> {
    let mut filter = SessionFilter::default();
    let mut all: Vec<SessionRow> = Vec::new();
    loop {
        let page = store.sessions(&filter).await?;
        let Some(last) = page.last() else { return Ok(all) };
        filter.after = Some(last.id.clone());
        all.extend(page);
    }
}

/// A clock that runs faster than the machine's, the same in all processes of one beginning.
#[derive(Debug, Clone, Copy)]
pub struct QuickClock {
    machine: SystemClock,
    began: Timestamp,
    times: u32,
}

/// How much faster, where nothing else is said.
const QUICK: u32 = 20;

impl QuickClock {
    /// A clock of which both began at the same time.
    pub fn since(began: Timestamp) -> Self {
        Self { machine: SystemClock::new(), began, times: QUICK }
    }

    /// The same, so many times as fast as the machine's.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }
}

impl Clock for QuickClock {
    fn now(&self) -> Timestamp {
        self.began.saturating_add(self.machine.now().saturating_since(self.began) * self.times)
    }

    fn monotonic(&self) -> MonoTime {
        MonoTime::from_origin(self.machine.monotonic().saturating_since(MonoTime::default()) * self.times)
    }

    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()> {
        let span = deadline.saturating_since(MonoTime::default());
        self.machine.sleep_until(MonoTime::from_origin(span / self.times))
    }
}
