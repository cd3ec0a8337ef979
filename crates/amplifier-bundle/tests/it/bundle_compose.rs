//! Composing bundles: what wins, what is joined, and who is said to have set it.

use std::path::Path;

use amplifier_bundle::bundle::{AgentAccess, Bundle, parse_bundle};
use proptest::prelude::*;
use serde_json::{Value, json};

fn bundle(name: &str, text: &str) -> Bundle {
    let text = format!("bundle: {{name: {name}}}\n{text}");
    let file = format!("/{name}/bundle.yaml");
    let parsed = parse_bundle(&text, Path::new(&file));
    assert_eq!(parsed.diagnostics, [], "{text}");
    parsed.value.unwrap()
}

/// The mount plan of the second text composed onto the first.
fn check(base: &str, later: &str, expect: Value) {
    let plan = json!(bundle("a", base).compose(&bundle("b", later)).mount_plan());
    assert_eq!(plan, expect, "{base}\n{later}");
}

#[test]
fn modules_merge_by_id_or_name_and_keep_their_place() {
    check(
        "tools: [{module: t, source: s, config: {a: 1, l: [1]}}, {module: u}]",
        "tools: [{module: v}, {module: t, config: {b: 2, l: [1, 2]}}]",
        json!({"tools": [
            {"module": "t", "source": "s", "config": {"a": 1, "l": [1, 2], "b": 2}},
            {"module": "u"},
            {"module": "v"},
        ]}),
    );
    check(
        "providers: [{module: p, id: x}, {module: p, id: y}]",
        "providers: [{id: y, config: {k: 1}}, {module: p}]",
        json!({"providers": [
            {"module": "p", "id": "x"},
            {"module": "p", "id": "y", "config": {"k": 1}},
            {"module": "p"},
        ]}),
    );
}

#[test]
fn the_session_is_merged_deeply() {
    check(
        "session: {raw: true, orchestrator: {module: o, source: s, config: {a: {x: 1}}}, metadata: {l: [1]}}",
        "session: {orchestrator: {config: {a: {y: 2}}}, metadata: {l: [2], k: v}}",
        json!({"session": {
            "orchestrator": {"module": "o", "source": "s", "config": {"a": {"x": 1, "y": 2}}},
            "raw": true,
            "metadata": {"l": [1, 2], "k": "v"},
        }}),
    );
}

#[test]
fn a_bare_name_replaces_and_a_map_adds_to_it() {
    check(
        "session: {orchestrator: {module: o, config: {a: 1}}}",
        "session: {orchestrator: p}",
        json!({"session": {"orchestrator": {"module": "p"}}}),
    );
    check(
        "session: {orchestrator: o}",
        "session: {orchestrator: {config: {a: 1}}}",
        json!({"session": {"orchestrator": {"module": "o", "config": {"a": 1}}}}),
    );
}

#[test]
fn spawn_lists_are_joined_without_repeats() {
    check(
        "spawn: {exclude_tools: [a, b], tools: [{module: t, config: {x: 1, y: 2}}]}",
        "spawn: {exclude_tools: [b, c], tools: [{config: {y: 2, x: 1}, module: t}, t]}",
        json!({"spawn": {
            "exclude_tools": ["a", "b", "c"],
            "tools": [{"module": "t", "config": {"x": 1, "y": 2}}, {"module": "t"}],
        }}),
    );
}

#[test]
fn agents_are_replaced_whole_by_name() {
    check(
        "agents: {x: {description: a, model_role: fast}, y: {description: b}}",
        "agents: {x: {description: c}}",
        json!({"agents": {
            "x": {"name": "x", "description": "c"},
            "y": {"name": "y", "description": "b"},
        }}),
    );
    let composed = bundle("a", "agents: {include: [x]}").compose(&bundle("b", "agents: none"));
    assert_eq!((composed.agents.access, composed.agents.roster.len()), (Some(AgentAccess::None), 1));
}

#[test]
fn context_accumulates_under_its_bundles_name() {
    let a = bundle("a", "context: {include: [one.md, 'c:x.md'], named: two.md}");
    let b = bundle("b", "context: {include: [one.md, 'c:x.md']}");
    let composed = a.compose(&b);
    let keys: Vec<_> = composed.context.iter().map(|c| (c.key.as_str(), &*c.origin.bundle)).collect();
    assert_eq!(keys, [("a:one.md", "a"), ("c:x.md", "b"), ("a:named", "a"), ("b:one.md", "b")]);
}

#[test]
fn the_later_header_and_instruction_win_unless_empty() {
    let md = |text: &str, file: &str| parse_bundle(text, Path::new(file)).value.unwrap();
    let a = md("---\nbundle: {name: a, version: 2.0.0, description: d}\n---\nfirst", "/a/bundle.md");
    let b = md("---\nbundle: {name: b}\n---\n  \n", "/b/bundle.md");
    let composed = a.clone().compose(&b);
    let header = (composed.name.as_str(), composed.version.as_str(), composed.description.as_str());
    assert_eq!(header, ("b", "1.0.0", "d"), "a version that is not stated is 1.0.0");
    assert_eq!(composed.instruction.as_deref(), Some("first"));
    let composed = b.compose(&a);
    assert_eq!((composed.name.as_str(), composed.version.as_str()), ("a", "2.0.0"));
}

#[test]
fn paths_are_the_laters_and_namespaces_the_firsts() {
    let a = bundle("a", "");
    let again = parse_bundle("bundle: {name: a}", Path::new("/elsewhere/x.yaml")).value.unwrap();
    let composed = a.compose(&bundle("b", "")).compose(&again);
    assert_eq!(composed.base_path.as_deref(), Some(Path::new("/elsewhere")));
    assert_eq!(composed.file.as_deref(), Some(Path::new("/elsewhere/x.yaml")));
    assert_eq!(composed.source_base_paths["a"], Path::new("/a"));
    assert_eq!(composed.source_base_paths["b"], Path::new("/b"));
}

#[test]
fn a_bundle_made_by_a_program_is_a_namespace_too() {
    let mut made = Bundle::default();
    made.name = "made".to_owned();
    made.base_path = Some("/made".into());
    let composed = made.compose(&bundle("b", ""));
    assert_eq!(composed.source_base_paths["made"], Path::new("/made"));
}

#[test]
fn sections_of_other_parts_are_kept_apart_by_file() {
    let composed =
        bundle("a", "background_sessions: {n: 1}").compose(&bundle("b", "background_sessions: {n: 2}"));
    let sections = &composed.declared["background_sessions"];
    let said: Vec<_> = sections.iter().map(|d| (&*d.origin.bundle, json!(d.node))).collect();
    assert_eq!(said, [("a", json!({"n": 1})), ("b", json!({"n": 2}))]);
}

#[test]
fn every_entry_says_who_set_it() {
    let a = bundle("a", "tools: [{module: t}, {module: u}]\nsession: {raw: true, orchestrator: o}\n");
    let b =
        bundle("b", "session: {raw: false}\ntools: [{module: t, config: {x: 1}}]\nagents: {include: [z]}\n");
    let plan = a.compose(&b).mount_plan();
    let who = |path: &str| -> Vec<(String, u32)> {
        plan.provenance.of(path).iter().map(|o| (o.bundle.to_string(), o.position.line)).collect()
    };
    let at = |bundle: &str, line: u32| (bundle.to_owned(), line);
    assert_eq!(who("tools.t"), [at("a", 2), at("b", 3)]);
    assert_eq!(who("tools.u"), [at("a", 2)]);
    assert_eq!(who("session.raw"), [at("b", 2)], "what was replaced has no say");
    assert_eq!(who("session.orchestrator"), [at("a", 3)]);
    assert_eq!(who("agents.z"), [at("b", 4)]);
    assert_eq!(who("bundle.name"), [at("b", 1)]);
    assert_eq!(who("bundle.version"), []);
    let json = json!(plan.with_provenance());
    let expect = json!([
        {"bundle": "a", "file": "/a/bundle.yaml", "line": 2},
        {"bundle": "b", "file": "/b/bundle.yaml", "line": 3},
    ]);
    assert_eq!(json["provenance"]["tools.t"], expect);
    assert_eq!(json["tools"], json!(plan)["tools"]);
}

/// A config in which each key has one type: that is what associativity needs.
fn config() -> impl Strategy<Value = Value> {
    let list = prop::collection::vec(
        prop_oneof![any::<u8>().prop_map(Value::from), "[a-c]".prop_map(Value::from)],
        0..4,
    );
    (prop::option::of(0..3), prop::option::of(list.clone()), prop::option::of((0..3, list))).prop_map(
        |(scalar, list, map)| {
            let mut config = json!({});
            scalar.into_iter().for_each(|v| config["scalar"] = json!(v));
            list.into_iter().for_each(|v| config["list"] = json!(v));
            map.into_iter().for_each(|(n, l)| config["map"] = json!({"n": n, format!("k{n}"): n, "l": l}));
            config
        },
    )
}

fn modules() -> impl Strategy<Value = Value> {
    let module = ("[a-d]", prop::option::of("[x-z]"), config());
    prop::collection::vec(module, 0..4).prop_map(|all| {
        let mut seen = std::collections::HashSet::new();
        let unique =
            all.into_iter().filter(|(module, id, _)| seen.insert(id.clone().unwrap_or(module.clone())));
        let entry = |(module, id, config): (String, Option<String>, Value)| match id {
            Some(id) => json!({"module": module, "id": id, "config": config}),
            None => json!({"module": module, "config": config}),
        };
        unique.map(entry).collect()
    })
}

prop_compose! {
    fn any_bundle()(
        name in "[a-c]", tools in modules(), providers in modules(), orchestrator in config(),
        excluded in prop::collection::vec("[a-c]", 0..3), agents in prop::collection::btree_set("[a-c]", 0..3),
        context in prop::collection::vec("[a-c]", 0..3), raw in prop::option::of(any::<bool>()),
        text in prop::option::of("[a-z]{1,5}"),
    ) -> Bundle {
        let value = json!({
            "bundle": {"name": name}, "tools": tools, "providers": providers,
            "session": {"raw": raw, "orchestrator": {"module": "o", "config": orchestrator}},
            "spawn": {"exclude_tools": excluded}, "agents": {"include": agents}, "context": {"include": context},
        });
        let text = format!("---\n{value}\n---\n{}", text.unwrap_or_default());
        parse_bundle(&text, Path::new(&format!("/{name}/bundle.md"))).value.unwrap()
    }
}

#[test]
fn a_key_that_changes_its_type_is_where_composing_is_not_associative() {
    let [a, b, c] = [("a", "{x: 1}"), ("b", "5"), ("c", "{y: 2}")]
        .map(|(name, value)| bundle(name, &format!("tools: [{{module: t, config: {{k: {value}}}}}]")));
    let plan = |bundle: Bundle| json!(bundle.mount_plan())["tools"][0]["config"]["k"].clone();
    // Includes are composed from the left: a map that was replaced by a number is gone.
    assert_eq!(plan(a.clone().compose(&b).compose(&c)), json!({"y": 2}));
    assert_eq!(plan(a.compose(&b.compose(&c))), json!({"x": 1, "y": 2}));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn composing_is_associative(a in any_bundle(), b in any_bundle(), c in any_bundle()) {
        let left = a.clone().compose(&b).compose(&c);
        let right = a.compose(&b.compose(&c));
        prop_assert_eq!(json!(left.mount_plan().with_provenance()), json!(right.mount_plan().with_provenance()));
        let keys = |bundle: &Bundle| bundle.context.iter().map(|c| c.key.clone()).collect::<Vec<_>>();
        prop_assert_eq!(keys(&left), keys(&right));
        prop_assert_eq!(left.source_base_paths, right.source_base_paths);
        prop_assert_eq!((left.name, left.instruction), (right.name, right.instruction));
    }

    #[test]
    fn an_empty_bundle_changes_nothing(a in any_bundle()) {
        let mut empty = Bundle::default();
        empty.version = String::new();
        prop_assert_eq!(json!(a.clone().compose(&empty).mount_plan()), json!(a.mount_plan()));
    }
}
