//! What a background session comes to: the numbers of the conservation law, and what its runs have used.
//!
//! Guarantees: [`Totals::adds_up`] is false only if a firing was lost or counted twice.

use std::collections::BTreeMap;

use amplifier_foundation::Host;
use amplifier_store::{CounterName, RunRow, RunState, StoreError};
use amplifier_trigger::BackgroundName;
use serde::{Serialize, Serializer};

use super::row::{RunSummary, Spent, Standing};
use crate::run::queue_of;
use crate::status::Counts;

/// What a background session comes to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Totals {
    /// Its name.
    pub name: BackgroundName,
    /// What was counted since it was first seen.
    pub counts: Counts,
    /// Runs that the store holds, by their states.
    pub states: BTreeMap<&'static str, u64>,
    /// Runs that were dropped for their age.
    pub retired: u64,
    /// What the report is about.
    pub within: Within,
    /// The numbers before its runs were read.
    before: Counts,
}

/// What runs come to that a report is about.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Within {
    /// How many there are, by how they stand.
    pub standings: BTreeMap<Standing, u64>,
    /// What they have used.
    pub spent: Spent,
}

impl Within {
    /// Counts a run.
    pub(super) fn add(&mut self, run: &RunSummary) {
        *self.standings.entry(run.standing).or_default() += 1;
        self.spent += run.spent;
    }

    /// How many there are.
    pub fn runs(&self) -> u64 {
        self.standings.values().sum()
    }

    /// How many stand so.
    pub fn count(&self, standing: Standing) -> u64 {
        self.standings.get(&standing).copied().unwrap_or(0)
    }
}

impl Totals {
    /// The numbers before its runs are read.
    pub(super) async fn begin(host: &Host, name: &BackgroundName) -> Result<Self, StoreError> {
        let before = Counts::read(host.store().as_ref(), name).await?;
        let (states, within) = (BTreeMap::new(), Within::default());
        Ok(Self { name: name.clone(), counts: before, states, retired: 0, within, before })
    }

    /// Counts a row of the store.
    pub(super) fn count(&mut self, row: &RunRow) {
        *self.states.entry(row.state.as_str()).or_default() += 1;
    }

    /// The numbers after its runs were read.
    pub(super) async fn end(&mut self, host: &Host) -> Result<(), StoreError> {
        let retired = format!("retired/{}", queue_of(&self.name));
        if let Ok(counter) = CounterName::new(retired) {
            self.retired = host.store().counter(&counter).await?;
        }
        self.counts = Counts::read(host.store().as_ref(), &self.name).await?;
        Ok(())
    }

    /// Runs that the store holds.
    pub fn rows(&self) -> u64 {
        self.states.values().sum()
    }

    /// Runs in a state.
    pub fn in_state(&self, state: RunState) -> u64 {
        self.states.get(state.as_str()).copied().unwrap_or(0)
    }

    /// True if `triggered = coalesced + skipped + rejected + rows`; rows that were dropped for their age
    /// count. While firings are taken in, the rows may be those of any moment of the reading.
    pub fn adds_up(&self) -> bool {
        let rows = self.rows() + self.retired;
        (self.before.rows()..=self.counts.rows()).contains(&rows)
    }
}

impl Serialize for Totals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Said<'a> {
            name: &'a BackgroundName,
            triggered: u64,
            coalesced: u64,
            skipped: u64,
            rejected: u64,
            rows: u64,
            retired: u64,
            adds_up: bool,
            states: &'a BTreeMap<&'static str, u64>,
            runs: u64,
            standings: &'a BTreeMap<Standing, u64>,
            #[serde(flatten)]
            spent: Spent,
        }
        let Counts { triggered, coalesced, skipped, rejected } = self.counts;
        let said = Said {
            name: &self.name,
            triggered,
            coalesced,
            skipped,
            rejected,
            rows: self.rows(),
            retired: self.retired,
            adds_up: self.adds_up(),
            states: &self.states,
            runs: self.within.runs(),
            standings: &self.within.standings,
            spent: self.within.spent,
        };
        said.serialize(serializer)
    }
}
