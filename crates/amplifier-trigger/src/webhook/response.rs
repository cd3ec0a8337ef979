//! What a webhook answers.

use std::time::Duration;

use serde_json::json;

use crate::event::TriggerEventId;

/// An HTTP response: status, headers, body. The body is JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Headers, their names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

impl Response {
    fn of(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status, headers, body: body.to_string() }
    }

    pub(super) fn error(status: u16, error: &str) -> Self {
        Self::of(status, &json!({ "error": error }))
    }

    /// The event is durable: now (202) or since before (200).
    pub(super) fn taken(status: u16, id: &TriggerEventId) -> Self {
        Self::of(status, &json!({ "id": id }))
    }

    pub(super) fn ignored(reason: &str) -> Self {
        Self::of(200, &json!({ "ignored": reason }))
    }

    pub(super) fn full(retry_after: Duration) -> Self {
        Self::later(429, "the queue is full", retry_after)
    }

    /// An error that is worth another try after some time, which is told in whole seconds, one at least.
    pub(super) fn later(status: u16, error: &str, retry_after: Duration) -> Self {
        let mut response = Self::error(status, error);
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        response.headers.push(("retry-after", seconds.max(1).to_string()));
        response
    }
}
