//! Faults that were found and mended, ours and the reference system's, each under the name of what went wrong.

use amplifier_foundation::SpawnRequest;

use super::Scene;

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
