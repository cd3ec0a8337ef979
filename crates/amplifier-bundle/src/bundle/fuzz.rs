//! Bundles, agents and their YAML, attacked with damaged texts.

use std::path::Path;

use amplifier_fuzz::fuzz;
use serde_json::{Value, json};

use super::node::{Node, Yaml};
use super::{
    Bundle, Diagnostic, Strictness, kind_of, parse_agent, parse_bundle, parse_claude_agent,
    parse_codex_agent, validate, yaml,
};

const BUNDLES: &[&str] = &[
    "---\nbundle: {name: b, version: 1.0.0}\nincludes:\n  - bundle: git+https://h/x@main#subdirectory=a\n  - ./other.md\n\
     session: {orchestrator: {module: loop-basic, config: {max: 3}}, context: context-simple}\n---\nYou are @b:x.md.\n",
    "bundle:\n  name: b\n  description: |\n    two\n    lines\ntools:\n  - module: tool-bash\n    source: ./m\n    config: &c {a: [1, 2.50, ~, yes]}\n\
     \u{20} - {module: tool-x, id: y, config: {<<: *c, b: 'it''s'}}\nhooks: [hooks-a]\nproviders:\n- module: provider-anthropic\n",
    "---\nmeta:\n  name: a\n  description: \"d\\u00e9\"\nmodel_role: [fast, coding]\nprovider_preferences:\n  - {provider: p, model: 'm-*'}\ntools: []\n---\nBe.\n",
    "---\nname: reviewer\ndescription: Reads: carefully\ntools: Read, Bash(git *), mcp__x\nmodel: sonnet\npermissionMode: plan\n---\nBe.\n",
    "name = \"a\"\ndescription = \"b\"\ndeveloper_instructions = \"\"\"\nx\n\"\"\"\n[mcp_servers.x]\ncommand = \"y\"\n",
    "bundle: {name: b}\nagents:\n  include: [one, ns:two]\n  mine: {description: d, tools: [{module: t}], session: {context: c}}\n\
     context: {include: [a.md, 'n:b.md'], k: c.md}\nspawn: {exclude_tools: [a], tools: [t], limits: {max_turns: 3, timeout: 1m}}\n",
    "a: &a [x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nd: [*c, *c]\n",
];
const PARTS: &[&str] = &[
    "---\n",
    "---",
    ": ",
    "- ",
    "\n",
    "\n  ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "*c",
    "<<: ",
    "|\n  ",
    ">-\n",
    "!!str ",
    "!x ",
    "? ",
    "'",
    "\"",
    "# ",
    "~",
    "null",
    "yes",
    "0x1F",
    "1e400",
    ".nan",
    "-0",
    "1_000",
    "2026-01-01",
    "\t",
    "\r\n",
    "\u{feff}",
    "\u{2028}",
    "\u{85}",
    "\0",
    "é",
    ",",
    "\\",
    "bundle:",
    "tools:",
    "config:",
    "module: ",
    "agents:",
    "include: ",
    "session:",
    "@",
    "`",
    "%YAML 1.2\n",
    "...\n",
];

/// Depth and number of values.
fn measure(node: &Node) -> (usize, usize) {
    let below = |all: &mut dyn Iterator<Item = &Node>| {
        all.map(measure).fold((0, 0), |(depth, count), (d, c)| (depth.max(d), count + c))
    };
    let (depth, count) = match &node.value {
        Yaml::Seq(items) => below(&mut items.iter()),
        Yaml::Map(entries) => below(&mut entries.iter().map(|entry| &entry.value)),
        _ => return (0, 1),
    };
    (depth + 1, count + 1)
}

/// JSON as every YAML reader takes it: what YAML takes for line ends, marks or nothing at all is written as escapes. `None`
/// for a key that YAML does not read without a `?` before it.
fn printed(value: &Value) -> Option<String> {
    fn keys_are_short(value: &Value) -> bool {
        match value {
            Value::Array(items) => items.iter().all(keys_are_short),
            Value::Object(map) => map.iter().all(|(key, value)| key.len() < 150 && keys_are_short(value)),
            _ => true,
        }
    }
    let is_odd = |c: char| {
        matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    let escaped = |c: char| if is_odd(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    keys_are_short(value).then(|| value.to_string().chars().map(escaped).collect())
}

#[test]
fn yaml_texts() {
    fuzz!(|script| {
        let text = script.text(BUNDLES, PARTS);
        let lines = u32::try_from(text.lines().count()).unwrap() + 1;
        match yaml::parse(&text, Path::new("f")) {
            Ok(root) => {
                let (depth, count) = measure(&root);
                assert!(depth <= yaml::MAX_DEPTH && count <= yaml::MAX_NODES, "{depth} {count}");
                // JSON is YAML: what was understood can be written as JSON, and is understood again.
                let value = json!(root);
                if let Some(text) = printed(&value) {
                    let again =
                        yaml::parse(&text, Path::new("f")).unwrap_or_else(|error| panic!("{error}: {text}"));
                    assert_eq!(json!(again), value, "{text}");
                }
            }
            Err(error) => {
                let position = error.position;
                assert!(position.line >= 1 && position.column >= 1, "{error}");
                assert!(
                    text.contains(['\r', '\u{85}', '\u{2028}', '\u{2029}']) || position.line <= lines,
                    "{error}\n{text}"
                );
            }
        }
    });
}

/// Each says where, within the text, and there are not endlessly many.
fn are_bounded(diagnostics: &[Diagnostic], text: &str) {
    assert!(diagnostics.len() <= 20 + 4 * yaml::MAX_NODES.min(text.len() * 64), "{}", diagnostics.len());
    assert!(diagnostics.iter().all(|one| !one.to_string().is_empty()));
}

#[test]
fn bundle_files() {
    fuzz!(|script| {
        let text = script.text(BUNDLES, PARTS);
        let file = Path::new(if script.coin() { "/b/bundle.md" } else { "/b/bundle.yaml" });
        let _ = kind_of(&text, file);
        let parsed = parse_bundle(&text, file);
        are_bounded(&parsed.diagnostics, &text);
        assert!(parsed.value.is_some() || parsed.has_errors());
        let Some(bundle) = parsed.value else { return };
        let _ = (validate::check(&bundle, Strictness::Strict), validate::check_complete(&bundle));
        let plan = json!(bundle.mount_plan());
        let empty = Bundle { version: String::new(), ..Bundle::default() };
        assert_eq!(
            json!(bundle.clone().compose(&empty).mount_plan()),
            plan,
            "an empty bundle changes nothing"
        );
        let _ = json!(bundle.mount_plan().with_provenance()).to_string();
    });
}

/// What of a plan a bundle can say: nobody writes `agent_access`, and an agent is named by its key.
fn sayable(mut plan: Value) -> Value {
    if let Some(plan) = plan.as_object_mut() {
        plan.shift_remove("agent_access");
    }
    plan
}

#[test]
fn bundles_printed_and_read_again() {
    fuzz!(|script| {
        let later = parse_bundle(&script.text(BUNDLES, PARTS), Path::new("/b/bundle.yaml")).value;
        let base = parse_bundle(&script.text(BUNDLES, PARTS), Path::new("/a/bundle.md")).value;
        let (Some(base), Some(later)) = (base, later) else { return };
        let plan = sayable(json!(base.compose(&later).mount_plan()));
        let Some(text) = printed(&plan) else { return };
        let again =
            parse_bundle(&text, Path::new("/b/bundle.yaml")).value.unwrap_or_else(|| panic!("{text}"));
        assert_eq!(sayable(json!(again.mount_plan())), plan, "{text}");
    });
}

#[test]
fn agent_files() {
    fuzz!(|script| {
        let text = script.text(BUNDLES, PARTS);
        let file = Path::new("/b/agents/x.md");
        for parsed in [
            parse_agent(&text, file, "x"),
            parse_agent(&text, Path::new("/b/agents/x.yaml"), "x"),
            parse_claude_agent(&text, file, "x"),
            parse_codex_agent(&text, Path::new("/b/agents/x.toml"), "x"),
        ] {
            are_bounded(&parsed.diagnostics, &text);
            assert!(parsed.value.is_none_or(|agent| !agent.name.is_empty()));
        }
    });
}
