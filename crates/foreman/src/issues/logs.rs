//! `foreman logs`: what the workers of an issue write.
//!
//! Guarantees: whoever watches changes nothing and stops nothing.

use amplifier_app::command::transcript::{follow, write};
use amplifier_app::terminal::{Code, Signals, Stdout, say};
use amplifier_core::SessionId;
use amplifier_foundation::host::{Lines, ReachError};

use super::wait::{events, is_over};
use super::{Queue, refused};
use crate::args::issue::LogsArgs;
use crate::exit::Failure;

/// Prints it.
pub(super) async fn logs(args: &LogsArgs, queue: &Queue) -> Result<Code, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::work(&error))?;
    let mut events = if args.follow { Some(events(queue).await?) } else { None };
    let stdout = if args.follow { Stdout::watched() } else { Stdout::new() };
    let mut shown: Vec<SessionId> = Vec::new();
    loop {
        let issue = match queue.issues.get(&args.id).await {
            Ok(issue) => issue,
            Err(error) => return Err(queue.refused(error).await),
        };
        let sessions = queue.issues.sessions(&args.id).await.map_err(|error| refused(&error))?;
        for session in sessions.into_iter().map(|one| one.session) {
            if shown.contains(&session) {
                continue;
            }
            let code = print(&session, args, &stdout, queue).await?;
            shown.push(session);
            if code != Code::Success {
                return Ok(code);
            }
        }
        let Some(events) = events.as_mut().filter(|_| !is_over(&issue)) else {
            if shown.is_empty() {
                say(&format!("no session has worked on {} yet", args.id));
            }
            return Ok(stdout.code(Code::Success));
        };
        tokio::select! {
            biased;
            () = stdout.closed() => return Ok(stdout.code(Code::Success)),
            signal = signals.next() => return Ok(signal.code()),
            next = events.next() => if next.is_none() { return Ok(stdout.code(Code::Success)) },
        }
    }
}

/// Prints a session: as far as it is, or until it has ended.
async fn print(id: &SessionId, args: &LogsArgs, stdout: &Stdout, queue: &Queue) -> Result<Code, Failure> {
    let mut followed = match queue.host.project_sessions().follow(id, Lines::Transcript).await {
        Ok(followed) => followed,
        // A person's session, or one whose files were removed.
        Err(ReachError::Unknown { .. }) => return Ok(Code::Success),
        Err(error) => return Err(error.into()),
    };
    say(&format!("session {id}"));
    if args.follow {
        return follow(&mut followed, stdout, args.json).await;
    }
    loop {
        let lines = followed.read()?;
        if lines.is_empty() {
            return Ok(Code::Success);
        }
        write(stdout, &lines, args.json);
    }
}
