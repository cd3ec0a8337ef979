//! What was typed, for commands that both programs have.
//!
//! Never here: what it means.

mod fire;
pub(super) mod runs;
mod trigger;

pub use fire::{FireArgs, Of};
pub use runs::{ChangeArgs, RunsArgs, RunsCommand, Since};
pub use trigger::{End, HistoryArgs, ListArgs, SimulateArgs, TriggerCommand, What};
