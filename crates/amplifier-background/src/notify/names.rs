//! Which consumer of the log is whose, over restarts and changes of the configuration.
//!
//! A value in the store lists the consumers that there are. It is written before a consumer is made and
//! after one is forgotten, so that none is left behind: a consumer that nobody reads would keep the log from
//! being shortened.
//!
//! Guarantees: an entry whose events have changed goes on where it was; one that is declared no more is
//! forgotten. Never here: events.

use std::collections::BTreeMap;

use amplifier_core::Payload;
use amplifier_foundation::Host;
use amplifier_foundation::router::{Consumer, Cursor, RouterError};
use amplifier_store::{Commit, ConsumerName, CounterName, DedupKey, Receipt, Store, StoreError, Write};
use serde::{Deserialize, Serialize};

use super::config::{NotifyConfig, NotifyTarget};

/// The consumers that there are, by the keys of their entries.
type Known = BTreeMap<String, Row>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    consumer: String,
    events: String,
    /// The consumer that this one takes over from, as long as it is not forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<String>,
}

/// What an entry has given up, as the store counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct GivenUp {
    /// Events that were tried to the end.
    pub failed: u64,
    /// Events at most that were removed from the log before they could be tried.
    pub missed: u64,
}

/// What the `at`th entry, counted from 0, has given up.
pub async fn given_up(store: &dyn Store, entries: &[NotifyConfig], at: usize) -> Result<GivenUp, StoreError> {
    let Some(key) = keys(entries).nth(at) else { return Ok(GivenUp::default()) };
    let failed = store.counter(&counter(&key, Count::Failed)).await?;
    Ok(GivenUp { failed, missed: store.counter(&counter(&key, Count::Missed)).await? })
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    Failed,
    Missed,
}

pub(super) fn counter(key: &str, count: Count) -> CounterName {
    let name = match count {
        Count::Failed => "failed",
        Count::Missed => "missed",
    };
    #[expect(clippy::expect_used, reason = "a key has letters, digits and `-_./` and at most 64 of them")]
    CounterName::new(format!("notify/{key}/{name}")).expect("a name")
}

/// An entry whose consumer is open.
pub(super) struct Opened {
    pub(super) key: String,
    pub(super) consumer: Consumer,
}

/// What entries are known by: their names, else what they do; the second of two equal ones is another.
fn keys<'a>(entries: impl IntoIterator<Item = &'a NotifyConfig>) -> impl Iterator<Item = String> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    entries.into_iter().map(move |entry| {
        let key = match (&entry.name, &entry.target) {
            (Some(name), _) => name.clone(),
            (None, NotifyTarget::Command(arguments)) => hash(&format!("command {arguments:?}")),
            (None, NotifyTarget::Url { url, .. }) => hash(&format!("url {url}")),
        };
        let number = seen.entry(key.clone()).and_modify(|number| *number += 1).or_default();
        if *number == 0 { key } else { format!("{key}.{number}") }
    })
}

fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().chars().take(16).collect()
}

/// Opens the consumers of these entries, and forgets all others.
pub(super) async fn open<'a>(
    host: &Host,
    entries: impl IntoIterator<Item = &'a NotifyConfig> + Clone,
    since: Option<Cursor>,
) -> Result<Vec<Opened>, RouterError> {
    let store = host.store().as_ref();
    let known = read(store).await?;
    let mut rows = Known::new();
    let mut wanted = Vec::new();
    for (key, entry) in keys(entries.clone()).zip(entries) {
        let filter = entry.filter()?;
        let events = filter.to_string();
        let fresh = || format!("notify/{key}/{}", host.ids().v4());
        let row = match known.get(&key) {
            Some(row) if row.events == events => row.clone(),
            Some(row) => {
                // One that was not taken over yet is where the events are.
                let before = row.before.clone().unwrap_or_else(|| row.consumer.clone());
                Row { consumer: fresh(), events, before: Some(before) }
            }
            None => Row { consumer: fresh(), events, before: None },
        };
        rows.insert(key.clone(), row);
        wanted.push((key, filter));
    }
    let kept: Vec<&str> = rows
        .values()
        .flat_map(|row| [Some(row.consumer.as_str()), row.before.as_deref()])
        .flatten()
        .collect();
    let all = known.values().flat_map(|row| [Some(row.consumer.clone()), row.before.clone()]).flatten();
    let gone: Vec<String> = all.filter(|name| !kept.contains(&name.as_str())).collect();
    write(store, (&known, &rows), &gone).await?;
    let mut opened = Vec::new();
    for (key, filter) in wanted {
        let Some(row) = rows.get(&key) else { continue };
        let from = match &row.before {
            Some(before) => store.cursor(&ConsumerName::new(before)?).await?,
            None => since,
        };
        let router = host.router();
        let consumer = match from {
            None => router.consumer(&row.consumer, filter).await?,
            Some(from) => match router.consumer_from(&row.consumer, from, filter.clone()).await {
                // The place was pruned: what there is left begins at the oldest event.
                Err(RouterError::Gone { oldest }) => {
                    router.consumer_from(&row.consumer, oldest, filter).await?
                }
                other => other?,
            },
        };
        opened.push(Opened { key, consumer });
    }
    let before = rows.clone();
    let gone: Vec<String> = rows.values_mut().filter_map(|row| row.before.take()).collect();
    write(store, (&before, &rows), &gone).await?;
    Ok(opened)
}

fn list() -> DedupKey {
    #[expect(clippy::expect_used, reason = "`notify/consumers` is a name")]
    DedupKey::new("notify/consumers").expect("a name")
}

async fn read(store: &dyn Store) -> Result<Known, StoreError> {
    let value = store.key(&list()).await?;
    Ok(value.and_then(|value| value.decode().ok()).unwrap_or_default())
}

/// Writes the list, and forgets consumers, in one commit.
async fn write(store: &dyn Store, (from, to): (&Known, &Known), gone: &[String]) -> Result<(), RouterError> {
    if from == to && gone.is_empty() {
        return Ok(());
    }
    let value =
        Payload::encode(to).map_err(|_| StoreError::Malformed { what: "a list of consumers is JSON" })?;
    let mut commit = Commit::from(Write::SetValue { key: list(), value });
    for name in gone {
        commit = commit.write(Write::DropCursor { consumer: ConsumerName::new(name)? });
    }
    match store.commit(commit).await? {
        Receipt::Applied(_) => Ok(()),
        _ => Ok(()),
    }
}
