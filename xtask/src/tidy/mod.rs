//! `cargo xtask tidy`: rules of the architecture that a compiler does not check.
//!
//! Guarantees: reads every Rust file and manifest of the workspace that lies on
//! disk, in version control or not; prints `path:line: rule: message: what to do`,
//! sorted, and one line of figures; fails on any finding.

mod allow;
mod finding;
mod functions;
mod imports;
mod leftovers;
mod manifests;
mod panics;
mod regions;
mod seams;
mod signatures;
mod sizes;
mod source;
mod thin;

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::run;
use finding::Finding;
use source::Source;

/// Folders that hold the workspace's code.
const FOLDERS: [&str; 3] = ["crates", "xtask", "tests"];

/// Folders inside them that hold no code of the workspace.
const NOT_OURS: [&str; 3] = ["target", "fixtures", "node_modules"];

/// The crate that stands outside the workspace; its manifest has versions of its own.
const OUTSIDE: &str = "tests/consumer/";

/// Checks the workspace.
pub(crate) fn run() -> Result<(), Error> {
    let root = run::root();
    let (mut found, summary) = check(&root)?;
    found.sort();
    found.dedup();
    found.iter().for_each(|finding| println!("{finding}"));
    println!("tidy: {summary}; findings: {}", found.len());
    match found.len() {
        0 => Ok(()),
        count => Err(Error::Found { check: "tidy", count }),
    }
}

fn check(root: &Path) -> Result<(Vec<Finding>, String), Error> {
    let mut files = vec![root.join("Cargo.toml")];
    for folder in FOLDERS {
        collect(&root.join(folder), &mut files)?;
    }
    let mut found = Vec::new();
    let mut sources = Vec::new();
    for file in files {
        let path = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        let text = std::fs::read_to_string(&file).map_err(Error::file(&file))?;
        if path.ends_with(".rs") {
            match Source::parse(&path, &text) {
                Ok(source) => sources.push(source),
                Err(finding) => found.push(*finding),
            }
        } else if !path.starts_with(OUTSIDE) {
            manifests::check(&path, &text, &mut found);
        }
    }
    mark_test_modules(&mut sources);
    for source in &sources {
        check_source(source, &mut found);
    }
    let census = sizes::Census::of(&sources);
    census.check(&mut found);
    let list = root.join(allow::PATH);
    allow::apply(&std::fs::read_to_string(&list).map_err(Error::file(&list))?, &mut found);
    Ok((found, census.to_string()))
}

fn check_source(source: &Source, found: &mut Vec<Finding>) {
    sizes::check(source, found);
    panics::check(source, found);
    seams::check(source, found);
    signatures::check(source, found);
    thin::check(source, found);
    leftovers::check(source, found);
}

/// Files that another one declares under `#[cfg(test)]` are test code.
fn mark_test_modules(sources: &mut [Source]) {
    let modules: Vec<String> = sources.iter().flat_map(Source::test_module_paths).collect();
    for source in sources {
        let inside = |module: &String| {
            source
                .path
                .strip_prefix(module.as_str())
                .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        source.is_test_file |= modules.iter().any(inside);
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in std::fs::read_dir(folder).map_err(Error::file(folder))? {
        let path = entry.map_err(Error::file(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && !NOT_OURS.contains(&name.as_str()) {
            collect(&path, files)?;
        } else if path.is_file() && (name.ends_with(".rs") || name == "Cargo.toml") {
            files.push(path);
        }
    }
    Ok(())
}

/// Short ways to run one rule on one text.
#[cfg(test)]
mod testing {
    use super::{Finding, Source};

    type Rule = fn(&Source, &mut Vec<Finding>);

    pub(super) fn source(path: &str, text: &str) -> Source {
        Source::parse(path, text).unwrap_or_else(|finding| panic!("{text}: {finding}"))
    }

    fn findings(rule: Rule, path: &str, text: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        rule(&source(path, text), &mut found);
        found
    }

    pub(super) fn items(rule: Rule, path: &str, text: &str) -> Vec<String> {
        findings(rule, path, text).into_iter().map(|finding| finding.item).collect()
    }

    pub(super) fn rules(rule: Rule, path: &str, text: &str) -> Vec<&'static str> {
        findings(rule, path, text).into_iter().map(|finding| finding.rule).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_declared_for_tests_is_test_code_in_its_own_file() {
        let mut sources = [
            ("crates/a/src/lib.rs", "#[cfg(test)]\nmod checks;"),
            ("crates/a/src/checks.rs", "fn a() {}"),
            ("crates/a/src/checks/more.rs", "fn a() {}"),
            ("crates/a/src/checksum.rs", "fn a() {}"),
        ]
        .map(|(path, text)| testing::source(path, text));
        mark_test_modules(&mut sources);
        assert_eq!(sources.map(|source| source.is_test_file), [false, true, true, false]);
    }

    #[test]
    fn a_finding_is_one_line_with_its_place_and_what_to_do() {
        let mut found = Vec::new();
        check_source(&testing::source("crates/a/src/a.rs", "//! a\nfn a() { b.unwrap() }"), &mut found);
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("crates/a/src/a.rs:2: panics: `unwrap` outside tests: return an error"));
    }
}
