//! Reading one answer as it comes.
//!
//! Guarantees: the display and the hooks hear of each piece in order; every block
//! that was started is ended, also when the stream breaks. A stream that ends
//! without [`ChatDelta::Done`] is an error.

use serde_json::json;

use crate::approval::Shown;
use crate::event::EventType;
use crate::module::provider::{ChatDelta, ChatResponse, ChatStream, ProviderError, ProviderErrorKind};
use crate::session::Core;

/// A block of an answer that is being streamed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Thinking => "thinking",
        }
    }

    fn delta(self) -> EventType {
        match self {
            Self::Text => EventType::ContentBlockDelta,
            Self::Thinking => EventType::ThinkingDelta,
        }
    }
}

/// The block that is open, and how many there were.
#[derive(Default)]
struct Blocks {
    open: Option<(Kind, String)>,
    count: usize,
}

impl Core {
    pub(super) async fn consume(
        &self,
        provider: &str,
        mut stream: ChatStream,
    ) -> Result<ChatResponse, ProviderError> {
        let mut blocks = Blocks::default();
        let result = loop {
            let piece = std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await;
            if matches!(piece, Some(Ok(_))) {
                self.env.activity.progress();
            }
            match piece {
                Some(Ok(ChatDelta::Text(text))) => self.piece(&mut blocks, Kind::Text, &text).await,
                Some(Ok(ChatDelta::Thinking(text))) => self.piece(&mut blocks, Kind::Thinking, &text).await,
                Some(Ok(ChatDelta::ToolCallStart { .. })) => {}
                Some(Ok(ChatDelta::Done(response))) => break Ok(*response),
                Some(Err(error)) => break Err(error),
                None => {
                    let message = "the stream ended before the answer was complete";
                    break Err(ProviderError::new(provider, ProviderErrorKind::StreamCut, message));
                }
            }
        };
        self.end_block(&mut blocks).await;
        result
    }

    async fn piece(&self, blocks: &mut Blocks, kind: Kind, text: &str) {
        if blocks.open.as_ref().is_none_or(|(open, _)| *open != kind) {
            self.end_block(blocks).await;
            blocks.open = Some((kind, String::new()));
            let index = blocks.count;
            blocks.count += 1;
            let data = || json!({"block_type": kind.as_str(), "block_index": index});
            self.pass_on(EventType::ContentBlockStart, data).await;
        }
        if let Some((_, so_far)) = &mut blocks.open {
            so_far.push_str(text);
        }
        let origin = self.env.origin();
        self.ledger().streamed_bytes += text.len() as u64;
        match kind {
            Kind::Text => {
                self.ledger().partial.push_str(text);
                self.env.display.show(&origin, Shown::Text(text));
            }
            Kind::Thinking => self.env.display.show(&origin, Shown::Thinking(text)),
        }
        let index = blocks.count - 1;
        self.pass_on(kind.delta(), || json!({"block_index": index, "delta": text})).await;
    }

    async fn end_block(&self, blocks: &mut Blocks) {
        let Some((kind, text)) = blocks.open.take() else { return };
        let index = blocks.count - 1;
        if kind == Kind::Thinking {
            self.pass_on(EventType::ThinkingFinal, || json!({"block_index": index, "text": text})).await;
        }
        let data = || json!({"block_type": kind.as_str(), "block_index": index, "text": text});
        self.pass_on(EventType::ContentBlockEnd, data).await;
    }

    async fn pass_on(&self, event: EventType, data: impl FnOnce() -> serde_json::Value) {
        self.notify(&event, data).await;
    }
}
