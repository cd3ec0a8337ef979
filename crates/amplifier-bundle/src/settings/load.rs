//! Reads every scope: files, environment, flags.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::permission::Mode;

use super::environment::ProcessEnv;
use super::merge;
use super::model::Settings;
use super::money::micro_usd;
use super::parse::{self, FileScope};
use super::scope::{ProjectTrust, Scope, Set, Setter, SettingsFiles};
use crate::bundle::diagnostic::{Diagnostic, Severity};
use crate::bundle::yaml;
use amplifier_fs::read::{self, ReadError};

/// Largest settings file, in bytes.
pub const MAX_SETTINGS_BYTES: u64 = yaml::MAX_BYTES as u64;

/// Why there are no settings. Nothing should run then; the command ends with exit code 2.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Files are no YAML, or hold what cannot be used: at least one of these is an error.
    #[error("{}", Lines(diagnostics))]
    Files {
        /// Everything that was noticed in all files.
        diagnostics: Vec<Diagnostic>,
    },
    /// A variable holds what cannot be used.
    #[error("{name} is `{}`; set it to {expected}", value.escape_debug())]
    Variable {
        /// Its name.
        name: &'static str,
        /// What it holds; none of these variables is secret.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
}

struct Lines<'a>(&'a [Diagnostic]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().filter(|diagnostic| diagnostic.is_error()).enumerate() {
            write!(f, "{}{diagnostic}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// What was typed. `None`: not typed.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Flags {
    /// `--bundle`.
    pub bundle: Option<String>,
    /// `--provider`.
    pub provider: Option<String>,
    /// `--model`.
    pub model: Option<String>,
    /// `--permission-mode`.
    pub permission_mode: Option<Mode>,
    /// `--max-turns`.
    pub max_turns: Option<u32>,
    /// `--timeout`.
    pub timeout: Option<Duration>,
    /// `--max-budget-usd`, in millionths: see [`micro_usd`].
    pub max_cost_micro_usd: Option<u64>,
}

/// Reads all scopes. A missing file sets nothing. Warnings and what was ignored for want of trust are
/// in the result, to be shown once.
pub fn load(
    files: &SettingsFiles,
    environment: &ProcessEnv,
    flags: &Flags,
    trust: ProjectTrust,
) -> Result<Settings, SettingsError> {
    let mut settings = Settings::default();
    let mut errors = Vec::new();
    for scope in [Scope::User, Scope::Project, Scope::Local, Scope::Session] {
        let Some(path) = files.of(scope) else { continue };
        let trusted = trust == ProjectTrust::Trusted || !files.needs_trust(scope);
        match read_file(path, scope)? {
            Ok(file) => merge::layer(&mut settings, file, trusted),
            Err(diagnostics) => errors.extend(diagnostics),
        }
    }
    if !errors.is_empty() {
        return Err(SettingsError::Files { diagnostics: errors });
    }
    merge::layer(&mut settings, of_environment(environment)?, true);
    merge::layer(&mut settings, of_flags(flags), true);
    Ok(settings)
}

/// One file; the inner error is what is wrong with its text.
fn read_file(path: &Path, scope: Scope) -> Result<Result<Settings, Vec<Diagnostic>>, ReadError> {
    let text = match read::text(path, MAX_SETTINGS_BYTES) {
        Ok((text, _)) => text,
        Err(error) if error.is_missing() => return Ok(Ok(Settings::default())),
        Err(error) => return Err(error),
    };
    let node = match yaml::parse(&text, path) {
        Ok(node) => node,
        Err(error) => return Ok(Err(vec![error.into()])),
    };
    let path: Arc<Path> = path.into();
    let settings = parse::settings(&node, FileScope { scope, path });
    let failed = settings.warnings.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    Ok(if failed { Err(settings.warnings) } else { Ok(settings) })
}

fn of_environment(environment: &ProcessEnv) -> Result<Settings, SettingsError> {
    let text = |name: &'static str| {
        environment.get(name).map(|value| Set::new(value.to_owned(), Setter::Variable(name)))
    };
    let mut settings = Settings {
        bundle: text("AMPLIFIER_BUNDLE"),
        provider: text("AMPLIFIER_PROVIDER"),
        model: text("AMPLIFIER_MODEL"),
        log: text("AMPLIFIER_LOG"),
        ..Settings::default()
    };
    let count = "a whole number that is not negative";
    let parsed = |name| variable(environment, name, count, |text| u32::from_str(text).ok());
    settings.limits.max_depth = parsed("AMPLIFIER_MAX_SPAWN_DEPTH")?;
    settings.limits.max_concurrent = parsed("AMPLIFIER_MAX_CONCURRENT")?;
    settings.limits.max_cost_micro_usd =
        variable(environment, "AMPLIFIER_MAX_BUDGET_USD", "an amount of US dollars such as 2.50", micro_usd)?;
    Ok(settings)
}

fn variable<T>(
    environment: &ProcessEnv,
    name: &'static str,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<Set<T>>, SettingsError> {
    let Some(value) = environment.get(name) else { return Ok(None) };
    match parse(value.trim()) {
        Some(parsed) => Ok(Some(Set::new(parsed, Setter::Variable(name)))),
        None => Err(SettingsError::Variable { name, value: value.to_owned(), expected }),
    }
}

fn of_flags(flags: &Flags) -> Settings {
    fn flag<T: Clone>(value: &Option<T>, name: &'static str) -> Option<Set<T>> {
        value.clone().map(|value| Set::new(value, Setter::Flag(name)))
    }
    let mut settings = Settings {
        bundle: flag(&flags.bundle, "--bundle"),
        provider: flag(&flags.provider, "--provider"),
        model: flag(&flags.model, "--model"),
        mode: flag(&flags.permission_mode, "--permission-mode"),
        ..Settings::default()
    };
    settings.limits.max_turns = flag(&flags.max_turns, "--max-turns");
    settings.limits.timeout = flag(&flags.timeout, "--timeout");
    settings.limits.max_cost_micro_usd = flag(&flags.max_cost_micro_usd, "--max-budget-usd");
    settings
}
