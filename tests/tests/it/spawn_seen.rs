//! Children in the background: whether anybody has learned how they ended, and what the tree comes to.

use std::time::Duration;

use amplifier_core::module::provider::ProviderErrorKind;
use amplifier_core::{CancelLevel, OutcomeKind};
use amplifier_foundation::{Host, SpawnRequest, SpawnResult, spawn_bundle};
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;

/// A session that stays open, and a child of it in the background.
async fn family(host: &Host) -> (SpawnResult, SpawnResult) {
    let parent = SpawnRequest::new("plain", "hello").keep_open();
    let parent = soon("the parent", spawn_bundle(host, parent)).await.unwrap();
    let child = SpawnRequest::new("plain", "a task").parent(parent.session()).background(true);
    let child = soon("the child", spawn_bundle(host, child)).await.unwrap();
    (parent, child)
}

fn is_abandoned(parent: &SpawnResult) -> bool {
    let [child] = parent.descendants().try_into().unwrap();
    child.is_abandoned()
}

#[tokio::test]
async fn a_failure_counts_as_seen_once_somebody_was_given_it() {
    let stage = Stage::new();
    stage.brain.say("hello").then(Step::Fail(ProviderErrorKind::Auth));
    let host = stage.host_in_memory();
    let (parent, child) = family(&host).await;
    // Whoever looks without waiting is no session that learns of it.
    let outcome = soon("its end", child.session().outcome()).await;
    assert_eq!(outcome.kind, OutcomeKind::Failed);
    soon("the table", async {
        while host.sessions().get(child.id()).is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(is_abandoned(&parent));
    let waited = soon("the wait", host.sessions().wait(child.id(), Duration::ZERO)).await.unwrap();
    assert!(waited.is_some());
    assert!(!is_abandoned(&parent), "also one that had ended before it was asked for");
}

#[tokio::test]
async fn a_wait_that_was_given_up_has_seen_nothing() {
    let stage = Stage::new();
    let gate = Gate::new();
    stage.brain.say("hello").then(Step::Wait("slow".into(), gate.clone()));
    let host = stage.host_in_memory();
    let (parent, child) = family(&host).await;
    soon("the model call", gate.reached(1)).await;
    assert!(is_abandoned(&parent), "it still runs");
    let waited = soon("the wait", host.sessions().wait(child.id(), Duration::ZERO)).await.unwrap();
    assert!(waited.is_none());
    assert!(child.task().wait(Duration::ZERO).await.is_none());
    child.task().cancel(CancelLevel::Immediate);
    soon("its end", child.session().outcome()).await;
    assert!(is_abandoned(&parent));
    soon("the outcome", child.outcome()).await;
    assert!(!is_abandoned(&parent));
}

#[tokio::test]
async fn a_tree_adds_up_what_its_sessions_have_used() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let (parent, child) = family(&host).await;
    soon("its end", child.outcome()).await;
    let own = soon("the end", parent.session().end()).await;
    let tree = parent.tree(&own);
    // Each answer of the kit's provider has 10 + 5 tokens and costs 1000.
    assert_eq!((own.usage.total(), tree.usage.total()), (15, 30));
    assert_eq!((own.cost_micro_usd, tree.cost_micro_usd), (Some(1_000), Some(2_000)));
    assert_eq!(tree.children.len(), 1);
    assert_eq!((&tree.children[0].id, tree.children[0].bundle.as_str()), (child.id(), "plain"));
    assert!(tree.abandoned().next().is_none() && !tree.denied_unasked);
}
