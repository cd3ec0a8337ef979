//! What is told at the end of a run, and its exit code.

use amplifier_core::{OutcomeKind, SessionId, SessionOutcome};
use amplifier_foundation::spawn::{ChildSummary, TreeOutcome};

use super::watch::Watch;
use crate::args::run::RunArgs;
use crate::exit::{Code, Failure, Signalled, Tree, code_of};
use crate::output::{self, Ended, Facts, Output, Style};

/// What becomes of background sessions that still run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// None should.
    Ended,
    /// They go on without the run.
    GoOn,
}

/// Tells the result; the exit code.
pub(super) fn end(
    args: &RunArgs,
    watch: &Watch<'_>,
    mut facts: Facts,
    outcome: &SessionOutcome,
    left: Left,
    output: &dyn Output,
) -> Code {
    let result = &watch.result;
    facts.model = result.session().model();
    facts.session = Some(result.id().clone());
    let tree = result.tree(outcome);
    let told = Tree { abandoned: abandoned(&tree, left).next().is_some(), ..Tree::from(&tree) };
    let mut code = code_of(outcome, told, watch.signal);
    if let (Code::Success, Some((_, of_goal))) = (code, &facts.goal) {
        code = *of_goal;
    }
    if let Some(file) = &args.options.output_last_message
        && let Err(failure) = super::write_answer(file, &outcome.output)
    {
        failure.report();
        code = if code == Code::Success { Code::Failed } else { code };
    }
    output.end(&Ended { facts: &facts, outcome, tree: &tree, code });
    tell(result.id(), outcome, (&tree, left), code);
    code
}

/// The descendants of which nobody took care.
fn abandoned(tree: &TreeOutcome, left: Left) -> impl Iterator<Item = &ChildSummary> {
    tree.abandoned().filter(move |child| left == Left::Ended || child.outcome.is_some())
}

/// A session that was left though it still runs.
pub(super) fn stuck(id: &SessionId, signal: Option<Signalled>) -> Failure {
    let code = signal.map_or(Code::Failed, Signalled::code);
    Failure::usage(format!("session {id} did not stop and was left; its transcript so far is kept"))
        .code(code, "stuck")
        .help(resume_hint(id))
}

/// What a person wants to know of the end: why, and how to go on.
fn tell(id: &SessionId, outcome: &SessionOutcome, (tree, left): (&TreeOutcome, Left), code: Code) {
    let style = Style::stderr();
    if let Some(error) = outcome.error.as_ref().filter(|_| !outcome.is_completed()) {
        output::say(&style.failure(&format!("error: {}", output::plain(&error.message))));
    }
    if outcome.is_completed() && tree.denied_unasked {
        output::say(&style.warning("warning: a permission was needed and nobody could be asked"));
        output::say("help: allow it in the settings, or choose another --permission-mode");
    }
    if outcome.unrecorded {
        output::say(&style.failure("error: the end of the session could not be written to disk"));
    }
    tell_abandoned(abandoned(tree, left).collect(), style);
    if left == Left::GoOn {
        tell_running(tree);
    }
    if code == Code::Success && style.is_for_people() {
        output::say(&style.dim(&format!("session {id}")));
    }
    if code != Code::Success {
        output::say(&format!("session {id} is kept; {}", resume_hint(id)));
    }
}

/// The descendants of which nobody took care, with how they ended.
fn tell_abandoned(abandoned: Vec<&ChildSummary>, style: Style) {
    let Some(first) = abandoned.first() else { return };
    let what = match abandoned.len() {
        1 => "a background session was left, or failed with nobody waiting".to_owned(),
        more => format!("{more} background sessions were left, or failed with nobody waiting"),
    };
    output::say(&style.failure(&format!("error: {what}:")));
    for child in &abandoned {
        let kind = child.outcome.map_or("running", OutcomeKind::as_str);
        let name = child.agent.as_deref().unwrap_or(&child.bundle);
        output::say(&format!("  {}  {}  {kind}", child.id, output::plain(name)));
    }
    output::say(&format!("help: look at it with: amplifier session show {} -T", first.id));
}

/// The descendants that go on without the run.
fn tell_running(tree: &TreeOutcome) {
    let running: Vec<&ChildSummary> = tree.children.iter().filter(|child| child.outcome.is_none()).collect();
    let Some(first) = running.first() else { return };
    output::say(&match running.len() {
        1 => "a background session goes on:".to_owned(),
        more => format!("{more} background sessions go on:"),
    });
    for child in &running {
        let name = child.agent.as_deref().unwrap_or(&child.bundle);
        output::say(&format!("  {}  {}", child.id, output::plain(name)));
    }
    output::say(&format!("help: wait for it with: amplifier session wait {}", first.id));
}

fn resume_hint(id: &SessionId) -> String {
    format!("go on with: amplifier run --resume {id} \"…\"")
}
