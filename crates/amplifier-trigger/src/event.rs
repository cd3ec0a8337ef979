//! What a trigger says: one firing, with an id that follows from what it is about.
//!
//! Guarantees: an id is the same whoever makes it how often (`background/key/generation/nominal`), so
//! a store can refuse the second run of one firing. Never here: what a firing leads to.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amplifier_core::id::InvalidId;
use amplifier_core::{EventId, Payload, RunId, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::config::TriggerKind;
use crate::row::{BackgroundName, Generation, InvalidName, TriggerKey};

/// Longest last part of an id, in bytes.
const MAX_NOMINAL_BYTES: usize = 48;

/// Names one firing: `background/key/generation/nominal`.
///
/// The nominal part is the due time of a timer (RFC 3339, UTC), a delivery of a webhook, a set of
/// changed files, a call.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TriggerEventId(Arc<str>);

/// Why a text is no id of a firing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEventId {
    /// Not four parts.
    #[error("`{text}` is no id of a firing; write background/key/generation/nominal")]
    Form {
        /// The text.
        text: String,
    },
    /// A part is not well formed.
    #[error("`{text}` is no id of a firing")]
    Part {
        /// The text.
        text: String,
        /// What is wrong with the name.
        #[source]
        source: InvalidName,
    },
    /// The last part is empty, too long, or holds other characters than letters, digits and `.:_-`.
    #[error(
        "`{nominal}` cannot end an id; use 1 to {MAX_NOMINAL_BYTES} letters, digits, `.`, `:`, `_` and `-`"
    )]
    Nominal {
        /// The last part.
        nominal: String,
    },
}

impl TriggerEventId {
    /// The id of the firing that `nominal` tells apart from all others of this generation.
    pub fn new(
        background: &BackgroundName,
        key: &TriggerKey,
        generation: Generation,
        nominal: &str,
    ) -> Result<Self, InvalidEventId> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '_' | '-');
        if nominal.is_empty() || nominal.len() > MAX_NOMINAL_BYTES || !nominal.chars().all(allowed) {
            return Err(InvalidEventId::Nominal { nominal: nominal.chars().take(80).collect() });
        }
        Ok(Self(Arc::from(format!("{background}/{key}/{generation}/{nominal}"))))
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part: a due time, a delivery, a call.
    pub fn nominal(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The id of the run that this firing leads to. Two firings never have one run id: the first three
    /// parts hold no `:`.
    pub fn run_id(&self) -> Result<RunId, InvalidId> {
        RunId::new(self.0.replace('/', ":"))
    }
}

impl FromStr for TriggerEventId {
    type Err = InvalidEventId;
    fn from_str(text: &str) -> Result<Self, InvalidEventId> {
        let shown = || text.chars().take(200).collect::<String>();
        let mut parts = text.split('/');
        let (Some(background), Some(key), Some(generation), Some(nominal), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidEventId::Form { text: shown() });
        };
        let part = |source| InvalidEventId::Part { text: shown(), source };
        let background = BackgroundName::new(background).map_err(part)?;
        let key = TriggerKey::named(key).map_err(part)?;
        let generation = generation.parse().map_err(|_| InvalidEventId::Form { text: shown() })?;
        Self::new(&background, &key, Generation(generation), nominal)
    }
}

impl TryFrom<String> for TriggerEventId {
    type Error = InvalidEventId;
    fn try_from(text: String) -> Result<Self, InvalidEventId> {
        text.parse()
    }
}

impl From<TriggerEventId> for String {
    fn from(id: TriggerEventId) -> String {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for TriggerEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TriggerEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TriggerEventId({})", self.0)
    }
}

/// Why something fired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// The schedule: its time has come.
    Schedule,
    /// The schedule: its time came while nobody looked, and the misfire policy has it made up for.
    Misfire,
    /// The owner has started, and the timer is `immediate`.
    Start,
    /// Code or a person asked for it.
    Manual,
    /// Files have changed.
    Files,
    /// A webhook was called.
    Delivery {
        /// The sender's own id of the delivery.
        delivery: Option<String>,
    },
    /// An event of the log.
    Event {
        /// The event.
        event: EventId,
    },
    /// A source of somebody's own.
    Source,
    /// Something stands so that it is to be done, since an event of the log. What fired is how it stands, not the
    /// event: no hop is counted.
    Since {
        /// The event.
        event: EventId,
    },
}

/// Firings that did not become events, counted since the event before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Passed {
    /// Firings that this one stands for, besides itself.
    #[serde(default)]
    pub coalesced: u64,
    /// Firings that the misfire policy or `max_age` left out.
    #[serde(default)]
    pub skipped: u64,
}

/// One firing of a trigger.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TriggerEvent {
    /// Names it; deterministic.
    pub id: TriggerEventId,
    /// The kind of the trigger: `timer`, `webhook`, …
    pub trigger: TriggerKind,
    /// Where it came from, in words: `timer-trigger`, a hook's path, a directory.
    pub source: String,
    /// The name of the event that it is about: an event of the log, `issues` of a webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_name: Option<String>,
    /// When it was due, nominally: without jitter, and however late it was made.
    pub due: Timestamp,
    /// When it was made.
    pub fired: Timestamp,
    /// Why.
    pub cause: Cause,
    /// What it says.
    pub payload: Payload,
    /// Where its source goes on after it; belongs into the row with the commit that takes it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Payload>,
    /// What the source passed over before it.
    #[serde(default)]
    pub passed: Passed,
    /// The event of the log that it answers, where its source has read it: else it is looked up by the cause.
    /// Not written down.
    #[serde(skip)]
    pub answers: Option<amplifier_core::Cause>,
    /// By this who asked hears that it was taken in. Not written down.
    #[serde(skip)]
    pub receipt: Receipt,
}

impl TriggerEvent {
    /// An event that is due when it is made, of which nobody waits to hear.
    pub fn new(
        id: TriggerEventId,
        trigger: TriggerKind,
        at: Timestamp,
        cause: Cause,
        payload: Payload,
    ) -> Self {
        let source = format!("{trigger}-trigger");
        let passed = Passed::default();
        let receipt = Receipt::default();
        let (event_name, cursor, answers) = (None, None, None);
        let (due, fired) = (at, at);
        Self { id, trigger, source, event_name, due, fired, cause, payload, cursor, passed, answers, receipt }
    }
}

/// What became of a firing that somebody waits to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acceptance {
    /// It is durable.
    Accepted,
    /// It was taken in before, under this id.
    Repeated(TriggerEventId),
    /// A policy has left it out, as it was asked to.
    Ignored {
        /// Why: one clause.
        reason: String,
    },
    /// The queue is full.
    Full {
        /// When it is worth another try.
        retry_after: Duration,
    },
    /// It was rejected, and will be again.
    Rejected {
        /// Why: one clause.
        reason: String,
    },
}

/// By which the taker of an event tells who fired it what became of it. Clones are the same receipt; the
/// first answer counts. Dropping all of them unanswered tells the other side that nobody took it.
#[derive(Clone, Default)]
pub struct Receipt(Option<Arc<Mutex<Option<oneshot::Sender<Acceptance>>>>>);

impl Receipt {
    /// A receipt, and where its answer comes out.
    pub(crate) fn new() -> (Self, oneshot::Receiver<Acceptance>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(Arc::new(Mutex::new(Some(sender))))), receiver)
    }

    /// Tells what became of the event. Call it with [`Acceptance::Accepted`] only once it is durable.
    pub fn answer(&self, acceptance: Acceptance) {
        let Some(slot) = &self.0 else { return };
        // Guards one `take`; never held across anything.
        let sender = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sender) = sender {
            // Who asked may have gone; the event stands all the same.
            let _ = sender.send(acceptance);
        }
    }

    /// True if somebody waits for the answer.
    pub fn is_awaited(&self) -> bool {
        let held = self.0.as_ref().map(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner));
        held.is_some_and(|slot| slot.as_ref().is_some_and(|sender| !sender.is_closed()))
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_awaited() { "Receipt(awaited)" } else { "Receipt" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(nominal: &str) -> Result<TriggerEventId, InvalidEventId> {
        let (background, key) =
            (BackgroundName::new("nightly").unwrap(), TriggerKey::named("report").unwrap());
        TriggerEventId::new(&background, &key, Generation(3), nominal)
    }

    #[test]
    fn an_id_is_made_of_four_parts_and_read_back() {
        let made = id("2026-11-22T03:00:00Z").unwrap();
        assert_eq!(made.as_str(), "nightly/report/3/2026-11-22T03:00:00Z");
        assert_eq!(made.run_id().unwrap().as_str(), "nightly:report:3:2026-11-22T03:00:00Z");
        assert_eq!(made.as_str().parse::<TriggerEventId>().unwrap(), made);
        for wrong in ["", "a/b", "a/b/x/c", "a/b/1/c/d", "a b/b/1/c", "a/b/1/"] {
            assert!(wrong.parse::<TriggerEventId>().is_err(), "{wrong}");
        }
        assert!(id("a/b").is_err() && id(&"x".repeat(49)).is_err());
    }

    #[test]
    fn the_longest_id_is_an_id_of_a_run() {
        let long = "x".repeat(64);
        let (background, key) = (BackgroundName::new(&long).unwrap(), TriggerKey::named(&long).unwrap());
        let nominal = "y".repeat(MAX_NOMINAL_BYTES);
        let made = TriggerEventId::new(&background, &key, Generation(u32::MAX), &nominal).unwrap();
        made.run_id().unwrap();
    }

    #[test]
    fn the_first_answer_of_a_receipt_counts() {
        let (receipt, mut answer) = Receipt::new();
        let other = receipt.clone();
        assert!(receipt.is_awaited());
        other.answer(Acceptance::Accepted);
        receipt.answer(Acceptance::Full { retry_after: Duration::ZERO });
        assert_eq!(answer.try_recv().unwrap(), Acceptance::Accepted);
        assert!(!receipt.is_awaited());
        Receipt::default().answer(Acceptance::Accepted);
    }
}
