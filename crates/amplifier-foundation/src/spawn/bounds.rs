//! The limits of a session, and who set each of them.
//!
//! Guarantees: a session's limits are never wider than its parent's or the host's. Whoever resumes a
//! session may name its limits anew; those it does not name stay as recorded.

use std::sync::Arc;

use amplifier_core::Limits;
use amplifier_core::limits::LimitKind;

use crate::router::DEFAULT_MAX_HOPS;

/// Levels of children below a root, where nothing else is said.
pub const DEFAULT_DEPTH: u32 = 3;
/// Descendants of one root that run at once.
pub const DEFAULT_CONCURRENT: u32 = 8;
/// Descendants of one root in all.
pub const DEFAULT_DESCENDANTS: u32 = 100;
/// Model calls of one activation of a child.
pub const DEFAULT_CHILD_TURNS: u32 = 50;
/// Time of one activation of a child, in milliseconds: 15 minutes.
pub const DEFAULT_CHILD_TIMEOUT_MS: u64 = 15 * 60 * 1_000;

/// Time until a child's model or tools give a first sign of life, in milliseconds: 2 minutes.
pub const DEFAULT_CHILD_FIRST_PROGRESS_MS: u64 = 2 * 60 * 1_000;
/// Time in which nothing comes from a child's model and none of its tools runs, in milliseconds: 10 minutes.
pub const DEFAULT_CHILD_IDLE_MS: u64 = 10 * 60 * 1_000;

/// The limits of a session with their layers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bounds {
    /// What counts.
    pub(crate) limits: Limits,
    host: Limits,
    parent: Limits,
    request: Limits,
    before: Limits,
    recorded: Arc<Limits>,
}

impl Bounds {
    /// The limits of an activation: of the host, the parent, the request and an earlier activation.
    pub(super) fn new(host: &Limits, parent: Option<&Self>, request: &Limits, before: &Limits) -> Self {
        let own = request.or(before);
        let own = if parent.is_some() { own.or(&of_children()) } else { own };
        let above = parent.map(|parent| parent.limits.clone()).unwrap_or_default();
        let limits = host.stricter(&above).stricter(&own).or(&of_trees());
        // What holds for the parent by default was set by nobody, there and here.
        let named = parent.map(|parent| Limits::clone(&parent.recorded)).unwrap_or_default();
        let recorded = Arc::new(host.stricter(&named).stricter(&request.or(before)));
        Self {
            limits,
            host: host.clone(),
            parent: named,
            request: request.clone(),
            before: before.clone(),
            recorded,
        }
    }

    /// The bounds of a root session for which nobody asks for others: the same for all of a host.
    pub(crate) fn of_host(host: &Limits) -> Arc<Self> {
        Arc::new(Self::new(host, None, &Limits::default(), &Limits::default()))
    }

    /// What is recorded for a resume: the limits without what holds by default.
    pub(super) fn recorded(&self) -> Arc<Limits> {
        Arc::clone(&self.recorded)
    }

    /// Who set a limit; the outermost of those that say the same.
    pub(crate) fn set_by(&self, kind: LimitKind) -> &'static str {
        let value = self.limits.get(kind);
        let layers = [
            (&self.host, "the settings"),
            (&self.parent, "the parent session"),
            (&self.request, "the request"),
            (&self.before, "an earlier run of the session"),
        ];
        let found = layers.into_iter().find(|(layer, _)| layer.get(kind) == value);
        found.map_or("the default", |(_, name)| name)
    }
}

/// What holds for every tree, where nothing else is said.
fn of_trees() -> Limits {
    let mut limits = Limits::default();
    limits.max_depth = Some(DEFAULT_DEPTH);
    limits.max_concurrent = Some(DEFAULT_CONCURRENT);
    limits.max_descendants = Some(DEFAULT_DESCENDANTS);
    limits.max_hops = Some(DEFAULT_MAX_HOPS);
    limits
}

/// What holds for every child, where nothing else is said.
fn of_children() -> Limits {
    let mut limits = Limits::default();
    limits.max_turns = Some(DEFAULT_CHILD_TURNS);
    limits.timeout_ms = Some(DEFAULT_CHILD_TIMEOUT_MS);
    limits.first_progress_ms = Some(DEFAULT_CHILD_FIRST_PROGRESS_MS);
    limits.idle_ms = Some(DEFAULT_CHILD_IDLE_MS);
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(max_turns: Option<u32>) -> Limits {
        let mut limits = Limits::default();
        limits.max_turns = max_turns;
        limits
    }

    #[test]
    fn a_limit_is_the_strictest_and_says_who_set_it() {
        let check = |host, request, before, expect, by| {
            let bounds = Bounds::new(&turns(host), None, &turns(request), &turns(before));
            assert_eq!((bounds.limits.max_turns, bounds.set_by(LimitKind::Turns)), (expect, by));
        };
        check(Some(5), Some(9), None, Some(5), "the settings");
        check(Some(5), Some(3), Some(2), Some(3), "the request");
        check(None, None, Some(2), Some(2), "an earlier run of the session");
        check(None, None, None, None, "the settings");
    }

    #[test]
    fn a_child_has_defaults_and_never_more_than_its_parent() {
        let none = Limits::default();
        let root = Bounds::new(&none, None, &turns(Some(20)), &none);
        let child = Bounds::new(&none, Some(&root), &none, &none);
        assert_eq!(
            (child.limits.max_turns, child.set_by(LimitKind::Turns)),
            (Some(20), "the parent session")
        );
        let wide = Bounds::new(&none, Some(&root), &turns(Some(30)), &none);
        assert_eq!(wide.limits.max_turns, Some(20));
        let free = Bounds::new(&none, Some(&Bounds::new(&none, None, &none, &none)), &none, &none);
        assert_eq!(free.limits.max_turns, Some(DEFAULT_CHILD_TURNS));
        assert_eq!(free.set_by(LimitKind::Turns), "the default");
        assert_eq!(free.limits.timeout_ms, Some(DEFAULT_CHILD_TIMEOUT_MS));
        assert_eq!(free.limits.max_depth, Some(DEFAULT_DEPTH));
        let below = Bounds::new(&none, Some(&free), &turns(Some(80)), &none);
        assert_eq!((below.limits.max_turns, below.set_by(LimitKind::Turns)), (Some(50), "the default"));
        assert_eq!((below.set_by(LimitKind::Depth), below.recorded().max_depth), ("the default", None));
    }
}
