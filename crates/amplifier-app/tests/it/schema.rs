//! The schemas of our own files say what the parsers take.

use std::path::{Path, PathBuf};

use amplifier_app::schema::FileKind;
use amplifier_foundation::bundle::yaml;
use jsonschema::Validator;
use serde_json::Value;

fn validator(kind: FileKind) -> Validator {
    let schema: Value = serde_json::from_str(kind.schema()).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    jsonschema::validator_for(&schema).unwrap()
}

fn value(text: &str, file: &Path) -> Value {
    let node = yaml::parse(text, file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::to_value(&node).unwrap()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.extension().and_then(|end| end.to_str()) {
            _ if path.is_dir() => files(&path, found),
            Some("md" | "yaml" | "yml") => found.push(path),
            _ => {}
        }
    }
}

/// The YAML of a file: of Markdown what stands between the first two lines of dashes.
fn yaml_of(text: &str, file: &Path) -> Option<String> {
    if file.extension().is_some_and(|end| end != "md") {
        return Some(text.to_owned());
    }
    let rest = text.trim_start_matches('\u{feff}').strip_prefix("---")?.split_once('\n')?.1;
    rest.split_once("\n---").map(|(front, _)| format!("{front}\n"))
}

#[track_caller]
fn fits(validator: &Validator, value: &Value, what: &str) {
    let faults: Vec<String> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(faults.is_empty(), "{what}: {faults:#?}");
}

#[test]
fn the_published_schemas_are_those_of_the_program() {
    for (kind, name) in [
        (FileKind::Bundle, "bundle"),
        (FileKind::Settings, "settings"),
        (FileKind::Background, "background"),
        (FileKind::Foreman, "foreman"),
    ] {
        let published =
            std::fs::read_to_string(workspace().join(format!("docs/schema/{name}.json"))).unwrap();
        assert_eq!(published, kind.schema(), "docs/schema/{name}.json: copy it from the crate");
    }
}

#[test]
fn every_bundle_that_parses_fits() {
    let bundles = validator(FileKind::Bundle);
    let mut found = Vec::new();
    files(&workspace().join("docs/examples"), &mut found);
    files(&workspace().join("crates/amplifier-bundle/src/bundle/builtin"), &mut found);
    let corpus = std::env::var_os("AMPLIFIER_CORPUS").map(PathBuf::from);
    let corpus = corpus.unwrap_or_else(|| workspace().join("../../shared/corpus"));
    match corpus.is_dir() {
        true => files(&corpus, &mut found),
        false => eprintln!("skipped: the corpus is not there; set AMPLIFIER_CORPUS to its folder"),
    }
    let mut checked = 0;
    for file in found {
        let text = std::fs::read_to_string(&file).unwrap();
        let Some(front) = yaml_of(&text, &file) else { continue };
        let value = value(&front, &file);
        if value.get("bundle").is_some() {
            fits(&bundles, &value, &file.display().to_string());
            checked += 1;
        }
    }
    assert!(checked >= 10, "{checked}");
}

/// The YAML examples of a page that have a key.
fn examples(page: &str, key: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(workspace().join("docs").join(page)).unwrap();
    let blocks = text.split("```yaml").skip(1).filter_map(|rest| rest.split_once('\n')?.1.split_once("```"));
    let values = blocks.map(|(block, _)| value(block, Path::new(page)));
    values.filter(|value| value.get(key).is_some()).collect()
}

#[test]
fn every_example_of_the_other_files_fits() {
    let all = [
        (FileKind::Settings, "settings.md", "permissions", 1),
        (FileKind::Background, "background.md", "background_sessions", 1),
        (FileKind::Background, "notify.md", "notify", 2),
        (FileKind::Foreman, "foreman.md", "worker_pools", 1),
    ];
    for (kind, page, key, at_least) in all {
        let found = examples(page, key);
        assert!(found.len() >= at_least, "{page}: {}", found.len());
        found.iter().for_each(|value| fits(&validator(kind), value, page));
    }
    let file = workspace().join("docs/examples/crew/foreman.yaml");
    fits(&validator(FileKind::Foreman), &value(&std::fs::read_to_string(&file).unwrap(), &file), "crew");
    let template = value(amplifier_crew::config::TEMPLATE, Path::new("template"));
    fits(&validator(FileKind::Foreman), &template, "what init writes");
}

#[test]
fn what_the_parsers_refuse_does_not_fit() {
    let check = |kind: FileKind, text: &str| {
        let value = value(text, Path::new("bad.yaml"));
        assert!(!validator(kind).is_valid(&value), "{kind:?}: {text}");
    };
    check(FileKind::Bundle, "- a list\n");
    check(FileKind::Bundle, "bundle: {name: [x]}\n");
    check(FileKind::Bundle, "bundle: {name: x}\ntools: [tool-bash]\n");
    check(FileKind::Bundle, "bundle: {name: x}\nproviders: {module: x}\n");
    check(FileKind::Bundle, "bundle: {name: x}\nsession: loop-basic\n");
    check(FileKind::Bundle, "bundle: {name: x}\ntools: [{config: {a: 1}}]\n");
    check(FileKind::Settings, "permissions: {mode: bypassPermissions}\n");
    check(FileKind::Settings, "permissions: {allow: {a: 1}}\n");
    check(FileKind::Settings, "limits: {max_turns: 0}\n");
    check(FileKind::Settings, "limits: {timeout: 15}\n");
    check(FileKind::Settings, "config: {providers: [{id: x}]}\n");
    check(FileKind::Settings, "retry: {first_wait: soon}\n");
    check(FileKind::Background, "background_sessions: [{name: a}]\n");
    check(FileKind::Background, "background_sessions: [{name: a, bundle: b, pool_size: 0}]\n");
    check(FileKind::Background, "background_sessions: [{name: a, bundle: b, speed: 3}]\n");
    check(FileKind::Background, "background_sessions: [{name: a, bundle: b, triggers: [{config: {}}]}]\n");
    check(FileKind::Background, "notify: [{events: [session_error]}]\n");
    check(FileKind::Background, "sessions: []\n");
    check(FileKind::Foreman, "worker_pools: []\n");
    check(FileKind::Foreman, "worker_pools: [{name: a, worker_bundle: b, on_lost: forget}]\n");
    check(FileKind::Foreman, "worker_pools: [{name: a, worker_bundle: b}]\nrouting: {rule: []}\n");
    check(FileKind::Foreman, "routing: {default_pool: a}\n");
}
