//! What a session keeps for those that it spawns, and what it knows of them.
//!
//! Guarantees: there before the first module is mounted, as a typed capability of the session; what a
//! child is given of it never changes. A child is listed from the moment it is recorded, and its end is
//! entered before its outcome is published. A node holds those above it, and of those below only what is
//! told of them, so that a tree that has ended is freed.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use amplifier_core::budget::Budget;
use amplifier_core::limits::LimitKind;
use amplifier_core::{Cause, OutcomeKind, Permissions, SessionId, SessionOutcome, Usage};

use super::bounds::Bounds;
use super::places::Places;
use super::plan::SessionPlan;
use super::request::Wish;
use crate::bundle::PreparedBundle;
use crate::storage::SessionStorage;

/// What a session lends to those that it spawns.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) id: SessionId,
    pub(crate) root: SessionId,
    /// Levels below the root.
    pub(crate) depth: u32,
    /// Times that an agent delegated to itself above.
    pub(crate) self_depth: u32,
    pub(crate) plan: Arc<SessionPlan>,
    pub(crate) bounds: Arc<Bounds>,
    pub(crate) permissions: Permissions,
    pub(crate) storage: Arc<dyn SessionStorage>,
    pub(crate) cwd: PathBuf,
    /// Provider and model that were asked for; children go on with them.
    pub(crate) wish: Wish,
    /// Settings of the project named the bundle.
    pub(crate) chosen_by_project: bool,
    /// How long its model calls wait out a rate limit, where that is not the host's matter.
    pub(crate) patience: Option<Duration>,
    /// The event at the beginning of it all; children go on with it.
    pub(crate) cause: Option<Cause>,
    pub(crate) parent: Option<Arc<Node>>,
    /// Where its children are entered.
    pub(super) children: Arc<Children>,
}

/// One session in the tree of those that spawn each other.
#[derive(Debug)]
pub(crate) struct Node {
    lent: Lent,
    pub(crate) budget: Arc<Budget>,
    pub(crate) places: Arc<Places>,
}

impl std::ops::Deref for Node {
    type Target = Lent;

    fn deref(&self) -> &Lent {
        &self.lent
    }
}

/// The children of one session, in the order in which they were recorded.
#[derive(Debug, Default)]
pub(crate) struct Children {
    // Held to add a child, or to copy the list; never across an await.
    list: Mutex<Vec<Arc<Child>>>,
}

impl Node {
    /// A budget and places within the parent's, for what is lent; without a parent a budget within `shared`.
    pub(super) fn new(lent: Lent, shared: Option<&Arc<Budget>>) -> Arc<Self> {
        let (bounds, parent) = (&lent.bounds, lent.parent.as_ref());
        let limits = &bounds.limits;
        let by = bounds.set_by(match limits.max_tokens {
            Some(_) => LimitKind::Tokens,
            None => LimitKind::Cost,
        });
        let above = parent.map(|parent| &parent.budget).or(shared).map(Arc::clone);
        let budget = Budget::new(by, limits.max_tokens, limits.max_cost_micro_usd, above);
        let places = Places::new(bounds, parent.map(|parent| Arc::clone(&parent.places)));
        Arc::new(Self { lent, budget, places })
    }

    /// Where the children of a child are entered, of its last activation.
    pub(super) fn children_of(&self, id: &SessionId) -> Option<Arc<Children>> {
        let children = self.children.lock();
        children.iter().rfind(|child| child.id == *id).map(|child| Arc::clone(&child.children))
    }

    /// Enters a child.
    pub(super) fn add(&self, child: Arc<Child>) {
        self.children.lock().push(child);
    }

    /// Notes that somebody was given the outcome of a child.
    pub(super) fn awaited(&self, id: &SessionId) {
        let children = self.children.lock();
        for child in children.iter().filter(|child| child.id == *id) {
            child.awaited.store(true, Ordering::Release);
        }
    }

    /// What is known of the descendants, each parent before its children.
    pub(crate) fn descendants(&self) -> Vec<ChildSummary> {
        self.children.descendants(&self.id)
    }

    /// What it and its descendants have used so far.
    pub(crate) fn usage(&self) -> TreeUsage {
        let ((running, spawned), used) = (self.places.counts(), self.budget.used());
        TreeUsage { running, spawned, tokens: used.tokens, micro_usd: used.micro_usd }
    }
}

impl Children {
    fn descendants(&self, parent: &SessionId) -> Vec<ChildSummary> {
        let children = self.lock().clone();
        let line = |child: &Arc<Child>| {
            let below = child.children.descendants(&child.id);
            std::iter::once(child.summary(parent)).chain(below)
        };
        children.iter().flat_map(line).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Child>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A spawned session, as its parent knows it.
#[derive(Debug)]
pub(crate) struct Child {
    id: SessionId,
    depth: u32,
    children: Arc<Children>,
    agent: Option<Arc<str>>,
    bundle: Arc<PreparedBundle>,
    background: bool,
    end: OnceLock<ChildEnd>,
    /// Somebody was given the outcome, or waits for it as the caller.
    awaited: AtomicBool,
}

/// How a child ended.
#[derive(Debug, Clone, Copy)]
struct ChildEnd {
    kind: OutcomeKind,
    usage: Usage,
    cost_micro_usd: Option<u64>,
    denied_unasked: bool,
}

impl Child {
    pub(super) fn new(node: &Node, agent: Option<&str>, background: bool) -> Arc<Self> {
        Arc::new(Self {
            id: node.id.clone(),
            depth: node.depth,
            children: Arc::clone(&node.children),
            agent: agent.map(Arc::from),
            bundle: Arc::clone(&node.plan.bundle),
            background,
            end: OnceLock::new(),
            awaited: AtomicBool::new(!background),
        })
    }

    pub(super) fn ended(&self, outcome: &SessionOutcome) {
        let end = ChildEnd {
            kind: outcome.kind,
            usage: outcome.usage,
            cost_micro_usd: outcome.cost_micro_usd,
            denied_unasked: outcome.denied_unasked,
        };
        // A later activation of the child tells its own parent.
        let _ = self.end.set(end);
    }

    fn summary(&self, parent: &SessionId) -> ChildSummary {
        let end = self.end.get();
        ChildSummary {
            id: self.id.clone(),
            parent: parent.clone(),
            agent: self.agent.as_deref().map(str::to_owned),
            bundle: self.bundle.name.clone(),
            depth: self.depth,
            background: self.background,
            awaited: self.awaited.load(Ordering::Acquire),
            outcome: end.map(|end| end.kind),
            usage: end.map(|end| end.usage).unwrap_or_default(),
            cost_micro_usd: end.and_then(|end| end.cost_micro_usd),
            denied_unasked: end.is_some_and(|end| end.denied_unasked),
        }
    }
}

/// What one activation of a session and its descendants have used, as it counts against its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TreeUsage {
    /// Descendants that run now.
    pub running: u32,
    /// Descendants in all; one that was resumed counts once more.
    pub spawned: u32,
    /// Tokens that are used, and set aside for calls that run. A call that was cut off counts as it was set aside.
    pub tokens: u64,
    /// Cost that is used and set aside, in millionths of a US dollar.
    pub micro_usd: u64,
}

/// A descendant of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildSummary {
    /// The descendant.
    pub id: SessionId,
    /// Who spawned it.
    pub parent: SessionId,
    /// The agent that it runs; `None` for a bundle.
    pub agent: Option<String>,
    /// Its bundle.
    pub bundle: String,
    /// Levels below the root.
    pub depth: u32,
    /// True if its caller did not wait for it.
    pub background: bool,
    /// True if somebody who waited was given its outcome, or waits as its caller.
    pub awaited: bool,
    /// How it ended; `None` while it runs.
    pub outcome: Option<OutcomeKind>,
    /// Tokens of the activation that was spawned here.
    pub usage: Usage,
    /// Its cost in millionths of a US dollar, where known.
    pub cost_micro_usd: Option<u64>,
    /// True if a tool call of it was denied because nobody could be asked.
    pub denied_unasked: bool,
}

impl ChildSummary {
    /// True if nobody took care of it: it still runs, or it failed in the background and nobody was told.
    pub fn is_abandoned(&self) -> bool {
        match self.outcome {
            None => true,
            Some(OutcomeKind::Completed) => false,
            Some(_) => self.background && !self.awaited,
        }
    }
}
