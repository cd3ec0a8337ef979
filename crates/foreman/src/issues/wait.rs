//! `foreman wait`: until issues are at their end.
//!
//! Guarantees: an issue that ends before, while or after one begins to wait is seen; nothing is asked of the
//! store while nothing happens. A question that an issue waits for is told, with what to type.

use std::io::IsTerminal;
use std::time::Duration;

use amplifier_app::command::runs::figures::cut;
use amplifier_app::terminal::{Signals, Stdout, Style, print, say, table};
use amplifier_core::IssueId;
use amplifier_foundation::router::{EventFilter, Events};
use amplifier_foundation::settings::duration::HumanDuration;
use amplifier_issue::queue::IssueView;
use amplifier_issue::{IssueStatus, QueuedIssue};

use super::Queue;
use super::list::standing;
use crate::args::issue::WaitArgs;
use crate::exit::{Code, Failure};

/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
/// Width of a bar of progress, in characters.
const BAR: usize = 24;
/// Characters of a result or question that people are shown.
const TEXT: usize = 100;

/// Waits for issues.
pub(super) async fn wait(args: &WaitArgs, queue: &Queue) -> Result<Code, Failure> {
    until_done(&args.ids, args.timeout, args.json, queue).await
}

/// The events of this project's issues from now on.
pub(super) async fn events(queue: &Queue) -> Result<Events, Failure> {
    let router = queue.host.router();
    let filter = EventFilter::try_from("issue_*").map_err(|error| Failure::work(&error))?;
    let from = router.tail().await.map_err(|error| Failure::work(&error))?;
    router.subscribe_from(from, filter).await.map_err(|error| Failure::work(&error))
}

/// True if nobody will work on it any more unless somebody says so.
pub(super) fn is_over(issue: &QueuedIssue) -> bool {
    issue.issue.status.is_done() || issue.issue.status == IssueStatus::Failed
}

/// Waits until all are over; prints each as it is. The exit code tells whether all are done.
pub(super) async fn until_done(
    ids: &[IssueId],
    within: Option<HumanDuration>,
    as_json: bool,
    queue: &Queue,
) -> Result<Code, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::work(&error))?;
    // Before the first look, so that nothing is missed between the two.
    let mut events = events(queue).await?;
    let mut seen = Seen::new(ids, as_json);
    let clock = queue.host.clock();
    let end = clock.monotonic().saturating_add(within.map_or(FOR_EVER, |within| within.0));
    loop {
        seen.look(queue).await?;
        if seen.open.is_empty() {
            return Ok(seen.end());
        }
        tokio::select! {
            biased;
            signal = signals.next() => return Ok(signal.code()),
            () = seen.stdout.closed() => return Ok(Code::Success),
            () = clock.sleep_until(end) => return Err(late(&seen)),
            next = events.next() => if next.is_none() {
                return Err(Failure::usage("the log of events has ended").code(Code::Failed, "failed"));
            },
        }
    }
}

fn late(seen: &Seen) -> Failure {
    let open: Vec<&str> = seen.open.iter().map(IssueId::as_str).collect();
    let message = format!("not done within the time (--timeout): {}", open.join(", "));
    Failure::usage(message).code(Code::TimedOut, "timed_out")
}

/// What was seen of the issues that are waited for.
struct Seen {
    stdout: Stdout,
    style: Style,
    json: bool,
    /// In the order in which they were named.
    all: Vec<IssueId>,
    open: Vec<IssueId>,
    over: Vec<QueuedIssue>,
    /// What was told of each last.
    told: Vec<(IssueId, String)>,
}

impl Seen {
    fn new(ids: &[IssueId], json: bool) -> Self {
        let mut open: Vec<IssueId> = Vec::new();
        for id in ids {
            if !open.contains(id) {
                open.push(id.clone());
            }
        }
        let style = Style::of(std::io::stderr().is_terminal());
        let (all, over, told) = (open.clone(), Vec::new(), Vec::new());
        Self { stdout: Stdout::new(), style, json, all, open, over, told }
    }

    async fn look(&mut self, queue: &Queue) -> Result<(), Failure> {
        for id in std::mem::take(&mut self.open) {
            let issue = match queue.issues.get(&id).await {
                Ok(issue) => issue,
                Err(error) => return Err(queue.refused(error).await),
            };
            self.tell(&issue);
            match is_over(&issue) {
                true => self.ended(issue)?,
                false => self.open.push(id),
            }
        }
        self.progress();
        Ok(())
    }

    /// Tells where an issue stands, once.
    fn tell(&mut self, issue: &QueuedIssue) {
        let (id, stands) = (&issue.issue.id, standing(issue));
        let known = self.told.iter_mut().find(|(told, _)| told == id);
        match known {
            Some((_, before)) if *before == stands => return,
            Some((_, before)) => before.clone_from(&stands),
            None => self.told.push((id.clone(), stands.clone())),
        }
        self.clear();
        let question = issue.details.question.as_deref().unwrap_or_default();
        match issue.issue.status {
            IssueStatus::PendingUserInput => {
                say(&self.style.warning(&format!("{id} asks: {}", cut(question, 4 * TEXT))));
                say(&format!("answer it: foreman issue answer {id} \"…\""));
            }
            IssueStatus::Blocked => {
                let notes = issue.details.blocking_notes.as_deref().unwrap_or_default();
                say(&self.style.warning(&format!("{id}: {stands}: {}", cut(notes, 4 * TEXT))));
            }
            IssueStatus::Failed => say(&self.style.failure(&format!("{id}: {stands}"))),
            _ => say(&self.style.dim(&format!("{id}: {stands}"))),
        }
    }

    fn ended(&mut self, issue: QueuedIssue) -> Result<(), Failure> {
        if self.json {
            let line = serde_json::to_string(&IssueView::from(issue.clone()));
            self.stdout.write(&format!("{}\n", line.map_err(|error| Failure::work(&error))?));
        }
        self.over.push(issue);
        Ok(())
    }

    /// A bar on a terminal, in the last line.
    fn progress(&self) {
        if self.style.is_for_people() && self.all.len() > 1 {
            let (over, all) = (self.over.len(), self.all.len());
            let full = BAR * over / all.max(1);
            let bar: String = (0..BAR).map(|at| if at < full { '#' } else { '.' }).collect();
            eprint_line(&format!("\r[{bar}] {over} of {all}"));
            if self.open.is_empty() {
                say("");
            }
        }
    }

    fn clear(&self) {
        if self.style.is_for_people() && self.all.len() > 1 {
            eprint_line("\r\u{1b}[K");
        }
    }

    fn end(mut self) -> Code {
        let place = |issue: &QueuedIssue| self.all.iter().position(|id| *id == issue.issue.id);
        self.over.sort_by_key(place);
        if !self.json {
            let row = |issue: &QueuedIssue| {
                let said = issue.details.result.as_deref().or(issue.details.reason.as_deref());
                [issue.issue.id.to_string(), standing(issue), cut(said.unwrap_or("-"), TEXT)]
            };
            let rows: Vec<[String; 3]> = self.over.iter().map(row).collect();
            let printed = print(&table(["ISSUE", "STATUS", "RESULT"], &rows));
            if printed != Code::Success {
                return printed;
            }
        }
        match self.over.iter().all(|issue| issue.issue.status.is_done()) {
            true => self.stdout.code(Code::Success),
            false => Code::Abandoned,
        }
    }
}

fn eprint_line(text: &str) {
    use std::io::Write;
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}
