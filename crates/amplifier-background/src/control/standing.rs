//! How background sessions stand, as anybody sees it from any process.
//!
//! Guarantees: who runs them is believed only while its process lives; what runs and what waits is what the
//! store has; the next firings are told by the code that fires.

use amplifier_core::{SessionId, Timestamp};
use amplifier_foundation::Host;
use amplifier_store::{RunFilter, RunState, Store, StoreError};
use amplifier_trigger::timer::upcoming;
use amplifier_trigger::{BackgroundName, TriggerConfig, TriggerKey, TriggerKind, TriggerRow, TriggerSpec};

use super::keys::OwnerInfo;
use super::pause::{Paused, paused};
use super::publish::Published;
use crate::declared::{Declared, DeclaredAt};
use crate::intake::trigger_row;
use crate::run::{queue_of, running_of};
use crate::status::{BackgroundState, Counts, TriggerState};

/// How a background session stands.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Standing {
    /// Its name.
    pub name: BackgroundName,
    /// Its bundle.
    pub bundle: String,
    /// Where it is declared.
    pub place: DeclaredAt,
    /// Where it is in its owner; `None`: nobody runs it.
    pub state: Option<BackgroundState>,
    /// Since when it is paused, and by whom.
    pub paused: Option<Paused>,
    /// The last error that an owner has told, gone or not.
    pub error: Option<String>,
    /// Runs that wait.
    pub queued: usize,
    /// Runs that were given up.
    pub dead: usize,
    /// Sessions of runs that run, or that were lost with their process and are gone on with.
    pub sessions: Vec<SessionId>,
    /// What the store has counted.
    pub counts: Counts,
    /// Its triggers, in the order of the declaration.
    pub triggers: Vec<TriggerStanding>,
}

/// How a trigger stands.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TriggerStanding {
    /// Its name, or the hash of its configuration.
    pub key: TriggerKey,
    /// What kind it is.
    pub kind: TriggerKind,
    /// What it reacts to, in short.
    pub what: String,
    /// Where it is in the owner; `None`: nobody listens to it.
    pub state: Option<TriggerState>,
    /// How often it was started again since it was well.
    pub restarts: u32,
    /// Its last error.
    pub error: Option<String>,
    /// When it fired last, as far as the last owner has told.
    pub last_fired: Option<Timestamp>,
    /// When it fires next, for a timer; what was missed and is made up for is due now.
    pub next: Option<Timestamp>,
}

impl Standing {
    /// When it is fired by a timer next.
    pub fn next(&self) -> Option<Timestamp> {
        self.triggers.iter().filter_map(|trigger| trigger.next).min()
    }
}

/// How these background sessions stand, and who runs them.
pub async fn standings(
    host: &Host,
    declared: &[Declared],
) -> Result<(Option<OwnerInfo>, Vec<Standing>), StoreError> {
    let owner = OwnerInfo::read(host).await?;
    let mut standings = Vec::with_capacity(declared.len());
    for one in declared {
        standings.push(standing(host, one, owner.as_ref()).await?);
    }
    Ok((owner, standings))
}

async fn standing(
    host: &Host,
    declared: &Declared,
    owner: Option<&OwnerInfo>,
) -> Result<Standing, StoreError> {
    let (store, config) = (host.store().as_ref(), &declared.config);
    let name = &config.name;
    let published = Published::read(store, name).await?;
    // What an owner has written that is gone tells no more than why.
    let current = published.as_ref().filter(|told| owner.is_some_and(|owner| owner.owner == told.owner));
    let paused = paused(store, name).await?;
    let state = owner.map(|_| match current {
        Some(told) => told.state,
        None => BackgroundState::Starting,
    });
    let mut triggers = Vec::with_capacity(config.triggers.len());
    for trigger in &config.triggers {
        let key = trigger.key();
        let told = published.as_ref().and_then(|told| told.triggers.get(&key));
        let now = current.and_then(|told| told.triggers.get(&key)).map(|told| told.state);
        triggers.push(TriggerStanding {
            kind: trigger.kind(),
            what: crate::declared::in_short(trigger),
            state: now,
            restarts: told.map_or(0, |told| told.restarts),
            error: told.and_then(|told| told.error.clone()),
            last_fired: told.and_then(|told| told.last_fired),
            next: if paused.is_some() { None } else { next_firing(host, name, trigger).await? },
            key,
        });
    }
    Ok(Standing {
        name: name.clone(),
        bundle: config.bundle.clone(),
        place: declared.place.clone(),
        state,
        paused,
        error: published.and_then(|told| told.error),
        queued: count(store, name, RunState::Queued).await?,
        dead: count(store, name, RunState::Dead).await?,
        sessions: running_of(host, name).await?.into_iter().filter_map(|row| row.session).collect(),
        counts: Counts::read(store, name).await?,
        triggers,
    })
}

/// How many runs of a background session wait.
pub async fn queued(host: &Host, name: &BackgroundName) -> Result<usize, StoreError> {
    count(host.store().as_ref(), name, RunState::Queued).await
}

async fn count(store: &dyn Store, name: &BackgroundName, state: RunState) -> Result<usize, StoreError> {
    let mut filter = RunFilter::default();
    filter.queue = Some(queue_of(name));
    filter.state = Some(state);
    filter.limit = usize::try_from(crate::config::MAX_QUEUE).unwrap_or(usize::MAX);
    Ok(store.runs(&filter).await?.len())
}

/// When a trigger fires next, if it is a timer.
pub async fn next_firing(
    host: &Host,
    name: &BackgroundName,
    trigger: &TriggerConfig,
) -> Result<Option<Timestamp>, StoreError> {
    let TriggerSpec::Timer(timer) = &trigger.spec else { return Ok(None) };
    let now = host.clock().now();
    let row =
        TriggerRow::adopt(trigger_row(host.store().as_ref(), name, &trigger.key()).await?, trigger, now);
    Ok(upcoming(timer, &trigger.policy, name, &row, now).next().map(|firing| firing.at))
}
