//! A session from its request to its exit code, with signals, a reader that goes away, modules that do
//! not stop, and background sessions that are left.
//!
//! Guarantees: there is one result, after the last background session has ended or was given up.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use amplifier_app::chat::{Goal, GoalEnd, pursue};
use amplifier_app::detach::Owner;
use amplifier_app::terminal::Signals;
use amplifier_core::CancelToken;
use amplifier_foundation::{Host, HostBuilder, Shutdown, SpawnResult, spawn_bundle};

use super::end::{Left, end, stuck};
use super::owner;
use super::parent::{self, Parent};
use super::prompt::Prompt;
use super::request::{self, Asked};
use super::watch::Watch;
use crate::approve;
use crate::args::run::RunArgs;
use crate::context::Context;
use crate::exit::{Code, Failure, Signalled};
use crate::output::{self, Facts, Output};

/// How long background sessions are waited for, where nothing else is said.
const DRAIN: Duration = Duration::from_secs(10 * 60);

/// Runs the session; the exit code.
pub(super) async fn drive(
    args: &RunArgs,
    mut prompt: Prompt,
    context: &Context,
    mut signals: Signals,
    output: &Arc<dyn Output>,
    mut owner: Option<&mut Owner>,
) -> Result<Code, Failure> {
    let goal = goal_of(&mut prompt)?;
    let asked = CancelToken::new();
    let approver = approve::approver(&asked);
    let can_ask = approver.can_answer();
    // Of the host too: a session may have others work that are not below it.
    let permissions = context.permissions(&request::directories(&args.options.add_dir, context)?, can_ask)?;
    let builder = || {
        let builder = context.builder(args.options.strict).permissions(permissions.clone());
        builder.display(Arc::clone(output) as Arc<_>).approver(Arc::clone(&approver))
    };
    let open = |dir| open(builder(), dir);
    let mut host = open(context.cwd()).await?;
    let parent = match &args.parent_session {
        Some(text) => Some(parent::find(text, &host).await?),
        None => None,
    };
    if let Some(Parent { elsewhere: Some(dir), .. }) = &parent {
        host = open(dir).await?;
    }
    let began = tokio::select! {
        // A session that has begun is never told to be none.
        biased;
        began = begin(args, (prompt, goal.is_some()), context, (&host, can_ask), parent, output) => began,
        signal = signals.next() => Err(not_begun(signal)),
    };
    let (mut facts, result) = match began {
        Ok(began) => began,
        Err(failure) => {
            host.shutdown(Shutdown::Now).await;
            return Err(failure);
        }
    };
    let mut watch = Watch::new(&host, result, asked, output);
    let forever = owner.is_some();
    if let Some(owner) = &mut owner {
        owner::recorded(owner, &mut watch, args)?;
    }
    let pursued = goal.map(|goal| tokio::spawn(pursue(goal, host.clone(), watch.result.clone())));
    let outcome = watch.wait(&mut signals).await;
    if let (Some(pursued), true) = (pursued, outcome.is_some()) {
        facts.goal = pursued.await.ok().map(|(goal, end)| goal_told(&goal, &end));
    }
    let told = match (&outcome, owner) {
        (Some(outcome), Some(owner)) if owner::lets_go(args, &watch) => {
            let code = end(args, &watch, facts.clone(), outcome, Left::GoOn, output.as_ref());
            owner::let_go(owner, &watch, code)?;
            Some(code)
        }
        _ => None,
    };
    if outcome.is_some() {
        let drain = if forever { None } else { Some(DRAIN) };
        let within = args.options.drain_timeout.map_or(drain, |within| Some(within.0));
        watch.leave(args.options.on_exit, within, &mut signals).await;
    }
    host.shutdown(Shutdown::Now).await;
    match (outcome, told) {
        (_, Some(code)) => Ok(code),
        (Some(outcome), None) => Ok(end(args, &watch, facts, &outcome, Left::Ended, output.as_ref())),
        (None, None) => Err(stuck(watch.result.id(), watch.signal)),
    }
}

/// A host for a project.
async fn open(builder: HostBuilder, dir: &Path) -> Result<Host, Failure> {
    builder.open(dir).await.map_err(|error| Failure::config(&error))
}

/// The goal that the prompt sets; the prompt is then that of its first turn.
fn goal_of(prompt: &mut Prompt) -> Result<Option<Goal>, Failure> {
    let Some(goal) = Goal::of_prompt(&prompt.typed) else { return Ok(None) };
    let goal = goal.map_err(Failure::usage)?;
    prompt.typed = goal.first();
    Ok(Some(goal))
}

/// Tells how a goal has ended; its words for who asks for the result, and its code.
fn goal_told(goal: &Goal, end: &GoalEnd) -> (String, Code) {
    let told = goal.told(end);
    output::say(&told);
    (told, end.code())
}

async fn begin(
    args: &RunArgs,
    (prompt, has_goal): (Prompt, bool),
    context: &Context,
    (host, can_ask): (&Host, bool),
    parent: Option<Parent>,
    output: &Arc<dyn Output>,
) -> Result<(Facts, SpawnResult), Failure> {
    if let Some(parent) = &parent {
        parent::confirm(parent, host).await?;
    }
    let parent = parent.map(|parent| parent.id);
    let Asked { mut request, facts } = request::ask(args, prompt, context, (host, can_ask), parent).await?;
    if has_goal {
        request = request.keep_open();
    }
    output.prepare(facts.clone());
    let result = spawn_bundle(host, request).await?;
    output.begin();
    if facts.scripted {
        output::say("notice: provider scripted answers from a script; no model is asked");
    }
    Ok((facts, result))
}

/// A signal before there was a session.
pub(super) fn not_begun(signal: Signalled) -> Failure {
    Failure::usage("stopped before the session began").code(signal.code(), "cancelled")
}
