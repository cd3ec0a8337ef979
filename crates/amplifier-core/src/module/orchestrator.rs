//! Orchestrators: the loop between model and tools.
//!
//! Contract: an orchestrator reaches models, tools and the transcript through
//! [`Turn`] alone, so that hooks, permissions, budgets, retries and durability
//! are the same for all of them. `execution:start` and `execution:end` are the
//! kernel's: they come on every path, whatever an orchestrator does.

use async_trait::async_trait;

use crate::turn::{Turn, TurnError};

/// An orchestrator.
#[async_trait]
pub trait Orchestrator: Send + Sync + std::fmt::Debug {
    /// Its module's name.
    fn name(&self) -> &str;

    /// Answers the user message that was just appended. Returns the answer's text.
    async fn run(&self, turn: &mut Turn<'_>) -> Result<String, TurnError>;
}
