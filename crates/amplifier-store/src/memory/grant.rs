//! Budgets that pass from activation to activation.
//!
//! Guarantees: what a grant has passed on is the sum of what its children count for, and is
//! never more than the grant when it is passed on; settled grants count for what was spent.

use amplifier_core::budget::Amount;

use super::state::{State, each};
use crate::{ActivationId, Grant, StoreError};

impl State {
    pub(super) fn add_grant(
        &mut self,
        of: ActivationId,
        from: Option<ActivationId>,
        amount: Amount,
    ) -> Result<(), StoreError> {
        if self.grants.get(&of).is_some() {
            return Err(StoreError::GrantExists { of });
        }
        if let Some(from) = &from {
            let mut giver = self.open_grant(from)?;
            let left = giver.left();
            if amount.tokens > left.tokens || amount.micro_usd > left.micro_usd {
                return Err(StoreError::Overdrawn { of: from.clone(), wanted: amount, left });
            }
            giver.passed_on = each(giver.passed_on, amount, u64::saturating_add);
            self.grants.put(from.clone(), giver);
        }
        let grant = Grant { of: of.clone(), from, amount, passed_on: Amount::default(), spent: None };
        self.grants.put(of, grant);
        Ok(())
    }

    pub(super) fn refund(&mut self, of: &ActivationId, spent: Amount) -> Result<(), StoreError> {
        let mut grant = self.open_grant(of)?;
        let (before, after) = (grant.counted(), each(spent, grant.passed_on, u64::max));
        let from = grant.from.clone();
        grant.spent = Some(after);
        self.grants.put(of.clone(), grant);
        self.correct(from, before, after);
        Ok(())
    }

    /// Lets `after` take the place of `before` in what was passed on, up to the first open grant.
    fn correct(&mut self, mut from: Option<ActivationId>, before: Amount, after: Amount) {
        let changed = |sum| each(each(sum, before, u64::saturating_sub), after, u64::saturating_add);
        while let Some(of) = from {
            let Some(mut grant) = self.grants.get(&of).cloned() else { return };
            grant.passed_on = changed(grant.passed_on);
            grant.spent = grant.spent.map(changed);
            from = grant.spent.and(grant.from.clone());
            self.grants.put(of, grant);
        }
    }

    fn open_grant(&self, of: &ActivationId) -> Result<Grant, StoreError> {
        let open = self.grants.get(of).filter(|grant| grant.spent.is_none());
        open.cloned().ok_or_else(|| StoreError::NoGrant { of: of.clone() })
    }
}
