//! The examples of `docs/bundles.md` are bundles and agents without a fault.

use std::path::{Path, PathBuf};

use amplifier_foundation::bundle::validate::check;
use amplifier_foundation::bundle::{Diagnostic, Strictness, parse_agent, parse_bundle};

/// A fenced block that says what it is.
struct Example {
    line: usize,
    info: String,
    text: String,
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/bundles.md");
    std::fs::read_to_string(path).unwrap()
}

fn examples(page: &str) -> Vec<Example> {
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
fn faults(example: &Example) -> Option<Vec<Diagnostic>> {
    let file = |suffix: &str| PathBuf::from(format!("docs/bundles.md line {}.{suffix}", example.line));
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
    let examples = examples(&page());
    let checked: Vec<_> = examples.iter().filter_map(|example| Some((example, faults(example)?))).collect();
    for (example, faults) in &checked {
        assert!(faults.is_empty(), "line {}: {faults:#?}", example.line);
    }
    for info in ["yaml bundle", "markdown bundle", "markdown agent"] {
        assert!(checked.iter().any(|(example, _)| example.info == info), "no example is ```{info}");
    }
}

#[test]
fn no_yaml_or_markdown_example_is_left_unchecked() {
    for example in examples(&page()) {
        let kind = example.info.split(' ').next().unwrap_or_default();
        let is_format = ["yaml", "markdown", "md", "yml"].contains(&kind);
        assert!(!is_format || faults(&example).is_some(), "line {}: ```{}", example.line, example.info);
    }
}
