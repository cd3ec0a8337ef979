//! All webhooks of a process, by path.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::{Response, WebhookHandle};

/// The webhooks that a listener serves below `/hooks/`. Clones are the same set.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    // Guards the map alone; never held across an await.
    by_path: Arc<RwLock<HashMap<String, WebhookHandle>>>,
}

/// Two webhooks have one path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("another webhook has the path `{path}`; give each its own")]
pub struct PathTaken {
    /// The path.
    pub path: String,
}

impl Hooks {
    /// No webhooks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a webhook. One whose trigger has ended makes way.
    pub fn add(&self, hook: WebhookHandle) -> Result<(), PathTaken> {
        let mut hooks = self.by_path.write().unwrap_or_else(PoisonError::into_inner);
        if hooks.get(hook.path()).is_some_and(WebhookHandle::is_open) {
            return Err(PathTaken { path: hook.path().to_owned() });
        }
        hooks.insert(hook.path().to_owned(), hook);
        Ok(())
    }

    /// Takes a webhook away.
    pub fn remove(&self, path: &str) {
        self.by_path.write().unwrap_or_else(PoisonError::into_inner).remove(path);
    }

    /// Takes a POST request in; see [`WebhookHandle::deliver`]. 404 for a path that nobody has.
    pub async fn deliver<'h>(
        &self,
        path: &str,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        body: Bytes,
    ) -> Response {
        let hook = self.by_path.read().unwrap_or_else(PoisonError::into_inner).get(name(path)).cloned();
        match hook {
            Some(hook) => hook.deliver(path, headers, body).await,
            None => Response::error(404, "there is no such hook"),
        }
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
