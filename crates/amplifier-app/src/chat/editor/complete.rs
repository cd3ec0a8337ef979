//! What is typed so far, and how it may go on.
//!
//! Guarantees: a folder is listed at most to [`MAX_FILES`] names, what `.gitignore` leaves out is left out; nothing is
//! read from the network, nothing is waited for.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ignore::WalkBuilder;
use reedline::{Completer, CompletionResult, Span, Suggestion};

use super::Options;

/// Most names of a folder that are looked at.
const MAX_FILES: usize = 2_000;

/// Most that is offered.
const MAX_OFFERED: usize = 200;

/// What stands behind a slash command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// Nothing.
    None,
    /// Something that cannot be completed.
    Text,
    /// A file.
    File,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// One of the words of this kind.
    Kind(&'static str),
}

/// A slash command.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its name, without the slash.
    pub name: &'static str,
    /// What stands behind it, for people: `[file]`.
    pub takes: &'static str,
    /// The same, for the editor.
    pub argument: Argument,
    /// What it does.
    pub help: &'static str,
}

/// Words that are completed, by their kind: agents, bundles, sessions.
#[derive(Debug, Default)]
pub struct Words {
    // Held for one look or one change.
    known: Mutex<Vec<(&'static str, String)>>,
}

impl Words {
    /// The words of a kind are these.
    pub fn set(&self, kind: &'static str, words: impl IntoIterator<Item = String>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(of, _)| *of != kind);
        known.extend(words.into_iter().map(|word| (kind, word)));
    }

    fn beginning(&self, kind: &str, with: &str) -> Vec<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let of = known.iter().filter(|(of, word)| *of == kind && word.starts_with(with));
        of.map(|(_, word)| word.clone()).take(MAX_OFFERED).collect()
    }
}

/// Completes what is typed.
pub(super) struct Complete {
    cwd: PathBuf,
    commands: &'static [Entry],
    words: Arc<Words>,
}

impl Complete {
    pub(super) fn new(options: &Options) -> Self {
        Self { cwd: options.cwd.clone(), commands: options.commands, words: Arc::clone(&options.words) }
    }

    /// What the word before the cursor may become, with what it is.
    fn offers(&self, line: &str, word: &str) -> Vec<(String, Option<String>)> {
        let before = &line[..line.len() - word.len()];
        let bare = |words: Vec<String>| words.into_iter().map(|word| (word, None)).collect();
        if before.trim().is_empty()
            && let Some(name) = word.strip_prefix('/')
        {
            let commands = self.commands.iter().filter(|entry| entry.name.starts_with(name));
            let found: Vec<_> =
                commands.map(|entry| (format!("/{}", entry.name), Some(entry.help.to_owned()))).collect();
            return if found.is_empty() { bare(self.files(word)) } else { found };
        }
        if let Some(path) = word.strip_prefix('@') {
            return bare(self.files(path).into_iter().map(|path| format!("@{path}")).collect());
        }
        let command = before.split_whitespace().next().and_then(|first| first.strip_prefix('/'));
        let entry = command.and_then(|name| self.commands.iter().find(|entry| entry.name == name));
        match entry.map(|entry| entry.argument) {
            Some(Argument::Kind(kind)) => bare(self.words.beginning(kind, word)),
            Some(Argument::OneOf(words)) => {
                bare(words.iter().filter(|known| known.starts_with(word)).map(ToString::to_string).collect())
            }
            Some(Argument::None | Argument::Text) => Vec::new(),
            Some(Argument::File) | None => bare(self.files(word)),
        }
    }

    /// Files and folders whose path begins with this one.
    fn files(&self, path: &str) -> Vec<String> {
        let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
        let root = match path.starts_with('/') {
            true => PathBuf::from(format!("{folder}/")),
            false => self.cwd.join(folder),
        };
        let lead = if path.contains('/') { format!("{folder}/") } else { String::new() };
        let mut walk = WalkBuilder::new(&root);
        // Names that begin with a point are offered to who begins with one.
        walk.max_depth(Some(1)).hidden(!name.starts_with('.')).require_git(false).follow_links(false);
        let entries = walk.build().filter_map(Result::ok).filter(|entry| entry.depth() == 1).take(MAX_FILES);
        let mut found: Vec<String> = entries
            .filter_map(|entry| {
                let own = entry.file_name().to_str()?;
                let is_dir = is_dir(entry.path(), entry.file_type().is_some_and(|kind| kind.is_dir()));
                let usable = own.starts_with(name) && !own.chars().any(char::is_control);
                usable.then(|| format!("{lead}{own}{}", if is_dir { "/" } else { "" }))
            })
            .collect();
        found.sort();
        found.truncate(MAX_OFFERED);
        found
    }
}

/// A link to a folder is one.
fn is_dir(path: &Path, itself: bool) -> bool {
    itself || amplifier_foundation::fs::read::is_dir(path)
}

impl Completer for Complete {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let line = line.get(..pos).unwrap_or(line);
        let start = line.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let offer = |(value, description): (String, Option<String>)| Suggestion {
            append_whitespace: !value.ends_with('/'),
            value,
            description,
            span: Span::new(start, line.len()),
            ..Suggestion::default()
        };
        let offers: Vec<Suggestion> = self.offers(line, &line[start..]).into_iter().map(offer).collect();
        CompletionResult::fresh(offers)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at real files")]
mod tests {
    use super::*;

    const COMMANDS: [Entry; 3] = [
        Entry { name: "help", takes: "", argument: Argument::None, help: "h" },
        Entry { name: "bundle", takes: "", argument: Argument::Kind("bundle"), help: "b" },
        Entry { name: "save", takes: "", argument: Argument::File, help: "s" },
    ];

    #[test]
    fn commands_their_arguments_mentions_and_files_are_completed() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["src/main.rs", "src/mine.rs", "secret.log", ".hidden", "sub/x"] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        std::fs::write(dir.path().join(".gitignore"), "*.log\n").unwrap();
        let words = Arc::new(Words::default());
        words.set("bundle", ["default", "deep", "other"].map(str::to_owned));
        let mut complete = Complete { cwd: dir.path().to_owned(), commands: &COMMANDS, words };
        let mut check = |line: &str, expect: &[&str]| {
            let found = complete.complete(line, line.len());
            let values: Vec<&str> = found.suggestions().iter().map(|offer| offer.value.as_str()).collect();
            assert_eq!(values, expect, "{line:?}");
        };
        check("/h", &["/help"]);
        check("/", &["/help", "/bundle", "/save"]);
        check("/bundle de", &["default", "deep"]);
        check("/save s", &["src/", "sub/"]);
        check("/help x", &[]);
        check("see @src/m", &["@src/main.rs", "@src/mine.rs"]);
        check("edit s", &["src/", "sub/"]);
        check("edit .h", &[".hidden"]);
        check("edit nothing", &[]);
    }
}
