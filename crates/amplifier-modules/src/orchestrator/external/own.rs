//! What an agent in the sandbox does to its own settings.
//!
//! Guarantees: the files of its folder that say what it does the next time, its hooks and instructions among them, are
//! looked at before it starts and once it is gone; those that are new, gone or changed are named.
//! Never here: keeping it from that. It must be able to write to its folder, and may run outside the sandbox later.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use amplifier_core::turn::Turn;
use amplifier_foundation::fs::read;

use super::config::Kind;

/// Most bytes of a file that are compared; of a larger one its size, time and number on the disk are.
const LIMIT_BYTES: u64 = 1 << 20;
/// Most files of a folder that are looked at.
const LIMIT_FILES: usize = 500;
/// Folders in folders at most.
const LIMIT_DEPTH: usize = 3;

/// Files, and folders of files, that an agent heeds.
fn heeded(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Claude => {
            &["settings.json", "settings.local.json", "CLAUDE.md", "hooks", "agents", "commands", "skills"]
        }
        Kind::Codex => &["config.toml", "hooks.json", "AGENTS.md", "rules", "prompts", "skills"],
    }
}

/// What an agent's own settings are at a time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings(BTreeMap<PathBuf, Vec<u8>>);

impl Settings {
    /// As they are now.
    pub(super) fn now(turn: &Turn<'_>, kind: Kind) -> Self {
        let mut files = BTreeMap::new();
        if let Some(folder) = folder(turn, kind) {
            heeded(kind).iter().for_each(|name| look(&folder.join(name), LIMIT_DEPTH, &mut files));
        }
        Self(files)
    }

    /// What differs from these in later ones.
    pub(super) fn changed(&self, later: &Self) -> Vec<PathBuf> {
        let differs = |path: &&PathBuf| self.0.get(*path) != later.0.get(*path);
        let mut changed: Vec<PathBuf> =
            self.0.keys().chain(later.0.keys()).filter(differs).cloned().collect();
        changed.sort();
        changed.dedup();
        changed
    }
}

/// Its folder.
fn folder(turn: &Turn<'_>, kind: Kind) -> Option<PathBuf> {
    let (variable, own) = kind.own();
    let env = turn.env();
    let resolved = || Some(env.paths.resolve(&env.cwd, own.first()?).ok()?.as_path().to_owned());
    std::env::var_os(variable).map(PathBuf::from).or_else(resolved)
}

fn look(path: &Path, depth: usize, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    match read::kind(path) {
        read::Kind::File if files.len() < LIMIT_FILES => {
            let large = || format!("{:?}", read::stamp(path)).into_bytes();
            let content = read::bytes(path, LIMIT_BYTES).map_or_else(|_| large(), |(content, _)| content);
            files.insert(path.to_owned(), content);
        }
        read::Kind::Directory if depth > 0 => {
            let (entries, _) = read::list(path, LIMIT_FILES).unwrap_or_default();
            entries.iter().for_each(|entry| look(&path.join(&entry.name), depth - 1, files));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_gone_or_changed_is_named() {
        let of = |files: &[(&str, &str)]| {
            Settings(files.iter().map(|(path, text)| (path.into(), text.as_bytes().to_vec())).collect())
        };
        let before = of(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let after = of(&[("a", "1"), ("b", "2"), ("d", "1")]);
        assert_eq!(before.changed(&after), ["b", "c", "d"].map(PathBuf::from));
        assert_eq!(before.changed(&of(&[("a", "1"), ("b", "1"), ("c", "1")])), Vec::<PathBuf>::new());
    }
}
