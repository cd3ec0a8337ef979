//! `spawn_bundle`: outcomes.

use amplifier_foundation::spawn_bundle;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;

#[tokio::test]
async fn a_foreground_spawn_returns_with_the_answer() {
    let stage = Stage::new();
    stage.brain.say("42");
    let host = stage.host_in_memory();
    let result = soon("the spawn", spawn_bundle(&host, ("plain", "what is it?"))).await.unwrap();
    assert!(result.task().is_finished());
    assert_eq!(result.output().await.unwrap(), "42");
}
