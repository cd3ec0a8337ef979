//! What the benchmarks of spawning share: a bundle, a host, and how a figure is told.

use std::sync::Arc;

use amplifier_foundation::bundle::PreparedBundle;
use amplifier_foundation::{Host, HostBuilder};

/// The bundle of every session here: a loop, a context, an answer from a script.
pub(crate) const BUNDLE: &str = "---\nbundle: {name: bench}\nsession:\n  orchestrator: {module: loop-basic}\n  \
    context: {module: context-simple}\nproviders:\n  - module: provider-scripted\n    \
    config: {script: [{text: done}]}\n---\nBe brief.\n";

/// What is wanted of a figure's median.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "not every benchmark wants everything")]
pub(crate) enum Wanted {
    Nothing,
    AtMost(f64),
    AtLeast(f64),
}

/// Prints one figure as a JSON object: `{what, unit, bound, least, runs}`.
pub(crate) fn row(what: &str, unit: &str, wanted: Wanted, runs: &[f64]) {
    let (bound, least) = match wanted {
        Wanted::Nothing => (None, None),
        Wanted::AtMost(bound) => (Some(bound), None),
        Wanted::AtLeast(least) => (None, Some(least)),
    };
    let row = serde_json::json!({"what": what, "unit": unit, "bound": bound, "least": least, "runs": runs});
    println!("{row}");
}

/// A host that knows the bundle as `bench`.
pub(crate) fn builder() -> HostBuilder {
    Host::builder().modules(amplifier_modules::builtin()).bundle("bench", BUNDLE)
}

/// A host in memory, and the bundle prepared.
pub(crate) async fn in_memory() -> (Host, Arc<PreparedBundle>) {
    let host = builder().in_memory();
    let bundle = host.prepare("bench").await.unwrap();
    (host, bundle)
}
