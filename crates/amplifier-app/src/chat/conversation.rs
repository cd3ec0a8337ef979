//! A conversation: one session after the other is asked, until somebody leaves.
//!
//! Guarantees: a failed turn ends no conversation. Ctrl+C stops the turn, a second one at once; SIGTERM, a closed
//! terminal and the end of the input end it all. The session has its end then, unless it takes longer than
//! [`GIVE_UP`], and can be gone on with in any case.
//! Never here: what is shown, and what a slash command does.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::approval::Display;
use amplifier_core::until::until;
use amplifier_core::{CancelLevel, Role, SessionId, Usage};
use amplifier_foundation::spawn::SpawnResult;
use amplifier_foundation::storage::{self, ProjectScope};
use amplifier_foundation::{Host, Shutdown, SpawnRequest, spawn_bundle};
use amplifier_modules::orchestrator::foreman::Interrupt;

use super::command::{self, Said};
use super::editor::Entry;
use super::input::{Input, Line};
use crate::exit::Failure;
use crate::terminal::{Code, Signalled, Signals, Style, chain, say};

/// How long a session may take to end after it was stopped at once.
pub const GIVE_UP: Duration = Duration::from_secs(12);

/// How often a display that moves is drawn.
const FRAME: Duration = Duration::from_millis(120);

/// Which session the next message begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beginning {
    /// One of this bundle.
    New(String),
    /// One that there is.
    Resume(SessionId),
}

impl Beginning {
    /// The session that there is, or the one that an id, or the beginning of one, names.
    pub async fn resume(host: &Host, text: &str) -> Result<Self, Failure> {
        let found = storage::resolve_prefix(host.storage().as_ref(), text, ProjectScope::default()).await?;
        Ok(Self::Resume(found.id))
    }

    /// The request for it.
    pub fn request(&self, text: String) -> SpawnRequest {
        match self {
            Self::New(bundle) => SpawnRequest::new(bundle.as_str(), text),
            Self::Resume(id) => SpawnRequest::resume(id.clone(), text),
        }
        .background(true)
        .keep_open()
    }
}

/// Shows a conversation.
pub trait Face: Display {
    /// The session whose answers are shown.
    fn of(&self, session: &SessionId);

    /// A line is wanted.
    fn prompt(&self);

    /// A turn begins.
    fn begin(&self);

    /// Time goes by in a turn. Told every 120 ms, if [`Face::moves`].
    fn tick(&self) {}

    /// True for a display that is drawn again as time goes by.
    fn moves(&self) -> bool {
        false
    }

    /// The turn has ended with an answer, or without.
    fn end(&self, session: &SessionId, answer: Result<&str, &str>, figures: &Figures);

    /// Somebody wants the turn to stop: a question that is open is answered with no.
    fn stop(&self) {}

    /// The conversation is over.
    fn leave(&self);

    /// The exit code, where what was said could not be written.
    fn code(&self, code: Code) -> Code;

    /// The text of a turn that failed stands at the next prompt; false if there is no place for it.
    fn put_back(&self, text: &str) -> bool {
        let _ = text;
        false
    }
}

/// What a turn has used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Tokens of the turn's requests.
    pub input_tokens: u64,
    /// Tokens of its answers.
    pub output_tokens: u64,
    /// What the session and its sub-sessions have cost since it was opened; `None` if that is not known.
    pub micro_usd: Option<u64>,
    /// `provider/model`.
    pub model: Option<String>,
    /// How long the turn took.
    pub took: Duration,
}

/// What the program adds to a conversation.
pub trait Program {
    /// Its slash commands.
    fn commands(&self) -> &'static [Entry];

    /// The request for the session that a message begins.
    fn request(&self, beginning: &Beginning, text: String) -> SpawnRequest;

    /// Does what a slash command says.
    fn command(
        &mut self,
        talk: &mut Conversation,
        name: &'static str,
        rest: &str,
    ) -> impl Future<Output = Result<Next, Failure>>;

    /// A turn is over.
    fn turned(
        &mut self,
        talk: &mut Conversation,
        turned: &Turned,
    ) -> impl Future<Output = Result<Next, Failure>> {
        let _ = (talk, turned);
        std::future::ready(Ok(Next::Line))
    }

    /// What to type to go on with a session.
    fn resume_hint(&self, session: &SessionId) -> String;
}

/// What comes after a slash command or a turn.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// The next line.
    Line,
    /// This is said.
    Say(String),
    /// The conversation ends.
    Leave(Code),
}

/// What comes of a turn.
#[derive(Debug)]
pub enum Turned {
    /// There is an answer.
    Answered(String),
    /// There is none, and why.
    Failed(String),
    /// Somebody stopped it.
    Stopped,
    /// No session began.
    NotBegun(Failure),
    /// The conversation is over.
    Over(Signalled),
}

/// A conversation.
#[derive(Debug)]
pub struct Conversation {
    host: Host,
    face: Arc<dyn Face>,
    signals: Signals,
    session: Option<SpawnResult>,
    /// What the next message begins, while no session is open.
    beginning: Beginning,
    /// A person sits at the terminal: nothing but leaving ends the conversation.
    attended: bool,
}

impl Conversation {
    /// A conversation of which nothing was said yet.
    pub fn new(
        host: Host,
        face: Arc<dyn Face>,
        signals: Signals,
        beginning: Beginning,
        attended: bool,
    ) -> Self {
        Self { host, face, signals, session: None, beginning, attended }
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The session that is open.
    pub fn session(&self) -> Option<&SpawnResult> {
        self.session.as_ref()
    }

    /// The session that is open, or that the next message goes on with.
    pub fn session_id(&self) -> Option<&SessionId> {
        match (&self.session, &self.beginning) {
            (Some(session), _) => Some(session.id()),
            (None, Beginning::Resume(id)) => Some(id),
            (None, Beginning::New(_)) => None,
        }
    }

    /// What the next message begins, if no session is open.
    pub fn beginning(&self) -> &Beginning {
        &self.beginning
    }

    /// The signals that reach the conversation.
    pub fn signals(&mut self) -> &mut Signals {
        &mut self.signals
    }

    /// Ends the session that is open; the next message goes on with it. What it has begun is not waited for.
    pub async fn close(&mut self) {
        let Some(open) = self.session.take() else { return };
        self.beginning = Beginning::Resume(open.id().clone());
        self.ended(&open).await;
    }

    /// The same, and the next message begins something else.
    pub async fn turn_to(&mut self, beginning: Beginning) {
        self.close().await;
        self.beginning = beginning;
    }

    /// The same on another host; what runs on this one is stopped.
    pub async fn move_to(&mut self, host: Host) {
        self.tell_left();
        self.close().await;
        std::mem::replace(&mut self.host, host).shutdown(Shutdown::Now).await;
    }

    /// Tells what is stopped because nobody would wait for it.
    fn tell_left(&self) {
        let left = self.session.iter().flat_map(SpawnResult::descendants);
        match left.filter(|child| child.outcome.is_none()).count() {
            _ if !self.attended => {}
            0 => {}
            1 => say("a background session is stopped"),
            more => say(&format!("{more} background sessions are stopped")),
        }
    }

    /// Talks until one of the two leaves; `first` is said before anything is read. The host is left running.
    pub async fn hold<P: Program>(
        &mut self,
        program: &mut P,
        first: Option<String>,
        input: &mut Input,
    ) -> Result<Code, Failure> {
        let code = self.talk(program, first, input).await;
        self.face.leave();
        self.tell_left();
        if let Some(open) = self.session.take() {
            self.ended(&open).await;
            say(&format!("session {} is kept; go on with: {}", open.id(), program.resume_hint(open.id())));
        } else if let (true, Beginning::Resume(id)) = (self.attended, &self.beginning) {
            say(&format!("session {id} is kept; go on with: {}", program.resume_hint(id)));
        }
        code.map(|code| self.face.code(code))
    }

    async fn talk<P: Program>(
        &mut self,
        program: &mut P,
        mut first: Option<String>,
        input: &mut Input,
    ) -> Result<Code, Failure> {
        loop {
            let text = match first.take() {
                Some(text) => text,
                None => match self.line(input).await {
                    Ok(text) => text,
                    Err(code) => return Ok(code),
                },
            };
            let next = match command::said(&text, program.commands()) {
                Said::Command(name, rest) => program.command(self, name, rest).await,
                Said::Unknown(word, similar) => {
                    let meant = similar.map(|name| format!("; did you mean /{name}?")).unwrap_or_default();
                    say(&format!("there is no /{word}{meant}; /help tells what there is"));
                    Ok(Next::Line)
                }
                Said::Text => Ok(Next::Say(text)),
            };
            let mut next = self.held(next)?;
            while let Next::Say(text) = next {
                next = self.say(program, text).await?;
            }
            if let Next::Leave(code) = next {
                return Ok(code);
            }
        }
    }

    /// The next line; the exit code if none comes.
    async fn line(&mut self, input: &mut Input) -> Result<String, Code> {
        self.face.prompt();
        let line = tokio::select! {
            biased;
            signal = self.signals.next() => return Err(signal.code()),
            line = input.next() => line,
        };
        match line {
            Line::Text(text) => Ok(text),
            Line::End => Err(Code::Success),
            // The terminal is gone, which a signal tells too.
            Line::Broken(_) if self.attended => Err(Signalled::Terminate.code()),
            Line::Broken(error) => {
                say(&format!("error: standard input cannot be read: {error}"));
                Err(Code::Failed)
            }
        }
    }

    /// One turn, and what comes after it.
    async fn say<P: Program>(&mut self, program: &mut P, text: String) -> Result<Next, Failure> {
        let turned = self.turn(program, text.clone()).await;
        match turned {
            Turned::Over(signal) => return Ok(Next::Leave(signal.code())),
            Turned::Failed(_) => self.put_back(&text),
            Turned::NotBegun(_) | Turned::Answered(_) | Turned::Stopped => {}
        }
        let next = program.turned(self, &turned).await;
        match turned {
            Turned::NotBegun(failure) => {
                let next = self.held(Err(failure))?;
                self.put_back(&text);
                Ok(next)
            }
            _ => self.held(next),
        }
    }

    fn put_back(&self, text: &str) {
        if self.face.put_back(text) {
            say(&Style::stderr().dim("what you said stands at the prompt again"));
        }
    }

    /// Where a person sits at the terminal, a failure is told and ends nothing.
    fn held(&self, next: Result<Next, Failure>) -> Result<Next, Failure> {
        match next {
            Err(failure) if self.attended => {
                failure.report();
                Ok(Next::Line)
            }
            next => next,
        }
    }

    /// Says something and waits for the answer.
    pub async fn turn<P: Program>(&mut self, program: &P, text: String) -> Turned {
        self.face.begin();
        if let Some(open) = self.session.clone() {
            let asked = open.session().clone();
            let turn = async move {
                asked.execute(text).await.map(|reply| reply.text).map_err(|error| chain(&error))
            };
            return self.answer(&open, turn).await;
        }
        let request = program.request(&self.beginning, text);
        let spawned = tokio::select! {
            biased;
            spawned = spawn_bundle(&self.host, request) => spawned,
            signal = self.signals.next() => return match signal {
                Signalled::Interrupt if self.attended => Turned::Failed("stopped".to_owned()),
                signal => Turned::NotBegun(not_begun(signal)),
            },
        };
        let open = match spawned {
            Ok(open) => open,
            Err(error) => return Turned::NotBegun(error.into()),
        };
        self.face.of(open.id());
        self.session = Some(open.clone());
        self.answer(&open, first_turn(open.clone())).await
    }

    async fn answer(
        &mut self,
        open: &SpawnResult,
        turn: impl Future<Output = Result<String, String>>,
    ) -> Turned {
        let clock = Arc::clone(self.host.clock());
        let (began, before) = (clock.monotonic(), open.session().usage());
        let mut turn = std::pin::pin!(turn);
        let mut stopped = 0;
        let answer = loop {
            let frame = async {
                match self.face.moves() {
                    true => clock.sleep_until(clock.monotonic().saturating_add(FRAME)).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                answer = &mut turn => break answer,
                signal = self.signals.next() => {
                    stopped += 1;
                    if let Some(over) = self.stop(open, signal, stopped) {
                        self.face.end(open.id(), Err("stopped"), &Figures::default());
                        return Turned::Over(over);
                    }
                }
                () = frame => self.face.tick(),
            }
        };
        let figures = figures(open, &before, clock.monotonic().saturating_since(began));
        let told = answer.as_ref().map(String::as_str).map_err(String::as_str);
        self.face.end(open.id(), told.map_err(|error| if stopped > 0 { "stopped" } else { error }), &figures);
        if stopped > 0 && !is_interruptible(open) {
            self.ended(open).await;
        }
        // One that could not stop a turn alone has ended; the next message opens it again.
        if let Some(ended) = self.session.take_if(|open| open.session().try_outcome().is_some()) {
            self.beginning = Beginning::Resume(ended.id().clone());
        }
        match answer {
            Ok(text) => Turned::Answered(text),
            Err(_) if stopped > 0 => Turned::Stopped,
            Err(error) => Turned::Failed(error),
        }
    }

    /// Somebody wants the turn to stop; the signal if that ends the conversation.
    fn stop(&self, open: &SpawnResult, signal: Signalled, times: u32) -> Option<Signalled> {
        self.face.stop();
        match (signal, times) {
            (Signalled::Interrupt, 1) => {
                let again = if self.attended { "stops at once" } else { "ends the conversation" };
                say(&format!("stopping this turn; Ctrl+C again {again}"));
                match open.session().env().coordinator.capability::<Interrupt>() {
                    Some(interrupt) => interrupt.stop_turn(),
                    None => open.session().cancel(CancelLevel::Graceful),
                }
                None
            }
            (Signalled::Interrupt, 2) if self.attended => {
                say("stopping at once; Ctrl+C again leaves");
                open.session().cancel(CancelLevel::Immediate);
                None
            }
            _ => {
                open.session().cancel(CancelLevel::Immediate);
                Some(signal)
            }
        }
    }

    /// Waits for the end of a session: as long as it takes, but not after a signal.
    async fn ended(&mut self, open: &SpawnResult) {
        let session = open.session().clone();
        let mut end = std::pin::pin!(session.end());
        tokio::select! {
            biased;
            _ = &mut end => return,
            _ = self.signals.next() => session.cancel(CancelLevel::Immediate),
        }
        let clock = self.host.clock();
        let late = clock.sleep_until(clock.monotonic().saturating_add(GIVE_UP));
        if until(end, late).await.is_none() {
            say(&format!("session {} did not stop and is left; its transcript so far is kept", open.id()));
        }
    }
}

/// What a turn has used; `before` is what the session had used when it began.
fn figures(open: &SpawnResult, before: &Usage, took: Duration) -> Figures {
    let (session, after) = (open.session(), open.session().usage());
    Figures {
        input_tokens: after.input_tokens.saturating_sub(before.input_tokens),
        output_tokens: after.output_tokens.saturating_sub(before.output_tokens),
        micro_usd: session.cost_micro_usd().map(|own| own.max(open.tree_usage().micro_usd)),
        model: session.model(),
        took,
    }
}

/// A session whose orchestrator can stop a turn and go on.
fn is_interruptible(open: &SpawnResult) -> bool {
    open.session().env().coordinator.capability::<Interrupt>().is_some()
}

/// A signal before there was a session.
fn not_begun(signal: Signalled) -> Failure {
    Failure { kind: "cancelled", ..Failure::told(signal.code(), "stopped before any session began") }
}

/// The answer to the message with which the session began.
pub async fn first_turn(open: SpawnResult) -> Result<String, String> {
    let session = open.session();
    session.first_turn().await;
    if let Some(failure) = session.first_failure() {
        return Err(failure);
    }
    let messages = session.messages().to_vec();
    let answer = messages.iter().rev().find(|message| message.role == Role::Assistant);
    answer.map(|answer| answer.text()).ok_or_else(|| "the session has ended without an answer".to_owned())
}
