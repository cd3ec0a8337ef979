//! Who may call: tokens for programs, a login link and a session for a browser.
//!
//! Guarantees: no secret is stored, only its hash; a name is one token for ever, so that the actor of a
//! change is one program. Never here: how a request carries them: that is the guard's.

mod guard;
mod login;
mod secret;
mod token;

use amplifier_core::id::InvalidId;
use amplifier_core::payload::PayloadError;
use amplifier_store::StoreError;
use serde::{Deserialize, Serialize};

pub(crate) use guard::{Given, Shown, Who, guard, still_good};
pub(crate) use login::cookie_name;
pub use login::{LOGIN_TIME, LoginCode, Logins, SESSION_TIME};
pub(crate) use secret::same;
pub use token::{NewToken, TokenInfo, TokenName, Tokens};

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// Look at everything.
    Read,
    /// Change what there is, too.
    Write,
}

impl Role {
    /// Its name: `read`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Who somebody has shown to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Identity {
    /// The name of a token, or the user of the system who asked for a login link.
    pub actor: String,
    /// What they may do.
    pub role: Role,
}

/// Why a token or link was not made, taken back or looked up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// It is no name.
    #[error("`{text}` names no token; use 1 to 64 of a-z, 0-9 and `-`, beginning with a letter")]
    Name {
        /// As it was given.
        text: String,
    },
    /// There was such a token before.
    #[error("there is, or was, a token `{name}`; a name is used once, choose another one")]
    Taken {
        /// Its name.
        name: TokenName,
    },
    /// There is none.
    #[error("there is no token `{name}`; `foreman token list` shows them")]
    Unknown {
        /// The name.
        name: TokenName,
    },
    /// A text is too long for the store.
    #[error(transparent)]
    Key(#[from] InvalidId),
    /// It cannot be written down.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}
