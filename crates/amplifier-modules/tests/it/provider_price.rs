//! Prices of providers over HTTP: where they come from, and what a session makes of them.

use std::sync::Arc;

use amplifier_core::budget::Budget;
use amplifier_core::module::provider::Provider;
use amplifier_core::turn::{Choice, TurnError};
use amplifier_core::{Limits, Price};
use serde_json::{Value, json};

use super::provider_bodies::{plain, rich};
use super::provider_kit::{FORMATS, Format, mount, try_mount};
use super::provider_server::{Reply, Server};
use crate::support::{Bench, Does, Kit};

#[tokio::test]
async fn list_prices_count_at_the_services_own_address_and_prices_of_the_config_above_them() {
    let check = |provider: &Arc<dyn Provider>, model: &str, price: Option<u64>, max_output: Option<u64>| {
        let found = provider.price(model).map(|price| price.input_micro_usd_per_mtok);
        assert_eq!((found, provider.max_output(model)), (price, max_output), "{model}");
    };
    let own = mount("provider-anthropic", json!({})).await;
    check(&own, "claude-sonnet-4-5-20250929", Some(3_000_000), Some(64_000));
    check(&own, "claude-unheard-of", None, None);
    let prices = json!({"claude-sonnet-*": {"input": 2.5, "output": 12}, "*": {"input": 9, "output": 9}});
    let named = mount("provider-anthropic", json!({"prices": prices, "max_tokens": 500})).await;
    check(&named, "claude-sonnet-4-5", Some(2_500_000), Some(500));
    check(&named, "claude-unheard-of", Some(9_000_000), Some(500));
    let elsewhere = mount("provider-openai", json!({"base_url": "http://127.0.0.1:1/v1"})).await;
    check(&elsewhere, "gpt-5", None, None);
    for format in FORMATS {
        let provider =
            mount(format.module(), json!({"base_url": "http://127.0.0.1:1/", "api_version": "1"})).await;
        assert_eq!(provider.price(&provider.info().default_model), None, "{format:?}: a price of nothing");
    }
    let defaults = ["provider-anthropic", "provider-openai", "provider-gemini"];
    for module in defaults {
        let provider = mount(module, json!({})).await;
        assert!(provider.price(&provider.info().default_model).is_some(), "{module}: its default model");
    }
    let wrong = json!({"prices": {"m": {"input": "much", "output": 1}}});
    let error = try_mount("provider-openai", wrong, &[]).await.unwrap_err().to_string();
    assert!(error.contains("prices") && error.contains("much is no amount of US dollars"), "{error}");
}

fn bench(provider: Arc<dyn Provider>, budget: &Arc<Budget>) -> Bench {
    let kit = Kit::new(Vec::new()).tool("read", Does::Answers).tool("write", Does::Answers);
    let mut limits = Limits::default();
    limits.max_turns = Some(1);
    let choices = vec![Choice::new(provider)];
    kit.build_with(|builder| builder.budget(Arc::clone(budget)).limits(limits, "me").choices(choices))
}

/// One micro-USD for a token in, ten for one out, half for one from the cache, two for one into it.
fn priced() -> Value {
    json!({"prices": {"m-*": {"input": 1, "output": 10, "cache_read": 0.5, "cache_write": 2}}})
}

#[tokio::test]
async fn what_a_service_counts_is_what_a_session_costs() {
    let price = Price::new(1_000_000, 10_000_000).cached(500_000, 2_000_000);
    for format in FORMATS {
        let server = Server::always(Reply::ok(rich(format)));
        let provider = format.provider(&server, priced()).await;
        let budget = Budget::new("me", None, Some(10_000_000), None);
        let mut bench = bench(provider, &budget);
        // The answer calls tools; a second call is not allowed.
        let result = bench.driver.turn("hi".into()).await;
        assert!(matches!(result, Err(TurnError::Limit(_))), "{format:?}: {result:?}");
        let outcome = bench.driver.outcome_of(&result);
        let usage = outcome.usage;
        assert!(usage.cache_read_tokens > 0 || format == Format::Ollama, "{format:?}: {usage:?}");
        assert_eq!(outcome.cost_micro_usd, Some(price.cost(&usage)), "{format:?}");
        assert_eq!(budget.used().micro_usd, price.cost(&usage), "{format:?}");
        assert!(price.cost(&usage) > 0, "{format:?}");
    }
}

#[tokio::test]
async fn a_cost_limit_asks_no_service_whose_price_is_not_known() {
    let server = Server::always(Reply::ok(plain(Format::Compatible)));
    let budget = Budget::new("me", None, Some(1_000_000), None);
    let mut bench = bench(Format::Compatible.provider(&server, json!({})).await, &budget);
    let error = bench.driver.turn("hi".into()).await.unwrap_err();
    assert!(matches!(error, TurnError::UnknownPrice { .. }), "{error}");
    let words = ["model m-1", "`prices:` in the config of provider openai-compatible"];
    assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
    assert!(server.seen().is_empty());
}
