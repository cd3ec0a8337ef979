//! `amplifier session …`: sessions that are kept.
//!
//! Guarantees: what cannot be read is listed with its reason, never hidden; nothing is deleted
//! without a yes or `--force`, and never while somebody works on it.

mod cleanup;
mod export;
mod list;
mod reach;
mod reindex;
mod show;
mod tree;
mod watch;

pub(crate) use export::{as_json, as_markdown};

use std::sync::Arc;

use amplifier_app::ask;
use amplifier_core::SessionId;
use amplifier_foundation::Host;
use amplifier_foundation::source::registry::near;
use amplifier_foundation::storage::{self, ProjectScope, SessionQuery, SessionSummary, StorageError};

use crate::args::session::{DeleteArgs, ForkArgs, SessionCommand};
use crate::context::{self, Context};
use crate::exit::{Code, Failure};
use crate::{chat, output, run};

/// How many of the latest sessions may have been meant by an id that is none.
const MEANT: usize = 1_000;

/// Does what was asked.
pub(crate) fn run(command: SessionCommand) -> Result<Code, Failure> {
    if let SessionCommand::Resume(args) = command {
        return chat::resume(*args);
    }
    let context = context::here()?;
    context::small_runtime()?.block_on(async {
        let host = context.host().await?;
        match command {
            SessionCommand::List(args) => list::list(args, &context, &host).await,
            SessionCommand::Show(args) => show::show(args, &context, host).await,
            SessionCommand::Tree(args) => tree::tree(args, &context, host).await,
            SessionCommand::Wait(args) => reach::wait(args, &context, host).await,
            SessionCommand::Cancel(args) => reach::cancel(args, &context, host).await,
            SessionCommand::Logs(args) => watch::logs(args, &context, host).await,
            SessionCommand::Attach(args) => watch::attach(args, &context, host).await,
            SessionCommand::Reindex(args) => reindex::reindex(args, &host).await,
            SessionCommand::Fork(args) => fork(args, &host).await,
            SessionCommand::Delete(args) => delete(args, &host).await,
            SessionCommand::Cleanup(args) => cleanup::cleanup(&args, &host).await,
            SessionCommand::Export(args) => export::export(args, &context, host).await,
            SessionCommand::Resume(_) => Ok(Code::Usage),
        }
    })
}

/// The session that an id, or the beginning of one, names.
pub(crate) async fn find(text: &str, host: &Host) -> Result<SessionId, Failure> {
    match storage::resolve_prefix(host.storage().as_ref(), text, ProjectScope::default()).await {
        Ok(found) => Ok(found.id),
        Err(error) => Err(unknown(error, text, host).await),
    }
}

/// The failure, with the sessions that may have been meant: by the id, or by the name.
async fn unknown(error: StorageError, text: &str, host: &Host) -> Failure {
    let is_unknown = matches!(error, StorageError::NotFound { .. });
    let failure = Failure::from(error);
    let query = SessionQuery::default().limit(MEANT);
    let known = match is_unknown {
        true => host.storage().list(&query).await.unwrap_or_default(),
        false => return failure,
    };
    let named = known
        .iter()
        .find(|session| session.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(text)));
    if let Some(session) = named {
        return failure.help(format!("session {} has that name", session.id));
    }
    match near(text, known.iter().map(|session| session.id.as_str())).as_slice() {
        [] => failure,
        ids => failure.help(format!("did you mean `{}`?", ids.join("` or `"))),
    }
}

/// The same, and where this project has none of that id, the one of another project, with its host.
async fn find_anywhere(text: &str, context: &Context, host: Host) -> Result<(Host, SessionSummary), Failure> {
    let storage = Arc::clone(host.storage());
    let unknown = match storage::resolve_prefix(storage.as_ref(), text, ProjectScope::Current).await {
        Ok(found) => return Ok((host, found)),
        Err(error @ StorageError::NotFound { .. }) => error,
        Err(error) => return Err(error.into()),
    };
    let elsewhere = storage::resolve_prefix(storage.as_ref(), text, ProjectScope::All).await;
    let Some(dir) = elsewhere.ok().and_then(|found| found.working_dir) else {
        return Err(self::unknown(unknown, text, &host).await);
    };
    let other = context.builder(false).open(&dir).await.map_err(|_| unknown)?;
    let found = storage::resolve_prefix(other.storage().as_ref(), text, ProjectScope::Current).await?;
    output::say(&format!("notice: the session belongs to {}", dir.display()));
    Ok((other, found))
}

async fn fork(args: ForkArgs, host: &Host) -> Result<Code, Failure> {
    let id = find(&args.id, host).await?;
    let copy = run::new_id(args.new_id.as_deref(), host)?;
    let now = host.clock().now();
    storage::fork(host.storage().as_ref(), &id, args.at_turn, copy.clone(), now).await?;
    output::say(&format!("go on with: amplifier run --resume {copy} \"…\""));
    Ok(output::print(&format!("{copy}\n")))
}

async fn delete(args: DeleteArgs, host: &Host) -> Result<Code, Failure> {
    let id = find(&args.id, host).await?;
    let children = storage::descendants(host.storage().as_ref(), &id).await?.len();
    let what = match children {
        0 => format!("session {id}"),
        1 => format!("session {id} and the session that it spawned"),
        more => format!("session {id} and the {more} sessions that it spawned"),
    };
    if !args.force && !is_confirmed(&format!("delete {what}?"))? {
        output::say("nothing was deleted");
        return Ok(Code::Failed);
    }
    let deleted = host.project_sessions().delete(&id).await?;
    output::say(&format!("deleted {}", deleted.iter().map(SessionId::as_str).collect::<Vec<_>>().join(", ")));
    Ok(Code::Success)
}

/// Asks the person at the terminal; without one there is nobody to say yes.
fn is_confirmed(question: &str) -> Result<bool, Failure> {
    if !ask::somebody_is_there() {
        return Err(Failure::usage(format!("{question} nobody can be asked")).help("add --force"));
    }
    Ok(ask::yes(question).unwrap_or(false))
}
