//! Takes typed values out of a tree and notes what is not as it should be.
//!
//! A value of a wrong type is an error and counts as absent; `null` counts as absent without a word.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keys;
use crate::bundle::diagnostic::{Code, Diagnostic, Severity};
use crate::bundle::node::{Entry, Node, Position, Yaml};
use crate::bundle::provenance::Origin;

/// A place in the format that has keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Top,
    Header,
    Session,
    Module,
    Include,
    Spawn,
    Agent,
    ClaudeAgent,
    Preference,
}

/// Most entries of one section: they are compared with one another.
const MAX_ENTRIES: usize = 1000;
/// Most faults that are listed for one file.
const MAX_DIAGNOSTICS: usize = 200;

/// Reads one file's tree.
pub(super) struct Reader {
    file: Arc<Path>,
    dir: PathBuf,
    bundle: Arc<str>,
    diagnostics: Vec<Diagnostic>,
    /// How many faults found no room, and the worst of them.
    unlisted: (usize, Severity),
}

impl Reader {
    /// For a file of a bundle, after what was noticed already.
    pub(super) fn new(file: &Path, bundle: String, diagnostics: Vec<Diagnostic>) -> Self {
        let dir = file.parent().unwrap_or(Path::new("")).to_owned();
        Self { file: file.into(), dir, bundle: bundle.into(), diagnostics, unlisted: (0, Severity::Note) }
    }

    /// The file's directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Everything that was noticed, in the order of the file.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.position);
        if let (more @ 1.., severity) = self.unlisted {
            let message = format!("{more} more faults are not listed");
            let last = Diagnostic::new(severity, Code::BadValue, &self.file, message);
            self.diagnostics.push(last.help("mend those above first"));
        }
        self.diagnostics
    }

    /// A place of this file as an origin.
    pub(super) fn origin(&self, position: Position) -> Origin {
        Origin::new(Arc::clone(&self.bundle), Arc::clone(&self.file), position)
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        if self.diagnostics.len() < MAX_DIAGNOSTICS {
            return self.diagnostics.push(diagnostic);
        }
        self.unlisted = (self.unlisted.0 + 1, self.unlisted.1.max(diagnostic.severity));
    }

    /// Notes a fault.
    pub(super) fn note(&mut self, severity: Severity, code: Code, at: Position, message: String, help: &str) {
        let diagnostic = Diagnostic::new(severity, code, &self.file, message).at(at).help(help);
        self.push(diagnostic);
    }

    /// Notes the keys that a level does not know.
    pub(super) fn unknown_keys(&mut self, entries: &[Entry], level: Level) {
        for entry in entries.iter().filter(|entry| !keys::known(level).contains(&entry.key.as_str())) {
            if self.diagnostics.len() >= MAX_DIAGNOSTICS {
                self.unlisted = (self.unlisted.0 + 1, self.unlisted.1.max(Severity::Warning));
                continue;
            }
            let message = format!("the key `{}` is not known here and is ignored", entry.key);
            let help = keys::advice(&entry.key, level);
            self.note(Severity::Warning, Code::UnknownKey, entry.key_position, message, &help);
        }
    }

    fn wrong_type(&mut self, node: &Node, what: &str, wanted: &str) {
        let message = format!("{what} must be {wanted}, not {}", node.kind());
        let diagnostic = Diagnostic::new(Severity::Error, Code::WrongType, &self.file, message);
        self.push(diagnostic.at(node.position));
    }

    fn take<T>(&mut self, node: &Node, what: &str, wanted: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !node.is_null() {
            self.wrong_type(node, what, wanted);
        }
        value
    }

    /// Text; a number counts as it is written.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        self.take(node, what, "text", node.as_text())
    }

    /// A boolean; `yes`, `no`, `on` and `off` count.
    pub(super) fn bool(&mut self, node: &Node, what: &str) -> Option<bool> {
        self.take(node, what, "a boolean", node.as_bool())
    }

    /// A whole number that is not negative.
    pub(super) fn count(&mut self, node: &Node, what: &str) -> Option<u64> {
        self.take(node, what, "a whole number", node.as_u64())
    }

    /// A map.
    pub(super) fn map<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Entry]> {
        self.take(node, what, "a map", node.as_map())
    }

    /// The first entries of a section, and a fault when there are more than anybody needs.
    pub(super) fn bounded<'n, T>(&mut self, entries: &'n [T], at: Position, what: &str) -> &'n [T] {
        if entries.len() <= MAX_ENTRIES {
            return entries;
        }
        let message = format!("{what} has {} entries; at most {MAX_ENTRIES} are read", entries.len());
        self.note(Severity::Error, Code::BadValue, at, message, "split it over several bundles");
        &entries[..MAX_ENTRIES]
    }

    /// A list; absent counts as empty.
    pub(super) fn seq<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        let items = self.take(node, what, "a list", node.as_seq()).unwrap_or_default();
        self.bounded(items, node.position, what)
    }

    /// A list of text; an entry that is no text is left out.
    pub(super) fn texts(&mut self, node: &Node, what: &str) -> Vec<String> {
        let items = self.seq(node, what);
        items.iter().filter_map(|item| self.text(item, &format!("an entry of {what}"))).collect()
    }

    /// Text, or a list of text.
    pub(super) fn text_or_texts(&mut self, node: &Node, what: &str) -> Option<Vec<String>> {
        match &node.value {
            Yaml::Seq(_) => Some(self.texts(node, what)),
            Yaml::Null => None,
            _ => self.take(node, what, "text or a list of text", node.as_text()).map(|text| vec![text]),
        }
    }
}
