//! What a run writes: results to stdout, everything else to stderr.
//!
//! Guarantees: stdout carries the result alone; each line of a stream is flushed; a reader that
//! went away ends nothing in a panic, [`Stdout::closed`] tells it. Nothing here is decorated
//! unless a person sees it on a terminal.

mod json;
mod stream;
mod text;

use std::path::PathBuf;
use std::sync::Arc;

pub(crate) use amplifier_app::exit::print_json;
use amplifier_app::terminal::Progress;
pub(crate) use amplifier_app::terminal::{Stdout, Style, plain, print, say, table};
use amplifier_core::approval::Display;
use amplifier_core::{Clock, OutcomeKind, SessionId, SessionOutcome};
use amplifier_foundation::spawn::{ChildSummary, TreeOutcome};
pub(crate) use json::cost;
use serde_json::{Value, json};

use crate::args::run::OutputFormat;
use crate::exit::{Code, Failure};

/// What is known of a run before it has an outcome.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// The session.
    pub(crate) session: Option<SessionId>,
    /// Whoever spawned it.
    pub(crate) parent: Option<SessionId>,
    /// The bundle's name.
    pub(crate) bundle: Option<String>,
    /// `provider/model`, once it answered.
    pub(crate) model: Option<String>,
    /// True if a script answers and no model is asked.
    pub(crate) scripted: bool,
    /// True if the answer is JSON that was checked.
    pub(crate) structured: bool,
    /// The working directory.
    pub(crate) cwd: PathBuf,
    /// The permission mode's name.
    pub(crate) permission_mode: &'static str,
    /// How its goal has ended, in words and as an exit code.
    pub(crate) goal: Option<(String, Code)>,
}

/// A run that ended.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    /// What is known of it.
    pub(crate) facts: &'a Facts,
    /// How it ended.
    pub(crate) outcome: &'a SessionOutcome,
    /// The same with its descendants.
    pub(crate) tree: &'a TreeOutcome,
    /// What the process will say.
    pub(crate) code: Code,
}

/// One output format.
pub(crate) trait Output: Display {
    /// What is known before the session begins; nothing is written yet.
    fn prepare(&self, facts: Facts);

    /// The session exists.
    fn begin(&self);

    /// The session has its outcome, and those that it spawned are waited for.
    fn leave(&self);

    /// The session has its outcome.
    fn end(&self, ended: &Ended<'_>);

    /// There is no session, or none that could be waited for; stderr was told.
    fn refuse(&self, failure: &Failure);

    /// Where it writes.
    fn stdout(&self) -> &Stdout;
}

/// The output of a format.
pub(crate) fn open(format: OutputFormat, verbose: bool, clock: Arc<dyn Clock>) -> Arc<dyn Output> {
    let progress = Progress::new(verbose);
    match format {
        OutputFormat::Text => Arc::new(text::Text::new(progress)),
        OutputFormat::Json => Arc::new(json::Json::new(progress, clock, json::Detail::Answer)),
        OutputFormat::JsonTrace => Arc::new(json::Json::new(progress, clock, json::Detail::Trace)),
        OutputFormat::StreamJson => Arc::new(stream::Stream::new(progress, clock)),
    }
}

/// The descendants of a run, as programs see them.
fn children(tree: &TreeOutcome) -> Value {
    let one = |child: &ChildSummary| {
        let outcome = child.outcome.map_or("running", OutcomeKind::as_str);
        json!({ "session_id": child.id, "outcome": outcome })
    };
    tree.children.iter().map(one).collect()
}

/// The answer as a value, of a run whose answer is JSON; `None` for another run. `null` where there is no such answer.
fn structured(ended: &Ended<'_>) -> Option<Value> {
    let value = || serde_json::from_str(&ended.outcome.output).ok().filter(|_| ended.outcome.is_completed());
    ended.facts.structured.then(|| value().unwrap_or(Value::Null))
}
