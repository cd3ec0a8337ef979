//! Which lines of a file are tests, and on which an `expect` is a stated proof.
//!
//! Guarantees: works on tokens, so comments and texts never count, and code
//! inside macros does.

use std::ops::RangeInclusive;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// Lines, from and to, both counted.
pub(crate) type Lines = RangeInclusive<usize>;

/// The regions of one file.
#[derive(Debug, Default)]
pub(crate) struct Regions {
    /// Items under `#[cfg(test)]`, and functions under `#[test]` and its kin.
    pub(crate) tests: Vec<Lines>,
    /// Items and statements with `allow` or `expect` of `clippy::expect_used` and a reason.
    pub(crate) proofs: Vec<Lines>,
    /// Names of modules in files of their own that are declared under `#[cfg(test)]`.
    pub(crate) test_modules: Vec<String>,
}

impl Regions {
    /// Finds the regions of a file's tokens.
    pub(crate) fn of(tokens: TokenStream) -> Self {
        let mut regions = Self::default();
        regions.walk(tokens);
        regions
    }

    fn walk(&mut self, tokens: TokenStream) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        for (index, tree) in trees.iter().enumerate() {
            if let TokenTree::Group(group) = tree {
                self.attribute(&trees, index, group);
                self.walk(group.stream());
            }
        }
    }

    /// Notes the region of the attribute whose bracket stands at `index`, if it is one.
    fn attribute(&mut self, trees: &[TokenTree], index: usize, group: &Group) {
        let is = |back: usize, mark: char| {
            let tree = index.checked_sub(back).and_then(|at| trees.get(at));
            matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
        };
        let start = group.span_open().start().line;
        let words = flat(group.stream());
        if is(1, '!') && is(2, '#') && is_test(&words) {
            self.tests.push(1..=usize::MAX);
        }
        if group.delimiter() != Delimiter::Bracket || !is(1, '#') {
            return;
        }
        let rest = trees.get(index + 1..).unwrap_or_default();
        let lines = start..=end_of_item(rest, start);
        if is_test(&words) {
            self.test_modules.extend(module_in_its_own_file(rest));
            self.tests.push(lines);
        } else if is_proof(&words) {
            self.proofs.push(lines);
        }
    }
}

/// True for `test`, `tokio::test`, `cfg(test)` and `cfg(all(…, test, …))`.
fn is_test(words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test"] => true,
        ["cfg", "(", "test", ")"] => true,
        ["cfg", "(", "all", "(", inside @ ..] => {
            let outermost = inside.iter().scan(0, |depth, word| {
                *depth += i32::from(*word == "(") - i32::from(*word == ")");
                Some((*depth, *word))
            });
            outermost.take_while(|(depth, _)| *depth >= 0).any(|(depth, word)| depth == 0 && word == "test")
        }
        ["cfg" | "cfg_attr", ..] => false,
        words => {
            let path = words.iter().position(|word| *word == "(").unwrap_or(words.len());
            matches!(words.get(..path), Some([_, .., ":", "test"]))
        }
    }
}

fn is_proof(words: &[String]) -> bool {
    let has = |wanted: &str| words.iter().any(|word| word == wanted);
    matches!(words.first().map(String::as_str), Some("allow" | "expect"))
        && has("expect_used")
        && has("reason")
}

/// The last line of the item or statement that the tokens begin with.
fn end_of_item(trees: &[TokenTree], start: usize) -> usize {
    let is_let = matches!(trees.first(), Some(TokenTree::Ident(word)) if word == "let");
    let mut last = start;
    for tree in trees {
        last = tree.span().end().line;
        match tree {
            TokenTree::Punct(punct) if punct.as_char() == ';' => break,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace && !is_let => break,
            _ => {}
        }
    }
    last
}

fn module_in_its_own_file(trees: &[TokenTree]) -> Option<String> {
    let at = trees.iter().position(|tree| matches!(tree, TokenTree::Ident(word) if word == "mod"))?;
    match (trees.get(at + 1)?, trees.get(at + 2)?) {
        (TokenTree::Ident(name), TokenTree::Punct(end)) if end.as_char() == ';' && at <= 2 => {
            Some(name.to_string())
        }
        _ => None,
    }
}

/// All tokens of a stream as text, groups opened.
fn flat(tokens: TokenStream) -> Vec<String> {
    let mut words = Vec::new();
    for tree in tokens {
        match tree {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => {
                words.push("(".to_owned());
                words.extend(flat(group.stream()));
                words.push(")".to_owned());
            }
            TokenTree::Group(group) => words.extend(flat(group.stream())),
            other => words.push(other.to_string()),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions(text: &str) -> Regions {
        Regions::of(text.parse().unwrap())
    }

    #[test]
    fn test_items_are_found_wherever_they_stand() {
        let check = |text: &str, lines: &[Lines]| assert_eq!(regions(text).tests, lines, "{text}");
        check("fn a() {}\n#[cfg(test)]\nmod tests {\nfn b() {}\n}\nfn c() {}", &[2..=5]);
        check("#[test]\nfn a() {\n}", &[1..=3]);
        check("#[tokio::test(flavor = \"multi_thread\")]\nasync fn a() {\n}", &[1..=3]);
        check("impl A {\n#[cfg(test)]\nfn b() {\n}\n}", &[2..=4]);
        check("proptest! {\n#[test]\nfn b() {\n}\n}", &[2..=4]);
        check("#[cfg(all(unix, test))]\nconst A: u8 = 1;", &[1..=2]);
        check("#![cfg(test)]\nfn a() {}", &[1..=usize::MAX]);
    }

    #[test]
    fn shipped_items_are_no_tests() {
        let check = |text: &str| assert!(regions(text).tests.is_empty(), "{text}");
        check("#[cfg(not(test))]\nfn a() {}");
        check("#[cfg(any(test, feature = \"kit\"))]\nfn a() {}");
        check("#[cfg(all(unix, not(test)))]\nfn a() {}");
        check("#[cfg_attr(test, derive(Debug))]\nstruct A {}");
        check("#[doc = \"cfg(test)\"]\nfn a() {}");
    }

    #[test]
    fn a_test_module_in_its_own_file_is_named() {
        assert_eq!(regions("#[cfg(test)]\nmod checks;\nmod shipped;").test_modules, ["checks"]);
    }

    #[test]
    fn a_proof_needs_a_reason_and_covers_one_item() {
        let stated = "#[expect(clippy::expect_used, reason = \"checked above\")]\nlet a = A { b }\n.expect(\"c\");\nd;";
        assert_eq!(regions(stated).proofs, [1..=3]);
        assert!(regions("#[allow(clippy::expect_used)]\nfn a() {}").proofs.is_empty());
    }
}
