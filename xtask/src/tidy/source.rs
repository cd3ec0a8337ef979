//! One Rust file as the rules see it: text, tokens, syntax tree, and which lines are tests.
//!
//! Guarantees: tokens hold no comments, and the text of a literal is never a word.

use std::path::Path;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

use super::finding::Finding;
use super::regions::Regions;

/// One token that is no literal, with its line. `::` is one token.
#[derive(Debug)]
pub(crate) struct Word {
    /// The token.
    pub(crate) text: String,
    /// Counted from 1.
    pub(crate) line: usize,
}

/// One Rust file.
pub(crate) struct Source {
    /// From the root of the workspace, with `/`.
    pub(crate) path: String,
    /// The whole text.
    pub(crate) text: String,
    /// Its tokens in order.
    pub(crate) words: Vec<Word>,
    /// Its syntax tree.
    pub(crate) syntax: syn::File,
    /// Where tests and proofs are.
    pub(crate) regions: Regions,
    /// True if the whole file is test code.
    pub(crate) is_test_file: bool,
}

impl Source {
    /// Reads a text as a Rust file.
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self, Box<Finding>> {
        let broken = |line: usize, message: String| {
            let advice = "mend it so that `cargo build` reads it";
            let path = path.to_owned();
            Box::new(Finding { path, line, rule: "syntax", item: String::new(), message, advice })
        };
        let tokens: TokenStream = text
            .parse()
            .map_err(|error: proc_macro2::LexError| broken(error.span().start().line, error.to_string()))?;
        let syntax =
            syn::parse_file(text).map_err(|error| broken(error.span().start().line, error.to_string()))?;
        let mut words = Vec::new();
        flatten(tokens.clone(), &mut words);
        Ok(Self {
            path: path.to_owned(),
            text: text.to_owned(),
            words,
            syntax,
            regions: Regions::of(tokens),
            is_test_file: is_test_path(path),
        })
    }

    /// The crate that the file belongs to, by its folder: `amplifier-core`, `xtask`, `tests`.
    pub(crate) fn krate(&self) -> &str {
        let mut parts = self.path.split('/');
        match (parts.next(), parts.next()) {
            (Some("crates"), Some(name)) => name,
            (Some(name), _) => name,
            (None, _) => "",
        }
    }

    /// True if the line is test code.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.is_test_file || self.regions.tests.iter().any(|lines| lines.contains(&line))
    }

    /// True if an `expect` on the line is a stated proof.
    pub(crate) fn is_proof(&self, line: usize) -> bool {
        self.regions.proofs.iter().any(|lines| lines.contains(&line))
    }

    /// Lines of code: all lines, blank ones and comments too, apart from tests.
    pub(crate) fn code_lines(&self) -> usize {
        (1..=self.text.lines().count()).filter(|line| !self.is_test(*line)).count()
    }

    /// Of the lines of code, those that are neither blank nor a comment alone.
    pub(crate) fn bare_lines(&self) -> usize {
        let numbered = (1..).zip(self.text.lines().map(str::trim));
        let bare = numbered.filter(|(_, text)| !text.is_empty() && !text.starts_with("//"));
        bare.filter(|(line, _)| !self.is_test(*line)).count()
    }

    /// Lines on which the words stand in this order, tests included. `pattern` is parted by spaces.
    pub(crate) fn lines_with(&self, pattern: &str) -> Vec<usize> {
        let wanted: Vec<&str> = pattern.split(' ').collect();
        let matches =
            |window: &&[Word]| window.iter().zip(&wanted).all(|(word, wanted)| word.text == *wanted);
        let windows = self.words.windows(wanted.len()).filter(matches);
        windows.filter_map(|window| Some(window.first()?.line)).collect()
    }

    /// Like [`Self::lines_with`], outside tests.
    pub(crate) fn code_lines_with(&self, pattern: &str) -> Vec<usize> {
        let mut lines = self.lines_with(pattern);
        lines.retain(|line| !self.is_test(*line));
        lines
    }

    /// Paths, as prefixes without `.rs`, of the files that this file declares as test modules.
    pub(crate) fn test_module_paths(&self) -> impl Iterator<Item = String> {
        let path = Path::new(&self.path);
        let parent = path.parent().unwrap_or(path);
        let folder = match path.file_name().and_then(|name| name.to_str()) {
            Some("lib.rs" | "main.rs" | "mod.rs") => parent.to_owned(),
            _ => path.with_extension(""),
        };
        self.regions.test_modules.iter().map(move |name| folder.join(name).to_string_lossy().into_owned())
    }
}

fn is_test_path(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "benches" | "examples" | "fuzz" | "tests.rs"))
}

fn flatten(tokens: TokenStream, words: &mut Vec<Word>) {
    let mut trees = tokens.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = brackets(group.delimiter());
                words.push(Word { text: open.to_owned(), line });
                flatten(group.stream(), words);
                words.push(Word { text: close.to_owned(), line: group.span_close().end().line });
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' && punct.spacing() == Spacing::Joint => {
                if matches!(trees.peek(), Some(TokenTree::Punct(next)) if next.as_char() == ':') {
                    trees.next();
                }
                words.push(Word { text: "::".to_owned(), line });
            }
            TokenTree::Literal(_) => words.push(Word { text: "\"\"".to_owned(), line }),
            other => words.push(Word { text: other.to_string(), line }),
        }
    }
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_words() {
        let source = Source::parse("a.rs", "// x.unwrap()\nfn a() { b(\"x.unwrap()\") }\n").unwrap();
        assert_eq!(source.lines_with(". unwrap (").len(), 0);
    }

    #[test]
    fn words_are_found_across_lines_and_inside_macros() {
        let source = Source::parse("a.rs", "fn a() {\n  b!(c\n    .unwrap())\n}\n").unwrap();
        assert_eq!(source.lines_with(". unwrap ("), [3]);
        let source = Source::parse("a.rs", "fn a() { A::<u8>::b() }").unwrap();
        assert_eq!(source.lines_with(":: b (").len(), 1);
    }

    #[test]
    fn code_lines_leave_tests_out() {
        let text = "//! a\nfn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(Source::parse("a.rs", text).unwrap().code_lines(), 3);
        assert_eq!(Source::parse("a.rs", text).unwrap().bare_lines(), 1);
        assert_eq!(Source::parse("crates/a/tests/it/main.rs", text).unwrap().code_lines(), 0);
    }

    #[test]
    fn a_file_that_is_no_rust_is_a_finding() {
        let finding = Source::parse("a.rs", "//! a\nfn a( {\n").err().unwrap();
        assert_eq!((finding.rule, finding.path.as_str()), ("syntax", "a.rs"));
    }

    #[test]
    fn test_modules_lie_beside_or_below() {
        let paths = |path| {
            let source = Source::parse(path, "#[cfg(test)]\nmod checks;").unwrap();
            source.test_module_paths().collect::<Vec<_>>()
        };
        assert_eq!(paths("crates/a/src/lib.rs"), ["crates/a/src/checks"]);
        assert_eq!(paths("crates/a/src/b.rs"), ["crates/a/src/b/checks"]);
    }
}
