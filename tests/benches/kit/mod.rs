//! What the benchmarks of spawning share: a bundle, a host, and how a figure is told.

use std::sync::Arc;

use amplifier_foundation::bundle::PreparedBundle;
use amplifier_foundation::{Host, HostBuilder};

/// The bundle of every session here: a loop, a context, an answer from a script.
pub(crate) const BUNDLE: &str = "---\nbundle: {name: bench}\nsession:\n  orchestrator: {module: loop-basic}\n  \
    context: {module: context-simple}\nproviders:\n  - module: provider-scripted\n    \
    config: {script: [{text: done}]}\n---\nBe brief.\n";

mod figure;
pub(crate) use figure::{Wanted, row};

/// A host that knows the bundle as `bench`.
pub(crate) fn builder() -> HostBuilder {
    Host::builder().modules(amplifier_modules::builtin()).bundle("bench", BUNDLE)
}

/// A host in memory, and the bundle prepared.
#[allow(dead_code, reason = "not every benchmark needs it")]
pub(crate) async fn in_memory() -> (Host, Arc<PreparedBundle>) {
    let host = builder().in_memory();
    let bundle = host.prepare("bench").await.unwrap();
    (host, bundle)
}
