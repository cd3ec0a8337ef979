//! Exit codes, and failures before there is a session: one set for both programs.
//!
//! Guarantees: a failure is one line, `error: what: because`, and one `help:` line where there is
//! something to do. When several codes apply to a session, [`code_of`] picks the first of
//! 130/143, 4, 3, 124, 75, 5, 2, 1, and the `subtype` of a result follows from its code.

use std::error::Error;

use amplifier_core::OutcomeKind;
use amplifier_core::SessionOutcome;
use amplifier_core::limits::LimitKind;
use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_core::outcome::{FailureKind, OutcomeError};
use amplifier_foundation::bundle::BundleError;
use amplifier_foundation::host::ReachError;
use amplifier_foundation::settings::SettingsError;
use amplifier_foundation::spawn::{SpawnError, TreeOutcome};
use amplifier_foundation::storage::StorageError;
use amplifier_foundation::store::StoreError;

use crate::setup::SetupError;
use crate::terminal::{Code, Signalled, chain, print, say};

/// Why a command did not do what was asked, before or without a session.
#[derive(Debug)]
#[must_use = "nobody has been told of it"]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    /// One line.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// What kind of failure it is, for programs.
    pub kind: &'static str,
    /// True if the message stands for itself: no `error:` is put in front.
    pub bare: bool,
}

impl Failure {
    /// A failure of the command line, the settings or the bundle.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: Code::Usage, message: message.into(), help: None, kind: "usage", bare: false }
    }

    /// An error and its causes in one line, as a mistake of configuration.
    pub fn config(error: &dyn Error) -> Self {
        Self { kind: "configuration", ..Self::usage(chain(error)) }
    }

    /// A bundle that cannot be used; a fault in a file stands with its place and its advice.
    pub fn bundle(error: &BundleError) -> Self {
        Self { bare: !error.diagnostics().is_empty(), ..Self::config(error) }
    }

    /// Settings that cannot be used.
    pub fn settings(error: &SettingsError) -> Self {
        Self { bare: matches!(error, SettingsError::Files { .. }), ..Self::config(error) }
    }

    /// An error and its causes in one line, as a failure at work.
    pub fn work(error: &dyn Error) -> Self {
        Self { code: Code::Failed, kind: "failed", ..Self::usage(chain(error)) }
    }

    /// A database that cannot be used.
    pub fn store(error: &StoreError) -> Self {
        let code = if matches!(error, StoreError::Busy { .. }) { Code::Temporary } else { Code::Failed };
        Self::usage(chain(error)).code(code, "store")
    }

    /// The same in other words.
    pub fn saying(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// The same, as another kind for programs.
    pub fn kind(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }

    /// The same, with advice.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same, with another code.
    pub fn code(mut self, code: Code, kind: &'static str) -> Self {
        (self.code, self.kind) = (code, kind);
        self
    }

    /// What was told already, and the code that it has.
    pub fn told(code: Code, message: impl Into<String>) -> Self {
        Self { code, bare: true, ..Self::usage(message) }
    }

    /// What a command line that cannot be parsed is told, and help that was asked for, which is printed.
    pub fn of_command_line(text: &str, is_fault: bool) -> Self {
        match is_fault {
            true => Self::told(Code::Usage, text.trim_end()),
            false => Self { kind: "help", ..Self::told(print(text), "") },
        }
    }

    /// Tells it on stderr; what has no words is told already.
    pub fn report(&self) -> Code {
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

/// Writes one JSON document, indented.
pub fn print_json(value: &impl serde::Serialize) -> Result<Code, Failure> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| Failure::work(&error))?;
    text.push('\n');
    Ok(print(&text))
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        match &error {
            SetupError::NoDirectory { .. } => Self::usage(error.to_string()),
            SetupError::Settings(error) => Self::settings(error),
            other => Self::config(other),
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        let (code, kind) = storage_code(&error);
        Self::usage(chain(&error)).code(code, kind)
    }
}

fn storage_code(error: &StorageError) -> (Code, &'static str) {
    match error {
        StorageError::Locked { .. } => (Code::Temporary, "locked"),
        StorageError::NotFound { .. }
        | StorageError::Exists { .. }
        | StorageError::Ambiguous { .. }
        | StorageError::InvalidId(_)
        | StorageError::NoSuchTurn { .. } => (Code::Usage, "session"),
        _ => (Code::Failed, "storage"),
    }
}

impl From<ReachError> for Failure {
    fn from(error: ReachError) -> Self {
        let failure = Self::usage(chain(&error));
        match error {
            ReachError::Unknown { .. } => Self { kind: "session", ..failure },
            ReachError::Ended { .. } => failure.code(Code::Failed, "ended"),
            ReachError::Lost { .. } => failure.code(Code::Failed, "lost"),
            ReachError::Unreachable { .. } => failure.code(Code::Temporary, "locked"),
            ReachError::Storage(error) => error.into(),
            ReachError::Store(error) => Self::store(&error),
            _ => failure.code(Code::Failed, "failed"),
        }
    }
}

impl From<SpawnError> for Failure {
    fn from(error: SpawnError) -> Self {
        let text = chain(&error);
        match &error {
            SpawnError::Storage(inner) => {
                let (code, kind) = storage_code(inner);
                Self::usage(text).code(code, kind)
            }
            SpawnError::Bundle(inner) => Self::bundle(inner),
            SpawnError::Store(inner) => Self::store(inner),
            SpawnError::Limit(limit) => {
                let kind = if is_budget(limit.limit) { "budget" } else { "limit" };
                Self::usage(text).code(Code::Limit, kind)
            }
            SpawnError::Budget(_) => Self::usage(text).code(Code::Limit, "budget"),
            SpawnError::NoProvider => Self { kind: "no_provider", ..Self::usage(text) }.help(KEYS_HELP),
            other if other.is_configuration() => Self { kind: "configuration", ..Self::usage(text) },
            _ => Self { code: Code::Failed, kind: "failed", ..Self::usage(text) },
        }
    }
}

/// What to do where no provider is known.
const KEYS_HELP: &str = "a key may stand in the environment or in keys.env of the home folder";

/// What of a session's tree decides its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tree {
    /// A call was denied because nobody could be asked.
    pub denied_unasked: bool,
    /// There are descendants of which nobody took care.
    pub abandoned: bool,
}

impl From<&TreeOutcome> for Tree {
    fn from(tree: &TreeOutcome) -> Self {
        Self { denied_unasked: tree.denied_unasked, abandoned: tree.abandoned().next().is_some() }
    }
}

/// The exit code of a session with its descendants.
pub fn code_of(outcome: &SessionOutcome, tree: Tree, signal: Option<Signalled>) -> Code {
    if let Some(signal) = signal {
        return signal.code();
    }
    if tree.denied_unasked {
        return Code::Permission;
    }
    match (outcome.kind, outcome.error.as_ref()) {
        (OutcomeKind::LimitReached, _) => Code::Limit,
        (OutcomeKind::TimedOut, _) => Code::TimedOut,
        (_, Some(error)) if error.kind == FailureKind::RateLimited => Code::Temporary,
        _ if tree.abandoned => Code::Abandoned,
        (OutcomeKind::Completed, _) if outcome.unrecorded => Code::Failed,
        (OutcomeKind::Completed, _) => Code::Success,
        (_, Some(error)) if error.provider == Some(ProviderErrorKind::Config) => Code::Usage,
        _ => Code::Failed,
    }
}

/// The exit code of a session that somebody else has run.
pub fn code_of_other(outcome: &SessionOutcome) -> Code {
    code_of(outcome, Tree { denied_unasked: outcome.denied_unasked, abandoned: false }, None)
}

/// Of several codes the one that counts.
pub fn worst(codes: impl IntoIterator<Item = Code>) -> Code {
    let order = [
        Code::Interrupted,
        Code::Terminated,
        Code::Permission,
        Code::Limit,
        Code::TimedOut,
        Code::Temporary,
        Code::Abandoned,
        Code::Usage,
        Code::Failed,
    ];
    let place = |code: &Code| order.iter().position(|other| other == code).unwrap_or(order.len());
    codes.into_iter().min_by_key(place).unwrap_or(Code::Success)
}

/// The `subtype` of a session's result line.
pub fn subtype_of(outcome: &SessionOutcome, code: Code) -> &'static str {
    match code {
        Code::Success => "success",
        Code::Interrupted | Code::Terminated => "cancelled",
        Code::Permission => "error_permission",
        Code::Abandoned => "abandoned_children",
        Code::TimedOut => "error_timeout",
        Code::Temporary => "error_rate_limit",
        Code::Limit => subtype_of_limit(outcome.error.as_ref()),
        Code::Failed | Code::Usage if outcome.kind == OutcomeKind::Cancelled => "cancelled",
        Code::Failed | Code::Usage => "error_during_execution",
    }
}

/// An error without a limit is a call of which nobody knows the price.
fn subtype_of_limit(error: Option<&OutcomeError>) -> &'static str {
    match error.and_then(|error| error.limit.as_ref()).map(|limit| limit.limit) {
        None => "error_max_budget",
        Some(limit) if is_budget(limit) => "error_max_budget",
        Some(LimitKind::Turns) => "error_max_turns",
        Some(_) => "error_during_execution",
    }
}

fn is_budget(limit: LimitKind) -> bool {
    matches!(limit, LimitKind::Cost | LimitKind::Tokens)
}

#[cfg(test)]
mod tests {
    use amplifier_core::Activation;
    use amplifier_core::limits::LimitReached;

    use super::*;

    fn outcome(kind: OutcomeKind, error: Option<FailureKind>) -> SessionOutcome {
        let error = error.map(|kind| OutcomeError::new(kind, "why"));
        SessionOutcome::new(kind, Activation::FIRST, "text", error)
    }

    const CALM: Tree = Tree { denied_unasked: false, abandoned: false };
    const DENIED: Tree = Tree { denied_unasked: true, abandoned: false };
    const ABANDONED: Tree = Tree { denied_unasked: false, abandoned: true };
    const BOTH: Tree = Tree { denied_unasked: true, abandoned: true };

    #[track_caller]
    fn check(outcome: &SessionOutcome, tree: Tree, signal: Option<Signalled>, code: Code, subtype: &str) {
        let found = code_of(outcome, tree, signal);
        assert_eq!((found, subtype_of(outcome, found)), (code, subtype), "{outcome:?} {tree:?} {signal:?}");
    }

    #[test]
    fn each_outcome_has_its_code_and_subtype() {
        use OutcomeKind::{Cancelled, Completed, Failed, Lost, TimedOut};
        let completed = outcome(Completed, None);
        check(&completed, CALM, None, Code::Success, "success");
        check(&completed, CALM, Some(Signalled::Interrupt), Code::Interrupted, "cancelled");
        check(&completed, DENIED, None, Code::Permission, "error_permission");
        check(&completed, ABANDONED, None, Code::Abandoned, "abandoned_children");
        let mut unrecorded = completed.clone();
        unrecorded.unrecorded = true;
        check(&unrecorded, CALM, None, Code::Failed, "error_during_execution");
        let failed = |kind| outcome(Failed, Some(kind));
        check(&failed(FailureKind::Provider), CALM, None, Code::Failed, "error_during_execution");
        check(&failed(FailureKind::RateLimited), CALM, None, Code::Temporary, "error_rate_limit");
        check(&outcome(TimedOut, Some(FailureKind::TimedOut)), CALM, None, Code::TimedOut, "error_timeout");
        check(&outcome(Lost, Some(FailureKind::Lost)), CALM, None, Code::Failed, "error_during_execution");
        let cancelled = outcome(Cancelled, Some(FailureKind::Cancelled));
        check(&cancelled, CALM, None, Code::Failed, "cancelled");
    }

    #[test]
    fn of_several_codes_the_first_counts() {
        use OutcomeKind::{Completed, Failed, LimitReached, TimedOut};
        let failed = |kind| outcome(Failed, Some(kind));
        let limited = outcome(LimitReached, Some(FailureKind::Limit));
        let late = outcome(TimedOut, Some(FailureKind::TimedOut));
        for signal in [Signalled::Interrupt, Signalled::Terminate] {
            check(&limited, BOTH, Some(signal), signal.code(), "cancelled");
        }
        check(&limited, BOTH, None, Code::Permission, "error_permission");
        check(&limited, ABANDONED, None, Code::Limit, "error_max_budget");
        check(&late, ABANDONED, None, Code::TimedOut, "error_timeout");
        check(&failed(FailureKind::RateLimited), ABANDONED, None, Code::Temporary, "error_rate_limit");
        check(&failed(FailureKind::Provider), ABANDONED, None, Code::Abandoned, "abandoned_children");
        let mut unconfigured = failed(FailureKind::Provider);
        if let Some(error) = &mut unconfigured.error {
            error.provider = Some(ProviderErrorKind::Config);
        }
        check(&unconfigured, ABANDONED, None, Code::Abandoned, "abandoned_children");
        check(&unconfigured, CALM, None, Code::Usage, "error_during_execution");
        let mut unrecorded = outcome(Completed, None);
        unrecorded.unrecorded = true;
        check(&unrecorded, ABANDONED, None, Code::Abandoned, "abandoned_children");
    }

    #[test]
    fn limits_tell_turns_from_money() {
        let check = |limit, expect| {
            let mut reached = outcome(OutcomeKind::LimitReached, Some(FailureKind::Limit));
            if let Some(error) = &mut reached.error {
                error.limit = Some(LimitReached::new(limit, 1, 1, "flag"));
            }
            check(&reached, CALM, None, Code::Limit, expect);
        };
        check(LimitKind::Turns, "error_max_turns");
        check(LimitKind::Cost, "error_max_budget");
        check(LimitKind::Tokens, "error_max_budget");
        check(LimitKind::Depth, "error_during_execution");
    }
}
