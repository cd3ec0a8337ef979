//! The examples of bundles and agents in `docs/` are without a fault.

use std::path::{Path, PathBuf};

use amplifier_bundle::bundle::validate::check;
use amplifier_bundle::bundle::{Diagnostic, Strictness, parse_agent, parse_bundle};

/// Pages whose examples of YAML and markdown are bundles or agents.
const PAGES: [&str; 4] = ["bundles.md", "providers.md", "tools.md", "mcp.md"];

/// A fenced block that says what it is.
pub(crate) struct Example {
    pub(crate) line: usize,
    pub(crate) info: String,
    pub(crate) text: String,
}

/// The text of a page of `docs/`.
pub(crate) fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// The fenced blocks of a page.
pub(crate) fn examples(page: &str) -> Vec<Example> {
    let mut found = Vec::new();
    let mut open: Option<Example> = None;
    for (at, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), open.as_mut()) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(info), None) => {
                open = Some(Example { line: at + 1, info: info.to_owned(), text: String::new() });
            }
            (None, Some(example)) => {
                example.text.push_str(line);
                example.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fenced block is never closed");
    found
}

/// What is said about an example; `None` if it is none.
fn faults(page: &str, example: &Example) -> Option<Vec<Diagnostic>> {
    let file = |suffix: &str| PathBuf::from(format!("docs/{page} line {}.{suffix}", example.line));
    let (file, is_agent) = match example.info.as_str() {
        "yaml bundle" => (file("yaml"), false),
        "markdown bundle" => (file("md"), false),
        "markdown agent" => (file("md"), true),
        _ => return None,
    };
    if is_agent {
        return Some(parse_agent(&example.text, &file, "agent").diagnostics);
    }
    let parsed = parse_bundle(&example.text, &file);
    let mut all = parsed.diagnostics;
    all.extend(check(&parsed.value.unwrap_or_default(), Strictness::Strict));
    Some(all)
}

#[test]
fn every_example_is_read_without_a_fault() {
    for name in PAGES {
        let examples = examples(&page(name));
        let checked: Vec<_> =
            examples.iter().filter_map(|example| Some((example, faults(name, example)?))).collect();
        assert!(!checked.is_empty(), "docs/{name} has no example");
        for (example, faults) in checked {
            assert!(faults.is_empty(), "docs/{name} line {}: {faults:#?}", example.line);
        }
    }
}

#[test]
fn the_page_of_bundles_shows_each_kind_of_file() {
    let examples = examples(&page("bundles.md"));
    for info in ["yaml bundle", "markdown bundle", "markdown agent"] {
        assert!(examples.iter().any(|example| example.info == info), "no example is ```{info}");
    }
}

#[test]
fn no_yaml_or_markdown_example_is_left_unchecked() {
    for name in PAGES {
        for example in examples(&page(name)) {
            let kind = example.info.split(' ').next().unwrap_or_default();
            let is_format = ["yaml", "markdown", "md", "yml"].contains(&kind);
            // Settings are checked as such.
            let is_format = is_format && example.info != "yaml settings";
            assert!(
                !is_format || faults(name, &example).is_some(),
                "docs/{name} line {}: ```{}",
                example.line,
                example.info
            );
        }
    }
}
