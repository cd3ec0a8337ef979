//! What is added and taken out again leaves every byte as it was.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn name(text: &str) -> BackgroundName {
    BackgroundName::new(text).unwrap()
}

fn addition(text: &str) -> Addition {
    let trigger = NewTrigger::Cron { expression: "0 9 * * MON-FRI".into(), timezone: "Europe/Berlin".into() };
    let mut addition = Addition::new(name(text), "./b.md", trigger);
    addition.instruction = Some("say \"hi\": # no comment\nand {event_summary}".to_owned());
    addition
}

const FILE: &str = ".amplifier/background.yaml";

#[track_caller]
fn there_and_back(text: &str) -> String {
    let file = Path::new(FILE);
    let with = with(text, file, &addition("added")).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let back = without(&with, file, &name("added")).unwrap_or_else(|error| panic!("{error}\n{with}"));
    assert_eq!(back.as_deref(), Some(text), "through\n{with}");
    with
}

const BLOCK: &str = "- name: added
  bundle: ./b.md
  instruction_template: \"say \\\"hi\\\": # no comment\\nand {event_summary}\"
  triggers:
    - type: timer
      config: { cron: \"0 9 * * MON-FRI\", timezone: Europe/Berlin }
";

fn block(indent: usize) -> String {
    BLOCK.lines().map(|line| format!("{}{line}\n", " ".repeat(indent))).collect()
}

#[test]
fn an_item_is_added_at_the_end_of_the_list() {
    let check = |before: &str, after: &str| assert_eq!(there_and_back(before), after);
    let mark = "# This list was begun by `amplifier background add`.\nbackground_sessions:\n";
    check("", &format!("{mark}{}", block(2)));
    check("# mine\n", &format!("# mine\n{mark}{}", block(2)));
    check("notify: []", format!("notify: []\n{mark}{}", block(2)).trim_end());
    check(
        "background_sessions:\n- name: a # it\n  bundle: b\n\n# of the next\nnotify: []\n",
        &format!(
            "background_sessions:\n- name: a # it\n  bundle: b\n{}\n# of the next\nnotify: []\n",
            block(0)
        ),
    );
    check(
        "background_sessions: [] # none yet\nnotify: []\n",
        &format!("background_sessions: # [] # none yet\n{}notify: []\n", block(2)),
    );
    check(
        "background_sessions: # none\n\nnotify: []\n",
        &format!("background_sessions: # none\n{}\nnotify: []\n", block(2)),
    );
    check(
        "background_sessions:\n    -\n        name: a\n        bundle: b\n        # end of a\n",
        &format!(
            "background_sessions:\n    -\n        name: a\n        bundle: b\n        # end of a\n{}",
            block(4)
        ),
    );
}

#[test]
fn a_comment_that_looks_like_an_empty_list_stays_one() {
    for text in ["background_sessions: # [] none\n", "background_sessions: #  # [] none\nnotify: []"] {
        there_and_back(text);
    }
}

#[test]
fn a_carriage_return_alone_ends_a_line_too() {
    for text in [
        "notify: []\r",
        "# one\r# two\rnotify: []",
        "notify:\r- {events: [run_dead],\r   command: [x]}\n\n",
        "# one\rbackground_sessions: [] # none\rnotify: []\r",
        "# one\rbackground_sessions:\r  - name: a\r    bundle: b\r\nnotify: []\n",
    ] {
        there_and_back(text);
    }
}

#[test]
fn texts_of_several_lines_stay_whole() {
    there_and_back(
        "background_sessions:\n  - name: a\n    bundle: b\n    context: |\n      one\n      # two\n",
    );
    there_and_back(
        "background_sessions:\n  - name: a\n    bundle: b\n    context: |+\n      one\n\n\nnotify: []\n",
    );
    there_and_back("background_sessions:\n  - {name: a,\n     bundle: b}\n");
    // What is indented deeper than the first item will be.
    there_and_back(
        "background_sessions:\n    # - name: a\n    #   bundle: b\n\n      # deeper\nnotify: []\n",
    );
    there_and_back("background_sessions:\r\n     # none yet");
    there_and_back("background_sessions: []\n\n    # none\n");
    there_and_back("x: &a {k: 1}\nbackground_sessions:\n  - name: a\n    limits: *a\n");
}

#[test]
fn what_cannot_be_changed_safely_is_left_alone() {
    let file = Path::new(FILE);
    let check = |text: &str, part: &str| {
        let error = with(text, file, &addition("added")).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains(FILE), "{error}");
    };
    check("background_sessions: [{name: a, bundle: b}]\n", ":1: the list is written");
    check("background_sessions: {a: b}\n", ":1: `background_sessions` must be a list");
    check("- a\n", "must be a list");
    check("{background_sessions: [}\n", "repair the file first");
    check(
        "\n\nbackground_sessions:\n  - name: added\n",
        ":4: the background session added is declared already",
    );
    let anchored = "background_sessions:\n  - &a\n    name: a\n  - <<: *a\n    name: b\n";
    assert!(without(anchored, file, &name("a")).is_err());
    assert_eq!(without("background_sessions: []\n", file, &name("a")).unwrap(), None);
}

#[test]
fn any_text_is_declared_as_it_was_typed() {
    for text in
        ["yes", "1.5", "- a", "# b", "{trigger.data.x?}", "tab\tü\u{2028}\u{7f}", " ", "a: b", "*x", "'q'"]
    {
        let mut addition = addition("a");
        addition.bundle = format!("b{text}");
        addition.instruction = Some(text.to_owned());
        let said = meaning_of(&addition.lines(), Path::new(FILE)).unwrap();
        assert_eq!((&said["bundle"], &said["instruction_template"]), (&json!(addition.bundle), &json!(text)));
    }
}

/// A file as people write it: sections in any order, comments, blank lines, indents, line ends.
fn a_file() -> impl Strategy<Value = String> {
    let noise = prop_oneof![
        Just(""),
        Just("\n"),
        Just("# a comment\n"),
        Just("  # an indented one\n"),
        Just("      # a deeper one\n"),
        Just("\n\n# two\n")
    ];
    let value = prop_oneof![
        Just("    context: plain\n"),
        Just("    context: |\n      a\n\n      # b\n"),
        Just("    context: >-\n      a\n      b\n"),
        Just("    triggers: [{type: manual}]\n"),
        Just("    triggers:\n      - type: manual\n        # by hand\n"),
        Just("")
    ];
    let item = (noise.clone(), value, 0..2_usize);
    let list = prop_oneof![
        Just(None),
        Just(Some("background_sessions: []\n".to_owned())),
        Just(Some("background_sessions: null # none\n".to_owned())),
        Just(Some("background_sessions:\n".to_owned())),
        prop::collection::vec(item, 1..4).prop_map(|items| {
            let items = items.into_iter().enumerate().map(|(at, (noise, value, outer))| {
                format!("{noise}  - name: s{at}{}\n    bundle: b\n{value}", ["", " # named"][outer])
            });
            Some(format!("background_sessions:\n{}", items.collect::<String>()))
        })
    ];
    (noise.clone(), list, noise.clone(), any::<bool>(), noise, any::<[bool; 2]>()).prop_map(
        |(before, list, after, notify, end, [windows, open])| {
            let notify = if notify { "notify:\n  - {events: [run_dead], command: [x]}\n" } else { "" };
            let list = list.unwrap_or_default();
            let mut text = format!("{before}{list}{after}{notify}{end}");
            if open {
                text.truncate(text.trim_end().len());
            }
            if windows { text.replace('\n', "\r\n") } else { text }
        },
    )
}

proptest! {
    #[test]
    fn what_is_added_and_removed_leaves_the_same_bytes(text in a_file()) {
        // To end the last line of such a text would change what it says: that is refused.
        prop_assume!(text.ends_with('\n') || !text.contains("context: |"));
        there_and_back(&text);
    }

    #[test]
    fn removing_one_leaves_what_the_others_say(text in a_file(), at in 0..3_usize) {
        let file = Path::new(FILE);
        let before = meaning(&yaml::parse(&text, file).unwrap());
        let gone = name(&format!("s{at}"));
        if let Some(after) = without(&text, file, &gone).unwrap() {
            let after = meaning(&yaml::parse(&after, file).unwrap());
            prop_assert_eq!(&after.0, &before.0);
            let kept: Vec<&Value> = before.1.iter().filter(|item| item["name"] != gone.as_str()).collect();
            prop_assert_eq!(after.1.iter().collect::<Vec<_>>(), kept);
        }
    }
}
