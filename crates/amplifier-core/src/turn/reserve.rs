//! What is set aside for a model call, and how long its answer may be then.
//!
//! Guarantees: where tokens or cost are limited, no call is made whose request and longest answer are not
//! set aside, and the request names that answer's length: together calls overshoot by no more than services
//! answer longer than they were asked to, or count a request higher than it was estimated. An attempt that
//! broke off is charged by estimate, and what it has taken is set aside once more before the next one.

use super::{Choice, TurnError};
use crate::budget::{Amount, Budget, BudgetRefusal, Reservation};
use crate::message::Usage;
use crate::module::provider::{ChatRequest, ChatResponse};
use crate::price::{OUTPUT_CEILING, Price};
use crate::session::Core;

/// The shortest answer for which a call is made, in tokens: some services take no request for less.
pub const LEAST_OUTPUT: u64 = 16;

/// How often a call looks again at what is left, while others take from it at the same time.
const LOOKS: usize = 64;

/// The budget of one call, until it is settled; dropped, it counts as spent.
#[derive(Debug)]
pub(super) struct SetAside {
    reservation: Reservation,
    price: Option<Price>,
    /// Tokens of the request, estimated.
    input: u64,
    /// What attempts have taken that broke off.
    lost: Usage,
    /// As much of it as is set aside beside the next attempt.
    covered: Amount,
}

impl Core {
    /// Sets aside what a call may take. Where a budget has less left than the longest answer may take, the
    /// request asks for a shorter one.
    pub(super) fn set_aside(
        &self,
        choice: &Choice,
        request: &mut ChatRequest,
        input: u64,
    ) -> Result<SetAside, TurnError> {
        let price = choice.price();
        if price.is_none() && self.budget.limits_cost() {
            let (provider, model) = (choice.name().to_owned(), choice.model().to_owned());
            return Err(TurnError::UnknownPrice { provider, model });
        }
        let asked = request.max_output_tokens;
        let most = asked.or_else(|| choice.provider.max_output(choice.model())).unwrap_or(OUTPUT_CEILING);
        let reservation = if self.budget.is_limited() {
            let (reservation, output) = reserved(&self.budget, price, input, most)?;
            request.max_output_tokens = Some(output);
            reservation
        } else {
            let micro_usd = may_take(price, input, most).micro_usd;
            self.budget.reserve(Amount { tokens: input.saturating_add(asked.unwrap_or(0)), micro_usd })?
        };
        Ok(SetAside { reservation, price, input, lost: Usage::default(), covered: Amount::default() })
    }
}

/// A reservation with the longest answer that fits, and its length.
fn reserved(
    budget: &std::sync::Arc<Budget>,
    price: Option<Price>,
    input: u64,
    most: u64,
) -> Result<(Reservation, u64), BudgetRefusal> {
    let least = LEAST_OUTPUT.min(most);
    for _ in 0..LOOKS {
        let output = fitting(budget.left(), price, input).min(most);
        if output <= least {
            break;
        }
        if let Ok(reservation) = budget.reserve(may_take(price, input, output)) {
            return Ok((reservation, output));
        }
    }
    budget.reserve(may_take(price, input, least)).map(|reservation| (reservation, least))
}

/// The longest answer for which there is enough left.
fn fitting(left: Amount, price: Option<Price>, input: u64) -> u64 {
    let by_cost = price.map_or(u64::MAX, |price| price.longest_answer(input, left.micro_usd));
    left.tokens.saturating_sub(input).min(by_cost)
}

fn may_take(price: Option<Price>, input: u64, output: u64) -> Amount {
    let micro_usd = price.map_or(0, |price| price.at_most(input, output));
    Amount { tokens: input.saturating_add(output), micro_usd }
}

impl SetAside {
    /// Charges an attempt that broke off after so many bytes of its answer; nothing for one that brought none.
    pub(super) fn broke_off(&mut self, streamed_bytes: u64) {
        if streamed_bytes > 0 {
            let output_tokens = streamed_bytes.div_ceil(4);
            self.lost += Usage { input_tokens: self.input, output_tokens, ..Usage::default() };
        }
    }

    /// Sets aside what broken attempts have taken, so that another one fits beside them.
    pub(super) fn again(&mut self) -> Result<(), BudgetRefusal> {
        let lost = self.spent_on_lost();
        let more = Amount {
            tokens: lost.tokens - self.covered.tokens,
            micro_usd: lost.micro_usd - self.covered.micro_usd,
        };
        if more != Amount::default() {
            self.reservation.add(more)?;
            self.covered = lost;
        }
        Ok(())
    }

    /// Replaces what was set aside by what was used. The answer's own cost is filled in where the service
    /// names none; where no tokens were counted, the budget is charged an estimate, and the cost stays unknown.
    pub(super) fn settle(self, response: Option<&mut ChatResponse>) {
        let mut used = self.spent_on_lost();
        if let Some(response) = response {
            used = used.plus(self.spent_on(response));
        }
        self.reservation.settle(used);
    }

    fn spent_on(&self, response: &mut ChatResponse) -> Amount {
        let price = self.price;
        let cost = |usage: &Usage| price.map(|price| price.cost(usage));
        let free = price.filter(|price| *price == Price::FREE).map(|_| 0);
        let counted = response.usage.as_ref().and_then(cost).or(free);
        response.cost_micro_usd = response.cost_micro_usd.or(counted);
        let output_tokens = response.message.estimated_tokens();
        let guess = Usage { input_tokens: self.input, output_tokens, ..Usage::default() };
        let micro_usd = response.cost_micro_usd.or_else(|| cost(&guess)).unwrap_or(0);
        Amount { tokens: response.usage.unwrap_or(guess).total(), micro_usd }
    }

    fn spent_on_lost(&self) -> Amount {
        let micro_usd = self.price.map_or(0, |price| price.cost(&self.lost));
        Amount { tokens: self.lost.total(), micro_usd }
    }
}
