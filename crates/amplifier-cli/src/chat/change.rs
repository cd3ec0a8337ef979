//! Slash commands that change something. What they change in a session is durable when they are done.

use std::path::{Path, PathBuf};

use amplifier_app::chat::{Beginning, Conversation};
use amplifier_core::CancelLevel;
use amplifier_core::permission::Mode;
use amplifier_foundation::fs::{read, write};
use amplifier_foundation::storage;

use super::program::{Chat, prepare};
use crate::exit::{Code, Failure};
use crate::output::Style;
use crate::{output, run, session};

fn no_session() -> Failure {
    Failure::usage("there is no session yet; it begins with the first message")
}

/// `/compact [WHAT]`
pub(super) async fn compact(chat: &mut Chat, talk: &mut Conversation, about: &str) -> Result<(), Failure> {
    let id = talk.session_id().cloned().ok_or_else(no_session)?;
    let source = chat.source(talk.host(), &Beginning::Resume(id.clone())).await?;
    output::say(&Style::stderr().dim("summarizing; Ctrl+C stops it"));
    let host = talk.host().clone();
    let summary = tokio::select! {
        biased;
        summary = amplifier_app::chat::summary(&host, &id, about) => summary,
        signal = talk.signals().next() => {
            let stopped = Failure::usage("stopped; the conversation is as it was");
            return Err(stopped.code(signal.code(), "cancelled"));
        }
    };
    let summary = summary.map_err(|why| {
        Failure::usage(format!("there is no summary: {why}; the conversation is as it was"))
            .code(Code::Failed, "summary")
    })?;
    talk.turn_to(Beginning::New(source)).await;
    (chat.other_bundle, chat.carried) = (None, Some(summary));
    output::say(&format!("the next message begins a new session with a summary; {id} is kept as it is"));
    Ok(())
}

/// `/resume ID`
pub(super) async fn resume(chat: &mut Chat, talk: &mut Conversation, text: &str) -> Result<(), Failure> {
    let beginning = Beginning::resume(talk.host(), text).await?;
    if let Beginning::Resume(id) = &beginning {
        if talk.session_id() == Some(id) {
            output::say("that is this session");
            return Ok(());
        }
        output::say(&format!("the next message goes on with session {id}"));
    }
    (chat.other_bundle, chat.carried) = (None, None);
    talk.turn_to(beginning).await;
    Ok(())
}

/// `/clear`
pub(super) async fn clear(chat: &mut Chat, talk: &mut Conversation) -> Result<(), Failure> {
    let beginning = match talk.session_id() {
        Some(id) => Beginning::Resume(id.clone()),
        None => talk.beginning().clone(),
    };
    let source = chat.source(talk.host(), &beginning).await?;
    let before = talk.session_id().cloned();
    talk.turn_to(Beginning::New(source)).await;
    chat.begin_with_mode(talk).await?;
    (chat.other_bundle, chat.carried) = (None, None);
    output::say(&match before {
        Some(id) => format!("the next message begins a new session; {id} is kept"),
        None => "the next message begins a new session".to_owned(),
    });
    Ok(())
}

/// `/fork [TURN]`
pub(super) async fn fork(chat: &mut Chat, talk: &mut Conversation, turn: &str) -> Result<(), Failure> {
    let turn = match turn {
        "" => None,
        text => Some(text.parse::<usize>().map_err(|_| Failure::usage("a turn is a number from 1 up"))?),
    };
    let id = talk.session_id().cloned().ok_or_else(no_session)?;
    let copy = run::new_id(None, talk.host())?;
    let (storage, now) = (talk.host().storage().clone(), talk.host().clock().now());
    storage::fork(storage.as_ref(), &id, turn, copy.clone(), now).await?;
    talk.turn_to(Beginning::Resume(copy.clone())).await;
    output::say(&format!("the next message goes on in the copy {copy}; {id} is kept as it is"));
    chat.learn(talk.host(), None);
    Ok(())
}

/// `/rename NAME`
pub(super) async fn rename(talk: &mut Conversation, name: &str) -> Result<(), Failure> {
    if name.is_empty() {
        return Err(Failure::usage("give the name: /rename NAME"));
    }
    let id = talk.session_id().cloned().ok_or_else(no_session)?;
    // Its metadata belongs to the session as long as it is open.
    talk.close().await;
    storage::rename(talk.host().storage().as_ref(), &id, name).await?;
    output::say(&format!("session {id} is `{}` now", output::plain(name)));
    Ok(())
}

/// `/save [FILE]`
pub(super) async fn save(chat: &Chat, talk: &Conversation, file: &str) -> Result<(), Failure> {
    let id = talk.session_id().ok_or_else(no_session)?;
    let short: String = id.as_str().chars().take(8).collect();
    let file = if file.is_empty() { format!("conversation-{short}.md") } else { file.to_owned() };
    let path = chat.context.cwd().join(&file);
    if read::is_file(&path) || !write::is_target(&path) {
        return Err(Failure::usage(format!("{file} is there already, or is no place for a file"))
            .help("name another file: /save FILE"));
    }
    let stored = talk.host().storage().load(id).await?;
    let text = match Path::new(&file).extension().is_some_and(|extension| extension == "json") {
        true => session::as_json(&stored).map_err(|error| Failure::work(&error))?,
        false => session::as_markdown(id.as_str(), &stored),
    };
    write::deliver(&path, text.as_bytes()).map_err(|error| Failure::work(&error))?;
    output::say(&format!("{file} has the conversation, {} messages", stored.transcript.len()));
    Ok(())
}

/// `/bundle NAME`
pub(super) async fn bundle(chat: &mut Chat, talk: &mut Conversation, name: &str) -> Result<(), Failure> {
    let bundle = prepare(talk.host(), name).await?;
    talk.close().await;
    match talk.session_id().cloned() {
        Some(_) => chat.other_bundle = Some(name.to_owned()),
        None => talk.turn_to(Beginning::New(name.to_owned())).await,
    }
    chat.learn(talk.host(), Some(&bundle));
    output::say(&format!("bundle {} from the next message on", bundle.name));
    Ok(())
}

/// `/provider NAME`
pub(super) async fn provider(chat: &mut Chat, talk: &mut Conversation, name: &str) -> Result<(), Failure> {
    let name = name.to_owned();
    chat.change(|args| args.options.provider = Some(name.clone()))?;
    talk.close().await;
    output::say(&format!("provider {} from the next message on", output::plain(&name)));
    Ok(())
}

/// `/model NAME`
pub(super) async fn model(chat: &mut Chat, talk: &mut Conversation, name: &str) -> Result<(), Failure> {
    let name = name.to_owned();
    chat.change(|args| args.options.model = Some(name.clone()))?;
    talk.close().await;
    output::say(&format!("model {} from the next message on", output::plain(&name)));
    Ok(())
}

/// `/mode MODE`
pub(super) async fn mode(chat: &mut Chat, talk: &mut Conversation, name: &str) -> Result<(), Failure> {
    let may = |mode: &Mode| *mode != Mode::BypassPermissions || *mode == chat.began();
    let mode = Mode::from_name(name).filter(may).ok_or_else(|| {
        Failure::usage(format!("`{name}` is no mode that can be chosen here"))
            .help("there are: default, plan, acceptEdits, dontAsk; bypassPermissions is a flag alone")
    })?;
    chat.change(|args| args.options.permission_mode = Some(mode))?;
    talk.close().await;
    if talk.session_id().is_none() {
        chat.begin_with_mode(talk).await?;
    }
    output::say(&format!("permission mode {} from the next message on", mode.as_str()));
    if mode != chat.began() && talk.session_id().is_some() {
        output::say("a session keeps what it was begun with where that is stricter; /clear begins a new one");
    }
    Ok(())
}

/// `/allowed-dirs DIR`
pub(super) async fn allow(chat: &mut Chat, talk: &mut Conversation, dir: &str) -> Result<(), Failure> {
    let dir = PathBuf::from(dir);
    chat.reopen(talk, |args| args.options.add_dir.push(dir.clone())).await?;
    output::say(&format!("{} counts as the working directory in new sessions of this chat", dir.display()));
    Ok(())
}

/// `/stop`
pub(super) fn stop(talk: &Conversation) {
    let Some(open) = talk.session() else { return output::say("nothing runs") };
    let running: Vec<_> = open.descendants().into_iter().filter(|child| child.outcome.is_none()).collect();
    for child in &running {
        talk.host().sessions().cancel(&child.id, CancelLevel::Graceful);
    }
    output::say(&match running.len() {
        0 => "nothing runs".to_owned(),
        1 => "stopping one sub-session".to_owned(),
        more => format!("stopping {more} sub-sessions"),
    });
}
