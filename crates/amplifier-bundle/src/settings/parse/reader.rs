//! Takes typed values out of a settings file's tree and notes what is not as it should be.
//!
//! `null` counts as absent without a word; a value of a wrong type is an error and counts as absent.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::bundle::diagnostic::{Code, Diagnostic, Severity};
use crate::bundle::node::{Entry, Node, Position};
use crate::bundle::parse::nearest;
use crate::settings::duration;
use crate::settings::money::micro_usd;
use crate::settings::scope::{Scope, Set, Setter};

/// A file and whose it is.
#[derive(Debug, Clone)]
pub(in crate::settings) struct FileScope {
    /// Whose.
    pub(in crate::settings) scope: Scope,
    /// The file.
    pub(in crate::settings) path: Arc<Path>,
}

/// Reads one file.
pub(super) struct Reader {
    file: FileScope,
    diagnostics: Vec<Diagnostic>,
}

impl Reader {
    pub(super) fn new(file: FileScope) -> Self {
        Self { file, diagnostics: Vec::new() }
    }

    /// Everything that was noticed, in the order of the file.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.position);
        self.diagnostics
    }

    /// A place of this file as the setter of something.
    pub(super) fn setter(&self, at: Position) -> Setter {
        Setter::File { scope: self.file.scope, path: Arc::clone(&self.file.path), line: at.line }
    }

    fn note(&mut self, severity: Severity, code: Code, at: Position, message: String, help: &str) {
        self.diagnostics.push(Diagnostic::new(severity, code, &self.file.path, message).at(at).help(help));
    }

    /// Notes a value of the right type that cannot be used.
    pub(super) fn bad(&mut self, at: Position, message: String, help: &str) {
        self.note(Severity::Error, Code::BadValue, at, message, help);
    }

    /// Notes a key that nobody reads.
    pub(super) fn unknown(&mut self, entry: &Entry, what: &str, known: &[&'static str]) {
        let message = format!("the key `{}` is not known in {what} and is ignored", entry.key);
        let help = match nearest(&entry.key, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("remove it; known here: {}", known.join(", ")),
        };
        self.note(Severity::Warning, Code::UnknownKey, entry.key_position, message, &help);
    }

    /// The entries of a map with a fixed set of keys; the others are noted. Empty if it is no map.
    pub(super) fn section<'n>(&mut self, node: &'n Node, what: &str, known: &[&'static str]) -> &'n [Entry] {
        let entries = self.map(node, what).unwrap_or_default();
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            self.unknown(entry, what, known);
        }
        entries
    }

    fn take<T>(&mut self, node: &Node, what: &str, wanted: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !node.is_null() {
            let message = format!("{what} must be {wanted}, not {}", node.kind());
            let diagnostic = Diagnostic::new(Severity::Error, Code::WrongType, &self.file.path, message);
            self.diagnostics.push(diagnostic.at(node.position));
        }
        value
    }

    pub(super) fn map<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Entry]> {
        self.take(node, what, "a map", node.as_map())
    }

    pub(super) fn seq<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        self.take(node, what, "a list", node.as_seq()).unwrap_or_default()
    }

    /// Text that is not empty; a number counts as it is written.
    pub(super) fn plain_text(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = self.take(node, what, "text", node.as_text())?;
        if text.trim().is_empty() {
            self.bad(node.position, format!("{what} is empty"), "write a value, or remove the key");
            return None;
        }
        Some(text)
    }

    /// A boolean, with who set it.
    pub(super) fn bool(&mut self, node: &Node, what: &str) -> Option<Set<bool>> {
        let value = self.take(node, what, "a boolean", node.as_bool())?;
        Some(Set::new(value, self.setter(node.position)))
    }

    /// As [`plain_text`](Self::plain_text), with who set it.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<Set<String>> {
        let text = self.plain_text(node, what)?;
        Some(Set::new(text, self.setter(node.position)))
    }

    /// A list of text, or one text alone.
    pub(super) fn texts(&mut self, node: &Node, what: &str) -> Vec<Set<String>> {
        if node.as_text().is_some() {
            return self.text(node, what).into_iter().collect();
        }
        let wanted = "text or a list of text";
        let items = self.take(node, what, wanted, node.as_seq()).unwrap_or_default();
        items.iter().filter_map(|item| self.text(item, &format!("an entry of {what}"))).collect()
    }

    /// A map from names to text. The reference system also writes a map with the text under `uri`.
    pub(super) fn text_map(&mut self, node: &Node, what: &str) -> BTreeMap<String, Set<String>> {
        let entries = self.map(node, what).unwrap_or_default();
        let mut texts = BTreeMap::new();
        for Entry { key, value, .. } in entries {
            let value = value.get("uri").unwrap_or(value);
            if let Some(text) = self.text(value, &format!("`{key}` of {what}")) {
                texts.insert(key.clone(), text);
            }
        }
        texts
    }

    /// A whole number that fits.
    pub(super) fn count<T: TryFrom<u64>>(&mut self, node: &Node, what: &str) -> Option<Set<T>> {
        let number = self.take(node, what, "a whole number that is not negative", node.as_u64())?;
        match T::try_from(number) {
            Ok(number) => Some(Set::new(number, self.setter(node.position))),
            Err(_) => {
                self.bad(node.position, format!("{what} is too large"), "write at most 4294967295");
                None
            }
        }
    }

    /// A whole number above zero.
    pub(super) fn positive(&mut self, node: &Node, what: &str) -> Option<Set<u32>> {
        let count = self.count::<u32>(node, what)?;
        if count.value == 0 {
            self.bad(node.position, format!("{what} is 0"), "write at least 1, or remove the key");
            return None;
        }
        Some(count)
    }

    /// A span of time.
    pub(super) fn span(&mut self, node: &Node, what: &str) -> Option<Set<Duration>> {
        let text = self.take(node, what, "a duration such as 90s or 1h30m", node.as_text())?;
        match duration::parse(&text) {
            Ok(span) => Some(Set::new(span, self.setter(node.position))),
            Err(error) => {
                self.bad(node.position, format!("{what}: {error}"), "write it as 90s, 15m or 1h30m");
                None
            }
        }
    }

    /// An amount of US dollars, in millionths.
    pub(super) fn usd(&mut self, node: &Node, what: &str) -> Option<Set<u64>> {
        let text = self.take(node, what, "an amount of US dollars", node.as_text())?;
        match micro_usd(&text) {
            Some(amount) => Some(Set::new(amount, self.setter(node.position))),
            None => {
                self.bad(node.position, format!("{what} is no amount of US dollars"), "write it as 2.50");
                None
            }
        }
    }
}
