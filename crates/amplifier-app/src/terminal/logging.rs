//! Logs of the program itself: to stderr, and only where `AMPLIFIER_LOG` asks for them.
//!
//! Guarantees: without the variable nothing is set up, and a log statement costs a load.

use tracing_subscriber::EnvFilter;

/// Reads `AMPLIFIER_LOG`, for example `debug` or `amplifier_foundation=trace`.
pub fn init() {
    if let Some(wanted) = std::env::var("AMPLIFIER_LOG").ok().filter(|wanted| !wanted.is_empty()) {
        begin(&wanted, "AMPLIFIER_LOG");
    }
}

/// Begins to log what a filter lets through; `by` is who set it. A second call changes nothing.
pub fn begin(filter: &str, by: &str) {
    match EnvFilter::try_new(filter) {
        Ok(filter) => {
            let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
            // Fails only if one is set already: the variable wins.
            let _ = subscriber.with_ansi(false).try_init();
        }
        Err(error) => super::say(&format!("warning: {by} is ignored: {error}")),
    }
}
