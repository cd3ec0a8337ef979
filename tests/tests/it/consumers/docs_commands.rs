//! The commands in README.md and docs/*.md do what the pages say.
//!
//! Looked at is every call of `amplifier` and `foreman` in a block fenced as `sh`: a line that begins with
//! one of them, one behind a pipe, and `cargo run … -p amplifier-cli … -- …` (or `-p foreman`). A call **runs**, in a
//! project that holds `docs/examples` and nothing else, and must exit with 0 and without a failed
//! tool, if it needs nothing that is not there:
//!
//! * `run`, of either program, and `spawn --explain`, with a bundle of `docs/examples` whose provider is
//!   scripted;
//! * `event emit`, `event replay` and `trigger simulate`;
//! * `background start … &`, with such a bundle: it runs beside the rest of its block;
//! * `foreman start` in a folder of `docs/examples` (behind a `cd` of its block), at a port that is free; behind it every
//!   other call of `foreman` but `chat`;
//! * `foreman init`, `add`, `import`, `export`, `ps` and `issue …` without a daemon too;
//! * `continue`, `resume`, `run --resume` and `session …` behind such a run in the same block;
//! * `bundle`, `agents`, `trust`, `background`, `runs`, `trigger`, `tool`, `module`, `completions`, `schema`, `store`
//!   and `event wait --from` in a block of which something runs anyway.
//!
//! Every call, also one that cannot run, is parsed: with `--help` behind its words it exits with 0,
//! which it does not if a command or a flag is unknown or a value is wrong.

use std::path::{Path, PathBuf};

use amplifier_tests::process::{Done, call, call_foreman, run};
use amplifier_tests::project::{TempProject, transcript};

/// What a page calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Amplifier,
    Foreman,
}

impl Program {
    fn run<S: AsRef<std::ffi::OsStr>>(
        self,
        project: &TempProject,
        dir: &Path,
        words: impl IntoIterator<Item = S>,
    ) -> Done {
        let dir = project.path().join(dir);
        match self {
            Self::Amplifier => call(project, words).cwd(&dir).done(),
            Self::Foreman => call_foreman(project, words).cwd(&dir).done(),
        }
    }
}

/// A call in a page.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    at: usize,
    program: Program,
    words: Vec<String>,
    /// True behind a pipe: what it reads is not there.
    piped: bool,
    /// True before a `&`: it goes on while the next lines run.
    beside: bool,
    /// Where it is called, seen from the project: what a `cd` further up in its block says.
    dir: PathBuf,
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// README.md and the pages of `docs/`.
fn pages() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(workspace().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.push(workspace().join("README.md"));
    pages.sort();
    pages
}

/// The calls of each `sh` block.
fn blocks(page: &str) -> Vec<Vec<Line>> {
    let (mut blocks, mut open) = (Vec::new(), None::<Vec<Line>>);
    let (mut other, mut dir) = (false, PathBuf::new());
    for (at, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some("sh"), None) if !other => (open, dir) = (Some(Vec::new()), PathBuf::new()),
            (Some(_), None) => other = !other,
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(lines)) => match line.strip_prefix("cd ") {
                Some(to) => dir.push(to.trim()),
                None => lines
                    .extend(calls(at + 1, line).into_iter().map(|line| Line { dir: dir.clone(), ..line })),
            },
            (None, None) => {}
        }
    }
    assert!(open.is_none() && !other, "a fenced block is never closed");
    blocks
}

/// The calls in a line.
fn calls(at: usize, line: &str) -> Vec<Line> {
    let words = words(line);
    let parts = words.split(|word| word == "|").enumerate();
    let line = |(part, words): (usize, &[String])| {
        let (program, mut words) = arguments(words)?;
        let beside = words.last().is_some_and(|word| word == "&");
        words.truncate(words.len() - usize::from(beside));
        Some(Line { at, program, words, piped: part > 0, beside, dir: PathBuf::new() })
    };
    parts.filter_map(line).collect()
}

/// What is called, and what it is given; `None` for another program.
fn arguments(words: &[String]) -> Option<(Program, Vec<String>)> {
    let behind_dashes = || words.iter().position(|word| word == "--").map(|end| words[end + 1..].to_vec());
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["amplifier", ..] => Some((Program::Amplifier, words[1..].to_vec())),
        ["foreman", ..] => Some((Program::Foreman, words[1..].to_vec())),
        ["cargo", "run", options @ ..] if options.contains(&"amplifier-cli") => {
            Some((Program::Amplifier, behind_dashes()?))
        }
        ["cargo", "run", options @ ..] if options.contains(&"foreman") => {
            Some((Program::Foreman, behind_dashes()?))
        }
        _ => None,
    }
}

/// The words of a line of shell: quotes hold together, `#` begins a comment.
pub(super) fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    assert!(quote.is_none(), "a quote is never closed: {line}");
    words.extend(word);
    words
}

/// The bundle of an example that is scripted, of a `run`.
fn is_scripted(words: &[String]) -> bool {
    let value = |flag: &str| words.iter().skip_while(|word| *word != flag).nth(1).map(PathBuf::from);
    let Some(bundle) = value("-B") else { return false };
    let folder = value("-C").unwrap_or_default().join(bundle);
    let text = std::fs::read_to_string(workspace().join(&folder).join("bundle.md")).unwrap_or_default();
    folder.starts_with("docs/examples") && text.contains("module: provider-scripted")
}

/// True if a call of `foreman` needs nothing that is not there. `owned`: its block has started a daemon.
fn can_foreman_run(line: &Line, owned: bool) -> bool {
    match line.words.first().map(String::as_str) {
        _ if line.piped => false,
        Some("run") => is_scripted(&line.words),
        Some("start") => line.dir.starts_with("docs/examples"),
        Some("init" | "add" | "import" | "export" | "ps" | "issue") => true,
        Some(word) => owned && word != "chat",
        None => false,
    }
}

/// Runs a call of `foreman`; a port that is named becomes one that is free.
fn run_foreman(project: &TempProject, line: &Line) -> Done {
    let words: Vec<String> =
        line.words.iter().map(|word| word.replace("127.0.0.1:8733", "127.0.0.1:0")).collect();
    let begin = std::time::Instant::now();
    loop {
        let done = Program::Foreman.run(project, &line.dir, &words);
        // A person answers when there is a question; here it may not have been asked yet.
        let early = words.get(1).is_some_and(|word| word == "answer") && done.code != Some(0);
        if !early || begin.elapsed() > amplifier_tests::PATIENCE {
            return done;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Ends the daemon of a block, however the block ends.
struct Daemon<'a>(&'a TempProject, PathBuf);

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        Program::Foreman.run(self.0, &self.1, ["stop", "--now"]);
    }
}

/// True if a call needs nothing that is not there. `begun`: a run of its block has made a session.
fn can_run(line: &Line, begun: bool) -> bool {
    let second = line.words.get(1).map(String::as_str);
    match line.words.first().map(String::as_str) {
        _ if line.piped => false,
        Some("run") if line.words.iter().any(|word| word == "--resume") => begun,
        Some("run" | "spawn") => is_scripted(&line.words),
        Some("background") if line.beside => is_scripted(&line.words),
        Some("event") if matches!(second, Some("emit" | "replay")) => true,
        Some("trigger") if second == Some("simulate") => true,
        Some("continue" | "resume" | "session" | "bundle" | "agents" | "trust") => begun,
        // From the beginning of the log on it has come, or comes of what was run before.
        Some("event") => begun && second == Some("wait") && line.words.iter().any(|word| word == "--from"),
        Some("background" | "runs" | "trigger" | "tool" | "module" | "completions" | "store" | "schema") => {
            begun
        }
        _ => false,
    }
}

/// A project with the examples in it.
fn project() -> TempProject {
    fn copy(project: &TempProject, folder: &str) {
        for entry in std::fs::read_dir(workspace().join(folder)).unwrap().map(|entry| entry.unwrap()) {
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            match entry.file_type().unwrap().is_dir() {
                true => copy(project, &path),
                false => drop(project.write(&path, std::fs::read(entry.path()).unwrap())),
            }
        }
    }
    let project = TempProject::new();
    copy(&project, "docs/examples");
    project
}

/// The results of tools that failed, in all sessions.
fn failed_tools(project: &TempProject) -> Vec<serde_json::Value> {
    let messages = project.sessions().into_iter().flat_map(|session| transcript(&session));
    messages.filter(|message| message["metadata"]["is_error"] == true).collect()
}

/// Runs what can run; how many calls did.
fn run_block(name: &str, block: &[Line]) -> usize {
    let project = project();
    let (mut ran, mut beside, mut daemon) = (0, Vec::new(), None);
    for line in block {
        if line.program == Program::Foreman {
            if can_foreman_run(line, daemon.is_some()) {
                let done = run_foreman(&project, line);
                assert_eq!(done.code, Some(0), "{name}:{}: {done:#?}", line.at);
                ran += 1;
                if line.words[0] == "start" {
                    daemon = Some(Daemon(&project, line.dir.clone()));
                }
            }
            continue;
        }
        if !can_run(line, ran > 0) {
            continue;
        }
        if line.beside {
            let running = call(&project, &line.words).start();
            running.told("Ctrl+C ends it");
            beside.push(running);
            ran += 1;
            continue;
        }
        let done = line.program.run(&project, &line.dir, &line.words);
        assert_eq!(done.code, Some(0), "{name}:{}: {done:#?}", line.at);
        ran += 1;
    }
    drop(daemon);
    // The block itself has stopped it.
    beside.into_iter().for_each(|running| drop(running.wait().exits(0)));
    assert_eq!(
        failed_tools(&project),
        Vec::<serde_json::Value>::new(),
        "{name}: a tool of an example failed"
    );
    ran
}

#[test]
fn each_command_is_understood() {
    let project = TempProject::new();
    let mut count = 0;
    for page in pages() {
        let name = page.file_name().unwrap().to_string_lossy().into_owned();
        for line in blocks(&std::fs::read_to_string(&page).unwrap()).concat() {
            let words = line.words.iter().map(String::as_str).chain(["--help"]);
            let done = line.program.run(&project, Path::new("."), words);
            assert_eq!(done.code, Some(0), "{name}:{}: {done:#?}", line.at);
            count += 1;
        }
    }
    assert!(count > 20, "{count} commands: the pages are not read");
}

#[test]
fn each_command_that_needs_no_model_does_what_it_says() {
    for (name, at_least) in [("README.md", 18), ("docs/cli.md", 12), ("docs/foreman.md", 8)] {
        let page = std::fs::read_to_string(workspace().join(name)).unwrap();
        let ran: usize = blocks(&page).iter().map(|block| run_block(name, block)).sum();
        assert!(ran >= at_least, "{name}: {ran} commands ran");
    }
    let counted = ["README.md", "docs/cli.md", "docs/foreman.md"];
    let others = pages().into_iter().filter(|page| !counted.iter().any(|name| page.ends_with(name)));
    for page in others {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in blocks(&text) {
            run_block(&page.to_string_lossy(), &block);
        }
    }
}

#[test]
fn lines_of_shell_become_calls() {
    let check = |line: &str, expect: &[&[&str]]| {
        let found: Vec<Vec<String>> = calls(1, line).into_iter().map(|line| line.words).collect();
        assert_eq!(found, expect, "{line}");
    };
    check(
        "amplifier run -B b \"two words\" 'and # more' # why",
        &[&["run", "-B", "b", "two words", "and # more"]],
    );
    check("git diff | amplifier run \"x | y\"", &[&["run", "x | y"]]);
    check("cargo run -q -p amplifier-cli --no-default-features -- run \"hi\"", &[&["run", "hi"]]);
    check("cargo run -p xtask -- ci", &[]);
    check("foreman run issues.jsonl -B crew", &[&["run", "issues.jsonl", "-B", "crew"]]);
    check("cargo run -q -p foreman -- run i.jsonl", &[&["run", "i.jsonl"]]);
    check("# amplifier run", &[]);
    check("amplifier background start -B b &   # beside", &[&["background", "start", "-B", "b"]]);
    check("export KEY=…", &[]);
}

#[test]
fn what_is_not_understood_is_found() {
    let project = TempProject::new();
    for words in
        [&["run", "--nope", "hi", "--help"][..], &["rum", "--help"], &["run", "--timeout", "5", "--help"]]
    {
        assert_eq!(run(&project, words).code, Some(2), "{words:?}");
    }
}
