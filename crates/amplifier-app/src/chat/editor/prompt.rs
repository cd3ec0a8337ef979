//! What stands in front of a line, when a line goes on, and how it looks.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reedline::{
    Color, Highlighter, Prompt, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus, StyledText,
    ValidationResult, Validator,
};

use super::Entry;

/// What stands in front of a line.
pub(super) struct Face(&'static str);

impl Face {
    pub(super) fn new(prompt: &'static str) -> Self {
        Self(prompt)
    }
}

impl Prompt for Face {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed(self.0)
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("· ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let found = match search.status {
            PromptHistorySearchStatus::Passing => "",
            PromptHistorySearchStatus::Failing => "not found ",
        };
        Cow::Owned(format!("(search {found}{}) ", search.term))
    }
}

/// A line that ends in `\` goes on.
pub(super) struct Continues;

impl Validator for Continues {
    fn validate(&self, line: &str) -> ValidationResult {
        match line.ends_with('\\') && !line.ends_with("\\\\") {
            true => ValidationResult::Incomplete,
            false => ValidationResult::Complete,
        }
    }
}

/// The text without the marks of lines that go on.
pub(super) fn joined(text: &str) -> String {
    text.replace("\\\n", "\n")
}

/// Colours slash commands, and notes whether anything is typed.
pub(super) struct Watch {
    empty: Arc<AtomicBool>,
    coloured: bool,
    commands: &'static [Entry],
}

impl Watch {
    pub(super) fn new(empty: Arc<AtomicBool>, coloured: bool, commands: &'static [Entry]) -> Self {
        Self { empty, coloured, commands }
    }
}

impl Highlighter for Watch {
    fn highlight(&self, line: &str, _cursor: usize) -> StyledText {
        self.empty.store(line.trim().is_empty(), Ordering::Relaxed);
        let mut text = StyledText::new();
        let word = line.split_whitespace().next().unwrap_or_default();
        let known = |entry: &Entry| word.strip_prefix('/') == Some(entry.name);
        if self.coloured && line.starts_with(word) && self.commands.iter().any(known) {
            text.push((Color::Cyan.normal(), word.to_owned()));
            text.push((Color::Default.normal(), line[word.len()..].to_owned()));
        } else {
            text.push((Color::Default.normal(), line.to_owned()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_on_behind_one_backslash() {
        let check = |line: &str, goes_on: bool| {
            let found = matches!(Continues.validate(line), ValidationResult::Incomplete);
            assert_eq!(found, goes_on, "{line:?}");
        };
        check("a\\", true);
        check("a", false);
        check("a\\\\", false);
        check("a\\\nb", false);
        assert_eq!(joined("a\\\nb\n\\c"), "a\nb\n\\c");
    }
}
