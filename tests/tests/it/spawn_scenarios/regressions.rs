//! Faults that were found and mended, ours and the reference system's, each under the name of what went wrong.

use std::sync::Arc;

use amplifier_core::OutcomeKind;
use amplifier_core::approval::{Display, Origin, Shown};
use amplifier_foundation::SpawnRequest;
use amplifier_tests::stage::Stage;

use super::{Scene, crew, end};

/// A parent's node held its children's, and these held it: no tree was ever freed.
#[tokio::test]
async fn a_tree_that_has_ended_is_freed() {
    let scene = Scene::new();
    let storage = std::sync::Arc::downgrade(scene.host.storage());
    let root = scene.root().await;
    let child = scene.spawn(SpawnRequest::agent(root.session(), "explorer", "look")).await;
    root.session().end().await;
    scene.over([root, child]).await;
    assert_eq!(storage.strong_count(), 0);
}

/// It took the outcome with it: nobody who waited was ever told.
#[tokio::test]
async fn a_display_that_panics() {
    #[derive(Debug)]
    struct Broken;
    impl Display for Broken {
        fn show(&self, _origin: &Origin, shown: Shown<'_>) {
            panic!("the display broke at {shown:?}");
        }
    }
    let scene = Scene::with(Stage::new(), crew(), |builder| builder.display(Arc::new(Broken)));
    let root = scene.root().await;
    let child = scene.spawn(SpawnRequest::agent(root.session(), "explorer", "look")).await;
    assert_eq!(end(&child).await.0, OutcomeKind::Completed);
    assert_eq!(root.session().end().await.kind, OutcomeKind::Completed);
    scene.over([root, child]).await;
}
