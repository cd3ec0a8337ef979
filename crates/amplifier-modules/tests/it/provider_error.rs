//! What goes wrong, and what it is called.

use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amplifier_core::module::provider::ProviderErrorKind as Kind;
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::provider_bodies::{begun, event, limited, plain};
use super::provider_kit::{FORMATS, Format, KEY, ask, hi, mount, try_mount};
use super::provider_server::{Reply, Server};

/// Asks once over each protocol, and expects this.
async fn check(reply: impl Fn(Format) -> Reply, kind: Kind, status: Option<u16>, words: &[&str]) {
    for format in FORMATS {
        let server = Server::always(reply(format));
        let error = ask(&format.provider(&server, json!({})).await, hi()).await.error();
        assert_eq!((error.kind, error.status), (kind, status), "{format:?} {error}");
        for word in words {
            assert!(error.message.contains(word), "{format:?}: `{word}` is not in `{error}`");
        }
        assert_eq!(server.seen().len(), 1, "{format:?}: one attempt is one request");
    }
}

#[tokio::test]
async fn a_rate_limit_before_the_answer_says_how_long_to_wait() {
    for (value, seconds) in
        [("7", 7), ("Sun, 22 Nov 2026 10:01:30 GMT", 90), ("Sun, 22 Nov 2026 09:00:00 GMT", 0)]
    {
        for format in FORMATS {
            let reply =
                Reply::status(429, "{\"error\":{\"message\":\"slow down\"}}").header("retry-after", value);
            let server = Server::always(reply);
            let error = ask(&format.provider(&server, json!({})).await, hi()).await.error();
            assert_eq!(error.kind, Kind::RateLimited, "{format:?}");
            assert_eq!(error.retry_after, Some(Duration::from_secs(seconds)), "{format:?} {value}");
            assert!(error.message.contains("slow down"), "{error}");
        }
    }
    let reply = Reply::status(429, "{}").header("retry-after-ms", "1500").header("retry-after", "2");
    let server = Server::always(reply);
    let error = ask(&Format::Azure.provider(&server, json!({})).await, hi()).await.error();
    assert_eq!(error.retry_after, Some(Duration::from_millis(1_500)));
}

#[tokio::test]
async fn a_rate_limit_in_mid_stream_is_one() {
    for format in FORMATS {
        let server = Server::always(Reply::ok(begun(format) + &limited(format)));
        let heard = ask(&format.provider(&server, json!({})).await, hi()).await;
        assert_eq!(heard.text, "he", "{format:?}");
        let error = heard.error();
        assert_eq!(error.kind, Kind::RateLimited, "{format:?} {error}");
        assert!(error.message.contains("slow down"), "{format:?} {error}");
        let expect = (format == Format::Gemini).then_some(Duration::from_secs(17));
        assert_eq!(error.retry_after, expect, "{format:?}");
    }
}

#[tokio::test]
async fn other_errors_in_mid_stream_keep_their_kind() {
    for (format, body, kind) in [
        (Format::Chat, json!({"error": {"message": "x", "code": 429}}), Kind::RateLimited),
        (Format::Chat, json!({"error": {"message": "x", "type": "server_error"}}), Kind::Unavailable),
        (Format::Chat, json!({"error": {"message": "x", "code": "insufficient_quota"}}), Kind::Quota),
        (Format::Compatible, json!({"error": "something broke"}), Kind::Unavailable),
        (
            Format::Anthropic,
            json!({"type": "error", "error": {"type": "api_error", "message": "x"}}),
            Kind::Unavailable,
        ),
        (
            Format::Anthropic,
            json!({"type": "error", "error": {"type": "invalid_request_error", "message": "x"}}),
            Kind::Invalid,
        ),
        (
            Format::Gemini,
            json!({"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}),
            Kind::Unavailable,
        ),
        (
            Format::Responses,
            json!({"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded", "message": "x"}}}),
            Kind::RateLimited,
        ),
        (
            Format::Responses,
            json!({"type": "response.failed", "response": {"error": {"code": "context_length_exceeded", "message": "x"}}}),
            Kind::ContextTooLong,
        ),
    ] {
        let server = Server::always(Reply::ok(begun(format) + &event(format, &body.to_string())));
        let error = ask(&format.provider(&server, json!({})).await, hi()).await.error();
        assert_eq!(error.kind, kind, "{format:?} {body}");
    }
}

#[tokio::test]
async fn a_refused_key_is_told_without_the_key() {
    let body = format!("{{\"error\":{{\"message\":\"bad key {KEY}\"}}}}");
    check(|_| Reply::status(401, &body), Kind::Auth, Some(401), &["127.0.0.1:", "***", "check "]).await;
    check(|_| Reply::status(403, "no"), Kind::Auth, Some(403), &["no"]).await;
}

#[tokio::test]
async fn a_conversation_that_does_not_fit_is_told_apart() {
    let body = "{\"error\":{\"message\":\"prompt is too long: 300000 tokens > 200000 maximum\",\"code\":\"context_length_exceeded\"}}";
    check(|_| Reply::status(400, body), Kind::ContextTooLong, Some(400), &["too long"]).await;
}

#[tokio::test]
async fn wrong_requests_and_troubled_services_are_told_apart() {
    let error = "{\"error\":{\"message\":\"it went wrong\"}}";
    check(|_| Reply::status(500, error), Kind::Unavailable, Some(500), &["it went wrong"]).await;
    check(|_| Reply::status(503, "<html>\nbusy"), Kind::Unavailable, Some(503), &[]).await;
    check(|_| Reply::status(529, error), Kind::RateLimited, Some(529), &[]).await;
    check(|_| Reply::status(404, error), Kind::Invalid, Some(404), &["default_model", "base_url"]).await;
    check(|_| Reply::status(422, error), Kind::Invalid, Some(422), &["it went wrong"]).await;
    check(|_| Reply::status(402, error), Kind::Quota, Some(402), &["credit"]).await;
    let moved = |_| Reply::status(307, "").header("location", "http://127.0.0.1:1/");
    check(moved, Kind::Invalid, Some(307), &["redirection"]).await;
}

#[tokio::test]
async fn long_words_of_a_service_are_cut() {
    let body = json!({"error": {"message": "ö\n".repeat(5_000)}}).to_string();
    check(|_| Reply::status(400, &body), Kind::Invalid, Some(400), &["…"]).await;
}

#[tokio::test]
async fn a_malformed_chunk_is_reported() {
    for broken in ["{\"a\":", "[1]", "hello"] {
        for format in FORMATS {
            let body = begun(format) + &event(format, broken) + &plain(format);
            let server = Server::always(Reply::ok(body));
            let heard = ask(&format.provider(&server, json!({})).await, hi()).await;
            assert_eq!(heard.text, "he", "{format:?}");
            assert_eq!(heard.error().kind, Kind::Malformed, "{format:?} {broken}");
        }
    }
    for format in FORMATS {
        let mut body = begun(format).into_bytes();
        body.extend_from_slice(b"data: \xff\xfe\n\n");
        let server = Server::always(Reply::ok(body));
        let error = ask(&format.provider(&server, json!({})).await, hi()).await.error();
        assert_eq!(error.kind, Kind::Malformed, "{format:?} {error}");
    }
}

#[tokio::test]
async fn an_answer_of_another_protocol_says_what_to_check() {
    for format in FORMATS.into_iter().filter(|format| *format != Format::Ollama) {
        let server = Server::always(Reply::ok("<html>hello</html>"));
        let error = ask(&format.provider(&server, json!({})).await, hi()).await.error();
        assert_eq!(error.kind, Kind::StreamCut, "{format:?}");
        assert!(error.message.contains("check base_url"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn silence_ends_at_its_deadline() {
    for format in FORMATS {
        let server = Server::always(Reply::never());
        let provider = format.provider(&server, json!({"first_byte_timeout": "30ms"})).await;
        let error = ask(&provider, hi()).await.error();
        assert_eq!(error.kind, Kind::Transport, "{format:?}");
        assert!(error.message.contains("first_byte_timeout"), "{error}");
        assert_eq!(server.finish(), 1, "{format:?}: the connection stayed open");

        let server = Server::always(Reply::ok(begun(format)).silent());
        let provider = format.provider(&server, json!({"timeout": 5, "read_timeout": "30ms"})).await;
        let heard = ask(&provider, hi()).await;
        assert_eq!(heard.text, "he", "{format:?}");
        let error = heard.error();
        assert_eq!(error.kind, Kind::Transport, "{format:?}");
        assert!(error.message.contains("read_timeout"), "{error}");
    }
}

#[tokio::test]
async fn nobody_there_is_a_matter_of_transport() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for format in FORMATS {
        let provider =
            mount(format.module(), format.config(format!("http://{address}{}", format.base()))).await;
        let error = ask(&provider, hi()).await.error();
        assert_eq!(error.kind, Kind::Transport, "{format:?} {error}");
        assert!(error.message.contains(&address.to_string()), "{error}");
    }
}

#[tokio::test]
async fn what_is_missing_is_named_at_the_first_request_and_not_before() {
    for (module, config, name) in [
        ("provider-anthropic", json!({}), "ANTHROPIC_API_KEY"),
        ("provider-openai", json!({}), "OPENAI_API_KEY"),
        ("provider-openai", json!({"api_key_env": "MY_KEY"}), "MY_KEY"),
        ("provider-azure-openai", json!({"base_url": "https://x"}), "AZURE_OPENAI_API_KEY"),
        ("provider-azure-openai", json!({"api_key": KEY}), "AZURE_OPENAI_ENDPOINT"),
        ("provider-azure-openai", json!({"api_key": KEY, "base_url": "https://x"}), "default_model"),
        ("provider-gemini", json!({}), "GEMINI_API_KEY"),
        ("provider-openai-compatible", json!({}), "base_url"),
        ("provider-openai-compatible", json!({"base_url": "http://127.0.0.1:1/v1"}), "default_model"),
        ("provider-ollama", json!({"base_url": "ftp://x"}), "base_url"),
    ] {
        let provider = mount(module, config).await;
        let error = ask(&provider, hi()).await.error();
        assert_eq!(error.kind, Kind::Config, "{module}");
        assert!(error.message.contains(name), "{module}: {error}");
    }
}

#[tokio::test]
async fn headers_that_cannot_be_sent_are_an_error_of_the_configuration() {
    for headers in [json!({"not a name": "x"}), json!({"x-name": "two\nlines"})] {
        let server = Server::always(Reply::ok(plain(Format::Chat)));
        let error =
            ask(&Format::Chat.provider(&server, json!({"headers": headers})).await, hi()).await.error();
        assert_eq!(error.kind, Kind::Config, "{error}");
    }
}

/// Writes down all that is logged on this thread.
#[derive(Debug, Default, Clone)]
struct Log(Arc<Mutex<String>>);

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        attributes.record(&mut self.clone());
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        writeln!(self.0.lock().unwrap(), "{field}={value:?}").unwrap();
    }
}

#[tokio::test]
async fn a_key_that_a_service_repeats_is_in_no_log() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    tracing::warn!("the log works");
    let body = format!("{{\"error\":{{\"type\":\"authentication_error\",\"message\":\"bad key {KEY}\"}}}}");
    for format in FORMATS {
        let server = Server::always(Reply::status(401, &body));
        ask(&format.provider(&server, json!({})).await, hi()).await.error();
        let server = Server::always(Reply::ok(begun(format) + &event(format, &body)));
        ask(&format.provider(&server, json!({})).await, hi()).await.error();
        let server = Server::always(Reply::ok(begun(format) + &event(format, KEY)));
        ask(&format.provider(&server, json!({})).await, hi()).await.error();
    }
    let logged = log.0.lock().unwrap().clone();
    assert!(logged.contains("the log works") && !logged.contains(KEY), "{logged}");
}

#[tokio::test]
async fn a_setting_of_the_wrong_type_is_an_error_of_the_bundle() {
    for config in [
        json!({"timeout": "soon"}),
        json!({"headers": 7}),
        json!({"api": "soap"}),
        json!({"reasoning": "much"}),
    ] {
        let error = try_mount("provider-openai", config.clone(), &[]).await.unwrap_err().to_string();
        assert!(error.contains("provider-openai"), "{config} {error}");
    }
    mount("provider-openai", json!({"raw": true, "something_else": [1]})).await;
}
