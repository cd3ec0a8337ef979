//! One run of an agent: from its start to its end, or to what stands in the way of one.
//!
//! Guarantees: an agent that says nothing for too long, is asked to stop, or goes over a limit is interrupted, has
//! [`GRACE`] to tell what it has, and is then ended with its tree; so is what it leaves behind. A line that is
//! no JSON, or too long, is told and skipped.

use std::ffi::OsString;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amplifier_core::Price;
use amplifier_core::budget::BudgetRefusal;
use amplifier_core::limits::{LimitKind, LimitReached};
use amplifier_core::module::provider::{ProviderError, ProviderErrorKind};
use amplifier_core::turn::{Turn, TurnError};
use amplifier_core::until::until;
use amplifier_foundation::process::Processes;
use amplifier_sandbox::{Capture, Enforced, Program, Request, RunError, Running, Variables, start};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::claude::Claude;
use super::codex::Codex;
use super::config::{Config, Kind};
use super::event::{End, Event, Fault};
use super::failure;
use super::lines::{Line, Lines};
use super::own::Settings;
use super::prompt::Prompt;
use super::record::Recorder;
use super::stance::{self, Stance};

/// How long an agent that was interrupted may go on.
const GRACE: Duration = Duration::from_secs(10);
/// How long an agent that has told its end may take to be gone.
const LEAVE: Duration = Duration::from_secs(5);
/// How long output is waited for once the agent itself is gone.
const DRAIN: Duration = Duration::from_secs(1);
/// How long the agent may take to be started.
const START: Duration = Duration::from_secs(60);
/// Lines that are told because they cannot be read; more are counted.
const TOLD: u64 = 3;

/// A run.
pub(super) struct Run<'a, 't> {
    pub(super) turn: &'a Turn<'t>,
    pub(super) config: &'a Config,
    pub(super) price: Option<Price>,
    pub(super) prompt: &'a Prompt,
    pub(super) processes: &'a Arc<Processes>,
}

/// Which format is read.
enum Format {
    Claude(Claude),
    Codex(Codex),
}

/// Why no more lines are read.
enum Stopped {
    Ended(Box<End>),
    /// The output is at its end.
    Gone,
    Cancelled,
    Silent(Duration),
    /// A limit, the storage.
    Failed(TurnError),
}

/// Lines that could not be read.
#[derive(Default)]
struct Unread {
    lines: u64,
    last: String,
}

impl Run<'_, '_> {
    /// Runs the agent. The answer's text; `None` if it has said nothing, as it does not know its session.
    pub(super) async fn drive(
        &self,
        argv: Vec<OsString>,
        stance: Stance,
    ) -> Result<Option<String>, TurnError> {
        let clock = &self.turn.env().clock;
        let settings = Settings::now(self.turn, self.config.kind);
        let mut running = self.start(argv, stance).await?;
        let agent = (self.config.kind, self.turn.model().or(self.config.model.as_deref()));
        let mut recorder = Recorder::new(self.turn, agent, self.price, self.prompt.before.as_ref());
        if running.enforced() == Enforced::TcpOnly {
            recorder.notice("only TCP is closed to it: this kernel has no seccomp");
        }
        let errors = Arc::new(Mutex::new(Capture::default()));
        let listening = running.take_errors().map(|pipe| tokio::spawn(keep(pipe, Arc::clone(&errors))));
        let telling = running.take_input().map(|pipe| tokio::spawn(tell(pipe, self.prompt.text.clone())));
        let mut unread = Unread::default();
        let stopped = self.listen(&mut running, &mut recorder, &mut unread).await;
        if matches!(stopped, Stopped::Ended(_)) {
            until(running.wait(), clock.sleep(LEAVE)).await;
        }
        let status = running.end(clock.as_ref()).await;
        if matches!(stance, Stance::Plan | Stance::Sandboxed) {
            self.tell_changes(&settings, &recorder);
        }
        telling.inspect(|telling| telling.abort());
        if let Some(listening) = listening {
            until(listening, clock.sleep(DRAIN)).await;
        }
        let errors = std::mem::take(&mut *errors.lock().unwrap_or_else(PoisonError::into_inner)).into_text();
        match stopped {
            Stopped::Ended(end) => {
                let settled = recorder.settle(&end);
                self.outcome(*end, &recorder, settled)
            }
            Stopped::Gone if self.prompt.before.is_some() && failure::is_unknown_session(&errors) => {
                self.unknown_session(&recorder)
            }
            Stopped::Gone => Err(self.without_end(status, &errors, &unread)),
            Stopped::Cancelled => Err(TurnError::Cancelled),
            Stopped::Silent(span) => Err(self.silent(span)),
            Stopped::Failed(error) => Err(error),
        }
    }

    /// Tells what an agent in the sandbox has done to its own settings.
    fn tell_changes(&self, before: &Settings, recorder: &Recorder<'_, '_>) {
        let changed = before.changed(&Settings::now(self.turn, self.config.kind));
        if !changed.is_empty() {
            let names: Vec<String> = changed.iter().take(5).map(|path| path.display().to_string()).collect();
            let more = changed.len().saturating_sub(names.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            recorder.notice(&format!(
                "it has changed its own settings, which it heeds outside of the sandbox too; look at {}{more}",
                names.join(", ")
            ));
        }
    }

    async fn start(&self, argv: Vec<OsString>, stance: Stance) -> Result<Running, TurnError> {
        let env = self.turn.env();
        let tree = self.processes.begin().map_err(|closed| self.failed(RunError::from(closed)))?;
        let mut variables = Variables::of_child(env, &self.config.env_passthrough, &tree.mark())
            // An agent that was started by another one of its kind would refuse to run.
            .without("CLAUDECODE");
        for name in &self.config.env_passthrough {
            if let Some(value) = env.variables.get(name) {
                variables = variables.with(name, value);
            }
        }
        let request = Request {
            program: Program::Argv(argv),
            cwd: env.cwd.clone(),
            variables,
            confinement: stance::confinement(self.turn, stance, self.config.kind),
            timeout: START,
        };
        start(request, tree, env.clock.as_ref()).await.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: RunError) -> TurnError {
        match error {
            RunError::Unavailable(unavailable) => {
                TurnError::Denied { hook: "the sandbox".into(), reason: unavailable.to_string() }
            }
            error => {
                let message = format!("{} failed: {}", self.name(), amplifier_core::causes::chain(&error));
                TurnError::Module { module: super::ID.to_owned(), message }
            }
        }
    }

    async fn listen(
        &self,
        running: &mut Running,
        recorder: &mut Recorder<'_, '_>,
        unread: &mut Unread,
    ) -> Stopped {
        let env = self.turn.env();
        let Some(output) = running.take_output() else { return Stopped::Gone };
        let (mut lines, mut format) = (Lines::new(output), self.format());
        let mut patience = self.config.start_timeout;
        let mut deadline = env.clock.monotonic().saturating_add(patience);
        let (mut stopping, mut gone) = (None, false);
        loop {
            let next = tokio::select! {
                biased;
                () = env.cancel.cancelled(), if stopping.is_none() => {
                    stopping = Some(Stopped::Cancelled);
                    running.interrupt();
                    deadline = env.clock.monotonic().saturating_add(GRACE);
                    continue;
                }
                line = lines.next() => line,
                () = env.clock.sleep_until(deadline) => {
                    return stopping.unwrap_or(if gone { Stopped::Gone } else { Stopped::Silent(patience) });
                }
                _ = running.wait(), if !gone => {
                    gone = true;
                    deadline = env.clock.monotonic().saturating_add(DRAIN);
                    continue;
                }
            };
            let at_end = next.is_none();
            let events = match next {
                None => format.flush().into_iter().collect(),
                Some(Line::Whole(line)) => format.read(&line).unwrap_or_else(|| unread.note(&line, recorder)),
                Some(Line::TooLong(length)) => unread.note_length(length, recorder),
            };
            match self.record(recorder, events).await {
                Ok(Some(end)) => return stopping.unwrap_or(Stopped::Ended(end)),
                Ok(None) if at_end => return stopping.unwrap_or_else(|| self.gone(&mut format)),
                Ok(None) => {}
                Err(error) if stopping.is_none() => {
                    // What it was saying is kept, and it may put its own things in order.
                    let _ = self.record(recorder, format.flush().into_iter().collect()).await;
                    running.interrupt();
                    until(running.wait(), env.clock.sleep(LEAVE)).await;
                    return Stopped::Failed(error);
                }
                Err(_) => {}
            }
            env.activity.progress();
            if stopping.is_none() && !gone {
                patience = self.config.silence_timeout;
                deadline = env.clock.monotonic().saturating_add(patience);
            }
        }
    }

    async fn record(
        &self,
        recorder: &mut Recorder<'_, '_>,
        events: Vec<Event>,
    ) -> Result<Option<Box<End>>, TurnError> {
        let mut end = None;
        for event in events {
            end = recorder.take(event).await?.map(Box::new).or(end);
        }
        Ok(end)
    }

    fn format(&self) -> Format {
        match self.config.kind {
            Kind::Claude => Format::Claude(Claude::default()),
            Kind::Codex => {
                let run = self.turn.env().ids.v4().simple().to_string();
                Format::Codex(Codex::new(run.chars().take(8).collect()))
            }
        }
    }

    /// The output ended without the agent's end; an error that it told is the reason.
    fn gone(&self, format: &mut Format) -> Stopped {
        let Format::Codex(codex) = format else { return Stopped::Gone };
        match codex.last_error() {
            Some(message) => Stopped::Ended(Box::new(End {
                fault: Some(Fault::Failed { kind: failure::kind(&message), message }),
                ..End::default()
            })),
            None => Stopped::Gone,
        }
    }

    fn name(&self) -> &'static str {
        self.config.kind.name()
    }

    fn outcome(
        &self,
        end: End,
        recorder: &Recorder<'_, '_>,
        settled: Result<(), TurnError>,
    ) -> Result<Option<String>, TurnError> {
        match end.fault {
            None => {
                let text = end.text.filter(|text| !text.is_empty());
                Ok(Some(text.unwrap_or_else(|| recorder.last_text().to_owned())))
            }
            Some(Fault::Turns) => Err(self.turns(recorder.calls()).into()),
            Some(Fault::Budget) => Err(settled.err().unwrap_or_else(|| self.budget())),
            Some(Fault::UnknownSession) => self.unknown_session(recorder),
            Some(Fault::Failed { kind, message }) => Err(self.failure(kind, &message)),
        }
    }

    /// Its limit of calls, which was what ours had left, or is in its own settings.
    fn turns(&self, calls: u64) -> LimitReached {
        let own = || LimitReached::new(LimitKind::Turns, calls, calls, format!("{} itself", self.name()));
        self.turn.call_limit().unwrap_or_else(own)
    }

    /// Its own limit of cost, which was what ours had left.
    fn budget(&self) -> TurnError {
        let left = self.turn.budget_left().micro_usd;
        let set_by = format!("what {} was given", self.name());
        BudgetRefusal { what: "cost", set_by, limit: left, used: left, wanted: 0 }.into()
    }

    fn unknown_session(&self, recorder: &Recorder<'_, '_>) -> Result<Option<String>, TurnError> {
        let name = self.name();
        match self.prompt.before.as_ref().and_then(|mark| mark.session_id.as_deref()) {
            Some(session) if !recorder.has_said() => {
                recorder.notice(&format!(
                    "does not know its session {session} any more; it begins anew and is told the conversation so far"
                ));
                Ok(None)
            }
            _ => {
                let message = "does not know its own session";
                Err(ProviderError::new(name, ProviderErrorKind::Invalid, message).into())
            }
        }
    }

    fn failure(&self, kind: ProviderErrorKind, message: &str) -> TurnError {
        let told = failure::last_line(message);
        let message = match kind {
            ProviderErrorKind::Auth => format!("is not logged in ({told}); {}", self.config.kind.log_in()),
            _ => told.to_owned(),
        };
        ProviderError::new(self.name(), kind, message).into()
    }

    fn silent(&self, span: Duration) -> TurnError {
        let seconds = span.as_secs();
        let message = format!(
            "said nothing for {seconds} s and was ended; see `silence_timeout` and `start_timeout` in the config of {}",
            super::ID
        );
        ProviderError::new(self.name(), ProviderErrorKind::StreamCut, message).into()
    }

    fn without_end(&self, status: Option<ExitStatus>, errors: &str, unread: &Unread) -> TurnError {
        let told = failure::last_line(errors);
        let kind = match failure::kind(told) {
            ProviderErrorKind::Other if status.is_some_and(|status| status.success()) => {
                ProviderErrorKind::StreamCut
            }
            kind => kind,
        };
        if kind == ProviderErrorKind::Auth {
            return self.failure(kind, told);
        }
        let how = status.map_or_else(|| "and was killed".to_owned(), |status| format!("({status})"));
        let mut message = format!("ended without a result {how}");
        if !told.is_empty() {
            message.push_str(&format!(": {told}"));
        } else if unread.lines > 0 {
            message
                .push_str(&format!("; {} lines could not be read, the last: {}", unread.lines, unread.last));
        }
        ProviderError::new(self.name(), kind, message).into()
    }
}

impl Format {
    /// What a line tells; nothing of an empty one. `None`: it is none of the format.
    fn read(&mut self, line: &[u8]) -> Option<Vec<Event>> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Some(Vec::new());
        }
        let line: Value = serde_json::from_slice(line).ok()?;
        match self {
            Self::Claude(claude) => claude.read(&line),
            Self::Codex(codex) => codex.read(&line),
        }
    }

    fn flush(&mut self) -> Option<Event> {
        match self {
            Self::Claude(claude) => claude.flush(),
            Self::Codex(codex) => codex.flush(),
        }
    }
}

impl Unread {
    fn note(&mut self, line: &[u8], recorder: &Recorder<'_, '_>) -> Vec<Event> {
        let text = String::from_utf8_lossy(&line[..line.len().min(400)]).replace('\0', "␀");
        let shown: String = text.trim().chars().take(120).collect();
        self.count(shown, recorder);
        Vec::new()
    }

    fn note_length(&mut self, length: u64, recorder: &Recorder<'_, '_>) -> Vec<Event> {
        self.count(format!("a line of {length} bytes"), recorder);
        Vec::new()
    }

    fn count(&mut self, what: String, recorder: &Recorder<'_, '_>) {
        self.lines += 1;
        if self.lines <= TOLD {
            let more = if self.lines == TOLD { "; further ones are not told" } else { "" };
            recorder.notice(&format!("left out, not of its format: {what}{more}"));
        }
        self.last = what;
    }
}

/// Writes the prompt, and closes the input.
async fn tell(mut pipe: Sender, text: String) {
    // An agent that reads none of it says so by its end.
    let _ = pipe.write_all(text.as_bytes()).await;
}

/// Reads errors to their end.
async fn keep(mut pipe: Receiver, onto: Arc<Mutex<Capture>>) {
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(len @ 1..) = pipe.read(&mut buffer).await {
        onto.lock().unwrap_or_else(PoisonError::into_inner).push(&buffer[..len]);
    }
}
