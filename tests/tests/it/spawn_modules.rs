//! `spawn_bundle`: modules that are missing, fail to mount, or are chosen.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::SessionId;
use amplifier_core::module::Module;
use amplifier_foundation::{SpawnError, SpawnRequest, spawn_bundle};
use amplifier_tests::bundle::BundleText;
use amplifier_tests::fake::{Act, FakeTool, PROVIDER};
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::json;

use crate::spawn::{settled, spawn, terminals};

/// What `spawn_bundle` says of a bundle, and that nothing is left of the attempt.
async fn refused(stage: &Stage, bundle: BundleText, strict: bool) -> SpawnError {
    let host = stage.builder().strict(strict).bundle("odd", bundle).open(stage.project.path()).await.unwrap();
    let error = soon("the spawn", spawn_bundle(&host, ("odd", "go"))).await.unwrap_err();
    assert!(stage.project.sessions().is_empty(), "{error}: {:?}", stage.project.sessions());
    assert!(host.sessions().is_empty() && terminals(&host).await.is_empty());
    error
}

#[tokio::test]
async fn a_missing_module_that_every_session_needs_is_fatal() {
    for (bundle, kind, module) in [
        (BundleText::new("odd").orchestrator("loop-unheard"), "orchestrator", "loop-unheard"),
        (BundleText::new("odd").context("context-unheard"), "context", "context-unheard"),
        (BundleText::bare("odd").provider("provider-unheard", json!({})), "provider", "provider-unheard"),
    ] {
        let error = refused(&Stage::new(), bundle, false).await;
        assert!(error.is_configuration());
        let SpawnError::UnknownModule { kind: said, module: named, help } = &error else { panic!("{error}") };
        assert_eq!((*said, named.as_str()), (kind, module));
        assert!(help.contains("there are:"), "{help}");
    }
}

#[tokio::test]
async fn missing_tools_hooks_and_further_providers_are_left_out_with_one_notice() {
    let stage = Stage::with_tools([FakeTool::new("tool-probe", Act::Say("ok"))]);
    let bundle = stage
        .plain()
        .provider("provider-unheard", json!({}))
        .tool("tool-unheard")
        .hook("hooks-unheard")
        .hook("tool-unheard")
        .tool("tool-of-others");
    let host = stage.builder().bundle("odd", bundle).in_memory();
    let result = spawn(&host, ("odd", "go")).await;
    assert!(settled(&host, &result).await.is_completed());
    let notices = stage.display.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    for module in ["hooks-unheard", "provider-unheard", "tool-of-others", "tool-unheard", "MCP"] {
        assert!(notices[0].contains(module), "{module}: {notices:?}");
    }
    assert_eq!(notices[0].matches("tool-unheard").count(), 1, "{notices:?}");
    let tools: Vec<_> = result.session().tools().iter().map(|tool| tool.schema().name.clone()).collect();
    assert_eq!(tools, ["probe"]);
}

#[tokio::test]
async fn a_strict_host_leaves_nothing_out() {
    for bundle in [
        BundleText::new("odd").tool("tool-unheard"),
        BundleText::new("odd").hook("hooks-unheard"),
        BundleText::new("odd").provider("provider-unheard", json!({})),
    ] {
        let error = refused(&Stage::new(), bundle, true).await;
        assert!(error.to_string().contains("unheard"), "{error}");
    }
}

#[tokio::test]
async fn a_module_that_cannot_be_mounted_is_no_session_and_leaves_no_trace() {
    for (act, says) in [(Act::NoMount, "told to fail"), (Act::PanicAtMount, "told to panic")] {
        let first = FakeTool::new("tool-first", Act::Say("ok"));
        let broken = FakeTool::new("tool-broken", act);
        let stage = Stage::with_tools([first.clone(), broken.clone()]);
        let bundle = stage.plain();
        let error = refused(&stage, bundle, false).await;
        assert!(matches!(error, SpawnError::Mount(_)) && error.to_string().contains(says), "{error}");
        assert_eq!((first.cleaned(), broken.cleaned()), (1, 1), "what was mounted is cleaned up");
    }
}

#[tokio::test]
async fn without_a_provider_there_is_no_session() {
    let error = refused(&Stage::new(), BundleText::bare("odd"), false).await;
    assert!(matches!(error, SpawnError::NoProvider), "{error}");
    assert!(error.to_string().contains("ANTHROPIC_API_KEY") && error.is_configuration());
}

#[tokio::test]
async fn a_bundle_that_is_nowhere_is_no_session() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let error = soon("the spawn", spawn_bundle(&host, ("nowhere", "go"))).await.unwrap_err();
    assert!(matches!(error, SpawnError::Bundle(_)) && error.to_string().contains("nowhere"), "{error}");
    let error =
        soon("the spawn", spawn_bundle(&host, SpawnRequest::new("plain", "go").cwd("/no/where"))).await;
    assert!(error.unwrap_err().to_string().contains("/no/where"));
    assert!(stage.project.sessions().is_empty());
}

#[tokio::test]
async fn a_provider_that_was_asked_for_and_is_not_there_is_named_with_those_that_are() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let request = SpawnRequest::new("plain", "go").provider("telepathy");
    let error = soon("the spawn", spawn_bundle(&host, request)).await.unwrap_err();
    let SpawnError::UnknownProvider { wanted, known } = &error else { panic!("{error}") };
    assert_eq!((wanted.as_str(), known.as_str()), ("telepathy", "brain"));
    assert!(stage.project.sessions().is_empty());
    for name in ["brain", PROVIDER] {
        let result = spawn(&host, SpawnRequest::new("plain", "go").provider(name)).await;
        assert!(settled(&host, &result).await.is_completed(), "{name}");
    }
}

#[tokio::test]
async fn settings_reach_a_module_in_their_order() {
    let stage = Stage::new();
    let mut default = amplifier_core::ModuleSpec::new(PROVIDER);
    default.config = json!({"a": "host", "b": "host", "c": "host"}).as_object().cloned().unwrap();
    let bundle = BundleText::bare("own").provider(PROVIDER, json!({"b": "bundle", "c": "bundle"}));
    let over = json!({"c": "override"}).as_object().cloned().unwrap();
    let host = stage
        .builder()
        .bundle("own", bundle)
        .providers([default])
        .override_module(PROVIDER, over)
        .in_memory();
    spawn(&host, ("own", "go")).await;
    assert_eq!(stage.brain.configs(), [json!({"a": "host", "b": "bundle", "c": "override"})]);
}

#[tokio::test]
async fn the_hosts_providers_serve_a_bundle_that_names_none() {
    let stage = Stage::new();
    let host = stage
        .builder()
        .bundle("none", BundleText::bare("none"))
        .providers([amplifier_core::ModuleSpec::new(PROVIDER)])
        .in_memory();
    assert!(settled(&host, &spawn(&host, ("none", "go")).await).await.is_completed());
}

#[tokio::test]
async fn tools_and_hooks_of_the_host_are_in_every_session() {
    let (stage, mine) = (Stage::new(), FakeTool::new("tool-mine", Act::Say("mine")));
    stage.brain.call("mine");
    let host = stage.builder().tool(mine.clone()).in_memory();
    settled(&host, &spawn(&host, ("plain", "go")).await).await;
    assert_eq!(mine.calls().len(), 1);
}

#[tokio::test]
async fn a_later_module_of_the_same_id_replaces_an_earlier_one() {
    let stage = Stage::with_tools([FakeTool::new("tool-probe", Act::Say("old"))]);
    stage.brain.call("probe");
    let newer: Arc<dyn Module> = Arc::new(FakeTool::new("tool-probe", Act::Say("new")));
    let host = stage.builder().modules([newer]).in_memory();
    settled(&host, &spawn(&host, ("plain", "go")).await).await;
    assert_eq!(stage.brain.last_request()[2].1, "new");
}

#[tokio::test]
async fn a_session_id_is_taken_once() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let id = SessionId::new("mine").unwrap();
    let result = spawn(&host, SpawnRequest::new("plain", "go").session_id(id.clone())).await;
    assert_eq!(result.id(), &id);
    let before = std::fs::read(stage.project.session().join("transcript.jsonl")).unwrap();
    let again = spawn_bundle(&host, SpawnRequest::new("plain", "again").session_id(id)).await.unwrap_err();
    assert!(again.to_string().contains("exists already") && !again.is_configuration(), "{again}");
    assert_eq!(std::fs::read(stage.project.session().join("transcript.jsonl")).unwrap(), before);
}

#[tokio::test]
async fn metadata_of_a_request_cannot_pass_for_the_sessions_own() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let forged =
        json!({"session_id": "other", "bundle": "other", "amplifier": {"activation": 9}, "ticket": 7});
    let request = SpawnRequest::new("plain", "go").metadata(forged.as_object().cloned().unwrap());
    let result = spawn(&host, request).await;
    settled(&host, &result).await;
    let metadata = amplifier_tests::project::metadata(&stage.project.session());
    assert_eq!(metadata["session_id"], json!(result.id()));
    assert_eq!((&metadata["bundle"], &metadata["ticket"]), (&json!("plain"), &json!(7)));
    assert_eq!(metadata["amplifier"]["activation"], 1);
}

#[tokio::test]
async fn a_clean_up_that_hangs_holds_back_no_refusal() {
    let stuck = FakeTool::new("tool-stuck", Act::StuckCleanUp);
    let stage = Stage::with_tools([stuck.clone(), FakeTool::new("tool-broken", Act::NoMount)]);
    let bundle = stage.plain();
    let clock = stage.clock.clone();
    let refusing = refused(&stage, bundle, false);
    let (error, ()) = tokio::join!(refusing, clock.pass(Duration::from_secs(5)));
    assert!(matches!(error, SpawnError::Mount(_)), "{error}");
    assert_eq!(stuck.cleaned(), 1, "it was begun");
}
