//! The documents as a book: every page is reached from its first one, every link and every anchor leads somewhere, and
//! the programs of `docs/library.md` are those that run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::docs_guarantees::workspace;

/// The pages: `README.md`, and all of `docs/` but the examples' own files.
fn pages() -> Vec<PathBuf> {
    fn collect(folder: &Path, pages: &mut Vec<PathBuf>) {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() && !path.ends_with("docs/examples") {
                collect(&path, pages);
            } else if path.extension().is_some_and(|end| end == "md") {
                pages.push(path);
            }
        }
    }
    let mut pages = vec![workspace().join("README.md")];
    collect(&workspace().join("docs"), &mut pages);
    pages
}

/// The lines outside of fenced blocks.
fn prose(page: &str) -> Vec<&str> {
    let mut fence = None;
    let mut lines = Vec::new();
    for line in page.lines() {
        let mark = line.trim_start();
        let length = mark.len() - mark.trim_start_matches('`').len();
        match fence {
            None if length >= 3 => fence = Some(length),
            Some(open) if length >= open && mark.trim_matches('`').trim().is_empty() => fence = None,
            None => lines.push(line),
            Some(_) => {}
        }
    }
    lines
}

/// The line without what stands between backticks.
fn without_code(line: &str) -> String {
    line.split('`').enumerate().map(|(at, part)| if at % 2 == 0 { part } else { "…" }).collect()
}

/// Where the links of a page lead.
fn links(page: &str) -> Vec<String> {
    let of = |line: &&str| {
        let line = without_code(line);
        let parts: Vec<String> = line.split("](").skip(1).map(str::to_owned).collect();
        parts.into_iter().filter_map(|part| Some(part.split_once(')')?.0.to_owned())).collect::<Vec<_>>()
    };
    prose(page).iter().flat_map(of).collect()
}

/// The anchors of a page: its headings, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let mut anchors = BTreeSet::new();
    for line in prose(page) {
        let text = line.trim_start_matches('#');
        if text.len() == line.len() || !text.starts_with(' ') {
            continue;
        }
        let keep = |c: char| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
            _ => None,
        };
        let slug: String = text.trim().chars().filter_map(keep).collect();
        let count = seen.entry(slug.clone()).or_default();
        anchors.insert(if *count == 0 { slug } else { format!("{slug}-{count}") });
        *count += 1;
    }
    anchors
}

/// The file that a link means, and the anchor in it; `None` for an address of the web.
fn target(from: &Path, link: &str) -> Option<(PathBuf, Option<String>)> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let file = if path.is_empty() { from.to_owned() } else { from.parent().unwrap().join(path) };
    Some((file, anchor.map(str::to_owned)))
}

/// What is wrong with a link.
fn dead(from: &Path, link: &str) -> Option<String> {
    let (file, anchor) = target(from, link)?;
    let told = |why: &str| Some(format!("{}: `{link}` {why}", from.display()));
    if !file.exists() {
        return told("leads nowhere");
    }
    let anchor = anchor?;
    let page = std::fs::read_to_string(&file).unwrap_or_default();
    if anchors(&page).contains(&anchor) { None } else { told("has no such heading") }
}

#[test]
fn every_link_and_every_anchor_leads_somewhere() {
    let (mut count, mut faults) = (0, Vec::new());
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let links = links(&text);
        count += links.len();
        faults.extend(links.iter().filter_map(|link| dead(&page, link)));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 150, "{count} links: the pages are not read");
}

#[test]
fn every_page_is_reached_from_the_first() {
    let first = workspace().join("README.md");
    let (mut reached, mut open) = (BTreeSet::from([first.clone()]), vec![first]);
    while let Some(page) = open.pop() {
        let text = std::fs::read_to_string(&page).unwrap();
        for (file, _) in links(&text).iter().filter_map(|link| target(&page, link)) {
            let Ok(file) = std::fs::canonicalize(file) else { continue };
            if file.extension().is_some_and(|end| end == "md") && reached.insert(file.clone()) {
                open.push(file);
            }
        }
    }
    let missed: Vec<PathBuf> = pages()
        .into_iter()
        .filter(|page| !reached.contains(&std::fs::canonicalize(page).unwrap()) && !reached.contains(page))
        .collect();
    assert!(missed.is_empty(), "no link leads to {missed:?}");
    let book = workspace().join("docs/README.md");
    let text = std::fs::read_to_string(&book).unwrap();
    let listed: Vec<PathBuf> =
        links(&text).iter().filter_map(|link| std::fs::canonicalize(target(&book, link)?.0).ok()).collect();
    let unlisted: Vec<PathBuf> = pages()
        .into_iter()
        .map(|page| std::fs::canonicalize(page).unwrap())
        .filter(|page| page.starts_with(workspace().join("docs")) && !page.ends_with("docs/README.md"))
        .filter(|page| !listed.contains(page))
        .collect();
    assert!(unlisted.is_empty(), "docs/README.md does not list {unlisted:?}");
}

#[test]
fn the_programs_of_the_library_page_are_those_that_run() {
    let page = std::fs::read_to_string(workspace().join("docs/library.md")).unwrap();
    let shown: Vec<&str> = page
        .split("```rust\n")
        .skip(1)
        .map(|rest| rest.split_once("```").expect("a block is closed").0)
        .collect();
    let mut programs = 0;
    for entry in std::fs::read_dir(workspace().join("tests/consumer/src/bin")).unwrap() {
        let file = entry.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(shown.contains(&text.as_str()), "docs/library.md does not show {}", file.display());
        programs += 1;
    }
    assert_eq!((programs, shown.len()), (7, 7), "and nothing else");
}

#[test]
fn a_dead_link_and_a_missing_heading_are_found() {
    let text = "# One two: `three`\n\n## One two: `three`\n[a](b.md#c) `[no](link)` [d](e)\n```sh\n# no heading\n[no](x)\n```\n[f](#g)\n";
    assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), ["one-two-three", "one-two-three-1"]);
    assert_eq!(links(text), ["b.md#c", "e", "#g"]);
    let page = workspace().join("docs/README.md");
    assert_eq!(dead(&page, "architecture.md#invariants"), None);
    assert_eq!(dead(&page, "https://example.org/x"), None);
    for wrong in ["nowhere.md", "architecture.md#nowhere", "#nowhere"] {
        assert!(dead(&page, wrong).is_some(), "{wrong}");
    }
}
