//! A forked child's first request begins with its parent's last one, byte for byte, so that a
//! service's prompt cache matches.

use std::sync::Arc;

use amplifier_core::module::provider::ChatRequest;
use amplifier_core::transcript::MessageView;
use amplifier_core::{Content, ContentBlock, Message, ToolCall};
use amplifier_foundation::spawn::context::forked;
use amplifier_foundation::spawn::{ContextDepth, ContextRequest, ContextScope};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::provider_bodies::plain;
use super::provider_kit::{FORMATS, Format, ask};
use super::provider_server::{Reply, Seen, Server};

/// The list of messages, under the name that each protocol gives it.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, alias = "input", alias = "contents")]
    messages: &'a RawValue,
}

fn list(seen: &Seen) -> &str {
    serde_json::from_str::<Body<'_>>(&seen.raw).unwrap().messages.get()
}

/// A round of two calls with reasoning, whose results come in the other order.
fn round(names: [&str; 2]) -> Vec<Message> {
    let mut calls = names.map(|name| ToolCall::new(format!("call_{name}"), name, json!({"path": "ä/😀"})));
    calls[0].extra.insert("thought_signature".into(), "sig".into());
    let mut said = Message::assistant("");
    said.content = Content::Blocks(vec![
        ContentBlock::thinking("hm", Some("sign".into())),
        ContentBlock::text("I look"),
    ]);
    said.tool_calls = calls.to_vec();
    said.metadata.insert("timestamp".into(), "2026-11-22T10:00:00Z".into());
    vec![
        said,
        Message::tool_result(&calls[1], "gone", true),
        Message::tool_result(&calls[0], "fo\"und", false),
    ]
}

/// A turn that is over, and one that is delegating now: one of two parallel calls has its result already.
/// The parent's last request held all but what `open` says are the last messages.
fn parent(rounds: usize) -> (Vec<Arc<Message>>, usize) {
    let mut messages = vec![Message::user("look")];
    messages.extend(round(["read_file", "grep"]));
    messages.extend([Message::assistant("there"), Message::user("and deeper")]);
    (0..rounds).for_each(|_| messages.extend(round(["read_file", "bash"])));
    let sent = messages.len();
    messages.extend(round(["delegate", "bash"]).into_iter().take(2));
    (messages.into_iter().map(Arc::new).collect(), sent)
}

/// What arrives of the parent's last request, and of the child's first.
async fn both(format: Format, config: &Value, rounds: usize) -> [Seen; 2] {
    let server = Server::always(Reply::ok(plain(format)));
    let provider = format.provider(&server, config.clone()).await;
    let (session, sent) = parent(rounds);
    let mut child = forked(&session, &ContextRequest::fork(ContextDepth::All, ContextScope::Full));
    child.push(Arc::new(Message::user("explore")));
    for messages in [session[..sent].to_vec(), child] {
        let mut request = ChatRequest::default();
        request.messages = MessageView::of(messages);
        ask(&provider, request).await.done();
    }
    server.seen().try_into().unwrap()
}

#[tokio::test]
async fn a_fork_sends_the_parents_messages_byte_for_byte() {
    for format in FORMATS {
        for rounds in 0..3 {
            let [parent, child] = both(format, &json!({"enable_prompt_caching": false}), rounds).await;
            let (parent, child) = (list(&parent), list(&child));
            let own = parent.strip_suffix(']').unwrap();
            let more = child.strip_prefix(own).unwrap_or_else(|| panic!("{format:?}\n{parent}\n{child}"));
            assert!(more.starts_with(',') && more.contains("explore"), "{format:?} {more}");
            assert!(own.contains("look") && !child.contains("delegate"), "{format:?} {child}");
        }
    }
}

/// Anthropic is told where to cache, which is no part of what it caches; beside that mark a lone text may
/// not stand in short form.
#[tokio::test]
async fn a_fork_is_cached_by_anthropic_up_to_its_instruction() {
    fn unmarked(list: &str) -> Vec<Value> {
        let mut list: Vec<Value> = serde_json::from_str(list).unwrap();
        for message in &mut list {
            if let Some(text) = message["content"].as_str() {
                message["content"] = json!([{"type": "text", "text": text}]);
            }
            for block in message["content"].as_array_mut().unwrap() {
                block.as_object_mut().unwrap().shift_remove("cache_control");
            }
        }
        list
    }
    for rounds in 0..3 {
        let [parent, child] = both(Format::Anthropic, &json!({}), rounds).await;
        assert!(list(&parent).contains("cache_control") && list(&child).contains("cache_control"));
        let (parent, child) = (unmarked(list(&parent)), unmarked(list(&child)));
        assert_eq!(child[..parent.len()], parent);
        assert_eq!(child.len(), parent.len() + 1);
    }
}
