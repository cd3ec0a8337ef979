//! The thread that looks for what other processes have written.
//!
//! Guarantees: started with the first listener; woken by the doorbell, and by the clock behind it.
//! Looks at one number before it reads.

use std::sync::PoisonError;

use rusqlite::Connection;

use super::event::Names;
use super::{Reader, Shared, open};

pub(super) fn watch(shared: &Shared) {
    let mut conn: Option<Connection> = None;
    let (mut names, mut seen) = (Names::default(), None);
    while wait(shared) {
        if !shared.is_open() {
            continue;
        }
        if conn.is_none() {
            conn = open::reader(&shared.options.path).ok();
        }
        let Some(open) = &conn else { continue };
        let version = open.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0)).ok();
        if version.is_some() && version == seen {
            continue;
        }
        match shared.feed.catch_up(&mut Reader { conn: open, names: &mut names }) {
            Ok(()) => seen = version,
            Err(error) => tracing::warn!(?error, "the log cannot be read; it is tried again"),
        }
    }
}

/// Waits for the bell or the time to look; false at the end.
fn wait(shared: &Shared) -> bool {
    let poll = shared.options.poll;
    match &shared.options.instance {
        Some(instance) => {
            instance.wait(poll);
            !shared.is_closed()
        }
        None => {
            let closed = shared.closed.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = shared.end.wait_timeout_while(closed, poll, |closed| !*closed);
            !*waited.unwrap_or_else(PoisonError::into_inner).0
        }
    }
}
