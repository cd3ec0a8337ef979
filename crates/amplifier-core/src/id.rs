//! Identifiers: one newtype per kind of thing, made by one macro.
//!
//! Guarantees: an id that exists is valid. A [`SessionId`] is a single path
//! component, so it can name a folder without further checks.
//! Never here: generation. Random bits come from [`crate::clock::Ids`].

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidId {
    /// The text is empty or only white space.
    #[error("{kind} is empty; give at least one character")]
    Empty {
        /// The kind of id, for example `session id`.
        kind: &'static str,
    },
    /// The text is longer than [`MAX_ID_BYTES`].
    #[error("{kind} has {len} bytes; at most {MAX_ID_BYTES} are allowed")]
    TooLong {
        /// The kind of id.
        kind: &'static str,
        /// Its length in bytes.
        len: usize,
    },
    /// The text holds a character that would leave its folder or break a line.
    #[error("{kind} `{text}` holds `{found}`; use letters, digits, `-`, `_`, `.`, `:`")]
    Character {
        /// The kind of id.
        kind: &'static str,
        /// The refused text, control characters escaped.
        text: String,
        /// The character that was refused, escaped.
        found: String,
    },
    /// The text is `.` or `..`, or begins with a dot and would be a hidden file.
    #[error("{kind} `{text}` begins with a dot; begin with a letter or digit")]
    Dots {
        /// The kind of id.
        kind: &'static str,
        /// The refused text.
        text: String,
    },
}

/// Longest id in bytes; leaves room for suffixes below the 255 bytes of a file name.
pub const MAX_ID_BYTES: usize = 200;

fn check(kind: &'static str, text: &str) -> Result<(), InvalidId> {
    if text.trim().is_empty() {
        return Err(InvalidId::Empty { kind });
    }
    if text.len() > MAX_ID_BYTES {
        return Err(InvalidId::TooLong { kind, len: text.len() });
    }
    let refused = |c: &char| c.is_control() || matches!(c, '/' | '\\' | '\u{2028}' | '\u{2029}');
    if let Some(found) = text.chars().find(refused) {
        return Err(InvalidId::Character {
            kind,
            text: text.escape_debug().to_string(),
            found: found.escape_debug().to_string(),
        });
    }
    if text.starts_with('.') {
        return Err(InvalidId::Dots { kind, text: text.to_owned() });
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl $name {
            #[doc = concat!("Checks `text` and makes it a ", $kind, ".")]
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
                let text = text.as_ref();
                check($kind, text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The text of the id.
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
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }
        impl TryFrom<&str> for $name {
            type Error = InvalidId;
            fn try_from(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }
        impl From<$name> for Arc<str> {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

text_id!(
    /// Names a session, and its folder on disk.
    SessionId,
    "session id"
);
text_id!(
    /// Names one run of a trigger.
    RunId,
    "run id"
);
text_id!(
    /// Names a trigger of a background session.
    TriggerId,
    "trigger id"
);
text_id!(
    /// Names an issue that a worker is given.
    IssueId,
    "issue id"
);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub uuid::Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }
    };
}

uuid_id!(
    /// Names one event; a UUIDv7, so ids of one process sort by time.
    EventId
);

/// The number of times that a session has been opened: 1 when it is spawned, one
/// more at each resume. It fences: an append or commit of an older activation is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Activation(pub u32);

impl Activation {
    /// The activation of a fresh session.
    pub const FIRST: Self = Self(1);

    /// The activation of the next resume.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_is_one_path_component() {
        for bad in ["../x", "a/b", "a\\b", "", "  ", ".", "..", ".hidden", "a\nb", "a\0b"] {
            assert!(SessionId::new(bad).is_err(), "{bad:?} must be refused");
        }
        for good in [
            "4a0c2e9e-7f8f-4d0f-9f4e-0123456789ab",
            "0000000000000000-a1b2c3d4e5f60718_explorer",
            "bg-nightly",
            "run.1:2",
        ] {
            assert_eq!(SessionId::new(good).unwrap().as_str(), good);
        }
        assert!(SessionId::new("x".repeat(MAX_ID_BYTES + 1)).is_err());
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let error = SessionId::new("../x").unwrap_err().to_string();
        assert_eq!(error, "session id `../x` holds `/`; use letters, digits, `-`, `_`, `.`, `:`");
    }

    #[test]
    fn ids_are_checked_when_they_are_deserialized() {
        assert!(serde_json::from_str::<SessionId>("\"../x\"").is_err());
        assert_eq!(serde_json::from_str::<SessionId>("\"x\"").unwrap().as_str(), "x");
    }
}
