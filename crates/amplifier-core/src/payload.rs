//! What an event carries: JSON as bytes, decoded only by who needs it.
//!
//! Guarantees: a [`Payload`] holds one valid JSON value, as far as a store gives back what it was given;
//! cloning it copies no bytes. Nobody records or passes on one over [`MAX_PAYLOAD_BYTES`].

use std::fmt;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Largest payload of one event, in bytes of JSON: 1 MiB.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// Room in which most payloads can be written at once.
const USUAL_BYTES: usize = 1_024;

/// Why a value is no payload, or a payload not the wanted value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The value cannot be written as JSON.
    #[error("the payload cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The bytes are no JSON, or not of the wanted shape.
    #[error("the payload does not have the wanted shape")]
    Decode(#[source] serde_json::Error),
    /// The payload is over [`MAX_PAYLOAD_BYTES`].
    #[error(
        "the payload has {len} bytes; at most {MAX_PAYLOAD_BYTES} are allowed, so pass a reference instead"
    )]
    TooLarge {
        /// Its size in bytes.
        len: usize,
    },
}

/// One JSON value as bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Bytes);

impl Payload {
    /// The JSON value `null`.
    pub fn null() -> Self {
        Self(Bytes::from_static(b"null"))
    }

    /// Writes a value as JSON.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Self, PayloadError> {
        let mut json = Vec::with_capacity(USUAL_BYTES);
        serde_json::to_writer(&mut json, value).map_err(PayloadError::Encode)?;
        // Copied: what is kept has no room that it does not need.
        Self::sized(Bytes::copy_from_slice(&json))
    }

    /// Writes a value as JSON; one over [`MAX_PAYLOAD_BYTES`] is cut down to `{"truncated": size}`.
    pub fn cut<T: Serialize + ?Sized>(value: &T) -> Result<Self, PayloadError> {
        match Self::encode(value) {
            Err(PayloadError::TooLarge { len }) => Ok(Self::truncated(len)),
            other => other,
        }
    }

    fn truncated(len: usize) -> Self {
        Self(Bytes::from(format!("{{\"truncated\":{len}}}")))
    }

    /// Takes JSON text as it is, after a check that it is one value.
    pub fn from_json(bytes: impl Into<Bytes>) -> Result<Self, PayloadError> {
        let bytes = bytes.into();
        serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).map_err(PayloadError::Decode)?;
        Self::sized(bytes)
    }

    /// Takes bytes that were a payload when a store wrote them, without reading them. Bytes that are
    /// no JSON value fail where they are decoded or written out.
    pub fn stored(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    fn sized(bytes: Bytes) -> Result<Self, PayloadError> {
        let payload = Self(bytes);
        payload.check().map(|()| payload)
    }

    /// Refuses a payload over [`MAX_PAYLOAD_BYTES`].
    #[inline]
    pub fn check(&self) -> Result<(), PayloadError> {
        match self.0.len() {
            len if len > MAX_PAYLOAD_BYTES => Err(PayloadError::TooLarge { len }),
            _ => Ok(()),
        }
    }

    /// Reads the payload as a type of the caller's.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        serde_json::from_slice(&self.0).map_err(PayloadError::Decode)
    }

    /// The JSON text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<serde_json::Value> for Payload {
    /// A value over [`MAX_PAYLOAD_BYTES`] is taken too; who is given it refuses it, see [`Payload::check`].
    fn from(value: serde_json::Value) -> Self {
        Self(Bytes::from(value.to_string()))
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.0);
        write!(f, "Payload({})", text.chars().take(200).collect::<String>())
    }
}

impl Serialize for Payload {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_slice(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(Bytes::from(raw.get().to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_valid_json_of_bounded_size() {
        assert!(Payload::from_json("{\"a\":1}").is_ok());
        assert!(Payload::from_json("{\"a\":").is_err());
        assert!(Payload::from_json("1 2").is_err());
        let big = format!("\"{}\"", "x".repeat(MAX_PAYLOAD_BYTES));
        assert!(matches!(Payload::from_json(big), Err(PayloadError::TooLarge { .. })));
        let big = Payload::from(serde_json::Value::String("x".repeat(MAX_PAYLOAD_BYTES)));
        assert!(matches!(big.check(), Err(PayloadError::TooLarge { .. })));
        let cut = Payload::cut(&"x".repeat(MAX_PAYLOAD_BYTES)).unwrap();
        assert!(cut.as_bytes().starts_with(b"{\"truncated\":"));
    }

    #[test]
    fn bytes_are_written_as_they_came() {
        let payload = Payload::from_json("{\"b\":1.50,  \"a\":2}").unwrap();
        assert_eq!(serde_json::to_string(&payload).unwrap(), "{\"b\":1.50,  \"a\":2}");
    }
}
