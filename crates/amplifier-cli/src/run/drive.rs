//! A session from its request to its exit code, with signals, a reader that goes away, and modules
//! that do not stop.
//!
//! Guarantees: the first signal is graceful, the second immediate; SIGTERM becomes immediate by
//! itself after [`TERM_GRACE`]; after an immediate stop the process ends within [`GIVE_UP`].

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{CancelLevel, CancelToken, Clock, MonoTime, SessionOutcome};
use amplifier_core::{CancelReason, SessionId};
use amplifier_foundation::{Host, Shutdown, SpawnResult, spawn_bundle};

use super::prompt::Prompt;
use super::request::{self, Asked};
use super::signals::Signals;
use crate::approve;
use crate::args::run::RunArgs;
use crate::context::Context;
use crate::exit::{Code, Failure, Signalled, code_of};
use crate::output::{self, Ended, Facts, Output, Style};

/// How long running tools may take after SIGTERM.
const TERM_GRACE: Duration = Duration::from_secs(5);

/// How long a session may take to settle after an immediate stop.
const GIVE_UP: Duration = Duration::from_secs(12);

/// Runs the session; the exit code.
pub(super) async fn drive(
    args: &RunArgs,
    prompt: Prompt,
    context: &Context,
    mut signals: Signals,
    output: &Arc<dyn Output>,
) -> Result<Code, Failure> {
    let asked = CancelToken::new();
    let approver = approve::approver(&asked);
    let can_ask = approver.can_answer();
    let builder = context.builder(args.options.strict).display(Arc::clone(output) as Arc<_>);
    let host = builder.approver(approver).open(context.cwd()).await;
    let host = host.map_err(|error| Failure::config(&error))?;
    let began = tokio::select! {
        // A session that has begun is never told to be none.
        biased;
        began = begin(args, prompt, context, (&host, can_ask), output) => began,
        signal = signals.next() => Err(not_begun(signal)),
    };
    let (facts, result) = match began {
        Ok(began) => began,
        Err(failure) => {
            host.shutdown(Shutdown::Now).await;
            return Err(failure);
        }
    };
    let mut watch = Watch::new(Arc::clone(host.clock()), result, asked);
    let outcome = watch.wait(&mut signals, output).await;
    let signal = watch.signal;
    host.shutdown(Shutdown::Now).await;
    match outcome {
        Some(outcome) => Ok(end(args, &watch.result, facts, &outcome, signal, output)),
        None => Err(stuck(watch.result.id(), signal)),
    }
}

async fn begin(
    args: &RunArgs,
    prompt: Prompt,
    context: &Context,
    (host, can_ask): (&Host, bool),
    output: &Arc<dyn Output>,
) -> Result<(Facts, SpawnResult), Failure> {
    let Asked { request, facts } = request::ask(args, prompt, context, host, can_ask).await?;
    output.prepare(facts.clone());
    let result = spawn_bundle(host, request).await?;
    output.begin();
    if facts.scripted {
        output::say("notice: provider scripted answers from a script; no model is asked");
    }
    Ok((facts, result))
}

/// A session that runs, and how far it was asked to stop.
struct Watch {
    clock: Arc<dyn Clock>,
    result: SpawnResult,
    /// Ends questions to the person at the terminal.
    asked: CancelToken,
    level: CancelLevel,
    signal: Option<Signalled>,
    /// When the next level is due.
    due: Option<MonoTime>,
}

impl Watch {
    fn new(clock: Arc<dyn Clock>, result: SpawnResult, asked: CancelToken) -> Self {
        Self { clock, result, asked, level: CancelLevel::None, signal: None, due: None }
    }

    /// The outcome; `None` if the session does not stop.
    async fn wait(&mut self, signals: &mut Signals, output: &Arc<dyn Output>) -> Option<Arc<SessionOutcome>> {
        let mut gone = false;
        loop {
            let due = self.due.map(|due| self.clock.sleep_until(due));
            let escalation = async {
                match due {
                    Some(due) => due.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                outcome = self.result.outcome() => return Some(outcome),
                signal = signals.next() => self.signalled(signal),
                () = escalation => match self.level {
                    CancelLevel::Immediate => return None,
                    _ => self.stop_now(),
                },
                () = output.stdout().closed(), if !gone => {
                    gone = true;
                    self.stop_gracefully(None);
                }
            }
        }
    }

    fn signalled(&mut self, signal: Signalled) {
        let first = self.signal.is_none();
        self.signal.get_or_insert(signal);
        match (first, signal) {
            (true, Signalled::Interrupt) => {
                output::say("stopping once running tools are done; Ctrl+C again stops at once");
                self.stop_gracefully(None);
            }
            (true, Signalled::Terminate) => self.stop_gracefully(Some(TERM_GRACE)),
            (false, _) => self.stop_now(),
        }
    }

    fn stop_gracefully(&mut self, within: Option<Duration>) {
        self.asked.cancel(CancelLevel::Graceful, CancelReason::Requested);
        self.result.task().cancel(CancelLevel::Graceful);
        if self.level != CancelLevel::Immediate {
            self.level = CancelLevel::Graceful;
            self.due = within.map(|within| self.clock.monotonic().saturating_add(within));
        }
    }

    fn stop_now(&mut self) {
        self.asked.cancel(CancelLevel::Immediate, CancelReason::Requested);
        self.result.task().cancel(CancelLevel::Immediate);
        if self.level != CancelLevel::Immediate {
            self.level = CancelLevel::Immediate;
            self.due = Some(self.clock.monotonic().saturating_add(GIVE_UP));
        }
    }
}

/// A signal before there was a session.
pub(super) fn not_begun(signal: Signalled) -> Failure {
    Failure::usage("stopped before the session began").code(signal.code(), "cancelled")
}

fn stuck(id: &SessionId, signal: Option<Signalled>) -> Failure {
    let code = signal.map_or(Code::Failed, Signalled::code);
    Failure::usage(format!("session {id} did not stop and was left; its transcript so far is kept"))
        .code(code, "stuck")
        .help(resume_hint(id))
}

/// Tells the result; the exit code.
fn end(
    args: &RunArgs,
    result: &SpawnResult,
    mut facts: Facts,
    outcome: &SessionOutcome,
    signal: Option<Signalled>,
    output: &Arc<dyn Output>,
) -> Code {
    facts.model = result.session().model();
    let mut code = code_of(outcome, signal);
    if let Some(file) = &args.options.output_last_message
        && let Err(failure) = super::write_answer(file, &outcome.output)
    {
        failure.report();
        code = if code == Code::Success { Code::Failed } else { code };
    }
    output.end(&Ended { facts: &facts, outcome, code });
    tell_end(result.id(), outcome, code);
    code
}

/// What a person wants to know of the end: why, and how to go on.
fn tell_end(id: &SessionId, outcome: &SessionOutcome, code: Code) {
    let style = Style::stderr();
    if let Some(error) = outcome.error.as_ref().filter(|_| !outcome.is_completed()) {
        output::say(&style.failure(&format!("error: {}", output::plain(&error.message))));
    }
    if outcome.is_completed() && outcome.denied_unasked {
        output::say(&style.warning("warning: a permission was needed and nobody could be asked"));
        output::say("help: allow it in the settings, or choose another --permission-mode");
    }
    if outcome.unrecorded {
        output::say(&style.failure("error: the end of the session could not be written to disk"));
    }
    if code == Code::Success && style.is_for_people() {
        output::say(&style.dim(&format!("session {id}")));
    }
    if code != Code::Success {
        output::say(&format!("session {id} is kept; {}", resume_hint(id)));
    }
}

fn resume_hint(id: &SessionId) -> String {
    format!("go on with: amplifier run --resume {id} \"…\"")
}
