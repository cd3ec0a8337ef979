//! Tests of the parent module.

use std::cmp::Ordering;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn models(names: &str) -> Vec<String> {
    names.split_whitespace().map(str::to_owned).collect()
}

fn with_settings(value: Value) -> ProviderPreference {
    let mut preference = preference("a", "");
    preference.config = value.as_object().cloned().unwrap().into();
    preference
}

fn preference(provider: &str, model: &str) -> ProviderPreference {
    ProviderPreference::new(provider, (!model.is_empty()).then(|| model.to_owned()))
}

#[test]
fn the_newest_match_is_the_highest_by_version() {
    for (pattern, listed, expect) in [
        ("gpt-5.*", "gpt-5.10 gpt-5.9 gpt-5.2", "gpt-5.10"),
        ("GPT-5*", "gpt-5.9 Gpt-5.10-mini gpt-5", "Gpt-5.10-mini"),
        ("gpt-5*", "gpt-5-mini gpt-5 gpt-5-pro", "gpt-5"),
        ("gpt-5*", "gpt-5-mini-2025-08-07 gpt-5-2025-08-07 gpt-5", "gpt-5-2025-08-07"),
        ("gpt-4*", "gpt-4-0613 gpt-4-32k gpt-4.1 gpt-4o gpt-4-1106-preview", "gpt-4.1"),
        (
            "claude-sonnet-*",
            "claude-sonnet-4-20250514 claude-sonnet-4-5-20250929 claude-sonnet-4-5",
            "claude-sonnet-4-5-20250929",
        ),
        (
            "claude-*sonnet*",
            "claude-3-7-sonnet-20250219 claude-sonnet-4-20250514",
            "claude-sonnet-4-20250514",
        ),
        ("claude-haiku-*", "claude-haiku-20250514 claude-haiku-20241022", "claude-haiku-20250514"),
        (
            "gemini-2.5-pro*",
            "gemini-2.5-pro-preview-06-05 gemini-2.5-pro gemini-2.5-pro-exp-03-25",
            "gemini-2.5-pro",
        ),
        ("gemini-*-flash*", "gemini-2.0-flash-001 gemini-2.5-flash gemini-1.5-flash-8b", "gemini-2.5-flash"),
        ("phi-*", "phi-3-mini-128k phi-3.5-mini", "phi-3.5-mini"),
        ("qwen3:*", "qwen3:8b qwen3:32b qwen3:14b", "qwen3:32b"),
        ("mistral-large-*", "mistral-large-2407 mistral-large-2411", "mistral-large-2411"),
        ("*sonnet*", "anthropic/claude-sonnet-4 anthropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4.5"),
        ("anthropic/*", "anthropic/claude-sonnet-4 openai/gpt-5", "anthropic/claude-sonnet-4"),
        ("gpt-?", "gpt-4 gpt-5 gpt-5.1", "gpt-5"),
        ("gpt-[45]", "gpt-4 gpt-5 gpt-6", "gpt-5"),
        ("gpt-{4,5}*", "gpt-4.1 gpt-5.1 gpt-6", "gpt-5.1"),
        ("sonnet[1m]", "sonnetm sonnet[1m]", "sonnet[1m]"),
        ("gpt-5.1-codex", "gpt-5.1", "gpt-5.1-codex"),
        ("gpt-5.1", "", "gpt-5.1"),
        ("o1-*", "o3-mini", ""),
        ("*", "", ""),
        ("gpt-[", "gpt-5", ""),
    ] {
        let listed = models(listed);
        assert_eq!(newest_match(pattern, &listed).unwrap_or_default(), expect, "{pattern} of {listed:?}");
        let backwards: Vec<String> = listed.iter().rev().cloned().collect();
        assert_eq!(newest_match(pattern, &backwards).unwrap_or_default(), expect, "{pattern}, backwards");
    }
}

/// Each name is newer than the one in front of it.
#[test]
fn names_stand_in_one_order() {
    for rising in [
        "gpt-4 gpt-4-0314 gpt-4-0613 gpt-4.1 gpt-5-pro gpt-5 gpt-5-2025-08-07 gpt-5.9 gpt-5.10 gpt-10",
        "claude-sonnet claude-sonnet-20250514 claude-sonnet-4 claude-sonnet-4-20250514 claude-sonnet-4-20250601 claude-sonnet-4-5",
        "v1.9.9 v1.10 v1.10.0 v2 v99 v999",
        "a1.99999999999999999999999999999998 a1.99999999999999999999999999999999 a1-7 A1.8 a1_9",
        "M1 m1",
        "m01 m1",
    ] {
        let names = models(rising);
        for (at, name) in names.iter().enumerate() {
            for (other, second) in names.iter().enumerate() {
                assert_eq!(natural_cmp(name, second), at.cmp(&other), "{name} and {second}");
            }
        }
    }
}

fn candidates(plan: &Value) -> Vec<ModuleSpec> {
    serde_json::from_value(plan.clone()).unwrap()
}

#[test]
fn a_provider_is_named_by_module_short_name_or_instance() {
    let specs = candidates(&json!([{"module": "provider-anthropic", "id": "opus"}]));
    for (name, expect) in [
        ("anthropic", true),
        ("provider-anthropic", true),
        ("Provider-ANTHROPIC", true),
        ("opus", true),
        ("OPUS", true),
        ("provider-opus", false),
        ("anthropic-2", false),
        ("provider-", false),
        ("", false),
        ("ä", false),
    ] {
        assert_eq!(Candidate::from(&specs[0]).is_named(name), expect, "{name}");
    }
    let info = ProviderInfo::new("opus", "provider-anthropic", "");
    assert!(Candidate::from(&info).is_named("opus") && Candidate::from(&info).is_named("anthropic"));
}

#[test]
fn of_several_instances_the_one_with_that_id_or_model_or_in_front_is_meant() {
    let specs = candidates(&json!([
        {"module": "provider-openai"},
        {"module": "provider-anthropic", "id": "opus", "config": {"priority": 1, "default_model": "claude-opus-4"}},
        {"module": "provider-anthropic", "id": "sonnet", "config": {"priority": 5, "default_model": "claude-sonnet-4-5"}},
        {"module": "provider-anthropic", "id": "other"},
        {"module": "provider-gemini", "id": "anthropic"},
    ]));
    for (provider, model, expect) in [
        ("openai", "", Some(0)),
        ("provider-anthropic", "", Some(1)),
        ("provider-anthropic", "claude-sonnet-*", Some(2)),
        ("provider-anthropic", "Claude-Sonnet-4-5", Some(2)),
        ("provider-anthropic", "claude-haiku-*", Some(1)),
        ("other", "claude-sonnet-*", Some(3)),
        ("anthropic", "claude-sonnet-*", Some(4)),
        ("ollama", "", None),
    ] {
        let found = position(&preference(provider, model), specs.iter().map(Candidate::from));
        assert_eq!(found, expect, "{provider} {model}");
    }
}

#[test]
fn globs_that_match_nothing_are_skipped() {
    let preferences = [
        preference("a", "x-*"),
        preference("gone", "m-1"),
        preference("b", "M-*"),
        preference("a", "x"),
        preference("b", ""),
    ];
    let (a, b) = (models("y-1 y-2"), models("m-9 m-10"));
    let listed = |preference: &ProviderPreference| match preference.provider.as_str() {
        "a" => Some(a.as_slice()),
        "b" => Some(b.as_slice()),
        _ => None,
    };
    let found = usable(&preferences, listed).unwrap();
    let found: Vec<_> = found.iter().map(|one| (one.preference.provider.as_str(), one.model)).collect();
    assert_eq!(found, [("b", Some("m-10")), ("a", Some("x")), ("b", None)]);
    assert_eq!(usable(&preferences[1..2], listed), Ok(Vec::new()));
    assert_eq!(usable(&[], listed), Ok(Vec::new()));
}

#[test]
fn if_no_glob_matches_the_error_names_them_and_the_nearest_models() {
    let preferences = [preference("a", "claude-sonet-*"), preference("b", "m-*")];
    let a =
        models("gpt-5 claude-opus-4 claude-sonnet-4 claude-sonnet-4-5 claude-haiku-4 claude-haiku-3 other");
    let listed = |preference: &ProviderPreference| match preference.provider.as_str() {
        "a" => Some(a.as_slice()),
        _ => Some([].as_slice()),
    };
    let error = usable(&preferences, listed).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no model matches `claude-sonet-*` of a, whose nearest models are claude-sonnet-4-5, claude-sonnet-4, \
         claude-opus-4, claude-haiku-4, claude-haiku-3; `m-*` of b, which lists no models; name a model or \
         another pattern"
    );
    let PreferenceError::NoModel { globs } = error;
    assert_eq!((globs[0].provider.as_str(), globs[0].glob.as_str()), ("a", "claude-sonet-*"));
}

#[test]
fn the_caller_goes_before_the_agent() {
    let (caller, agent) = ([preference("a", "")], [preference("b", "")]);
    assert_eq!(order(&caller, &agent), caller);
    assert_eq!(order(&[], &agent), agent);
    assert!(order(&[], &[]).is_empty());
}

#[test]
fn a_preference_changes_no_credential_and_no_address() {
    let mut provider = candidates(&json!([{"module": "provider-a", "config": {
        "api_key": "own", "base_url": "https://own", "temperature": 1, "http": {"timeout": 1, "proxy": "own"},
    }}]))
    .remove(0);
    let preference = with_settings(json!({
        "api_key": "theirs", "Base-URL": "https://theirs", "x-goog-api-key": "k", "temperature": 0.3,
        "max_tokens": 7, "reasoning_effort": "high", "http": {"timeout": 9, "proxy": "theirs"},
        "new": [{"verify_ssl": false, "kept": true}], "headers": {"authorization": "Bearer x"},
    }));
    let left_out = merge(&mut provider, &preference);
    assert_eq!(
        left_out,
        ["api_key", "Base-URL", "x-goog-api-key", "http.proxy", "new.verify_ssl", "headers"]
    );
    assert_eq!(
        Value::Object(provider.config),
        json!({
            "api_key": "own", "base_url": "https://own", "temperature": 0.3,
            "http": {"timeout": 9, "proxy": "own"}, "max_tokens": 7, "reasoning_effort": "high",
            "new": [{"kept": true}],
        })
    );
}

#[test]
fn each_protected_key_is_left_out_in_any_spelling() {
    for key in PROTECTED_CONFIG_KEYS {
        for spelling in [key.to_owned(), key.to_uppercase(), key.replace('_', "-")] {
            let mut provider = ModuleSpec::new("provider-a");
            let left_out = merge(&mut provider, &with_settings(json!({ spelling.as_str(): "x" })));
            assert_eq!((left_out, provider.config.len()), (vec![spelling], 0));
        }
    }
    for key in [
        "temperature",
        "max_tokens",
        "default_model",
        "priority",
        "reasoning",
        "timeout",
        "api",
        "enable_prompt_caching",
    ] {
        let left_out = merge(&mut ModuleSpec::new("provider-a"), &with_settings(json!({ key: 1 })));
        assert!(left_out.is_empty(), "{key}");
    }
}

/// Names as services give them, and others that try the edges.
fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        "[aA]?[-._]?[0-9]{0,5}[-._:/]{0,2}[0-9]{0,4}[bB]?[-.]?[0-9]{0,3}",
        "[a-b01.\\-]{0,6}",
        ".{0,6}"
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_names_is_total(a in names(), b in names(), c in names()) {
        prop_assert_eq!(natural_cmp(&a, &b), natural_cmp(&b, &a).reverse());
        prop_assert_eq!(natural_cmp(&a, &b) == Ordering::Equal, a == b);
        let mut sorted = [&a, &b, &c];
        sorted.sort_by(|a, b| natural_cmp(a, b));
        prop_assert!(natural_cmp(sorted[0], sorted[2]).is_le(), "{sorted:?}");
        prop_assert!(natural_cmp(sorted[0], sorted[1]).is_le() && natural_cmp(sorted[1], sorted[2]).is_le());
    }

    #[test]
    fn a_match_is_a_listed_model_and_none_that_matches_is_newer(listed in prop::collection::vec("m-[0-9]{1,3}(\\.[0-9]{1,2})?", 0..8)) {
        match newest_match("M-*", &listed) {
            Some(found) => prop_assert!(listed.iter().all(|one| natural_cmp(one, found).is_le())),
            None => prop_assert!(listed.is_empty()),
        }
    }
}
