//! Work left undone: marks in comments, and tests that do not run without saying why.
//!
//! Guarantees: marks are whole words in capitals; in code outside tests they
//! fail in texts too, in tests only in comments.

use super::finding::Finding;
use super::source::Source;

/// Written in two parts, so that this file passes its own rule.
const MARKS: [&str; 4] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

/// Checks one file.
pub(crate) fn check(source: &Source, found: &mut Vec<Finding>) {
    for (line, text) in (1..).zip(source.text.lines()) {
        let text = match source.is_test(line) {
            true => text.split_once("//").map_or("", |(_, comment)| comment),
            false => text,
        };
        if let Some(mark) = mark(text) {
            let advice = "do it, or write an issue";
            found.push(Finding::new(
                "leftover",
                (&source.path, line),
                mark,
                "marks work left undone",
                advice,
            ));
        }
    }
    for line in source.lines_with("# [ ignore ]") {
        let advice = "write `#[ignore = \"…\"]`, or let it run";
        found.push(Finding::new("ignored-test", (&source.path, line), "ignore", "has no reason", advice));
    }
}

fn mark(text: &str) -> Option<&'static str> {
    let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words.filter_map(|word| MARKS.into_iter().find(|mark| *mark == word)).next()
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::MARKS;

    fn rules(text: &str) -> Vec<&'static str> {
        testing::rules(super::check, "crates/a/src/a.rs", text)
    }

    #[test]
    fn marks_fail_in_comments_and_in_code() {
        for mark in MARKS {
            assert_eq!(rules(&format!("// {mark}: later\nfn a() {{}}")), ["leftover"]);
            assert_eq!(rules(&format!("fn a() {{ b(\"{mark}\") }}")), ["leftover"]);
            assert_eq!(rules(&format!("#[test]\nfn a() {{\n// {mark}\n}}")), ["leftover"]);
        }
    }

    #[test]
    fn words_that_only_hold_a_mark_pass() {
        let mark = MARKS[0];
        assert!(rules(&format!("/// The {mark}_LIST, todo, {mark}S.\nfn a() {{}}")).is_empty());
        assert!(rules(&format!("#[test]\nfn a() {{\nb(\"{mark}\");\n}}")).is_empty());
    }

    #[test]
    fn an_ignored_test_says_why() {
        assert_eq!(rules("#[test]\n#[ignore]\nfn a() {}"), ["ignored-test"]);
        assert!(rules("#[test]\n#[ignore = \"needs a network\"]\nfn a() {}").is_empty());
    }
}
