//! What describes a session: `metadata.json`.
//!
//! Guarantees: keys that this program does not know are kept as they were. Files of the
//! reference system are read as they are; times without a zone are taken as UTC.
//! Never here: decisions. Under `amplifier` lie copies for other programs and for recovery.

use std::path::PathBuf;
use std::sync::Arc;

use amplifier_core::{
    Activation, Cause, EventId, Limits, Payload, Permissions, SessionId, SessionOutcome, Timestamp,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{RecordCopy, StorageError};
use crate::redact::Redactor;

/// What describes a session.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SessionMetadata {
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// The session that spawned this one, or that it was forked from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<SessionId>,
    /// The root of the session's tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<SessionId>,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The bundle, as it was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// The model, as `provider/model`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// When the session was made.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "time")]
    pub created: Option<Timestamp>,
    /// When the session was last changed.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "time")]
    pub last_updated: Option<Timestamp>,
    /// The number of user messages. The reference counts all messages of a resumed sub-session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_count: Option<u64>,
    /// The directory in which the session works.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "path_as_text")]
    pub working_dir: Option<PathBuf>,
    /// The agent that a sub-session runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_name: Option<String>,
    /// The span of a sub-session, 16 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child_span: Option<String>,
    /// How many times an agent has delegated to itself above this session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_delegation_depth: Option<u32>,
    /// True if the session was saved while a turn was running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incremental: Option<bool>,
    /// Of a fork: the last turn that it took over, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forked_from_turn: Option<u64>,
    /// Of a fork: when.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "time")]
    pub forked_at: Option<Timestamp>,
    /// What this program adds.
    pub amplifier: KernelRecord,
    /// Keys of other programs; kept as they were.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What this program adds to the metadata, under the key `amplifier`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct KernelRecord {
    /// The last activation. A session without this record had its first.
    pub activation: Activation,
    /// How far the session is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The outcome of the activation, once it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<RecordCopy<SessionOutcome>>,
    /// The id of the event that ends the activation; made before it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminal_event_id: Option<EventId>,
    /// The layers of permissions that a resume begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<RecordCopy<Permissions>>,
    /// The limits that a resume begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<RecordCopy<Limits>>,
    /// The permission mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Where the bundle came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle_source: Option<String>,
    /// True if settings of the project named the bundle, and no person.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bundle_by_project: bool,
    /// The hash of the bundle's content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle_hash: Option<String>,
    /// Of a spawned session: what it inherits, so that a resume makes the same session of it.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "compact")]
    pub spawn: Option<Payload>,
    /// The event that started this session, or the one above it that an event started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Further keys; kept as they were.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Every key of [`SessionMetadata`] itself.
const OWN_KEYS: [&str; 18] = [
    "session_id",
    "parent_id",
    "trace_id",
    "name",
    "description",
    "bundle",
    "model",
    "created",
    "last_updated",
    "turn_count",
    "working_dir",
    "agent_name",
    "child_span",
    "self_delegation_depth",
    "incremental",
    "forked_from_turn",
    "forked_at",
    "amplifier",
];

impl Default for KernelRecord {
    fn default() -> Self {
        Self {
            activation: Activation::FIRST,
            status: None,
            outcome: None,
            terminal_event_id: None,
            permissions: None,
            limits: None,
            mode: None,
            bundle_source: None,
            bundle_by_project: false,
            bundle_hash: None,
            spawn: None,
            cause: None,
            extra: Map::new(),
        }
    }
}

impl SessionMetadata {
    /// Adds keys of somebody else; those that are the session's own are left out.
    pub fn add_extra(&mut self, keys: Map<String, Value>) {
        self.extra.extend(keys.into_iter().filter(|(key, _)| !OWN_KEYS.contains(&key.as_str())));
    }

    /// Metadata of a fresh session.
    pub fn new(id: SessionId, created: Timestamp) -> Self {
        Self { session_id: Some(id), created: Some(created), ..Self::default() }
    }

    /// The session that spawned this one. A fork has an origin, but nobody spawned it.
    pub fn spawned_by(&self) -> Option<&SessionId> {
        self.parent_id.as_ref().filter(|_| self.forked_from_turn.is_none())
    }

    /// The metadata with secrets redacted, for storages that keep it as it is.
    pub(super) fn redacted(
        self: &Arc<Self>,
        id: &SessionId,
        redactor: &Redactor,
    ) -> Result<Arc<Self>, StorageError> {
        if self.has_no_secret(redactor) {
            return Ok(Arc::clone(self));
        }
        let not_storable =
            |error| StorageError::NotStorable { id: id.clone(), reason: super::error::json_reason(&error) };
        let mut value = serde_json::to_value(self).map_err(not_storable)?;
        redactor.redact(&mut value);
        serde_json::from_value(value).map(Arc::new).map_err(not_storable)
    }

    /// True if redaction would change nothing. The own keys are plain, so only what others wrote can hold
    /// a secret; to look through the copies that this program keeps is far cheaper than to redact.
    fn has_no_secret(&self, redactor: &Redactor) -> bool {
        let record = &self.amplifier;
        !redactor.knows_values()
            && is_plain(&self.extra)
            && is_plain(&record.extra)
            && record.outcome.as_ref().is_none_or(|copy| copy.passes(redactor))
            && record.permissions.as_ref().is_none_or(|copy| copy.passes(redactor))
            && record.limits.as_ref().is_none_or(|copy| copy.passes(redactor))
            && record.spawn.as_ref().is_none_or(|copy| redactor.passes(copy.as_bytes()))
    }

    /// Pretty JSON with a line feed at the end, secrets redacted.
    pub fn to_redacted_json(&self, redactor: &Redactor) -> Result<Vec<u8>, serde_json::Error> {
        let mut value = serde_json::to_value(self)?;
        redactor.redact(&mut value);
        let mut text = serde_json::to_vec_pretty(&value)?;
        text.push(b'\n');
        Ok(text)
    }
}

/// True if these keys, beside the session's own ones, surely hold no secret. What has parts is not looked
/// through, and a `value` is named by what stands beside it.
fn is_plain(keys: &Map<String, Value>) -> bool {
    let plain = |key: &str, value: &Value| {
        let has_parts = matches!(value, Value::Array(_) | Value::Object(_));
        !has_parts && key != "value" && !crate::redact::names_secret(key)
    };
    keys.iter().all(|(key, value)| plain(key, value))
}

/// A time as the reference writes it, with or without a zone. What is no time counts as absent.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let Some(Value::String(text)) = Option::<Value>::deserialize(deserializer)? else { return Ok(None) };
    Ok(text.parse().or_else(|_| format!("{text}Z").parse()).ok())
}

/// A payload without the white space of the file that it stood in.
fn compact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Payload>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    value.map(|value| Payload::encode(&value)).transpose().map_err(serde::de::Error::custom)
}

fn path_as_text<S: serde::Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => serializer.collect_str(&path.display()),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_reference_wrote_is_read_and_kept() {
        let text = r#"{"session_id":"a","created":"2026-01-02T03:04:05.678+00:00","bundle":"bundle:foundation",
            "model":"anthropic/claude","turn_count":2,"working_dir":"/w","incremental":true,"name":null,
            "config":{"providers":[{"module":"p","config":null}]},"last_updated":"2026-01-02T03:04:05"}"#;
        let read: SessionMetadata = serde_json::from_str(text).unwrap();
        assert_eq!(read.created.unwrap().to_string(), "2026-01-02T03:04:05.678000Z");
        assert_eq!(read.last_updated.unwrap().to_string(), "2026-01-02T03:04:05.000000Z");
        assert_eq!(read.amplifier.activation, Activation::FIRST);
        let written: Value =
            serde_json::from_slice(&read.to_redacted_json(&Redactor::default()).unwrap()).unwrap();
        assert_eq!(written["config"], serde_json::json!({"providers":[{"module":"p","config":null}]}));
        assert_eq!(serde_json::from_value::<SessionMetadata>(written).unwrap(), read);
    }

    #[test]
    fn secrets_are_found_wherever_somebody_else_may_have_written_them() {
        let id = SessionId::new("s").unwrap();
        let redacted = |json: Value, redactor: &Redactor| {
            let given: Arc<SessionMetadata> = Arc::new(serde_json::from_value(json).unwrap());
            let redacted = given.redacted(&id, redactor).unwrap();
            assert_eq!(given.has_no_secret(redactor), redacted == given);
            serde_json::to_value(&*redacted).unwrap().to_string()
        };
        let keys: Map<String, Value> = OWN_KEYS.iter().map(|key| ((*key).to_owned(), Value::Null)).collect();
        assert!(keys.keys().all(|key| !crate::redact::names_secret(key)));
        let own = serde_json::to_value(KernelRecord::default()).unwrap();
        assert!(own.as_object().unwrap().keys().all(|key| !crate::redact::names_secret(key)));
        let plain = Redactor::default();
        let with = |key: &str, value: Value| serde_json::json!({"name": "n", "amplifier": {key: value}});
        assert!(redacted(with("limits", serde_json::json!({"max_tokens": 7})), &plain).contains("7"));
        let own = serde_json::json!({"background_session": "b", "n": 7, "amplifier": {"later": "l"}});
        let own: Arc<SessionMetadata> = Arc::new(serde_json::from_value(own).unwrap());
        assert!(Arc::ptr_eq(&own.redacted(&id, &plain).unwrap(), &own), "plain keys cost no copy");
        for hidden in [
            serde_json::json!({"api_key": "v4lue-x"}),
            serde_json::json!({"name": "api_key", "value": "v4lue-x"}),
            serde_json::json!({"ticket": {"password": "v4lue-x"}}),
            with("later", serde_json::json!({"password": "v4lue-x"})),
            with("spawn", serde_json::json!({"preferences": [{"config": {"api_key": "v4lue-x"}}]})),
            with("outcome", serde_json::json!({"headers": [{"name": "Cookie", "value": "v4lue-x"}]})),
        ] {
            assert!(!redacted(hidden.clone(), &plain).contains("v4lue-x"), "{hidden}");
        }
        let known = Redactor::new(vec!["v4lue-xyz".into()]);
        assert!(!redacted(serde_json::json!({"name": "a v4lue-xyz"}), &known).contains("v4lue"));
    }

    #[test]
    fn keys_of_somebody_else_never_pass_for_the_sessions_own() {
        let mut all: Map<String, Value> =
            OWN_KEYS.map(|key| (key.to_owned(), Value::from(1))).into_iter().collect();
        all.insert("ticket".into(), Value::from(7));
        let mut metadata = SessionMetadata::default();
        metadata.add_extra(all);
        assert_eq!(Value::Object(metadata.extra.clone()), serde_json::json!({"ticket": 7}));
        for key in OWN_KEYS {
            let one = serde_json::json!({key: null, "amplifier": {}});
            let read = serde_json::from_value::<SessionMetadata>(one);
            assert!(read.is_ok_and(|read| read.extra.is_empty()), "{key} is no key of the metadata");
        }
    }

    #[test]
    fn the_record_of_this_program_survives_with_keys_of_later_versions() {
        let text = r#"{"amplifier":{"activation":3,"outcome":{"kind":"completed","n":1.50},"later":[1]}}"#;
        let read: SessionMetadata = serde_json::from_str(text).unwrap();
        assert_eq!(read.amplifier.activation, Activation(3));
        assert_eq!(read.amplifier.extra["later"], serde_json::json!([1]));
        let written = String::from_utf8(read.to_redacted_json(&Redactor::default()).unwrap()).unwrap();
        let again: SessionMetadata = serde_json::from_str(&written).unwrap();
        assert_eq!(again.amplifier.extra, read.amplifier.extra);
        assert_eq!(serde_json::to_value(again.amplifier.outcome).unwrap()["n"], 1.5);
    }
}
