//! Delegating where there is nobody to delegate to; with a host it is tested end to end.

use amplifier_core::module::{Module, ModuleSpec, Mount, Parts};
use amplifier_modules::tool::delegate::ToolDelegate;
use serde_json::{Value, json};

use crate::support_tools::Bench;

#[tokio::test]
async fn a_session_without_a_host_is_told_that_it_cannot_delegate() {
    let bench = Bench::new().await;
    let refusal = bench.fails("delegate", json!({"agent": "self", "instruction": "go"})).await;
    assert_eq!(refusal, "this session cannot spawn others; it was not started by a host");
    let refusal = bench.fails("delegate", json!({"agent": "self"})).await;
    assert!(refusal.starts_with("invalid arguments") && refusal.contains("instruction"), "{refusal}");
}

#[tokio::test]
async fn settings_of_the_wrong_shape_are_refused_when_it_is_mounted() {
    let bench = Bench::new().await;
    for (config, says) in [
        (json!({"settings": {"timeout": "soon"}}), "15m"),
        (json!({"settings": {"exclude_tools": "tool-bash"}}), "settings"),
        (json!({"features": {"self_delegation": {"max_depth": -1}}}), "features"),
        (json!({"features": {"context_inheritance": false}}), "features"),
    ] {
        let mut spec = ModuleSpec::new("tool-delegate");
        let Value::Object(config) = config else { unreachable!("all are maps") };
        spec.config = config;
        let error = ToolDelegate.mount(&spec, &mut Mount::new(&bench.env, &mut Parts::default())).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("tool-delegate") && error.contains(says), "{error}");
    }
}
