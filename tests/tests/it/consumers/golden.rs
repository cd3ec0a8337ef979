//! Golden cases: commands of a user, and every byte that the programs say to them.
//!
//! A case is a file below `golden/`. A line says by its beginning what it is:
//!
//! * `# …`: why there is this case;
//! * `% file PATH`: a file of the project, with the indented lines below it; `% home PATH` one of the home;
//!   `% times` leaves times unmasked;
//! * `$ amplifier …` or `$ foreman …`: a command, `$ echo "…" | amplifier …` one that is given text,
//!   `… 2>/dev/null` one whose standard error depends on who is faster;
//! * below it `| …`: what it printed, `! …`: what it told on standard error, `= N`: its exit code; `\` at the end
//!   of output says that its last line has no line feed.
//!
//! With `AMPLIFIER_GOLDEN=write` in the environment a case is written as it happens instead of compared; what has
//! changed is then to be looked at. Every case has the project of [`world`]; ids, times and folders are masked
//! ([`super::mask`]), and `<id-1>` in a command is the id that has this name.

use std::path::{Path, PathBuf};

use amplifier_tests::process::{Done, call, call_foreman};
use amplifier_tests::project::TempProject;

use super::mask::Mask;

/// The bundle `b` of every case: what it answers follows from the prompt.
const BUNDLE: &str = r#"---
bundle: {name: b, version: 1.2.3, description: answers from a script}
session:
  orchestrator: {module: loop-basic}
  context: {module: context-simple}
providers:
  - module: provider-scripted
    config:
      default: "You said: {{prompt}}"
      script:
        - {when: {prompt: /^read$/}, tool_calls: [{tool: read_file, arguments: {path: notes.md}}]}
        - {when: {after_tool: read_file}, text: "I have read it.", usage: {input_tokens: 20, output_tokens: 5}, cost_usd: 0.01}
        - {when: {prompt: outside}, tool_calls: [{tool: write_file, arguments: {path: ../outside.txt, content: x}}]}
        - {when: {after_tool: write_file}, text: "I have tried."}
        - {when: {prompt: delegate}, tool_calls: [{tool: delegate, arguments: {agent: reader, instruction: look}}]}
        - {when: {after_tool: delegate}, text: "The reader has looked."}
        - {when: {prompt: refused}, error: {kind: auth, message: "the key is refused"}}
        - {when: {prompt: slow}, delay_ms: 600000, text: "too late"}
        - {when: {prompt: costly}, cost_usd: 0.01, tool_calls: [{tool: read_file, arguments: {path: notes.md}}]}
tools:
  - module: tool-filesystem
  - module: tool-delegate
agents:
  reader: {description: reads, instruction: You read.}
---
You are tested.
"#;

/// Behind a command of whose standard error nothing is kept.
const QUIET: &str = " 2>/dev/null";

/// The project of every case.
fn world() -> TempProject {
    let project = TempProject::new();
    project.bundle("b", BUNDLE);
    project.write("notes.md", "first line\nsecond line\n");
    std::fs::create_dir_all(project.home()).unwrap();
    project
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/consumers/golden")
}

/// Ends the daemon of a case, however the case ends.
struct Ended<'a>(Option<&'a TempProject>);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if let Some(project) = self.0 {
            call_foreman(project, ["stop", "--now"]).done();
        }
    }
}

/// What a file says.
#[derive(Debug, Default)]
struct Case<'a> {
    /// What stands before the first command, as it is.
    head: Vec<&'a str>,
    commands: Vec<&'a str>,
}

impl<'a> Case<'a> {
    fn parse(text: &'a str) -> Self {
        let mut case = Self::default();
        for line in text.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => case.commands.push(command),
                None if case.commands.is_empty() => case.head.push(line),
                None => {}
            }
        }
        case
    }

    /// Writes the files that its head names.
    fn set_up(&self, project: &TempProject, mask: &mut Mask) {
        let mut lines = self.head.iter().peekable();
        while let Some(line) = lines.next() {
            let Some(directive) = line.strip_prefix("% ") else { continue };
            let mut body = String::new();
            while let Some(line) = lines.next_if(|line| line.starts_with("    ") || line.is_empty()) {
                body.push_str(line.strip_prefix("    ").unwrap_or(line));
                body.push('\n');
            }
            match directive.split_once(' ') {
                Some(("file", path)) => drop(project.write(path, mask.show(&body))),
                Some(("home", path)) => {
                    let path = project.home().join(mask.show(path));
                    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                    std::fs::write(path, mask.show(&body)).unwrap();
                }
                None if directive == "times" => mask.keep_times(),
                _ => panic!("`% {directive}` is no directive"),
            }
        }
    }
}

/// Runs a command of a case.
fn run(project: &TempProject, mask: &Mask, command: &str) -> Done {
    let words = super::docs_commands::words(command.strip_suffix(QUIET).unwrap_or(command));
    let (input, words) = match words.iter().position(|word| word == "|") {
        Some(pipe) => (Some(words[1..pipe].join(" ") + "\n"), &words[pipe + 1..]),
        None => (None, &words[..]),
    };
    let arguments: Vec<String> = words[1..].iter().map(|word| mask.show(word)).collect();
    let call = match words[0].as_str() {
        "amplifier" => call(project, arguments),
        "foreman" => call_foreman(project, arguments),
        other => panic!("`{other}` is none of the two programs"),
    };
    // Local times are told somewhere.
    let call = call.env("TZ", "UTC");
    match input {
        Some(input) => call.input(&input).done(),
        None => call.done(),
    }
}

/// Lines of output, each behind its mark.
fn marked(mark: &str, text: &str) -> String {
    let mut lines: String =
        text.lines().map(|line| format!("{mark} {line}").trim_end().to_owned() + "\n").collect();
    if !text.is_empty() && !text.ends_with('\n') {
        lines.insert(lines.len() - 1, '\\');
    }
    lines
}

/// The case as it happens now.
fn happens(text: &str) -> String {
    let (project, case) = (world(), Case::parse(text));
    let starts = case.commands.iter().any(|command| command.starts_with("foreman start"));
    let ended = Ended(starts.then_some(&project));
    let mut mask = Mask::new(&project);
    case.set_up(&project, &mut mask);
    let mut now = case.head.join("\n") + "\n";
    for command in case.commands {
        let done = run(&project, &mask, command);
        let code = done.code.map_or_else(|| format!("signal {:?}", done.signal), |code| code.to_string());
        let (stdout, mut stderr) = (mask.hide(&done.stdout), mask.hide(&done.stderr));
        if command.ends_with(QUIET) {
            stderr.clear();
        }
        now.push_str(&format!("$ {command}\n{}{}= {code}\n", marked("|", &stdout), marked("!", &stderr)));
    }
    drop(ended);
    now
}

/// Compares a case with what happens, or writes it.
pub(super) fn check(name: &str) {
    let path = folder().join(name).with_extension("txt");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let now = happens(&text);
    if std::env::var_os("AMPLIFIER_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, now).unwrap();
        return;
    }
    let differs = |(at, (is, was)): (usize, (&str, &str))| {
        (is != was).then(|| format!("{}:{}: was\n  {was}\nand is\n  {is}", path.display(), at + 1))
    };
    let first = now.lines().zip(text.lines()).enumerate().find_map(differs);
    assert!(now == text, "{}\nwhat happens now:\n{now}", first.unwrap_or_default());
}

/// The names of all files, as `folder/name`.
pub(super) fn files() -> Vec<String> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let groups = entries(&folder());
    let mut files: Vec<String> = groups
        .iter()
        .flat_map(|group| entries(group).into_iter().map(|file| format!("{}/{}", name(group), name(&file))))
        .collect();
    files.sort();
    files
}

#[test]
fn a_case_that_differs_is_found() {
    let text = "# why\n% file a.txt\n    one\n$ amplifier nonsense\n| said\n= 0\n";
    let now = happens(text);
    assert!(now.starts_with("# why\n% file a.txt\n    one\n$ amplifier nonsense\n! "), "{now}");
    assert!(now.ends_with("= 2\n") && !now.contains("| said"), "{now}");
    assert_eq!(happens(&now), now, "the same again");
    assert_eq!(marked("|", "a\nb"), "| a\n| b\\\n");
}
