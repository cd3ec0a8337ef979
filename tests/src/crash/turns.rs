//! Turns of a session by the built program, and a loss of power at any moment of them.
//!
//! Each turn is a process of its own, which calls a tool and answers. All of them are traced with what they write;
//! [`disk`] says what would be left at a moment, and the built program looks at that and goes on.
//!
//! Guarantees: a turn counts as acknowledged once its answer was printed, and a call once its tool has begun to write;
//! what was acknowledged must be there, once and in order, and the session must go on.
//! Never here: power that is really cut, a disk that lies.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use super::disk::{self, Disk, Step};
use super::points::{Wanted, can_trace};
use super::power::Fsyncs;
use super::{Dice, Report, Worker, folder, program};
use crate::PATIENCE;
use crate::project::TempProject;

/// Turns of the session.
const TURNS: usize = 4;
/// Draws of what is left besides what is sure, for each moment.
const DRAWS: u64 = 2;
const NAME: &str = "turns, power lost at any moment";
/// What the tool of each turn writes.
const MARK: &str = "mark.txt";
const BUNDLE: &str = "---\nbundle: {name: b}\nsession:\n  orchestrator: loop-streaming\n  context: context-simple\n\
    tools:\n  - module: tool-filesystem\nproviders:\n  - module: provider-scripted\n    config:\n      script:\n\
    \u{20}       - tool_calls: [{tool: write_file, arguments: {file_path: mark.txt, content: x}}]\n\
    \u{20}       - text: 'you said {{prompt}}'\n---\nYou are tested.\n";

/// What a session has promised by a moment.
#[derive(Debug, Clone, Copy, Default)]
struct Acked {
    calls: usize,
    turns: usize,
}

/// A session that nobody disturbed, and all that its processes did.
struct Life {
    project: TempProject,
    /// Each step, and what was promised with it.
    steps: Vec<(Step, Acked)>,
}

impl Life {
    fn live(fsyncs: Fsyncs) -> Self {
        let project = TempProject::new();
        project.bundle("b", BUNDLE);
        let mut life = Self { project, steps: Vec::new() };
        (1..=TURNS).for_each(|turn| life.turn(turn, fsyncs.injected()));
        life
    }

    fn turn(&mut self, turn: usize, inject: Option<&str>) {
        let trace = self.project.around().join("trace");
        let mut command = disk::traced(&program("amplifier"), &trace, inject);
        let id = if turn == 1 { "--session-id" } else { "--resume" };
        command.args(["run", "-B", "b", id, "s", "--output-format", "json"]).arg(prompt(turn));
        let (said, complaints, code) = end(at(&mut command, &self.project, &self.project.home()));
        assert_eq!(code, Some(0), "turn {turn}: {said} {complaints}");
        let mut acked = Acked { calls: turn - 1, turns: turn - 1 };
        for step in disk::steps(&std::fs::read_to_string(&trace).unwrap()) {
            match &step {
                Step::Wrote(name, ..) | Step::Renamed(_, name) if name.ends_with(MARK) => acked.calls = turn,
                Step::Said(said) if said.contains(&answer(turn)) => acked.turns = turn,
                _ => {}
            }
            self.steps.push((step, acked));
        }
        assert_eq!((acked.calls, acked.turns), (turn, turn), "both were seen in the trace");
    }
}

fn prompt(turn: usize) -> String {
    format!("turn {turn}")
}

fn answer(turn: usize) -> String {
    format!("you said {}", prompt(turn))
}

/// The program, in the project and with this home.
fn at<'c>(command: &'c mut Command, project: &TempProject, home: &Path) -> &'c mut Command {
    command.current_dir(project.path()).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", project.around().join("user")).env("AMPLIFIER_HOME", home)
}

/// What it printed, what it complained, its exit code.
fn end(command: &mut Command) -> (String, String, Option<i32>) {
    let mut worker = Worker::start(std::mem::replace(command, Command::new("")));
    worker.release();
    let (said, complaints, status) = worker.end(PATIENCE);
    (said.join("\n"), complaints.join("\n"), status.and_then(|status| status.code()))
}

/// Lets the power fail at some of the moments, or at all of them, and looks at what is left.
pub fn lose(fsyncs: Fsyncs, wanted: Wanted, seed: u64, progress: impl Fn(usize, usize)) -> Report {
    let began = Instant::now();
    if let Err(why) = can_trace() {
        return Report::skipped(NAME, why);
    }
    let (life, mut report) = (Life::live(fsyncs), Report::of(NAME));
    let home = life.project.home();
    report.of = life.steps.len();
    let moments = wanted.spread(&(0..life.steps.len()).collect::<Vec<_>>());
    let (mut disk, mut next) = (Disk::default(), 0);
    for moment in &moments {
        life.steps[next..=*moment].iter().for_each(|(step, _)| disk.takes(step));
        next = moment + 1;
        let acked = life.steps[*moment].1;
        for draw in 0..=DRAWS {
            let left = folder();
            let mut dice = Dice::new(seed.wrapping_mul(1_000_003).wrapping_add(*moment as u64 * 16 + draw));
            let luck = (draw > 0).then_some(&mut dice);
            disk.lose_power(&home, &left.path().join("home"), |name| !name.ends_with("-shm"), luck);
            let flaws = flaws(&life.project, &left.path().join("home"), acked);
            report.judge(format!("step {moment}, draw {draw}, --seed {seed}"), flaws, left);
        }
        report.tried += 1;
        report.acknowledged += acked.calls + acked.turns;
        progress(report.tried, moments.len());
    }
    report.hit = report.tried;
    report.checked = format!(
        "each as the last fsyncs left it, and with {DRAWS} draws of what came after; calls before their tools, turns with their answers; going on"
    );
    report.seconds = began.elapsed().as_secs_f64();
    report
}

/// What is wrong with what is left.
fn flaws(project: &TempProject, home: &Path, acked: Acked) -> Vec<String> {
    let amplifier = |args: &[&str]| end(at(Command::new(program("amplifier")).args(args), project, home));
    let mut flaws = Vec::new();
    if acked.calls > 0 {
        flaws.extend(missing(&transcript(&amplifier), acked));
    }
    // Nothing was promised of a session before its first call: it may be there or not.
    let new = TURNS + 1;
    let (id, name) = if acked.calls > 0 { ("--resume", "s") } else { ("--session-id", "other") };
    let run = ["run", "-B", "b", id, name, "--output-format", "json", &prompt(new)];
    let (said, complaints, code) = amplifier(&run);
    if code != Some(0) || !said.contains(&answer(new)) || complaints.contains("panicked") {
        flaws.push(format!("{run:?} ends with {code:?}: {said} {complaints}"));
    }
    if acked.calls > 0 {
        flaws
            .extend(missing(&transcript(&amplifier), acked).into_iter().map(|flaw| format!("{flaw}, later")));
    }
    flaws
}

type Amplifier<'a> = dyn Fn(&[&str]) -> (String, String, Option<i32>) + 'a;

/// The messages that are shown; why there are none.
fn transcript(amplifier: &Amplifier<'_>) -> Result<Vec<Value>, String> {
    let (said, complaints, code) = amplifier(&["session", "show", "s", "-T", "--json"]);
    let shown: Value = serde_json::from_str(&said).unwrap_or_default();
    let messages = shown["transcript"].as_array().cloned().filter(|_| code == Some(0));
    messages.ok_or_else(|| format!("Lost: the session is not shown: {code:?} {complaints}"))
}

/// What was promised and is not there, or not once and in order.
fn missing(messages: &Result<Vec<Value>, String>, acked: Acked) -> Vec<String> {
    let messages = match messages {
        Ok(messages) => messages,
        Err(why) => return vec![why.clone()],
    };
    let text = |message: &Value| message["content"].as_str().unwrap_or_default().to_owned();
    let texts: Vec<String> = messages.iter().map(text).collect();
    let mut flaws = Vec::new();
    let mut behind = 0;
    for turn in 1..=acked.turns {
        for wanted in [prompt(turn), answer(turn)] {
            let places: Vec<usize> = (0..texts.len()).filter(|at| texts[*at] == wanted).collect();
            match places[..] {
                [at] if at >= behind => behind = at,
                _ => flaws.push(format!("Lost: `{wanted}` stands at {places:?} of {texts:?}")),
            }
        }
    }
    let calls =
        messages.iter().filter(|message| message["tool_calls"].as_array().is_some_and(|c| !c.is_empty()));
    let calls = calls.count();
    if calls < acked.calls {
        flaws.push(format!("Lost: {calls} calls are there, and {} have begun", acked.calls));
    }
    flaws
}
