//! How senders sign: GitHub, Standard Webhooks, GitLab, a bearer token.
//!
//! Guarantees: secrets and signatures are compared in constant time; what is signed is the body as it
//! came. GitHub and GitLab do not sign the delivery's id, so whoever has seen a signed call can send it
//! again under another one; Standard Webhooks sign id and time.

use std::collections::HashMap;
use std::time::Duration;

use amplifier_core::{Payload, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::secret::Secret;

/// How old or new a signed time may be.
pub(crate) const TOLERANCE: Duration = Duration::from_secs(300);

/// Longest header that is looked at, in bytes.
const MAX_HEADER_BYTES: usize = 4 * 1024;

/// Most signatures of one call that are compared.
const MAX_SIGNATURES: usize = 16;

/// Longest id of a delivery or name of an event, in bytes.
const MAX_NAME_BYTES: usize = 200;

/// How calls are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// `X-Hub-Signature-256`: HMAC-SHA256 of the body.
    Github,
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature`: Standard Webhooks.
    Standard,
    /// `X-Gitlab-Token`: the secret itself.
    Gitlab,
    /// `Authorization: Bearer`: the secret itself.
    Bearer,
}

/// The headers of a call, by name in lower case; the first of several of one name counts.
pub(super) struct Headers(HashMap<String, String>);

impl Headers {
    pub(super) fn of<'h>(headers: impl IntoIterator<Item = (&'h str, &'h [u8])>) -> Self {
        let mut known = HashMap::new();
        for (name, value) in headers.into_iter().take(200) {
            if let Ok(value) = std::str::from_utf8(value)
                && value.len() <= MAX_HEADER_BYTES
            {
                known.entry(name.to_ascii_lowercase()).or_insert_with(|| value.trim().to_owned());
            }
        }
        Self(known)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn name(&self, name: &str) -> Option<String> {
        let value = self.get(name)?;
        (!value.is_empty() && value.len() <= MAX_NAME_BYTES).then(|| value.to_owned())
    }
}

impl Scheme {
    pub(crate) const ALL: [(&'static str, Self); 4] = [
        ("github", Self::Github),
        ("standard", Self::Standard),
        ("gitlab", Self::Gitlab),
        ("bearer", Self::Bearer),
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, scheme)| *scheme == self).map_or("", |(name, _)| name)
    }

    /// True if the call was made by who has the secret.
    pub(super) fn verify(self, secret: &Secret, headers: &Headers, body: &[u8], now: Timestamp) -> bool {
        let verified = match self {
            Self::Github => headers.get("x-hub-signature-256").and_then(|header| {
                let signature = hex(header.strip_prefix("sha256=")?)?;
                Some(signs(secret, &[body], &signature))
            }),
            Self::Standard => standard(secret, headers, body, now),
            Self::Gitlab => headers.get("x-gitlab-token").map(|token| same(secret, token)),
            Self::Bearer => headers.get("authorization").and_then(|header| {
                let (word, token) = header.split_once(' ')?;
                Some(word.eq_ignore_ascii_case("bearer") && same(secret, token.trim()))
            }),
        };
        verified.unwrap_or(false)
    }

    /// The sender's id of the delivery, which stays the same when it is sent again.
    pub(super) fn delivery(self, headers: &Headers) -> Option<String> {
        let names: &[&str] = match self {
            Self::Github => &["x-github-delivery"],
            Self::Standard if family(headers) == SVIX => &["svix-id"],
            Self::Standard => &["webhook-id"],
            Self::Gitlab => &["idempotency-key", "x-gitlab-event-uuid"],
            Self::Bearer => &["idempotency-key", "webhook-id", "ce-id"],
        };
        names.iter().find_map(|name| headers.name(name))
    }

    /// True for an event that only tells whether the webhook works: what GitHub sends when one is made.
    pub(super) fn is_test(self, event: &str) -> bool {
        self == Self::Github && event == "ping"
    }

    /// The name of the event.
    pub(super) fn event_name(self, headers: &Headers, data: &Payload) -> Option<String> {
        let header = match self {
            Self::Github => headers.name("x-github-event"),
            Self::Gitlab => headers.name("x-gitlab-event"),
            Self::Bearer => headers.name("ce-type"),
            Self::Standard => None,
        };
        header.or_else(|| {
            let typed = data.decode::<Typed>().ok()?;
            typed.kind.filter(|kind| !kind.is_empty() && kind.len() <= MAX_NAME_BYTES)
        })
    }
}

/// A body that names its event.
#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// What senders that are older than the specification write in the place of `webhook`.
const SVIX: &str = "svix";

/// The beginning of the names of a call's headers: of one family, never mixed.
fn family(headers: &Headers) -> &'static str {
    if headers.get("webhook-id").is_none() && headers.get("svix-id").is_some() { SVIX } else { "webhook" }
}

/// Standard Webhooks: one of the signatures is that of id, time and body, and the time is near.
fn standard(secret: &Secret, headers: &Headers, body: &[u8], now: Timestamp) -> Option<bool> {
    let header = |name: &str| headers.get(&format!("{}-{name}", family(headers)));
    let (id, time) = (header("id")?, header("timestamp")?);
    let seconds: i64 = time.parse().ok()?;
    let signed = Timestamp::from_micros(seconds.checked_mul(1_000_000)?);
    let near = now.saturating_since(signed) <= TOLERANCE && signed.saturating_since(now) <= TOLERANCE;
    let parts: [&[u8]; 5] = [id.as_bytes(), b".", time.as_bytes(), b".", body];
    let signatures = header("signature")?.split(' ').take(MAX_SIGNATURES);
    let right = signatures
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
        .fold(false, |right, signature| right | signs(secret, &parts, &signature));
    Some(near && right)
}

/// The header `webhook-signature` of a message that is sent: what [`Scheme::Standard`] verifies.
pub(super) fn sign_standard(secret: &Secret, id: &str, seconds: i64, body: &[u8]) -> String {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("a key");
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// True if this is the HMAC-SHA256 of the parts.
fn signs(secret: &Secret, parts: &[&[u8]], signature: &[u8]) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.bytes()) else { return false };
    parts.iter().for_each(|part| mac.update(part));
    mac.verify_slice(signature).is_ok()
}

/// True if a token is the secret. Hashes are compared, so the time does not tell its length either.
fn same(secret: &Secret, token: &str) -> bool {
    let (one, other) = (Sha256::digest(secret.bytes()), Sha256::digest(token.as_bytes()));
    one.ct_eq(&other).into()
}

/// Bytes written as hexadecimal digits.
fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let byte = |at: usize| {
        let pair = text.get(at..at + 2)?;
        pair.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u8::from_str_radix(pair, 16).ok())?
    };
    (0..text.len()).step_by(2).map(byte).collect()
}
