//! What a session and all its descendants come to together.
//!
//! Guarantees: a cost that is not known makes the sum unknown, never smaller; every activation counts,
//! and each descendant is told once, as its latest activation stands.

use amplifier_core::{OutcomeKind, SessionOutcome, Usage};

use super::node::ChildSummary;

/// A session's outcome with those of its descendants.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TreeOutcome {
    /// Tokens of all of them.
    pub usage: Usage,
    /// Cost of all of them in millionths of a US dollar; `None` if that of one is not known.
    pub cost_micro_usd: Option<u64>,
    /// True if a tool call of any of them was denied because nobody could be asked.
    pub denied_unasked: bool,
    /// The descendants, each parent before its children.
    pub children: Vec<ChildSummary>,
}

impl TreeOutcome {
    /// Adds up a session's outcome and what is known of its descendants.
    pub fn new(own: &SessionOutcome, descendants: Vec<ChildSummary>) -> Self {
        let mut usage = own.usage;
        let mut cost = Cost::default();
        cost.add(Some(own.kind), own.usage, own.cost_micro_usd);
        for child in &descendants {
            usage += child.usage;
            cost.add(child.outcome, child.usage, child.cost_micro_usd);
        }
        let denied = descendants.iter().any(|child| child.denied_unasked);
        Self {
            usage,
            cost_micro_usd: cost.sum(),
            denied_unasked: own.denied_unasked || denied,
            children: latest(descendants),
        }
    }

    /// Those of which nobody took care.
    pub fn abandoned(&self) -> impl Iterator<Item = &ChildSummary> {
        self.children.iter().filter(|child| child.is_abandoned())
    }
}

/// Costs added up.
#[derive(Debug, Default)]
struct Cost {
    known: Option<u64>,
    has_unknown: bool,
}

impl Cost {
    /// A session that failed before a model answered has cost nothing, and says nothing of it.
    fn add(&mut self, kind: Option<OutcomeKind>, usage: Usage, micro_usd: Option<u64>) {
        match micro_usd {
            Some(cost) => self.known = Some(self.known.unwrap_or(0).saturating_add(cost)),
            None => {
                let answered = matches!(kind, None | Some(OutcomeKind::Completed));
                self.has_unknown |= answered || usage.total() > 0;
            }
        }
    }

    fn sum(&self) -> Option<u64> {
        self.known.filter(|_| !self.has_unknown)
    }
}

/// Each session once: of several activations the last, at the place of the first.
fn latest(descendants: Vec<ChildSummary>) -> Vec<ChildSummary> {
    let mut latest: Vec<ChildSummary> = Vec::with_capacity(descendants.len());
    for child in descendants {
        match latest.iter_mut().find(|known| known.id == child.id) {
            Some(known) => *known = child,
            None => latest.push(child),
        }
    }
    latest
}

#[cfg(test)]
mod tests {
    use amplifier_core::{Activation, SessionId};

    use super::*;

    fn own(cost: Option<u64>) -> SessionOutcome {
        let mut own = SessionOutcome::new(OutcomeKind::Completed, Activation::FIRST, "", None);
        (own.usage.input_tokens, own.cost_micro_usd) = (1, cost);
        own
    }

    fn child(id: &str, outcome: Option<OutcomeKind>, tokens: u64, cost: Option<u64>) -> ChildSummary {
        let usage = Usage { output_tokens: tokens, ..Usage::default() };
        ChildSummary {
            id: SessionId::new(id).unwrap(),
            parent: SessionId::new("root").unwrap(),
            agent: None,
            bundle: "b".into(),
            depth: 1,
            background: true,
            awaited: false,
            outcome,
            usage,
            cost_micro_usd: cost,
            denied_unasked: false,
        }
    }

    #[test]
    fn a_cost_that_is_not_known_is_no_zero() {
        use OutcomeKind::{Completed, Failed};
        let check = |own_cost, child: ChildSummary, expect| {
            let tree = TreeOutcome::new(&own(own_cost), vec![child]);
            assert_eq!(tree.cost_micro_usd, expect, "{tree:?}");
        };
        check(Some(2), child("a", Some(Completed), 5, Some(3)), Some(5));
        check(Some(2), child("a", Some(Completed), 5, None), None);
        check(Some(2), child("a", Some(Completed), 0, None), None);
        check(None, child("a", Some(Completed), 5, Some(3)), None);
        check(Some(2), child("a", Some(Failed), 0, None), Some(2));
        check(Some(2), child("a", Some(Failed), 4, None), None);
        check(Some(2), child("a", None, 0, None), None);
        assert_eq!(TreeOutcome::new(&own(None), Vec::new()).cost_micro_usd, None);
    }

    #[test]
    fn every_activation_counts_and_the_last_one_is_told() {
        use OutcomeKind::{Completed, Failed};
        let mut denied = child("a", Some(Failed), 2, Some(1));
        denied.denied_unasked = true;
        let all = vec![
            denied,
            child("b", Some(Completed), 3, Some(1)),
            child("a", Some(Completed), 4, Some(1)),
            child("c", Some(Failed), 0, None),
            child("d", None, 0, None),
        ];
        let tree = TreeOutcome::new(&own(Some(1)), all);
        let told: Vec<_> = tree.children.iter().map(|child| (child.id.as_str(), child.outcome)).collect();
        assert_eq!(told, [("a", Some(Completed)), ("b", Some(Completed)), ("c", Some(Failed)), ("d", None)]);
        assert_eq!((tree.usage.total(), tree.denied_unasked), (10, true));
        let abandoned: Vec<&str> = tree.abandoned().map(|child| child.id.as_str()).collect();
        assert_eq!(abandoned, ["c", "d"]);
    }
}
