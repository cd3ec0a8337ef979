//! The issues of a file, one JSON object a line, in the order in which they are worked on.
//!
//! Guarantees: everything that is wrong with a file is told at once, with line and what to do, and
//! then there is no list. In a list every id is there once, every dependency of an open issue is in
//! it, and none depends on itself. Its order is the same each time: what an issue depends on stands
//! before it, then priority counts, then the order of the file.
//! Never here: writing the file.

use std::fmt;
use std::path::Path;

use amplifier_bundle::bundle::{Code, Diagnostic, Position, Severity};
use amplifier_core::IssueId;
use amplifier_fs::read::{self, ReadError};
use serde_json::{Map, Value};

use crate::graph;
use crate::model::Issue;
use crate::parse;

/// Largest file of issues, in bytes.
pub const MAX_FILE_BYTES: u64 = 16 << 20;
/// Most issues of one list.
pub const MAX_ISSUES: usize = 10_000;
/// Most faults that are listed for one file.
const MAX_DIAGNOSTICS: usize = 1_000;

/// Why there is no list of issues. Nothing should run then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssuesError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file holds what cannot be worked on: at least one of these is an error.
    #[error("{}", Lines(diagnostics))]
    Faults {
        /// Everything that was noticed, in the order of the file.
        diagnostics: Vec<Diagnostic>,
    },
}

struct Lines<'a>(&'a [Diagnostic]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            write!(f, "{}{diagnostic}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// Issues that can be worked on, in that order.
#[derive(Debug, Clone)]
pub struct IssueList {
    issues: Vec<Issue>,
    warnings: Vec<Diagnostic>,
}

/// A line as far as it could be read.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Counted from 1.
    pub(crate) line: u32,
    /// Known of a line with other faults too.
    pub(crate) id: Option<IssueId>,
    pub(crate) issue: Option<Issue>,
    /// The line says its id.
    pub(crate) is_named: bool,
}

impl IssueList {
    /// Reads a file; empty lines mean nothing. An issue without id is named after its line: `issue-3`.
    pub fn read(path: &Path) -> Result<Self, IssuesError> {
        let (text, _) = read::text(path, MAX_FILE_BYTES)?;
        Self::parse(&text, path)
    }

    /// As [`IssueList::read`], of a text that was read already; `path` is named in faults.
    pub fn parse(text: &str, path: &Path) -> Result<Self, IssuesError> {
        let mut notes = Notes::new(path);
        let drafts = drafts(text, &mut notes);
        Self::of(drafts, notes)
    }

    /// Issues that a program has made; faults name places in `issues`, counted from 1.
    pub fn new(issues: impl IntoIterator<Item = Issue>) -> Result<Self, IssuesError> {
        let draft = |(line, issue): (u32, Issue)| Draft {
            line,
            id: Some(issue.id.clone()),
            issue: Some(issue),
            is_named: true,
        };
        let drafts = (1..).zip(issues).take(MAX_ISSUES + 1).map(draft).collect();
        Self::of(drafts, Notes::new(Path::new("issues")))
    }

    fn of(drafts: Vec<Draft>, mut notes: Notes<'_>) -> Result<Self, IssuesError> {
        too_many(&drafts, &mut notes);
        let order = graph::order(&drafts, &mut notes);
        let diagnostics = notes.finish();
        let (Some(order), false) = (order, diagnostics.iter().any(Diagnostic::is_error)) else {
            return Err(IssuesError::Faults { diagnostics });
        };
        let mut issues: Vec<Option<Issue>> = drafts.into_iter().map(|draft| draft.issue).collect();
        let issues = order.into_iter().filter_map(|at| issues.get_mut(at)?.take()).collect();
        Ok(Self { issues, warnings: diagnostics })
    }

    /// All issues in the order in which they are worked on, those that are done too.
    pub fn issues(&self) -> &[Issue] {
        &self.issues
    }

    /// What was noticed and did not hinder, to be shown once.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }
}

/// The lines of a text, as far as they can be read; empty ones mean nothing.
pub(crate) fn drafts(text: &str, notes: &mut Notes<'_>) -> Vec<Draft> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines.take(MAX_ISSUES + 1).map(|(number, line)| draft(number, line, notes)).collect()
}

/// Reports ids that are there twice, and more issues than a list may have.
pub(crate) fn same_ids(drafts: &[Draft], notes: &mut Notes<'_>) {
    too_many(drafts, notes);
    graph::known(drafts, notes);
}

fn too_many(drafts: &[Draft], notes: &mut Notes<'_>) {
    if let Some(over) = drafts.get(MAX_ISSUES) {
        let message = format!("more than {MAX_ISSUES} issues");
        notes.add(Severity::Error, Code::BadValue, over.line, message, "split the file");
    }
}

/// What is amiss in a file.
pub(crate) struct Notes<'a> {
    path: &'a Path,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Notes<'a> {
    pub(crate) fn new(path: &'a Path) -> Self {
        Self { path, diagnostics: Vec::new() }
    }
}

impl Notes<'_> {
    pub(crate) fn error(
        &mut self,
        code: Code,
        line: u32,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Error, code, line, message, help);
    }

    pub(crate) fn add(
        &mut self,
        severity: Severity,
        code: Code,
        line: u32,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.at(severity, code, Position { line, column: 1 }, message, help);
    }

    fn at(
        &mut self,
        severity: Severity,
        code: Code,
        at: Position,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let diagnostic = Diagnostic::new(severity, code, self.path, message);
        self.diagnostics.push(diagnostic.at(at).help(help));
    }

    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.position);
        let more = self.diagnostics.len().saturating_sub(MAX_DIAGNOSTICS);
        if more > 0 {
            let worst = self.diagnostics.iter().map(|diagnostic| diagnostic.severity).max();
            self.diagnostics.truncate(MAX_DIAGNOSTICS);
            let message = format!("{more} more faults are not listed");
            let last = Diagnostic::new(worst.unwrap_or(Severity::Error), Code::BadValue, self.path, message);
            self.diagnostics.push(last.help("mend those above first"));
        }
        self.diagnostics
    }
}

fn draft(line: u32, text: &str, notes: &mut Notes<'_>) -> Draft {
    let mut draft = Draft { line, id: None, issue: None, is_named: true };
    let Some(mut map) = object(line, text, notes) else { return draft };
    if map.get("id").is_none_or(Value::is_null) {
        draft.is_named = false;
        map.insert("id".to_owned(), Value::String(format!("issue-{line}")));
    }
    draft.id = parse::id_of(&map);
    match parse::issue(map) {
        Ok(issue) => {
            for (key, meant) in parse::misspelled(&issue) {
                let message = format!("`{key}` means nothing here and is kept as it is");
                let help = format!("did you mean `{meant}`?");
                notes.add(Severity::Warning, Code::UnknownKey, line, message, help);
            }
            draft.issue = Some(issue);
        }
        Err(invalid) => {
            for fault in invalid.faults {
                notes.error(fault.code, line, fault.message, fault.help);
            }
        }
    }
    draft
}

fn object(line: u32, text: &str, notes: &mut Notes<'_>) -> Option<Map<String, Value>> {
    const HELP: &str = "write one JSON object a line, with `title` at least";
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => return Some(map),
        Ok(_) => notes.error(Code::WrongType, line, "this is JSON, but no object", HELP),
        Err(error) => {
            let before = text.get(..error.column().saturating_sub(1)).unwrap_or(text).chars().count();
            let at = Position { line, column: u32::try_from(before + 1).unwrap_or(u32::MAX) };
            let reason = error.to_string();
            // Without the place, which is that in the line alone.
            let reason = reason.split(" at line ").next().unwrap_or_default();
            let message = format!("this is no JSON: {reason}");
            notes.at(Severity::Error, Code::Syntax, at, message, HELP);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<IssueList, IssuesError> {
        IssueList::parse(&lines.join("\n"), Path::new("i.jsonl"))
    }

    /// An issue in short: `a` or `a>b,c` for one that depends on others, `a!0` with a priority.
    fn short(text: &str) -> String {
        let (head, needs) = text.split_once('>').unwrap_or((text, ""));
        let (id, priority) = head.split_once('!').unwrap_or((head, "2"));
        let needs: Vec<&str> = needs.split(',').filter(|need| !need.is_empty()).collect();
        let needs = serde_json::json!(needs);
        format!("{{\"id\":\"{id}\",\"title\":\"{id}\",\"priority\":{priority},\"depends_on\":{needs}}}")
    }

    fn order(issues: &str) -> Vec<String> {
        let lines: Vec<String> = issues.split(' ').map(short).collect();
        let list = read(&lines.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        list.issues().iter().map(|issue| issue.id.to_string()).collect()
    }

    fn faults(lines: &[&str]) -> Vec<String> {
        match read(lines) {
            Err(IssuesError::Faults { diagnostics }) => {
                diagnostics.iter().map(Diagnostic::to_string).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn faults_of(issues: &str) -> Vec<String> {
        let lines: Vec<String> = issues.split(' ').map(short).collect();
        faults(&lines.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn dependencies_come_first_then_priority_then_place() {
        let check = |issues: &str, expect: &[&str]| assert_eq!(order(issues), expect, "{issues}");
        check("a b c", &["a", "b", "c"]);
        check("a!4 b!0 c b2!0", &["b", "b2", "c", "a"]);
        check("a>c b!3 c!4", &["b", "c", "a"]);
        check("a!0>b b!4>c c!4 d", &["d", "c", "b", "a"]);
        check("a>b,c b>d c>d d", &["d", "b", "c", "a"]);
    }

    #[test]
    fn every_bad_line_is_told_with_its_place_and_what_to_do() {
        let found = faults(&[
            "\u{feff}{\"title\":\"fine\"}",
            "",
            "{\"title\":\"ä\", oops}",
            "[1]",
            "{\"id\":\"x\",\"priority\":9,\"type\":\"bug\"}",
            "{\"id\":\"y\",\"title\":\"y\",\"depends_on\":[\"x\",\"nowhere\"]}",
        ]);
        let expect = [
            "i.jsonl:3:15: error: this is no JSON: key must be a string\n  help: write one JSON object a line, with `title` at least",
            "i.jsonl:4:1: error: this is JSON, but no object\n  help: write one JSON object a line, with `title` at least",
            "i.jsonl:5:1: error: `title` is missing\n  help: say in one line what is to be done",
            "i.jsonl:5:1: error: `priority` is 9\n  help: give a whole number from 0 (first) to 4 (last)",
            "i.jsonl:6:1: error: `y` depends on `nowhere`, which is not there\n  help: add that issue, or take it out of `depends_on`",
        ];
        assert_eq!(found, expect);
    }

    #[test]
    fn an_id_is_there_once_also_one_that_was_made_of_a_line() {
        let found = faults(&["{\"id\":\"issue-2\",\"title\":\"a\"}", "{\"title\":\"b\"}"]);
        let expect = "i.jsonl:2:1: error: the id `issue-2` is taken by line 1\n  help: give each issue an id of its own";
        assert_eq!(found, [expect]);
        assert_eq!(faults_of("a b a a").len(), 2);
    }

    #[test]
    fn each_cycle_is_told_once_with_its_ids() {
        let check = |issues: &str, expect: &[&str]| {
            let found = faults_of(issues);
            assert_eq!(found.len(), expect.len(), "{issues}: {found:#?}");
            for (found, expect) in found.iter().zip(expect) {
                assert!(found.contains(expect), "{issues}: {found}");
            }
        };
        check("a>a", &["i.jsonl:1:1: error: `a` depends on itself: a → a"]);
        check("a>b b>c c>a", &["`a` depends on itself: a → b → c → a"]);
        // Who only leads into a cycle is not told as one.
        check("x>b a>c b>a c>b", &["i.jsonl:2:1: error: `a` depends on itself: a → c → b → a"]);
        check("a>b b>a c>d d>c e>a,c", &["a → b → a", "c → d → c"]);
    }

    #[test]
    fn what_a_done_issue_depended_on_does_not_matter() {
        let list = read(&[
            "{\"id\":\"a\",\"title\":\"a\",\"status\":\"closed\",\"depends_on\":[\"b\",\"gone\"]}",
            "{\"id\":\"b\",\"title\":\"b\",\"depends_on\":[\"a\"]}",
        ]);
        assert_eq!(list.unwrap().issues().len(), 2);
    }

    #[test]
    fn an_id_may_be_left_out_and_a_key_that_looks_wrong_is_a_warning() {
        let list = read(&["{\"title\":\"a\"}", "{\"id\":null,\"title\":\"b\",\"body\":\"x\"}"]).unwrap();
        let ids: Vec<&str> = list.issues().iter().map(|issue| issue.id.as_str()).collect();
        assert_eq!(ids, ["issue-1", "issue-2"]);
        let warnings: Vec<String> = list.warnings().iter().map(Diagnostic::to_string).collect();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("i.jsonl:2:1: warning: `body` means nothing here"), "{warnings:?}");
        assert!(warnings[0].ends_with("did you mean `description`?"), "{warnings:?}");
    }

    #[test]
    fn lists_and_their_faults_are_bounded() {
        let many: Vec<Issue> =
            (0..=MAX_ISSUES).map(|n| Issue::new(IssueId::new(n.to_string()).unwrap(), "t", "")).collect();
        assert_eq!(IssueList::new(many[1..].to_vec()).unwrap().issues().len(), MAX_ISSUES);
        let error = IssueList::new(many).unwrap_err().to_string();
        assert!(error.contains("more than 10000 issues"), "{error}");
        let found = faults(&vec!["{"; 1_500]);
        assert_eq!(found.len(), 1_001);
        assert!(found[1_000].contains("500 more faults are not listed"), "{}", found[1_000]);
    }

    #[test]
    fn a_long_chain_and_a_large_cycle_end() {
        let chain = |last: &str| {
            let issue = |n: usize| match n {
                9_999 => format!("9999{last}"),
                n => format!("{n}>{}", n + 1),
            };
            (0..10_000).map(issue).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(order(&chain(""))[0], "9999");
        assert_eq!(faults_of(&chain(">0")).len(), 1);
    }
}
