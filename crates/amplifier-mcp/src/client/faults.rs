//! What went wrong with a connection, for whoever is told that it is closed.
//!
//! Guarantees: the first reason counts; what is remembered of a server's error output is bounded.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of a server's last words that are remembered.
const MAX_SAID: usize = 2_048;

/// Of one connection.
#[derive(Debug, Default)]
pub(super) struct Faults {
    // Held to read or write a few fields; never across an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    reason: Option<String>,
    said: VecDeque<u8>,
    dropped: u64,
}

impl Faults {
    /// Notes why the connection ends.
    pub(super) fn closes(&self, reason: impl Into<String>) {
        self.state().reason.get_or_insert_with(|| reason.into());
    }

    /// Why it has ended.
    pub(super) fn reason(&self) -> Option<String> {
        self.state().reason.clone()
    }

    /// Remembers what the server says on its error output.
    pub(super) fn said(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.said.extend(bytes);
        let over = state.said.len().saturating_sub(MAX_SAID);
        state.said.drain(..over);
    }

    /// The last lines of that.
    pub(super) fn last_words(&self) -> String {
        let bytes: Vec<u8> = self.state().said.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(4)..].join(" | ")
    }

    /// Counts a message that was left out; true for the first.
    pub(super) fn dropped(&self) -> bool {
        let mut state = self.state();
        state.dropped += 1;
        state.dropped == 1
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_and_the_last_words_are_kept() {
        let faults = Faults::default();
        faults.closes("one");
        faults.closes("two");
        assert_eq!(faults.reason().as_deref(), Some("one"));
        faults.said(&b"old line\n".repeat(10_000));
        faults.said(b"a\n\n b \nc\nd\ne\n");
        assert_eq!(faults.last_words(), "b | c | d | e");
        assert!(faults.state().said.len() <= MAX_SAID);
        assert!(faults.dropped() && !faults.dropped());
    }
}
