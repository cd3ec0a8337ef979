//! Failures and exit codes: those of both programs, and the code of a run.

use amplifier_app::terminal::{Signalled, chain};
use amplifier_crew::issue::{IssuesError, RunReport, RunVerdict};
use amplifier_foundation::bundle::BundleError;

pub(crate) use amplifier_app::exit::Failure;
pub(crate) use amplifier_app::terminal::Code;

/// A bundle that cannot be used; a fault in a file stands with its place and its advice.
pub(crate) fn unusable(name: &str, error: &BundleError) -> Failure {
    match error.diagnostics().is_empty() {
        true => Failure::config(error).saying(format!("bundle {name}: {}", chain(error))),
        false => Failure::bundle(error),
    }
}

/// A signal ended it before it began.
pub(crate) fn not_begun(signal: Signalled) -> Failure {
    Failure { kind: "cancelled", ..Failure::told(signal.code(), "stopped before any session began") }
}

/// A file of issues that cannot be used.
pub(crate) fn unread(error: &IssuesError) -> Failure {
    let failure = Failure { kind: "issues", ..Failure::usage(chain(error)) };
    match error {
        IssuesError::Faults { .. } => Failure { bare: true, ..failure }.saying(error.to_string()),
        _ => failure,
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
