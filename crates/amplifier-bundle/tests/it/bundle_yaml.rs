//! Reading YAML: bounds, places, merge keys, and what the types take.

use std::path::Path;

use amplifier_bundle::bundle::yaml::{self, MAX_BYTES, YamlError, YamlFault};
use amplifier_bundle::bundle::{Diagnostic, Node};
use proptest::prelude::*;
use serde_json::json;

fn parse(text: &str) -> Result<Node, YamlError> {
    yaml::parse(text, Path::new("f.yaml"))
}

fn check(text: &str, expect: serde_json::Value) {
    let node = parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(json!(node), expect, "{text}");
}

/// The error's text after `f.yaml:`.
fn check_error(text: &str, expect: &str) {
    let error = parse(text).expect_err(text).to_string();
    assert_eq!(error.strip_prefix("f.yaml:").unwrap(), expect, "{text}");
}

#[test]
fn untyped_scalars_keep_their_core_meaning() {
    check("a: yes\nb: 010\nc: on\nd: 1.0.0", json!({"a": "yes", "b": "010", "c": "on", "d": "1.0.0"}));
    check(
        "a: true\nb: 7\nc: -7\nd: 0.5\ne: ~\nf:",
        json!({"a": true, "b": 7, "c": -7, "d": 0.5, "e": null, "f": null}),
    );
    check("a: 18446744073709551615", json!({"a": u64::MAX}));
    check("", json!(null));
    check("# only a comment\n", json!(null));
    check("---\na: 1\n", json!({"a": 1}));
    check("\u{feff}a: 1\n", json!({"a": 1}));
    check("a: |\n  one\n  two\n", json!({"a": "one\ntwo\n"}));
    check("1: a\ntrue: b\n", json!({"1": "a", "true": "b"}));
    check("a: !!str 12", json!({"a": "12"}));
    check("a: 1\r\nb:\r\n  - x\r\n", json!({"a": 1, "b": ["x"]}));
}

#[test]
fn aliases_are_expanded_and_merge_keys_applied() {
    check("a: &x [1, 2]\nb: *x", json!({"a": [1, 2], "b": [1, 2]}));
    let base = "base: &b {one: 1, two: 2}\nother: &o {two: 3, three: 3}\n";
    let node = json!(parse(&format!("{base}m: {{<<: *b, two: 9}}")).unwrap());
    assert_eq!(node["m"], json!({"two": 9, "one": 1}));
    let node = json!(parse(&format!("{base}m:\n  <<: [*b, *o]\n  four: 4")).unwrap());
    assert_eq!(node["m"], json!({"four": 4, "one": 1, "two": 2, "three": 3}));
    let node = json!(parse(&format!("{base}m: &m {{<<: *b}}\nn: {{<<: *m}}")).unwrap());
    assert_eq!(node["n"], json!({"one": 1, "two": 2}));
    check("a: {\"<<\": 1}", json!({"a": {"<<": 1}}));
}

#[test]
fn values_and_keys_know_their_place() {
    let node = parse("a: 1\nbc:\n  - x\n  - y: {z: 2}\n").unwrap();
    let entries = node.as_map().unwrap();
    assert_eq!((entries[1].key_position.line, entries[1].key_position.column), (2, 1));
    let item = &entries[1].value.as_seq().unwrap()[1];
    let z = item.get("y").unwrap().get("z").unwrap();
    assert_eq!((z.position.line, z.position.column), (4, 12));
}

#[test]
fn places_count_from_the_files_first_line() {
    let node = yaml::parse_from("a: 1\n", Path::new("f"), 3).unwrap();
    assert_eq!(node.as_map().unwrap()[0].key_position.line, 4);
    let twice = yaml::parse_from("a: 1\na: 2\n", Path::new("f"), 3).unwrap_err();
    assert!(twice.to_string().contains("first in line 4"), "{twice}");
    let error = yaml::parse_from("a: [", Path::new("f"), 3).unwrap_err();
    assert!(error.position.line >= 4, "{error}");
}

#[test]
fn faults_name_line_and_column() {
    check_error("a: 1\nb: 2\na: 3\n", "3:1: the key `a` stands twice in one map, first in line 1");
    check_error("x:\n  - {k: 1, k: 2}", "2:12: the key `k` stands twice in one map, first in line 2");
    check_error("a: 1\n---\nb: 2\n", "2:1: the file holds several documents; one is read");
    check_error("a: !thing 1", "1:4: the tag `!thing` is not known here");
    check_error("a: !!python/name:os.system 1", "1:4: the tag `!!python/name:os.system` is not known here");
    check_error("a: !!binary 1", "1:4: the tag `!!binary` is not known here");
    check_error("? [1]\n: 2", "1:3: a key must be plain text");
    check_error("a: &x [*x]", "1:8: an alias stands inside the value that it names");
    check_error("a: .inf", "1:4: the number is not finite");
    check_error("a: {<<: 3}", "1:9: `<<` takes a map or a list of maps");
    for text in ["a: [1", "a:\n\t- b", "a: b: c", "a: *nobody", "a: \"x", "%", "- a\nb: c"] {
        let error = parse(text).expect_err(text);
        assert!(matches!(error.fault, YamlFault::Syntax { .. }), "{error}");
    }
}

#[test]
fn a_tab_and_a_stray_colon_are_explained() {
    let help = |text| Diagnostic::from(parse(text).unwrap_err()).help.unwrap_or_default();
    assert!(help("a:\n\t- b\n").contains("tabs"));
    assert!(help("a: b: c\n").contains("quotes"));
}

/// What takes more than linear time here takes minutes.
fn check_refused(text: &str, expect: &YamlFault) {
    let error = parse(text).expect_err("a bomb is refused");
    assert_eq!(std::mem::discriminant(&error.fault), std::mem::discriminant(expect), "{error}");
}

#[test]
fn bombs_are_refused_fast() {
    let syntax = YamlFault::Syntax { message: String::new(), help: None };
    check_refused(&"[".repeat(500_000), &YamlFault::TooDeep);
    check_refused(&"{a: ".repeat(120_000), &YamlFault::TooDeep);
    check_refused(&"- ".repeat(250_000), &YamlFault::TooDeep);
    check_refused(&"[\n".repeat(250_000), &YamlFault::TooDeep);
    check_refused(&"x".repeat(MAX_BYTES + 1), &YamlFault::TooLarge { bytes: 0 });
    check_refused(&"- a\n".repeat(200_000), &YamlFault::TooManyNodes);
    check_refused(&"? ".repeat(250_000), &YamlFault::BadKey);
    check_refused(&"]".repeat(500_000), &syntax);
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..30 {
        let alias = format!("*a{}", i - 1);
        laughs.push_str(&format!("a{i}: &a{i} [{}]\n", [alias.as_str(); 9].join(", ")));
    }
    check_refused(&laughs, &YamlFault::TooManyNodes);
    let mut tower = "a0: &a0 [x]\n".to_owned();
    for i in 1..200 {
        tower.push_str(&format!("a{i}: &a{i} [*a{}]\n", i - 1));
    }
    check_refused(&tower, &YamlFault::TooDeep);
}

#[test]
fn a_text_within_the_bounds_is_read() {
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    parse(&deep).unwrap();
    let wide = "- a\n".repeat(yaml::MAX_NODES - 1);
    assert_eq!(parse(&wide).unwrap().as_seq().unwrap().len(), yaml::MAX_NODES - 1);
}

#[derive(serde::Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct Settings {
    on: bool,
    version: String,
    #[serde(default)]
    kind: Option<Kind>,
    #[serde(default)]
    limits: Vec<u32>,
}

#[derive(serde::Deserialize, Debug, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Plain,
    Sized { bytes: u64 },
    Named(String),
}

#[test]
fn typed_values_take_words_for_booleans_and_numbers_for_text() {
    for (word, value) in [("yes", true), ("No", false), ("ON", true), ("off", false), ("true", true)] {
        let text = format!("on: {word}\nversion: 1.10\n");
        let settings: Settings = yaml::from_str(&text, Path::new("f")).unwrap();
        assert_eq!((settings.on, settings.version.as_str()), (value, "1.10"));
    }
}

#[test]
fn enums_are_read_from_a_name_or_a_map() {
    let kind = |text: &str| yaml::from_str::<Kind>(text, Path::new("f")).unwrap();
    assert_eq!(kind("plain"), Kind::Plain);
    assert_eq!(kind("{sized: {bytes: 3}}"), Kind::Sized { bytes: 3 });
    assert_eq!(kind("{named: x}"), Kind::Named("x".into()));
    yaml::from_str::<Kind>("[1]", Path::new("f")).unwrap_err();
}

#[test]
fn a_value_of_another_type_is_named_with_its_place() {
    let error = |text: &str| yaml::from_str::<Settings>(text, Path::new("f")).unwrap_err().to_string();
    let text = error("on: true\nversion: a\nlimits:\n  - 1\n  - many\n");
    assert_eq!(text, "f:5:5: this must be u32, not text", "the value is not repeated");
    let text = error("on: true\nversion: a\nlimit: 3\n");
    assert!(text.starts_with("f:3:1: unknown field `limit`"), "{text}");
}

#[test]
fn a_tree_shows_no_values_when_debugged() {
    let shown = format!("{:?}", parse("{api_key: hidden}").unwrap());
    assert!(shown.contains("a map") && !shown.contains("hidden"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_text_never_panics(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn random_markup_never_panics(text in "[-:{}\\[\\],&*!?|>'\"#%@<a1 \\n\\t]{0,120}") {
        let _ = parse(&text);
    }

    #[test]
    fn json_is_read_as_itself(values in prop::collection::vec(("[a-z]{1,6}", any::<i64>(), any::<bool>()), 0..20)) {
        let value = json!(values);
        prop_assert_eq!(json!(parse(&value.to_string()).unwrap()), value);
    }
}

#[test]
fn what_stands_beside_a_line_end_of_unicode_is_refused_where_it_can_be_read_in_two_ways() {
    check_error("limits: {max_turns:\u{2028} 3, timeout: 1m}", "1:10: the key can be read in two ways");
    check_error("limits: {max_turns: \u{2028}3, timeout: 1m}", "1:21: the value can be read in two ways");
    check("{\"a\\u2028b\": 3}", json!({"a\u{2028}b": 3}));
}
