//! The variables of the process, read once.
//!
//! Guarantees: what a value of [`ProcessEnv`] says does not change while the program runs, and
//! `Debug` shows names alone, because values may be keys.
//! Never here: setting a variable.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The variables of the process at one moment. Cheap to clone.
#[derive(Clone, Default)]
pub struct ProcessEnv(Arc<BTreeMap<String, String>>);

impl ProcessEnv {
    /// Reads the variables of this process. Those whose name or value is no UTF-8 are left out.
    pub fn capture() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(Arc::new(std::env::vars_os().filter_map(text).collect()))
    }

    /// These variables, for tests and for programs that bring their own.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self(Arc::new(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect()))
    }

    /// The value of a variable; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All variables with a value, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        pairs.filter(|(_, value)| !value.is_empty())
    }
}

impl fmt::Debug for ProcessEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
