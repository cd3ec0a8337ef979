//! Progress for people: what tools do, sub-sessions, and notices, on stderr.
//!
//! Guarantees: warnings and errors are always told; lines about tools and sub-sessions only on a
//! terminal, with `--verbose`, or while the run waits for those that it leaves. What a sub-session does
//! is indented and marked with its name. Text that somebody else wrote is made harmless first.

use std::collections::{HashMap, HashSet};
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use amplifier_core::approval::{NoticeLevel, Origin, Shown};
use amplifier_core::{SessionId, SessionOutcome, ToolCall};
use amplifier_foundation::settings::duration;
use serde_json::Value;

use super::{Style, plain, say};

/// Longest argument that a tool line shows, in characters.
const MAX_ARGUMENT: usize = 60;

/// Writes progress to stderr.
#[derive(Debug)]
pub struct Progress {
    style: Style,
    tools: bool,
    results: bool,
    verbose: bool,
    // Held for a look-up or a change; never across an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The run's own session: the one that shows something first, unless it was named before.
    own: Option<SessionId>,
    /// Levels of the own session below its root.
    depth: u32,
    children: HashMap<SessionId, Child>,
    /// How many sub-sessions have had a name.
    names: HashMap<String, u32>,
    /// Warnings about bundles that were told.
    told: HashSet<String>,
    /// True while the run waits for sub-sessions.
    leaving: bool,
}

/// A sub-session as people see it.
#[derive(Debug)]
struct Child {
    name: String,
    depth: u32,
}

impl Progress {
    /// For this process's stderr.
    pub fn new(verbose: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let tools = terminal || verbose;
        Self { style: Style::of(terminal), tools, results: false, verbose, state: Mutex::default() }
    }

    /// The same, with the first line of each tool's result.
    #[must_use]
    pub fn with_results(self) -> Self {
        Self { results: true, ..self }
    }

    /// Names the run's own session.
    pub fn of(&self, own: Option<SessionId>) {
        self.lock().own = own;
    }

    /// True for what the run's own session shows.
    pub fn is_own(&self, origin: &Origin) -> bool {
        self.lock().own.get_or_insert_with(|| origin.session.clone()) == &origin.session
    }

    /// From now on every end of a sub-session is told: somebody waits for it.
    pub fn leave(&self) {
        self.lock().leaving = true;
    }

    /// Tells what a person would want to know.
    pub fn show(&self, origin: &Origin, shown: &Shown<'_>) {
        if let Some(line) = self.line(origin, shown) {
            say(&line);
        }
    }

    /// The line that a person would want to read.
    pub fn line(&self, origin: &Origin, shown: &Shown<'_>) -> Option<String> {
        let own = self.is_own(origin);
        let mut state = self.lock();
        if let Shown::ChildStarted { agent, bundle, depth } = shown {
            match own {
                true => state.depth = *depth,
                false => state.name(origin, agent.unwrap_or(bundle), *depth),
            }
        }
        let mark = if own { String::new() } else { state.mark(origin) };
        let line = match shown {
            Shown::ToolEnded { call, summary, is_error, took } if self.tools => {
                let mut line = tool_line(call, summary, *is_error, *took);
                if self.results && !is_error && !summary.trim().is_empty() {
                    line.push_str(&format!(" → {}", one_line(summary)));
                }
                if *is_error { self.style.failure(&line) } else { self.style.dim(&line) }
            }
            Shown::Notice { level, source, text } => {
                let line = self.notice(*level, source, text)?;
                // Each session of a bundle has the same to say of it.
                let again = *source == "bundle" && !state.told.insert(line.clone());
                if again && !own {
                    return None;
                }
                line
            }
            Shown::ChildStarted { .. } if !own && self.tools => {
                self.style.dim(&format!("began as session {}", origin.session))
            }
            Shown::ChildEnded { outcome } if !own && (self.tools || state.leaving) => self.end(outcome),
            _ => return None,
        };
        Some(format!("{mark}{line}"))
    }

    fn end(&self, outcome: &SessionOutcome) -> String {
        let took = rounded(Duration::from_millis(outcome.duration_ms));
        let line = format!("{} ({took})", outcome.kind.as_str());
        match &outcome.error {
            Some(error) if !outcome.is_completed() => {
                self.style.failure(&format!("{line}: {}", plain(&error.message)))
            }
            _ => self.style.dim(&line),
        }
    }

    fn notice(&self, level: NoticeLevel, source: &str, text: &str) -> Option<String> {
        // Errors of providers name their provider themselves.
        let text = plain(text.strip_prefix(source).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(text));
        Some(match level {
            // A foreman tells who works and what comes of it; nothing else does.
            NoticeLevel::Info if self.verbose || self.tools || source == "foreman" => {
                self.style.dim(&format!("{source}: {text}"))
            }
            NoticeLevel::Info => return None,
            NoticeLevel::Warning => self.style.warning(&format!("warning: {source}: {text}")),
            _ => self.style.failure(&format!("error: {source}: {text}")),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Names a sub-session; of several of one name the later ones are numbered.
    fn name(&mut self, origin: &Origin, name: &str, depth: u32) {
        let depth = depth.saturating_sub(self.depth).max(1);
        let before = self.children.get(&origin.session).map(|child| child.name.clone());
        let name = before.unwrap_or_else(|| {
            let name = plain(name).into_owned();
            let count = self.names.entry(name.clone()).or_default();
            *count += 1;
            if *count == 1 { name } else { format!("{name}#{count}") }
        });
        self.children.insert(origin.session.clone(), Child { name, depth });
    }

    /// What stands in front of a sub-session's line. One that is not named yet is being made.
    fn mark(&self, origin: &Origin) -> String {
        match self.children.get(&origin.session) {
            Some(child) => format!("{}[{}] ", "  ".repeat(child.depth as usize), child.name),
            None => "  [sub-session] ".to_owned(),
        }
    }
}

/// Three digits of a duration are enough for a person.
pub fn rounded(took: Duration) -> String {
    let took = if took.as_secs() >= 10 { Duration::from_secs(took.as_secs()) } else { took };
    duration::format(took)
}

/// The tool, and what it is asked.
pub fn call_line(call: &ToolCall) -> String {
    let argument = argument(&call.arguments);
    let space = if argument.is_empty() { "" } else { " " };
    format!("{}{space}{argument}", plain(&call.name))
}

fn tool_line(call: &ToolCall, summary: &str, is_error: bool, took: Duration) -> String {
    let mut line = format!("· {} ({})", call_line(call), rounded(took));
    if is_error {
        line.push_str(&format!(" failed: {}", one_line(summary)));
    }
    line
}

/// The first argument that says what the call is about.
fn argument(arguments: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let first = arguments.as_object().and_then(|map| map.values().find_map(text));
    one_line(&first.unwrap_or_default())
}

fn one_line(text: &str) -> String {
    let mut line: String = plain(text.lines().next().unwrap_or_default()).into_owned();
    let more = text.lines().count() > 1;
    if line.chars().count() > MAX_ARGUMENT || more {
        line = line.chars().take(MAX_ARGUMENT).collect();
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use amplifier_core::{Activation, OutcomeKind};
    use serde_json::json;

    use super::*;

    fn progress() -> Progress {
        let state = Mutex::default();
        Progress { style: Style::of(false), tools: true, results: false, verbose: false, state }
    }

    fn origin(session: &str, parent: Option<&str>) -> Origin {
        let id = |text: &str| SessionId::new(text).unwrap();
        Origin { session: id(session), parent: parent.map(id) }
    }

    #[test]
    fn a_tool_line_says_what_how_long_and_what_failed() {
        let check = |arguments: Value, summary: &str, is_error: bool, millis: u64, expect: &str| {
            let call = ToolCall::new("1", "bash", arguments);
            assert_eq!(tool_line(&call, summary, is_error, Duration::from_millis(millis)), expect);
        };
        check(json!({"command": "ls"}), "a", false, 12, "· bash ls (12ms)");
        check(json!({"command": "ls\nrm"}), "a", false, 12_345, "· bash ls… (12s)");
        check(json!({}), "no\u{1b}[2J such", true, 1_005, "· bash (1s5ms) failed: no[2J such");
        check(json!({"x": [1], "n": 7}), "", false, 0, "· bash 7 (0s)");
    }

    #[test]
    fn sub_sessions_are_indented_and_marked_with_their_names() {
        let progress = progress();
        let (root, a, b, c) =
            (origin("r", None), origin("a", Some("r")), origin("b", Some("r")), origin("c", Some("a")));
        let tool = ToolCall::new("1", "bash", json!({"command": "ls"}));
        let ran = || Shown::ToolEnded { call: &tool, summary: "", is_error: false, took: Duration::ZERO };
        let started = |agent, depth| Shown::ChildStarted { agent, bundle: "kit", depth };
        let line = |origin: &Origin, shown: Shown<'_>| progress.line(origin, &shown);
        assert_eq!(line(&root, ran()).as_deref(), Some("· bash ls (0s)"));
        assert_eq!(
            line(&a, started(Some("explorer"), 1)).as_deref(),
            Some("  [explorer] began as session a")
        );
        line(&b, started(Some("explorer"), 1));
        line(&c, started(None, 2));
        assert_eq!(line(&a, ran()).as_deref(), Some("  [explorer] · bash ls (0s)"));
        assert_eq!(line(&b, ran()).as_deref(), Some("  [explorer#2] · bash ls (0s)"));
        assert_eq!(line(&c, ran()).as_deref(), Some("    [kit] · bash ls (0s)"));
        let mut outcome = SessionOutcome::new(OutcomeKind::Completed, Activation::FIRST, "", None);
        outcome.duration_ms = 1_500;
        let end = line(&a, Shown::ChildEnded { outcome: &outcome });
        assert_eq!(end.as_deref(), Some("  [explorer] completed (1s500ms)"));
        assert_eq!(line(&root, Shown::ChildEnded { outcome: &outcome }), None, "its end is the result");
    }

    #[test]
    fn what_many_sessions_say_of_a_bundle_is_told_once() {
        let progress = progress();
        let (root, a, b) = (origin("r", None), origin("a", Some("r")), origin("b", Some("r")));
        let said = |origin: &Origin, source: &str, text: &str| {
            progress.line(origin, &Shown::Notice { level: NoticeLevel::Warning, source, text }).is_some()
        };
        assert!(said(&root, "bundle", "x is left out") && !said(&a, "bundle", "x is left out"));
        assert!(said(&a, "bundle", "y is left out") && !said(&b, "bundle", "y is left out"));
        assert!(said(&a, "p", "slow down") && said(&b, "p", "slow down"));
    }
}
