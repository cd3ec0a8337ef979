//! Skills in a session: where they are found, what of them is read, and what is not.

use serde_json::{Value, json};

use crate::kit::Place;

/// A bundle `b` that calls `load_skill` once and says what came of it.
fn bundle(place: &Place, arguments: &Value, config: &Value) {
    let script = json!([
        {"when": {"after_tool": "load_skill"}, "text": "got: {{result}}"},
        {"tool_calls": [{"tool": "load_skill", "arguments": arguments}]},
    ]);
    let bundle = json!({
        "bundle": {"name": "b"},
        "session": {"raw": true, "orchestrator": "loop-streaming", "context": "context-simple"},
        "providers": [{"module": "provider-scripted", "config": {"script": script}}],
        "tools": [{"module": "tool-skills", "config": config}],
        "hooks": [{"module": "hooks-logging"}],
    });
    place.write(".amplifier/bundles/b.yaml", &bundle.to_string());
}

/// What a call gives, as the scripted model repeats it.
fn call(place: &Place, arguments: Value) -> String {
    bundle(place, &arguments, &json!({}));
    place.run(&["run", "-B", "b", "go"]).ok().stdout
}

fn skill(name: &str, description: &str, body: &str) -> String {
    format!("---\nname: {name}\ndescription: {description}\nlicense: MIT\n---\n{body}\n")
}

/// Writes a skill of the user's own.
fn own(place: &Place, name: &str, text: &str) {
    std::fs::create_dir_all(place.home().join("skills").join(name)).unwrap();
    place.write_home(&format!("skills/{name}/SKILL.md"), text);
}

#[test]
fn a_skill_is_listed_and_loaded_on_demand() {
    let place = Place::new();
    place.write(
        ".amplifier/skills/review/SKILL.md",
        &skill("review", "How we review. Use it for changes.", "# Review\nRead twice."),
    );
    place.write(".amplifier/skills/review/references/list.md", "1. Look\n");
    place.write(".claude/skills/nested/deploy/SKILL.md", &skill("deploy", "How we deploy.", "Ask first."));
    own(&place, "mine", &skill("mine", "My own.", "Mine."));
    let home = place.home();
    std::fs::create_dir_all(home.parent().unwrap().join(".claude/skills/theirs")).unwrap();
    std::fs::write(
        home.parent().unwrap().join(".claude/skills/theirs/SKILL.md"),
        skill("theirs", "A neighbour's.", "x"),
    )
    .unwrap();
    place.write(".amplifier/bundles/skills/ours/SKILL.md", &skill("ours", "The bundle's.", "Ours."));
    let list = call(&place, json!({"list": true}));
    for name in ["review: How we review.", "deploy: ", "mine: ", "theirs: ", "ours: "] {
        assert!(list.contains(&format!("- {name}")), "{name}: {list}");
    }
    let body = call(&place, json!({"skill_name": "review"}));
    assert!(body.contains("# Review\nRead twice.") && body.contains("references/list.md"), "{body}");
    assert!(call(&place, json!({"name": "review", "file": "references/list.md"})).contains("1. Look"));
    assert!(call(&place, json!({"info": "review"})).contains("license: MIT"));
    let found = call(&place, json!({"search": "changes REVIEW"}));
    assert!(found.contains("review: ") && !found.contains("deploy"), "{found}");
    assert!(call(&place, json!({"name": "nothing"})).contains("there is no skill `nothing`; there are: "));
}

#[test]
fn a_request_carries_names_and_descriptions_and_no_content() {
    let place = Place::new();
    for number in 0..120 {
        let text = skill(&format!("skill-{number}"), &"word ".repeat(200), "CONTENT");
        place.write(&format!(".amplifier/skills/s{number}/SKILL.md"), &text);
    }
    bundle(&place, &json!({"list": true}), &json!({}));
    place.run(&["run", "-B", "b", "--session-id", "s", "go"]).ok();
    let project = std::fs::read_dir(place.home().join("projects")).unwrap().next().unwrap().unwrap();
    let events = std::fs::read_to_string(project.path().join("sessions/s/events.jsonl")).unwrap();
    let requests: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == "llm:request")
        .collect();
    let description = requests[0]["data"]["raw"]["tools"][0]["description"].as_str().unwrap();
    assert!(description.len() < 8_200 && description.contains("- skill-0: word"), "{}", description.len());
    assert!(description.contains("more: `list` or `search` shows them"), "{description}");
    assert!(!events.contains("CONTENT"));
}

#[test]
fn a_broken_skill_is_told_once_and_the_rest_works() {
    let place = Place::new();
    place.write(".amplifier/skills/good/SKILL.md", &skill("good", "Works.", "Body."));
    place.write(".amplifier/skills/plain/SKILL.md", "no front matter");
    place.write(".amplifier/skills/yaml/SKILL.md", "---\nname: [\n---\n");
    place.write(".amplifier/skills/quiet/SKILL.md", "---\nname: quiet\n---\nx\n");
    bundle(
        &place,
        &json!({"name": "good"}),
        &json!({"skills": ["nowhere", "git+https://example.invalid/x@main"]}),
    );
    let call = place.call(&["run", "-B", "b", "go"]).env("GIT_TERMINAL_PROMPT", "0");
    let done =
        call.done().ok().says(&["no front matter", "yaml/SKILL.md:", "no `description`", "example.invalid"]);
    assert_eq!(done.stderr.matches("skills left out").count(), 1, "{}", done.stderr);
    assert!(done.stdout.contains("Body."), "{}", done.stdout);
}

#[test]
fn nothing_outside_of_a_skills_folder_is_read() {
    let place = Place::new();
    place.write("secret.txt", "hidden");
    place.write(".amplifier/skills/s/SKILL.md", &skill("s", "d", "Body."));
    std::os::unix::fs::symlink("../../../secret.txt", place.project().join(".amplifier/skills/s/link.txt"))
        .unwrap();
    let absolute = place.project().join("secret.txt").display().to_string();
    for file in ["../../../secret.txt", "link.txt", &absolute, ".", "missing.md"] {
        let said = call(&place, json!({"name": "s", "file": file}));
        assert!(said.contains("is no file of skill s") && !said.contains("hidden"), "{file}: {said}");
    }
    place.write_home("settings.yaml", "permissions: {deny: ['read(.amplifier/skills)']}\n");
    let said = call(&place, json!({"name": "s"}));
    assert!(said.contains("permission denied") && !said.contains("Body."), "{said}");
}

#[test]
fn the_users_own_skill_comes_before_that_of_a_project_that_nobody_trusts() {
    let place = Place::new();
    place.write(".amplifier/skills/s/SKILL.md", &skill("s", "d", "of the project"));
    own(&place, "s", &skill("s", "d", "of the user"));
    // Something that takes trust, so that the directory counts as one that asks for it.
    place.write(".amplifier/settings.yaml", "permissions: {allow: ['shell(ls)']}\n");
    assert!(call(&place, json!({"name": "s"})).contains("of the user"));
    place.run(&["trust"]).ok();
    assert!(call(&place, json!({"name": "s"})).contains("of the project"));
}
