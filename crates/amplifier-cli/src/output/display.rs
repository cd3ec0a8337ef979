//! Progress for people: what tools do, and notices, on stderr.
//!
//! Guarantees: warnings and errors are always told; tool lines only on a terminal or with
//! `--verbose`. Text that somebody else wrote is made harmless first.

use std::io::IsTerminal;
use std::time::Duration;

use amplifier_core::ToolCall;
use amplifier_core::approval::{NoticeLevel, Origin, Shown};
use amplifier_foundation::settings::duration;
use serde_json::Value;

use super::{Style, plain, say};

/// Longest argument that a tool line shows, in characters.
const MAX_ARGUMENT: usize = 60;

/// Writes progress to stderr.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    style: Style,
    tools: bool,
    verbose: bool,
}

impl Progress {
    /// For this process's stderr.
    pub(super) fn new(verbose: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { style: Style::of(terminal), tools: terminal || verbose, verbose }
    }

    /// Tells what a person would want to know.
    pub(super) fn show(&self, origin: &Origin, shown: &Shown<'_>) {
        let indent = if origin.parent.is_some() { "  " } else { "" };
        match shown {
            Shown::ToolEnded { call, summary, is_error, took } if self.tools => {
                let line = tool_line(call, summary, *is_error, *took);
                let line = if *is_error { self.style.failure(&line) } else { self.style.dim(&line) };
                say(&format!("{indent}{line}"));
            }
            Shown::Notice { level, source, text } => self.notice(*level, source, text),
            _ => {}
        }
    }

    fn notice(&self, level: NoticeLevel, source: &str, text: &str) {
        // Errors of providers name their provider themselves.
        let text = plain(text.strip_prefix(source).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(text));
        match level {
            NoticeLevel::Info if self.verbose || self.tools => {
                say(&self.style.dim(&format!("{source}: {text}")))
            }
            NoticeLevel::Info => {}
            NoticeLevel::Warning => say(&self.style.warning(&format!("warning: {source}: {text}"))),
            _ => say(&self.style.failure(&format!("error: {source}: {text}"))),
        }
    }
}

fn tool_line(call: &ToolCall, summary: &str, is_error: bool, took: Duration) -> String {
    let mut line = format!("· {}", plain(&call.name));
    let argument = argument(&call.arguments);
    if !argument.is_empty() {
        line.push_str(&format!(" {argument}"));
    }
    // Three digits of a duration are enough for a person.
    let took = if took.as_secs() >= 10 { Duration::from_secs(took.as_secs()) } else { took };
    line.push_str(&format!(" ({})", duration::format(took)));
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
    use serde_json::json;

    use super::*;

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
}
