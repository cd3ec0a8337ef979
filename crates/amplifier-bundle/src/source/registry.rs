//! Names of bundles: what the reference system registered, and what everybody knows.
//!
//! Guarantees: `registry.json` is only read, and a damaged one is an error that
//! names it, never an empty registry; keys that nobody here knows are kept.
//! Never here: which name wins; that is the loader's order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use amplifier_fs::read::{self, ReadError};

/// Largest `registry.json` that is read, in bytes.
pub const MAX_REGISTRY_BYTES: u64 = 16 * 1024 * 1024;

/// Names that resolve without being added, with their sources.
pub const WELL_KNOWN: [(&str, &str); 7] = [
    ("foundation", "git+https://github.com/microsoft/amplifier-foundation@main"),
    (
        "anchors",
        "git+https://github.com/microsoft/amplifier-foundation@main#subdirectory=bundles/anchors/bundle.md",
    ),
    (
        "anchors-amp-dev",
        "git+https://github.com/microsoft/amplifier-foundation@main#subdirectory=bundles/anchors-amp-dev/bundle.md",
    ),
    (
        "amplifier-dev",
        "git+https://github.com/microsoft/amplifier-foundation@main#subdirectory=bundles/amplifier-dev.yaml",
    ),
    (
        "exp-delegation",
        "git+https://github.com/microsoft/amplifier-foundation@main#subdirectory=experiments/delegation-only",
    ),
    ("recipes", "git+https://github.com/microsoft/amplifier-bundle-recipes@main"),
    ("design-intelligence", "git+https://github.com/microsoft/amplifier-bundle-design-intelligence@main"),
];

/// The source of a well-known name.
pub fn well_known(name: &str) -> Option<&'static str> {
    WELL_KNOWN.iter().find(|(known, _)| *known == name).map(|(_, uri)| *uri)
}

/// Why `registry.json` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It is no JSON, or not what a registry looks like.
    #[error("{} is damaged at line {}, column {}; repair it or move it away", path.display(), source.line(), source.column())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
}

/// A registered bundle, as the reference system writes it. Times are kept as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Registered {
    /// Its source.
    pub uri: String,
    /// Its name; the key in the file says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The version that was loaded last.
    #[serde(default)]
    pub version: Option<String>,
    /// When it was loaded last.
    #[serde(default)]
    pub loaded_at: Option<String>,
    /// When it was last looked for updates.
    #[serde(default)]
    pub checked_at: Option<String>,
    /// Where it was found on disk.
    #[serde(default)]
    pub local_path: Option<String>,
    /// Whether no other bundle's folder encloses it.
    #[serde(default = "yes")]
    pub is_root: bool,
    /// The enclosing bundle, for one that is no root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_name: Option<String>,
    /// The names of the bundles that it includes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub includes: Option<Vec<String>>,
    /// The names of the bundles that include it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub included_by: Option<Vec<String>>,
    /// Whether a person asked for it.
    #[serde(default)]
    pub explicitly_requested: bool,
    /// Whether it is composed into every session.
    #[serde(default)]
    pub app_bundle: bool,
    /// Keys that nobody here knows.
    #[serde(flatten)]
    extra: Map<String, Value>,
}

fn yes() -> bool {
    true
}

/// The content of `registry.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Registry {
    /// The bundles by name. Whoever writes the file writes them, if only as `{}`: without them it is damaged.
    pub bundles: BTreeMap<String, Registered>,
    /// Keys beside them, `version` among them.
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl Registry {
    /// Reads `registry.json` in a home folder; a missing one is an empty registry.
    pub fn read(home: &Path) -> Result<Self, RegistryError> {
        let path = home.join("registry.json");
        let text = match read::text(&path, MAX_REGISTRY_BYTES) {
            Err(error) if error.is_missing() => return Ok(Self::default()),
            other => other?.0,
        };
        serde_json::from_str(&text).map_err(|source| RegistryError::Damaged { path, source })
    }

    /// The source of a registered name.
    pub fn uri(&self, name: &str) -> Option<&str> {
        self.bundles.get(name).map(|bundle| bundle.uri.as_str())
    }
}

/// The names that somebody who wrote `wanted` may have meant, the nearest first, at most three.
pub fn near<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let limit = (wanted.chars().count() / 3).max(1);
    let mut found: Vec<(usize, &str)> = known
        .into_iter()
        .map(|name| (distance(wanted, name), name))
        .filter(|(away, name)| *away <= limit || (wanted.len() >= 3 && name.starts_with(wanted)))
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

/// How many characters must be changed, added, removed or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["foundation", "default", "recipes", "anchors", "anchors-amp-dev"];
        let check = |wanted: &str, expect: &[&str]| assert_eq!(near(wanted, known), expect, "{wanted}");
        check("fundation", &["foundation"]);
        check("recpies", &["recipes"]);
        check("anchor", &["anchors", "anchors-amp-dev"]);
        check("zzz", &[]);
    }

    #[test]
    fn a_registry_keeps_every_key() {
        let text = r#"{"version":1,"bundles":{"x":{"uri":"file:///x","name":"x","version":null,"loaded_at":null,"checked_at":null,"local_path":null,"is_root":true,"explicitly_requested":false,"app_bundle":false,"later":[1]}}}"#;
        let registry: Registry = serde_json::from_str(text).unwrap();
        assert_eq!(registry.uri("x"), Some("file:///x"));
        let again: Value = serde_json::to_value(&registry).unwrap();
        assert_eq!(again, serde_json::from_str::<Value>(text).unwrap());
    }
}
