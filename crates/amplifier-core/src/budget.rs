//! Budgets: reserve before, settle after, over the whole tree of sessions.
//!
//! Guarantees: what is used and reserved together never passes a limit of this
//! session or of an ancestor through [`Budget::reserve`], however many sessions
//! reserve at once. Integers only: tokens, and millionths of a US dollar.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Tokens of requests and answers.
    pub tokens: u64,
    /// Millionths of a US dollar.
    pub micro_usd: u64,
}

impl Amount {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            micro_usd: self.micro_usd.saturating_add(other.micro_usd),
        }
    }
}

/// A budget that has too little left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {what} budget of {set_by} is too small for another call: {} of {} used or set aside, and it may take {}; raise it, ask for shorter answers (max_tokens), or stop",
    shown(what, *used), shown(what, *limit), shown(what, *wanted)
)]
pub struct BudgetRefusal {
    /// `token` or `cost`.
    pub what: &'static str,
    /// Who set the limit.
    pub set_by: String,
    /// The limit, in tokens or micro-USD.
    pub limit: u64,
    /// Used and reserved.
    pub used: u64,
    /// What was asked for.
    pub wanted: u64,
}

/// An amount for a person: tokens as they are, money in dollars.
fn shown(what: &str, amount: u64) -> String {
    match what {
        "cost" => format!("${}.{:06}", amount / 1_000_000, amount % 1_000_000),
        _ => amount.to_string(),
    }
}

#[derive(Debug)]
struct Meter {
    what: &'static str,
    limit: Option<u64>,
    used: AtomicU64,
}

impl Meter {
    fn take(&self, wanted: u64, set_by: &str) -> Result<(), BudgetRefusal> {
        let fits = |used: u64| {
            let after = used.saturating_add(wanted);
            self.limit.is_none_or(|limit| after <= limit).then_some(after)
        };
        match self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits) {
            Ok(_) => Ok(()),
            Err(used) => Err(BudgetRefusal {
                what: self.what,
                set_by: set_by.to_owned(),
                limit: self.limit.unwrap_or(u64::MAX),
                used,
                wanted,
            }),
        }
    }

    fn left(&self) -> u64 {
        self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.used.load(Ordering::Acquire)))
    }

    fn correct(&self, reserved: u64, actual: u64) {
        let settle = |used: u64| Some(used.saturating_sub(reserved).saturating_add(actual));
        let _ = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, settle);
    }
}

/// One session's budget, linked to its parent's.
#[derive(Debug)]
pub struct Budget {
    set_by: String,
    tokens: Meter,
    cost: Meter,
    parent: Option<Arc<Budget>>,
}

impl Budget {
    /// A budget; `None` is no limit. `set_by` is named in refusals.
    pub fn new(
        set_by: impl Into<String>,
        tokens: Option<u64>,
        micro_usd: Option<u64>,
        parent: Option<Arc<Budget>>,
    ) -> Arc<Self> {
        let meter = |what, limit| Meter { what, limit, used: AtomicU64::new(0) };
        Arc::new(Self {
            set_by: set_by.into(),
            tokens: meter("token", tokens),
            cost: meter("cost", micro_usd),
            parent,
        })
    }

    /// Sets an amount aside here and in every ancestor, or nowhere.
    pub fn reserve(self: &Arc<Self>, amount: Amount) -> Result<Reservation, BudgetRefusal> {
        self.take(amount)?;
        Ok(Reservation { budget: Arc::clone(self), amount: Some(amount) })
    }

    /// Enters what was used without a reservation, here and in every ancestor; it may pass a limit.
    pub fn charge(&self, actual: Amount) {
        self.correct(Amount::default(), actual);
    }

    /// What is used and reserved now.
    pub fn used(&self) -> Amount {
        Amount {
            tokens: self.tokens.used.load(Ordering::Acquire),
            micro_usd: self.cost.used.load(Ordering::Acquire),
        }
    }

    /// What is left for another reservation, here and in every ancestor; `u64::MAX` where nothing is limited.
    pub fn left(&self) -> Amount {
        let above = self
            .parent
            .as_ref()
            .map_or(Amount { tokens: u64::MAX, micro_usd: u64::MAX }, |parent| parent.left());
        Amount {
            tokens: above.tokens.min(self.tokens.left()),
            micro_usd: above.micro_usd.min(self.cost.left()),
        }
    }

    /// True if this budget or an ancestor limits tokens or cost.
    pub fn is_limited(&self) -> bool {
        let own = self.tokens.limit.is_some() || self.cost.limit.is_some();
        own || self.parent.as_ref().is_some_and(|parent| parent.is_limited())
    }

    /// True if this budget or an ancestor limits cost.
    pub fn limits_cost(&self) -> bool {
        self.cost.limit.is_some() || self.parent.as_ref().is_some_and(|parent| parent.limits_cost())
    }

    fn take(&self, amount: Amount) -> Result<(), BudgetRefusal> {
        self.tokens.take(amount.tokens, &self.set_by)?;
        if let Err(refusal) = self.cost.take(amount.micro_usd, &self.set_by) {
            self.tokens.correct(amount.tokens, 0);
            return Err(refusal);
        }
        let Some(parent) = &self.parent else { return Ok(()) };
        parent.take(amount).inspect_err(|_| {
            self.tokens.correct(amount.tokens, 0);
            self.cost.correct(amount.micro_usd, 0);
        })
    }

    fn correct(&self, reserved: Amount, actual: Amount) {
        let mut budget = Some(self);
        while let Some(this) = budget {
            this.tokens.correct(reserved.tokens, actual.tokens);
            this.cost.correct(reserved.micro_usd, actual.micro_usd);
            budget = this.parent.as_deref();
        }
    }
}

/// An amount that is set aside. Settle it; dropped, it counts as spent.
#[derive(Debug)]
#[must_use = "an unsettled reservation counts as spent"]
pub struct Reservation {
    budget: Arc<Budget>,
    amount: Option<Amount>,
}

impl Reservation {
    /// Sets more aside, here and in every ancestor, or nowhere.
    pub fn add(&mut self, more: Amount) -> Result<(), BudgetRefusal> {
        self.budget.take(more)?;
        self.amount = self.amount.map(|amount| amount.plus(more));
        Ok(())
    }

    /// Replaces what was set aside by what was really used, which may be more.
    pub fn settle(mut self, actual: Amount) {
        if let Some(reserved) = self.amount.take() {
            self.budget.correct(reserved, actual);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(tokens: u64) -> Amount {
        Amount { tokens, micro_usd: 0 }
    }

    #[test]
    fn a_refusal_leaves_nothing_behind() {
        let root = Budget::new("root", Some(100), None, None);
        let child = Budget::new("child", Some(1_000), None, Some(Arc::clone(&root)));
        let held = child.reserve(tokens(80)).unwrap();
        let refusal = child.reserve(tokens(30)).unwrap_err();
        assert_eq!((refusal.set_by.as_str(), refusal.limit, refusal.used), ("root", 100, 80));
        let told = "the token budget of root is too small for another call: 80 of 100 used or set aside, and it may take 30; raise it, ask for shorter answers (max_tokens), or stop";
        assert_eq!(refusal.to_string(), told);
        assert_eq!((child.used(), root.used()), (tokens(80), tokens(80)));
        held.settle(tokens(10));
        assert_eq!((child.used(), root.used()), (tokens(10), tokens(10)));
    }

    #[test]
    fn what_is_left_is_the_least_of_the_line_and_a_reservation_can_grow_within_it() {
        let root = Budget::new("root", Some(100), None, None);
        let child = Budget::new("child", None, Some(50), Some(Arc::clone(&root)));
        assert!(root.is_limited() && child.limits_cost() && !root.limits_cost());
        assert_eq!((root.left().micro_usd, child.left()), (u64::MAX, Amount { tokens: 100, micro_usd: 50 }));
        let mut held = child.reserve(tokens(60)).unwrap();
        held.add(tokens(30)).unwrap();
        assert_eq!(held.add(tokens(11)).unwrap_err().used, 90);
        assert_eq!((child.left().tokens, root.left().tokens), (10, 10));
        held.settle(tokens(1));
        assert_eq!((root.used(), child.left().tokens), (tokens(1), 99));
        assert!(!Budget::new("free", None, None, None).is_limited());
    }

    #[test]
    fn a_charge_may_pass_a_limit_and_nothing_is_reserved_after_it() {
        let root = Budget::new("root", Some(100), None, None);
        let child = Budget::new("child", None, None, Some(Arc::clone(&root)));
        child.charge(tokens(150));
        assert_eq!((child.used(), root.used()), (tokens(150), tokens(150)));
        assert_eq!(child.reserve(tokens(1)).unwrap_err().used, 150);
    }

    #[test]
    fn parallel_reservations_do_not_overshoot_together() {
        let root = Budget::new("root", Some(1_000), None, None);
        let taken: u64 = std::thread::scope(|scope| {
            let each = || (0..500).filter(|_| root.reserve(tokens(3)).map(drop).is_ok()).count() as u64;
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(each)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(taken, 333);
        assert_eq!(root.used(), tokens(999));
    }
}
