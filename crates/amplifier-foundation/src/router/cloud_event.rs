//! Events as CloudEvents 1.0 in JSON: what leaves the project looks like this.
//!
//! Guarantees: `source` and `id` together are unique; a project's or a session's own text cannot add a
//! segment to `source`; an attribute without a value is left out. The data is written as it was emitted.

use std::fmt::Write;

use amplifier_core::{EventId, EventType, Payload, SessionEvent, SessionId, Timestamp};
use serde::{Serialize, Serializer};

/// An event as it leaves the project. Serialized it is one CloudEvent in the JSON event format.
#[derive(Debug, Serialize)]
pub struct CloudEvent<'a> {
    specversion: &'static str,
    id: EventId,
    source: String,
    #[serde(rename = "type")]
    name: &'a EventType,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a SessionId>,
    time: Timestamp,
    datacontenttype: &'static str,
    #[serde(serialize_with = "padded", skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    correlationid: EventId,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<EventId>,
    hopcount: u32,
    data: &'a Payload,
}

impl<'a> CloudEvent<'a> {
    /// The event in the form of CloudEvents. The first of a chain is its own correlation.
    pub fn of(event: &'a SessionEvent) -> Self {
        Self {
            specversion: "1.0",
            id: event.id,
            source: source(&event.scope, event.source.as_ref()),
            name: &event.event_type,
            subject: event.source.as_ref(),
            time: event.at,
            datacontenttype: "application/json",
            sequence: event.sequence,
            correlationid: event.correlation.unwrap_or(event.id),
            causationid: event.causation,
            hopcount: event.hops,
            data: &event.payload,
        }
    }

    /// The event as JSON on one line, without an end of line.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        let line = serde_json::to_string(self)?;
        // In JSON a bare line end stands between values alone.
        Ok(if line.contains(['\n', '\r']) { line.replace(['\n', '\r'], " ") } else { line })
    }
}

/// `/amplifier/<project>`, and the session below it: each one segment.
fn source(project: &str, session: Option<&SessionId>) -> String {
    let mut source = String::from("/amplifier/");
    encode(project, &mut source);
    if let Some(session) = session {
        source.push_str("/sessions/");
        encode(session.as_str(), &mut source);
    }
    source
}

/// One segment of a URI reference (RFC 3986): what is not unreserved is percent-encoded.
fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(byte.into()),
            // A text takes what is written to it.
            _ => drop(write!(into, "%{byte:02X}")),
        }
    }
}

/// Zeros in front, so that the order of texts is the order of the log.
#[expect(clippy::ref_option, reason = "serde passes the field")]
fn padded<S: Serializer>(sequence: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
    match sequence {
        Some(sequence) => to.collect_str(&format_args!("{sequence:020}")),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use amplifier_core::{Cause, CustomName, NewEvent};
    use serde_json::json;

    const FIRST: &str = "018f3e9a-0000-7000-8000-000000000001";
    const SECOND: &str = "018f3e9a-0000-7000-8000-000000000002";

    fn event(new: NewEvent, id: &str, sequence: Option<u64>) -> SessionEvent {
        let at = Timestamp::from_micros(1_795_342_331_123_456);
        SessionEvent::seal(new, id.parse().unwrap(), sequence, Arc::from("/home/ä b/x"), at)
    }

    fn text(event: &SessionEvent) -> String {
        CloudEvent::of(event).to_line().unwrap()
    }

    #[test]
    fn an_event_has_every_attribute_in_its_form() {
        let cause = Cause { event: FIRST.parse().unwrap(), correlation: FIRST.parse().unwrap(), hops: 1 };
        let data = Payload::from_json("{\"b\": 1.50,\n\"a\": [2]}").unwrap();
        let new = NewEvent::custom(CustomName::new("draft:ready").unwrap(), data)
            .from_session(SessionId::new("0-1_a").unwrap())
            .caused_by(Some(cause));
        let event = event(new, SECOND, Some(42));
        let expected = json!({
            "specversion": "1.0", "id": SECOND, "source": "/amplifier/%2Fhome%2F%C3%A4%20b%2Fx/sessions/0-1_a",
            "type": "draft:ready", "subject": "0-1_a", "time": event.at.to_string(),
            "datacontenttype": "application/json", "sequence": "00000000000000000042",
            "correlationid": FIRST, "causationid": FIRST, "hopcount": 2, "data": {"b": 1.5, "a": [2]},
        });
        let written = text(&event);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), expected);
        assert!(written.ends_with("\"data\":{\"b\": 1.50, \"a\": [2]}}"), "{written}");
        assert!(!written.contains('\n'));
    }

    #[test]
    fn what_has_no_value_is_left_out() {
        let new = NewEvent::custom(CustomName::new("a").unwrap(), Payload::null());
        let written = text(&event(new, FIRST, None));
        for name in ["subject", "sequence", "causationid"] {
            assert!(!written.contains(name), "{written}");
        }
        assert!(written.contains(&format!("\"correlationid\":\"{FIRST}\"")), "{written}");
        assert!(written.contains("\"source\":\"/amplifier/%2Fhome%2F%C3%A4%20b%2Fx\""), "{written}");
    }
}
