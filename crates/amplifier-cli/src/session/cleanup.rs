//! `amplifier session cleanup`: sessions that ended long ago.
//!
//! Guarantees: a session that runs, or below which one runs, stays, and so does one that cannot be read; each one is
//! deleted whole with those that it spawned, so that an interruption leaves whole sessions.

use std::time::Duration;

use amplifier_app::terminal::bar::Bar;
use amplifier_core::{SessionId, Timestamp};
use amplifier_foundation::Host;
use amplifier_foundation::host::{ReachError, SessionState};
use amplifier_foundation::storage::{SessionQuery, SessionSummary, StorageError};
use serde_json::json;

use super::is_confirmed;
use crate::args::session::CleanupArgs;
use crate::exit::{Code, Failure, chain};
use crate::output;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Deletes them, or tells which it would be.
pub(super) async fn cleanup(args: &CleanupArgs, host: &Host) -> Result<Code, Failure> {
    let old = old(args, host).await?;
    if old.is_empty() {
        output::say(&format!("no session ended more than {} ago", days(args.days)));
        return if args.json { output::print_json(&json!([])) } else { Ok(Code::Success) };
    }
    if args.dry_run {
        return tell(&old.iter().map(|session| session.id.clone()).collect::<Vec<_>>(), args);
    }
    let question = format!("delete {} not written to for {}?", sessions(old.len()), days(args.days));
    if !args.force && !is_confirmed(&question)? {
        output::say("nothing was deleted");
        return Ok(Code::Failed);
    }
    let mut deleted = Vec::new();
    let mut code = Code::Success;
    let progress = Bar::begin("deleting sessions", old.len());
    for session in &old {
        match host.project_sessions().delete(&session.id).await {
            Ok(ids) => deleted.extend(ids),
            // Somebody else was faster, or works on it again.
            Err(ReachError::Storage(StorageError::NotFound { .. } | StorageError::Locked { .. })) => {}
            Err(error) => {
                output::say(&format!("error: session {} stays: {}", session.id, chain(&error)));
                code = Code::Failed;
            }
        }
        progress.advance();
    }
    drop(progress);
    output::say(&format!("deleted {}", sessions(deleted.len())));
    match tell(&deleted, args)? {
        Code::Success => Ok(code),
        gone => Ok(gone),
    }
}

/// Top-level sessions that nothing was written to for long, and that do not run.
async fn old(args: &CleanupArgs, host: &Host) -> Result<Vec<SessionSummary>, Failure> {
    let age = DAY.saturating_mul(args.days);
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    let before = Timestamp::from_micros(host.clock().now().as_micros().saturating_sub(age));
    let query = SessionQuery::default().top_level().before(before);
    let mut old = Vec::new();
    for session in host.storage().list(&query).await? {
        match host.project_sessions().state(&session).await {
            Ok(SessionState::Running { .. } | SessionState::Damaged) => {}
            Ok(_) => old.push(session),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(old)
}

fn tell(ids: &[SessionId], args: &CleanupArgs) -> Result<Code, Failure> {
    match args.json {
        true => output::print_json(&ids),
        false => Ok(output::print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>())),
    }
}

fn sessions(count: usize) -> String {
    if count == 1 { "1 session".to_owned() } else { format!("{count} sessions") }
}

fn days(days: u32) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}
