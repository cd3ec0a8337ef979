//! `docs/guarantees.md` and `docs/security.md` name tests that exist, for every promise and every threat.
//!
//! `crate::a::b::name` is the test function `name` in `src/a/b.rs` or `tests/a/b.rs` of that crate,
//! or in a `mod.rs` or `tests.rs` of such a folder; or a case that `each_store!` runs over several stores.

use std::path::{Path, PathBuf};

/// The header of a table of promises.
const HEADER: [&str; 3] = ["promise", "test", "limit"];

/// The section of promises that have no test.
const UNPROVED: &str = "Stated, not yet proved";

/// A row of a table of promises.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    line: usize,
    promise: String,
    tests: Vec<String>,
}

pub(super) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The rows of all tables of promises. Tables with another header are none.
fn rows(page: &str) -> Vec<Row> {
    let (mut found, mut inside) = (Vec::new(), false);
    for (at, line) in page.lines().enumerate() {
        let Some(cells) = cells(line) else {
            inside = false;
            continue;
        };
        if cells == HEADER {
            inside = true;
        } else if inside && !cells.iter().all(|cell| cell.chars().all(|c| c == '-')) {
            assert_eq!(cells.len(), HEADER.len(), "line {}: a row has three cells: {line}", at + 1);
            let tests = cells[1].split('`').skip(1).step_by(2).map(str::to_owned).collect();
            found.push(Row { line: at + 1, promise: cells[0].to_owned(), tests });
        }
    }
    found
}

/// The cells of a line of a table; `\|` parts none.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?.replace("\\|", "\u{0}");
    Some(inner.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect())
}

/// The rows of the tables with this header, whatever their number of cells.
pub(super) fn rows_below(page: &str, header: &[&str]) -> Vec<Vec<String>> {
    let (mut found, mut inside) = (Vec::new(), false);
    for line in page.lines() {
        match cells(line) {
            None => inside = false,
            Some(cells) if cells == header => inside = true,
            Some(cells) if inside && !cells[0].starts_with("---") => found.push(cells),
            Some(_) => {}
        }
    }
    found
}

/// The folder of a crate, by its name in code.
fn folder(root: &Path, name: &str) -> PathBuf {
    match name {
        "amplifier_tests" => root.join("tests"),
        "amplifier_consumer" => root.join("tests/consumer"),
        "xtask" => root.join("xtask"),
        name => root.join("crates").join(name.replace('_', "-")),
    }
}

/// Where a test may stand.
fn places(root: &Path, krate: &str, modules: &[&str]) -> Vec<PathBuf> {
    let path = modules.join("/");
    let files = [format!("{path}.rs"), format!("{path}/mod.rs"), format!("{path}/tests.rs")];
    let folders = [folder(root, krate).join("src"), folder(root, krate).join("tests")];
    folders.iter().flat_map(|folder| files.iter().map(|file| folder.join(file))).collect()
}

/// True if a text has a test function of that name.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_it = |line: &str| line.split(&format!("fn {name}(")).count() > 1;
    let above = |at: usize| {
        let marks = ["#[", "//", "each_store!("];
        lines[..at].iter().rev().take_while(move |line| marks.iter().any(|mark| line.starts_with(mark)))
    };
    let tests = ["#[test]", "#[tokio::test", &format!("each_store!({name}")];
    let marked = |at: usize| above(at).any(|line| tests.iter().any(|test| line.starts_with(test)));
    (0..lines.len()).any(|at| is_it(lines[at]) && marked(at))
}

/// Why a test's name is wrong; `None` if the test exists.
pub(super) fn fault(root: &Path, test: &str) -> Option<String> {
    let parts: Vec<&str> = test.split("::").collect();
    let [krate, modules @ .., name] = parts.as_slice() else {
        return Some(format!("`{test}` is no path of a test"));
    };
    let places = places(root, krate, modules);
    let exists =
        places.iter().any(|place| std::fs::read_to_string(place).is_ok_and(|text| has_test(&text, name)));
    (!exists).then(|| format!("there is no test `{test}`"))
}

#[test]
fn every_promise_names_tests_that_exist() {
    let root = workspace();
    let page = std::fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let (proved, unproved) = page.split_once(&format!("## {UNPROVED}")).unwrap();
    let rows = rows(proved);
    let mut faults = Vec::new();
    for row in &rows {
        if row.tests.is_empty() {
            faults.push(format!("{}: no test: {}", row.line, row.promise));
        }
        let wrong = row.tests.iter().filter_map(|test| fault(&root, test));
        faults.extend(wrong.map(|fault| format!("{}: {fault}", row.line)));
    }
    assert!(faults.is_empty(), "docs/guarantees.md:\n{}", faults.join("\n"));
    assert!(rows.len() > 100, "{} promises: the tables are not read", rows.len());
    assert_eq!(self::rows(unproved), [], "what has a test stands before `{UNPROVED}`");
}

/// What the page of threats must speak of.
const THREATS: [&str; 17] = [
    "Prompt injection",
    "event data",
    "repository",
    "git sources",
    "zip sources",
    "http sources",
    "Path traversal",
    "SSRF",
    "Secrets in logs",
    "HTTP surface",
    "Forged events",
    "zip bomb",
    "YAML bombs",
    "Symlinks",
    "Hooks and commands of bundles",
    "MCP servers",
    "External agents",
];

#[test]
fn every_threat_names_tests_that_exist() {
    let root = workspace();
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let rows = rows_below(&page, &["threat", "what is done", "test", "what remains"]);
    assert!(rows.len() > 25, "{} threats: the tables are not read", rows.len());
    for row in &rows {
        let [threat, _, tests, _] = row.as_slice() else { panic!("a row has four cells: {row:?}") };
        let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test: {threat}");
        let faults: Vec<String> = tests.into_iter().filter_map(|test| fault(&root, test)).collect();
        assert!(faults.is_empty(), "{threat}: {}", faults.join(", "));
    }
    let said: String = rows.iter().map(|row| format!("{}\n", row[0])).collect();
    let missing: Vec<&str> = THREATS.into_iter().filter(|threat| !said.contains(threat)).collect();
    assert!(missing.is_empty(), "not answered: {missing:?}");
}

#[test]
fn a_row_without_a_test_and_a_test_that_is_not_there_are_found() {
    let page = "| a | b | c |\n|---|---|---|\n| x | `y` | z |\n\n| promise | test | limit |\n|---|---|---|\n\
                | one \\| two | `a::b`, `a::c` | |\n| three | later | none |\n";
    let row = |line, promise: &str, tests: &[&str]| Row {
        line,
        promise: promise.into(),
        tests: tests.iter().map(|test| (*test).to_owned()).collect(),
    };
    assert_eq!(rows(page), [row(7, "one | two", &["a::b", "a::c"]), row(8, "three", &[])]);
    let text = "#[test]\n// why\n#[ignore = \"b\"]\nfn a() {}\n\nfn helper() {}\n#[tokio::test(flavor = \"x\")]\nasync fn c() {}";
    assert_eq!(["a", "helper", "c", "b"].map(|name| has_test(text, name)), [true, false, true, false]);
    let root = workspace();
    let own = "amplifier_tests::it::docs_guarantees::every_promise_names_tests_that_exist";
    assert_eq!(fault(&root, own), None);
    for wrong in ["amplifier_tests::it::docs_guarantees::nothing", "nothing", "no_crate::it::a::b"] {
        assert!(fault(&root, wrong).is_some(), "{wrong}");
    }
}
