//! Which runs a report is about.

use amplifier_core::Timestamp;
use amplifier_store::RunState;
use amplifier_trigger::BackgroundName;

/// Runs that a report tells at most, unless it says otherwise.
pub(super) const DEFAULT_LIMIT: usize = 50;

/// Which runs. By default all of all time, 50 of them told one by one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunQuery {
    /// Only those that took a step since; what waits or runs is told whenever it began.
    pub since: Option<Timestamp>,
    /// Only those in this state.
    pub state: Option<RunState>,
    /// Only those of this background session.
    pub background: Option<BackgroundName>,
    /// How many are told one by one: first those that need somebody, then the latest. Totals count all.
    pub limit: usize,
}

impl Default for RunQuery {
    fn default() -> Self {
        Self { since: None, state: None, background: None, limit: DEFAULT_LIMIT }
    }
}

impl RunQuery {
    /// Those that took a step since.
    #[must_use]
    pub fn since(mut self, since: Timestamp) -> Self {
        self.since = Some(since);
        self
    }

    /// Those in this state.
    #[must_use]
    pub fn state(mut self, state: RunState) -> Self {
        self.state = Some(state);
        self
    }

    /// Those of this background session.
    #[must_use]
    pub fn background(mut self, name: BackgroundName) -> Self {
        self.background = Some(name);
        self
    }

    /// How many are told one by one.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}
