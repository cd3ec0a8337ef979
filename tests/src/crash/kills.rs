//! An owner of five pools of background sessions, killed again and again at random moments.
//!
//! Beside it another process fires by hand, emits events and works on the runs; it is killed too, now and then. A sender
//! of webhooks sends each delivery until it is answered.
//! What either has acknowledged is written down and flushed outside before it counts. At the end a fresh
//! process finishes what is left, and [`verdict`](super::verdict) looks at the closed files.
//!
//! Guarantees: moments, and what is fired, follow from the seed; what the machine makes of them does not.
//! Never here: a kill that hits nothing; each meets a process that was started for it.

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::caller::{self, Caller};
use super::fleet::{Place, Timers, data};
use super::judge::{self, Case, Judgement};
use super::verdict::{Acknowledged, standing};
use super::{Dice, Report, Worker, folder, program};

/// How long a life lasts at most once it is at work, in milliseconds.
const LIFE: u64 = 400;
/// How long one lasts that is to end while it starts, or soon after.
const BIRTH: u64 = 250;
/// When a process that does not end is killed.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long it may take to end what others have left.
const ORPHANS: Duration = Duration::from_secs(10);
/// Lives in which somebody must have called.
const SURELY: usize = 10;
/// How often it is looked at what was said.
const LOOK: Duration = Duration::from_millis(3);

/// Who owns the background sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A program of the test kit, over the library.
    Library,
    /// `amplifier background start`.
    Program,
}

/// Kills an owner so many times.
pub async fn kill(owner: Owner, kills: usize, seed: u64, progress: impl Fn(usize)) -> Report {
    let began = Instant::now();
    let mut report = Report::of("background, killed at random");
    let mut campaign = Campaign::new(owner, seed);
    report.of = kills;
    while report.tried < kills {
        campaign.life();
        report.tried += 1;
        progress(report.tried);
        if !campaign.flaws.is_empty() {
            break;
        }
    }
    campaign.finish();
    report.hit = campaign.ready;
    report.acknowledged = campaign.told.total();
    let around = campaign.place.around().to_owned();
    let Judgement { flaws: found, looked } =
        judge::ask(&Case::Background { around, told: campaign.told.clone() });
    campaign.flaws.extend(found);
    campaign.nothing_runs();
    let deliveries = campaign.told.runs.iter().filter(|run| run.starts_with("hook:")).count();
    if deliveries == 0 && campaign.ready >= SURELY {
        campaign.flaws.push("no delivery of a webhook was answered".to_owned());
    }
    let (starting, refused) = (report.tried - campaign.ready, campaign.refused);
    report.checked = format!(
        "{looked}; {starting} kills while it started, {refused} calls refused, {deliveries} deliveries taken in"
    );
    report.judge(format!("--seed {seed} --kills {kills}"), campaign.flaws, campaign.folder);
    report.seconds = began.elapsed().as_secs_f64();
    report
}

struct Campaign {
    owner: Owner,
    place: Place,
    folder: tempfile::TempDir,
    dice: Dice,
    told: Acknowledged,
    ledger: File,
    /// Who fires beside it, and how many there were.
    feeder: Option<Worker>,
    feeders: usize,
    caller: Option<Caller>,
    /// Calls of `background fire` that have not come back yet.
    firing: Vec<Worker>,
    fired: usize,
    refused: usize,
    /// Lives that came to work.
    ready: usize,
    /// Processes of tools whose owners are all gone.
    orphans: Vec<i32>,
    flaws: Vec<String>,
}

impl Campaign {
    fn new(owner: Owner, seed: u64) -> Self {
        let folder = folder();
        std::fs::create_dir_all(folder.path().join("project")).unwrap();
        let place = Place::in_folder(folder.path());
        place.declare(Timers::On);
        let ledger = File::create(folder.path().join("acknowledged")).unwrap();
        Self {
            owner,
            place,
            folder,
            dice: Dice::new(seed),
            told: Acknowledged::default(),
            ledger,
            feeder: None,
            feeders: 0,
            caller: Some(Caller::start()),
            firing: Vec::new(),
            fired: 0,
            refused: 0,
            ready: 0,
            orphans: Vec::new(),
            flaws: Vec::new(),
        }
    }

    fn worker(&self, what: &str) -> Command {
        let mut command = Command::new(program("background-worker"));
        command.arg(what).arg(self.place.around());
        command
    }

    fn own(&self) -> Command {
        match self.owner {
            Owner::Library => self.worker("own"),
            Owner::Program => self.amplifier(&["background", "start", "--json", "--listen", "127.0.0.1:0"]),
        }
    }

    fn amplifier(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("amplifier"));
        command.args(args).current_dir(self.place.project()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.place.around().join("user")).env("AMPLIFIER_HOME", self.place.home());
        command.env(caller::SECRET_ENV, caller::SECRET);
        command
    }

    /// One life of the owner, from its start to its sudden end.
    fn life(&mut self) {
        self.feed();
        self.fire();
        let in_birth = self.dice.once_in(4);
        let span = Duration::from_millis(self.dice.below(if in_birth { BIRTH } else { LIFE }));
        let mut owner = Worker::start(self.own());
        let (began, mut ready) = (Instant::now(), None::<Instant>);
        // A busy one from when it is at work, the others from their first moment.
        while (if in_birth { Some(began) } else { ready }).is_none_or(|from| from.elapsed() < span) {
            std::thread::sleep(LOOK);
            self.hear();
            let said = owner.said();
            if let (Some(address), Some(caller)) = (said.iter().find_map(|line| address(line)), &self.caller)
            {
                caller.call(&address);
            }
            if ready.is_none() && said.iter().any(|line| line.contains("ready")) {
                ready = Some(Instant::now());
                self.no_orphans();
            }
            if owner.is_over() || began.elapsed() > PATIENCE {
                let (said, complaints, status) = owner.end(LOOK);
                self.flaws.push(format!("the owner does not work: {status:?} {said:?} {complaints:?}"));
                return;
            }
        }
        self.ready += usize::from(ready.is_some());
        let both = self.dice.once_in(5);
        let processes = standing(&self.place.project());
        owner.kill();
        if both && let Some(feeder) = self.feeder.take() {
            let said = feeder.kill();
            self.note(&said);
            // What they had started before is nobody's now.
            self.orphans = processes.into_iter().map(|(pid, _)| pid).collect();
            if self.dice.once_in(4) {
                self.nothing_runs();
            }
        }
    }

    fn feed(&mut self) {
        // What is emitted before the triggers are known fires nothing.
        if self.ready > 0 && self.feeder.as_mut().is_none_or(Worker::is_over) {
            if let Some(feeder) = self.feeder.take() {
                let (said, complaints, status) = feeder.end(PATIENCE);
                self.note(&said);
                self.flaws.push(format!("who fires ended by itself: {status:?} {said:?} {complaints:?}"));
            }
            self.feeders += 1;
            let (name, first) = (format!("feeder-{}", self.feeders), self.feeders * 10_000);
            let mut command = self.worker("feed");
            command.arg(name).arg(first.to_string());
            self.feeder = Some(Worker::start(command));
        }
    }

    /// Fires by the built program too, now and then: its answer is an acknowledgement like any other.
    fn fire(&mut self) {
        let over = self.firing.extract_if(.., Worker::is_over).collect();
        self.come_back(over);
        if self.owner == Owner::Program && self.ready > 0 && self.dice.once_in(3) {
            self.fired += 1;
            let data = data(self.fired, true).to_string();
            let call = self.amplifier(&["background", "fire", "hand", &data, "--json"]);
            self.firing.push(Worker::start(call));
        }
    }

    fn come_back(&mut self, calls: Vec<Worker>) {
        for call in calls {
            let (said, complaints, status) = call.end(PATIENCE);
            let answer: Value = serde_json::from_str(&said.join("\n")).unwrap_or_default();
            match (status, answer["run_id"].as_str()) {
                (Some(status), Some(run)) if status.success() => {
                    let acknowledged = format!("run program {} {run}", self.fired);
                    self.note(&[acknowledged]);
                }
                // Refused, because its owner was killed or is about to start: then nothing is promised.
                (Some(status), None) if !status.success() && !complaints.is_empty() => self.refused += 1,
                _ => self.flaws.push(format!("`background fire`: {status:?} {said:?} {complaints:?}")),
            }
        }
    }

    fn hear(&mut self) {
        let mut said = self.feeder.as_ref().map(Worker::said).unwrap_or_default();
        said.extend(self.caller.iter().flat_map(Caller::said));
        self.note(&said);
    }

    /// Writes down what was said, and counts it then.
    fn note(&mut self, said: &[String]) {
        if !said.is_empty() {
            let text: String = said.iter().map(|line| format!("{line}\n")).collect();
            self.ledger.write_all(text.as_bytes()).and_then(|()| self.ledger.sync_data()).unwrap();
            self.told.hear(said);
        }
    }

    /// What was left by those that are gone ends with the next start: by the owner's, or by that of who fires,
    /// whichever comes first; the other one does not wait for it.
    fn no_orphans(&mut self) {
        let (orphans, began) = (std::mem::take(&mut self.orphans), Instant::now());
        let left = || -> Vec<(i32, String)> {
            let standing = standing(&self.place.project());
            standing.into_iter().filter(|(pid, _)| orphans.contains(pid)).collect()
        };
        while !left().is_empty() {
            if began.elapsed() > ORPHANS {
                let flaw = format!("processes of owners that are gone outlived the next start: {:?}", left());
                return self.flaws.push(flaw);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Nobody is shown as running when nobody is.
    fn nothing_runs(&mut self) {
        let (said, complaints, status) =
            Worker::start(self.amplifier(&["session", "list", "--running", "--json"])).end(PATIENCE);
        let none = said.join("").split_whitespace().collect::<String>() == "[]";
        if !status.is_some_and(|status| status.success()) || !none {
            self.flaws.push(format!(
                "`session list --running` of a dead project: {status:?} {said:?} {complaints:?}"
            ));
        }
    }

    /// Lets who fires end in order, and a fresh process finish what is left.
    fn finish(&mut self) {
        let answered = self.caller.take().map(Caller::end).unwrap_or_default();
        self.note(&answered);
        if let Some(mut feeder) = self.feeder.take() {
            feeder.release();
            let (said, complaints, status) = feeder.end(PATIENCE);
            self.note(&said);
            if !status.is_some_and(|status| status.success()) {
                self.flaws.push(format!("who fires did not end in order: {status:?} {complaints:?}"));
            }
        }
        let calls = std::mem::take(&mut self.firing);
        self.come_back(calls);
        // Timers would go on for ever.
        self.place.declare(Timers::Off);
        let (said, complaints, status) = Worker::start(self.worker("finish")).end(PATIENCE);
        if !status.is_some_and(|status| status.success()) {
            self.flaws.push(format!("what was left was not finished: {status:?} {said:?} {complaints:?}"));
        }
    }
}

/// Where an owner says that it listens.
fn address(line: &str) -> Option<String> {
    let said: Value = serde_json::from_str(line).ok()?;
    (said["type"] == "listening").then(|| said["address"].as_str().map(str::to_owned))?
}
