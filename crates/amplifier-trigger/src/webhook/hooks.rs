//! All webhooks of a process, by path.
//!
//! Guarantees: a path has one owner at a time; what is claimed answers, also while nothing takes its calls
//! in; what is released is gone with the next request. Never here: which webhooks there should be.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;

use super::{Response, WebhookHandle};

/// After how long a caller may try a webhook again that is paused.
const PAUSED: Duration = Duration::from_secs(60);

/// The webhooks that a listener serves below `/hooks/`. Clones are the same set.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    // Guards the map alone; never held across an await.
    by_path: Arc<RwLock<HashMap<String, Entry>>>,
}

#[derive(Debug, Clone)]
struct Entry {
    owner: Arc<str>,
    /// `None` while it is paused.
    handle: Option<WebhookHandle>,
}

/// Two webhooks have one path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the webhooks of {owner} and {other} have the same path `{path}`; give each its own")]
pub struct PathTaken {
    /// The path.
    pub path: String,
    /// Who has it.
    pub owner: String,
    /// Who wanted it.
    pub other: String,
}

impl Hooks {
    /// No webhooks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a webhook that belongs to nobody in particular. One whose trigger has ended makes way.
    pub fn add(&self, hook: WebhookHandle) -> Result<(), PathTaken> {
        let path = hook.path().to_owned();
        let mut hooks = self.by_path.write().unwrap_or_else(PoisonError::into_inner);
        let other = hooks.get(&path).filter(|entry| entry.handle.as_ref().is_none_or(WebhookHandle::is_open));
        if let Some(entry) = other {
            let owner = entry.owner.to_string();
            return Err(PathTaken { path, owner, other: "another".to_owned() });
        }
        hooks.insert(path, Entry { owner: "one".into(), handle: Some(hook) });
        Ok(())
    }

    /// Takes a webhook away.
    pub fn remove(&self, path: &str) {
        self.by_path.write().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    /// Reserves a path until the claim is dropped. Its calls are answered with 503 and `Retry-After` as
    /// long as the claim has no handle: the webhook is paused.
    pub fn claim(&self, path: &str, owner: &str) -> Result<HookClaim, PathTaken> {
        let mut hooks = self.by_path.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = hooks.get(path) {
            let (path, owner, other) = (path.to_owned(), entry.owner.to_string(), owner.to_owned());
            return Err(PathTaken { path, owner, other });
        }
        hooks.insert(path.to_owned(), Entry { owner: owner.into(), handle: None });
        Ok(HookClaim { hooks: self.clone(), path: path.to_owned() })
    }

    /// True if somebody has this path.
    pub fn has(&self, path: &str) -> bool {
        self.by_path.read().unwrap_or_else(PoisonError::into_inner).contains_key(path)
    }

    /// The paths that are taken, in their order, each with its owner.
    pub fn paths(&self) -> Vec<(String, String)> {
        let hooks = self.by_path.read().unwrap_or_else(PoisonError::into_inner);
        let mut paths: Vec<(String, String)> =
            hooks.iter().map(|(path, entry)| (path.clone(), entry.owner.to_string())).collect();
        paths.sort();
        paths
    }

    /// Takes a POST request in; see [`WebhookHandle::deliver`]. 404 for a path that nobody has, 503 for one
    /// that is paused.
    pub async fn deliver<'h>(
        &self,
        path: &str,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        body: Bytes,
    ) -> Response {
        let entry = self.by_path.read().unwrap_or_else(PoisonError::into_inner).get(name(path)).cloned();
        match entry {
            Some(Entry { handle: Some(hook), .. }) => hook.deliver(path, headers, body).await,
            Some(_) => Response::later(503, "the webhook is paused", PAUSED),
            None => Response::error(404, "there is no such hook"),
        }
    }
}

/// The right to a path. Dropped, the path is free.
#[derive(Debug)]
#[must_use = "a claim that is dropped frees its path"]
pub struct HookClaim {
    hooks: Hooks,
    path: String,
}

impl HookClaim {
    /// From now on this handle takes the calls; `None`: nobody does.
    pub fn set(&self, handle: Option<WebhookHandle>) {
        let mut hooks = self.hooks.by_path.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = hooks.get_mut(&self.path) {
            entry.handle = handle;
        }
    }
}

impl Drop for HookClaim {
    fn drop(&mut self) {
        self.hooks.remove(&self.path);
    }
}

/// The path of a hook: without `/hooks/`, a query and a slash at the end.
pub(super) fn name(path: &str) -> &str {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    path.strip_prefix("/hooks/").unwrap_or(path).trim_matches('/')
}

impl WebhookHandle {
    fn is_open(&self) -> bool {
        self.0.inlet.is_open()
    }
}
