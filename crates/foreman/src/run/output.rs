//! What a run tells: results on stdout, progress on stderr.
//!
//! Guarantees: each issue is told once when it ends; warnings of sessions are told with the issue that
//! they belong to; text that somebody else wrote is made harmless first.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use amplifier_app::terminal::{Code, Stdout, Style, chain, plain, say};
use amplifier_core::SessionId;
use amplifier_core::approval::{Display, NoticeLevel, Origin, Shown};
use amplifier_crew::issue::{IssueId, IssueProgress, IssueResult, IssueState, RunReport};
use amplifier_foundation::settings::duration;

use super::{json, text};
use crate::exit::Failure;

/// Longest title that a line shows, in characters.
pub(crate) const MAX_TITLE: usize = 40;

/// Where a run tells what happens.
#[derive(Debug)]
pub(crate) struct Output {
    style: Style,
    stdout: Stdout,
    json: bool,
    // Held for one look-up; never across an await.
    sessions: Mutex<HashMap<SessionId, IssueId>>,
    // Held likewise. Bundles in which a script answers.
    scripted: Mutex<HashSet<String>>,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            style: Style::stderr(),
            stdout: Stdout::new(),
            json,
            sessions: Mutex::default(),
            scripted: Mutex::default(),
        }
    }

    /// In sessions of this bundle a script answers. Told once, whatever the number of bundles.
    pub(crate) fn scripted(&self, bundle: &str) {
        let mut scripted = self.scripted.lock().unwrap_or_else(PoisonError::into_inner);
        if scripted.is_empty() {
            say("notice: provider scripted answers from a script; no model is asked");
        }
        scripted.insert(bundle.to_owned());
    }

    fn is_scripted(&self, bundle: Option<&str>) -> bool {
        let scripted = self.scripted.lock().unwrap_or_else(PoisonError::into_inner);
        bundle.is_some_and(|bundle| scripted.contains(bundle))
    }

    /// Something has happened.
    pub(crate) fn progress(&self, progress: &IssueProgress<'_>) {
        match progress {
            IssueProgress::Starting { issue, session } => {
                let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
                sessions.insert((*session).clone(), issue.id.clone());
                drop(sessions);
                let title = shortened(&issue.title);
                say(&self
                    .style
                    .dim(&format!("{}: begun, session {session}: {title}", plain(issue.id.as_str()))));
            }
            IssueProgress::Ended(result) => self.ended(result),
            _ => {}
        }
    }

    fn ended(&self, result: &IssueResult) {
        let line = format!("{}: {}", plain(result.issue.as_str()), told(result));
        let line = match &result.state {
            IssueState::Failed(_) => self.style.failure(&line),
            IssueState::Blocked { .. } | IssueState::Cancelled => self.style.warning(&line),
            _ => self.style.dim(&line),
        };
        say(&line);
        if result.tree.as_ref().is_some_and(|tree| tree.denied_unasked) {
            let id = plain(result.issue.as_str());
            let line = format!("warning: {id}: a permission was needed and nobody could be asked");
            say(&self.style.warning(&line));
        }
        if self.json {
            let scripted = result.session.is_some() && self.is_scripted(result.bundle.as_deref());
            self.stdout.write(&json::issue(result, scripted));
        }
    }

    /// The run is over; the exit code tells whether its result could be written.
    pub(crate) fn end(&self, report: &RunReport, code: Code) -> Code {
        match self.json {
            true => self.stdout.write(&json::summary(report, code)),
            false => self.stdout.write(&text::table(report)),
        }
        say(&text::summary(report));
        if let Some(hint) = text::hint(report) {
            say(&hint);
        }
        self.stdout.code(code)
    }

    /// There was no run; stderr was told.
    pub(crate) fn refuse(&self, failure: &Failure) {
        if self.json {
            self.stdout.write(&json::refusal(failure));
        }
    }

    /// Where results go.
    pub(crate) fn stdout(&self) -> &Stdout {
        &self.stdout
    }

    /// Enters a child that speaks for the first time: it works on its parent's issue.
    fn enter(&self, origin: &Origin) {
        let Some(parent) = &origin.parent else { return };
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if !sessions.contains_key(&origin.session)
            && let Some(issue) = sessions.get(parent).cloned()
        {
            sessions.insert(origin.session.clone(), issue);
        }
    }

    /// The issue that a session works on.
    fn issue_of(&self, session: &SessionId) -> Option<IssueId> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).get(session).cloned()
    }
}

impl Display for Output {
    fn show(&self, origin: &Origin, shown: Shown<'_>) {
        self.enter(origin);
        let Shown::Notice { level, source, text } = shown else { return };
        let whose = self
            .issue_of(&origin.session)
            .map(|issue| format!("{}: ", plain(issue.as_str())))
            .unwrap_or_default();
        // Errors of providers name their provider themselves.
        let text = text.strip_prefix(source).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(text);
        let line = format!("{whose}{source}: {}", plain(text));
        match level {
            NoticeLevel::Info => {}
            NoticeLevel::Warning => say(&self.style.warning(&format!("warning: {line}"))),
            _ => say(&self.style.failure(&format!("error: {line}"))),
        }
    }
}

/// How an issue came out, and why.
fn told(result: &IssueResult) -> String {
    let word = result.outcome_name();
    match &result.state {
        IssueState::Failed(error) => format!("{word}: {}", plain(&chain(error))),
        IssueState::Blocked { by } => format!("{word}, because {} was not completed", plain(by.as_str())),
        IssueState::Skipped(status) => format!("{word}, it is {}", status.as_str()),
        _ => match &result.outcome {
            Some(outcome) => format!("{word} in {}", duration::format(text::time(outcome))),
            None => word.to_owned(),
        },
    }
}

/// A title in one line that is not too long.
pub(crate) fn shortened(title: &str) -> String {
    let line: Vec<&str> = title.split_whitespace().collect();
    let line = line.join(" ");
    let line = plain(&line);
    match line.chars().count() > MAX_TITLE {
        true => line.chars().take(MAX_TITLE - 1).chain(['…']).collect(),
        false => line.into_owned(),
    }
}
