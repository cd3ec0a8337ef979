//! A spec is plain data: kept, sent elsewhere and run later, of exactly the bundle that was meant.

use std::time::Duration;

use amplifier_core::permission::{Layer, Mode};
use amplifier_core::{Permissions, SessionId};
use amplifier_foundation::bundle::ProviderPreference;
use amplifier_foundation::spawn::{
    ContextDepth, ContextRequest, ContextScope, Inherit, Selection, SpawnSpec, SpawnTarget,
};
use amplifier_foundation::{SpawnError, SpawnRequest};
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{Scene, crew, end, limits};

/// A request in which everything is said.
fn whole(parent: &SessionId) -> SpawnRequest {
    let layer = Layer::of_mode("the request", Mode::Plan, vec!["/x".into()]);
    let preference: ProviderPreference =
        serde_json::from_value(json!({"provider": "brain", "model": "brain-*"})).unwrap();
    SpawnRequest::agent(parent.clone(), "worker", "x")
        .inherit(Inherit::default().tools(Selection::All).exclude_tools(["tool-x"]).agents(Selection::None))
        .context(ContextRequest::fork(ContextDepth::Recent(3), ContextScope::Agents))
        .provider_preferences([preference])
        .input("piped")
        .session_id(SessionId::new("child").unwrap())
        .key("run/1")
        .name("a name")
        .timeout(Duration::from_secs(60))
        .permissions(Permissions::unrestricted().with(layer))
        .limits(limits(|limits| (limits.max_turns, limits.idle_ms) = (Some(5), Some(1_000))))
        .max_output_tokens(100)
        .metadata(json!({"ticket": 7}).as_object().cloned().unwrap())
}

#[tokio::test]
async fn a_spec_that_was_kept_as_text_starts_the_same_session() {
    let scene = Scene::new();
    let root = scene.root().await;
    let request = whole(root.id());
    let text = serde_json::to_string(request.spec()).unwrap();
    let read: SpawnSpec = serde_json::from_str(&text).unwrap();
    assert_eq!(&read, request.spec());
    let child = scene.spawn(read).await;
    assert!(end(&child).await.1.is_completed());
    assert_eq!((child.id().as_str(), child.session().parent_id()), ("child", Some(root.id())));
    let bounds = child.session().limits();
    assert_eq!((bounds.max_turns, bounds.timeout_ms, bounds.idle_ms), (Some(5), Some(60_000), Some(1_000)));
    assert_eq!(child.session().permissions().layers()[0].origin, "the request");
    let asked = scene.stage.brain.requests().pop().unwrap();
    assert_eq!((asked.model.as_deref(), asked.max_output_tokens), (Some("brain-1"), Some(100)));
    assert_eq!(scene.stage.brain.last_request().last().unwrap().1, "x\n\npiped");
    let metadata = scene.host.storage().load(child.id()).await.unwrap().metadata;
    assert_eq!((metadata.name.as_deref(), &metadata.extra["ticket"]), (Some("a name"), &json!(7)));
    assert_eq!(scene.spawn(whole(root.id())).await.id(), child.id(), "its key is taken");
    root.session().end().await;
    scene.over([root, child]).await;
}

#[test]
fn a_spec_says_no_more_than_was_asked() {
    let spec = SpawnSpec::new(SpawnTarget::Agent("worker".into()), "x");
    assert_eq!(
        serde_json::to_value(&spec).unwrap(),
        json!({"target": {"agent": "worker"}, "text": "x", "limits": {}})
    );
    let read: SpawnSpec =
        serde_json::from_value(json!({"target": {"bundle": {"source": "crew"}}, "text": "x"})).unwrap();
    assert_eq!(&read, SpawnRequest::new("crew", "x").spec());
}

/// On disk, as bundles are.
#[tokio::test]
async fn a_bundle_that_was_pinned_and_has_changed_starts_nothing() {
    let stage = Stage::new();
    let text = stage.plain();
    stage.project.bundle("pinned", text.clone().to_string().replacen("plain", "pinned", 1));
    let scene = Scene::on_disk(stage, crew(), |builder| builder).await;
    let spec = SpawnRequest::new("pinned", "x").pinned(&scene.host).await.unwrap();
    let SpawnTarget::Bundle(pin) = &spec.target else { panic!("{spec:?}") };
    let hash = pin.content_hash.clone().unwrap();
    let first = scene.spawn(spec.clone()).await;
    assert!(end(&first).await.1.is_completed());
    let changed = text.instruction("You are changed, and longer than before.").to_string();
    scene.stage.project.bundle("pinned", changed.replacen("plain", "pinned", 1));
    let error = scene.refused(spec.clone()).await;
    let SpawnError::BundleChanged { wanted, found, .. } = &error else { panic!("{error}") };
    assert!(*wanted == hash && *found != hash && error.is_configuration(), "{error}");
    let anew = SpawnRequest::new("pinned", "x").pinned(&scene.host).await.unwrap();
    let second = scene.spawn(anew).await;
    assert!(end(&second).await.1.is_completed());
    // A session of it goes on with what it is now: only a spec is pinned.
    let again = scene.spawn(SpawnRequest::resume(first.id().clone(), "more")).await;
    assert!(end(&again).await.1.is_completed());
    scene.over([first, second, again]).await;
}

#[tokio::test]
async fn a_prepared_bundle_is_pinned_by_its_content() {
    let scene = Scene::new();
    let prepared = scene.host.prepare("crew").await.unwrap();
    let request = SpawnRequest::new(prepared.clone(), "x");
    let spec = request.pinned(&scene.host).await.unwrap();
    let SpawnTarget::Bundle(pin) = &spec.target else { panic!("{spec:?}") };
    assert_eq!(pin.content_hash.as_deref(), Some(prepared.content_hash.as_str()));
    let root = scene.spawn(spec).await;
    assert!(end(&root).await.1.is_completed());
    drop(prepared);
    scene.over([root]).await;
}
