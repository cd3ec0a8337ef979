//! Bytes arrive as the network likes: split anywhere, or cut off anywhere.

use amplifier_core::module::provider::ProviderErrorKind as Kind;
use serde_json::json;

use super::provider_bodies::{TEXT, THINKING, anthropic_crlf, rich};
use super::provider_kit::{Format, Heard, ask, hi};
use super::provider_server::{Reply, Server};

fn is_whole(heard: Heard, at: usize) {
    let (text, thinking, starts) = (heard.text.clone(), heard.thinking.clone(), heard.starts.len());
    let done = heard.end.unwrap_or_else(|error| panic!("split at {at}: {error}"));
    assert_eq!((text.as_str(), thinking.as_str(), starts), (TEXT, THINKING, 2), "split at {at}");
    assert_eq!(done.message.text(), TEXT, "split at {at}");
    let calls: Vec<_> = done.message.tool_calls.iter().map(|call| call.arguments.clone()).collect();
    assert_eq!(calls, [json!({"path": "ä"}), json!({"n": 2})], "split at {at}");
}

async fn split_everywhere(format: Format, body: String) {
    let bytes = body.into_bytes();
    let length = bytes.len();
    let server = Server::new(move |at, _| {
        let (first, rest) = bytes.split_at(at);
        Reply::pieces(vec![first.to_vec(), rest.to_vec()])
    });
    let provider = format.provider(&server, json!({})).await;
    for at in 0..length {
        is_whole(ask(&provider, hi()).await, at);
    }
}

async fn cut_everywhere(format: Format, body: String, broken: bool, step: usize) {
    let whole = body.trim_end().len();
    let bytes = body.into_bytes();
    let server = Server::new(move |number, _| {
        let reply = Reply::ok(&bytes[..number * step]);
        if broken { reply.broken() } else { reply }
    });
    let provider = format.provider(&server, json!({})).await;
    for at in (0..whole).step_by(step) {
        let error = ask(&provider, hi()).await.error();
        let expected = matches!(error.kind, Kind::StreamCut);
        assert!(expected, "cut at {at}: {:?} {error}", error.kind);
    }
}

macro_rules! each {
    ($($name:ident: $format:expr, $body:expr;)*) => { $(
        mod $name {
            use super::*;

            #[tokio::test]
            async fn bytes_split_at_every_offset_are_the_same_answer() {
                split_everywhere($format, $body).await;
            }

            #[tokio::test]
            async fn an_answer_cut_off_at_any_offset_is_no_answer() {
                cut_everywhere($format, $body, false, 1).await;
            }

            #[tokio::test]
            async fn a_connection_that_breaks_at_any_offset_gives_no_answer() {
                cut_everywhere($format, $body, true, 7).await;
            }
        }
    )* };
}

each! {
    chat: Format::Chat, rich(Format::Chat);
    responses: Format::Responses, rich(Format::Responses);
    anthropic: Format::Anthropic, rich(Format::Anthropic);
    gemini: Format::Gemini, rich(Format::Gemini);
    ollama: Format::Ollama, rich(Format::Ollama);
}

#[tokio::test]
async fn named_events_with_crlf_are_split_at_every_offset_too() {
    split_everywhere(Format::Anthropic, anthropic_crlf()).await;
}

#[tokio::test]
async fn an_answer_that_comes_byte_by_byte_is_the_same_answer() {
    for format in super::provider_kit::FORMATS {
        let body = rich(format).into_bytes();
        let server = Server::always(Reply::pieces(body.chunks(1).map(<[u8]>::to_vec).collect()));
        let provider = format.provider(&server, json!({})).await;
        is_whole(ask(&provider, hi()).await, 0);
    }
}
