//! An answer that comes word by word.

use std::pin::Pin;
use std::task::{Context, Poll};

use amplifier_core::message::{Content, ContentBlock, KnownBlock};
use amplifier_core::module::provider::{ChatDelta, ChatResponse, ProviderError};
use futures_core::Stream;

/// The pieces of one answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// `None` once it was given.
    response: Option<Box<ChatResponse>>,
    /// Bytes of the text that were given.
    given: usize,
    calls_given: usize,
    thought: bool,
    /// True: it ends without its end marker.
    cut: bool,
}

impl Answer {
    pub(super) fn new(response: ChatResponse, cut: bool) -> Self {
        Self { response: Some(Box::new(response)), given: 0, calls_given: 0, thought: false, cut }
    }

    fn next(&mut self) -> Option<ChatDelta> {
        let response = self.response.as_ref()?;
        if !std::mem::replace(&mut self.thought, true)
            && let Some(thinking) = thinking(&response.message.content)
        {
            return Some(ChatDelta::Thinking(thinking.to_owned()));
        }
        if let Some(word) = first_word(&text(&response.message.content)[self.given..]) {
            self.given += word.len();
            return Some(ChatDelta::Text(word.to_owned()));
        }
        if let Some(call) = response.message.tool_calls.get(self.calls_given) {
            self.calls_given += 1;
            return Some(ChatDelta::ToolCallStart { id: call.id.clone(), name: call.name.clone() });
        }
        let response = self.response.take()?;
        (!self.cut).then_some(ChatDelta::Done(response))
    }
}

impl Stream for Answer {
    type Item = Result<ChatDelta, ProviderError>;

    fn poll_next(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.next().map(Ok))
    }
}

/// The first word with the white space behind it; `None` for no text.
fn first_word(text: &str) -> Option<&str> {
    let word = text.find(char::is_whitespace).unwrap_or(text.len());
    let space = text[word..].find(|c: char| !c.is_whitespace()).unwrap_or(text.len() - word);
    (!text.is_empty()).then(|| &text[..word + space])
}

fn text(content: &Content) -> &str {
    match content {
        Content::Text(text) => text,
        Content::Blocks(blocks) => blocks.iter().find_map(text_block).unwrap_or_default(),
        _ => "",
    }
}

fn text_block(block: &ContentBlock) -> Option<&str> {
    match block {
        ContentBlock::Known(KnownBlock::Text { text, .. }) => Some(text),
        _ => None,
    }
}

fn thinking(content: &Content) -> Option<&str> {
    let Content::Blocks(blocks) = content else { return None };
    blocks.iter().find_map(|block| match block {
        ContentBlock::Known(KnownBlock::Thinking { thinking, .. }) => Some(thinking.as_str()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_white_space() {
        for (text, expected) in [
            ("a  b\nc", vec!["a  ", "b\n", "c"]),
            (" a ", vec![" ", "a "]),
            ("", vec![]),
            ("ä\u{2003}ö", vec!["ä\u{2003}", "ö"]),
        ] {
            let mut rest = text;
            let mut words = Vec::new();
            while let Some(word) = first_word(rest) {
                words.push(word);
                rest = &rest[word.len()..];
            }
            assert_eq!(words, expected);
        }
    }
}
