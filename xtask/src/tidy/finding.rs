//! One place to mend.
//!
//! Guarantees: findings sort by path and line, and each says what to do.

use std::fmt;

/// One place to mend.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The file, from the root of the workspace, with `/`.
    pub(crate) path: String,
    /// Counted from 1; 1 where the whole file is meant.
    pub(crate) line: usize,
    /// The rule's name.
    pub(crate) rule: &'static str,
    /// What an entry of the allow list names: an item, or the words that were found.
    pub(crate) item: String,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) advice: &'static str,
}

impl Finding {
    /// A finding whose message starts with its item.
    pub(crate) fn new(
        rule: &'static str,
        (path, line): (&str, usize),
        item: impl Into<String>,
        message: &str,
        advice: &'static str,
    ) -> Self {
        let item = item.into();
        let message = format!("`{item}` {message}");
        Self { path: path.to_owned(), line, rule, item, message, advice }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, rule, message, advice, .. } = self;
        write!(f, "{path}:{line}: {rule}: {message}: {advice}")
    }
}
