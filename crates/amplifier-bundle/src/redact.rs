//! Taking secrets out of what is written: by the name of a key, and by known value.
//!
//! Guarantees: a text under a key that names a secret (`client_secret`, `OPENAI_API_KEY`,
//! `accessToken`, …) becomes [`REDACTED`], however deep; a known secret is replaced wherever it
//! stands, in keys too. Counts of tokens, switches, empty texts and references to variables
//! (`${NAME}`) stay. Redacting twice changes nothing more.
//! Never here: guessing that a text without such a key looks like a secret.

mod keys;

use secrecy::ExposeSecret;
use serde_json::{Map, Value};

use keys::{Kind, kind_of};

/// A secret that does not show in `Debug` and is wiped from memory when dropped.
pub use secrecy::SecretString as SecretValue;

/// What stands in the place of a secret.
pub const REDACTED: &str = "[REDACTED]";

/// Shortest known secret, in bytes, that is looked for; shorter ones would hit ordinary words.
pub const MIN_KNOWN_BYTES: usize = 8;

/// Takes secrets out of JSON and text. The default knows no values, only names of keys.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    /// Longest first, so that a secret that holds another one is replaced whole.
    known: Vec<SecretValue>,
}

impl Redactor {
    /// A redactor that also looks for these values. Those under [`MIN_KNOWN_BYTES`] are passed over.
    pub fn new(known: Vec<SecretValue>) -> Self {
        let mut known: Vec<_> =
            known.into_iter().filter(|secret| secret.expose_secret().len() >= MIN_KNOWN_BYTES).collect();
        known.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        Self { known }
    }

    /// Takes the secrets out of a JSON value, in place.
    pub fn redact(&self, value: &mut Value) {
        self.walk(value, Kind::Plain);
    }

    /// True if known values are looked for, and not only names of keys.
    pub fn knows_values(&self) -> bool {
        !self.known.is_empty()
    }

    /// True if [`Redactor::redact`] would leave this JSON text as it is. Much cheaper than to redact;
    /// false also where that cannot be told at a glance.
    pub fn passes(&self, json: &[u8]) -> bool {
        !self.knows_values() && keys::all_plain(json)
    }

    /// The text with known secrets replaced.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        self.replace_known(&mut text);
        text
    }

    fn walk(&self, value: &mut Value, kind: Kind) {
        match value {
            Value::String(text) if is_hidden(text, kind) => REDACTED.clone_into(text),
            Value::String(text) => self.replace_known(text),
            Value::Number(_) if kind == Kind::Secret => *value = Value::String(REDACTED.to_owned()),
            Value::Array(items) => items.iter_mut().for_each(|item| self.walk(item, kind)),
            Value::Object(map) => self.walk_map(map, kind),
            Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }

    fn walk_map(&self, map: &mut Map<String, Value>, kind: Kind) {
        if map.keys().any(|key| self.holds_known(key)) {
            let entries = std::mem::take(map);
            map.extend(entries.into_iter().map(|(key, value)| (self.text(&key), value)));
        }
        let named = kind_of_named_value(map);
        for (key, value) in map.iter_mut() {
            let own = if key == "value" { named } else { kind_of(key) };
            self.walk(value, if own == Kind::Plain { kind } else { own });
        }
    }

    fn holds_known(&self, text: &str) -> bool {
        self.known.iter().any(|secret| text.contains(secret.expose_secret()))
    }

    fn replace_known(&self, text: &mut String) {
        for secret in &self.known {
            if text.contains(secret.expose_secret()) {
                *text = text.replace(secret.expose_secret(), REDACTED);
            }
        }
    }
}

/// Headers and variables are also written as `{"name": "Authorization", "value": "…"}`.
fn kind_of_named_value(map: &Map<String, Value>) -> Kind {
    let name = ["name", "key"].iter().find_map(|key| map.get(*key)).and_then(Value::as_str);
    name.map_or(Kind::Plain, kind_of)
}

fn is_hidden(text: &str, kind: Kind) -> bool {
    match kind {
        Kind::Plain => false,
        _ if text.is_empty() || is_reference(text) => false,
        Kind::Secret => true,
        Kind::Token => !text.chars().all(|c| c.is_ascii_digit() || matches!(c, '_' | ',' | '.')),
    }
}

/// `${NAME}`, without a default that might be the secret itself.
fn is_reference(text: &str) -> bool {
    let name = text.strip_prefix("${").and_then(|text| text.strip_suffix('}'));
    name.is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

/// True for a key whose value may be a secret.
pub fn names_secret(key: &str) -> bool {
    kind_of(key) != Kind::Plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn redacted(value: Value) -> Value {
        let mut value = value;
        Redactor::default().redact(&mut value);
        value
    }

    #[test]
    fn keys_that_name_a_secret_lose_their_text() {
        for key in [
            "client_secret",
            "access_token",
            "bearer_token",
            "OPENAI_API_KEY",
            "api_key",
            "apikey",
            "apiKey",
            "api-key",
            "x-api-key",
            "API Key",
            "token",
            "TOKEN",
            "accessToken",
            "refresh_token",
            "id_token",
            "GITHUB_TOKEN",
            "tokenValue",
            "access_tokens",
            "secret",
            "secrets",
            "secretKey",
            "aws_secret_access_key",
            "AWS_ACCESS_KEY_ID",
            "password",
            "db_password",
            "PASSWD",
            "passphrase",
            "credential",
            "credentials",
            "private_key",
            "privateKey",
            "ssh-private-key",
            "authorization",
            "Authorization",
            "Proxy-Authorization",
            "auth",
            "basic_auth",
            "bearer",
            "cookie",
            "Set-Cookie",
            "jwt",
            "github_pat",
            "AccountKey",
            "connection_string",
            "ANTHROPIC_AUTH_TOKEN",
        ] {
            assert_eq!(redacted(json!({ key: "v4lue-x" })), json!({ key: REDACTED }), "{key}");
            assert_eq!(
                redacted(json!({ "a": [{ key: ["v4lue-x"] }] })),
                json!({ "a": [{ key: [REDACTED] }] })
            );
        }
    }

    #[test]
    fn counts_and_ordinary_keys_stay() {
        for value in [
            json!({ "max_tokens": 4096, "input_tokens": 1, "output_tokens": 2, "token_count": "many" }),
            json!({ "max_tokens": "4_096", "token": 17, "tokens": { "input": 5 }, "stop_tokens": ["</s>"] }),
            json!({ "tokenizer": "cl100k", "tokenization": "bpe", "token_budget": "10k", "token_limit": "1M" }),
            json!({ "author": "u", "path": "/p", "pattern": "*", "key": "k", "keyboard": "de", "name": "n" }),
            json!({ "api_key": "", "password": null, "cookie": true, "secret": "${OPENAI_API_KEY}" }),
            json!({ "monkey": "x", "session_id": "s", "authority": "a", "sequence": 3 }),
        ] {
            assert_eq!(redacted(value.clone()), value);
        }
    }

    #[test]
    fn what_lies_under_a_secret_key_is_secret_too() {
        for (given, expected) in [
            (json!({ "password": 1234 }), json!({ "password": REDACTED })),
            (
                json!({ "credentials": { "user": "u", "n": 1 } }),
                json!({ "credentials": { "user": REDACTED, "n": REDACTED } }),
            ),
            (json!({ "tokens": { "access_token": "a" } }), json!({ "tokens": { "access_token": REDACTED } })),
            (json!({ "api_key": "${K:-sk-real}" }), json!({ "api_key": REDACTED })),
            (
                json!([{ "name": "Authorization", "value": "Bearer x" }, { "name": "Accept", "value": "*" }]),
                json!([{ "name": "Authorization", "value": REDACTED }, { "name": "Accept", "value": "*" }]),
            ),
        ] {
            let once = redacted(given);
            assert_eq!(once, expected);
            assert_eq!(redacted(once.clone()), once);
        }
    }

    #[test]
    fn known_values_are_replaced_wherever_they_stand() {
        let known = ["sk-live-123", "sk-live-123456", "short"].map(SecretValue::from).to_vec();
        let redactor = Redactor::new(known);
        let mut value =
            json!({ "command": "curl -H 'x: sk-live-123456' # short", "sk-live-123": ["a sk-live-123"] });
        redactor.redact(&mut value);
        assert_eq!(
            value,
            json!({ "command": "curl -H 'x: [REDACTED]' # short", "[REDACTED]": ["a [REDACTED]"] })
        );
        assert_eq!(redactor.text("sk-live-123!"), "[REDACTED]!");
        assert!(!format!("{redactor:?}").contains("sk-live"));
    }
}
