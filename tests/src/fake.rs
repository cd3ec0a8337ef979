//! Modules under a test's control: a provider that says what it is told to, tools and hooks
//! that wait, fail or panic when they are told to.
//!
//! Guarantees: a fake does one thing, at once, and remembers that it was asked.

mod brain;
mod hook;
mod looping;
mod tool;

pub use brain::{Brain, Step};
pub use hook::FakeHook;
pub use looping::{FakeContext, FakeLoop, LoopAct};
pub use tool::{Act, FakeTool};

/// The id of [`Brain`]'s module.
pub const PROVIDER: &str = "provider-brain";
/// The orchestrator of [`crate::bundle::BundleText`].
pub const ORCHESTRATOR: &str = "loop-plain";
/// The context manager of [`crate::bundle::BundleText`].
pub const CONTEXT: &str = "context-plain";
