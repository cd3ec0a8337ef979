//! Sizes of files, functions and crates, and the header of each file.
//!
//! Guarantees: a file counts with all its lines, comments too, apart from tests;
//! a function from `fn` to its closing brace.

use std::collections::BTreeMap;
use std::fmt;

use super::finding::Finding;
use super::functions::functions;
use super::source::Source;

const MAX_FILE: usize = 600;
const MAX_FUNCTION: usize = 70;
/// Lines that are neither blank nor a comment; `docs/adr/0003-size-limits.md` says why these.
const MAX_CRATE: [(&str, usize); 9] = [
    ("amplifier-core", 5_700),
    ("amplifier-fs", 2_500),
    ("amplifier-bundle", 11_000),
    ("amplifier-store", 7_800),
    ("amplifier-trigger", 4_500),
    ("amplifier-issue", 4_000),
    ("amplifier-foundation", 13_200),
    ("amplifier-background", 8_500),
    ("amplifier-crew", 5_000),
];

/// Checks one file.
pub(crate) fn check(source: &Source, found: &mut Vec<Finding>) {
    let place = |line| (source.path.as_str(), line);
    let lines = source.code_lines();
    if lines > MAX_FILE {
        let message = format!("has {lines} lines of code, of {MAX_FILE} at most");
        found.push(Finding::new("file-size", place(1), file_name(source), &message, "split it by noun"));
    }
    if !has_header(&source.text) {
        let advice = "open it with `//!`: what it is, what it guarantees, what it never does";
        found.push(Finding::new("header", place(1), file_name(source), "has no header", advice));
    }
    for function in functions(&source.syntax) {
        let (start, length) = (*function.lines.start(), function.len());
        if length > MAX_FUNCTION && !source.is_test(start) {
            let message = format!("has {length} lines, of {MAX_FUNCTION} at most");
            found.push(Finding::new(
                "function-size",
                place(start),
                function.name,
                &message,
                "split it by step",
            ));
        }
    }
}

fn file_name(source: &Source) -> String {
    source.path.rsplit('/').next().unwrap_or(&source.path).to_owned()
}

/// True if the first line that is neither blank nor an inner attribute is a `//!` comment.
fn has_header(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("#!["));
    first.is_some_and(|line| line.strip_prefix("//!").is_some_and(|words| !words.trim().is_empty()))
}

/// Sizes of the whole workspace, tests apart. The limit of a crate
/// is for lines that are neither blank nor a comment: documentation is no reason to split.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// Lines of code of each file, sorted.
    files: Vec<usize>,
    /// Lines of code of each crate, and how many of them are neither blank nor a comment.
    crates: BTreeMap<String, (usize, usize)>,
}

impl Census {
    /// Counts the files that are no tests.
    pub(crate) fn of(sources: &[Source]) -> Self {
        let mut census = Self::default();
        for source in sources.iter().filter(|source| !source.is_test_file) {
            let lines = source.code_lines();
            census.files.push(lines);
            let (all, bare) = census.crates.entry(source.krate().to_owned()).or_default();
            *all += lines;
            *bare += source.bare_lines();
        }
        census.files.sort_unstable();
        census
    }

    /// Crates over their limit.
    pub(crate) fn check(&self, found: &mut Vec<Finding>) {
        for (name, limit) in MAX_CRATE {
            let (_, bare) = self.crates.get(name).copied().unwrap_or_default();
            if bare > limit {
                let message =
                    format!("has {bare} lines of code without blanks and comments, of {limit} at most");
                let path = format!("crates/{name}/Cargo.toml");
                found.push(Finding::new("crate-size", (&path, 1), name, &message, "move or remove code"));
            }
        }
    }

    fn quantile(&self, percent: usize) -> usize {
        let last = self.files.len().saturating_sub(1);
        self.files.get((last * percent).div_ceil(100)).copied().unwrap_or(0)
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: usize = self.files.iter().sum();
        let (median, p95) = (self.quantile(50), self.quantile(95));
        write!(f, "{} files, {total} lines of code; a file: median {median}, p95 {p95}", self.files.len())?;
        for (name, (lines, bare)) in &self.crates {
            let limit = MAX_CRATE.iter().find(|(limited, _)| limited == name);
            let of = limit.map(|(_, limit)| format!(" of {limit}")).unwrap_or_default();
            write!(f, "; {name} {bare}{of} ({lines} with blanks and comments)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    const PATH: &str = "crates/amplifier-core/src/a.rs";

    fn rules(text: &str) -> Vec<&'static str> {
        testing::rules(check, PATH, text)
    }

    #[test]
    fn a_file_over_600_lines_of_code_fails() {
        let text = |code: usize, tests: usize| {
            let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "// b\n".repeat(tests));
            format!("//! a\n{}{tests}", "// b\n".repeat(code - 1))
        };
        assert_eq!(rules(&text(601, 0)), ["file-size"]);
        assert!(rules(&text(600, 900)).is_empty());
    }

    #[test]
    fn a_function_over_70_lines_fails() {
        let text = |lines: usize| {
            format!("//! a\nimpl A {{\n#[doc = \"b\"]\nfn a() {{\n{}}}\n}}", "b();\n".repeat(lines - 2))
        };
        assert_eq!(rules(&text(71)), ["function-size"]);
        assert!(rules(&text(70)).is_empty());
        assert!(rules(&format!("//! a\n#[test]\nfn a() {{\n{}}}", "b();\n".repeat(100))).is_empty());
    }

    #[test]
    fn a_file_opens_with_its_header() {
        assert_eq!(rules("fn a() {}"), ["header"]);
        assert_eq!(rules("// a\n//! b\nfn a() {}"), ["header"]);
        assert_eq!(rules("//!\nfn a() {}"), ["header"]);
        assert!(rules("#![allow(dead_code)]\n\n//! a\nfn a() {}").is_empty());
    }

    #[test]
    fn the_census_counts_code_and_holds_crates_to_their_limit() {
        let file =
            |path: &str, lines: usize| testing::source(path, &format!("//! a\n{}", "use b;\n".repeat(lines)));
        let mut sources: Vec<Source> =
            (0..10).map(|n| file(&format!("crates/amplifier-core/src/{n}.rs"), 570)).collect();
        sources.push(file("crates/amplifier-core/tests/it/main.rs", 5_000));
        let mut found = Vec::new();
        Census::of(&sources).check(&mut found);
        assert!(found.is_empty(), "{found:?}");
        sources.push(file(PATH, 1));
        let census = Census::of(&sources);
        census.check(&mut found);
        assert_eq!(found.len(), 1);
        let summary = "11 files, 5712 lines of code; a file: median 571, p95 571; amplifier-core 5701 of 5700 (5712 with blanks and comments)";
        assert_eq!(census.to_string(), summary);
    }
}
