//! How many descendants a session may have: counted along the line up to the root.
//!
//! Guarantees: a place is taken in every ancestor or in none, so that parallel spawns never pass a
//! limit together; a place that is dropped is free again, and stays counted in the total.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use amplifier_core::limits::{LimitKind, LimitReached};

use super::bounds::Bounds;

/// The descendants of one session.
#[derive(Debug)]
pub(crate) struct Places {
    max_running: u32,
    max_total: u32,
    set_by: [&'static str; 2],
    running: AtomicU32,
    total: AtomicU32,
    parent: Option<Arc<Places>>,
}

impl Places {
    pub(crate) fn new(bounds: &Bounds, parent: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self {
            max_running: bounds.limits.max_concurrent.unwrap_or(u32::MAX),
            max_total: bounds.limits.max_descendants.unwrap_or(u32::MAX),
            set_by: [bounds.set_by(LimitKind::Concurrent), bounds.set_by(LimitKind::Descendants)],
            running: AtomicU32::new(0),
            total: AtomicU32::new(0),
            parent,
        })
    }

    /// A place for one more descendant, here and in every ancestor.
    pub(crate) fn take(self: &Arc<Self>) -> Result<Place, LimitReached> {
        let mut taken = Place(Vec::new());
        let mut next = Some(self);
        while let Some(places) = next {
            if let Err(refusal) = places.take_own() {
                taken.undo();
                return Err(refusal);
            }
            taken.0.push(Arc::clone(places));
            next = places.parent.as_ref();
        }
        Ok(taken)
    }

    /// Descendants that run now, and all there were.
    pub(crate) fn counts(&self) -> (u32, u32) {
        (self.running.load(Ordering::Acquire), self.total.load(Ordering::Acquire))
    }

    fn take_own(&self) -> Result<(), LimitReached> {
        let add = |counter: &AtomicU32, max: u32| {
            let fits = |used: u32| (used < max).then(|| used + 1);
            counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits)
        };
        let refused = |kind, max: u32, used: u32, by: &str| {
            LimitReached::new(kind, u64::from(max), u64::from(used), by)
        };
        add(&self.running, self.max_running)
            .map_err(|used| refused(LimitKind::Concurrent, self.max_running, used, self.set_by[0]))?;
        add(&self.total, self.max_total).map(drop).map_err(|used| {
            self.running.fetch_sub(1, Ordering::AcqRel);
            refused(LimitKind::Descendants, self.max_total, used, self.set_by[1])
        })
    }
}

/// A place among the running descendants of a line of sessions, until it is dropped.
#[derive(Debug)]
#[must_use = "a place that is dropped is free again"]
pub(crate) struct Place(Vec<Arc<Places>>);

impl Place {
    /// Gives the place back as if it had never been taken: no session came of it.
    pub(crate) fn undo(self) {
        for places in &self.0 {
            places.total.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for places in &self.0 {
            places.running.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amplifier_core::Limits;

    fn places(running: u32, total: u32, parent: Option<Arc<Places>>) -> Arc<Places> {
        let mut limits = Limits::default();
        (limits.max_concurrent, limits.max_descendants) = (Some(running), Some(total));
        Places::new(&Bounds::new(&limits, None, &Limits::default(), &Limits::default()), parent)
    }

    #[test]
    fn a_place_is_taken_in_every_ancestor_or_in_none() {
        let root = places(2, 3, None);
        let child = places(9, 9, Some(Arc::clone(&root)));
        let (a, b) = (child.take().unwrap(), child.take().unwrap());
        let refusal = child.take().unwrap_err();
        assert_eq!((refusal.limit, refusal.value, refusal.used), (LimitKind::Concurrent, 2, 2));
        assert_eq!((root.counts(), child.counts()), ((2, 2), (2, 2)));
        drop((a, b));
        let c = child.take().unwrap();
        let refusal = child.take().unwrap_err();
        assert_eq!((refusal.limit, refusal.value), (LimitKind::Descendants, 3));
        c.undo();
        assert_eq!(root.counts(), (0, 2));
    }

    #[test]
    fn parallel_spawns_do_not_pass_a_limit_together() {
        let root = places(5, 100, None);
        let peak = AtomicU32::new(0);
        let taken: usize = std::thread::scope(|scope| {
            let work = || {
                let one = || {
                    root.take().inspect(|_| {
                        peak.fetch_max(root.counts().0, Ordering::Relaxed);
                    })
                };
                (0..1_000).filter(|_| one().is_ok()).count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!(peak.load(Ordering::Relaxed) <= 5);
        assert_eq!((taken, root.counts()), (100, (0, 100)));
    }
}
