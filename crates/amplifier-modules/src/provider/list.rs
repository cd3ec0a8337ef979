//! List prices and longest answers of well-known models, as of March 2026.
//!
//! What the services' public price lists said then, for requests at the base rate: surcharges for
//! long requests, discounts of batches and rented caches are not in it. The table may age; `prices:` in a
//! provider's config stands above it. It speaks of the services' own addresses only: what a
//! gateway takes is another matter.
//! Guarantees: a name that is not known for sure has no price here.

use amplifier_core::Price;

/// One model.
#[derive(Debug)]
pub(super) struct Listed {
    /// Its name, without the date of a version.
    name: &'static str,
    pub(super) price: Price,
    /// Longest answer in tokens.
    pub(super) max_output: u64,
}

/// Prices in cents for a million tokens, so that they are whole: input, output, cache read in tenths of a cent,
/// cache write.
const fn listed(name: &'static str, cents: [u64; 4], max_output: u64) -> Listed {
    let [input, output, read, write] = cents;
    let price = Price::new(input * 10_000, output * 10_000).cached(read * 1_000, write * 10_000);
    Listed { name, price, max_output }
}

/// Anthropic: writing to the cache for five minutes costs a quarter more than input.
pub(super) const ANTHROPIC: &[Listed] = &[
    listed("claude-opus-4-6", [500, 2_500, 500, 625], 128_000),
    listed("claude-opus-4-5", [500, 2_500, 500, 625], 64_000),
    listed("claude-opus-4-1", [1_500, 7_500, 1_500, 1_875], 32_000),
    listed("claude-opus-4", [1_500, 7_500, 1_500, 1_875], 32_000),
    listed("claude-sonnet-4-6", [300, 1_500, 300, 375], 64_000),
    listed("claude-sonnet-4-5", [300, 1_500, 300, 375], 64_000),
    listed("claude-sonnet-4", [300, 1_500, 300, 375], 64_000),
    listed("claude-3-7-sonnet", [300, 1_500, 300, 375], 64_000),
    listed("claude-haiku-4-5", [100, 500, 100, 125], 64_000),
    listed("claude-3-5-haiku", [80, 400, 80, 100], 8_192),
    listed("claude-3-haiku", [25, 125, 30, 30], 4_096),
];

/// OpenAI: writing to the cache costs nothing beside the input.
pub(super) const OPENAI: &[Listed] = &[
    listed("gpt-5.4", [250, 1_500, 250, 250], 128_000),
    listed("gpt-5.2", [175, 1_400, 175, 175], 128_000),
    listed("gpt-5.1", [125, 1_000, 125, 125], 128_000),
    listed("gpt-5", [125, 1_000, 125, 125], 128_000),
    listed("gpt-5-mini", [25, 200, 25, 25], 128_000),
    listed("gpt-5-nano", [5, 40, 5, 5], 128_000),
    listed("gpt-4.1", [200, 800, 500, 200], 32_768),
    listed("gpt-4.1-mini", [40, 160, 100, 40], 32_768),
    listed("gpt-4.1-nano", [10, 40, 25, 10], 32_768),
    listed("gpt-4o", [250, 1_000, 1_250, 250], 16_384),
    listed("gpt-4o-mini", [15, 60, 75, 15], 16_384),
    listed("o3", [200, 800, 500, 200], 100_000),
    listed("o4-mini", [110, 440, 275, 110], 100_000),
    listed("o3-mini", [110, 440, 550, 110], 100_000),
];

/// Google.
pub(super) const GEMINI: &[Listed] = &[
    listed("gemini-2.5-pro", [125, 1_000, 125, 125], 65_536),
    listed("gemini-2.5-flash", [30, 250, 30, 30], 65_536),
    listed("gemini-2.5-flash-lite", [10, 40, 10, 10], 65_536),
];

/// Versions of listed models that have another price than the model.
const OTHERWISE: [&str; 1] = ["gpt-4o-2024-05-13"];

/// The entry of a model, also of a dated version of it: `-20250929`, `-2025-08-07`, `-latest`, `-0`.
pub(super) fn find(list: &'static [Listed], model: &str) -> Option<&'static Listed> {
    let is_version = |rest: &str| {
        let date = rest.strip_prefix('-').map(|rest| rest.replace('-', ""));
        let is_date = |date: &String| date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit());
        matches!(rest, "" | "-latest" | "-0") || date.as_ref().is_some_and(is_date)
    };
    let known = |one: &&Listed| model.strip_prefix(one.name).is_some_and(is_version);
    list.iter().filter(|_| !OTHERWISE.contains(&model)).find(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_model_have_its_price_and_other_models_have_none() {
        let check = |list: &'static [Listed], model: &str, expect: Option<&str>| {
            assert_eq!(find(list, model).map(|one| one.name), expect, "{model}");
        };
        check(ANTHROPIC, "claude-sonnet-4-5", Some("claude-sonnet-4-5"));
        check(ANTHROPIC, "claude-sonnet-4-5-20250929", Some("claude-sonnet-4-5"));
        check(ANTHROPIC, "claude-sonnet-4-20250514", Some("claude-sonnet-4"));
        check(ANTHROPIC, "claude-opus-4-0", Some("claude-opus-4"));
        check(ANTHROPIC, "claude-3-5-haiku-latest", Some("claude-3-5-haiku"));
        check(ANTHROPIC, "claude-opus-4-7", None);
        check(OPENAI, "gpt-5-mini-2025-08-07", Some("gpt-5-mini"));
        check(OPENAI, "gpt-5-pro", None);
        check(OPENAI, "gpt-5.4-mini", None);
        check(OPENAI, "gpt-4o-2024-08-06", Some("gpt-4o"));
        check(OPENAI, "gpt-4o-2024-05-13", None);
        check(OPENAI, "gpt-4o-audio-preview", None);
        check(GEMINI, "gemini-2.5-pro", Some("gemini-2.5-pro"));
        check(GEMINI, "gemini-2.5-pro-preview-06-05", None);
    }

    #[test]
    fn figures_are_those_of_the_price_lists() {
        let check =
            |list, model, price: Price| assert_eq!(find(list, model).unwrap().price, price, "{model}");
        check(ANTHROPIC, "claude-sonnet-4-5", Price::new(3_000_000, 15_000_000).cached(300_000, 3_750_000));
        check(OPENAI, "gpt-4o-mini", Price::new(150_000, 600_000).cached(75_000, 150_000));
        check(OPENAI, "gpt-5-nano", Price::new(50_000, 400_000).cached(5_000, 50_000));
        check(GEMINI, "gemini-2.5-pro", Price::new(1_250_000, 10_000_000).cached(125_000, 1_250_000));
        for one in [ANTHROPIC, OPENAI, GEMINI].into_iter().flatten() {
            let price = one.price;
            assert!(price.cache_read_micro_usd_per_mtok < price.input_micro_usd_per_mtok, "{}", one.name);
            assert!(price.input_micro_usd_per_mtok < price.output_micro_usd_per_mtok, "{}", one.name);
            assert!(price.cache_write_micro_usd_per_mtok >= price.input_micro_usd_per_mtok, "{}", one.name);
        }
    }
}
