//! What the name of a key says about its value.
//!
//! Guarantees: `accessToken`, `ACCESS_TOKEN` and `access-token` are the same key. Keys of ordinary
//! length are judged without an allocation: every session's metadata is looked through.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Parts of a key, lower case without separators, that name a secret.
const SECRET_PARTS: &[&str] = &[
    "apikey",
    "accesskey",
    "signingkey",
    "encryptionkey",
    "accountkey",
    "privatekey",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "authorization",
    "bearer",
    "cookie",
    "connectionstring",
];
/// Whole words of a key that name a secret.
const SECRET_WORDS: &[&str] = &["auth", "pwd", "pat", "jwt", "apikeys"];
/// What stands before a plural `tokens` that are secrets and no count.
const SECRET_TOKENS: &[&str] =
    &["access", "refresh", "auth", "oauth", "bearer", "api", "id", "session", "bot"];

/// What a key says about its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// A token: texts are secret, numbers are counts.
    Token,
    Secret,
}

/// Longest key, in bytes, that is judged where it stands.
const SHORT: usize = 64;

pub(super) fn kind_of(key: &str) -> Kind {
    if key.len() > SHORT || !key.is_ascii() {
        let words = words_of(key);
        return kind_of_words(&words.concat(), words.iter().map(String::as_str));
    }
    let mut buffer = [0; SHORT];
    let (mut len, mut after_lower) = (0, false);
    // One bit for each place at which a word begins.
    let mut begins = 0u64;
    let mut new_word = true;
    for byte in key.bytes() {
        new_word |= !byte.is_ascii_alphanumeric() || (byte.is_ascii_uppercase() && after_lower);
        after_lower = byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if byte.is_ascii_alphanumeric() {
            buffer[len] = byte.to_ascii_lowercase();
            begins |= u64::from(new_word) << len;
            new_word = false;
            len += 1;
        }
    }
    let joined = std::str::from_utf8(&buffer[..len]).unwrap_or_default();
    let end_of = |start: usize| (start + 1..len).find(|at| begins & (1 << at) != 0).unwrap_or(len);
    let words = (0..len).filter(|at| begins & (1 << at) != 0).map(|start| &joined[start..end_of(start)]);
    kind_of_words(joined, words)
}

/// `joined`: the words in lower case, without anything between.
fn kind_of_words<'a>(joined: &str, mut words: impl Iterator<Item = &'a str>) -> Kind {
    if holds_secret_part(joined) || words.any(|word| SECRET_WORDS.contains(&word)) {
        return Kind::Secret;
    }
    if names_tokens(joined) { Kind::Token } else { Kind::Plain }
}

fn holds_secret_part(joined: &str) -> bool {
    let bytes = joined.as_bytes();
    let begins = |at: &usize| FIRST_LETTERS & letter(bytes[*at]) != 0;
    (0..bytes.len())
        .filter(begins)
        .any(|at| SECRET_PARTS.iter().any(|part| bytes[at..].starts_with(part.as_bytes())))
}

/// One bit for each letter with which one of [`SECRET_PARTS`] begins.
const FIRST_LETTERS: u32 = {
    let (mut letters, mut index) = (0, 0);
    while index < SECRET_PARTS.len() {
        letters |= letter(SECRET_PARTS[index].as_bytes()[0]);
        index += 1;
    }
    letters
};

const fn letter(byte: u8) -> u32 {
    if byte.is_ascii_lowercase() { 1 << (byte - b'a') } else { 0 }
}

/// True if `token` in a key means a secret: not in `tokenizer`, nor in the plural of a count.
fn names_tokens(joined: &str) -> bool {
    if !joined.as_bytes().windows("token".len()).any(|part| part == b"token") {
        return false;
    }
    joined.match_indices("token").any(|(at, found)| {
        let (before, after) = (&joined[..at], &joined[at + found.len()..]);
        match after.strip_prefix('s') {
            Some(_) => SECRET_TOKENS.iter().any(|word| before.ends_with(word)),
            None => {
                !["iz", "is", "count", "budget", "limit", "usage"].iter().any(|word| after.starts_with(word))
            }
        }
    })
}

/// The words of a key in lower case: `accessToken`, `ACCESS_TOKEN` and `access-token` are the same.
fn words_of(key: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in key.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        after_lower = c.is_lowercase() || c.is_ascii_digit();
        if let Some(word) = words.last_mut()
            && c.is_alphanumeric()
        {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// True if no key of this JSON text names a secret, and nothing in it is a value with its name beside it.
pub(super) fn all_plain(json: &[u8]) -> bool {
    AllPlain.deserialize(&mut serde_json::Deserializer::from_slice(json)).is_ok()
}

/// Walks through a value; the first key that is not plain is an error.
struct AllPlain;

impl<'de> DeserializeSeed<'de> for AllPlain {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AllPlain {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON whose keys are plain")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(PlainKey)?.is_some() {
            map.next_value_seed(Self)?;
        }
        Ok(())
    }
}

/// One key.
struct PlainKey;

impl<'de> DeserializeSeed<'de> for PlainKey {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for PlainKey {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<(), E> {
        // Whether a `value` is a secret depends on the name beside it.
        match key != "value" && kind_of(key) == Kind::Plain {
            true => Ok(()),
            false => Err(E::custom("not plain")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_short_key_is_judged_as_a_long_one(key in "[a-zA-Z0-9_. -]{0,24}(token|secret|auth|Key|pat)?s?[A-Z_]?[a-z]{0,8}") {
            let words = words_of(&key);
            let slowly = kind_of_words(&words.concat(), words.iter().map(String::as_str));
            proptest::prop_assert_eq!(kind_of(&key), slowly);
        }
    }

    #[test]
    fn only_json_with_plain_keys_passes() {
        let check = |json: &str, expect| assert_eq!(all_plain(json.as_bytes()), expect, "{json}");
        check(r#"{"kind":"completed","usage":{"input_tokens":1},"list":[null,1.5,true,"x",-1]}"#, true);
        check("[]", true);
        check(r#"{"a":[{"api_key":"x"}]}"#, false);
        check(r#"{"max_tokens":{"access_token":"x"}}"#, false);
        check(r#"{"name":"Authorization","value":"x"}"#, false);
        check("{", false);
    }
}
