//! Budgets that pass from activation to activation.
//!
//! Guarantees: what a grant has passed on is the sum of what its children count for, and is
//! never more than the grant when it is passed on; settled grants count for what was spent.

use amplifier_core::SessionId;
use amplifier_core::budget::Amount;
use rusqlite::params;

use super::apply::Txn;
use super::fault::Done;
use super::rows;
use super::sql::signed;
use crate::{ActivationId, Grant, StoreError};

impl Txn<'_> {
    pub(super) fn add_grant(&self, of: ActivationId, from: Option<ActivationId>, amount: Amount) -> Done {
        if rows::grant(self.conn, &of)?.is_some() {
            return Err(StoreError::GrantExists { of }.into());
        }
        if let Some(from) = &from {
            let mut giver = self.open_grant(from)?;
            let left = giver.left();
            if amount.tokens > left.tokens || amount.micro_usd > left.micro_usd {
                return Err(StoreError::Overdrawn { of: from.clone(), wanted: amount, left }.into());
            }
            giver.passed_on = each(giver.passed_on, amount, u64::saturating_add);
            self.put_grant(&giver)?;
        }
        self.put_grant(&Grant { of, from, amount, passed_on: Amount::default(), spent: None })
    }

    pub(super) fn refund(&self, of: &ActivationId, spent: Amount) -> Done {
        let mut grant = self.open_grant(of)?;
        let (before, after) = (grant.counted(), each(spent, grant.passed_on, u64::max));
        grant.spent = Some(after);
        self.put_grant(&grant)?;
        self.correct(grant.from, before, after)
    }

    /// Lets `after` take the place of `before` in what was passed on, up to the first open grant.
    fn correct(&self, mut from: Option<ActivationId>, before: Amount, after: Amount) -> Done {
        let changed = |sum| each(each(sum, before, u64::saturating_sub), after, u64::saturating_add);
        while let Some(of) = from {
            let Some(mut grant) = rows::grant(self.conn, &of)? else { return Ok(()) };
            grant.passed_on = changed(grant.passed_on);
            grant.spent = grant.spent.map(changed);
            self.put_grant(&grant)?;
            from = grant.spent.and(grant.from);
        }
        Ok(())
    }

    fn open_grant(&self, of: &ActivationId) -> Done<Grant> {
        let open = rows::grant(self.conn, of)?.filter(|grant| grant.spent.is_none());
        Ok(open.ok_or_else(|| StoreError::NoGrant { of: of.clone() })?)
    }

    fn put_grant(&self, grant: &Grant) -> Done {
        let sql = "INSERT OR REPLACE INTO grants (session, activation, from_session, from_activation, \
                   tokens, micro_usd, passed_tokens, passed_micro_usd, spent_tokens, spent_micro_usd) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let both = |amount: Amount| (signed(amount.tokens), signed(amount.micro_usd));
        let ((tokens, usd), (passed, passed_usd)) = (both(grant.amount), both(grant.passed_on));
        let (spent, spent_usd) = grant.spent.map(both).unzip();
        let giver = grant.from.as_ref().map(|from| (from.session.as_str(), from.activation.0)).unzip();
        let (session, activation) = (SessionId::as_str(&grant.of.session), grant.of.activation.0);
        let (from, of) = giver;
        self.run(
            sql,
            params![session, activation, from, of, tokens, usd, passed, passed_usd, spent, spent_usd],
        )
    }
}

/// Both parts of an amount, changed by the same rule.
fn each(a: Amount, b: Amount, rule: fn(u64, u64) -> u64) -> Amount {
    Amount { tokens: rule(a.tokens, b.tokens), micro_usd: rule(a.micro_usd, b.micro_usd) }
}
