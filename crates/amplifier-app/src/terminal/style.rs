//! Decoration for terminals.
//!
//! Guarantees: none where `NO_COLOR` is set, `TERM` is `dumb` or nobody looks; text that a model
//! or a tool wrote can move no cursor and set no title: control characters are taken out of it.

use std::borrow::Cow;
use std::io::IsTerminal;

/// How text is set on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    terminal: bool,
    decorated: bool,
}

impl Style {
    /// For a stream that is a terminal or not.
    pub fn of(terminal: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        Self { terminal, decorated: terminal && set("NO_COLOR").is_none() && !dumb }
    }

    /// For stderr.
    pub fn stderr() -> Self {
        Self::of(std::io::stderr().is_terminal())
    }

    /// True if the stream is a terminal.
    pub fn is_for_people(self) -> bool {
        self.terminal
    }

    /// True if text may have colours.
    pub fn is_decorated(self) -> bool {
        self.decorated
    }

    /// Less important.
    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// A warning.
    pub fn warning(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// A failure.
    pub fn failure(self, text: &str) -> String {
        self.wrap("31", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.decorated { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Text of others without control characters other than line ends and tabs.
pub fn plain(text: &str) -> Cow<'_, str> {
    let hostile = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(hostile) { Cow::Owned(text.replace(hostile, "")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_others_are_taken_out() {
        let check = |text: &str, expect: &str| assert_eq!(plain(text), expect);
        check("a\tb\nc", "a\tb\nc");
        check("\u{1b}]0;title\u{7}x\u{9b}2J", "]0;titlex2J");
        check("over\rwritten", "overwritten");
    }

    #[test]
    fn only_decorated_text_has_escapes() {
        assert_eq!(Style { terminal: true, decorated: false }.dim("a"), "a");
        assert_eq!(Style { terminal: true, decorated: true }.dim("a"), "\u{1b}[2ma\u{1b}[0m");
    }
}
