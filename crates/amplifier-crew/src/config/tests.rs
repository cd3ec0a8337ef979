//! What a declaration is read as, and what is wrong with one.

#![allow(clippy::disallowed_methods, reason = "tests write real files")]

use amplifier_core::permission::Mode;
use amplifier_trigger::TriggerRegistry;
use serde_json::{Value, json};

use super::*;
use crate::routing::Facts;

fn parse(value: &Value) -> Result<CrewConfig, ConfigError> {
    CrewConfig::parse(value, &TriggerRegistry::new())
}

/// The faults of a declaration, as text.
fn faults(value: &Value) -> Vec<String> {
    parse(value).unwrap_err().faults.iter().map(ToString::to_string).collect()
}

/// As the reference's foreman has it.
fn reference() -> Value {
    json!({
        "worker_pools": [
            {"name": "coding-pool", "worker_bundle": "git+https://github.com/o/r@main#subdirectory=workers/coding",
                "max_concurrent": 3, "route_types": ["task", "feature", "bug"]},
            {"name": "research-pool", "worker_bundle": "research", "max_concurrent": 2, "route_types": ["epic"]},
            {"name": "privileged-pool", "worker_bundle": "senior", "max_concurrent": 1, "route_types": []},
        ],
        "routing": {
            "default_pool": "coding-pool",
            "rules": [
                {"if_metadata_type": ["research", "analysis"], "then_pool": "research-pool"},
                {"if_status": "blocked", "and_retry_count_gte": 2, "then_pool": "privileged-pool"},
            ],
        },
        "background_sessions": [{"name": "watch", "bundle": "watcher", "triggers": [{"type": "manual"}],
            "instruction_template": "Look.", "pool_size": 1, "restart_on_failure": false, "max_restarts": 3}],
        "max_iterations": 20, "extended_thinking": true,
    })
}

#[test]
fn the_reference_s_configuration_is_read_as_it_is() {
    let crew = parse(&reference()).unwrap();
    assert_eq!((crew.pools.len(), crew.pools[0].max_concurrent, crew.background_sessions.len()), (3, 3, 1));
    assert_eq!((crew.max_iterations, crew.extended_thinking), (Some(20), Some(true)));
    let pool = |issue: Facts<'_>| crew.routing.pool_of(issue).unwrap().to_string();
    assert_eq!(pool(Facts::new("epic")), "research-pool");
    assert_eq!(pool(Facts::new("chore")), "coding-pool");
    let mut issue = Facts::new("task");
    issue.metadata_type = Some("analysis");
    assert_eq!(pool(issue), "research-pool");
    (issue.metadata_type, issue.left, issue.retries) = (None, Some("blocked"), 2);
    assert_eq!(pool(issue), "privileged-pool");
    assert_eq!(crew.permissions_of(&crew.pools[0]), Mode::DontAsk);
}

#[test]
fn every_key_of_ours_is_read() {
    let crew = parse(&json!({
        "worker_pools": [{"name": "a", "worker_bundle": "b", "limits": {"max_turns": 5}, "permissions": "plan",
            "worktree": "yes", "on_lost": "restart"}],
        "retry": {"attempts": 7}, "limits": {"max_turns": 9, "max_depth": 1}, "permissions": "acceptEdits",
        "notify": [{"command": ["true"]}], "listen": "127.0.0.1:0", "allowed_hosts": "h.example",
        "retention": {"events": "30d", "runs": "1w"},
    }))
    .unwrap();
    let pool = &crew.pools[0];
    assert_eq!((pool.worktree, pool.on_lost, crew.retry.attempts), (true, OnLost::Restart, 7));
    let limits = crew.limits_of(pool);
    assert_eq!((limits.max_turns, limits.max_depth), (Some(5), Some(1)));
    assert_eq!((crew.permissions_of(pool), crew.notify.len()), (Mode::Plan, 1));
    assert_eq!(crew.retention.runs, Some(std::time::Duration::from_secs(7 * 24 * 3_600)));
    assert_eq!(
        (crew.listen.as_deref(), crew.allowed_hosts.as_slice()),
        (Some("127.0.0.1:0"), &["h.example".to_owned()][..])
    );
}

#[test]
fn all_faults_are_told_at_once_with_their_fields_and_what_was_meant() {
    let found = faults(&json!({
        "worker_pools": [
            {"name": "a", "worker_bundel": "b", "max_concurrent": 0, "on_lost": "resmue"},
            {"name": "no name", "worker_bundle": "b", "permissions": "bypassPermissions"},
            {"name": "dup", "worker_bundle": "b"}, {"name": "dup", "worker_bundle": "b"},
        ],
        "routing": {"default_pool": "dub", "rules": [{"if_status": "blokced", "then_pool": "gone"}, {}], "rule": 1},
        "background_sessions": [{"name": "x"}],
        "listen": "everywhere", "retry": {"attempts": -1}, "retention": {"events": "long"}, "worker_pool": [],
    }));
    for (field, part) in [
        ("worker_pools[0].worker_bundle", "this is missing"),
        ("worker_pools[0].worker_bundel", "did you mean `worker_bundle`?"),
        ("worker_pools[0].max_concurrent", "a whole number from 1 to"),
        ("worker_pools[0].on_lost", "did you mean `resume`?"),
        ("worker_pools[1].name", "no name"),
        ("worker_pools[1].permissions", "from a flag only"),
        ("worker_pools[3].name", "there is another `dup`"),
        ("routing.default_pool", "did you mean `dup`?"),
        ("routing.rules[0].if_status", "did you mean `blocked`?"),
        ("routing.rules[0].then_pool", "there is no such pool"),
        ("routing.rules[1].then_pool", "this is missing"),
        ("routing.rule", "did you mean `rules`?"),
        ("background_sessions[0].bundle", "this is missing"),
        ("listen", "no address with a port"),
        ("retry.attempts", "a whole number from 1"),
        ("retention.events", ""),
        ("worker_pool", "did you mean `worker_pools`?"),
    ] {
        let told = |line: &&String| line.starts_with(&format!("{field}: ")) && line.contains(part);
        assert!(found.iter().any(|line| told(&line)), "{field}: {part} is not in {found:#?}");
    }
}

#[test]
fn a_file_without_pools_and_one_that_is_no_map_are_refused() {
    assert!(faults(&json!({}))[0].starts_with("worker_pools: this is missing"));
    assert!(faults(&json!([]))[0].contains("this must be a map"));
}

#[test]
fn what_nobody_vouches_for_widens_nothing() {
    let mut crew = parse(&json!({
        "worker_pools": [{"name": "a", "worker_bundle": "b", "permissions": "acceptEdits"}],
        "listen": "0.0.0.0:80", "allowed_hosts": ["x"], "notify": [{"command": ["true"]}],
    }))
    .unwrap();
    let ignored: Vec<_> = crew.distrust().into_iter().collect();
    assert_eq!(ignored, ["allowed_hosts", "listen", "notify", "permissions"]);
    assert_eq!(crew.permissions_of(&crew.pools[0]), Mode::Plan);
    assert!(crew.listen.is_none() && crew.notify.is_empty() && crew.allowed_hosts.is_empty());
}

/// The template with its examples switched on.
fn uncommented() -> String {
    let is_prose = |line: &str| {
        let text = line.trim_start_matches('#').trim();
        text.starts_with(char::is_uppercase) || text.starts_with("`foreman")
    };
    let lines = TEMPLATE.lines().map(|line| match line.trim_start().strip_prefix("# ") {
        Some(rest) if !is_prose(line.trim_start()) => {
            let indent = line.len() - line.trim_start().len();
            format!("{}{rest}", &line[..indent])
        }
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_template_works_as_it_stands_and_with_its_examples() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    for text in [TEMPLATE.to_owned(), uncommented()] {
        std::fs::write(&file, &text).unwrap();
        let read = CrewFile::read(&file, true, &TriggerRegistry::new());
        let read = read.unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(read.config.pools[0].name.as_str(), "workers");
    }
    for key in KEYS {
        assert!(TEMPLATE.contains(&format!("{key}:")), "{key}");
    }
}

#[test]
fn a_fault_of_a_file_names_its_line_and_paths_are_relative_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    std::fs::write(&file, "worker_pools:\n  - name: a\n    worker_bundle: ./b.md\n    max_concurent: 2\n")
        .unwrap();
    let error = CrewFile::read(&file, true, &TriggerRegistry::new()).unwrap_err().to_string();
    assert!(error.contains("foreman.yaml:4") && error.contains("did you mean `max_concurrent`?"), "{error}");
    std::fs::write(&file, "worker_pools:\n  - {name: a, worker_bundle: ./b.md}\npermissions: dontAsk\n")
        .unwrap();
    let read = CrewFile::read(&file, false, &TriggerRegistry::new()).unwrap();
    assert_eq!(read.config.pools[0].worker_bundle, folder.path().join("b.md").display().to_string());
    let warning = read.diagnostics[0].to_string();
    assert!(warning.contains("foreman.yaml:3") && warning.contains("not trusted"), "{warning}");
    let missing =
        CrewFile::read(&folder.path().join("none.yaml"), true, &TriggerRegistry::new()).unwrap_err();
    assert!(missing.is_missing());
}

#[test]
fn the_schema_has_the_keys_that_are_read() {
    let schema = schema::root();
    let keys = |at: &str| -> Vec<String> {
        let found = schema.pointer(&format!("{at}/properties")).and_then(Value::as_object);
        found.unwrap_or_else(|| panic!("{at}")).keys().cloned().collect()
    };
    assert_eq!(keys(""), KEYS);
    assert_eq!(keys("/properties/worker_pools/items"), POOL_KEYS);
    assert_eq!(keys("/properties/routing"), ROUTING_KEYS);
    assert_eq!(keys("/properties/routing/properties/rules/items"), RULE_KEYS);
    assert_eq!(keys("/properties/retry"), RETRY_KEYS);
    assert_eq!(keys("/properties/retention"), RETENTION_KEYS);
    assert!(serde_json::from_str::<Value>(&super::schema()).is_ok());
}
