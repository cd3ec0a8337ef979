//! Bundles by name: listing, showing, checking, choosing.

use serde_json::json;

use crate::kit::Place;

#[test]
fn a_bundle_is_shown_with_what_it_includes_and_where_each_entry_comes_from() {
    let place = Place::scripted("- text: hello");
    place.write(
        ".amplifier/bundles/top.yaml",
        "bundle: {name: top}\nincludes: [{bundle: b}]\ntools: [{module: tool-filesystem}]\n",
    );
    let shown = place.run(&["bundle", "show", "top", "--json"]).ok().json();
    assert_eq!(shown["name"], "top");
    assert_eq!(shown["providers"][0]["module"], "provider-scripted");
    assert!(shown["provenance"]["tools.tool-filesystem"].to_string().contains("top.yaml"), "{shown}");
    assert!(shown["provenance"]["providers.provider-scripted"].to_string().contains("b.yaml"), "{shown}");
    let alone = place.run(&["bundle", "show", "top", "--json", "--no-includes"]).ok().json();
    assert_eq!((alone.get("providers"), &alone["tools"][0]["module"]), (None, &json!("tool-filesystem")));
    let text = place.run(&["bundle", "show", ".amplifier/bundles/top.yaml"]).ok().stdout;
    assert!(text.contains("name:         top") && text.contains("provider-scripted"), "{text}");
    place.run(&["bundle", "show", "nope"]).code(2).says(&["there is no bundle `nope`"]);
}

#[test]
fn the_built_in_bundle_is_what_is_used_and_shown_without_a_name() {
    let place = Place::new();
    assert_eq!(place.run(&["bundle", "current"]).ok().says(&["built-in"]).stdout, "default\n");
    let shown = place.run(&["bundle", "show"]).ok().stdout;
    assert!(shown.contains("tool-bash") && shown.contains("explorer"), "{shown}");
    let listed = place.run(&["bundle", "list"]).ok().stdout;
    assert!(listed.lines().any(|line| line.starts_with("default  *")), "{listed}");
    let agents = place.run(&["agents", "list"]).ok().stdout;
    assert!(agents.contains("explorer") && agents.contains("builder"), "{agents}");
    let known = place.run(&["agents", "list", "--json"]).ok().json();
    let name = known[0]["name"].as_str().unwrap();
    assert!(place.run(&["agents", "show", name]).ok().stdout.contains("description:"));
    let short = place.run(&["agents", "show", "explorer", "--json"]).ok().json();
    assert!(short["instruction"].is_string() && short["description"].is_string(), "{short}");
    place.run(&["agents", "show", "nobody"]).code(2).says(&["no agent `nobody`", "explorer"]);
}

#[test]
fn a_bundle_is_chosen_in_a_scope_and_forgotten() {
    let place = Place::scripted("- text: from b");
    place.bundle("c", "- text: from c", "");
    place.run(&["bundle", "use", "b", "--global"]).ok();
    place.run(&["bundle", "use", "c", "--local"]).ok();
    assert_eq!(place.run(&["bundle", "current"]).ok().says(&["local settings"]).stdout, "c\n");
    assert_eq!(place.run(&["run", "hi"]).ok().stdout, "from c\n");
    place.run(&["bundle", "clear", "--local"]).ok();
    assert_eq!(place.run(&["bundle", "current"]).ok().says(&["user settings"]).stdout, "b\n");
    place.write("near/bundle.yaml", "bundle: {name: near}\n");
    place.run(&["bundle", "use", "./near", "--global"]).ok();
    let elsewhere = place.project().join("..");
    assert!(place.call(&["bundle", "show"]).cwd(&elsewhere).done().ok().stdout.contains("near"));
    place.run(&["bundle", "use", "./near", "--local"]).ok();
    let hidden = place.run(&["bundle", "use", "b", "--global"]).ok();
    hidden.says(&["is used all the same, set by local settings"]);
    place.run(&["bundle", "use", "nope"]).code(2).says(&["there is no bundle `nope`"]);
    place.run(&["bundle", "use", "b", "--local", "--global"]).code(2).says(&["cannot be used with"]);
}

#[test]
fn an_address_gets_a_name_and_loses_it() {
    let place = Place::new();
    place.write("elsewhere/bundle.yaml", "bundle: {name: far}\nproviders: [{module: provider-scripted}]\n");
    place.run(&["bundle", "add", "./elsewhere", "--name", "near"]).ok();
    place.run(&["bundle", "add", "./elsewhere"]).ok();
    let listed = place.run(&["bundle", "list", "--json"]).ok().json();
    let names: Vec<_> =
        listed.as_array().unwrap().iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"near") && names.contains(&"far"), "{names:?}");
    // A relative path means the same from everywhere.
    let elsewhere = place.project().join("..");
    assert!(place.call(&["bundle", "show", "near"]).cwd(&elsewhere).done().ok().stdout.contains("far"));
    place.run(&["bundle", "remove", "near"]).ok();
    place.run(&["bundle", "show", "near"]).code(2);
    place.run(&["bundle", "remove", "near"]).code(2).says(&["near"]);
    place.run(&["bundle", "add", "./nowhere"]).code(2).says(&["nowhere"]);
}

#[test]
fn validate_tells_faults_with_their_place_and_its_code_tells_the_worst() {
    let place = Place::new();
    let check = |text: &str, args: &[&str], code: i32, parts: &[&str]| {
        place.write("x.yaml", text);
        let mut all = vec!["bundle", "validate", "x.yaml"];
        all.extend(args);
        let done = place.run(&all).code(code);
        for part in parts {
            assert!(done.stdout.contains(part), "{part:?} is not in {done:#?}");
        }
    };
    check("bundle: {name: x}\n", &[], 0, &[]);
    check("bundle: {name: x}\ntoolz: []\n", &[], 0, &["x.yaml:2:1: warning: ", "toolz"]);
    check("bundle: {name: x}\ntoolz: []\n", &["--strict"], 1, &["x.yaml:2:1: error: "]);
    check(
        "bundle: {name: x}\ntools: [{module: tool-nope}]\n",
        &[],
        0,
        &["warning: there is no module `tool-nope`"],
    );
    let typo =
        "bundle: {name: x}\ntools:\n- {module: tool-bsh}\n- {module: tool-bash, config: {timout: 9}}\n";
    check(typo, &[], 0, &["x.yaml:3:3: warning: ", "did you mean `tool-bash`?"]);
    check(typo, &[], 0, &["x.yaml:4:3: warning: `tool-bash` knows no setting `timout`", "`timeout`?"]);
    let looped = "bundle: {name: x}\nsession: {orchestrator: loop-nope}\n";
    check(looped, &[], 1, &["x.yaml:2:25: error: there is no module `loop-nope`"]);
    let moved = "bundle: {name: x}\nsession: {context: tool-bash}\ntools: [{module: loop-basic}]\n";
    check(moved, &[], 1, &["x.yaml:2:20: error: `tool-bash` is of the kind tool", "x.yaml:3:9: warning: "]);
    check("bundle: {name: x}\nincludes: [\"x:no/way\"]\n", &[], 1, &["x.yaml:2:12: error: `x:no/way`"]);
    check("bundle: {name: x}\ntools: {a: b}\n", &[], 1, &["x.yaml:2:", "error: "]);
    check("bundle: {name: x\n", &[], 1, &["x.yaml:", "error: "]);
    check("bundle: {}\n", &[], 1, &["x.yaml:1:1: error: the bundle has no name"]);
    place.run(&["bundle", "validate", "nowhere.yaml"]).code(2).says(&["nowhere.yaml"]);
    place.write("a.md", "---\nmeta: {name: helper, description: helps}\n---\nHelp.\n");
    place.run(&["bundle", "validate", "a.md"]).ok().says(&["a.md is valid"]);
}

#[test]
fn modules_that_do_not_exist_are_left_out_with_one_line_or_fatal_when_strict() {
    let place = Place::new();
    place.bundle("b", "- text: hello", "tools: [{module: tool-one}, {module: tool-two}]");
    let done = place.run(&["run", "-B", "b", "hi"]).ok();
    assert_eq!(
        done.stderr.lines().filter(|line| line.contains("tool-one") && line.contains("tool-two")).count(),
        1
    );
    place.run(&["run", "-B", "b", "--strict", "hi"]).code(2).says(&["tool-one"]);
}

#[test]
fn a_registry_that_cannot_be_read_is_told_where_names_are_listed() {
    let place = Place::new();
    let file = place.home().join("registry.json");
    std::fs::create_dir_all(place.home()).unwrap();
    std::fs::write(&file, "{\"bundles\": {\"other\": {\"uri\": \"./b.md\"}}}").unwrap();
    let names = |listed: serde_json::Value| listed.as_array().unwrap().len();
    let whole = place.run(&["bundle", "list", "--json"]).ok();
    assert!(!whole.stderr.contains("registry.json"), "{}", whole.stderr);
    std::fs::write(&file, "{\"bundles\": {\n").unwrap();
    let rest = place.run(&["bundle", "list", "--json"]).ok();
    let rest = rest.says(&["warning: ", file.to_str().unwrap(), "line 2", "repair it or move it away"]);
    assert_eq!(names(rest.json()) + 1, names(whole.json()), "the other names are there");
}
