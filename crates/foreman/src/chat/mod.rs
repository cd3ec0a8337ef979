//! `foreman chat`: a conversation with the foreman.
//!
//! Guarantees: stdout carries the answers alone, or one JSON object a turn. A failed turn ends no conversation;
//! Ctrl+C stops the turn, a second one ends it all where nobody sits at a terminal, and so do the end of standard
//! input, `/quit` and SIGTERM. The session is kept and can be gone on with. A crew that the session has started ends
//! with it.
//! Never here: what a turn begins with, and who works; the orchestrator has them.

mod status;

use std::path::PathBuf;
use std::sync::Arc;

use amplifier_app::chat::{
    self, Argument, Beginning, Conversation, Desk, Editor, Entry, Face, GiveBack, Input, Lines, Next, Plain,
    Program, Screen, Thinking, Words,
};
use amplifier_app::context::{self, Context};
use amplifier_app::setup::worth_telling;
use amplifier_app::terminal::{Code, Signals, hand_lines_to, say};
use amplifier_core::SessionId;
use amplifier_core::turn::RetryPolicy;
use amplifier_foundation::host::SystemClock;
use amplifier_foundation::{Host, Shutdown, SpawnRequest};

use crate::args::chat::ChatArgs;
use crate::exit::{Failure, unusable};

/// The bundle where none is named. The project's own one of that name is not meant.
const BUILT_IN: &str = "builtin:foreman";

const COMMANDS: [Entry; 4] = [
    Entry { name: "status", takes: "", argument: Argument::None, help: "how the issues stand" },
    Entry { name: "help", takes: "", argument: Argument::None, help: "this" },
    Entry { name: "quit", takes: "", argument: Argument::None, help: "ends; so does the end of the input" },
    Entry { name: "exit", takes: "", argument: Argument::None, help: "the same" },
];

/// Talks until one of the two ends it.
pub(crate) fn chat(args: &ChatArgs) -> Result<Code, Failure> {
    let clock = Arc::new(SystemClock::new());
    // Its own session has one tool, which asks for nothing; workers have nobody to ask.
    let program = context::Program::FOREMAN;
    let context = Context::open(program, args.cwd.as_deref(), &args.flags(), clock)?.unattended();
    context.tell_warnings();
    let runtime = context::runtime()?;
    let code = runtime.block_on(talk(args, &context));
    // A standard input that nobody fills must not keep the process.
    runtime.shutdown_background();
    code
}

async fn talk(args: &ChatArgs, context: &Context) -> Result<Code, Failure> {
    let signals = Signals::listen().map_err(|error| Failure::work(&error))?;
    let desk = (!args.json && chat::is_attended()).then(Desk::take).flatten();
    let _back = GiveBack::new(desk.clone());
    let face: Arc<dyn Face> = match &desk {
        Some(desk) => {
            let clock = Arc::new(SystemClock::new());
            let screen = Arc::new(Screen::new(Arc::clone(desk), clock, false, Thinking::Hidden));
            hand_lines_to(Some(Arc::clone(&screen) as Arc<_>));
            screen
        }
        None => Arc::new(Plain::new(args.json)),
    };
    hold(args, context, signals, &face, desk).await
}

async fn hold(
    args: &ChatArgs,
    context: &Context,
    signals: Signals,
    face: &Arc<dyn Face>,
    desk: Option<Arc<Desk>>,
) -> Result<Code, Failure> {
    let permissions = context.permissions(&[], false)?;
    let builder = context.builder(false).permissions(permissions).limits(context.limits());
    let builder = builder.display(Arc::clone(face) as Arc<_>);
    let host = builder.open(context.cwd()).await.map_err(|error| Failure::config(&error))?;
    let mut input = match &desk {
        Some(desk) => Input::Editor(Editor::start(options(context), Arc::clone(desk))),
        None => Input::Lines(Lines::default()),
    };
    let beginning = beginning(args, context, &host).await?;
    let mut foreman = Foreman { context };
    let mut talk = Conversation::new(host.clone(), Arc::clone(face), signals, beginning, desk.is_some());
    let following = tokio::spawn(status::follow(host.clone()));
    let code = talk.hold(&mut foreman, args.prompt.clone(), &mut input).await;
    following.abort();
    host.shutdown(Shutdown::Now).await;
    code
}

/// The editor of a foreman.
fn options(context: &Context) -> chat::editor::Options {
    let history: PathBuf = context.home().path().join("history");
    chat::editor::Options {
        history,
        cwd: context.cwd().to_owned(),
        commands: &COMMANDS,
        words: Arc::new(Words::default()),
        prompt: "> ",
    }
}

/// Which session is to begin.
async fn beginning(args: &ChatArgs, context: &Context, host: &Host) -> Result<Beginning, Failure> {
    if let Some(text) = &args.resume {
        return Beginning::resume(host, text).await;
    }
    let name = args.bundle.as_deref().unwrap_or(BUILT_IN);
    let bundle = host.prepare(name).await.map_err(|error| unusable(name, &error))?;
    worth_telling(&bundle.diagnostics).for_each(|diagnostic| say(&diagnostic.to_string()));
    if context.is_scripted(&bundle) {
        say(&format!("notice: bundle {name} answers from a script; no model is asked"));
    }
    Ok(Beginning::New(name.to_owned()))
}

/// What a foreman adds to a conversation.
struct Foreman<'a> {
    context: &'a Context,
}

impl Program for Foreman<'_> {
    fn commands(&self) -> &'static [Entry] {
        &COMMANDS
    }

    fn request(&self, beginning: &Beginning, text: String) -> SpawnRequest {
        let mut request = beginning.request(text);
        let settings = self.context.settings();
        if let Some(provider) = &settings.provider {
            request = request.provider(provider.value.clone());
        }
        if let Some(model) = &settings.model {
            request = request.model(model.value.clone());
        }
        // A person waits for each answer.
        let patience = settings.retry_policy(RetryPolicy::default()).rate_limit_patience;
        request.rate_limit_patience(patience)
    }

    async fn command(
        &mut self,
        talk: &mut Conversation,
        name: &'static str,
        _rest: &str,
    ) -> Result<Next, Failure> {
        match name {
            "help" => say(&chat::help(&COMMANDS)),
            "status" => status::tell(talk.host()).await?,
            _ => return Ok(Next::Leave(Code::Success)),
        }
        Ok(Next::Line)
    }

    fn resume_hint(&self, session: &SessionId) -> String {
        format!("foreman chat --resume {session}")
    }
}
