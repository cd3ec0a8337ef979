//! Files that are flipped, cut and overwritten, and what the built programs say of them.
//!
//! One project is lived in once, so that each format has a file. Then one file at a time is damaged, the programs
//! that read it are called, and everything is put back.
//!
//! Guarantees: a damage follows from its seed. What was damaged is told with the file's name, or nothing is missing:
//! no fewer messages, sessions, events, issues or declarations than before. A change within a text is no loss: no
//! file but the database's log has checksums. Never here: two damages at once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Dice, Report, Worker, program};
use crate::project::TempProject;

/// After so long a program hangs.
const HANGS: Duration = Duration::from_secs(60);
const NAME: &str = "files, damaged";

/// A file of a project.
struct Format {
    name: &'static str,
    /// Where it is.
    file: fn(&TempProject) -> PathBuf,
    /// Who reads it.
    looks: &'static [Look],
}

/// A program, and how many things it shows.
struct Look {
    program: &'static str,
    args: &'static [&'static str],
    shows: Shows,
}

#[derive(Clone, Copy)]
enum Shows {
    /// So many lines.
    Lines,
    /// So many items, at a JSON pointer.
    Items(&'static str),
    /// So many items, fewer by the lines that are gone: a file of lines that ends at one of them is whole.
    ItemsOfLines,
    /// Nothing that is counted.
    Nothing,
}

const fn amplifier(args: &'static [&'static str], shows: Shows) -> Look {
    Look { program: "amplifier", args, shows }
}

const fn foreman(args: &'static [&'static str], shows: Shows) -> Look {
    Look { program: "foreman", args, shows }
}

const SESSION: &[Look] = &[
    amplifier(&["session", "show", "s", "-T", "--json"], Shows::Items("/transcript")),
    amplifier(&["session", "list", "--all", "--json"], Shows::Items("")),
    amplifier(&["run", "-B", "b", "--resume", "s", "three"], Shows::Nothing),
];
const DATABASE: &[Look] = &[
    amplifier(&["event", "replay", "--json"], Shows::Lines),
    foreman(&["issue", "list", "--all", "--json"], Shows::Items("")),
    amplifier(&["runs", "--all", "--json"], Shows::Nothing),
    amplifier(&["event", "emit", "work:more"], Shows::Nothing),
];
/// SQLite takes a damage of the log for a write that was cut off: what follows is not there, and nobody can tell.
const LOG: &[Look] = &[
    amplifier(&["event", "replay", "--json"], Shows::Nothing),
    foreman(&["issue", "list", "--all", "--json"], Shows::Nothing),
    amplifier(&["event", "emit", "work:more"], Shows::Nothing),
];
const SETTINGS: &[Look] = &[
    amplifier(&["bundle", "current"], Shows::Nothing),
    amplifier(&["run", "-B", "b", "four"], Shows::Nothing),
    amplifier(&["bundle", "list", "--json"], Shows::Items("")),
];
const REGISTRY: &[Look] = &[
    amplifier(&["bundle", "list", "--json"], Shows::Items("")),
    amplifier(&["bundle", "show", "other"], Shows::Nothing),
    amplifier(&["run", "-B", "b", "four"], Shows::Nothing),
];

const FORMATS: &[Format] = &[
    Format { name: "transcript", file: |project| session(project, "transcript.jsonl"), looks: SESSION },
    Format { name: "metadata", file: |project| session(project, "metadata.json"), looks: SESSION },
    Format { name: "session lock", file: |project| session(project, ".lock"), looks: SESSION },
    Format { name: "database", file: |project| folder(project).join("amplifier.db"), looks: DATABASE },
    Format {
        name: "log of the database",
        file: |project| folder(project).join("amplifier.db-wal"),
        looks: LOG,
    },
    Format {
        name: "settings of the user",
        file: |project| project.home().join("settings.yaml"),
        looks: SETTINGS,
    },
    Format {
        name: "settings of the project",
        file: |project| own(project, "settings.yaml"),
        looks: SETTINGS,
    },
    Format { name: "keys", file: |project| project.home().join("keys.env"), looks: SETTINGS },
    Format { name: "trust", file: |project| project.home().join("trust.json"), looks: SETTINGS },
    Format {
        name: "registry of bundles",
        file: |project| project.home().join("registry.json"),
        looks: REGISTRY,
    },
    Format { name: "bundle", file: |project| own(project, "bundles/b.md"), looks: SETTINGS },
    Format {
        name: "background.yaml",
        file: |project| own(project, "background.yaml"),
        looks: &[
            amplifier(&["background", "list", "--json"], Shows::Items("")),
            amplifier(&["background", "rm", "second"], Shows::Nothing),
            amplifier(&["trigger", "list", "--json"], Shows::Nothing),
        ],
    },
    Format {
        name: "foreman.yaml",
        file: |project| project.path().join("foreman.yaml"),
        looks: &[
            foreman(&["status", "--json"], Shows::Items("/pools")),
            foreman(&["doctor", "--json"], Shows::Nothing),
        ],
    },
    Format {
        name: "issues",
        file: |project| project.path().join("more.jsonl"),
        looks: &[
            foreman(&["import", "more.jsonl"], Shows::Nothing),
            foreman(&["issue", "list", "--all", "--json"], Shows::ItemsOfLines),
        ],
    },
];

fn own(project: &TempProject, file: &str) -> PathBuf {
    project.path().join(".amplifier").join(file)
}

fn folder(project: &TempProject) -> PathBuf {
    super::project_folder(&project.home()).unwrap()
}

fn session(project: &TempProject, file: &str) -> PathBuf {
    folder(project).join("sessions/s").join(file)
}

const BUNDLE: &str = "---\nbundle: {name: b, description: what is damaged}\nsession:\n  orchestrator: loop-streaming\n  context: context-simple\n\
    providers:\n  - module: provider-scripted\n    config: {script: [{text: 'you said {{prompt}}'}]}\n---\nYou are tested.\n";
const BACKGROUND: &str = "background_sessions:\n  - name: first\n    bundle: b\n    triggers: [{type: manual}]\n  - name: second\n    bundle: b\n\
    \u{20}   triggers:\n      - type: timer\n        config: {cron: '0 3 * * *', timezone: UTC}\n  - name: third\n    bundle: b\n    triggers: [{type: session_event, config: {event_names: ['work:*']}}]\n";
const FOREMAN: &str = "worker_pools:\n  - {name: one, worker_bundle: b, max_concurrent: 2}\n  - {name: two, worker_bundle: b, route_types: [bug]}\nrouting:\n  default_pool: one\n";

/// A project with a file of each format.
fn lived_in() -> TempProject {
    let project = TempProject::new();
    project.bundle("b", BUNDLE);
    project
        .write(".amplifier/settings.yaml", "# the project's\nbundle:\n  active: b\nlimits: {max_turns: 9}\n");
    project.write(".amplifier/background.yaml", BACKGROUND);
    project.write("foreman.yaml", FOREMAN);
    let issues = |from: usize| -> String {
        let one = |n: usize| {
            format!(
                "{{\"id\":\"i-{n}\",\"title\":\"Issue {n}\",\"description\":\"Do {n}\",\"priority\":{}}}\n",
                n % 4
            )
        };
        (from..from + 8).map(one).collect()
    };
    project.write("issues.jsonl", issues(1));
    project.write("more.jsonl", issues(100));
    std::fs::create_dir_all(project.home()).unwrap();
    let files = [
        ("settings.yaml", "bundle:\n  added:\n    mine: ./b.md\nretry: {max_retries: 2}\n".to_owned()),
        ("keys.env", "ONE_API_KEY=sk-0123456789abcdefghij\n# a comment\nTWO=\"x y\"\n".to_owned()),
        ("registry.json", "{\"version\": 1, \"bundles\": {\"other\": {\"uri\": \"./b.md\"}}}\n".to_owned()),
    ];
    for (name, text) in files {
        std::fs::write(project.home().join(name), text).unwrap();
    }
    let mut lives: Vec<(&str, Vec<String>)> = Vec::new();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    lives.push(("amplifier", words("trust")));
    lives.push(("amplifier", words("run -B b --session-id s one")));
    lives.push(("amplifier", words("run -B b --resume s two")));
    lives.extend((0..30).map(|n| ("amplifier", words(&format!("event emit work:{n} {{\"n\":{n}}}")))));
    lives.push(("foreman", words("import issues.jsonl")));
    for (program, args) in &lives {
        let (_, complaints, code) = call(&project, program, args);
        assert_eq!(code, Some(0), "{program} {args:?}: {complaints}");
    }
    project
}

/// A copy of it that has a log beside the database: somebody had it open, and was killed.
fn with_log(project: &TempProject) -> Kept {
    let mut command = command(project, "amplifier");
    command.args(["event", "tail", "--json"]);
    let tail = Worker::start(command);
    // Until it has heard of one it may not have begun.
    let heard = (0..60).any(|_| {
        let (_, complaints, code) = call(project, "amplifier", &["event", "emit", "work:last"]);
        assert_eq!(code, Some(0), "{complaints}");
        tail.line(Duration::from_secs(1)).is_some()
    });
    assert!(heard, "nobody listens: {:?}", tail.complaints());
    let kept = Kept::of(project.around());
    tail.kill();
    assert!(kept.copy.path().join("home").is_dir());
    kept
}

fn command(project: &TempProject, name: &str) -> Command {
    let mut command = Command::new(program(name));
    command.current_dir(project.path()).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", project.around().join("user")).env("AMPLIFIER_HOME", project.home());
    command
}

/// Calls a program: what it printed, what it complained, its exit code; `None`: it was killed, or had to be.
fn call<S: AsRef<std::ffi::OsStr>>(
    project: &TempProject,
    name: &str,
    args: &[S],
) -> (String, String, Option<i32>) {
    let mut command = command(project, name);
    command.args(args);
    let mut worker = Worker::start(command);
    worker.release();
    let (said, complaints, status) = worker.end(HANGS);
    (said.join("\n"), complaints.join("\n"), status.and_then(|status| status.code()))
}

impl Shows {
    fn count(self, said: &str) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Lines => said.lines().count(),
            Self::Items(_) | Self::ItemsOfLines => {
                let all: Value = serde_json::from_str(said).unwrap_or_default();
                let items = all.pointer(if let Self::Items(pointer) = self { pointer } else { "" });
                items.map_or(0, |items| {
                    items
                        .as_array()
                        .map_or_else(|| items.as_object().map_or(0, serde_json::Map::len), Vec::len)
                })
            }
        }
    }
}

/// Lines that hold anything.
fn lines(content: &[u8]) -> usize {
    content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count()
}

/// One damage. What was done, in words.
fn damage(content: &mut Vec<u8>, dice: &mut Dice) -> String {
    let length = content.len() as u64;
    let at = dice.below(length) as usize;
    match dice.below(4) {
        0 | 1 if length > 0 => {
            let bit = dice.below(8);
            content[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
        2 => {
            content.truncate(at);
            format!("cut to {at} of {length} bytes")
        }
        _ => {
            let end = content.len().min(at + 1 + dice.below(600) as usize);
            let fill = [0, 0xff, b'x'][dice.below(3) as usize];
            content[at..end].fill(fill);
            format!("bytes {at} to {end} overwritten with {fill:#x}")
        }
    }
}

/// Damages each format so many times.
pub fn damage_all(each: usize, seed: u64, progress: impl Fn(usize, usize)) -> Report {
    let began = Instant::now();
    let mut report = Report::of(NAME);
    let project = lived_in();
    let kept = with_log(&project);
    report.of = each * FORMATS.len();
    let mut told_of = 0;
    for (place, format) in FORMATS.iter().enumerate() {
        kept.put_back();
        let before: Vec<usize> = format
            .looks
            .iter()
            .map(|look| look.shows.count(&call(&project, look.program, look.args).0))
            .collect();
        for n in 0..each {
            kept.put_back();
            let mut dice = Dice::new(seed.wrapping_mul(1_000_003) + (place * 100_000 + n) as u64);
            let file = (format.file)(&project);
            let mut content = std::fs::read(&file).unwrap_or_default();
            let whole = lines(&content);
            let what = damage(&mut content, &mut dice);
            let gone = whole.saturating_sub(lines(&content));
            std::fs::write(&file, &content).unwrap();
            let mut flaws = Vec::new();
            let mut told = false;
            for (look, before) in format.looks.iter().zip(&before) {
                let (said, complaints, code) = call(&project, look.program, look.args);
                let before = before - if matches!(look.shows, Shows::ItemsOfLines) { gone } else { 0 };
                let (flaw, is_told) = judge(&project, &file, look, before, (&said, &complaints, code));
                // Told once is enough, by the first that meets it.
                let flaw = flaw.filter(|flaw| !told || !flaw.is_loss);
                told |= is_told;
                flaws.extend(
                    flaw.map(|flaw| format!("{} {}: {}", look.program, look.args.join(" "), flaw.what)),
                );
            }
            told_of += usize::from(told);
            report.tried += 1;
            report.hit += 1;
            if !flaws.is_empty() {
                let at = format!("{} ({what}), --seed {seed}", format.name);
                let folder = super::folder();
                copy(project.around(), folder.path());
                std::fs::write(folder.path().join("damaged"), &content).unwrap();
                report.judge(at, flaws, folder);
            }
            progress(report.tried, report.of);
        }
    }
    report.acknowledged = report.tried;
    report.checked = format!(
        "{} formats; {told_of} damages were told, the others took nothing away; no panic, no hang",
        FORMATS.len()
    );
    report.seconds = began.elapsed().as_secs_f64();
    report
}

/// What is wrong with what a program said.
struct Flaw {
    what: String,
    /// Something is missing, and nothing was told.
    is_loss: bool,
}

impl Flaw {
    fn broken(what: String) -> (Option<Self>, bool) {
        (Some(Self { what, is_loss: false }), false)
    }
}

/// Judges what a program said, and whether it told the damage.
fn judge(
    project: &TempProject,
    file: &Path,
    look: &Look,
    before: usize,
    (said, complaints, code): (&str, &str, Option<i32>),
) -> (Option<Flaw>, bool) {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let all = format!("{said}\n{complaints}");
    if all.contains("panicked at") {
        return Flaw::broken(format!("a panic: {complaints}"));
    }
    let Some(code) = code else { return Flaw::broken(format!("it hung, or was killed: {complaints}")) };
    if !(0..=2).contains(&code) {
        return Flaw::broken(format!("exit code {code}: {complaints}"));
    }
    let told = all.contains(&*name) || all.contains("damaged");
    if code != 0 {
        // Whatever stops a program is said, with what to do.
        if complaints.trim().is_empty() && said.trim().is_empty() {
            return Flaw::broken(format!("exit code {code} without a word"));
        }
        return (None, told);
    }
    let now = look.shows.count(said);
    let lost = now < before && !told && !doctor_tells(project, &name);
    let what = format!("{now} of {before} are shown, and nothing is told: {complaints}");
    (lost.then_some(Flaw { what, is_loss: true }), told)
}

fn doctor_tells(project: &TempProject, name: &str) -> bool {
    let (said, complaints, _) = call(project, "amplifier", &["doctor"]);
    let line = |line: &str| {
        line.contains("fail") || line.contains("warn") || line.contains(name) || line.contains("damaged")
    };
    said.lines()
        .chain(complaints.lines())
        .any(|one| line(one) && (one.contains("database") || one.contains(name)))
}

/// A copy of a folder that can be put back.
struct Kept {
    original: PathBuf,
    copy: tempfile::TempDir,
}

impl Kept {
    fn of(original: &Path) -> Self {
        let copy = super::folder();
        self::copy(original, copy.path());
        Self { original: original.to_owned(), copy }
    }

    fn put_back(&self) {
        for entry in std::fs::read_dir(&self.original).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap()
            } else {
                std::fs::remove_file(path).unwrap()
            }
        }
        copy(self.copy.path(), &self.original);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &to);
            let mode = std::fs::metadata(&path).unwrap().permissions();
            std::fs::set_permissions(&to, mode).unwrap();
        } else if path.is_file() {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}
