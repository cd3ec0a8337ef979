//! What a model costs, and what a call of it may and did cost.
//!
//! Guarantees: integers only; every amount is rounded up, so that a sum of calls is never below the
//! price of all their tokens. A price that is not known is no price of zero: it is `None` elsewhere.

use crate::message::Usage;

/// The longest answer that is reckoned with where neither the session nor its provider sets one, in tokens.
/// Where tokens or cost are limited, requests ask for no longer one.
pub const OUTPUT_CEILING: u64 = 32_768;

/// Prices of one model, in millionths of a US dollar for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Price {
    /// Tokens of a request that the prompt cache neither gave nor kept.
    pub input_micro_usd_per_mtok: u64,
    /// Tokens of an answer, reasoning included.
    pub output_micro_usd_per_mtok: u64,
    /// Tokens of a request that were read from the prompt cache.
    pub cache_read_micro_usd_per_mtok: u64,
    /// Tokens of a request that were written to the prompt cache.
    pub cache_write_micro_usd_per_mtok: u64,
}

impl Price {
    /// The price of what costs nothing.
    pub const FREE: Self = Self::new(0, 0);

    /// Prices of input and output in micro-USD for a million tokens; the prompt cache costs what input costs.
    pub const fn new(input: u64, output: u64) -> Self {
        Self {
            input_micro_usd_per_mtok: input,
            output_micro_usd_per_mtok: output,
            cache_read_micro_usd_per_mtok: input,
            cache_write_micro_usd_per_mtok: input,
        }
    }

    /// The same with other prices for reading from and writing to the prompt cache.
    #[must_use]
    pub const fn cached(mut self, read: u64, write: u64) -> Self {
        (self.cache_read_micro_usd_per_mtok, self.cache_write_micro_usd_per_mtok) = (read, write);
        self
    }

    /// What these tokens cost, in micro-USD.
    pub fn cost(&self, usage: &Usage) -> u64 {
        let (read, write) = (usage.cache_read_tokens, usage.cache_write_tokens);
        let input = usage.input_tokens.saturating_sub(read).saturating_sub(write);
        micro_usd(&[
            (input, self.input_micro_usd_per_mtok),
            (read, self.cache_read_micro_usd_per_mtok),
            (write, self.cache_write_micro_usd_per_mtok),
            (usage.output_tokens, self.output_micro_usd_per_mtok),
        ])
    }

    /// What a call with so many tokens may cost at most, in micro-USD: all of its input at the dearest.
    pub fn at_most(&self, input: u64, output: u64) -> u64 {
        micro_usd(&[(input, self.dearest_input()), (output, self.output_micro_usd_per_mtok)])
    }

    /// The longest answer in tokens with which a call costs no more than `micro_usd`, as [`Price::at_most`]
    /// reckons; zero if its request alone does.
    pub fn longest_answer(&self, input: u64, micro_usd: u64) -> u64 {
        let request = u128::from(input) * u128::from(self.dearest_input());
        let left = (u128::from(micro_usd) * 1_000_000).saturating_sub(request);
        match u128::from(self.output_micro_usd_per_mtok) {
            0 => u64::MAX,
            price => u64::try_from(left / price).unwrap_or(u64::MAX),
        }
    }

    fn dearest_input(&self) -> u64 {
        let dearest = self.input_micro_usd_per_mtok.max(self.cache_write_micro_usd_per_mtok);
        dearest.max(self.cache_read_micro_usd_per_mtok)
    }
}

fn micro_usd(parts: &[(u64, u64)]) -> u64 {
    let sum: u128 = parts.iter().map(|(tokens, price)| u128::from(*tokens) * u128::from(*price)).sum();
    u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SONNET: Price = Price::new(3_000_000, 15_000_000).cached(300_000, 3_750_000);

    #[test]
    fn cached_tokens_have_their_own_price() {
        let mut usage = Usage {
            input_tokens: 1_000_000,
            output_tokens: 100_000,
            reasoning_tokens: 90_000,
            ..Usage::default()
        };
        assert_eq!(SONNET.cost(&usage), 3_000_000 + 1_500_000);
        (usage.cache_read_tokens, usage.cache_write_tokens) = (600_000, 100_000);
        assert_eq!(SONNET.cost(&usage), 900_000 + 180_000 + 375_000 + 1_500_000);
        assert_eq!(Price::FREE.cost(&usage), 0);
    }

    #[test]
    fn a_fraction_costs_a_whole_millionth_and_nothing_overflows() {
        let one = Usage { input_tokens: 1, ..Usage::default() };
        assert_eq!((SONNET.cost(&one), Price::new(1, 0).cost(&one)), (3, 1));
        let all = Usage { input_tokens: u64::MAX, output_tokens: u64::MAX, ..Usage::default() };
        assert_eq!(Price::new(u64::MAX / 2, u64::MAX / 2).cost(&all), u64::MAX);
    }

    proptest::proptest! {
        #[test]
        fn the_longest_answer_is_paid_for_and_the_next_longer_one_is_not(
            input in 0u64..1_000_000, micro_usd in 0u64..10_000_000,
        ) {
            let longest = SONNET.longest_answer(input, micro_usd);
            proptest::prop_assert!(longest == 0 || SONNET.at_most(input, longest) <= micro_usd);
            proptest::prop_assert!(SONNET.at_most(input, longest + 1) > micro_usd);
            proptest::prop_assert_eq!(Price::FREE.longest_answer(input, micro_usd), u64::MAX);
        }

        #[test]
        fn no_answer_within_its_bounds_costs_more_than_was_reckoned_with(
            input in 0u64..1_000_000, output in 0u64..100_000, read in 0u64..1_000_000, write in 0u64..1_000_000,
        ) {
            let usage = Usage {
                input_tokens: input,
                output_tokens: output,
                cache_read_tokens: read.min(input),
                cache_write_tokens: write.min(input - read.min(input)),
                ..Usage::default()
            };
            proptest::prop_assert!(SONNET.cost(&usage) <= SONNET.at_most(input, output));
        }
    }
}
