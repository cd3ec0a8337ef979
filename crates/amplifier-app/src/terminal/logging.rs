//! Logs of the program itself: to stderr, and only where `AMPLIFIER_LOG`, a setting or a daemon asks for them.
//!
//! Guarantees: without any of them nothing is set up, and a log statement costs a load.

use tracing_subscriber::EnvFilter;

/// Reads `AMPLIFIER_LOG`, for example `debug` or `amplifier_foundation=trace`.
pub fn init() {
    if let Some(wanted) = std::env::var("AMPLIFIER_LOG").ok().filter(|wanted| !wanted.is_empty()) {
        begin(&wanted, "AMPLIFIER_LOG");
    }
}

/// Begins to log what a filter lets through; `by` is who set it. A second call changes nothing.
pub fn begin(filter: &str, by: &str) {
    begin_as(filter, by, LogFormat::Text);
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line: `timestamp`, `level`, `target`, `fields`.
    Json,
}

/// The same, in a format.
pub fn begin_as(filter: &str, by: &str, format: LogFormat) {
    match EnvFilter::try_new(filter) {
        Ok(filter) => {
            let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
            let subscriber = subscriber.with_ansi(false);
            // Fails only if one is set already: the first one wins.
            let _ = match format {
                LogFormat::Text => subscriber.try_init(),
                LogFormat::Json => subscriber.json().try_init(),
            };
        }
        Err(error) => super::say(&format!("warning: {by} is ignored: {error}")),
    }
}
