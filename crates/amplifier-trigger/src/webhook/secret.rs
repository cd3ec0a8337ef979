//! The secret of a webhook.
//!
//! Guarantees: it is shown by no `Debug` and no error.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Scheme;

/// Some senders show their secrets without the `=` at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

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
    #[error(
        "the variable {variable} is not set; set it, or write another name: without a secret anybody could call"
    )]
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
                BASE64.decode(text).map_err(|_| SecretError::Base64 { variable: variable() })?
            }
            Scheme::Github | Scheme::Gitlab | Scheme::Bearer => value.as_bytes().to_vec(),
        };
        match bytes.len() {
            len if len < MIN_SECRET_BYTES => Err(SecretError::Short { variable: variable() }),
            _ => Ok(Self(bytes.into())),
        }
    }

    /// The header `webhook-signature` for a message that is sent, as Standard Webhooks have it: of its id, its
    /// time in seconds since 1970 and its body.
    pub fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        super::scheme::sign_standard(self, id, seconds, body)
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
