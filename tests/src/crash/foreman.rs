//! The daemon of a crew, killed again and again while it works on issues that depend on each other.
//!
//! Three pools of the built `foreman`; workers answer, wait, report by their tool, or run commands that leave
//! processes behind. Issues come in by the built `foreman import`, before a life or in the middle of one, so that
//! there is work until the last kill. At the end one daemon finishes what is left, and
//! [`foreman_verdict`](super::foreman_verdict) judges what other processes read.
//!
//! Guarantees: issues, their dependencies and the moments of kills follow from the seed; what the machine makes of
//! them does not. What is killed is the built program.
//! Never here: a kill that hits nothing; each meets a process that was started for it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::background::database_tracer;
use super::fleet::Place;
use super::foreman_verdict::{History, left_behind};
use super::judge::{self, Case};
use super::points::can_trace;
use super::{Dice, Report, Worker, folder, program};
use crate::bundle::BundleText;

/// How long a life lasts at most once it is at work, in milliseconds.
const LIFE: u64 = 400;
/// How long one lasts that is to end while it starts, or soon after.
const BIRTH: u64 = 150;
/// Issues beyond those for which their turn has come: work that is there at any time.
const AHEAD: usize = 16;
/// Commands of which one comes to its end at least.
const SURELY: usize = 8;
/// What workers do, in the ids of their issues.
const KINDS: [&str; 4] = ["answers", "waits", "reports", "commands"];
/// Writes that fail while a disk is full.
const FULL: usize = 6;
/// When a process that does not end is killed.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a daemon says that is at work.
const READY: &str = "\"type\":\"ready\"";
/// How often it is looked at what was said.
const LOOK: Duration = Duration::from_millis(3);

/// Kills the daemon so many times during a run of so many issues.
pub async fn kill(issues: usize, kills: usize, seed: u64, progress: impl Fn(usize)) -> Report {
    let began = Instant::now();
    let mut report = Report::of("foreman, killed at random");
    let mut campaign = Campaign::new(issues, seed);
    report.of = kills;
    while report.tried < kills && campaign.flaws.is_empty() {
        campaign.life(report.tried, kills);
        report.tried += 1;
        progress(report.tried);
    }
    campaign.finish();
    report.hit = campaign.ready;
    report.acknowledged = campaign.imported;
    let looked = campaign.judge().await;
    let starting = report.tried - campaign.ready;
    report.checked = format!("{looked}; {starting} kills while it started");
    report.judge(format!("--seed {seed} --kills {kills}"), campaign.flaws, campaign.folder);
    report.seconds = began.elapsed().as_secs_f64();
    report
}

/// Lets the disk of the daemon's database be full for a while, from its `from`-th write on, during a run of so many
/// issues. It may end of it or go on; what it has taken in by then is finished by another.
pub async fn fill_disk(issues: usize, from: usize, seed: u64) -> Report {
    let began = Instant::now();
    let mut report = Report::of("foreman, disk full for a while");
    if let Err(why) = can_trace() {
        return Report::skipped(&report.campaign, why);
    }
    let mut campaign = Campaign::new(issues, seed);
    (report.of, report.tried) = (1, 1);
    campaign.feed(1, 1);
    let inject = format!("pwrite64:error=ENOSPC:when={from}..{}", from + FULL);
    let trace = campaign.place.around().join("trace");
    let mut command =
        database_tracer(&campaign.place, trace.clone()).command(&program("foreman"), Some(&inject));
    command.args(["start", "--foreground", "--json"]);
    let mut daemon = Worker::start(campaign.surrounded(command));
    campaign.daemons.insert(daemon.group());
    let full = |trace: &Path| std::fs::read_to_string(trace).unwrap_or_default().matches("ENOSPC").count();
    while full(&trace) == 0 && !daemon.is_over() && began.elapsed() < PATIENCE {
        std::thread::sleep(LOOK);
    }
    report.hit = usize::from(full(&trace) > 0);
    // It is told to end in order; it may have ended of that already, or end while it is told.
    let _ = Worker::start(campaign.program("foreman", &["stop"])).end(PATIENCE);
    let (said, complaints, status) = daemon.end(PATIENCE);
    if status.is_none() {
        campaign.flaws.push(format!("the daemon did not end: {said:?} {complaints:?}"));
    }
    campaign.finish();
    report.acknowledged = campaign.imported;
    report.checked = campaign.judge().await;
    report.judge(format!("--full-disk {from} --seed {seed}"), campaign.flaws, campaign.folder);
    report.seconds = began.elapsed().as_secs_f64();
    report
}

struct Campaign {
    place: Place,
    folder: tempfile::TempDir,
    dice: Dice,
    /// Lines of the file that is imported, by turns.
    issues: Vec<Value>,
    imported: usize,
    /// Process groups of the daemons.
    daemons: BTreeSet<i32>,
    /// Lives that came to work.
    ready: usize,
    flaws: Vec<String>,
}

impl Campaign {
    fn new(issues: usize, seed: u64) -> Self {
        let folder = folder();
        std::fs::create_dir_all(folder.path().join("project")).unwrap();
        let place = Place::in_folder(folder.path());
        let mut dice = Dice::new(seed);
        let issues = made(issues, &mut dice);
        declare(&place, &issues);
        let (daemons, flaws) = (BTreeSet::new(), Vec::new());
        let mut campaign = Self { place, folder, dice, issues, imported: 0, daemons, ready: 0, flaws };
        // Without it no worker runs a command.
        let _ = campaign.answer("amplifier", &["trust"]);
        campaign
    }

    fn program(&self, name: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program(name));
        command.args(args);
        self.surrounded(command)
    }

    /// A command with the project around it, and nothing else of the machine.
    fn surrounded(&self, mut command: Command) -> Command {
        command.current_dir(self.place.project()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.place.around().join("user")).env("AMPLIFIER_HOME", self.place.home());
        command
    }

    /// What another process answers; empty, and a flaw, if it does not end well.
    fn answer(&mut self, name: &str, args: &[&str]) -> Vec<String> {
        let (said, complaints, status) = Worker::start(self.program(name, args)).end(PATIENCE);
        if status.is_some_and(|status| status.success()) {
            return said;
        }
        let shown = args.get(..args.len().min(4));
        self.flaws.push(format!("`{name} {shown:?}`: {status:?} {said:?} {complaints:?}"));
        Vec::new()
    }

    /// Imports the issues whose turn has come.
    fn feed(&mut self, done: usize, of: usize) {
        let wanted = (AHEAD + self.issues.len() * done / of.max(1)).min(self.issues.len());
        // A few at once: an import is one commit.
        if wanted < self.imported + AHEAD / 2 && wanted < self.issues.len() || wanted == self.imported {
            return;
        }
        let lines: String =
            self.issues[self.imported..wanted].iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(self.place.project().join("more.jsonl"), lines).unwrap();
        let _ = self.answer("foreman", &["import", "more.jsonl", "--json"]);
        self.imported = wanted;
    }

    fn daemon(&mut self) -> Worker {
        let daemon = Worker::start(self.program("foreman", &["start", "--foreground", "--json"]));
        self.daemons.insert(daemon.group());
        daemon
    }

    /// One life of the daemon, from its start to its sudden end.
    fn life(&mut self, done: usize, of: usize) {
        let in_birth = self.dice.once_in(4);
        let span = Duration::from_millis(self.dice.below(if in_birth { BIRTH } else { LIFE }));
        let beside = self.imported > 0 && self.dice.once_in(2);
        if !beside {
            self.feed(done, of);
        }
        let mut daemon = self.daemon();
        if beside {
            self.feed(done, of);
        }
        let (began, mut ready) = (Instant::now(), None::<Instant>);
        while (if in_birth { Some(began) } else { ready }).is_none_or(|from| from.elapsed() < span) {
            std::thread::sleep(LOOK);
            if ready.is_none() && daemon.said().iter().any(|line| line.contains(READY)) {
                ready = Some(Instant::now());
            }
            if daemon.is_over() || began.elapsed() > PATIENCE {
                let (said, complaints, status) = daemon.end(LOOK);
                self.flaws.push(format!("the daemon does not work: {status:?} {said:?} {complaints:?}"));
                return;
            }
        }
        self.ready += usize::from(ready.is_some());
        daemon.kill();
    }

    /// Lets a last daemon finish what is left, and end in order.
    fn finish(&mut self) {
        if !self.flaws.is_empty() {
            return;
        }
        self.feed(1, 1);
        let daemon = self.daemon();
        let ids: Vec<String> = self.issues.iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        let mut args = vec!["wait", "--json", "--timeout", "100s"];
        args.extend(ids.iter().map(String::as_str));
        let _ = self.answer("foreman", &args);
        let _ = self.answer("foreman", &["stop"]);
        let (_, complaints, status) = daemon.end(PATIENCE);
        if status.is_none() {
            self.flaws.push(format!("the last daemon did not end: {complaints:?}"));
        }
    }

    /// Has other processes read what is left, and judges it.
    async fn judge(&mut self) -> String {
        let limit = (self.issues.len() * 10).to_string();
        let read =
            |said: Vec<String>| -> Value { serde_json::from_str(&said.join("\n")).unwrap_or_default() };
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let events = self.answer("amplifier", &["event", "replay", "--json"]);
        let issues = self.answer("foreman", &["issue", "list", "--all", "--json", "--limit", &limit]);
        let sessions = self.answer("amplifier", &["session", "list", "--all", "--json", "-n", &limit]);
        let runs = self.answer("amplifier", &["runs", "--all", "--json", "--limit", &limit]);
        let history = History {
            wanted: self.issues.clone(),
            events: events.iter().map(|line| serde_json::from_str(line).unwrap_or_default()).collect(),
            issues: list(&read(issues)),
            sessions: list(&read(sessions)),
            runs: list(&read(runs)["runs"]),
        };
        let looked = history.to_string();
        self.flaws.extend(left_behind(&self.place.project(), &self.daemons, &history));
        self.flaws.extend(judge::ask(&Case::Foreman { store: self.place.store(), history }).flaws);
        let ran = std::fs::read_to_string(self.place.project().join("ran.txt")).unwrap_or_default();
        let (ran, of) = (ran.lines().count(), self.issues.iter().filter(|one| is(one, "commands")).count());
        // Whoever goes on after a crash does not run it again; but not all were cut off.
        if ran == 0 && of > SURELY {
            self.flaws.push(format!("no command of {of} ran"));
        }
        format!("{looked}; {ran} commands ran to their end")
    }
}

fn is(issue: &Value, kind: &str) -> bool {
    issue["id"].as_str().is_some_and(|id| id.ends_with(kind))
}

/// Issues: a third waits for nothing, the others for one to three of those before.
fn made(count: usize, dice: &mut Dice) -> Vec<Value> {
    let mut ids: Vec<String> = Vec::new();
    let mut issues = Vec::new();
    for n in 0..count {
        let mut needs = BTreeSet::new();
        if n > 0 && !dice.once_in(3) {
            for _ in 0..=dice.below(3) {
                // Of the last ones, so that some wait for what runs.
                let back = 1 + dice.below(n.min(15) as u64) as usize;
                needs.insert(ids[n - back].clone());
            }
        }
        let id = format!("i{n:03}-{}", KINDS[dice.below(4) as usize]);
        let kind = ["task", "bug", "chore", "epic"][dice.below(4) as usize];
        issues.push(json!({
            "id": id, "title": format!("number {n}"), "issue_type": kind, "priority": dice.below(5), "depends_on": needs,
        }));
        ids.push(id);
    }
    issues
}

fn declare(place: &Place, issues: &[Value]) {
    let own = place.project().join(".amplifier/bundles");
    std::fs::create_dir_all(&own).unwrap();
    let command = "sleep 1000 & setsid sleep 1000 & sleep 0.1; echo ran >> ran.txt";
    let run = json!([{"tool": "bash", "arguments": {"command": command}}]);
    let told = |issue: &str| json!({"prompt": format!("/<issue id=\"{issue}/")});
    let mut script = vec![
        json!({"when": told("i[0-9]+-commands"), "tool_calls": run}),
        json!({"when": told("i[0-9]+-waits"), "text": "waited", "delay_ms": 200}),
        json!({"when": {"after_tool": "*"}, "text": "done", "delay_ms": 30}),
    ];
    for id in issues.iter().filter(|one| is(one, "reports")).map(|one| one["id"].as_str().unwrap()) {
        let params = json!({"issue_id": id, "status": "completed", "result": "reported"});
        let report =
            json!([{"tool": "issue_manager", "arguments": {"operation": "update", "params": params}}]);
        script.push(json!({"when": told(id), "tool_calls": report, "delay_ms": 60}));
    }
    let script = json!({"script": script, "default": {"text": "done", "delay_ms": 120}});
    let bundle = BundleText::bare("worker")
        .orchestrator("loop-streaming")
        .context("context-simple")
        .provider("provider-scripted", script)
        .tool("tool-bash")
        .tool("tool-issue");
    std::fs::write(own.join("worker.md"), bundle.to_string()).unwrap();
    let pool = |name: &str, most: u32, types: Value| json!({"name": name, "worker_bundle": "worker", "max_concurrent": most, "route_types": types});
    let pools = [
        pool("coding", 2, json!(["task", "bug"])),
        pool("research", 1, json!(["epic"])),
        pool("testing", 1, json!(["chore"])),
    ];
    let config = json!({"worker_pools": pools});
    // JSON is YAML.
    std::fs::write(place.project().join("foreman.yaml"), config.to_string()).unwrap();
    let settings = json!({"permissions": {"allow": ["shell(*)"]}});
    std::fs::create_dir_all(place.home()).unwrap();
    std::fs::write(place.home().join("settings.yaml"), settings.to_string()).unwrap();
}
