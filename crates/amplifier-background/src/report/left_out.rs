//! What is remembered of a firing that became no run.
//!
//! Guarantees: it is written in the commit that counts the firing, under the key that keeps it from being
//! counted again, so it costs no wait and no row of its own; it is forgotten with that key. Never here: what
//! the firing said, which may be large.

use amplifier_core::{Payload, Timestamp};
use amplifier_trigger::{Passed, TriggerEvent, TriggerEventId, TriggerKind};
use serde::{Deserialize, Serialize};

use crate::intake::Taken;

/// What the keys of firings begin with that are not taken in again.
pub(crate) const FIRED: &str = "fired/";
/// What the keys of firings begin with that met a full queue, and may come again.
pub(crate) const REFUSED: &str = "refused/";

/// Longest reason that is remembered, in bytes.
const MAX_REASON: usize = 400;

/// Why a firing became no run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Why {
    Coalesced,
    Skipped,
    Rejected,
    Full,
}

/// A firing that became no run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    pub(crate) id: TriggerEventId,
    pub(crate) kind: TriggerKind,
    pub(crate) due: Timestamp,
    /// When it was decided.
    pub(crate) at: Timestamp,
    pub(crate) why: Why,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) passed: Passed,
}

impl LeftOut {
    /// `None` for a firing of which there is nothing to remember.
    pub(crate) fn of(event: &TriggerEvent, taken: &Taken, at: Timestamp) -> Option<Self> {
        let (why, reason) = match taken {
            Taken::Coalesced => (Why::Coalesced, None),
            Taken::Skipped => (Why::Skipped, Some("all places are taken")),
            Taken::Rejected(reason) => (Why::Rejected, Some(reason.as_str())),
            Taken::Full => (Why::Full, Some("the queue is full")),
            Taken::Run(_) | Taken::Repeated | Taken::Wait => return None,
        };
        let reason = reason.map(|reason| reason[..reason.floor_char_boundary(MAX_REASON)].to_owned());
        let (id, kind, passed) = (event.id.clone(), event.trigger.clone(), event.passed);
        Some(Self { id, kind, due: event.due, at, why, reason, passed })
    }

    pub(crate) fn value(&self) -> Payload {
        Payload::encode(self).unwrap_or_else(|_| Payload::null())
    }
}
