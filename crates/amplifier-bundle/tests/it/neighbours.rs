//! Agents and instructions of other programs: how their files are read, and which of them count.

use std::path::Path;

use amplifier_bundle::bundle::{
    AgentAccess, AgentDef, Parsed, PreparedBundle, parse_claude_agent, parse_codex_agent,
};
use amplifier_bundle::settings::environment::ProcessEnv;
use amplifier_bundle::settings::home::AmplifierHome;
use amplifier_bundle::settings::{Flags, ProjectTrust, Settings, SettingsFiles, load};
use amplifier_core::permission::Mode;

use crate::source_kit::{Lab, noticed, repository, write};

fn claude(front: &str) -> Parsed<AgentDef> {
    parse_claude_agent(&format!("---\n{front}\n---\nYou review.\n"), Path::new("/p/reviewer.md"), "reviewer")
}

fn quiet(front: &str) -> AgentDef {
    let parsed = claude(front);
    assert!(parsed.diagnostics.is_empty(), "{front}: {:?}", parsed.diagnostics);
    parsed.value.unwrap()
}

fn told(parsed: &Parsed<AgentDef>) -> String {
    parsed.diagnostics.iter().map(|one| format!("{one}\n")).collect()
}

#[test]
fn an_agent_of_claude_code_is_an_agent_here() {
    let def = quiet(
        "name: code-reviewer\ndescription: Reviews changes.\ntools: Read, Grep, Bash, mcp__github__get_issue, mcp__docs\n\
         disallowedTools: [Write]\nmodel: haiku\npermissionMode: plan\nmaxTurns: 7\ncolor: green",
    );
    assert_eq!((def.name.as_str(), def.description.as_deref()), ("code-reviewer", Some("Reviews changes.")));
    assert_eq!(def.instruction.as_deref(), Some("You review."));
    assert_eq!((def.permission_mode, def.max_turns), (Some(Mode::Plan), Some(7)));
    assert_eq!(def.model_role.as_deref(), Some(&["fast".to_owned()][..]));
    let first = &def.provider_preferences.as_ref().unwrap()[0];
    assert_eq!((first.provider.as_str(), first.model.as_deref()), ("anthropic", Some("claude-haiku-*")));
    assert!(def.tools.is_none() && def.hooks.is_none() && def.providers.is_none(), "it mounts nothing");
    let check = |name: &str, expect: bool| assert_eq!(def.tool_names.permit(name), expect, "{name}");
    for name in ["read_file", "grep", "bash", "mcp__github__get_issue", "mcp__docs__search"] {
        check(name, true);
    }
    for name in
        ["write_file", "edit_file", "apply_patch", "delegate", "mcp__github__close", "mcp__docsx__y", "glob"]
    {
        check(name, false);
    }
}

#[test]
fn what_is_not_said_is_inherited() {
    let def = quiet("description: d\nmodel: inherit\ntools: '*'");
    assert_eq!(def.name, "reviewer");
    assert!(def.tool_names.is_all() && def.provider_preferences.is_none() && def.permission_mode.is_none());
    assert_eq!(
        quiet("tools: Task(a, b), Read").agents,
        Some(AgentAccess::Only(vec!["a".into(), "b".into()]))
    );
    let denied = quiet("disallowedTools: Edit, Bash(git push *)").tool_names;
    assert!(denied.permit("read_file") && !denied.permit("apply_patch") && !denied.permit("bash"));
    assert_eq!(
        quiet("model: claude-opus-4-1").provider_preferences.unwrap()[0].model.as_deref(),
        Some("claude-opus-4-1")
    );
}

#[test]
fn what_is_not_understood_is_told_with_its_place_and_never_widens() {
    let check = |front: &str, texts: &[&str], usable: bool| {
        let parsed = claude(front);
        let all = told(&parsed);
        texts.iter().for_each(|text| assert!(all.contains(text), "{front}: {all}"));
        assert_eq!(!parsed.has_errors(), usable, "{front}: {all}");
        parsed.value.unwrap()
    };
    let def = check(
        "tools: Read, Bash(git *), NotebookEdit, KillShell",
        &["reviewer.md:2:8: warning", "does not get Bash(git *), NotebookEdit, KillShell"],
        true,
    );
    assert!(def.tool_names.permit("read_file") && !def.tool_names.permit("bash"));
    let def = check("permissionMode: bypassPermissions", &["widens and is not taken from a file"], true);
    assert_eq!(def.permission_mode, None);
    check("permissionMode: paln", &["cannot be `paln`", "write `default`"], false);
    check("maxTurns: 0", &["`maxTurns` cannot be 0"], false);
    check(
        "hooks: {PreToolUse: []}\nskills: [pdf]",
        &["`hooks` of an agent", ":3:1: warning: `skills`"],
        true,
    );
    check("model: gpt-5", &["none of Claude Code's"], true);
    check("tool: Read", &["did you mean `tools`?"], true);
}

#[test]
fn front_matter_that_is_no_yaml_is_read_as_claude_code_does() {
    let parsed = claude(
        "name: helper\ndescription: Use it when asked: e.g.\n<example>\nuser: \"go\"\n</example>\ntools: Read\nmaxTurns: 2",
    );
    assert!(!parsed.has_errors(), "{}", told(&parsed));
    let def = parsed.value.unwrap();
    assert_eq!(
        def.description.as_deref(),
        Some("Use it when asked: e.g.\n<example>\nuser: \"go\"\n</example>")
    );
    assert_eq!((def.max_turns, def.tool_names.permit("bash")), (Some(2), false));
    assert_eq!(def.instruction.as_deref(), Some("You review."));
    assert!(claude("{{{").value.is_none());
}

#[test]
fn an_agent_of_codex_is_an_agent_here() {
    let read = |text: &str| parse_codex_agent(text, Path::new("/p/r.toml"), "r");
    let parsed = read(
        "name = \"reviewer\"\ndescription = \"d\"\nmodel = \"gpt-5.4\"\nsandbox_mode = \"read-only\"\n\
         developer_instructions = \"\"\"\nReview.\n\"\"\"\n",
    );
    assert_eq!(told(&parsed), "");
    let def = parsed.value.unwrap();
    assert_eq!((def.name.as_str(), def.instruction.as_deref()), ("reviewer", Some("Review.\n")));
    assert_eq!(
        (def.permission_mode, def.provider_preferences.unwrap()[0].provider.as_str()),
        (Some(Mode::Plan), "openai")
    );
    let parsed = read(
        "developer_instructions = \"x\"\nsandbox_mode = \"danger-full-access\"\n[mcp_servers.a]\ncommand = \"b\"\n",
    );
    let all = told(&parsed);
    assert!(
        all.contains("r.toml:2:16: warning") && all.contains("`mcp_servers` of an agent of Codex"),
        "{all}"
    );
    assert_eq!(parsed.value.unwrap().permission_mode, None);
    assert!(read("sandbox_mode = \"none\"").has_errors());
    assert!(read("name = ").value.is_none());
}

const WITH_ALL: &str =
    "bundle: {name: x}\nagents: {include_claude: true, include_codex: true, own: {description: mine}}\n";

async fn agents(lab: &Lab) -> PreparedBundle {
    PreparedBundle::clone(&*lab.prepare("x").await.unwrap())
}

fn names(prepared: &PreparedBundle) -> Vec<&str> {
    prepared.agents.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn the_nearest_file_of_a_name_counts_and_the_bundles_own_stands_before_it() {
    let mut lab = Lab::new(&[
        ("x.yaml", WITH_ALL),
        (".amplifier/bundles/x.yaml", WITH_ALL),
        (".claude/agents/own.md", "---\ndescription: theirs\n---\nx"),
        (".claude/agents/deep/near.md", "---\ndescription: of the project\n---\nx"),
        (".claude/agents/bad.md", "---\npermissionMode: rw\n---\nx"),
        (".claude/agents/readme.txt", "no agent"),
        (".codex/agents/cod.toml", "description = \"of codex\"\ndeveloper_instructions = \"x\"\n"),
    ]);
    write(
        &lab.path("user"),
        &[
            (".claude/agents/near.md", "---\ndescription: of the user\n---\nx"),
            (".claude/agents/far.md", "---\ndescription: of the user\n---\nx"),
        ],
    );
    std::os::unix::fs::symlink(
        lab.path("user/.claude/agents/far.md"),
        lab.path("project/.claude/agents/link.md"),
    )
    .unwrap();
    lab.options.user_home = Some(lab.path("user"));
    let prepared = agents(&lab).await;
    assert_eq!(names(&prepared), ["cod", "far", "near", "own"]);
    assert_eq!(prepared.agents["own"].description.as_deref(), Some("mine"));
    assert_eq!(prepared.agents["near"].description.as_deref(), Some("of the project"));
    let all = noticed(&prepared).join("\n");
    assert!(all.contains("bad.md:2:17") && all.contains("agent `bad` has errors"), "{all}");
    assert!(all.contains("agent `link` is left out"), "a link that leaves the project: {all}");
}

#[tokio::test]
async fn nothing_is_read_unless_a_bundle_or_a_setting_says_so_and_a_new_file_is_seen() {
    let mut lab = Lab::new(&[
        (".amplifier/bundles/x.yaml", "bundle: {name: x}\n"),
        (".claude/agents/a.md", "---\ndescription: a\n---\nx"),
    ]);
    assert!(names(&agents(&lab).await).is_empty());
    lab.options.neighbours.claude = true;
    let loader = lab.loader();
    assert_eq!(names(&loader.prepare("x").await.unwrap()), ["a"]);
    write(&lab.path("project"), &[(".claude/agents/b.md", "---\ndescription: b\n---\nx")]);
    assert_eq!(names(&loader.prepare("x").await.unwrap()), ["a", "b"]);
}

#[tokio::test]
async fn agents_of_the_project_are_in_every_roster_behind_those_of_the_bundle() {
    let mut lab = Lab::new(&[
        (".amplifier/bundles/x.yaml", "bundle: {name: x}\nagents: {own: {description: of the bundle}}\n"),
        (".amplifier/agents/own.md", "---\nmeta: {name: own, description: of the project}\n---\nx"),
        (
            ".amplifier/agents/scout.md",
            "---\nmeta: {name: scout, description: looks}\ntools: [{module: tool-search}]\n---\nLook around.\n",
        ),
        (".amplifier/agents/broken.md", "---\nmeta: [\n---\nx"),
        (".claude/agents/scout.md", "---\ndescription: theirs\n---\nx"),
    ]);
    lab.options.neighbours.claude = true;
    let loader = lab.loader();
    for bundle in ["x", "default"] {
        let prepared = loader.prepare(bundle).await.unwrap();
        let scout = &prepared.agents["scout"];
        assert_eq!(scout.instruction.as_deref(), Some("Look around."), "{bundle}");
        assert_eq!(scout.tools.as_ref().map(Vec::len), Some(1), "{bundle}");
        assert!(noticed(&prepared).join("\n").contains("agent `broken` has errors"), "{bundle}");
    }
    let prepared = loader.prepare("x").await.unwrap();
    assert_eq!(names(&prepared), ["own", "scout"]);
    assert_eq!(prepared.agents["own"].description.as_deref(), Some("of the bundle"));
    write(&lab.path("project"), &[(".amplifier/agents/new.md", "---\ndescription: new\n---\nx")]);
    assert_eq!(names(&loader.prepare("x").await.unwrap()), ["new", "own", "scout"]);
}

#[tokio::test]
async fn a_bundle_that_was_fetched_brings_no_agent_of_the_users_home() {
    let mut lab = Lab::new(&[(".claude/agents/near.md", "---\ndescription: p\n---\nx")]);
    write(&lab.path("user"), &[(".claude/agents/far.md", "---\ndescription: u\n---\nx")]);
    lab.options.user_home = Some(lab.path("user"));
    let repo = repository(
        &lab.path("repo"),
        "main",
        &[("bundle.yaml", "bundle: {name: kit}\nagents: {include_claude: true}\n")],
    );
    let fetched = lab.prepare(&format!("git+file://{}", repo.display())).await.unwrap();
    assert_eq!(names(&fetched), ["near"]);
}

fn prompt(prepared: &PreparedBundle, cwd: &Path) -> String {
    prepared.system_prompt(cwd, None).render().text
}

#[tokio::test]
async fn instructions_come_from_the_users_folder_the_root_and_down_to_the_working_directory() {
    let lab = Lab::new(&[
        (".git/HEAD", ""),
        (".amplifier/bundles/x.md", "---\nbundle: {name: x}\ncontext: {agents_md: true}\n---\nBe good."),
        ("AGENTS.md", "of the root, see @docs/more.md and @~/secret.md"),
        ("docs/more.md", "more of the root"),
        ("a/CLAUDE.md", "for claude"),
        ("a/b/AGENTS.md", "of b"),
        ("a/b/c/x", ""),
    ]);
    write(
        &lab.path(""),
        &[("AGENTS.md", "above the root"), ("home/AGENTS.md", "of the user"), ("secret.md", "SECRET")],
    );
    let prepared = agents(&lab).await;
    let at = |text: &str, part: &str| text.find(part).unwrap_or_else(|| panic!("no `{part}` in {text}"));
    let cwd = lab.path("project/a/b/c");
    let text = prepared.system_prompt(&cwd, Some(lab.path(""))).render().text;
    let order =
        ["Be good.", "of the user", "of the root", "more of the root", "of b"].map(|part| at(&text, part));
    assert!(order.is_sorted(), "{order:?} {text}");
    assert!(
        !text.contains("above the root") && !text.contains("for claude") && !text.contains("SECRET"),
        "{text}"
    );
    assert!(text.contains("@a/b/AGENTS.md → "), "{text}");
    let mut lab = lab;
    lab.options.project_files.claude_md = true;
    assert!(prompt(&lab.prepare("x").await.unwrap(), &cwd).contains("for claude"));
    write(&lab.path("project"), &[("a/b/AGENTS.md", "edited")]);
    assert!(prompt(&prepared, &cwd).contains("edited"), "an edit is seen at the next request");
}

#[tokio::test]
async fn long_instructions_are_cut_and_both_the_model_and_the_person_are_told() {
    let long = format!("begin {} end", "ä".repeat(40 * 1024));
    let lab = Lab::new(&[
        (".amplifier/bundles/x.md", "---\nbundle: {name: x}\ncontext: {agents_md: true}\n---\nBe good."),
        ("AGENTS.md", &long),
    ]);
    let prepared = agents(&lab).await;
    let text = prompt(&prepared, &lab.path("project"));
    assert!(text.contains("begin ä") && !text.contains(" end\n"), "{}", text.len());
    assert!(text.contains("[cut here: 16394 bytes of this file are left out]"), "{}", text.len());
    let all = noticed(&prepared).join("\n");
    assert!(
        all.contains("AGENTS.md: warning: the instructions for this directory have 81930 bytes"),
        "{all}"
    );
}

#[tokio::test]
async fn agents_get_the_instructions_too_and_without_the_key_nobody_does() {
    let lab = Lab::new(&[
        (
            ".amplifier/bundles/x.md",
            "---\nbundle: {name: x}\ncontext: {agents_md: true}\nagents: {a: {instruction: Help.}}\n---\nBe.",
        ),
        (".amplifier/bundles/y.md", "---\nbundle: {name: y}\n---\nBe good."),
        ("AGENTS.md", "tabs"),
    ]);
    let prepared = agents(&lab).await;
    let (agent, cwd) = (&prepared.agents["a"], lab.path("project"));
    assert!(prepared.agent_prompt(agent, &cwd, None).render().text.contains("tabs"));
    assert!(!prompt(&lab.prepare("y").await.unwrap(), &cwd).contains("tabs"));
}

fn settings(user: &str, project: &str, trust: ProjectTrust) -> Settings {
    let folder = tempfile::tempdir().unwrap();
    let home = AmplifierHome::at(folder.path().join("home"));
    write(folder.path(), &[("home/settings.yaml", user), (".amplifier/settings.yaml", project)]);
    let files = SettingsFiles::new(&home, folder.path());
    let none: [(&str, &str); 0] = [];
    load(&files, &ProcessEnv::from_pairs(none), &Flags::default(), trust).unwrap()
}

#[test]
fn a_project_switches_them_on_only_where_it_is_trusted_and_off_anywhere() {
    let on = "agents: {claude: true, codex: true}\ncontext: {agents_md: true, claude_md: true}\n";
    let off = "agents: {claude: false}\ncontext: {agents_md: false}\n";
    let trusted = settings("", on, ProjectTrust::Trusted);
    assert!(trusted.neighbours().claude && trusted.neighbours().codex && trusted.project_files().claude_md);
    let untrusted = settings("", on, ProjectTrust::Untrusted);
    assert!(!untrusted.neighbours().claude && !untrusted.project_files().any());
    let ignored: Vec<&str> = untrusted.ignored.iter().map(|one| one.what.as_str()).collect();
    assert_eq!(ignored, ["agents.claude", "agents.codex", "context.agents_md", "context.claude_md"]);
    let both = settings(on, off, ProjectTrust::Untrusted);
    assert!(!both.neighbours().claude && both.neighbours().codex && both.ignored.is_empty());
    assert!(!both.project_files().agents_md && both.project_files().claude_md);
}
