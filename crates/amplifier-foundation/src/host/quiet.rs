//! A display that cannot break what it shows.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use amplifier_core::approval::{Display, Origin, Shown};
use amplifier_core::panic::message;

/// A display whose panics end here.
#[derive(Debug)]
pub(super) struct Quiet(pub(super) Arc<dyn Display>);

impl Display for Quiet {
    fn show(&self, origin: &Origin, shown: Shown<'_>) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.0.show(origin, shown))) {
            tracing::error!(message = message(panic.as_ref()), "the display panicked");
        }
    }
}
