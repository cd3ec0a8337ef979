//! Which files count: the globs of the trigger, and what is left out.
//!
//! Guarantees: a directory that no glob can lead into, or that is left out, is neither listed nor
//! watched. Rules of deeper ignore files win over those above, as git has it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::config::FileChangeConfig;
use crate::registry::BuildError;

/// Files of rules, those that win last.
const RULE_FILES: [&str; 2] = [".gitignore", ".ignore"];

/// Largest file of rules, in bytes.
const MAX_RULES_BYTES: u64 = 256 * 1024;

/// What counts. Paths are relative to the root.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    root: PathBuf,
    wanted: GlobSet,
    /// The directories in which the globs begin, and whether they lead below them.
    bases: Vec<(PathBuf, bool)>,
    own: Gitignore,
    /// Rules by directory; `None` if ignore files do not count.
    rules: Option<BTreeMap<PathBuf, Arc<Gitignore>>>,
}

impl Selection {
    pub(super) fn new(root: &Path, config: &FileChangeConfig) -> Result<Self, BuildError> {
        let invalid = |glob: &str| BuildError::Glob { glob: glob.to_owned() };
        let mut wanted = GlobSetBuilder::new();
        for glob in &config.paths {
            let built = GlobBuilder::new(plain(glob)).literal_separator(true).build();
            wanted.add(built.map_err(|_| invalid(glob))?);
        }
        let mut own = GitignoreBuilder::new(root);
        for glob in &config.ignore {
            own.add_line(None, plain(glob)).map_err(|_| invalid(glob))?;
        }
        Ok(Self {
            root: root.to_owned(),
            wanted: wanted.build().map_err(|_| invalid(&config.paths.join(", ")))?,
            bases: config.paths.iter().map(|glob| base(plain(glob))).collect(),
            own: own.build().map_err(|_| invalid(&config.ignore.join(", ")))?,
            rules: config.ignore_files.then(BTreeMap::new),
        })
    }

    /// True if a change of a file of this name changes what counts.
    pub(super) fn is_rules(&self, name: &str) -> bool {
        self.rules.is_some() && RULE_FILES.contains(&name)
    }

    /// Reads the rules of a directory that has some of these names, before anything in it is asked about.
    pub(super) fn enter<'n>(&mut self, dir: &Path, mut names: impl Iterator<Item = &'n str>) {
        let Some(rules) = &mut self.rules else { return };
        rules.remove(dir);
        if !names.any(|name| RULE_FILES.contains(&name)) {
            return;
        }
        let place = self.root.join(dir);
        let mut builder = GitignoreBuilder::new(&place);
        for file in RULE_FILES {
            // A file of rules that cannot be read rules nothing, as in git.
            let Ok((text, _)) = amplifier_fs::read::text(&place.join(file), MAX_RULES_BYTES) else {
                continue;
            };
            for line in text.lines() {
                let _ = builder.add_line(None, line);
            }
        }
        if let Ok(built) = builder.build() {
            rules.insert(dir.to_owned(), Arc::new(built));
        }
    }

    /// True if files below this directory may count.
    pub(super) fn holds(&self, dir: &Path) -> bool {
        let leads =
            |(base, below): &(PathBuf, bool)| base.starts_with(dir) || (*below && dir.starts_with(base));
        let leads = self.bases.iter().any(leads);
        leads && dir.file_name().is_none_or(|name| name != ".git") && !self.is_left_out(dir, true)
    }

    /// True if this file counts, given that its directory [holds](Self::holds) some.
    pub(super) fn counts(&self, file: &Path) -> bool {
        self.wanted.is_match(file) && !self.is_left_out(file, false)
    }

    /// True if this file counts and so do all directories above it.
    pub(super) fn counts_with_parents(&self, file: &Path) -> bool {
        let above = file.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty());
        self.counts(file) && above.into_iter().all(|dir| self.holds(dir))
    }

    fn is_left_out(&self, path: &Path, is_dir: bool) -> bool {
        if path.as_os_str().is_empty() {
            return false;
        }
        let place = self.root.join(path);
        if self.own.matched(&place, is_dir).is_ignore() {
            return true;
        }
        let Some(rules) = &self.rules else { return false };
        let above = path.ancestors().skip(1).filter_map(|dir| rules.get(dir));
        for rules in above {
            match rules.matched(&place, is_dir) {
                Match::None => {}
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
            }
        }
        false
    }
}

/// A glob without `./` before it; a directory's name with `/` behind it means all below.
fn plain(glob: &str) -> &str {
    glob.strip_prefix("./").unwrap_or(glob)
}

/// The directory in which a glob begins: its parts before the first with a special character, but never
/// the last part, which may be a file. And whether it leads into directories below that one.
fn base(glob: &str) -> (PathBuf, bool) {
    let parts: Vec<&str> = glob.split('/').collect();
    let (last, dirs) = parts.split_last().map_or(("", [].as_slice()), |(last, dirs)| (*last, dirs));
    let plain = dirs.iter().take_while(|part| !part.contains(['*', '?', '[', '{', '\\'])).count();
    let below = plain < dirs.len() || last.contains("**") || last.contains('{');
    (dirs[..plain].iter().collect(), below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Change, DEFAULT_DEBOUNCE};

    fn selection(paths: &[&str], ignore: &[&str]) -> Selection {
        let config = FileChangeConfig {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            ignore: ignore.iter().map(|path| (*path).to_owned()).collect(),
            changes: vec![Change::Created],
            debounce: DEFAULT_DEBOUNCE,
            ignore_files: true,
            poll: None,
        };
        Selection::new(Path::new("/r"), &config).unwrap()
    }

    #[test]
    fn globs_say_which_files_count_and_where_to_look() {
        let selection = selection(&["src/**/*.rs", "./Cargo.toml"], &["target", "src/gen/**"]);
        for (file, expect) in [
            ("src/a.rs", true),
            ("src/b/c.rs", true),
            ("src/b/c.txt", false),
            ("a.rs", false),
            ("Cargo.toml", true),
            ("src/gen/a.rs", false),
        ] {
            assert_eq!(selection.counts(Path::new(file)), expect, "{file}");
        }
        for (dir, expect) in [
            ("", true),
            ("src", true),
            ("src/b", true),
            ("docs", false),
            ("src/target", false),
            ("src/.git", false),
        ] {
            assert_eq!(selection.holds(Path::new(dir)), expect, "{dir}");
        }
    }
}
