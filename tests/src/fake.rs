//! Modules under a test's control: a provider that says what it is told to, tools and hooks
//! that wait, fail or panic when they are told to.
//!
//! Guarantees: a fake does one thing, at once, and remembers that it was asked.

mod blocking;
mod brain;
mod denier;
mod hook;
mod looping;
mod spawning;
mod tool;
mod witness;

pub use blocking::Blocker;
pub use brain::{Brain, Step};
pub use denier::Denier;
pub use hook::FakeHook;
pub use looping::{FakeContext, FakeLoop, LoopAct};
pub use spawning::{SPAWN, SpawnTool, agent, bundle, spawning};
pub use tool::{Act, FakeTool};
pub use witness::{Seen, Witness};

/// The id of [`Brain`]'s module.
pub const PROVIDER: &str = "provider-brain";
/// The orchestrator of [`crate::bundle::BundleText`].
pub const ORCHESTRATOR: &str = "loop-plain";
/// The context manager of [`crate::bundle::BundleText`].
pub const CONTEXT: &str = "context-plain";
