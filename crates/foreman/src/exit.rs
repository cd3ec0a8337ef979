//! Failures before there is a result, and the exit code of a run.
//!
//! Guarantees: a failure is one line `error: what: because`, with one `help:` line where there is
//! something to do; faults in files are lines of their own, each with its place.

use std::error::Error;

use amplifier_app::setup::SetupError;
use amplifier_app::terminal::{Code, Signalled, chain, say};
use amplifier_background::issue::{IssuesError, RunReport, RunVerdict};
use amplifier_foundation::bundle::BundleError;
use amplifier_foundation::settings::SettingsError;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) kind: &'static str,
    help: Option<String>,
    /// True if the message stands for itself: no `error:` is put in front.
    bare: bool,
}

impl Failure {
    /// A failure of the command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: Code::Usage, message: message.into(), kind: "usage", help: None, bare: false }
    }

    /// An error and its causes in one line, as a mistake of configuration.
    pub(crate) fn config(error: &dyn Error) -> Self {
        Self::usage(chain(error)).kind("configuration")
    }

    /// An error and its causes in one line, as a failure at work.
    pub(crate) fn work(error: &dyn Error) -> Self {
        Self { code: Code::Failed, ..Self::usage(chain(error)).kind("failed") }
    }

    /// A bundle that cannot be used; a fault in a file stands with its place and its advice.
    pub(crate) fn bundle(name: &str, error: &BundleError) -> Self {
        match error.diagnostics().is_empty() {
            true => Self::usage(format!("bundle {name}: {}", chain(error))).kind("configuration"),
            false => Self::config(error).bare(),
        }
    }

    /// What was told already, and the code that it has.
    pub(crate) fn told(code: Code, message: impl Into<String>) -> Self {
        Self { code, ..Self::usage(message).bare() }
    }

    /// The same, as a signal ended it before it began.
    pub(crate) fn not_begun(signal: Signalled) -> Self {
        Self { code: signal.code(), ..Self::usage("stopped before any session began").kind("cancelled") }
    }

    pub(crate) fn kind(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    /// Tells it on stderr.
    pub(crate) fn report(&self) -> Code {
        if !self.message.is_empty() {
            let lead = if self.bare { "" } else { "error: " };
            say(&format!("{lead}{}", self.message));
        }
        if let Some(help) = &self.help {
            say(&format!("help: {help}"));
        }
        self.code
    }
}

impl From<IssuesError> for Failure {
    fn from(error: IssuesError) -> Self {
        match &error {
            IssuesError::Faults { .. } => Self::usage(error.to_string()).kind("issues").bare(),
            other => Self::usage(chain(other)).kind("issues"),
        }
    }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        match &error {
            SetupError::NoDirectory { .. } => Self::usage(error.to_string()),
            SetupError::Settings(SettingsError::Files { .. }) => Self::config(&error).bare(),
            other => Self::config(other),
        }
    }
}

/// The exit code of a run.
pub(crate) fn code_of(report: &RunReport, signal: Option<Signalled>) -> Code {
    if let Some(signal) = signal {
        return signal.code();
    }
    match report.verdict() {
        RunVerdict::Completed => Code::Success,
        RunVerdict::RateLimited => Code::Temporary,
        RunVerdict::Misconfigured => Code::Usage,
        _ => Code::Abandoned,
    }
}
