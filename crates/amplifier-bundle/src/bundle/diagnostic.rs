//! What is wrong with a file, where, and what to do about it.
//!
//! A diagnostic is data until it is printed; its text is one line `file:line:col: error: message`,
//! with the advice below. It never holds a value out of a `config`, so it cannot leak a secret.

use std::fmt;
use std::path::{Path, PathBuf};

use super::node::Position;

/// How much a diagnostic matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing; nothing is lost.
    Note,
    /// Something was ignored or will not work as written.
    Warning,
    /// The file cannot be used as it is.
    Error,
}

/// What kind of fault a diagnostic reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The text is not YAML, or a guard refused it.
    Syntax,
    /// The front matter is opened and never closed.
    FrontMatter,
    /// A key that nobody reads.
    UnknownKey,
    /// A value of another type than the key wants.
    WrongType,
    /// A key that must be there is not.
    Missing,
    /// A list entry that was left out because nothing can be made of it.
    Dropped,
    /// Two entries of one list that name the same thing.
    Duplicate,
    /// A value of the right type that cannot be used.
    BadValue,
    /// A part of the format that this version reads past.
    NotRead,
    /// Another file that the bundle names and that is left out.
    Include,
}

/// Whether doubtful input is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Strictness {
    /// Warnings stay warnings.
    #[default]
    Lenient,
    /// Unknown keys, dropped entries and the like are errors (`--strict`, and our own files).
    Strict,
}

impl Strictness {
    /// Raises to errors the warnings that this strictness does not let through.
    pub fn apply(self, diagnostics: &mut [Diagnostic]) {
        if self == Strictness::Lenient {
            return;
        }
        for diagnostic in diagnostics.iter_mut().filter(|d| d.severity == Severity::Warning) {
            diagnostic.severity = Severity::Error;
        }
    }
}

/// One fault, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// What kind of fault.
    pub code: Code,
    /// The file that it is in, as the caller named it.
    pub file: PathBuf,
    /// The place, where there is one.
    pub position: Option<Position>,
    /// One clause: what is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A diagnostic without a place and without advice.
    pub fn new(severity: Severity, code: Code, file: &Path, message: impl Into<String>) -> Self {
        Self { severity, code, file: file.to_owned(), position: None, message: message.into(), help: None }
    }

    /// The same, at a place.
    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }

    /// The same, with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The line, counted from 1, where there is a place.
    pub fn line(&self) -> Option<u32> {
        self.position.map(|p| p.line)
    }

    /// The column, counted from 1 in characters, where there is a place.
    pub fn column(&self) -> Option<u32> {
        self.position.map(|p| p.column)
    }

    /// Whether it makes the file unusable.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(at) = self.position {
            write!(f, ":{}:{}", at.line, at.column)?;
        }
        write!(f, ": {}: {}", self.severity, self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// What came out of reading a file: a value as far as one could be made, and everything that was noticed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Parsed<T> {
    /// The value. `None` only when the text could not be read at all.
    pub value: Option<T>,
    /// Everything noticed, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl<T> Parsed<T> {
    /// A value with what was noticed.
    pub fn new(value: Option<T>, diagnostics: Vec<Diagnostic>) -> Self {
        Self { value, diagnostics }
    }

    /// Whether an error was noticed.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    /// The value and its warnings, or everything that was noticed when one of them is an error.
    pub fn into_result(self) -> Result<(T, Vec<Diagnostic>), Vec<Diagnostic>> {
        let failed = self.has_errors();
        match self.value {
            Some(value) if !failed => Ok((value, self.diagnostics)),
            _ => Err(self.diagnostics),
        }
    }
}
