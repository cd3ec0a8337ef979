//! Servers that several sessions of a host use.
//!
//! Guarantees: two sessions share a server if they mean the same program or address, in the same place, with the
//! same confinement; it ends with the last of them. Two that start at once start it once.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::config::ServerSpec;
use super::server::Server;

/// What must be equal. Holds secrets, so it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    /// Of a server in a place; no part of it is shown anywhere.
    pub(super) fn new(spec: &ServerSpec, place: &str) -> Self {
        let transport = match &spec.transport {
            super::config::Transport::Stdio(stdio) => {
                format!(
                    "{:?}{:?}{:?}{:?}{}",
                    stdio.argv, stdio.env, stdio.passthrough, stdio.cwd, stdio.network
                )
            }
            super::config::Transport::Http(http) => format!("{}{:?}", http.url, http.headers),
        };
        Self(format!("{}\n{place}\n{transport}", spec.name))
    }
}

/// A server that somebody uses. The last one dropped leaves it to be ended.
#[derive(Debug)]
pub(super) struct InUse {
    pub(super) server: Arc<Server>,
}

/// Those of a host.
#[derive(Default)]
pub(super) struct Shared {
    // Held for a look-up or an insertion; never across an await.
    servers: Mutex<Vec<(Key, Weak<InUse>)>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    /// The server of this key, or a new one.
    pub(super) fn of(&self, key: Key, make: impl FnOnce() -> Server) -> Arc<InUse> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|(_, server)| server.strong_count() > 0);
        let known = servers.iter().find(|(known, _)| *known == key).and_then(|(_, server)| server.upgrade());
        known.unwrap_or_else(|| {
            let made = Arc::new(InUse { server: Arc::new(make()) });
            servers.push((key, Arc::downgrade(&made)));
            made
        })
    }
}

impl InUse {
    /// Gives the use up; the last one ends the server.
    pub(super) async fn leave(self: Arc<Self>) {
        if let Some(last) = Arc::into_inner(self) {
            last.server.end().await;
        }
    }
}
