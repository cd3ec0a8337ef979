//! What a store keeps of a trigger: its key, its generation, and where it is.
//!
//! Guarantees: a key is the trigger's name or the hash of its configuration, never its place in a list;
//! a changed configuration is a new generation, so no id of the old one returns.
//! Never here: writing a row down. That is the store's.

use std::fmt;
use std::sync::Arc;

use amplifier_core::{Payload, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::TriggerConfig;
use crate::event::TriggerEvent;

/// Longest name, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 64;

/// A text is no name of a background session or trigger.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no name; use 1 to {MAX_NAME_BYTES} letters, digits, `-`, `_` and `.`, beginning with a letter or digit"
)]
pub struct InvalidName {
    /// The text, cut to 80 characters, control characters escaped.
    text: String,
}

fn check(text: &str) -> Result<(), InvalidName> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    match begins && text.len() <= MAX_NAME_BYTES && text.chars().all(allowed) {
        true => Ok(()),
        false => Err(InvalidName { text: text.escape_debug().take(80).collect() }),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $(#[$make_doc:meta])* $make:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            $(#[$make_doc])*
            pub fn $make(text: impl AsRef<str>) -> Result<Self, InvalidName> {
                let text = text.as_ref();
                check(text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::$make(text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

name!(
    /// The name of a background session, unique per project.
    BackgroundName,
    /// Checks a name.
    new
);
name!(
    /// Names a trigger within its background session: its name, or the hash of its configuration.
    TriggerKey,
    /// The key of a trigger that has this name.
    named
);

impl TriggerKey {
    /// The key of a trigger without a name.
    pub(crate) fn hashed(fingerprint: &str) -> Self {
        let short: String = fingerprint.chars().take(16).collect();
        Self(Arc::from(format!("h-{short}")))
    }
}

/// Counts the configurations that a key has had, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u32);

impl Generation {
    /// The generation of a trigger that is seen for the first time.
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What is kept of a trigger from the first time that it is seen. Plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TriggerRow {
    /// The trigger.
    pub key: TriggerKey,
    /// Its configuration's number.
    pub generation: Generation,
    /// Tells this configuration from another one: a hash, in hexadecimal.
    pub fingerprint: String,
    /// When this generation was first seen: intervals count from here, and nothing before it is missed.
    pub anchor: Timestamp,
    /// The latest nominal due time that was committed. Used only to find what was missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_due: Option<Timestamp>,
    /// Where the source goes on, in its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Payload>,
}

impl TriggerRow {
    /// The row of a trigger that is seen for the first time.
    pub fn first(config: &TriggerConfig, now: Timestamp) -> Self {
        let (key, fingerprint) = (config.key(), config.fingerprint());
        Self { key, generation: Generation::FIRST, fingerprint, anchor: now, last_due: None, cursor: None }
    }

    /// The row to go on with: as it was if the configuration is the same, else the next generation,
    /// anchored now. `kept` is the row of the same key, if there is one.
    pub fn adopt(kept: Option<Self>, config: &TriggerConfig, now: Timestamp) -> Self {
        let fresh = Self::first(config, now);
        match kept {
            Some(kept) if kept.fingerprint == fresh.fingerprint && kept.key == fresh.key => kept,
            Some(kept) => Self { generation: Generation(kept.generation.0.saturating_add(1)), ..fresh },
            None => fresh,
        }
    }

    /// Takes an event of this trigger in; write the row in the commit that takes the event in.
    pub fn advance(&mut self, event: &TriggerEvent) {
        use crate::event::Cause;
        if matches!(event.cause, Cause::Schedule | Cause::Misfire) {
            self.last_due = Some(event.due);
        }
        if event.cursor.is_some() {
            self.cursor.clone_from(&event.cursor);
        }
    }
}
