//! A choice that fails between two services on loopback: what the second one is sent of the first one's answers.

use std::sync::Arc;

use amplifier_core::ModuleSpec;
use amplifier_core::module::provider::Provider;
use amplifier_core::turn::Choice;
use serde_json::Value;

use super::provider_bodies::{plain, rich};
use super::provider_kit::{Format, mount_spec};
use super::provider_server::{Reply, Server};
use crate::support::{Does, Kit};

async fn provider(format: Format, id: &str, server: &Server) -> Arc<dyn Provider> {
    let mut spec = ModuleSpec::new(format.module());
    spec.id = Some(id.to_owned());
    spec.config = format.config(server.url(format.base())).as_object().cloned().unwrap();
    mount_spec(&spec, &[]).await.unwrap()
}

/// True if a request holds the reasoning of one of the rich answers, or a proof of it.
fn reasoning(body: &Value) -> bool {
    let text = body.to_string();
    ["hm, ja", "\"sign\"", "\"blob\"", "\"sig\""].iter().any(|word| text.contains(word))
}

/// The first service gives a rich answer and then refuses its key; the second gives one and a plain one.
async fn check(from: Format, to: Format) {
    let first = Server::new(move |number, _| match number {
        0 => Reply::ok(rich(from)),
        _ => Reply::status(401, "{\"error\":{\"message\":\"no\"}}"),
    });
    let second = Server::new(move |number, _| Reply::ok(if number == 0 { rich(to) } else { plain(to) }));
    let choices = vec![
        Choice::new(provider(from, "first", &first).await),
        Choice::new(provider(to, "second", &second).await),
    ];
    let kit = Kit::new(Vec::new()).tool("read", Does::Answers).tool("write", Does::Answers);
    let mut bench = kit.build_with(|builder| builder.choices(choices));
    let reply = bench.driver.turn("hi".into()).await.unwrap();
    assert_eq!(reply.turns, 3, "{from:?} {to:?}");
    let (first, second) = (first.seen(), second.seen());
    assert_eq!((first.len(), second.len()), (2, 2), "{from:?} {to:?}");
    assert!(reasoning(&first[1].body), "its own, {from:?}: {}", first[1].body);
    assert!(!reasoning(&second[0].body), "the other's, {from:?} {to:?}: {}", second[0].body);
    assert!(reasoning(&second[1].body), "its own, {from:?} {to:?}: {}", second[1].body);
    let results = second[0].body.to_string().matches("read ran").count();
    assert_eq!(results, 1, "{from:?} {to:?}: {}", second[0].body);
}

#[tokio::test]
async fn no_service_is_sent_the_reasoning_of_another() {
    use Format::*;
    for (from, to) in [
        (Anthropic, Anthropic),
        (Responses, Responses),
        (Gemini, Gemini),
        (Compatible, Compatible),
        (Anthropic, Responses),
        (Responses, Gemini),
        (Gemini, Anthropic),
        (Compatible, Chat),
    ] {
        check(from, to).await;
    }
}
