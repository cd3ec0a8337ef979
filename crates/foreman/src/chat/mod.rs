//! `foreman chat`: a conversation with the foreman, line by line.
//!
//! Guarantees: stdout carries the answers alone, or one JSON object a turn. A failed turn ends no conversation;
//! Ctrl+C stops the turn, a second one ends it all, and so do the end of standard input, `/quit` and SIGTERM. The
//! session is kept and can be gone on with. A crew that the session has started ends with it.
//! Never here: what a turn begins with, and who works; the orchestrator has them.

mod input;
mod output;
mod status;

use std::sync::Arc;

use amplifier_app::context::{self, Context, Program};
use amplifier_app::setup::worth_telling;
use amplifier_app::terminal::{Code, Signalled, Signals, chain, say};
use amplifier_core::turn::RetryPolicy;
use amplifier_core::{AmplifierSession, CancelLevel, Role, SessionId};
use amplifier_foundation::host::SystemClock;
use amplifier_foundation::storage::{self, ProjectScope};
use amplifier_foundation::{Host, Shutdown, SpawnRequest, spawn_bundle};
use amplifier_modules::orchestrator::foreman::Interrupt;

use self::input::{Input, Line};
use self::output::Output;
use crate::args::chat::ChatArgs;
use crate::exit::{Failure, not_begun, unusable};

/// The bundle where none is named. The project's own one of that name is not meant.
const BUILT_IN: &str = "builtin:foreman";
const HELP: &str =
    "/status  how the issues stand\n/help    this\n/quit    ends; so does the end of the input";

/// Talks until one of the two ends it.
pub(crate) fn chat(args: &ChatArgs) -> Result<Code, Failure> {
    let clock = Arc::new(SystemClock::new());
    // Its own session has one tool, which asks for nothing; workers have nobody to ask.
    let context = Context::open(Program::FOREMAN, args.cwd.as_deref(), &args.flags(), clock)?.unattended();
    context.tell_warnings();
    let runtime = context::runtime()?;
    let code = runtime.block_on(talk(args, &context));
    // A standard input that nobody fills must not keep the process.
    runtime.shutdown_background();
    code
}

async fn talk(args: &ChatArgs, context: &Context) -> Result<Code, Failure> {
    let signals = Signals::listen().map_err(|error| Failure::work(&error))?;
    let output = Arc::new(Output::new(args.json));
    let permissions = context.permissions(&[], false)?;
    let builder = context.builder(false).permissions(permissions).limits(context.limits());
    let builder = builder.display(Arc::clone(&output) as Arc<_>);
    let host = builder.open(context.cwd()).await.map_err(|error| Failure::config(&error))?;
    let conversation = Conversation {
        context,
        host: &host,
        output: &output,
        signals,
        input: Input::new(args.prompt.clone()),
        session: None,
    };
    let following = tokio::spawn(status::follow(host.clone()));
    let code = conversation.hold(args).await;
    following.abort();
    host.shutdown(Shutdown::Now).await;
    code.map(|code| output.code(code))
}

struct Conversation<'a> {
    context: &'a Context,
    host: &'a Host,
    output: &'a Arc<Output>,
    signals: Signals,
    input: Input,
    session: Option<AmplifierSession>,
}

/// Which session the next message begins.
enum Beginning {
    /// One of this bundle.
    New(String),
    /// One that there is.
    Resume(SessionId),
}

/// What comes of a turn.
enum Ended {
    /// The conversation goes on.
    Turn,
    /// It is over.
    All(Signalled),
}

impl Conversation<'_> {
    async fn hold(mut self, args: &ChatArgs) -> Result<Code, Failure> {
        let mut beginning = self.beginning(args).await?;
        let mut code = Code::Success;
        loop {
            self.output.prompt();
            let line = tokio::select! {
                biased;
                signal = self.signals.next() => {
                    code = signal.code();
                    break;
                }
                line = self.input.next() => line,
            };
            let text = match line {
                Line::End | Line::Quit => break,
                Line::Empty => continue,
                Line::Help => {
                    say(HELP);
                    continue;
                }
                Line::Status => {
                    status::tell(self.host).await?;
                    continue;
                }
                Line::Unknown(command) => {
                    say(&format!("there is no {command}; /help tells what there is"));
                    continue;
                }
                Line::Broken(error) => {
                    say(&format!("error: standard input cannot be read: {error}"));
                    code = Code::Failed;
                    break;
                }
                Line::Text(text) => text,
            };
            if let Ended::All(signal) = self.turn(text, &beginning).await? {
                code = signal.code();
                break;
            }
            // One that could not stop a turn alone has ended; the next message opens it again.
            if let Some(ended) = self.session.take_if(|session| session.try_outcome().is_some()) {
                beginning = Beginning::Resume(ended.id().clone());
            }
        }
        if let Some(session) = &self.session {
            self.output.leave();
            tokio::select! {
                biased;
                _ = session.end() => {}
                _ = self.signals.next() => session.cancel(CancelLevel::Immediate),
            }
            say(&format!("session {} is kept; go on with: foreman chat --resume {0}", session.id()));
        }
        Ok(code)
    }

    /// Which session is to begin.
    async fn beginning(&self, args: &ChatArgs) -> Result<Beginning, Failure> {
        if let Some(text) = &args.resume {
            let scope = ProjectScope::default();
            let found = storage::resolve_prefix(self.host.storage().as_ref(), text, scope).await?;
            return Ok(Beginning::Resume(found.id));
        }
        let name = args.bundle.as_deref().unwrap_or(BUILT_IN);
        let bundle = self.host.prepare(name).await.map_err(|error| unusable(name, &error))?;
        worth_telling(&bundle.diagnostics).for_each(|diagnostic| say(&diagnostic.to_string()));
        if self.context.is_scripted(&bundle) {
            say(&format!("notice: bundle {name} answers from a script; no model is asked"));
        }
        Ok(Beginning::New(name.to_owned()))
    }

    /// Says something and waits for the answer.
    async fn turn(&mut self, text: String, beginning: &Beginning) -> Result<Ended, Failure> {
        self.output.begin();
        if let Some(session) = self.session.clone() {
            let asked = session.clone();
            let turn = async move {
                asked.execute(text).await.map(|reply| reply.text).map_err(|error| chain(&error))
            };
            return self.answered(&session, turn).await;
        }
        let request = self.with_settings(match beginning {
            Beginning::New(name) => SpawnRequest::new(name.as_str(), text),
            Beginning::Resume(id) => SpawnRequest::resume(id.clone(), text),
        });
        let session = tokio::select! {
            biased;
            spawned = spawn_bundle(self.host, request) => spawned?.session().clone(),
            signal = self.signals.next() => return Err(not_begun(signal)),
        };
        self.output.of(session.id());
        self.session = Some(session.clone());
        self.answered(&session, first_turn(session.clone())).await
    }

    fn with_settings(&self, mut request: SpawnRequest) -> SpawnRequest {
        let settings = self.context.settings();
        if let Some(provider) = &settings.provider {
            request = request.provider(provider.value.clone());
        }
        if let Some(model) = &settings.model {
            request = request.model(model.value.clone());
        }
        // A person waits for each answer.
        let patience = settings.retry_policy(RetryPolicy::default()).rate_limit_patience;
        request.rate_limit_patience(patience).background(true).keep_open()
    }

    async fn answered(
        &mut self,
        session: &AmplifierSession,
        turn: impl Future<Output = Result<String, String>>,
    ) -> Result<Ended, Failure> {
        let mut turn = std::pin::pin!(turn);
        let mut stopped = None;
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut turn => break answer,
                signal = self.signals.next() => match (stopped, signal) {
                    (None, Signalled::Interrupt) => {
                        stopped = Some(signal);
                        say("stopping this turn; Ctrl+C again ends the conversation");
                        match session.env().coordinator.capability::<Interrupt>() {
                            Some(interrupt) => interrupt.stop_turn(),
                            None => session.cancel(CancelLevel::Graceful),
                        }
                    }
                    (_, signal) => {
                        session.cancel(CancelLevel::Immediate);
                        self.output.end(session.id(), Err("stopped".to_owned()));
                        return Ok(Ended::All(signal));
                    }
                },
            }
        };
        self.output.end(session.id(), answer);
        Ok(Ended::Turn)
    }
}

/// The answer to the message with which the session began.
async fn first_turn(session: AmplifierSession) -> Result<String, String> {
    session.first_turn().await;
    if let Some(failure) = session.first_failure() {
        return Err(failure);
    }
    let messages = session.messages().to_vec();
    let answer = messages.iter().rev().find(|message| message.role == Role::Assistant);
    answer.map(|answer| answer.text()).ok_or_else(|| "the session has ended without an answer".to_owned())
}
