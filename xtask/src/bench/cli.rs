//! The command line as it is used every day: the chat at a terminal, single commands, MCP servers, the program's size.
//!
//! Guarantees: each measurement has a home of its own, so nothing of the user's is read or written; what it starts
//! ends with it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::figure::{Figure, Rival, Wanted};
use super::report::Report;
use super::terminal::Terminal;
use super::{TempFolder, folder, process};
use crate::error::Error;
use crate::run;

/// Sessions that are listed.
const SESSIONS: usize = 10_000;
/// How long a chat is watched in which nobody types.
const IDLE: Duration = Duration::from_secs(5);
/// How long MCP servers take to start, in milliseconds, the slowest last.
const SERVERS: [u64; 3] = [300, 400, 500];
const BUNDLE: &str = "---\nbundle: {name: bench}\nsession: {orchestrator: loop-streaming, context: context-simple}\n\
    providers: [{module: provider-scripted, config: {script: [], default: done}}]\n\
    tools: [{module: tool-filesystem}MORE]\n---\nBe brief.\n";
/// What a chat says last before it waits for a line.
const PROMPT: &str = "> ";

/// Fills the report.
pub(crate) fn measure(runs: usize, report: &mut Report) -> Result<(), Error> {
    let program = process::release("amplifier-cli", "amplifier")?;
    let size = std::fs::metadata(&program).map_err(Error::file(&program))?.len();
    report.row("the program `amplifier`", "MB", Some(25.0), vec![size as f64 / 1e6]);
    let place = Place::new(&program, "")?;
    chat(&place, runs, report)?;
    commands(&place, runs, report)?;
    list(&place, runs, report)?;
    servers(&program, runs.min(5), report)
}

/// A home with a project whose bundle answers from a script.
struct Place {
    folder: TempFolder,
    project: PathBuf,
    program: PathBuf,
}

impl Place {
    /// `tools`: further tools of its bundle, each with a comma before it.
    fn new(program: &Path, tools: &str) -> Result<Self, Error> {
        let temporary = TempFolder::new(&folder()?)?;
        let project = temporary.path().join("project");
        std::fs::create_dir(&project).map_err(Error::file(&project))?;
        let place = Self { folder: temporary, project, program: program.to_owned() };
        place.write("bench.md", &BUNDLE.replace("MORE", tools))?;
        place.write("a.txt", "hello\n")?;
        Ok(place)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.project.join(name);
        std::fs::write(&path, text).map_err(Error::file(&path))
    }

    /// A call whose environment is this home and nothing else.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.project).env_clear().env("HOME", self.folder.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.args(args);
        command
    }
}

/// From the start of the program to its first prompt, and what it takes while nobody types.
fn chat(place: &Place, runs: usize, report: &mut Report) -> Result<(), Error> {
    let mut firsts = Vec::new();
    for _ in 0..=runs {
        let began = Instant::now();
        let mut terminal = Terminal::start(&mut place.command(&["-B", "./bench.md"]))?;
        terminal.sees(PROMPT)?;
        firsts.push(began.elapsed().as_secs_f64() * 1e3);
    }
    report.row("first prompt of the chat", "ms", Some(30.0), firsts.split_off(1));
    let mut terminal = Terminal::start(&mut place.command(&["-B", "./bench.md"]))?;
    terminal.sees(PROMPT)?;
    std::thread::sleep(Duration::from_secs(1));
    let mut shares = Vec::new();
    for _ in 0..runs.min(3) {
        let (before, began) = (busy(terminal.process()), Instant::now());
        std::thread::sleep(IDLE);
        let used = busy(terminal.process()).zip(before).map(|(after, before)| after.saturating_sub(before));
        shares.extend(used.map(|used| used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0));
    }
    // Less than a clock that counts in hundredths of a second would show.
    report.row("a chat in which nobody types: share of a core", "percent", Some(0.05), shares);
    Ok(())
}

/// Time on processors, of all threads of a process; `None` where the system does not tell.
fn busy(process: u32) -> Option<Duration> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten();
    let nanos = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Some(Duration::from_nanos(nanos.sum()))
}

fn commands(place: &Place, runs: usize, report: &mut Report) -> Result<(), Error> {
    let invoke = place.command(&["tool", "invoke", "-B", "./bench.md", "read_file", "path=a.txt"]);
    let walls = walls(&invoke, runs)?;
    report.row("tool invoke read_file", "ms", Some(10.0), walls);
    Ok(())
}

/// Wall times after a first one that is not counted, in milliseconds.
fn walls(command: &Command, runs: usize) -> Result<Vec<f64>, Error> {
    let mut walls = Vec::new();
    for _ in 0..=runs {
        walls.push(process::measure(command)?.wall_ms);
    }
    Ok(walls.split_off(1))
}

/// The same session so many times.
fn list(place: &Place, runs: usize, report: &mut Report) -> Result<(), Error> {
    run::read(&mut place.command(&["run", "-B", "./bench.md", "--session-id", "first", "hi"]))?;
    let shown = run::read(&mut place.command(&["session", "show", "first", "--json"]))?;
    let shown: Value = serde_json::from_str(&shown).unwrap_or_default();
    let first = PathBuf::from(shown.get("path").and_then(Value::as_str).unwrap_or_default());
    let sessions = first.parent().map(Path::to_path_buf).unwrap_or_default();
    let read = |name: &str| {
        let path = first.join(name);
        std::fs::read_to_string(&path).map_err(Error::file(&path))
    };
    let (metadata, transcript) = (read("metadata.json")?, read("transcript.jsonl")?);
    for number in 1..SESSIONS {
        let id = format!("copy-{number}");
        let copy = sessions.join(&id);
        std::fs::create_dir(&copy).map_err(Error::file(&copy))?;
        let write = |name: &str, text: &str| {
            let path = copy.join(name);
            std::fs::write(&path, text).map_err(Error::file(&path))
        };
        write("metadata.json", &metadata.replace("\"first\"", &format!("\"{id}\"")))?;
        write("transcript.jsonl", &transcript)?;
    }
    run::read(&mut place.command(&["session", "reindex"]))?;
    report.row(
        "session list, 10,000 sessions",
        "ms",
        Some(50.0),
        walls(&place.command(&["session", "list"]), runs)?,
    );
    Ok(())
}

/// A whole run with three MCP servers, and one with the slowest of them alone.
fn servers(program: &Path, runs: usize, report: &mut Report) -> Result<(), Error> {
    let fake = process::release("amplifier-mcp", "fake-mcp-server")?;
    let server = |millis: &u64| json!({"command": &fake, "args": ["--slow-start", millis.to_string()]});
    let place = |servers: Vec<(String, Value)>| {
        let servers: Value = servers.into_iter().collect::<serde_json::Map<_, _>>().into();
        Place::new(program, &format!(", {{module: tool-mcp, config: {{servers: {servers}}}}}"))
    };
    let named = |(number, millis): (usize, &u64)| (format!("s{number}"), server(millis));
    let three = place(SERVERS.iter().enumerate().map(named).collect())?;
    let slowest = place(SERVERS.last().map(|millis| ("s".to_owned(), server(millis))).into_iter().collect())?;
    let line = ["run", "-B", "./bench.md", "--permission-mode", "bypassPermissions", "hi"];
    let (mut of_three, mut of_one) = (Vec::new(), Vec::new());
    for _ in 0..=runs {
        of_three.push(process::measure(&three.command(&line))?.wall_ms);
        of_one.push(process::measure(&slowest.command(&line))?.wall_ms);
    }
    let (of_three, of_one) = (of_three.split_off(1), of_one.split_off(1));
    let ratios = of_three.iter().zip(&of_one).map(|(three, one)| three / one).collect();
    let mut figure = Figure::new("a run with three MCP servers", "ms", Wanted::default(), of_three);
    let what = "with the slowest of them alone".to_owned();
    figure.rival = Some(Rival { what, runs: of_one, ratios, wanted: Wanted::at_most(Some(1.1)) });
    report.add(figure);
    Ok(())
}
