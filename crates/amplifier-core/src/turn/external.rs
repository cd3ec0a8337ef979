//! What an orchestrator needs whose model calls and tools are another program's.
//!
//! Guarantees: such calls count against the session's limits and budgets like its own; they can pass a
//! budget by what the program spends before it is heard, and not further, as [`Turn::spent_elsewhere`] then says so.
//! Never here: the program.

use std::sync::Arc;

use super::gate::Allowed;
use super::{Turn, TurnError};
use crate::approval::Shown;
use crate::budget::Amount;
use crate::limits::{LimitKind, LimitReached};
use crate::message::Usage;
use crate::permission::{Access, Permissions};
use crate::transcript::MessageView;

/// A piece of an answer that another program streams.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Piece<'a> {
    /// Of its text.
    Text(&'a str),
    /// Of its reasoning.
    Thinking(&'a str),
}

impl Turn<'_> {
    /// The conversation so far, with the user message that is to be answered.
    pub fn messages(&self) -> MessageView {
        self.core.context.messages()
    }

    /// The system prompt, rendered anew.
    pub fn system(&self) -> Option<Arc<str>> {
        self.core.system.render()
    }

    /// The model that the session was told to ask.
    pub fn model(&self) -> Option<&str> {
        self.core.options.model.as_deref()
    }

    /// What the session may do.
    pub fn permissions(&self) -> &Permissions {
        &self.core.permissions
    }

    /// Judges what `who` is about to do, and asks where that is asked for. `Ok(true)`: in the sandbox alone.
    pub async fn judge(&self, who: &str, access: Access) -> Result<bool, TurnError> {
        let allowed = self.core.judge(who, &[access]).await.map_err(|denial| self.core.refused(denial))?;
        Ok(allowed == Allowed::InSandbox)
    }

    /// Model calls that are left in this activation; `None` where they are not limited.
    pub fn calls_left(&self) -> Option<u32> {
        self.core.limits.max_turns.map(|limit| limit.saturating_sub(self.core.ledger().turns))
    }

    /// The limit of model calls, as one that is reached; `None` where they are not limited.
    pub fn call_limit(&self) -> Option<LimitReached> {
        let (core, used) = (self.core, u64::from(self.core.ledger().turns));
        let reached = |limit| LimitReached::new(LimitKind::Turns, limit, used, core.limits_from.as_str());
        core.limits.max_turns.map(u64::from).map(reached)
    }

    /// What the session's budget and those above it have left; `u64::MAX` where nothing is limited.
    pub fn budget_left(&self) -> Amount {
        self.core.budget.left()
    }

    /// Counts a model call that another program makes for this turn.
    pub fn called_elsewhere(&self) -> Result<(), LimitReached> {
        self.core.count_turn()
    }

    /// Shows a piece of an answer; it is what there is of one until [`Turn::said_elsewhere`].
    pub fn piece(&self, piece: Piece<'_>) {
        let env = &self.core.env;
        env.activity.progress();
        match piece {
            Piece::Text(text) => {
                self.core.ledger().partial.push_str(text);
                env.display.show(&env.origin(), Shown::Text(text));
            }
            Piece::Thinking(text) => env.display.show(&env.origin(), Shown::Thinking(text)),
        }
    }

    /// Notes the text of an answer that another program gave, and which of its models did, as `program/model`.
    pub fn said_elsewhere(&self, model: &str, text: impl Into<String>) {
        let mut ledger = self.core.ledger();
        ledger.model = Some(model.to_owned());
        ledger.said(text.into());
    }

    /// Charges what another program has used. `Err` once a budget is used up: the program is to be stopped.
    pub fn spent_elsewhere(&self, usage: Usage, cost_micro_usd: Option<u64>) -> Result<(), TurnError> {
        self.core.ledger().spent(usage, cost_micro_usd);
        let budget = &self.core.budget;
        budget.charge(Amount { tokens: usage.total(), micro_usd: cost_micro_usd.unwrap_or(0) });
        // A further call would take at least as much.
        let least = Amount { tokens: 1, micro_usd: u64::from(budget.limits_cost()) };
        budget.reserve(least)?.settle(Amount::default());
        Ok(())
    }
}
