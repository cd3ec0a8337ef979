//! Edits of declared background sessions, attacked with damaged files: of `background.yaml` and `foreman.yaml`.

use std::path::Path;

use amplifier_bundle::bundle::yaml;
use amplifier_fuzz::{Script, fuzz};
use amplifier_trigger::{BackgroundName, TriggerRegistry};

use super::{Addition, EditError, NewTrigger, meaning, with, without};
use crate::config::BackgroundConfig;

const FILES: &[&str] = &[
    "# mine\nbackground_sessions:\n  - name: a\n    bundle: b # it\n    triggers: [{type: manual}]\n\n  # the second\n  - name: b\n    bundle: |\n      text\n\n      # no comment\nnotify:\n  - {events: [run_dead], command: [x]}\n",
    "worker_pools:\n  - name: workers\n    worker_bundle: default\n    max_concurrent: 2\nrouting:\n  default_pool: workers\nbackground_sessions:\n- name: nightly\n  bundle: ./b.md\n  triggers:\n  - type: timer\n    config: {cron: \"0 3 * * *\", timezone: UTC}\n  instruction_template: >-\n    Look\n    around\n# end\n",
    "background_sessions: [] # none\nnotify: []",
    "background_sessions:\r\n  - {name: a,\r\n     bundle: b}\r\n",
    "x: &a {k: 1}\nbackground_sessions:\n  -\n    name: a\n    limits: *a\n",
    "",
];
const PARTS: &[&str] = &[
    "\n",
    "\r\n",
    "  ",
    "- ",
    ": ",
    "# c",
    " #",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "|\n",
    "|+\n",
    ">-\n",
    "name: a",
    "name: added",
    "bundle: b",
    "&a ",
    "*a",
    "<<: *a",
    "~",
    "\t",
    "é",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "---\n",
    "...\n",
    "background_sessions:",
    "notify:",
    "\\",
    "? ",
    ",",
];
const TEXTS: &[&str] = &[
    "./b.md",
    "say \"hi\": # no\nand {event_summary}",
    "yes",
    "1.5",
    " ",
    "é\u{2028}\u{85}\u{feff}",
    "it's",
    "- x",
    "\\",
    "*/15 * * * *",
    "work:done",
    "\u{7f}\u{0}",
];

fn addition(script: &mut Script<'_>) -> Addition {
    let mut text = || script.text(TEXTS, TEXTS);
    let (bundle, instruction, one, two) = (text(), text(), text(), text());
    let trigger = match script.below(6) {
        0 => NewTrigger::Every(one),
        1 => NewTrigger::Cron { expression: one, timezone: two },
        2 => NewTrigger::At { time: one, timezone: script.coin().then_some(two) },
        3 => NewTrigger::On(vec![one, two]),
        4 => NewTrigger::Watch(vec![one]),
        _ => NewTrigger::Webhook { path: one, scheme: "github".to_owned(), secret_env: two },
    };
    let mut addition = Addition::new(BackgroundName::new("added").unwrap(), bundle, trigger);
    addition.instruction = script.coin().then_some(instruction);
    addition
}

#[test]
fn declared_sessions_added_and_removed() {
    fuzz!(|script| {
        let (text, file) = (script.text(FILES, PARTS), Path::new("f.yaml"));
        let addition = addition(script);
        let before = yaml::parse(&text, file);
        let after = match with(&text, file, &addition) {
            Ok(after) => after,
            Err(EditError::Yaml(_)) => {
                return assert!(before.is_err() || yaml::parse(&addition.lines().join("\n"), file).is_err());
            }
            Err(_) => return,
        };
        let (before, root) = (meaning(&before.unwrap()), meaning(&yaml::parse(&after, file).unwrap()));
        assert_eq!((&root.0, &root.1[..before.1.len()]), (&before.0, &before.1[..]), "{after}");
        assert_eq!(root.1.len(), before.1.len() + 1);
        assert!(is_subsequence(&text, &after), "a line is gone:\n{text:?}\n{after:?}");
        // Taken out again, the very bytes are there; or, where they are not safe to touch, nothing is changed.
        match without(&after, file, &addition.name) {
            Ok(back) => assert_eq!(back.as_deref(), Some(text.as_str()), "through\n{after:?}"),
            Err(error) => assert!(matches!(error, EditError::Unsafe { .. }), "{error}"),
        }
    });
}

#[test]
fn declared_sessions_removed() {
    fuzz!(|script| {
        let (text, file) = (script.text(FILES, PARTS), Path::new("f.yaml"));
        let name = BackgroundName::new(script.one_of(&["a", "b", "nightly"])).unwrap();
        let Ok(Some(after)) = without(&text, file, &name) else { return };
        let (before, root) =
            (meaning(&yaml::parse(&text, file).unwrap()), meaning(&yaml::parse(&after, file).unwrap()));
        assert_eq!((&root.0, root.1.len() + 1), (&before.0, before.1.len()), "{text:?} became {after:?}");
        assert!(is_subsequence(&after, &text), "a line is new:\n{text:?}\n{after:?}");
        let left: Vec<_> = before.1.iter().filter(|item| root.1.contains(item)).collect();
        assert!(left.len() >= root.1.len());
    });
}

/// True if every line of the one text stands in the other, in their order, but for what ends a line.
fn is_subsequence(some: &str, all: &str) -> bool {
    let lines = |text| str::split(text, ['\n', '\r']).filter(|line| !line.is_empty());
    let mut all = lines(all);
    lines(some)
        .all(|line| all.any(|other| other == line || is_emptied(line, other) || is_emptied(other, line)))
}

/// `background_sessions: []` cannot hold a list below it: its brackets go behind a mark, and come back.
fn is_emptied(line: &str, other: &str) -> bool {
    let key = |line: &str| line.split(':').next().map(str::to_owned);
    line != other && line.contains("background_sessions") && key(line) == key(other)
}

#[test]
fn declared_sessions_read() {
    fuzz!(|script| {
        let text = script.text(FILES, PARTS);
        let Ok(root) = yaml::parse(&text, Path::new("f.yaml")) else { return };
        for item in meaning(&root).1 {
            match BackgroundConfig::parse(&item, &TriggerRegistry::new()) {
                Ok(config) => assert_eq!(item["name"], config.name.as_str()),
                Err(error) => assert!(!error.faults.is_empty() && !error.to_string().is_empty()),
            }
        }
    });
}
