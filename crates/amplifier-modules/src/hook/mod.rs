//! Hooks: who watches a session, and tidies what it says.
//!
//! Order: `hooks-redaction` runs before `hooks-logging`, and both before hooks that
//! name no priority, so that a log holds no known secret and misses no event that a
//! later hook denies.

mod approval;
mod logging;
mod redaction;
mod routing;
mod secrets;
mod session_naming;
mod shell;
mod status_context;
mod streaming_ui;
mod todo_reminder;

use std::sync::Arc;

use amplifier_core::module::Module;

pub use approval::HooksApproval;
pub use logging::HooksLogging;
pub use redaction::HooksRedaction;
pub use routing::HooksRouting;
pub use session_naming::HooksSessionNaming;
pub use shell::HooksShell;
pub use status_context::HooksStatusContext;
pub use streaming_ui::HooksStreamingUi;
pub use todo_reminder::HooksTodoReminder;

/// The hooks of this build.
pub fn hooks() -> Vec<Arc<dyn Module>> {
    vec![
        Arc::new(HooksLogging),
        Arc::new(HooksRedaction),
        Arc::new(HooksShell),
        Arc::new(HooksApproval),
        Arc::new(HooksStatusContext),
        Arc::new(HooksTodoReminder),
        Arc::new(HooksSessionNaming),
        Arc::new(HooksRouting),
        Arc::new(HooksStreamingUi),
    ]
}
