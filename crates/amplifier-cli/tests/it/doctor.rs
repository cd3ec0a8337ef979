//! `amplifier doctor`: what is wrong, where, and how to mend it.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::kit::Place;

/// The checks of one topic.
fn checks<'a>(told: &'a Value, about: &str) -> Vec<&'a Value> {
    told["checks"].as_array().unwrap().iter().filter(|check| check["check"] == about).collect()
}

fn told(check: &Value) -> &str {
    check["told"].as_str().unwrap()
}

#[test]
fn a_place_in_order_is_told_to_be_so() {
    let place = Place::scripted("[{text: hello}]");
    place.write(".amplifier/settings.yaml", "bundle: b\nlimits: {max_turns: 60}\n");
    place.write_home("settings.yaml", "permissions: {deny: ['read(~/.ssh)']}\n");
    std::fs::set_permissions(place.home(), std::fs::Permissions::from_mode(0o700)).unwrap();
    place.run(&["run", "hi"]).ok();
    let said = place.run(&["doctor", "--json"]).ok().json();
    assert_eq!(said["ok"], true, "{said:#}");
    assert_eq!(said["version"], env!("CARGO_PKG_VERSION"));
    let all = said["checks"].as_array().unwrap();
    assert!(all.iter().all(|check| check["grade"] != "fail"), "{said:#}");
    for about in ["home", "disk", "sandbox", "git", "path", "terminal", "settings", "permissions", "trust"] {
        assert_eq!(checks(&said, about).len(), 1, "{about}: {said:#}");
    }
    assert!(told(checks(&said, "database")[0]).contains("schema 4 of 4"), "{said:#}");
    assert!(told(checks(&said, "bundle").last().unwrap()).contains("b (project settings"), "{said:#}");
    assert!(told(checks(&said, "permissions")[0]).contains("1 deny"), "{said:#}");
    let set: Vec<&Value> = said["settings"].as_array().unwrap().iter().collect();
    let turns = set.iter().find(|set| set["key"] == "limits.max_turns").unwrap();
    assert_eq!((&turns["value"], &turns["layer"]), (&"60".into(), &"project".into()));
    assert!(turns["set_by"].as_str().unwrap().ends_with("settings.yaml:2"), "{turns}");
    let text = place.run(&["doctor"]).ok().stdout;
    assert!(text.contains("ok    setting       limits.max_turns = 60 (project settings "), "{text}");
}

#[test]
fn each_fault_is_told_with_its_place_and_its_remedy() {
    let place = Place::new();
    place.write(".amplifier/settings.yaml", "bundle: [\n");
    let said = place.run(&["doctor", "--json"]).code(2).json();
    let faults = checks(&said, "settings");
    assert_eq!((faults.len(), &faults[0]["grade"]), (1, &"fail".into()), "{said:#}");
    assert!(told(faults[0]).contains("settings.yaml:"), "{said:#}");
    assert!(!checks(&said, "git").is_empty(), "the others are looked at all the same: {said:#}");

    place.write(".amplifier/settings.yaml", "bundel: x\n");
    let said = place.run(&["doctor", "--json"]).code(2).json();
    let warned = checks(&said, "settings")[0];
    assert_eq!(warned["grade"], "warn");
    assert!(told(warned).contains("settings.yaml:1:1"), "{said:#}");
    assert!(warned["help"].as_str().unwrap().contains("bundle"), "{said:#}");
    let provider = checks(&said, "provider")[0];
    assert_eq!(provider["grade"], "fail");
    assert!(provider["help"].as_str().unwrap().contains("ANTHROPIC_API_KEY"), "{said:#}");

    place.write(".amplifier/settings.yaml", "bundle: nowhere\n");
    let said = place.run(&["doctor", "--json"]).code(2).json();
    assert!(told(checks(&said, "bundle")[0]).contains("nowhere"), "{said:#}");
    assert_eq!(checks(&said, "bundle")[0]["grade"], "fail");
}

#[test]
fn keys_are_named_and_never_shown() {
    let place = Place::new();
    place.write_home(
        "settings.yaml",
        "config:\n  providers:\n  - module: provider-openai\n    config: {api_key: sk-very-secret-1}\n\
         \x20 - {module: provider-anthropic, config: {api_key_env: MY_KEY}}\n",
    );
    place.write_home("keys.env", "GEMINI_API_KEY=sk-very-secret-2\n");
    std::fs::set_permissions(place.home(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let done = place.run(&["doctor"]).ok();
    for secret in ["sk-very-secret-1", "sk-very-secret-2"] {
        assert!(!done.stdout.contains(secret) && !done.stderr.contains(secret), "{done:#?}");
    }
    for part in ["no key: MY_KEY is not set", "key from GEMINI_API_KEY", "chmod 700", "chmod 600"] {
        assert!(done.stdout.contains(part), "{part}: {done:#?}");
    }
}

#[test]
fn another_program_of_this_name_is_told() {
    let place = Place::new();
    place.write("bin/amplifier", "#!/bin/sh\n");
    let other = place.project().join("bin/amplifier");
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = place
        .call(&["doctor", "--json"])
        .env("PATH", other.parent().unwrap().to_str().unwrap())
        .done()
        .json();
    let path = checks(&said, "path")[0];
    assert_eq!(path["grade"], "warn");
    assert!(told(path).contains(other.to_str().unwrap()), "{path}");
    assert!(told(checks(&said, "git")[0]).contains("no `git`"), "{said:#}");
}

#[test]
fn a_database_that_cannot_be_read_is_told() {
    let place = Place::scripted("[{text: hello}]");
    place.run(&["run", "-B", "b", "hi"]).ok();
    let project = place.home().join("projects");
    let folder = std::fs::read_dir(project).unwrap().next().unwrap().unwrap().path();
    // What was written ahead would stand above the file.
    for name in ["amplifier.db-wal", "amplifier.db-shm"] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    std::fs::write(folder.join("amplifier.db"), vec![b'x'; 8192]).unwrap();
    let said = place.run(&["doctor", "--json"]).code(2).json();
    assert_eq!(checks(&said, "database")[0]["grade"], "fail", "{said:#}");
}
