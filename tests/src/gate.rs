//! A place where something under test waits until the test lets it pass.
//!
//! Guarantees: who waits is counted before it waits, so a test that has seen the count
//! knows that the other side has arrived.

use std::sync::Arc;

use tokio::sync::watch;

use crate::soon;

/// A gate, shut at first. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate {
    arrived: Arc<watch::Sender<usize>>,
    open: Arc<watch::Sender<bool>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A gate that is shut.
    pub fn new() -> Self {
        Self { arrived: Arc::new(watch::Sender::new(0)), open: Arc::new(watch::Sender::new(false)) }
    }

    /// Lets through everybody who waits or will come.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Holds up who comes from now on.
    pub fn shut(&self) {
        self.open.send_replace(false);
    }

    /// Counts the caller as arrived, and waits until the gate is open.
    pub async fn pass(&self) {
        self.arrived.send_modify(|count| *count += 1);
        let mut open = self.open.subscribe();
        // The sender lives in `self`, so the wait ends only by `open`.
        let _ = open.wait_for(|open| *open).await;
    }

    /// How many have arrived so far.
    pub fn arrived(&self) -> usize {
        *self.arrived.borrow()
    }

    /// Waits until that many have arrived.
    pub async fn reached(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        let _ = soon("arrivals at a gate", arrived.wait_for(|now| *now >= count)).await;
    }
}
