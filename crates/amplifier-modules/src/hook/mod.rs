//! Hooks: who watches a session, and tidies what it says.
//!
//! Order: `hooks-redaction` runs before `hooks-logging`, and both before hooks that
//! name no priority, so that a log holds no known secret and misses no event that a
//! later hook denies.

mod logging;
mod redaction;
mod secrets;
mod streaming_ui;

use std::sync::Arc;

use amplifier_core::module::Module;

pub use logging::HooksLogging;
pub use redaction::HooksRedaction;
pub use streaming_ui::HooksStreamingUi;

/// The hooks of this build.
pub fn hooks() -> Vec<Arc<dyn Module>> {
    vec![Arc::new(HooksLogging), Arc::new(HooksRedaction), Arc::new(HooksStreamingUi)]
}
