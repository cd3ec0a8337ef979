//! The nodes of a host's sessions, as long as anybody holds them.
//!
//! Guarantees: all who spawn below one session get one node, also once it has ended: they share its
//! places, its budget and its list of children. A node that nobody holds is freed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use amplifier_core::SessionId;

use super::node::Node;

/// Nodes by session; of a session that was resumed the last one.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    // Held for a look-up or a change; never across an await.
    map: Mutex<Map>,
}

#[derive(Debug, Default)]
struct Map {
    nodes: HashMap<SessionId, Weak<Node>>,
    /// How many there were when those that are gone were last taken out.
    swept: usize,
}

impl Nodes {
    /// The node of a session.
    pub(super) fn get(&self, id: &SessionId) -> Option<Arc<Node>> {
        self.lock().nodes.get(id)?.upgrade()
    }

    /// Enters the node of an activation that begins.
    pub(super) fn enter(&self, node: &Arc<Node>) {
        self.lock().insert(node);
    }

    /// Enters the node of a session that does not run, unless there is one by now.
    pub(super) fn enter_recorded(&self, node: Arc<Node>) -> Arc<Node> {
        let mut map = self.lock();
        if let Some(known) = map.nodes.get(&node.id).and_then(Weak::upgrade) {
            return known;
        }
        map.insert(&node);
        node
    }

    fn lock(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Map {
    fn insert(&mut self, node: &Arc<Node>) {
        if self.nodes.len() > 2 * self.swept + 16 {
            self.nodes.retain(|_, node| node.strong_count() > 0);
            self.swept = self.nodes.len();
        }
        self.nodes.insert(node.id.clone(), Arc::downgrade(node));
    }
}
