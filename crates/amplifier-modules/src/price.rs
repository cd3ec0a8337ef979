//! Prices as a provider's configuration names them: `prices:`.
//!
//! Guarantees: amounts are read exactly as they are written, in US dollars for a million tokens;
//! of several entries that fit a model its own name wins, then the longest pattern.

use std::collections::BTreeMap;

use amplifier_core::Price;
use amplifier_foundation::settings::money;
use serde::Deserialize;
use serde_json::Number;

/// An amount of US dollars, in millionths: a number or a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WrittenUsd")]
pub(crate) struct Usd(pub(crate) u64);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected an amount of US dollars such as 0.25")]
enum WrittenUsd {
    Number(Number),
    Text(String),
}

impl TryFrom<WrittenUsd> for Usd {
    type Error = String;

    fn try_from(written: WrittenUsd) -> Result<Self, String> {
        let text = match written {
            // A float is shown without an exponent here, unlike in JSON.
            WrittenUsd::Number(number) => match (number.as_u64(), number.as_f64()) {
                (None, Some(number)) => number.to_string(),
                _ => number.to_string(),
            },
            WrittenUsd::Text(text) => text,
        };
        let wrong =
            || format!("{text} is no amount of US dollars; write it as 0.25, with at most six decimals");
        money::micro_usd(&text).map(Self).ok_or_else(wrong)
    }
}

/// One entry of `prices:`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    input: Usd,
    output: Usd,
    cache_read: Option<Usd>,
    cache_write: Option<Usd>,
}

/// The prices of a configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "BTreeMap<String, Written>")]
pub(crate) struct Prices(Vec<(String, Price)>);

impl From<BTreeMap<String, Written>> for Prices {
    fn from(written: BTreeMap<String, Written>) -> Self {
        let price = |one: Written| {
            let or_input = |price: Option<Usd>| price.unwrap_or(one.input).0;
            Price::new(one.input.0, one.output.0).cached(or_input(one.cache_read), or_input(one.cache_write))
        };
        let mut all: Vec<_> = written.into_iter().map(|(name, one)| (name, price(one))).collect();
        all.sort_by_key(|(pattern, _)| (pattern.contains('*'), std::cmp::Reverse(pattern.len())));
        Self(all)
    }
}

impl Prices {
    /// The price of a model.
    pub(crate) fn find(&self, model: &str) -> Option<Price> {
        self.0.iter().find(|(pattern, _)| fits(pattern, model)).map(|(_, price)| *price)
    }
}

/// True if a model's name is that of a pattern, in which `*` stands for anything; case does not matter.
fn fits(pattern: &str, model: &str) -> bool {
    let (pattern, model) = (pattern.to_lowercase(), model.to_lowercase());
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == model };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(inner) = model.strip_prefix(start).and_then(|inner| inner.strip_suffix(end)) else {
        return false;
    };
    let found = |inner: &str, part: &str| inner.find(part).map(|at| at + part.len());
    let mut inner = inner;
    middle.split('*').all(|part| found(inner, part).map(|at| inner = &inner[at..]).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn prices(config: Value) -> Result<Prices, String> {
        serde_json::from_value(config).map_err(|error| error.to_string())
    }

    #[test]
    fn patterns_fit_whole_names() {
        let check = |pattern: &str, model: &str, expect: bool| {
            assert_eq!(fits(pattern, model), expect, "{pattern} {model}");
        };
        check("m-1", "m-1", true);
        check("M-1", "m-1", true);
        check("m-1", "m-10", false);
        check("*", "any/thing:at-all", true);
        check("gpt-*-mini", "gpt-5-mini", true);
        check("gpt-*-mini", "gpt-5-mini-2", false);
        check("gpt-*mini", "gpt-mini", true);
        check("aba*aba", "aba", false);
        check("*5*mini*", "gpt-5-mini-2", true);
        check("*mini*5*", "gpt-5-mini", false);
    }

    #[test]
    fn the_name_wins_then_the_longest_pattern() {
        let one = |dollars: u64| json!({"input": dollars, "output": 0});
        let prices =
            prices(json!({"*": one(1), "gpt-*": one(2), "gpt-5*": one(3), "gpt-5": one(4)})).unwrap();
        let dollars = |model| prices.find(model).map(|price| price.input_micro_usd_per_mtok / 1_000_000);
        let found = ["llama", "gpt-4", "gpt-5.1", "gpt-5"].map(dollars);
        assert_eq!(found, [1, 2, 3, 4].map(Some));
    }

    #[test]
    fn amounts_are_exact_and_the_cache_costs_what_input_costs_unless_it_is_named() {
        let all = prices(json!({
            "a": {"input": 0.1, "output": "$2.50", "cache_read": 0.000001},
            "b": {"input": 3, "output": 15, "cache_write": 3.75},
        }));
        let all = all.unwrap();
        assert_eq!(all.find("a"), Some(Price::new(100_000, 2_500_000).cached(1, 100_000)));
        assert_eq!(all.find("b"), Some(Price::new(3_000_000, 15_000_000).cached(3_000_000, 3_750_000)));
        assert_eq!(all.find("c"), None);
    }

    #[test]
    fn what_is_no_price_is_told() {
        let check = |config: Value, words: &str| {
            let error = prices(config).unwrap_err();
            assert!(error.contains(words), "{error}");
        };
        check(json!({"a": {"input": -1, "output": 1}}), "-1 is no amount of US dollars");
        check(json!({"a": {"input": 1e-9, "output": 1}}), "no amount of US dollars");
        check(json!({"a": {"input": 1}}), "missing field `output`");
        check(json!({"a": {"input": 1, "output": 1, "outptu": 1}}), "unknown field `outptu`");
        check(json!({"a": 1}), "invalid type");
    }
}
