//! Names of things that live in a store and nowhere else.
//!
//! Guarantees: a name that exists has 1 to [`MAX_ID_BYTES`] bytes and no control character.
//! Unlike an id it may hold `/`, so that keys can be built of parts; it never names a file.

use std::fmt;

use amplifier_core::SessionId;
use amplifier_core::id::{Activation, InvalidId, MAX_ID_BYTES};

fn check(kind: &'static str, text: &str) -> Result<(), InvalidId> {
    if text.trim().is_empty() {
        return Err(InvalidId::Empty { kind });
    }
    if text.len() > MAX_ID_BYTES {
        return Err(InvalidId::TooLong { kind, len: text.len() });
    }
    match text.chars().find(|c| c.is_control()) {
        None => Ok(()),
        Some(found) => Err(InvalidId::Character {
            kind,
            text: text.escape_debug().to_string(),
            found: found.escape_debug().to_string(),
        }),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            #[doc = concat!("Checks `text` and makes it a ", $kind, ".")]
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
                let text = text.as_ref();
                check($kind, text)?;
                Ok(Self(text.into()))
            }

            /// The text of the name.
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
    };
}

name!(
    /// Who runs sessions and holds leases: one start of one process. A process that is
    /// started again is another owner, so that a dead one is never taken for alive.
    OwnerId,
    "owner id"
);
name!(
    /// What a lease is about: `run/<id>`, `triggers`, `pool/<name>`.
    LeaseKey,
    "lease key"
);
name!(
    /// A durable consumer of the event log.
    ConsumerName,
    "consumer name"
);
name!(
    /// A number that only grows.
    CounterName,
    "counter name"
);
name!(
    /// Something that happens once: a webhook's delivery, a trigger event, a session's key.
    DedupKey,
    "key"
);
name!(
    /// A queue of runs: the background session or pool that they belong to.
    QueueName,
    "queue name"
);

name!(
    /// What a command asks for: `cancel`.
    CommandName,
    "command name"
);

impl OwnerId {
    /// An owner that there has never been before.
    pub fn fresh(ids: &dyn amplifier_core::Ids) -> Self {
        Self(ids.v4().to_string().into())
    }
}

/// One activation of one session: that for which everything happens once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ActivationId {
    /// The session.
    pub session: SessionId,
    /// Which of its activations.
    pub activation: Activation,
}

impl ActivationId {
    /// The activation of this number.
    pub fn new(session: SessionId, activation: Activation) -> Self {
        Self { session, activation }
    }
}

impl fmt::Display for ActivationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.session, self.activation)
    }
}

/// The fence of a lease: each taking, of whatever lease, gets a greater one than all before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_short_line_and_may_have_parts() {
        for bad in ["", " ", "a\nb", "a\0", &"x".repeat(MAX_ID_BYTES + 1)] {
            assert!(LeaseKey::new(bad).is_err(), "{bad:?} must be refused");
        }
        assert_eq!(DedupKey::new("hook/github/72d3162e").unwrap().as_str(), "hook/github/72d3162e");
    }
}
