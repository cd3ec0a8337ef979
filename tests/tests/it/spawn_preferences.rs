//! Providers and models that a caller or an agent would rather have, from preference to answer.

use std::sync::Arc;

use amplifier_foundation::bundle::ProviderPreference;
use amplifier_foundation::spawn::SpawnError;
use amplifier_foundation::{Host, SpawnRequest, spawn_bundle};
use amplifier_tests::watch::RecordingDisplay;

/// Three instances of the scripted provider; `b` fails for good.
const BUNDLE: &str = "---
bundle: {name: three}
session: {orchestrator: {module: loop-basic}, context: {module: context-simple}}
providers:
  - {module: provider-scripted, id: a, config: {script: [{text: from a}], default_model: m-5.9}}
  - {module: provider-scripted, id: b, config: {script: [{error: {kind: auth, message: no key}}], priority: 200}}
  - {module: provider-scripted, id: c, config: {script: [{text: from c}], priority: 300}}
agents:
  choosy: {description: d, instruction: i, provider_preferences: [{provider: c}]}
---
";

fn host() -> Host {
    Host::builder().modules(amplifier_modules::builtin()).bundle("three", BUNDLE).in_memory()
}

fn preference(provider: &str, model: Option<&str>) -> ProviderPreference {
    ProviderPreference::new(provider, model.map(str::to_owned))
}

async fn answer(request: SpawnRequest) -> Result<String, SpawnError> {
    Ok(spawn_bundle(&host(), request).await?.output().await.unwrap_or_else(|failed| failed.to_string()))
}

#[tokio::test]
async fn the_first_preference_that_is_here_answers_and_the_next_one_when_it_fails() {
    let check = async |preferences: &[ProviderPreference], expect: &str| {
        let request = SpawnRequest::new("three", "hi").provider_preferences(preferences.to_vec());
        assert_eq!(answer(request).await.unwrap(), expect, "{preferences:?}");
    };
    check(&[], "from a").await;
    check(&[preference("c", None)], "from c").await;
    check(&[preference("nobody", None), preference("C", None)], "from c").await;
    check(&[preference("nobody", None)], "from a").await;
    check(&[preference("b", None), preference("c", None), preference("a", None)], "from c").await;
}

#[tokio::test]
async fn a_glob_without_a_match_is_refused_and_names_what_is_near() {
    let request = SpawnRequest::new("three", "hi").provider_preferences([preference("a", Some("x-*"))]);
    let error = answer(request).await.unwrap_err();
    assert!(matches!(&error, SpawnError::Preference(_)), "{error:?}");
    assert!(error.to_string().contains("x-*"), "{error}");
}

/// As with `run -m`: it was sent as it is.
#[tokio::test]
async fn a_glob_that_is_asked_for_as_the_model_means_the_newest_match_too() {
    let ask = |model: &str| SpawnRequest::new("three", "hi").provider("a").model(model);
    let answered = spawn_bundle(&host(), ask("M-5.*")).await.unwrap();
    assert_eq!(answered.output().await.unwrap(), "from a");
    assert_eq!(answered.session().model().as_deref(), Some("a/m-5.9"));
    let error = answer(ask("x-*")).await.unwrap_err();
    assert!(matches!(&error, SpawnError::Preference(_)), "{error:?}");
    assert!(error.to_string().contains("m-5.9"), "{error}");
    assert_eq!(answer(ask("anything")).await.unwrap(), "from a", "a plain name means itself");
}

#[tokio::test]
async fn an_agents_own_preference_counts_and_the_callers_counts_more() {
    let host = host();
    let parent = spawn_bundle(&host, SpawnRequest::new("three", "hi").keep_open()).await.unwrap();
    let child = |request: SpawnRequest| {
        let host = host.clone();
        async move { spawn_bundle(&host, request).await.unwrap().output().await.unwrap() }
    };
    let choosy = || SpawnRequest::agent(parent.session(), "choosy", "hi");
    assert_eq!(child(choosy()).await, "from c");
    assert_eq!(child(choosy().provider_preferences([preference("a", None)])).await, "from a");
    assert_eq!(child(SpawnRequest::agent(parent.session(), "self", "hi")).await, "from a");
}

#[tokio::test]
async fn an_agents_own_preference_stands_before_what_its_parent_was_asked() {
    let host = host();
    let request = SpawnRequest::new("three", "hi").provider("a").keep_open();
    let parent = spawn_bundle(&host, request).await.unwrap();
    let check = async |agent: &str, expect: &str| {
        let child = spawn_bundle(&host, SpawnRequest::agent(parent.session(), agent, "hi")).await.unwrap();
        assert_eq!(child.output().await.unwrap(), expect, "{agent}");
    };
    check("choosy", "from c").await;
    check("self", "from a").await;
}

#[tokio::test]
async fn a_preference_changes_settings_but_no_credential_and_no_address() {
    let bundle = host().prepare("three").await.unwrap();
    let preference: ProviderPreference = serde_json::from_value(serde_json::json!({
        "provider": "a",
        "config": {"script": [{"text": "changed"}], "base_url": "https://evil.example", "api_key": "k"},
    }))
    .unwrap();
    let watched = RecordingDisplay::new();
    let host =
        Host::builder().modules(amplifier_modules::builtin()).display(Arc::new(watched.clone())).in_memory();
    let request = SpawnRequest::new(bundle, "hi").provider_preferences([preference]);
    assert_eq!(spawn_bundle(&host, request).await.unwrap().output().await.unwrap(), "changed");
    let notices = watched.notices().join("\n");
    assert!(notices.contains("base_url of a") && notices.contains("api_key of a"), "{notices}");
}
