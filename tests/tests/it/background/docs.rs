//! What `docs/triggers.md` shows can be declared, and what can be declared it names.

use std::path::Path;

use amplifier_background::BackgroundConfig;
use amplifier_background::trigger::TriggerRegistry;
use amplifier_foundation::bundle::yaml;
use serde_json::{Value, json};

fn page() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join("docs/triggers.md")).unwrap()
}

/// The blocks that are fenced as `yaml`.
fn blocks(page: &str) -> Vec<&str> {
    page.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("yaml\n")).collect()
}

fn registry() -> TriggerRegistry {
    let mut registry = TriggerRegistry::new();
    registry.register("sqs", |_| Err("never".into())).unwrap();
    registry
}

#[test]
fn each_example_of_a_trigger_can_be_declared() {
    let page = page();
    let blocks = blocks(&page);
    assert!(blocks.len() >= 5, "{}", blocks.len());
    let mut kinds = std::collections::BTreeSet::new();
    for block in blocks {
        let mut map: Value = yaml::from_str(block, Path::new("docs/triggers.md")).unwrap();
        assert!(map.as_object().unwrap().len() == 1 && map["triggers"].is_array(), "{block}");
        (map["name"], map["bundle"]) = (json!("night"), json!("plain"));
        let config =
            BackgroundConfig::parse(&map, &registry()).unwrap_or_else(|error| panic!("{block}\n{error}"));
        kinds.extend(config.triggers.iter().map(|trigger| trigger.kind().to_string()));
    }
    let all = ["file_change", "issue_event", "manual", "session_event", "sqs", "timer", "webhook"];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all, "each type has an example");
}

#[test]
fn each_key_of_a_trigger_is_described() {
    let page = page();
    let policies =
        ["name", "overlap", "misfire", "max_age", "debounce", "jitter", "enabled", "end_time", "timezone"];
    let configs = [
        "every",
        "interval_seconds",
        "cron",
        "seconds",
        "at",
        "immediate",
        "event_names",
        "source_sessions",
        "match",
        "own_events",
        "paths",
        "ignore",
        "changes",
        "ignore_files",
        "poll",
        "path",
        "scheme",
        "secret_env",
        "events",
    ];
    for policy in policies {
        assert!(page.contains(&format!("| `{policy}` | ")), "{policy} has no row");
        // It is a key: a value that no key can have is told with this key as the field.
        let map = json!({"name": "x", "bundle": "x", "triggers": [{"type": "manual", policy: [[]]}]});
        let told = BackgroundConfig::parse(&map, &registry()).unwrap_err().to_string();
        assert!(told.contains(&format!("triggers[0].{policy}:")), "{told}");
    }
    for key in configs {
        let named = [format!("`{key}`"), format!("`{key}:"), format!("{key}: ")];
        assert!(named.iter().any(|named| page.contains(named.as_str())), "{key} is not described");
    }
}
