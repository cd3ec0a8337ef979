//! Reading bundles and agents: each shape of file, from fixtures and from text.

use std::path::{Path, PathBuf};

use amplifier_bundle::bundle::{
    AgentAccess, AgentDef, Bundle, Code, ContextTarget, FileKind, kind_of, parse_agent, parse_bundle,
};
use amplifier_core::permission::Mode;
use proptest::prelude::*;
use serde_json::json;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn fixture(name: &str) -> Bundle {
    let file = fixtures().join(name);
    let text = std::fs::read_to_string(&file).unwrap();
    let parsed = parse_bundle(&text, &file);
    let faults = parsed.diagnostics.iter().filter(|fault| fault.code != Code::NotRead).collect::<Vec<_>>();
    assert!(faults.is_empty(), "{name}: {faults:?}");
    parsed.value.unwrap()
}

fn agent(name: &str) -> AgentDef {
    let file = fixtures().join("agents").join(name);
    let text = std::fs::read_to_string(&file).unwrap();
    let parsed = parse_agent(&text, &file, "fallback");
    assert_eq!(parsed.diagnostics, [], "{name}");
    parsed.value.unwrap()
}

/// A bundle of a YAML text without faults.
fn bundle(text: &str) -> Bundle {
    let parsed = parse_bundle(text, Path::new("/b/f.yaml"));
    assert_eq!(parsed.diagnostics, [], "{text}");
    parsed.value.unwrap()
}

#[test]
fn a_thin_root_is_its_includes_agents_and_text() {
    let bundle = fixture("bundle.md");
    assert_eq!((bundle.name.as_str(), bundle.version.as_str()), ("garden", "0.3.0"));
    let includes: Vec<_> =
        bundle.includes.iter().map(|i| (i.source.as_str(), i.origin.position.line)).collect();
    let shed = "git+https://example.org/tools/shed@main#subdirectory=bundles/shed";
    let seeds = "zip+https://example.org/seeds.zip#subdirectory=a";
    assert_eq!(includes, [("garden:behaviors/watering", 9), (shed, 10), (seeds, 11)]);
    let names: Vec<_> = bundle.agents.roster.iter().map(|a| (a.name.as_str(), a.by_name)).collect();
    assert_eq!(names, [("garden:gardener", true), ("weeder", false)]);
    let weeder = &bundle.agents.get("weeder").unwrap().def;
    assert_eq!(weeder.instruction.as_deref(), Some("Pull every weed you see."));
    let text = bundle.instruction.as_deref().unwrap();
    assert!(text.starts_with("# Garden") && text.contains("\n---\n") && text.ends_with("slowly."), "{text}");
    assert_eq!(bundle.provenance().of("instruction")[0].position.line, 27);
    assert_eq!(bundle.base_path, Some(fixtures()));
    assert_eq!(bundle.source_base_paths["garden"], fixtures());
    let morning = &bundle.declared["background_sessions"][0];
    assert_eq!((morning.origin.position.line, morning.node.as_seq().unwrap()[0].position.line), (22, 23));
}

#[test]
fn a_behavior_is_modules_and_context() {
    let bundle = fixture("behaviors/watering.yaml");
    assert_eq!(bundle.instruction, None);
    let hose = &bundle.tools[0].spec;
    let source = fixtures().join("modules/tool-hose").display().to_string();
    assert_eq!(hose.source, Some(source), "a relative source is joined to the file's directory");
    assert_eq!(json!(hose.config), json!({"pressure": 1.5, "exclude": ["cactus"]}));
    assert_eq!(
        (bundle.hooks[0].key(), bundle.hooks[0].extra.get("instance_id")),
        ("roof", Some("roof".to_owned()))
    );
    let context: Vec<_> = bundle.context.iter().map(|c| (c.key.as_str(), c.target.clone())).collect();
    let file = |name: &str| ContextTarget::File(fixtures().join("behaviors/context").join(name));
    assert_eq!(context[1], ("context/local.md", file("local.md")));
    assert_eq!(context[2], ("tips", file("tips.md")));
    assert!(matches!(&context[0], ("garden:context/water.md", ContextTarget::Pending { namespace, path })
        if namespace == "garden" && path == "context/water.md"));
}

#[test]
fn a_standalone_bundle_makes_a_whole_plan() {
    let bundle = fixture("standalone.yaml");
    assert_eq!((bundle.version.as_str(), bundle.description.as_str()), ("1.0.0", ""));
    assert_eq!(bundle.source_base_paths["standalone"], fixtures().parent().unwrap());
    assert_eq!(bundle.declared.keys().collect::<Vec<_>>(), ["limits", "permissions"]);
    let plan = bundle.mount_plan();
    assert_eq!(plan.orchestrator().unwrap().module, "loop-basic");
    assert_eq!(plan.context().unwrap().module, "context-simple");
    let expect = json!({
        "session": {
            "orchestrator": {
                "module": "loop-basic",
                "source": "git+https://example.org/loop@main",
                "config": {"extended_thinking": true},
            },
            "context": {"module": "context-simple"},
            "raw": true,
            "injection_budget_per_turn": 4000,
            "metadata": {"team": "plants"},
        },
        "providers": [{"module": "provider-scripted"}],
        "spawn": {"exclude_tools": ["tool-hose"]},
    });
    assert_eq!(json!(plan), expect);
}

#[test]
fn instances_of_one_provider_stay_apart() {
    let bundle = fixture("providers/local.yaml");
    let keys: Vec<_> = bundle.providers.iter().map(|p| p.key()).collect();
    assert_eq!(keys, ["big", "small"]);
    let expect = json!({"default_model": "small-1", "base_url": "http://127.0.0.1:9", "temperature": 0.2});
    assert_eq!(json!(bundle.providers[1].spec.config), expect);
}

#[test]
fn an_agent_with_meta_is_read() {
    let def = agent("gardener.md");
    assert_eq!(def.name, "gardener");
    assert!(def.description.as_deref().unwrap().contains("USE WHEN"));
    assert_eq!(def.instruction.as_deref(), Some("You are a gardener."));
    assert_eq!(def.model_role, Some(vec!["coding".to_owned(), "general".to_owned()]));
    assert_eq!((&def.agents, def.tools.as_deref()), (&Some(AgentAccess::None), Some([].as_slice())));
    assert_eq!(def.providers, None);
    let expect = json!([
        {"provider": "anthropic", "model": "claude-*"},
        {"provider": "openai", "model": "gpt-5", "config": {"effort": "low"}},
    ]);
    assert_eq!(json!(def)["provider_preferences"], expect);
    assert_eq!(def.base_path, Some(fixtures().join("agents")));
}

#[test]
fn a_flat_agent_is_read() {
    let def = agent("flat.md");
    assert_eq!((def.name.as_str(), def.description.as_deref()), ("flat", Some("Has no meta")));
    assert_eq!(def.model_role, Some(vec!["fast".to_owned()]));
    assert_eq!(def.agents, Some(AgentAccess::Only(vec!["gardener".to_owned()])));
    let session = def.session.unwrap();
    assert_eq!(json!(session.orchestrator.unwrap().spec.config), json!({"max_turns": 3}));
}

#[test]
fn keys_beside_meta_win_over_those_in_it() {
    let text = "---\nmeta: {description: a, model_role: fast}\nmodel_role: slow\n---\n";
    let def = parse_agent(text, Path::new("/a/x.md"), "x").value.unwrap();
    assert_eq!((def.name.as_str(), def.description.as_deref()), ("x", Some("a")));
    assert_eq!((def.model_role, def.instruction), (Some(vec!["slow".to_owned()]), None));
}

#[test]
fn an_agents_permissions_are_a_mode_that_narrows_or_an_error() {
    let read = |value: &str| {
        let parsed =
            parse_agent(&format!("---\nname: x\npermissions: {value}\n---\n"), Path::new("/a/x.md"), "x");
        (parsed.has_errors(), parsed.value.and_then(|def| def.permission_mode))
    };
    for mode in [Mode::Plan, Mode::Default, Mode::AcceptEdits, Mode::DontAsk] {
        assert_eq!(read(&format!("{{mode: {}}}", mode.as_str())), (false, Some(mode)));
    }
    for wrong in [
        "{mode: bypassPermissions}",
        "{mode: Plan}",
        "{deny: [shell]}",
        "{mode: plan, deny: []}",
        "plan",
        "{}",
    ] {
        assert_eq!(read(wrong), (true, None), "{wrong}");
    }
    let mut listed = AgentDef::default();
    let file = parse_agent("---\npermissions: {mode: plan}\n---\n", Path::new("/a/x.md"), "x").value.unwrap();
    listed.fill_gaps(file);
    assert_eq!(json!(listed)["permissions"], json!({"mode": "plan"}));
}

#[test]
fn agents_of_a_bundle_may_be_a_rule() {
    for (text, expect) in [
        ("all", AgentAccess::All),
        ("none", AgentAccess::None),
        ("[a, b]", AgentAccess::Only(vec!["a".into(), "b".into()])),
        ("[]", AgentAccess::Only(vec![])),
    ] {
        let bundle = bundle(&format!("agents: {text}"));
        assert_eq!((bundle.agents.access, bundle.agents.roster), (Some(expect), vec![]), "{text}");
    }
}

#[test]
fn empty_sections_are_no_sections() {
    let text =
        "bundle:\nincludes:\nsession:\nproviders:\ntools:\nhooks:\nagents:\ncontext:\nspawn:\nlimits:\n";
    let empty = bundle(text);
    let plan = empty.mount_plan();
    assert_eq!(json!(plan), json!({}));
    assert!(plan.provenance.is_empty() && empty.declared.is_empty());
    assert_eq!(bundle(""), empty);
}

#[test]
fn older_source_keys_fill_the_entries() {
    let bundle = bundle(
        "session: {orchestrator: loop-basic, orchestrator_source: ./x, context_source: y, context: {module: c, source: z}}",
    );
    let plan = bundle.mount_plan();
    assert_eq!(plan.orchestrator().unwrap().source.as_deref(), Some("/b/x"));
    assert_eq!(plan.context().unwrap().source.as_deref(), Some("z"));
    assert_eq!(json!(plan)["session"].as_object().unwrap().len(), 2);
}

#[test]
fn paths_are_joined_by_their_text() {
    for (source, expect) in [
        ("./a", "/b/a"),
        ("../a/./b", "/a/b"),
        ("../../../a", "/a"),
        ("/abs", "/abs"),
        ("a/b", "a/b"),
        ("git+https://x/../y", "git+https://x/../y"),
    ] {
        let bundle = bundle(&format!("tools: [{{module: t, source: \"{source}\"}}]"));
        assert_eq!(bundle.tools[0].spec.source.as_deref(), Some(expect));
    }
}

#[test]
fn numbers_are_text_where_text_is_wanted() {
    let bundle = bundle("bundle: {name: 7, version: 1.10}");
    assert_eq!((bundle.name.as_str(), bundle.version.as_str()), ("7", "1.10"));
}

#[test]
fn spawn_takes_tools_by_name_or_as_maps() {
    let bundle = bundle("spawn: {tools: [tool-a, {module: tool-b, config: {x: 1}}]}");
    let expect =
        json!({"spawn": {"tools": [{"module": "tool-a"}, {"module": "tool-b", "config": {"x": 1}}]}});
    assert_eq!(json!(bundle.mount_plan()), expect);
}

#[test]
fn a_file_is_known_by_its_front_matter() {
    for (text, expect) in [
        ("---\nbundle: {name: a}\n---\n", FileKind::Bundle),
        ("---\nmeta: {name: a}\n---\n", FileKind::Agent),
        ("---\nname: a\ndescription: b\ntools: []\n---\n", FileKind::Agent),
        ("---\nmode: {name: a}\n---\n", FileKind::Mode),
        ("---\ntools: []\n---\n", FileKind::Bundle),
        ("---\ntitle: x\n---\n", FileKind::Other),
        ("# text\n", FileKind::Other),
        ("---\n[\n---\n", FileKind::Other),
    ] {
        assert_eq!(kind_of(text, Path::new("f.md")), expect, "{text}");
    }
}

#[test]
fn gaps_of_a_listed_agent_are_filled_from_its_file() {
    let text = "agents: {x: {description: mine, tools: []}, include: [x, y]}";
    let mut entry = bundle(text).agents.get("x").unwrap().clone();
    assert!(!entry.by_name, "a name in the list does not take a definition away");
    let file = "---\nmeta: {name: z, description: theirs, color: red}\nmodel_role: fast\ntools: [{module: t}]\n---\nBe.";
    let file = parse_agent(file, Path::new("/b/agents/x.md"), "x").value.unwrap();
    entry.def.fill_gaps(file);
    let def = entry.def;
    assert_eq!((def.name.as_str(), def.description.as_deref()), ("x", Some("mine")));
    assert_eq!((def.instruction.as_deref(), def.tools.as_deref()), (Some("Be."), Some([].as_slice())));
    assert_eq!(
        (def.model_role, def.extra.get("color")),
        (Some(vec!["fast".to_owned()]), Some("red".to_owned()))
    );
    assert_eq!((def.base_path, def.origins.len()), (Some("/b/agents".into()), 2));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_parsing_panic(text in "(---\n)?\\PC{0,80}(\n---\n)?\\PC{0,80}") {
        parse_bundle(&text, Path::new("/b/bundle.md"));
        parse_agent(&text, Path::new("/b/agent.md"), "agent");
    }

    #[test]
    fn no_shape_makes_parsing_panic(
        key in prop::sample::select(vec![
            "bundle", "includes", "session", "providers", "tools", "hooks", "agents", "context", "spawn",
            "limits", "meta", "name", "provider_preferences", "model_role",
        ]),
        value in "(\\[|\\{|- |a: |\\]|\\}|b|1|~|include: |\\n  |, ){0,14}",
    ) {
        let text = format!("{key}:\n  {value}\n");
        parse_bundle(&text, Path::new("/b/bundle.yaml"));
        parse_agent(&text, Path::new("/b/agent.yaml"), "agent");
    }
}

#[test]
fn untyped_settings_show_no_values_when_debugged() {
    let bundle = bundle("session: {metadata: {token: hidden, n: 1}}");
    let metadata = &bundle.session.metadata;
    assert_eq!(format!("{metadata:?}"), r#"{"token", "n"}"#);
    assert_eq!(
        (metadata.get::<u8>("n"), metadata.get::<u8>("token"), metadata.is_empty()),
        (Some(1), None, false)
    );
}
