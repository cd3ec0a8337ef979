//! `amplifier tool` and `amplifier module`.

use serde_json::json;

use crate::kit::Place;

fn place() -> Place {
    let place = Place::new();
    place.write(
        ".amplifier/bundles/b.yaml",
        "bundle: {name: b}\nsession: {orchestrator: loop-streaming, context: context-simple}\n\
         tools: [{module: tool-filesystem}, {module: tool-bash}, {module: tool-todo}]\n",
    );
    place.write("notes.txt", "one\ntwo\n");
    place
}

#[test]
fn the_tools_of_a_bundle_are_listed_without_a_provider_and_without_a_session() {
    let place = place();
    let tools = place.run(&["tool", "list", "-B", "b", "--json"]).ok().json();
    let names: Vec<&str> =
        tools.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    for name in ["read_file", "write_file", "bash"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let pure: Vec<bool> = tools.as_array().unwrap().iter().map(|tool| tool["pure"] == true).collect();
    assert!(pure[names.iter().position(|name| *name == "read_file").unwrap()]);
    assert!(!pure[names.iter().position(|name| *name == "bash").unwrap()]);
    let shown = place.run(&["tool", "info", "read_file", "-B", "b", "--json"]).ok().json();
    assert_eq!(shown["input_schema"]["type"], "object");
    let modules = place.run(&["tool", "list", "-m", "-B", "b", "--output", "json"]);
    // The modules are those of a session, which wants a provider.
    modules.code(2).says(&["provider"]);
    place.run(&["tool", "info", "red_file", "-B", "b"]).code(2).says(&["did you mean `read_file`?"]);
    assert_eq!(place.sessions(), Vec::<String>::new());
    let projects = place.home().join("projects");
    let kept = std::fs::read_dir(&projects).map(|entries| entries.count()).unwrap_or(0);
    assert_eq!(kept, 0, "nothing is left behind in {}", projects.display());
}

#[test]
fn a_call_has_the_permissions_and_hooks_of_a_session() {
    let place = place();
    let read = |more: &[&str]| place.run(&[&["tool", "invoke", "read_file", "-B", "b"], more].concat());
    let done = read(&["path=notes.txt"]).ok();
    assert!(done.stdout.contains("one") && done.stdout.contains("two"), "{done:#?}");
    let done = read(&["--json", r#"{"path": "notes.txt", "limit": 1}"#, "--output", "json"]).ok().json();
    assert_eq!((&done["is_error"], &done["session_id"]), (&json!(false), &json!(null)));
    read(&["path=missing.txt"]).code(1).says(&["missing.txt"]);
    read(&["path=notes.txt", "limit=many"]).code(2).says(&["`limit` cannot be `many`"]);
    read(&["--json", "[]"]).code(2).says(&["wants one object"]);
    place.run(&["tool", "invoke", "reed_file", "-B", "b"]).code(2).says(&["did you mean `read_file`?"]);
    assert_eq!(place.sessions(), Vec::<String>::new(), "what changes nothing leaves no session");

    place.write(".amplifier/settings.yaml", "permissions: {deny: ['read(notes.txt)']}\n");
    read(&["path=notes.txt"]).code(1).says(&["permission denied", "notes.txt"]);
}

#[test]
fn a_call_that_may_change_something_is_a_session_that_is_recorded() {
    let place = place();
    let args = ["tool", "invoke", "write_file", "path=made.txt", "content=12", "-B", "b", "--output", "json"];
    let done = place.run(&args).ok().json();
    assert_eq!(std::fs::read_to_string(place.project().join("made.txt")).unwrap(), "12");
    assert_eq!(place.sessions(), [done["session_id"].as_str().unwrap()]);
    let shown = place.run(&["session", "show", &place.sessions()[0], "-T"]).ok().stdout;
    assert!(shown.contains("write_file"), "{shown}");
    // Outside of the project nobody can be asked.
    let outside = ["tool", "invoke", "write_file", "path=../made.txt", "content=x", "-B", "b"];
    place.run(&outside).code(4).says(&["permission", "--permission-mode"]);
    assert!(!place.project().join("../made.txt").exists());
    let plan = [&args[..], &["--permission-mode", "plan"]].concat();
    place.run(&plan).code(1);
}

#[test]
fn a_call_ends_with_its_time() {
    let place = place();
    let sleep =
        ["tool", "invoke", "bash", "command=sleep 30", "-B", "b", "--permission-mode", "bypassPermissions"];
    place.run(&[&sleep[..], &["--timeout", "300ms"]].concat()).code(124).says(&["the time was up"]);
}

#[test]
fn modules_tell_what_they_are() {
    let place = Place::new();
    let all = place.run(&["module", "list", "--json"]).ok().json();
    let named = |name: &str| all.as_array().unwrap().iter().any(|module| module["module"] == name);
    assert!(named("tool-bash") && named("loop-streaming") && named("context-simple"), "{all:#}");
    let tools = place.run(&["module", "list", "--kind", "tools", "--json"]).ok().json();
    assert!(tools.as_array().unwrap().iter().all(|module| module["kind"] == "tool"), "{tools:#}");
    let shown = place.run(&["module", "show", "tool-task", "--json"]).ok().json();
    assert_eq!(shown["module"], "tool-delegate");
    assert!(place.run(&["module", "show", "tool-bash"]).ok().stdout.contains("env_passthrough"));
    place.run(&["module", "show", "tool-bsh"]).code(2).says(&["did you mean `tool-bash`?"]);
    place.run(&["module", "list", "--kind", "things"]).code(2).says(&["is no kind of module"]);
}
