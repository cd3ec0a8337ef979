//! The budget of a whole run, in millionths of a US dollar.
//!
//! A session knows its own bound alone, and several run at once. So each gets a share of what is left
//! when it begins, and what it did not use comes back when it ends.
//!
//! Guarantees: all shares that are out and all that was used never exceed the budget.

/// What is left of a run's budget.
#[derive(Debug)]
pub(super) struct Purse {
    /// `None`: there is no budget.
    left: Option<u64>,
}

/// The bound of one session. Goes back by [`Purse::settle`].
#[derive(Debug)]
#[must_use]
pub(super) struct Share(Option<u64>);

impl Share {
    /// The bound; `None` where there is no budget.
    pub(super) fn bound(&self) -> Option<u64> {
        self.0
    }
}

impl Purse {
    pub(super) fn new(budget: Option<u64>) -> Self {
        Self { left: budget }
    }

    /// One of `places` equal shares of what is left; `None` if nothing is.
    pub(super) fn share(&mut self, places: usize) -> Option<Share> {
        let Some(left) = self.left.as_mut() else { return Some(Share(None)) };
        let share = left.div_ceil(u64::try_from(places).unwrap_or(u64::MAX).max(1));
        *left -= share;
        (share > 0).then_some(Share(Some(share)))
    }

    /// Takes back what a session did not use. What has no known cost counts as nothing: a model without
    /// a known price is not asked under a budget.
    pub(super) fn settle(&mut self, share: Share, used: u64) {
        if let (Some(left), Some(share)) = (self.left.as_mut(), share.0) {
            *left += share.saturating_sub(used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_budget_nothing_is_bounded() {
        let mut purse = Purse::new(None);
        let share = purse.share(3).unwrap();
        assert_eq!(share.bound(), None);
        purse.settle(share, u64::MAX);
        assert!(purse.share(1).is_some());
    }

    #[test]
    fn a_budget_is_shared_among_the_places_and_what_is_left_over_comes_back() {
        let mut purse = Purse::new(Some(100));
        let (first, second) = (purse.share(2).unwrap(), purse.share(1).unwrap());
        assert_eq!((first.bound(), second.bound()), (Some(50), Some(50)));
        assert!(purse.share(1).is_none());
        purse.settle(first, 20);
        purse.settle(second, 0);
        assert_eq!(purse.share(1).unwrap().bound(), Some(80));
    }

    #[test]
    fn a_session_that_used_more_than_its_share_takes_nothing_from_others() {
        let mut purse = Purse::new(Some(3));
        let shares = [purse.share(2).unwrap(), purse.share(1).unwrap()];
        assert_eq!(shares.iter().filter_map(Share::bound).sum::<u64>(), 3);
        let [first, second] = shares;
        purse.settle(first, 10);
        assert!(purse.share(1).is_none());
        purse.settle(second, 1);
        assert!(purse.share(1).is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_order_of_sessions_spends_more_than_the_budget(
            budget in 0u64..1_000, steps in proptest::collection::vec((1usize..6, 0u64..400, proptest::bool::ANY), 0..40)
        ) {
            let mut purse = Purse::new(Some(budget));
            let (mut out, mut spent) = (Vec::new(), 0);
            for (places, wanted, ends) in steps {
                out.extend(purse.share(places));
                if ends && let Some(share) = out.pop() {
                    let used = wanted.min(share.bound().unwrap_or(0));
                    spent += used;
                    purse.settle(share, used);
                }
                proptest::prop_assert!(out.iter().filter_map(Share::bound).sum::<u64>() + spent <= budget);
            }
        }
    }
}
