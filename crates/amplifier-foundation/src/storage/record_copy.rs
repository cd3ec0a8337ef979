//! A part of the record: a copy of something that is decided elsewhere.
//!
//! Guarantees: what was read and is written again keeps every key, also those that this program does not
//! know. What this program made is shared, and becomes JSON only where a storage writes it.
//! Never here: secrets. What is made here has keys of this program alone, none of which names one.

use std::sync::Arc;

use amplifier_core::payload::PayloadError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::redact::Redactor;

/// A copy of a `T`: as it was made, or the JSON that was read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RecordCopy<T>(Copied<T>);

#[derive(Debug, Clone)]
enum Copied<T> {
    Made(Arc<T>),
    Read(Arc<Value>),
}

impl<T> RecordCopy<T> {
    /// A copy of what was made here.
    pub fn new(value: impl Into<Arc<T>>) -> Self {
        Self(Copied::Made(value.into()))
    }

    /// True if redaction would change nothing. Of what was made here only values could be secret, and a
    /// redactor that knows values is asked before.
    pub(super) fn passes(&self, redactor: &Redactor) -> bool {
        match &self.0 {
            Copied::Made(_) => true,
            Copied::Read(json) => {
                let mut redacted = Value::clone(json);
                redactor.redact(&mut redacted);
                redacted == **json
            }
        }
    }
}

impl<T: Clone + DeserializeOwned> RecordCopy<T> {
    /// The value. `Err`: another program wrote something else there.
    pub fn decode(&self) -> Result<T, PayloadError> {
        match &self.0 {
            Copied::Made(value) => Ok(T::clone(value)),
            Copied::Read(json) => T::deserialize(json.as_ref()).map_err(PayloadError::Decode),
        }
    }
}

/// JSON that was read.
impl<T> From<Value> for RecordCopy<T> {
    fn from(json: Value) -> Self {
        Self(Copied::Read(Arc::new(json)))
    }
}

impl<T: Serialize> Serialize for RecordCopy<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Copied::Made(value) => value.serialize(serializer),
            Copied::Read(json) => json.serialize(serializer),
        }
    }
}

impl<'de, T> Deserialize<'de> for RecordCopy<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from)
    }
}

/// Two copies are the same if their JSON is.
impl<T: Serialize> PartialEq for RecordCopy<T> {
    fn eq(&self, other: &Self) -> bool {
        let json = |copy: &Self| serde_json::to_value(copy).ok();
        json(self).is_some_and(|json_of_self| Some(json_of_self) == json(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amplifier_core::limits::{LimitKind, LimitReached};
    use amplifier_core::module::provider::ProviderErrorKind;
    use amplifier_core::outcome::{FailureKind, OutcomeError};
    use amplifier_core::permission::{Layer, Mode, Rule, RuleEffect};
    use amplifier_core::{Activation, Limits, OutcomeKind, Permissions, SessionOutcome};
    use std::path::Path;

    fn outcome() -> SessionOutcome {
        let mut error = OutcomeError::new(FailureKind::Limit, "m");
        error.provider = Some(ProviderErrorKind::Auth);
        error.limit = Some(LimitReached::new(LimitKind::Tokens, 1, 1, "the request"));
        SessionOutcome::new(OutcomeKind::LimitReached, Activation::FIRST, "o", Some(error))
    }

    fn limits() -> Limits {
        let all: serde_json::Map<String, Value> = [
            "max_depth",
            "max_concurrent",
            "max_descendants",
            "max_turns",
            "timeout_ms",
            "first_progress_ms",
            "idle_ms",
            "max_tokens",
            "max_cost_micro_usd",
            "max_hops",
        ]
        .into_iter()
        .map(|key| (key.to_owned(), 7.into()))
        .collect();
        let limits: Limits = serde_json::from_value(Value::Object(all)).unwrap();
        assert!(LimitKind::ALL.iter().all(|kind| limits.get(*kind) == Some(7)));
        limits
    }

    fn permissions() -> Permissions {
        let mut layer = Layer::of_mode("o", Mode::Plan, vec!["/p".into()]);
        layer.rules =
            vec![Rule::parse(RuleEffect::Deny, "write(/x)", Path::new("/"), Path::new("/")).unwrap()];
        Permissions::unrestricted().with(layer)
    }

    #[test]
    fn nothing_that_is_made_here_has_a_key_that_names_a_secret() {
        fn check<T: Serialize + Clone>(value: T) {
            let json = serde_json::to_value(&value).unwrap();
            let mut redacted = json.clone();
            Redactor::default().redact(&mut redacted);
            assert_eq!(redacted, json);
            let copy = RecordCopy::new(value);
            assert!(copy.passes(&Redactor::default()));
            assert_eq!(serde_json::to_value(&copy).unwrap(), json);
        }
        check(outcome());
        check(limits());
        check(permissions());
    }

    #[test]
    fn what_was_read_is_looked_at_and_keeps_its_keys() {
        let read: RecordCopy<Limits> =
            serde_json::from_str(r#"{ "max_turns": 1,  "later": {"api_key": "x"} }"#).unwrap();
        assert!(!read.passes(&Redactor::default()));
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(written, r#"{"max_turns":1,"later":{"api_key":"x"}}"#);
    }

    #[test]
    fn a_copy_is_the_same_however_it_came() {
        let made = RecordCopy::new(outcome());
        let read: RecordCopy<SessionOutcome> =
            serde_json::from_str(&serde_json::to_string(&made).unwrap()).unwrap();
        assert_eq!((&made, made.decode().unwrap()), (&read, read.decode().unwrap()));
        let mut other = outcome();
        other.turns = 9;
        assert_ne!(made, RecordCopy::new(other));
    }
}
