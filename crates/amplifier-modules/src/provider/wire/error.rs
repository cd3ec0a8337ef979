//! What went wrong, in the kernel's words: one place for all services.
//!
//! Guarantees: a message is one clause that names the host and what to do; the
//! service's own words are cut to 300 characters, and no key is left in them.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::Clock;
use amplifier_core::module::provider::{ProviderError, ProviderErrorKind as Kind};
use genai::webc::StreamTimeout;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::provider::config::Secret;

/// Longest quotation of a service's own words, in characters.
const QUOTED_CHARS: usize = 300;
/// Longest wait that is taken from a service's own words: a day.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

/// Whose error it is, and what to do about it.
#[derive(Debug, Clone)]
pub(in crate::provider) struct Blame {
    pub(in crate::provider) provider: String,
    /// Host and port of the service.
    pub(in crate::provider) host: String,
    /// The name under which the key is set.
    pub(in crate::provider) key_name: String,
    /// Values that may appear in no message.
    pub(in crate::provider) secrets: Vec<Secret>,
    pub(in crate::provider) clock: Arc<dyn Clock>,
}

impl Blame {
    /// An error of this provider.
    pub(in crate::provider) fn error(&self, kind: Kind, message: impl AsRef<str>) -> ProviderError {
        ProviderError::new(self.provider.clone(), kind, self.clean(message.as_ref()))
    }

    /// The stream ended without its end marker.
    pub(in crate::provider) fn cut(&self, frames: u64) -> ProviderError {
        let host = &self.host;
        let message = match frames {
            0 => format!("the answer of {host} held no event; check base_url"),
            _ => format!("the stream of {host} ended before the answer was complete"),
        };
        self.error(Kind::StreamCut, message)
    }

    /// A chunk that is not of the protocol.
    pub(in crate::provider) fn malformed(&self, what: &str) -> ProviderError {
        self.error(Kind::Malformed, format!("{} sent a chunk that cannot be read: {what}", self.host))
    }

    /// A response with another status than success.
    pub(in crate::provider) fn status(&self, status: u16, headers: &HeaderMap, body: &str) -> ProviderError {
        let json: Option<Value> = serde_json::from_str(body).ok();
        let said = json.as_ref().map(words).unwrap_or_default();
        let said = if said.is_empty() { first_line(body) } else { said };
        let codes = json.as_ref().map(codes).unwrap_or_default();
        let kind = kind(Some(status), &codes, &said);
        let mut error = self.told(kind, Some(status), &said);
        error.retry_after = retry_after(headers, self.clock.as_ref())
            .or_else(|| json.as_ref().and_then(retry_delay))
            .map(|wait| wait.min(LONGEST_WAIT));
        error
    }

    /// An error that a service reports inside its stream.
    pub(in crate::provider) fn reported(&self, event: &Value) -> ProviderError {
        let codes = codes(event);
        let said = words(event);
        let status = codes.iter().find_map(|code| code.parse().ok()).filter(|code| (400..600).contains(code));
        let kind = match kind(status, &codes, &said) {
            // Without any code, an error in mid-stream is the service's trouble.
            Kind::Other => Kind::Unavailable,
            kind => kind,
        };
        let mut error = self.told(kind, status, &said);
        error.retry_after = retry_delay(event).map(|wait| wait.min(LONGEST_WAIT));
        error
    }

    fn told(&self, kind: Kind, status: Option<u16>, said: &str) -> ProviderError {
        let host = &self.host;
        let code = status.map(|status| format!(" ({status})")).unwrap_or_default();
        let said = if said.is_empty() { String::new() } else { format!(": {}", self.quoted(said)) };
        let message = match kind {
            Kind::RateLimited => format!("{host} limits the rate{code}{said}"),
            Kind::Unavailable => format!("{host} is in trouble{code}{said}"),
            Kind::Auth => format!("{host} refused the key{code}{said}; check {}", self.key_name),
            Kind::Quota => format!("the account at {host} has no credit or quota left{code}{said}"),
            Kind::ContextTooLong => format!("the conversation is too long for the model{code}{said}"),
            Kind::Invalid if status == Some(404) => {
                format!("{host} knows no such model or path{code}{said}; check default_model and base_url")
            }
            Kind::Invalid if status.is_some_and(|status| status < 400) => {
                format!("{host} answered with a redirection{code}, which is not followed; check base_url")
            }
            _ => format!("{host} refused the request{code}{said}"),
        };
        let mut error = self.error(kind, message);
        error.status = status;
        error
    }

    /// An error of `genai`'s. `None`: one of its own reading, which our decoders do better.
    pub(in crate::provider) fn classify(&self, error: &genai::Error) -> Option<ProviderError> {
        use genai::Error as E;
        match error {
            E::HttpError { status, body, headers, .. } => Some(self.status(status.as_u16(), headers, body)),
            E::WebStream { error, .. } => Some(self.transport(error.as_ref())),
            E::StreamParse { .. } | E::ChatResponse { .. } | E::JsonValueExt(_) | E::SerdeJson(_) => None,
            E::WebModelCall { .. } => {
                let message = "the request could not be built; check base_url and headers";
                Some(self.error(Kind::Config, message))
            }
            other => Some(self.error(
                Kind::Invalid,
                format!("the request could not be built: {}", first_line(&other.to_string())),
            )),
        }
    }

    /// An error of the connection, however deep it is wrapped.
    pub(in crate::provider) fn transport(&self, error: &(dyn std::error::Error + 'static)) -> ProviderError {
        let host = &self.host;
        if let Some(genai) = error.downcast_ref::<genai::Error>()
            && let Some(error) = self.classify(genai)
        {
            return error;
        }
        if let Some(timeout) = error.downcast_ref::<StreamTimeout>() {
            let message = match timeout {
                StreamTimeout::Headers => {
                    format!("{host} did not begin to answer in time; raise first_byte_timeout")
                }
                StreamTimeout::Read => format!("{host} fell silent while it answered; raise read_timeout"),
            };
            return self.error(Kind::Transport, message);
        }
        if let Some(error) = error.downcast_ref::<std::string::FromUtf8Error>() {
            return match error.utf8_error().error_len() {
                // The bytes end inside a character.
                None => self.cut(1),
                Some(_) => self.malformed("it is no UTF-8"),
            };
        }
        match error.downcast_ref::<reqwest::Error>() {
            Some(error) => self.connection(error),
            None => self.error(Kind::Transport, format!("the connection to {host} failed: {}", root(error))),
        }
    }

    fn connection(&self, error: &reqwest::Error) -> ProviderError {
        let host = &self.host;
        let cause = root(error);
        if error.is_builder() {
            return self.error(
                Kind::Config,
                format!("the request to {host} could not be built; check base_url and headers"),
            );
        }
        let (kind, message) = if error.is_connect() {
            (Kind::Transport, format!("no connection to {host}: {cause}; check base_url and the network"))
        } else if error.is_timeout() {
            (Kind::Transport, format!("{host} did not answer in time"))
        } else if error.is_body() || error.is_decode() {
            (
                Kind::StreamCut,
                format!("the connection to {host} broke before the answer was complete: {cause}"),
            )
        } else {
            (Kind::Transport, format!("the connection to {host} failed: {cause}"))
        };
        self.error(kind, message)
    }

    fn quoted(&self, said: &str) -> String {
        let clean = self.clean(said);
        let clean = clean.trim_end_matches(['.', ' ']);
        match clean.char_indices().nth(QUOTED_CHARS) {
            Some((end, _)) => format!("{}…", &clean[..end]),
            None => clean.to_owned(),
        }
    }

    /// One line, without keys.
    fn clean(&self, text: &str) -> String {
        let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for secret in &self.secrets {
            // Short values would take ordinary words out of messages.
            if secret.reveal().len() >= 4 {
                text = text.replace(secret.reveal(), "***");
            }
        }
        text
    }
}

fn root(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    first_line(&deepest.to_string())
}

fn first_line(text: &str) -> String {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

/// Where services put an error's data.
const PLACES: [&str; 4] = ["/error", "/response/error", "/0/error", ""];

/// The service's own message.
fn words(body: &Value) -> String {
    let at = |place: &str| body.pointer(&format!("{place}/message")).and_then(Value::as_str);
    let text = PLACES.iter().find_map(|place| at(place));
    let text = text.or_else(|| body.get("error").and_then(Value::as_str));
    text.or_else(|| body.get("detail").and_then(Value::as_str)).unwrap_or_default().to_owned()
}

/// The service's own codes and types, in lower case.
fn codes(body: &Value) -> Vec<String> {
    let mut codes = Vec::new();
    for place in PLACES {
        for name in ["code", "type", "status"] {
            match body.pointer(&format!("{place}/{name}")) {
                Some(Value::String(code)) => codes.push(code.to_lowercase()),
                Some(Value::Number(code)) => codes.push(code.to_string()),
                _ => {}
            }
        }
    }
    codes
}

/// From status, codes and words to a kind; the more telling of them first.
fn kind(status: Option<u16>, codes: &[String], said: &str) -> Kind {
    let said = said.to_lowercase();
    let coded = |names: &[&str]| codes.iter().any(|code| names.contains(&code.as_str()));
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| said.contains(phrase));
    if coded(&["insufficient_quota", "billing_error", "billing_hard_limit_reached", "402"])
        || status == Some(402)
        || says(&["credit balance", "exceeded your current quota, please check your plan and billing"])
            && !coded(&["resource_exhausted"])
    {
        return Kind::Quota;
    }
    let client = status.is_none_or(|status| matches!(status, 400 | 413 | 422 | 500));
    if coded(&["context_length_exceeded", "request_too_large", "string_above_max_length"])
        || status == Some(413)
        || client && says(TOO_LONG)
    {
        return Kind::ContextTooLong;
    }
    match status {
        Some(429 | 529) => Kind::RateLimited,
        Some(401 | 403) => Kind::Auth,
        Some(408) => Kind::Transport,
        Some(500..=599) if !coded(&["overloaded_error", "rate_limit_exceeded"]) => Kind::Unavailable,
        Some(300..=499) => Kind::Invalid,
        _ => coded_kind(codes, &said),
    }
}

const TOO_LONG: &[&str] = &[
    "maximum context length",
    "prompt is too long",
    "context window",
    "context length",
    "exceeds the maximum number of tokens",
    "input is too long",
    "exceed_context_size",
    "exceeds the available context size",
];

fn coded_kind(codes: &[String], said: &str) -> Kind {
    for code in codes {
        let kind = match code.as_str() {
            "overloaded_error"
            | "rate_limit_error"
            | "rate_limit_exceeded"
            | "resource_exhausted"
            | "too_many_requests"
            | "slow_down"
            | "429"
            | "529" => Kind::RateLimited,
            "api_error"
            | "server_error"
            | "timeout_error"
            | "internal"
            | "unavailable"
            | "internal_error"
            | "deadline_exceeded"
            | "internal_server_error"
            | "server_overloaded" => Kind::Unavailable,
            "authentication_error"
            | "permission_error"
            | "invalid_api_key"
            | "unauthenticated"
            | "permission_denied" => Kind::Auth,
            "invalid_request_error"
            | "not_found_error"
            | "invalid_prompt"
            | "invalid_argument"
            | "not_found"
            | "model_not_found"
            | "failed_precondition" => Kind::Invalid,
            _ => continue,
        };
        return kind;
    }
    match said {
        said if said.contains("rate limit") || said.contains("overloaded") => Kind::RateLimited,
        _ => Kind::Other,
    }
}

/// `Retry-After` in seconds or as a date, or its finer relative.
pub(crate) fn retry_after(headers: &HeaderMap, clock: &dyn Clock) -> Option<Duration> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(millis) = header("retry-after-ms").and_then(seconds) {
        return Some(millis / 1_000);
    }
    let value = header("retry-after")?;
    seconds(value).or_else(|| {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
        let now = clock.now().as_micros();
        Some(Duration::from_micros(u64::try_from(date.as_microsecond().saturating_sub(now)).unwrap_or(0)))
    })
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// Google's own way to say it: `"retryDelay": "17s"` among the details.
fn retry_delay(body: &Value) -> Option<Duration> {
    let details = PLACES.iter().find_map(|place| body.pointer(&format!("{place}/details"))?.as_array())?;
    let delay = details.iter().find_map(|detail| detail.get("retryDelay")?.as_str())?;
    seconds(delay.strip_suffix('s')?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(status: u16, body: Value, expect: Kind) {
        let (codes, said) = (codes(&body), words(&body));
        assert_eq!(kind(Some(status), &codes, &said), expect, "{status} {body}");
    }

    #[test]
    fn a_status_and_the_services_words_make_a_kind() {
        check(429, json!({"error": {"message": "slow down"}}), Kind::RateLimited);
        check(529, json!({"type": "error", "error": {"type": "overloaded_error"}}), Kind::RateLimited);
        check(429, json!({"error": {"code": "insufficient_quota", "message": "x"}}), Kind::Quota);
        check(402, json!({}), Kind::Quota);
        check(400, json!({"error": {"message": "Your credit balance is too low"}}), Kind::Quota);
        check(401, json!({}), Kind::Auth);
        check(403, json!("no"), Kind::Auth);
        check(400, json!({"error": {"code": "context_length_exceeded"}}), Kind::ContextTooLong);
        check(400, json!({"error": {"message": "prompt is too long: 9 > 8"}}), Kind::ContextTooLong);
        check(400, json!({"error": "input exceeds the context window"}), Kind::ContextTooLong);
        check(413, json!({}), Kind::ContextTooLong);
        check(404, json!({"error": "model 'x' not found"}), Kind::Invalid);
        check(422, json!({}), Kind::Invalid);
        check(503, json!({}), Kind::Unavailable);
        check(302, json!({}), Kind::Invalid);
    }
}
