//! What is said about bad bundles: text, place, advice, and how strictness changes it.

use std::path::Path;

use amplifier_bundle::bundle::validate::{check, check_complete};
use amplifier_bundle::bundle::{Code, Diagnostic, Severity, Strictness, parse_agent, parse_bundle};

/// Everything said about a YAML bundle, without the file's name.
fn said(text: &str) -> Vec<String> {
    lines(&parse_bundle(text, Path::new("f.yaml")).diagnostics)
}

fn lines(diagnostics: &[Diagnostic]) -> Vec<String> {
    let line = |d: &Diagnostic| d.to_string().strip_prefix("f.yaml:").unwrap().to_owned();
    diagnostics.iter().map(line).collect()
}

#[test]
fn unknown_keys_are_warned_about_with_a_suggestion() {
    let text = "bundle: {name: a, nmae: b}\ntool: []\norchestrator: x\nmodules: []\ntools:\n  - module: t\n    confg: {}\n    timeout: 3\n";
    assert_eq!(
        said(text),
        [
            "1:19: warning: the key `nmae` is not known here and is ignored\n  help: did you mean `name`?",
            "2:1: warning: the key `tool` is not known here and is ignored\n  help: did you mean `tools`?",
            "3:1: warning: the key `orchestrator` is not known here and is ignored\n  help: write it under `session`",
            "4:1: warning: the key `modules` is not known here and is ignored\n  help: remove it; known here: \
             bundle, includes, session, providers, tools, hooks, agents, context, spawn, background_sessions, \
             limits, permissions",
            "7:5: warning: the key `confg` is not known here and is ignored\n  help: did you mean `config`?",
            "8:5: warning: the key `timeout` is not known here and is ignored\n  help: put the module's own \
             settings under `config`",
        ]
    );
}

#[test]
fn all_wrong_types_are_reported_at_once() {
    let text = "bundle: [a]\nincludes: x\nsession: 3\nproviders: {a: 1}\ntools: [t, 4]\nhooks: [{module: [1], config: no}]\n\
                agents: 4\ncontext: []\nspawn: {exclude_tools: a}\n";
    let expect = [
        "1:9: error: `bundle` must be a map, not a list",
        "2:11: error: `includes` must be a list, not text",
        "3:10: error: `session` must be a map, not a number",
        "5:9: error: an entry of `tools` must be a map, not text",
        "5:12: error: an entry of `tools` must be a map, not a number",
        "6:18: error: `module` of an entry of `hooks` must be text, not a list",
        "6:31: error: `config` of an entry of `hooks` must be a map, not text",
        "7:9: error: `agents` cannot be a number\n  help: write `all`, `none`, or a list of names",
        "8:10: error: `context` must be a map, not a list",
        "9:24: error: `spawn.exclude_tools` must be a list, not text",
    ];
    let said = said(text);
    for line in expect {
        assert!(said.iter().any(|s| s == line), "{line}\n{said:#?}");
    }
}

#[test]
fn what_is_right_beside_a_fault_is_kept() {
    let parsed = parse_bundle("bundle: {name: a}\ntools: [3, {module: t}]\n", Path::new("f.yaml"));
    assert!(parsed.has_errors());
    let bundle = parsed.value.unwrap();
    assert_eq!((bundle.name.as_str(), bundle.tools[0].key()), ("a", "t"));
}

#[test]
fn entries_that_name_nothing_are_left_out_and_said() {
    for (text, expect) in [
        (
            "tools: [{config: {a: 1}}]",
            "1:9: error: an entry of `tools` has neither `module` nor `id` and is left out",
        ),
        ("includes: [{}]", "1:12: error: an entry of `includes` names no bundle and is left out"),
        ("includes: ['']", "1:12: error: an entry of `includes` names no bundle and is left out"),
        (
            "spawn: {tools: [{}]}",
            "1:17: error: an entry of `spawn.tools` has neither `module` nor `id` and is left out",
        ),
        ("hooks: [~]", "1:9: warning: an entry of `hooks` is empty and is left out"),
        ("context: {include: ['@a:b']}", "1:21: warning: `@a:b` is a mention, which is only read in text"),
        ("agents: some", "1:9: error: `agents` cannot be `some`"),
        (
            "tools: [{module: t}, {module: t}]",
            "1:22: warning: `t` stands twice in `tools`; the two are merged",
        ),
    ] {
        let said = said(text);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with(expect) && said[0].contains("\n  help: "), "{}\n{expect}", said[0]);
    }
}

#[test]
fn faults_in_front_matter_have_the_files_lines() {
    let text = "---\nbundle:\n  name: a\n  nam: b\n---\nbody\n";
    let diagnostics = parse_bundle(text, Path::new("bundle.md")).diagnostics;
    assert_eq!((diagnostics[0].line(), diagnostics[0].column()), (Some(4), Some(3)));
    let parsed = parse_bundle("---\nbundle: {\n---\n", Path::new("bundle.md"));
    assert!(parsed.value.is_none() && parsed.diagnostics[0].line() >= Some(2), "{parsed:?}");
}

#[test]
fn front_matter_that_is_never_closed_is_warned_about() {
    let parsed = parse_bundle("---\nbundle: {name: a}\n", Path::new("bundle.md"));
    let [warning] = parsed.diagnostics.as_slice() else { panic!("{parsed:?}") };
    assert_eq!(
        (warning.severity, warning.code, warning.line()),
        (Severity::Warning, Code::FrontMatter, Some(1))
    );
    assert!(parsed.value.unwrap().instruction.unwrap().contains("bundle:"));
}

#[test]
fn a_text_that_is_too_long_is_refused_whatever_its_form() {
    for name in ["f.yaml", "f.md"] {
        let parsed = parse_bundle(&"x".repeat((1 << 20) + 1), Path::new(name));
        assert!(parsed.value.is_none() && parsed.diagnostics[0].code == Code::Syntax, "{name}");
    }
}

#[test]
fn a_mode_is_noted_and_read_past() {
    let parsed = parse_agent("---\nmode: {name: plan}\n---\n", Path::new("plan.md"), "plan");
    assert!(parsed.value.is_none() && !parsed.has_errors());
    assert_eq!((parsed.diagnostics[0].severity, parsed.diagnostics[0].code), (Severity::Note, Code::NotRead));
}

#[test]
fn strictness_turns_warnings_into_errors_and_leaves_notes() {
    let mut all = parse_bundle("tool: []", Path::new("f.yaml")).diagnostics;
    all.push(Diagnostic::new(Severity::Note, Code::NotRead, Path::new("f"), "n"));
    Strictness::Lenient.apply(&mut all);
    assert_eq!(all[0].severity, Severity::Warning);
    Strictness::Strict.apply(&mut all);
    assert_eq!((all[0].severity, all[1].severity), (Severity::Error, Severity::Note));
}

fn checked(text: &str, strictness: Strictness) -> Vec<String> {
    lines(&check(&parse_bundle(text, Path::new("f.yaml")).value.unwrap(), strictness))
}

#[test]
fn a_bundle_needs_a_usable_name() {
    let missing = " error: the bundle has no name\n  help: begin the file with `bundle: {name: my-bundle}`";
    assert_eq!(checked("tools: []", Strictness::Lenient), [format!("1:1:{missing}")]);
    assert_eq!(checked("bundle:\n  name: ''", Strictness::Lenient), [format!("2:3:{missing}")]);
    let odd = checked("bundle:\n  name: a:b", Strictness::Lenient);
    assert!(odd[0].starts_with("2:3: warning: the name `a:b`"), "{odd:?}");
    assert!(checked("bundle:\n  name: a:b", Strictness::Strict)[0].contains("error"));
    assert_eq!(checked("bundle: {name: a}", Strictness::Strict), [""; 0]);
}

#[test]
fn an_entry_needs_a_module() {
    let text = "bundle: {name: a}\ntools: [{id: x}]\nsession:\n  orchestrator: {config: {}}\n  context: {source: s}\n";
    assert_eq!(
        checked(text, Strictness::Lenient),
        [
            "2:9: error: the entry `x` of `tools` names no module\n  help: add `module`",
            "4:17: error: `session.orchestrator` names no module\n  help: add `module`",
            "5:12: warning: `session.context` names no module\n  help: add `module`",
        ]
    );
}

#[test]
fn a_runnable_bundle_has_a_loop_a_context_and_a_provider() {
    let lacks = |text: &str| -> Vec<String> {
        let all = check_complete(&parse_bundle(text, Path::new("f.yaml")).value.unwrap());
        all.iter().map(|d| d.message.clone()).collect()
    };
    let all = ["session.orchestrator", "session.context", "providers"];
    assert_eq!(lacks(""), all.map(|what| format!("the bundle has no `{what}`")));
    let whole = "session: {orchestrator: a, context: b}\nproviders: [{module: p}]";
    assert_eq!(lacks(whole), [""; 0]);
}

#[test]
fn floods_of_entries_and_faults_are_bounded() {
    let many = |text: &str| text.repeat(30_000);
    let keys: String = (0..40_000).map(|i| format!("tolos{i}: 1\n")).collect();
    for (text, last) in [
        (format!("tools: [{}]", many("{module: t},")), "800 more faults are not listed"),
        (format!("context: {{include: [{}]}}", many("'@a',")), "801 more faults are not listed"),
        (
            format!("agents: {{include: [{}]}}", many("a,")),
            "`agents.include` has 30000 entries; at most 1000 are read",
        ),
        (keys, "39800 more faults are not listed"),
    ] {
        let parsed = parse_bundle(&text, Path::new("f.yaml"));
        assert_eq!(parsed.diagnostics.last().unwrap().message, last);
        assert!(parsed.diagnostics.len() <= 201);
    }
}

#[test]
fn an_error_that_is_not_listed_still_counts() {
    let keys: String = (0..300).map(|i| format!("k{i}: 1\n")).collect();
    assert!(!parse_bundle(&keys, Path::new("f.yaml")).has_errors());
    assert!(parse_bundle(&format!("{keys}tools: 3\n"), Path::new("f.yaml")).has_errors());
}

#[test]
fn a_section_that_is_not_applied_is_told_where_it_would_hold_a_session_to_something() {
    let text = "permissions: {deny: [shell]}\nlimits: {max_turns: 3}\nbackground_sessions: []\n";
    let line = |line: u8, key: &str| {
        format!(
            "{line}:1: warning: `{key}` of a bundle is not applied by this version\n  help: say it in \
             settings or with flags, so that it holds"
        )
    };
    assert_eq!(said(text), [line(1, "permissions"), line(2, "limits")]);
    assert!(said("limits:\n").is_empty());
}
