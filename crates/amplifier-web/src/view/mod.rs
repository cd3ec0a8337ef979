//! How things look to who asks, the same for programs and for pages.
//!
//! Guarantees: what is told is what the store and the manager have at this moment.

mod issue;

use amplifier_background::control::next_firing;
use amplifier_background::{BackgroundError, BackgroundStatus, Counts};
use amplifier_core::activity::ActivityState;
use amplifier_core::{SessionId, Timestamp};
use amplifier_store::{SessionRow, StoreError};
use amplifier_trigger::BackgroundName;
use serde::Serialize;

use crate::state::App;

pub(crate) use issue::IssueHistory;
#[cfg(test)]
pub(crate) use issue::IssueRun;

/// A background session.
#[derive(Debug, Serialize)]
pub(crate) struct Background {
    pub(crate) name: String,
    pub(crate) bundle: String,
    pub(crate) state: &'static str,
    pub(crate) pool_size: u32,
    pub(crate) active: Vec<SessionId>,
    pub(crate) queued: u64,
    pub(crate) triggered: u64,
    pub(crate) coalesced: u64,
    pub(crate) skipped: u64,
    pub(crate) rejected: u64,
    pub(crate) last_trigger: Option<Timestamp>,
    pub(crate) limited: Option<Limited>,
    pub(crate) error: Option<String>,
    pub(crate) triggers: Vec<Trigger>,
}

/// Why nothing begins, and until when.
#[derive(Debug, Serialize)]
pub(crate) struct Limited {
    pub(crate) reason: String,
    pub(crate) until: Timestamp,
}

/// A trigger.
#[derive(Debug, Serialize)]
pub(crate) struct Trigger {
    pub(crate) key: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) what: String,
    pub(crate) state: Option<&'static str>,
    pub(crate) restarts: u32,
    pub(crate) error: Option<String>,
    pub(crate) last_fired: Option<Timestamp>,
    pub(crate) next: Option<Timestamp>,
}

impl Background {
    /// All of them, by name.
    pub(crate) async fn all(app: &App) -> Result<Vec<Self>, StoreError> {
        let mut all = Vec::new();
        for status in app.manager.statuses() {
            all.push(Self::of(app, status).await?);
        }
        Ok(all)
    }

    /// One of them; `None`: there is none.
    pub(crate) async fn one(app: &App, name: &BackgroundName) -> Result<Option<Self>, StoreError> {
        match app.manager.status(name) {
            Ok(status) => Self::of(app, status).await.map(Some),
            Err(BackgroundError::Store(error)) => Err(error),
            Err(_) => Ok(None),
        }
    }

    async fn of(app: &App, status: BackgroundStatus) -> Result<Self, StoreError> {
        let store = app.host().store().as_ref();
        let name = &status.name;
        let Counts { triggered, coalesced, skipped, rejected, .. } = Counts::read(store, name).await?;
        let config = app.manager.config(name).ok();
        let mut triggers = Vec::new();
        for trigger in config.iter().flat_map(|config| &config.triggers) {
            let key = trigger.key();
            let told = status.triggers.get(&key);
            triggers.push(Trigger {
                kind: trigger.kind().as_str().to_owned(),
                what: amplifier_background::declared::in_short(trigger),
                state: told.map(|told| told.state.as_str()),
                restarts: told.map_or(0, |told| told.restarts),
                error: told.and_then(|told| told.error.clone()),
                last_fired: told.and_then(|told| told.last_fired),
                next: match status.state {
                    amplifier_background::BackgroundState::Paused => None,
                    _ => next_firing(app.host(), name, trigger).await?,
                },
                key: key.to_string(),
            });
        }
        Ok(Self {
            queued: store.count_queued(&amplifier_background::queue_of(name)).await?,
            name: name.to_string(),
            bundle: status.bundle,
            state: status.state.as_str(),
            pool_size: config.map_or(0, |config| config.pool_size),
            active: status.active,
            triggered,
            coalesced,
            skipped,
            rejected,
            last_trigger: status.last_trigger,
            limited: status.limited.map(|(reason, until)| Limited { reason, until }),
            error: status.error,
            triggers,
        })
    }
}

/// A session.
#[derive(Debug, Serialize)]
pub(crate) struct Session {
    pub(crate) session_id: SessionId,
    pub(crate) parent_id: Option<SessionId>,
    pub(crate) root_id: SessionId,
    pub(crate) bundle: Option<String>,
    pub(crate) status: &'static str,
    /// What it is at, of one that runs in this process.
    pub(crate) activity: Option<String>,
    pub(crate) outcome: Option<&'static str>,
    pub(crate) error: Option<String>,
    pub(crate) activations: u32,
    pub(crate) turns: Option<u32>,
    pub(crate) cost_usd: Option<f64>,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    /// Levels below the root of its tree.
    pub(crate) depth: usize,
}

impl Session {
    pub(crate) fn of(app: &App, row: &SessionRow) -> Self {
        let outcome = row.settled.as_ref().map(|settled| &settled.outcome);
        let lives = outcome.is_none() && app.host().lives(&row.owner);
        let status = match (outcome.is_some(), lives) {
            (true, _) => "ended",
            (false, true) => "running",
            (false, false) => "lost",
        };
        Self {
            session_id: row.id.clone(),
            parent_id: row.parent.clone(),
            root_id: row.root.clone(),
            bundle: row.bundle.as_ref().map(ToString::to_string),
            status,
            activity: app
                .host()
                .sessions()
                .get(&row.id)
                .map(|live| at(&live.env().activity.snapshot().state)),
            outcome: outcome.map(|outcome| outcome.kind.as_str()),
            error: outcome.and_then(|outcome| outcome.error.as_ref()).map(|error| error.message.clone()),
            activations: row.activation.0,
            turns: outcome.map(|outcome| outcome.turns),
            cost_usd: outcome.and_then(|outcome| outcome.cost_micro_usd).map(usd),
            created: row.created,
            updated: row.updated,
            depth: 0,
        }
    }

    /// Puts a tree in order: each session behind the one that spawned it.
    pub(crate) fn tree(mut all: Vec<Self>) -> Vec<Self> {
        all.sort_by(|a, b| (a.created, &a.session_id).cmp(&(b.created, &b.session_id)));
        let mut ordered: Vec<Self> = Vec::with_capacity(all.len());
        let mut left = all;
        while !left.is_empty() {
            let before = left.len();
            let mut rest = Vec::new();
            for mut session in left {
                let parent = session.parent_id.as_ref().filter(|parent| **parent != session.session_id);
                let at = parent.map(|parent| ordered.iter().position(|known| known.session_id == *parent));
                match at {
                    None => ordered.push(session),
                    Some(Some(at)) => {
                        let depth = ordered[at].depth;
                        session.depth = depth + 1;
                        let behind = ordered[at + 1..].iter().take_while(|known| known.depth > depth).count();
                        ordered.insert(at + 1 + behind, session);
                    }
                    Some(None) => rest.push(session),
                }
            }
            if rest.len() == before {
                // Whose parents are not among them.
                ordered.append(&mut rest);
            }
            left = rest;
        }
        ordered
    }
}

fn at(state: &ActivityState) -> String {
    match state {
        ActivityState::Starting => "starting".to_owned(),
        ActivityState::Model => "waiting for the model".to_owned(),
        ActivityState::Tool => "running a tool".to_owned(),
        ActivityState::Asking => "asking".to_owned(),
        ActivityState::Waiting { reason, .. } => format!("waiting: {reason}"),
        _ => "idle".to_owned(),
    }
}

/// Millionths as dollars.
#[expect(clippy::cast_precision_loss, reason = "exact to nine billion dollars")]
pub(crate) fn usd(micro: u64) -> f64 {
    micro as f64 / 1e6
}
