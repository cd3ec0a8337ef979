//! Declarations: what is read, and what is refused with its field and a remedy.

use std::time::Duration;

use amplifier_trigger::config::{Change, DEFAULT_DEBOUNCE};
use amplifier_trigger::timer::{When, rfc3339};
use amplifier_trigger::{
    Misfire, Overlap, TriggerConfig, TriggerKind, TriggerRegistry, TriggerSpec, parse_triggers,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::kit::{faults, one};

#[test]
fn the_list_of_the_interface_is_read() {
    let list = json!([
        {"type": "timer", "config": {"interval_seconds": 300, "immediate": false}},
        {"type": "timer", "config": {"cron": "0 9 * * MON-FRI", "timezone": "Europe/Berlin"}},
        {"type": "session_event", "config": {
            "event_names": ["session_completed", "work:*"], "source_sessions": ["a"], "match": {"data.status": "failed"}
        }},
        {"type": "manual"},
        {"type": "file_change", "config": {
            "paths": ["src/**/*.rs"], "ignore": ["target"], "changes": ["created", "modified", "deleted"], "debounce": "500ms"
        }},
        {"type": "timer", "config": {"at": "2026-11-23T03:00", "timezone": "Europe/Berlin"}},
        {"type": "webhook", "config": {
            "path": "github", "secret_env": "HOOK_SECRET", "scheme": "github", "events": ["issues"], "match": {"data.action": "opened"}
        }},
        {"type": "issue_event", "config": {"events": ["opened", "unblocked", "answered"], "types": ["bug"]}}
    ]);
    let triggers = parse_triggers(&list, &TriggerRegistry::new()).unwrap();
    let kinds: Vec<TriggerKind> = triggers.iter().map(TriggerConfig::kind).collect();
    let names: Vec<&str> = kinds.iter().map(TriggerKind::as_str).collect();
    let expect =
        ["timer", "timer", "session_event", "manual", "file_change", "timer", "webhook", "issue_event"];
    assert_eq!(names, expect);
    let TriggerSpec::Timer(at) = &triggers[5].spec else { panic!() };
    let When::At(time) = at.when else { panic!() };
    assert_eq!(rfc3339(time), "2026-11-23T02:00:00Z");
    let TriggerSpec::FileChange(files) = &triggers[4].spec else { panic!() };
    assert_eq!((files.changes.len(), files.debounce), (3, Duration::from_millis(500)));
}

#[test]
fn policies_stand_beside_any_of_them() {
    let config = one(json!({
        "type": "timer", "name": "nightly", "config": {"cron": "0 3 * * *"}, "timezone": "Europe/Berlin",
        "overlap": "cancel_previous", "misfire": "all", "max_age": "3h", "jitter": "5m", "enabled": "no",
        "end_time": "2026-12-31T23:59"
    }));
    let policy = &config.policy;
    assert_eq!((policy.overlap, policy.misfire), (Overlap::CancelPrevious, Some(Misfire::All)));
    assert_eq!(
        (policy.max_age, policy.jitter),
        (Some(Duration::from_secs(10_800)), Duration::from_secs(300))
    );
    assert!(!policy.enabled && policy.check_pool(1).is_ok() && policy.check_pool(2).is_err());
    assert_eq!(rfc3339(policy.end_time.unwrap()), "2026-12-31T22:59:00Z");
    assert_eq!(config.key().as_str(), "nightly");
    let plain = one(json!({"type": "file_change", "config": {"paths": "**"}}));
    let TriggerSpec::FileChange(files) = &plain.spec else { panic!() };
    assert_eq!((files.debounce, plain.policy.overlap), (DEFAULT_DEBOUNCE, Overlap::Queue));
    assert_eq!(files.changes, [Change::Created, Change::Modified, Change::Deleted]);
    assert!(files.ignore_files && plain.policy.enabled);
}

#[test]
fn a_key_follows_from_the_meaning_and_not_from_the_place_or_the_spelling() {
    let key = |entry: Value| one(entry).key();
    let first = key(json!({"type": "timer", "config": {"every": "5m"}}));
    assert_eq!(first, key(json!({"type": "timer", "config": {"interval_seconds": 300}})));
    assert_eq!(
        first,
        key(json!({"overlap": "skip", "type": "timer", "config": {"every": "5m"}, "enabled": false}))
    );
    assert_ne!(first, key(json!({"type": "timer", "config": {"every": "6m"}})));
    let cron = |zone: &str| key(json!({"type": "timer", "config": {"cron": "@daily", "timezone": zone}}));
    assert_eq!(cron("UTC"), key(json!({"type": "timer", "config": {"cron": "0 0 * * *"}})));
    assert_ne!(cron("UTC"), cron("Asia/Kolkata"));
    let twice = json!([{"type": "manual"}, {"type": "timer", "config": {"every": "1m"}}, {"type": "manual"}]);
    let error = parse_triggers(&twice, &TriggerRegistry::new()).unwrap_err();
    assert!(error.to_string().contains("triggers[2].name: this trigger stands twice"), "{error}");
}

#[test]
fn what_cannot_work_is_refused_with_its_field() {
    let check = |entry: Value, field: &str, part: &str| {
        let error = faults(entry.clone());
        let found = error.faults.iter().any(|fault| fault.field == field && fault.message.contains(part));
        assert!(found, "{entry}: wanted {field}: {part}, got {error}");
    };
    let timer = |config: Value| json!({"type": "timer", "config": config});
    check(json!("timer"), "triggers[0]", "must be a map, not text");
    check(json!({}), "triggers[0].type", "this is missing; write timer");
    check(json!({"type": "cron"}), "triggers[0].type", "`cron` is no type of trigger; there are timer");
    check(json!({"type": "timer"}), "triggers[0].config", "does not say when");
    check(timer(json!([])), "triggers[0].config", "must be a map, not a list");
    check(timer(json!({"every": "5m", "cron": "@daily"})), "triggers[0].config", "say once when");
    for interval in [json!(0), json!(-5), json!(0.01), json!(1e30), json!("soon"), json!(null)] {
        assert!(!faults(timer(json!({"interval_seconds": interval}))).faults.is_empty());
    }
    check(
        timer(json!({"interval_seconds": 0})),
        "triggers[0].config.interval_seconds",
        "write 100ms or more",
    );
    check(timer(json!({"every": "5"})), "triggers[0].config.every", "units ms, s, m, h, d or w");
    check(timer(json!({"every": 5})), "triggers[0].config.every", "a span such as 5m");
    check(timer(json!({"cron": "61 * * * *"})), "triggers[0].config.cron", "the minute `61`");
    check(timer(json!({"cron": "0 0 30 2 *"})), "triggers[0].config.cron", "no day ever matches");
    check(timer(json!({"cron": "0 0 * * * *"})), "triggers[0].config.cron", "six with `seconds: true`");
    check(timer(json!({"every": "5m", "seconds": true})), "triggers[0].config.seconds", "belongs to `cron`");
    let zone = timer(json!({"cron": "@daily", "timezone": "Mars/Base"}));
    check(zone, "triggers[0].config.timezone", "`Mars/Base` is no time zone; write an IANA name");
    check(timer(json!({"at": "tomorrow"})), "triggers[0].config.at", "write it as 2026-11-23T03:00");
    check(timer(json!({"at": "2026-11-23", "immediate": true})), "triggers[0].config.immediate", "remove it");
    check(
        timer(json!({"every": "5m", "evry": 1})),
        "triggers[0].config.evry",
        "not known here; there are timezone",
    );
    let beside = |key: &str, value: Value| {
        let mut entry = timer(json!({"every": "5m"}));
        entry.as_object_mut().unwrap().insert(key.to_owned(), value);
        entry
    };
    check(beside("overlap", json!("drop")), "triggers[0].overlap", "`drop` is none of queue, skip");
    check(beside("misfire", json!("never")), "triggers[0].misfire", "none of once, skip, all");
    check(beside("max_age", json!("1 day")), "triggers[0].max_age", "is no duration");
    check(beside("debounce", json!("1s")), "triggers[0].debounce", "remove it");
    check(beside("jitter", json!("5m")), "triggers[0].jitter", "shorter than the interval");
    check(beside("enabled", json!(1)), "triggers[0].enabled", "true or false");
    check(beside("name", json!("a/b")), "triggers[0].name", "is no name");
    check(beside("end_time", json!("soon")), "triggers[0].end_time", "is no time");
    check(beside("timezone", json!("CEST+9")), "triggers[0].timezone", "IANA name");
    let skip = json!({"type": "timer", "config": {"every": "5m"}, "misfire": "skip", "max_age": "1h"});
    check(skip, "triggers[0].max_age", "`misfire: skip`");
    check(
        json!({"type": "manual", "misfire": "all"}),
        "triggers[0].misfire",
        "nothing of this trigger is missed",
    );
    check(json!({"type": "manual", "config": {"a": 1}}), "triggers[0].config.a", "there is none");
    let events = |config: Value| json!({"type": "session_event", "config": config});
    check(events(json!({"event_names": []})), "triggers[0].config.event_names", "write `*`");
    check(events(json!({"event_names": ["A B"]})), "triggers[0].config.event_names[0]", "A B");
    check(events(json!({"match": {"status": 1}})), "triggers[0].config.match", "write `data.`");
    check(
        json!({"type": "issue_event", "config": {"events": ["open"]}}),
        "triggers[0].config.events[0]",
        "opened",
    );
    let files = |config: Value| json!({"type": "file_change", "config": config});
    check(files(json!({})), "triggers[0].config.paths", "write globs");
    check(files(json!({"paths": ["/etc/**"]})), "triggers[0].config.paths[0]", "relative to the project");
    check(files(json!({"paths": ["a", "b/../../c"]})), "triggers[0].config.paths[1]", "leaves the project");
    check(files(json!({"paths": ["a["]})), "triggers[0].config.paths[0]", "is no glob");
    check(
        files(json!({"paths": ["a"], "changes": ["moved"]})),
        "triggers[0].config.changes[0]",
        "created, modified",
    );
    let hook = |config: Value| json!({"type": "webhook", "config": config});
    let none = hook(json!({"path": "a", "scheme": "github"}));
    check(none, "triggers[0].config.secret_env", "without one anybody could call");
    check(
        hook(json!({"path": "../a", "scheme": "github", "secret_env": "A"})),
        "triggers[0].config.path",
        "cannot be a path",
    );
    check(
        hook(json!({"path": "a", "scheme": "hmac", "secret_env": "A"})),
        "triggers[0].config.scheme",
        "github, standard",
    );
    check(
        hook(json!({"path": "a", "scheme": "github", "secret_env": "a-b"})),
        "triggers[0].config.secret_env",
        "no name of a variable",
    );
    let inline = faults(hook(json!({"path": "a", "scheme": "github", "secret": "hunter2hunter2"})));
    assert!(!inline.to_string().contains("hunter2") && inline.to_string().contains("secret_env"), "{inline}");
}

#[test]
fn all_faults_of_a_list_are_told_at_once() {
    let list = json!([
        {"type": "timer", "config": {"cron": "x", "timezone": "y"}, "overlap": "z"},
        {"type": "manual"},
        {"type": "webhook", "config": {}}
    ]);
    let error = parse_triggers(&list, &TriggerRegistry::new()).unwrap_err();
    let fields: Vec<&str> = error.faults.iter().map(|fault| fault.field.as_str()).collect();
    for field in [
        "triggers[0].overlap",
        "triggers[0].config.cron",
        "triggers[0].config.timezone",
        "triggers[2].config.path",
    ] {
        assert!(fields.contains(&field), "{field}: {error}");
    }
    assert_eq!(error.to_string().lines().count(), error.faults.len());
    assert!(parse_triggers(&json!({"a": 1}), &TriggerRegistry::new()).is_err());
    assert!(parse_triggers(&Value::Null, &TriggerRegistry::new()).unwrap().is_empty());
    assert!(parse_triggers(&vec![json!({"type": "manual"}); 101], &TriggerRegistry::new()).is_err());
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9*/,LW#@ a-zA-Z:+-]{0,24}".prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop_oneof![
            Just("@daily"),
            Just("5m"),
            Just("**"),
            Just("UTC"),
            Just("2026-11-23T03:00"),
            Just("github")
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("[a-z_.]{1,12}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

const KEYS: [&str; 26] = [
    "type",
    "config",
    "every",
    "interval_seconds",
    "cron",
    "at",
    "timezone",
    "seconds",
    "immediate",
    "event_names",
    "source_sessions",
    "match",
    "paths",
    "ignore",
    "changes",
    "debounce",
    "poll",
    "path",
    "scheme",
    "secret_env",
    "events",
    "types",
    "overlap",
    "misfire",
    "max_age",
    "end_time",
];

proptest! {
    #[test]
    fn no_declaration_makes_the_parser_panic(
        kind in prop_oneof![Just("timer"), Just("session_event"), Just("file_change"), Just("webhook"), Just("issue_event"), Just("x")],
        config in proptest::collection::vec((0..KEYS.len(), value()), 0..6),
        beside in proptest::collection::vec((0..KEYS.len(), value()), 0..4),
    ) {
        let map = |pairs: Vec<(usize, Value)>| pairs.into_iter().map(|(key, value)| (KEYS[key].to_owned(), value));
        let mut entry: serde_json::Map<String, Value> = map(beside).collect();
        entry.insert("type".into(), kind.into());
        entry.insert("config".into(), Value::Object(map(config).collect()));
        match parse_triggers(&[Value::Object(entry)], &TriggerRegistry::new()) {
            Ok(triggers) => drop(triggers[0].key()),
            Err(error) => prop_assert!(!error.faults.is_empty()),
        }
    }
}
