//! The turnstile: one process at a time writes, and who waits is not passed over.
//!
//! Two locks: the gate, which whoever writes holds, and the place in front of it, which whoever is
//! next holds while waiting and leaves on getting the gate. Who comes out of the gate and wants in
//! again finds somebody standing there, and lets that one go first.
//!
//! Guarantees: of two that write all the time each gets every second turn; a wait has an end; the
//! system gives both locks back for who dies. Within a process one thread at a time takes part.
//! Never here: safety of what is written. This is for fairness; the database has a lock of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amplifier_core::{Clock, MonoTime};
use amplifier_fs::gate::Gate;

use crate::OwnerId;

const GATE: &str = "turnstile";
const NEXT: &str = "turnstile-next";
/// How often a lock is tried before the thread sleeps: a turn may be over in some microseconds.
const SPINS: usize = 20;
/// How long the thread sleeps between two tries, at first, and after [`SHORT_PAUSES`] of them.
const PAUSE: Duration = Duration::from_micros(100);
const LONG_PAUSE: Duration = Duration::from_millis(1);
const SHORT_PAUSES: usize = 200;

/// This process's side of the turnstile.
#[derive(Debug)]
pub(super) struct Turnstile(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    run: PathBuf,
    owner: OwnerId,
    // Held only to take the locks out and to put them back.
    side: Mutex<Side>,
    back: Condvar,
}

#[derive(Debug, Default)]
struct Side {
    /// A thread of this process is in the turnstile or waits for it.
    taken: bool,
    /// `None` while a thread has them, and before the first.
    locks: Option<Locks>,
}

#[derive(Debug)]
struct Locks {
    gate: Gate,
    next: Gate,
}

/// Nobody else passes the turnstile until this is dropped.
#[derive(Debug)]
#[must_use = "the turnstile is free again once this is dropped"]
pub struct Passage {
    shared: Arc<Shared>,
    locks: Option<Locks>,
}

/// The turnstile was not passed.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub struct Blocked {
    /// Who was in it at the end, where that is known.
    pub holder: Option<OwnerId>,
    /// Why its files could not be used; `None` if it was held for too long.
    pub source: Option<io::Error>,
}

impl Turnstile {
    pub(super) fn new(run: &Path, owner: OwnerId) -> Self {
        let (side, back) = Default::default();
        Self(Arc::new(Shared { run: run.to_owned(), owner, side, back }))
    }

    pub(super) fn pass(&self, clock: &dyn Clock, within: Duration) -> Result<Passage, Blocked> {
        let mut wait = Wait { clock, since: clock.monotonic(), within, slept: Duration::ZERO, tries: 0 };
        let mut passage = self.0.enter(within).ok_or_else(|| self.0.blocked_by_itself())?;
        let locks = match passage.locks.take() {
            Some(locks) => locks,
            None => Locks::open(&self.0.run)?,
        };
        let locks = passage.locks.insert(locks);
        if !wait.take(&mut locks.next)? || !wait.take(&mut locks.gate)? {
            return Err(locks.holder());
        }
        locks.next.give()?;
        // A full disk is no reason not to pass; then the name is an old one.
        let _ = locks.gate.sign(self.0.owner.as_str());
        Ok(passage)
    }
}

impl Blocked {
    fn message(&self) -> String {
        match (&self.source, &self.holder) {
            (Some(_), _) => {
                "the turnstile's files cannot be used; is the project's folder still there".into()
            }
            (None, Some(holder)) => format!("`{holder}` holds the turnstile; try again"),
            (None, None) => "another process holds the turnstile; try again".into(),
        }
    }
}

impl From<io::Error> for Blocked {
    fn from(error: io::Error) -> Self {
        Self { holder: None, source: Some(error) }
    }
}

impl Shared {
    /// Waits until no other thread of this process takes part. `None`: not in time.
    fn enter(self: &Arc<Self>, within: Duration) -> Option<Passage> {
        let waited = self.back.wait_timeout_while(self.side(), within, |side| side.taken);
        let (mut side, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if side.taken {
            return None;
        }
        side.taken = true;
        Some(Passage { shared: Arc::clone(self), locks: side.locks.take() })
    }

    fn blocked_by_itself(&self) -> Blocked {
        Blocked { holder: Some(self.owner.clone()), source: None }
    }

    fn side(&self) -> MutexGuard<'_, Side> {
        // Each change of it is one assignment, so it is whole after a panic too.
        self.side.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Locks {
    fn open(run: &Path) -> io::Result<Self> {
        Ok(Self { gate: Gate::open(&run.join(GATE))?, next: Gate::open(&run.join(NEXT))? })
    }

    fn holder(&mut self) -> Blocked {
        let name = self.gate.signature().unwrap_or_default();
        Blocked { holder: OwnerId::new(name).ok(), source: None }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let Self { shared, locks } = self;
        let locks = locks.take().and_then(|mut locks| {
            let given = locks.gate.give().and(locks.next.give());
            // Closed, what cannot be given back is free too.
            given.is_ok().then_some(locks)
        });
        *shared.side() = Side { taken: false, locks };
        shared.back.notify_one();
    }
}

/// A wait with an end.
struct Wait<'a> {
    clock: &'a dyn Clock,
    since: MonoTime,
    within: Duration,
    /// Ends the wait too, in case the clock stands.
    slept: Duration,
    tries: usize,
}

impl Wait<'_> {
    /// Tries the lock until it is taken. False: not in time.
    fn take(&mut self, lock: &mut Gate) -> io::Result<bool> {
        while !lock.try_take()? {
            let passed = self.clock.monotonic().saturating_since(self.since).max(self.slept);
            if passed >= self.within {
                return Ok(false);
            }
            self.pause();
        }
        Ok(true)
    }

    fn pause(&mut self) {
        self.tries += 1;
        if self.tries <= SPINS {
            return std::thread::yield_now();
        }
        let pause = if self.tries <= SPINS + SHORT_PAUSES { PAUSE } else { LONG_PAUSE };
        std::thread::sleep(pause);
        self.slept += pause;
    }
}
