//! The secret of a webhook.
//!
//! Guarantees: it is shown by no `Debug` and no error.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Scheme;

/// The shortest secret, in bytes.
pub const MIN_SECRET_BYTES: usize = 8;

/// A secret, as bytes that sign.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

/// Why a secret cannot be used. Never holds it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The variable is not set, or empty.
    #[error("the variable {variable} is not set; a webhook needs a secret, or anybody could call it")]
    Missing {
        /// The variable's name.
        variable: String,
    },
    /// Too short to be one.
    #[error("the secret in {variable} has fewer than {MIN_SECRET_BYTES} bytes; choose a longer one")]
    Short {
        /// The variable's name.
        variable: String,
    },
    /// A secret of Standard Webhooks that is not base64.
    #[error("the secret in {variable} is not base64; the scheme `standard` takes one such as whsec_…")]
    Base64 {
        /// The variable's name.
        variable: String,
    },
}

impl Secret {
    /// The secret that a variable holds, as the scheme writes it.
    pub fn of(scheme: Scheme, variable: &str, value: Option<&str>) -> Result<Self, SecretError> {
        let variable = || variable.to_owned();
        let value = value.map(str::trim).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| SecretError::Missing { variable: variable() })?;
        let bytes = match scheme {
            Scheme::Standard => {
                let text = value.strip_prefix("whsec_").unwrap_or(value);
                STANDARD.decode(text).map_err(|_| SecretError::Base64 { variable: variable() })?
            }
            Scheme::Github | Scheme::Gitlab | Scheme::Bearer => value.as_bytes().to_vec(),
        };
        match bytes.len() {
            len if len < MIN_SECRET_BYTES => Err(SecretError::Short { variable: variable() }),
            _ => Ok(Self(bytes.into())),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
