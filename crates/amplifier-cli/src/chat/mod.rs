//! `amplifier` alone, and `continue`, `resume` and `run --mode chat`: a conversation.
//!
//! Guarantees: at a terminal there is a line editor, and nothing but leaving ends the conversation; elsewhere lines of
//! standard input are answered one after the other, only where `--mode chat` says so. What is said, done and changed
//! is in the session on disk before the next prompt.

mod change;
mod commands;
mod earlier;
mod program;
mod show;

use std::io::IsTerminal;
use std::sync::Arc;

use amplifier_app::chat::{
    self, AtDesk, Beginning, Conversation, Desk, Editor, Face, GiveBack, Input, Lines, Plain, Screen,
    Thinking, Words,
};
use amplifier_app::terminal::{Signals, hand_lines_to};
use amplifier_core::CancelToken;
use amplifier_core::approval::Approver;
use amplifier_foundation::host::SystemClock;
use amplifier_foundation::{Host, Shutdown, storage};

use self::program::{Chat, Opener};
use crate::args::run::{OldMode, OutputFormat, ResumeArgs, RunArgs};
use crate::context::{self, Context};
use crate::exit::{Code, Failure};
use crate::{approve, run, trust};

/// True for a run that is to be a conversation.
pub(crate) fn is_meant(args: &RunArgs) -> bool {
    args.options.mode == Some(OldMode::Chat)
}

/// `amplifier` without a command: a chat, or one run where the prompt is piped.
pub(crate) fn alone(args: RunArgs) -> Result<Code, Failure> {
    if std::io::stdin().is_terminal() { chat(args) } else { run::run(args) }
}

/// Goes on with a session: with a prompt that was given, else at the terminal.
pub(crate) fn go_on(args: RunArgs) -> Result<Code, Failure> {
    let plain = args.options.output_format == OutputFormat::Text && !args.is_detached();
    match is_meant(&args) || (plain && args.prompt.is_none() && std::io::stdin().is_terminal()) {
        true => chat(args),
        false => run::run(args),
    }
}

/// The same with a session that is named, or picked at the terminal.
pub(crate) fn resume(args: ResumeArgs) -> Result<Code, Failure> {
    let at_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !args.names_none() || !at_terminal {
        return go_on(args.into_run()?);
    }
    match earlier::pick()? {
        Some(id) => go_on(args.of(id).into_run()?),
        None => Ok(Code::Success),
    }
}

/// A conversation.
pub(crate) fn chat(args: RunArgs) -> Result<Code, Failure> {
    check(&args)?;
    trust::vouch(&args);
    let runtime = context::runtime()?;
    let code = runtime.block_on(talk(args));
    // A standard input that nobody fills must not keep the process.
    runtime.shutdown_background();
    code
}

/// What has no sense in a conversation.
fn check(args: &RunArgs) -> Result<(), Failure> {
    let refused = [
        (args.is_detached(), "--background and --on-exit detach"),
        (args.parent_session.is_some(), "--parent-session"),
        (args.options.output_last_message.is_some(), "-o"),
        (args.options.output_schema.is_some(), "--output-schema"),
        (
            !matches!(args.options.output_format, OutputFormat::Text | OutputFormat::Json),
            "this --output-format",
        ),
    ];
    match refused.iter().find(|(given, _)| *given) {
        Some((_, what)) => {
            let help = "give a prompt: `amplifier run \"…\"`, or leave it out";
            Err(Failure::usage(format!("a chat has no place for {what}")).help(help))
        }
        None => Ok(()),
    }
}

async fn talk(args: RunArgs) -> Result<Code, Failure> {
    let signals = Signals::listen().map_err(|error| Failure::work(&error))?;
    let json = args.options.output_format == OutputFormat::Json;
    let desk = (!json && chat::is_attended()).then(Desk::take).flatten();
    let _back = GiveBack::new(desk.clone());
    let screen = desk.as_ref().map(|desk| {
        let thinking = if args.history.show_thinking { Thinking::Dimmed } else { Thinking::Hidden };
        let clock = Arc::new(SystemClock::new());
        Arc::new(Screen::new(Arc::clone(desk), clock, args.options.verbose, thinking))
    });
    let face: Arc<dyn Face> = match &screen {
        Some(screen) => {
            hand_lines_to(Some(Arc::clone(screen) as Arc<_>));
            Arc::clone(screen) as Arc<_>
        }
        None => Arc::new(Plain::new(json)),
    };
    let asked: Arc<dyn Approver> = match &desk {
        Some(desk) => Arc::new(AtDesk::new(Arc::clone(desk), approve::approver(&CancelToken::new()))),
        None if is_asked(json) => approve::approver(&CancelToken::new()),
        None => Arc::new(amplifier_core::approval::NobodyToAsk),
    };
    let opener = Opener { face: Arc::clone(&face), asks: asked };
    Box::pin(hold(args, signals, opener, screen, desk)).await
}

/// Lines are answered at a terminal that nothing can be drawn on.
fn is_asked(json: bool) -> bool {
    !json && std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

async fn hold(
    mut args: RunArgs,
    signals: Signals,
    opener: Opener,
    screen: Option<Arc<Screen>>,
    desk: Option<Arc<Desk>>,
) -> Result<Code, Failure> {
    let context = context::open(
        args.options.cwd.as_deref(),
        &context::flags(&args.options),
        Arc::new(SystemClock::new()),
    )?;
    context.tell_warnings();
    let host = opener.open(&context, &args).await?;
    let words = Arc::new(Words::default());
    let mut input = match &desk {
        Some(desk) => {
            let options = program::editor(&context, Arc::clone(&words));
            Input::Editor(Editor::start(options, Arc::clone(desk)))
        }
        None => Input::Lines(Lines::default()),
    };
    let attended = desk.is_some();
    let (beginning, by_project) = beginning(&args, &context, &host).await?;
    if let (Some(screen), Beginning::Resume(id)) = (&screen, &beginning) {
        earlier::tell(&host, id, screen, &args.history).await?;
    }
    let first = args.prompt.take();
    let mut chat = Chat::new(args, context, opener, words, by_project)?;
    chat.greet(&host, &beginning, screen.as_deref()).await?;
    let face = chat.face();
    let mut talk = Conversation::new(host, face, signals, beginning, attended);
    let code = talk.hold(&mut chat, first, &mut input).await;
    talk.host().shutdown(Shutdown::Now).await;
    code
}

/// Which session the first message begins; true if the project's own settings chose its bundle.
async fn beginning(args: &RunArgs, context: &Context, host: &Host) -> Result<(Beginning, bool), Failure> {
    let found = match (&args.resume, args.continue_last) {
        (Some(text), _) => Beginning::resume(host, text).await?,
        (None, true) => Beginning::Resume(run::latest(host).await?),
        (None, false) => {
            let active = context.chosen(host);
            return Ok((Beginning::New(active.name.clone()), active.by_project()));
        }
    };
    match found {
        Beginning::Resume(id) if args.fork_session => {
            let copy = run::new_id(args.session_id.as_deref(), host)?;
            storage::fork(host.storage().as_ref(), &id, None, copy.clone(), host.clock().now()).await?;
            Ok((Beginning::Resume(copy), false))
        }
        found => Ok((found, false)),
    }
}
