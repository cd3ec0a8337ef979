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
    if !may_be_secret(key) {
        return Kind::Plain;
    }
    if key.len() > SHORT || !key.is_ascii() {
        return kind_of_words(&words_of(key));
    }
    let mut buffer = [0; SHORT];
    let (mut len, mut begin) = (0, 0);
    let (mut after_lower, mut secret) = (false, false);
    for byte in key.bytes() {
        if !byte.is_ascii_alphanumeric() || (byte.is_ascii_uppercase() && after_lower) {
            secret |= is_secret_word(&buffer[begin..len]);
            begin = len;
        }
        after_lower = byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if byte.is_ascii_alphanumeric() {
            buffer[len] = byte.to_ascii_lowercase();
            len += 1;
        }
    }
    let joined = std::str::from_utf8(&buffer[..len]).unwrap_or_default();
    kind_of_joined(joined, secret || is_secret_word(&buffer[begin..len]))
}

fn kind_of_words(words: &[String]) -> Kind {
    kind_of_joined(&words.concat(), words.iter().any(|word| is_secret_word(word.as_bytes())))
}

/// `joined`: the words of a key in lower case, without anything between.
fn kind_of_joined(joined: &str, has_secret_word: bool) -> Kind {
    match has_secret_word || holds_secret_part(joined) {
        true => Kind::Secret,
        false if names_tokens(joined) => Kind::Token,
        false => Kind::Plain,
    }
}

fn is_secret_word(word: &[u8]) -> bool {
    SECRET_WORDS.iter().any(|secret| secret.as_bytes() == word)
}

fn holds_secret_part(joined: &str) -> bool {
    let found = letters(joined.as_bytes());
    // Only a part that has its letters here is looked for.
    let mut likely = SECRET_PARTS.iter().zip(&PARTS).filter(|(_, letters)| found & **letters == **letters);
    likely.any(|(part, _)| joined.contains(part))
}

/// The word that means a secret or a count.
const TOKEN: &str = "token";

/// False for most keys: one without all the letters of any word that names a secret.
fn may_be_secret(key: &str) -> bool {
    let found = letters(key.as_bytes());
    let mut words = PARTS.iter().chain(&WORDS).chain(&[const { letters_of(TOKEN) }]);
    !key.is_ascii() || words.any(|word| found & word == *word)
}

const PARTS: [u32; SECRET_PARTS.len()] = letters_of_all(SECRET_PARTS);
const WORDS: [u32; SECRET_WORDS.len()] = letters_of_all(SECRET_WORDS);

const fn letters_of_all<const N: usize>(words: &[&str]) -> [u32; N] {
    let (mut all, mut index) = ([0; N], 0);
    while index < N {
        all[index] = letters_of(words[index]);
        index += 1;
    }
    all
}

const fn letters_of(word: &str) -> u32 {
    letters(word.as_bytes())
}

/// One bit for each letter that occurs, whatever its case.
const fn letters(text: &[u8]) -> u32 {
    let (mut letters, mut index) = (0, 0);
    while index < text.len() {
        let byte = text[index].to_ascii_lowercase();
        if byte.is_ascii_lowercase() {
            letters |= 1 << (byte - b'a');
        }
        index += 1;
    }
    letters
}

/// True if `token` in a key means a secret: not in `tokenizer`, nor in the plural of a count.
fn names_tokens(joined: &str) -> bool {
    let mut starts = (0..joined.len()).filter(|at| joined.as_bytes()[*at..].starts_with(TOKEN.as_bytes()));
    starts.any(|at| {
        let (before, after) = (&joined[..at], &joined[at + TOKEN.len()..]);
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
            proptest::prop_assert_eq!(kind_of(&key), kind_of_words(&words_of(&key)));
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
