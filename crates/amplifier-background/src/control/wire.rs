//! What an owner is asked, and what it answers, as commands carry it.
//!
//! Guarantees: each ask has an id, and its replies come to whoever asked, under a name of that ask alone.

use std::time::Duration;

use amplifier_core::Payload;
use amplifier_foundation::Shutdown;
use amplifier_store::{CommandName, Commit, OwnerId, StoreError, Write};
use amplifier_trigger::BackgroundName;
use serde::{Deserialize, Serialize};

/// How something is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopHow {
    /// Sessions that run may finish, as long as the owner allows.
    Drain,
    /// Sessions that run are cut off.
    Now,
}

impl StopHow {
    pub(super) fn shutdown(self, within: Duration) -> Shutdown {
        match self {
            Self::Drain => Shutdown::Drain { within },
            Self::Now => Shutdown::Now,
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ask {
    /// To stop one background session, or all of them and itself.
    Stop { name: Option<BackgroundName>, how: StopHow },
    /// To read what is declared anew.
    Reload,
    /// To act on the pause that the store has or has no more.
    Pause { name: BackgroundName },
    /// To look at a queue into which somebody put something.
    Look { name: BackgroundName },
}

/// An ask on its way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Envelope {
    /// Tells it from all others.
    pub(super) id: String,
    /// Who asks; `None`: nobody waits for an answer.
    pub(super) from: Option<String>,
    pub(super) ask: Ask,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// It is being done.
    Taken,
    /// It is done.
    Done(Answer),
    /// It was not done.
    Refused { why: String },
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Nothing,
    /// Whether there was something to do.
    Acted(bool),
    Reloaded(Reload),
}

/// What an owner did once it had read its declarations anew.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reload {
    /// Background sessions that were not there before.
    pub started: Vec<BackgroundName>,
    /// Those that are declared otherwise than before: they start anew once what runs has ended.
    pub changed: Vec<BackgroundName>,
    /// Those that are declared no longer: they end once what runs has ended.
    pub removed: Vec<BackgroundName>,
    /// Those that could not be started, each with the reason.
    pub failed: Vec<String>,
}

fn name(text: &str) -> Result<CommandName, StoreError> {
    CommandName::new(text).map_err(|_| StoreError::Malformed { what: "a command's name" })
}

/// Under which name an owner is asked.
pub(super) fn ask_name() -> Result<CommandName, StoreError> {
    name("background")
}

/// Under which name the replies of an ask come.
pub(super) fn reply_name(ask: &str) -> Result<CommandName, StoreError> {
    name(&format!("background-reply/{ask}"))
}

/// The commit that sends something to a process.
pub(super) fn send(to: &OwnerId, name: CommandName, what: &impl Serialize) -> Result<Commit, StoreError> {
    let payload =
        Payload::encode(what).map_err(|_| StoreError::Malformed { what: "a command is too large" })?;
    Ok(Write::Send { to: to.clone(), name, payload }.into())
}
