//! Secrets: 244 random bits, shown once, stored as a hash.
//!
//! Guarantees: comparing takes the same time whatever differs.

use amplifier_core::Ids;

/// Digits of a secret.
pub(super) const DIGITS: usize = 64;

/// A new secret: 64 hexadecimal digits.
pub(super) fn fresh(ids: &dyn Ids) -> String {
    format!("{}{}", ids.v4().simple(), ids.v4().simple())
}

/// True for what may be a secret.
pub(super) fn is_one(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// What is stored of it. There is too much chance in it for a table of hashes.
pub(super) fn hash(purpose: &str, secret: &str) -> String {
    blake3::hash(format!("amplifier/{purpose}/{secret}").as_bytes()).to_hex().to_string()
}

/// True if both are the same; takes as long if they are not.
pub(crate) fn same(one: &str, other: &str) -> bool {
    blake3::hash(one.as_bytes()) == blake3::hash(other.as_bytes())
}
