//! What the benchmarks share: how they are called, a bundle, a host, and how a figure is told.

use std::sync::Arc;

use amplifier_foundation::bundle::PreparedBundle;
use amplifier_foundation::{Host, HostBuilder};

/// The bundle of every session here: a loop, a context, an answer from a script.
pub(crate) const BUNDLE: &str = "---\nbundle: {name: bench}\nsession:\n  orchestrator: {module: loop-basic}\n  \
    context: {module: context-simple}\nproviders:\n  - module: provider-scripted\n    \
    config: {script: [{text: done}]}\n---\nBe brief.\n";

mod figure;
#[allow(unused_imports, reason = "not every benchmark has a rival")]
pub(crate) use figure::{Rival, Wanted, against, row, sized, with_ratios};

/// What a benchmark is called with: an area, the number of runs (15), and words that the area knows.
pub(crate) struct Call {
    pub(crate) area: String,
    pub(crate) runs: usize,
    pub(crate) words: Vec<String>,
}

impl Call {
    pub(crate) fn read() -> Self {
        // Cargo adds a flag of its own.
        let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).peekable();
        let area = args.next().unwrap_or_default();
        let number = args.peek().and_then(|arg| arg.parse().ok());
        let words = args.skip(usize::from(number.is_some())).collect();
        Self { area, runs: number.unwrap_or(15), words }
    }

    /// True if this part is to be measured: the one that is named, or all.
    #[allow(dead_code, reason = "not every benchmark has parts")]
    pub(crate) fn wants(&self, part: &str) -> bool {
        self.words.first().is_none_or(|word| word == part)
    }
}

/// True if sizes are to be small.
#[allow(dead_code, reason = "most sizes are small")]
pub(crate) fn quick() -> bool {
    std::env::var_os("AMPLIFIER_BENCH_QUICK").is_some()
}

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
