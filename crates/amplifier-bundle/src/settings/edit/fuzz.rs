//! Settings files and the edits of them, attacked with damaged texts.

use std::path::Path;
use std::sync::Arc;

use amplifier_fuzz::fuzz;
use serde_json::json;

use super::{Change, changed_text, emit, tree};
use crate::bundle::node::Node;
use crate::bundle::yaml;
use crate::settings::parse::{FileScope, settings};
use crate::settings::scope::Scope;

const FILES: &[&str] = &[
    "# mine\nbundle:\n  active: b # the one\n  added:\n    mine: ~/b\n\nprovider: {name: p, model: m}\n",
    "config:\n  providers:\n    - module: provider-x\n      config: {base_url: 'http://h', api_key: ${KEY}}\n  # more\n  notify: [a,\n    b]\n",
    "permissions:\n  mode: ask\n  allow:\n  - bash(git *)\n  - \"read(./**)\"\n  deny: []\nlimits: {max_turns: 3, timeout: 1m}\nretry:\n  max_retries: 2\n",
    "bundle:\r\n  app:\r\n  - one\r\n  - two\r\nsources:\r\n  modules: {m: git+https://h/x@v1}\r\n",
    "overrides:\n  tool-bash:\n    config:\n      text: |\n        a\n\n        # b\n      other: >-\n        c\nagents: {claude: true}\n",
];
const PARTS: &[&str] = &[
    ": ",
    "- ",
    "\n",
    "\n  ",
    "[",
    "]",
    "{",
    "}",
    "# x",
    " #",
    "'",
    "''",
    "\"",
    "|\n",
    ">-\n  ",
    "~",
    "yes",
    "1e3",
    "\t",
    "\r\n",
    "&a ",
    "*a",
    "é",
    "\u{feff}",
    "\\",
    ",",
    "---\n",
    "...",
    "bundle:",
    "active:",
    "added:",
    "app:",
    "  ",
    "permissions:",
    "allow:",
    "\u{2028}",
    "\u{85}",
    "\0",
    "key: ",
];
const PATHS: &[&[&str]] = &[
    &["bundle", "active"],
    &["bundle", "added", "mine"],
    &["bundle", "app"],
    &["permissions", "allow"],
    &["provider", "name"],
    &["top"],
    &["a: b", "é", "- #"],
    &["overrides", "tool-bash", "config", "text"],
];
const VALUES: &[&str] = &[
    "one",
    "",
    "a: b",
    "it's",
    "two\nlines",
    "yes",
    "1.10",
    "# no",
    "\u{85}\u{2028}\u{feff}",
    " x ",
    "\"",
    "*a",
    "-",
    "\\",
    "\0",
    "\u{7f}",
];

fn find<'n>(root: &'n Node, path: &[&str]) -> Option<&'n Node> {
    path.iter().try_fold(root, |node, key| node.get(key))
}

#[test]
fn settings_files() {
    fuzz!(|script| {
        let text = script.text(FILES, PARTS);
        let Ok(node) = yaml::parse(&text, Path::new("f")) else { return };
        let path: Arc<Path> = Path::new("f").into();
        for scope in [Scope::User, Scope::Project, Scope::Local, Scope::Session] {
            let read = settings(&node, FileScope { scope, path: Arc::clone(&path) });
            assert!(
                read.warnings.iter().all(|one| one.line().is_some_and(|line| line > 0)),
                "{:?}",
                read.warnings
            );
        }
    });
}

#[test]
fn settings_edits() {
    fuzz!(|script| {
        let (file, path) = (Path::new("f"), script.one_of(PATHS));
        let value = script.text(VALUES, VALUES);
        let change = match script.below(4) {
            0 => Change::Set { path, value: &value },
            1 => Change::Unset { path },
            2 => Change::Append { path, value: &value },
            _ => Change::Remove { path, value: &value },
        };
        let text = script.text(FILES, PARTS);
        let Ok(Some(after)) = changed_text(&text, file, &change) else { return };
        let root = yaml::parse(&after, file).unwrap();
        let there = find(&root, path);
        let holds = there
            .and_then(Node::as_seq)
            .is_some_and(|items| items.iter().any(|item| item.as_str() == Some(&value)));
        match change {
            Change::Set { .. } => assert_eq!(there.and_then(Node::as_str), Some(value.as_str()), "{after}"),
            Change::Unset { .. } => assert!(there.is_none(), "{after}"),
            Change::Append { .. } => assert!(holds, "{after}"),
            _ => assert!(!holds, "{after}"),
        }
        // Said once is enough, and what stands beside the path says what it said.
        assert!(matches!(changed_text(&after, file, &change), Ok(None)), "{text:?} {change:?} {after:?}");
        let before = yaml::parse(&text, file).unwrap();
        for entry in before.as_map().unwrap_or_default().iter().filter(|entry| entry.key != path[0]) {
            let now = root.get(&entry.key).map(|node| json!(node));
            assert_eq!(now, Some(json!(entry.value)), "{} of {text:?} in {after:?}", entry.key);
        }
    });
}

#[test]
fn yaml_printed_and_read_again() {
    fuzz!(|script| {
        let Ok(root) = yaml::parse(&script.text(FILES, PARTS), Path::new("f")) else { return };
        if root.as_map().is_none() {
            return;
        }
        let printed = emit::document(&root);
        match yaml::parse(&printed, Path::new("f")) {
            Ok(again) => assert!(tree::same(&again, &root), "{printed}"),
            // YAML reads no key of more than 1,024 characters, but behind a `?`: such a file is told to be unsafe to change.
            Err(error) => assert!(printed.lines().any(|line| line.len() > 900), "{error}: {printed}"),
        }
    });
}
