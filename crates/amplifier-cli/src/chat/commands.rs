//! The slash commands, in one table.

use amplifier_app::chat::{self, Argument, Conversation, Entry, GoalCommand, Next};

use super::program::{Chat, LEFT};
use super::{change, show};
use crate::exit::Failure;
use crate::output;

const fn entry(name: &'static str, takes: &'static str, argument: Argument, help: &'static str) -> Entry {
    Entry { name, takes, argument, help }
}

const MODES: Argument = Argument::OneOf(&["default", "plan", "acceptEdits", "dontAsk"]);

/// All of them.
pub(super) const COMMANDS: [Entry; 27] = [
    entry("help", "", Argument::None, "this"),
    entry("status", "", Argument::None, "session, bundle, model, mode, and what runs"),
    entry("cost", "", Argument::None, "tokens and money of this session so far"),
    entry("config", "", Argument::None, "settings in force, each with where it comes from"),
    entry("tools", "", Argument::None, "what the model can call"),
    entry("agents", "", Argument::None, "whom the model can delegate to"),
    entry("skills", "", Argument::None, "instructions that the model can load"),
    entry("skill", "NAME [TEXT]", Argument::Text, "have the model load one, and do what the text says"),
    entry("sessions", "", Argument::None, "the latest sessions of this project"),
    entry("resume", "ID", Argument::Kind("session"), "go on with another session"),
    entry("clear", "", Argument::None, "begin a new session; this one is kept"),
    entry("compact", "[WHAT]", Argument::Text, "begin a new session with a summary; this one is kept"),
    entry("fork", "[TURN]", Argument::Text, "go on in a copy, whole or up to a turn"),
    entry("rename", "NAME", Argument::Text, "give the session a name"),
    entry("save", "[FILE]", Argument::File, "write the conversation to a file, Markdown or .json"),
    entry("bundle", "[NAME]", Argument::Kind("bundle"), "show the bundle, or go on with another one"),
    entry("provider", "[NAME]", Argument::Kind("provider"), "show providers, or choose one"),
    entry("model", "[NAME]", Argument::Text, "show the model, or choose one"),
    entry("mode", "[MODE]", MODES, "show the permission mode, or change it"),
    entry("modes", "", Argument::None, "the permission modes"),
    entry("allowed-dirs", "[DIR]", Argument::File, "where files may be written, or one more directory"),
    entry("denied-dirs", "", Argument::None, "what rules deny"),
    entry("goal", "[--max-turns N] [CONDITION]", Argument::Text, "work until it is met; `clear` gives it up"),
    entry("stop", "", Argument::None, "stop sub-sessions that run in the background"),
    entry("verbose", "", Argument::None, "tell the session's whole id and folder"),
    entry("exit", "", Argument::None, "leave; the session is kept"),
    entry("quit", "", Argument::None, "the same"),
];

/// Does what a command says.
pub(super) async fn run(
    chat: &mut Chat,
    talk: &mut Conversation,
    name: &'static str,
    rest: &str,
) -> Result<Next, Failure> {
    match name {
        "help" => output::say(&help()),
        "status" => show::status(chat, talk).await?,
        "cost" => show::cost(talk),
        "config" => show::config(chat),
        "tools" => show::tools(chat, talk).await?,
        "agents" => show::agents(chat, talk).await?,
        "skills" => show::skills(chat, talk).await?,
        "skill" => return Ok(Next::Say(show::skill(rest)?)),
        "sessions" => show::sessions(talk).await?,
        "verbose" => show::folder(talk),
        "allowed-dirs" if rest.is_empty() => show::allowed(chat),
        "denied-dirs" => show::denied(chat),
        "provider" if rest.is_empty() => show::providers(chat, talk).await?,
        "model" if rest.is_empty() => show::model(chat, talk),
        "modes" => show::modes(chat),
        "mode" if rest.is_empty() => output::say(chat.context.mode().as_str()),
        "bundle" if rest.is_empty() => output::say(&chat.bundle(talk).await?.name),
        "resume" if rest.is_empty() => show::sessions(talk).await?,
        "resume" => change::resume(chat, talk, rest).await?,
        "clear" => change::clear(chat, talk).await?,
        "compact" => change::compact(chat, talk, rest).await?,
        "fork" => change::fork(chat, talk, rest).await?,
        "rename" => change::rename(talk, rest).await?,
        "save" => change::save(chat, talk, rest).await?,
        "bundle" => change::bundle(chat, talk, rest).await?,
        "provider" => change::provider(chat, talk, rest).await?,
        "model" => change::model(chat, talk, rest).await?,
        "mode" => change::mode(chat, talk, rest).await?,
        "allowed-dirs" => change::allow(chat, talk, rest).await?,
        "stop" => change::stop(talk),
        "goal" => return goal(chat, rest),
        _ => return Ok(Next::Leave(LEFT)),
    }
    Ok(Next::Line)
}

fn help() -> String {
    format!(
        "{}\n\nAlt+Enter, or \\ at the end of a line: a new line · Tab: complete · Ctrl+R: search what was said\n\
         Ctrl+C: stop the turn, twice at once; at the prompt clear the line, twice leave · Ctrl+D: leave\n\
         @file: the file is read with the message",
        chat::help(&COMMANDS)
    )
}

fn goal(chat: &mut Chat, rest: &str) -> Result<Next, Failure> {
    match GoalCommand::parse(rest).map_err(Failure::usage)? {
        GoalCommand::Show => {
            let now = chat.goal.as_ref().map(amplifier_app::chat::Goal::standing);
            output::say(
                &now.or_else(|| chat.goal_before.clone()).unwrap_or_else(|| "there is no goal".to_owned()),
            );
            Ok(Next::Line)
        }
        GoalCommand::Clear => {
            let had = chat.goal.take().is_some() | chat.goal_before.take().is_some();
            output::say(if had { "the goal is cleared" } else { "there is no goal" });
            Ok(Next::Line)
        }
        GoalCommand::Set(goal) => {
            let text = goal.first();
            chat.goal = Some(goal);
            Ok(Next::Say(text))
        }
    }
}
