//! What became of each firing of a trigger.
//!
//! Guarantees: a firing that became a run is told as long as the store keeps the run, one that became none
//! for a week; what a source passed over by itself stands in the firing that follows. Whether it was made
//! on time can be seen: when it was due, and when it was made, are two times.

use amplifier_core::{RunId, Timestamp};
use amplifier_foundation::Host;
use amplifier_store::{DEFAULT_ROWS, RunFilter, RunState};
use amplifier_trigger::{BackgroundName, Passed, TriggerEventId, TriggerKey, TriggerKind};
use serde::{Serialize, Serializer};

use super::error::ReportError;
use super::left_out::{FIRED, LeftOut, REFUSED, Why};
use crate::run::{RunPayload, queue_of};

/// What a firing became.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Became {
    /// A run.
    Run {
        /// The run.
        run: RunId,
        /// Its number in the project.
        number: u64,
        /// Where it is.
        state: RunState,
        /// Why it is there.
        reason: Option<String>,
    },
    /// Another run stands for it.
    Coalesced,
    /// A policy left it out.
    Skipped {
        /// Why.
        reason: Option<String>,
    },
    /// It could not become a run, and will not when it is made again.
    Rejected {
        /// Why.
        reason: Option<String>,
    },
    /// The queue was full.
    Full,
}

impl Became {
    /// In a word: the state of the run, or `coalesced`, `skipped`, `rejected`, `full`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Run { state, .. } => state.as_str(),
            Self::Coalesced => "coalesced",
            Self::Skipped { .. } => "skipped",
            Self::Rejected { .. } => "rejected",
            Self::Full => "full",
        }
    }

    /// Why.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Run { reason, .. } | Self::Skipped { reason } | Self::Rejected { reason } => {
                reason.as_deref()
            }
            Self::Coalesced | Self::Full => None,
        }
    }
}

/// One firing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FiringRow {
    /// Its id.
    pub id: TriggerEventId,
    /// The background session.
    pub background: BackgroundName,
    /// The trigger of it.
    pub trigger: TriggerKey,
    /// What kind of trigger.
    pub kind: TriggerKind,
    /// When it was due.
    pub due: Timestamp,
    /// When it was made.
    pub fired: Timestamp,
    /// What became of it.
    pub became: Became,
    /// What its source passed over before it.
    pub passed: Passed,
}

/// Which firings. By default all.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct FiringQuery {
    /// Only those of this background session.
    pub background: Option<BackgroundName>,
    /// Only those of this trigger.
    pub trigger: Option<TriggerKey>,
    /// Only those made since.
    pub since: Option<Timestamp>,
    /// How many at most, the latest; `None` is no bound.
    pub limit: Option<usize>,
}

/// The firings of a project's triggers.
#[derive(Debug, Clone)]
pub struct Firings {
    host: Host,
}

impl Firings {
    /// Those of a host's project.
    pub fn of(host: &Host) -> Self {
        Self { host: host.clone() }
    }

    /// What became of firings, the latest first.
    pub async fn list(&self, query: &FiringQuery) -> Result<Vec<FiringRow>, ReportError> {
        let mut found = Vec::new();
        self.runs(query, &mut found).await?;
        for prefix in [FIRED, REFUSED] {
            self.left_out(prefix, query, &mut found).await?;
        }
        found.sort_by(|a, b| (b.fired, &b.id).cmp(&(a.fired, &a.id)));
        found.truncate(query.limit.unwrap_or(usize::MAX));
        Ok(found)
    }

    async fn runs(&self, query: &FiringQuery, found: &mut Vec<FiringRow>) -> Result<(), ReportError> {
        let mut filter = RunFilter::default();
        filter.queue = query.background.as_ref().map(queue_of);
        loop {
            let rows = self.host.store().runs(&filter).await?;
            let (read, last) = (rows.len(), rows.last().map(|row| row.place));
            for row in rows.into_iter().filter(|row| query.since.is_none_or(|since| row.created >= since)) {
                let Ok(RunPayload { event, .. }) = row.payload.decode() else { continue };
                let (run, number, state, reason) = (row.id, row.place, row.state, row.reason);
                let became = Became::Run { run, number, state, reason };
                let (kind, due, fired, passed) = (event.trigger, event.due, event.fired, event.passed);
                add(found, query, event.id, (kind, due, fired, passed), became);
            }
            match last.filter(|_| read >= filter.limit) {
                Some(last) => filter.after = last,
                None => return Ok(()),
            }
        }
    }

    async fn left_out(
        &self,
        prefix: &str,
        query: &FiringQuery,
        found: &mut Vec<FiringRow>,
    ) -> Result<(), ReportError> {
        let prefix =
            query.background.as_ref().map_or_else(|| prefix.to_owned(), |name| format!("{prefix}{name}/"));
        let mut after = None;
        loop {
            let page = self.host.store().keys(&prefix, after.as_ref(), DEFAULT_ROWS).await?;
            for (_, value) in &page {
                // One of before this was remembered says nothing.
                let Ok(LeftOut { id, kind, due, at, why, reason, passed }) = value.decode() else { continue };
                let became = match why {
                    Why::Coalesced => Became::Coalesced,
                    Why::Skipped => Became::Skipped { reason },
                    Why::Rejected => Became::Rejected { reason },
                    Why::Full => Became::Full,
                };
                add(found, query, id, (kind, due, at, passed), became);
            }
            if page.len() < DEFAULT_ROWS {
                return Ok(());
            }
            after = page.into_iter().next_back().map(|(key, _)| key);
        }
    }
}

fn add(
    found: &mut Vec<FiringRow>,
    query: &FiringQuery,
    id: TriggerEventId,
    (kind, due, fired, passed): (TriggerKind, Timestamp, Timestamp, Passed),
    became: Became,
) {
    let mut parts = id.as_str().split('/');
    let names = parts.next().zip(parts.next());
    let names =
        names.and_then(|(name, key)| Some((BackgroundName::new(name).ok()?, TriggerKey::named(key).ok()?)));
    let Some((background, trigger)) = names else { return };
    let wanted = query.trigger.as_ref().is_none_or(|wanted| *wanted == trigger)
        && query.since.is_none_or(|since| fired >= since);
    if wanted {
        found.push(FiringRow { id, background, trigger, kind, due, fired, became, passed });
    }
}

impl Serialize for FiringRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Said<'a> {
            id: &'a str,
            background_session: &'a BackgroundName,
            trigger: &'a TriggerKey,
            #[serde(rename = "type")]
            kind: &'a str,
            due: Timestamp,
            fired: Timestamp,
            became: &'static str,
            run_id: Option<&'a RunId>,
            number: Option<u64>,
            reason: Option<&'a str>,
            coalesced: u64,
            skipped: u64,
        }
        let run = match &self.became {
            Became::Run { run, number, .. } => Some((run, *number)),
            _ => None,
        };
        let said = Said {
            id: self.id.as_str(),
            background_session: &self.background,
            trigger: &self.trigger,
            kind: self.kind.as_str(),
            due: self.due,
            fired: self.fired,
            became: self.became.as_str(),
            run_id: run.map(|(run, _)| run),
            number: run.map(|(_, number)| number),
            reason: self.became.reason(),
            coalesced: self.passed.coalesced,
            skipped: self.passed.skipped,
        };
        said.serialize(serializer)
    }
}
