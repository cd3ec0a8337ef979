//! An answer as a stream: frames in, pieces out.
//!
//! Guarantees: the last piece is the whole answer, and it comes only after the
//! protocol's end marker; an error is the last item. Dropping the stream closes the
//! connection. What `genai` thinks of a frame is not asked; only what it says of
//! the connection is.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use amplifier_core::module::provider::{ChatDelta, ProviderError};
use futures_core::Stream;
use genai::chat::{ChatFrameSink, FrameCtx, RawFrameRef};
use tracing::Dispatch;
use tracing::dispatcher::with_default;

use super::answer::Answer;
use super::error::Blame;
use super::{Decoder, Fault, Step};

/// Frames on their way from `genai` to the decoder.
#[derive(Debug, Default)]
pub(in crate::provider) struct Frames {
    // Held for a push or a pop; never across an await. It holds at most the frames
    // of one piece that came from the network: they are read before the next poll.
    queue: Mutex<VecDeque<String>>,
}

impl Frames {
    fn pop(&self) -> Option<String> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn is_empty(&self) -> bool {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl ChatFrameSink for Frames {
    fn on_frame(&self, _: &FrameCtx, frame: RawFrameRef<'_>) {
        let data = frame.data.trim();
        if !data.is_empty() {
            self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(data.to_owned());
        }
    }
}

/// One answer on its way.
pub(in crate::provider) struct AnswerStream {
    /// `None` once the answer is complete or has failed.
    source: Option<genai::chat::ChatStream>,
    frames: Arc<Frames>,
    decoder: Box<dyn Decoder>,
    answer: Answer,
    blame: Blame,
    seen: u64,
    /// How the connection ended, while frames that came before it are still to be read.
    ended: Option<ProviderError>,
}

impl AnswerStream {
    pub(in crate::provider) fn new(
        source: genai::chat::ChatStream,
        frames: Arc<Frames>,
        decoder: Box<dyn Decoder>,
        answer: Answer,
        blame: Blame,
    ) -> Self {
        Self { source: Some(source), frames, decoder, answer, blame, seen: 0, ended: None }
    }

    fn read(&mut self, frame: &str, cx: &mut Context<'_>) -> Option<Result<ChatDelta, ProviderError>> {
        self.seen += 1;
        match self.decoder.frame(frame, &mut self.answer) {
            Ok(Step::More) => None,
            Ok(Step::End) => {
                self.source = None;
                // Pieces of the last frame go out before the whole.
                let done = ChatDelta::Done(Box::new(self.answer.finish()));
                self.answer.push(done);
                None
            }
            Err(Fault::Service(event)) => Some(Err(self.fail(self.blame.reported(&event)))),
            Err(Fault::Malformed(what)) => {
                let error = match self.at_end(cx) {
                    true => self.blame.cut(self.seen),
                    false => self.blame.malformed(&what),
                };
                Some(Err(self.fail(error)))
            }
        }
    }

    /// True if nothing comes behind a broken frame: then it is one that was cut off.
    fn at_end(&mut self, cx: &mut Context<'_>) -> bool {
        while self.frames.is_empty() && self.ended.is_none() {
            if self.source.is_none() {
                return true;
            }
            if self.advance(cx).is_pending() {
                return false;
            }
        }
        self.frames.is_empty()
    }

    fn fail(&mut self, error: ProviderError) -> ProviderError {
        self.source = None;
        self.answer.clear();
        error
    }

    /// Takes one step of the connection.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(source) = &mut self.source else { return Poll::Ready(()) };
        // genai logs frames and error bodies, in which a service may repeat a key.
        let polled = with_default(&Dispatch::none(), || Pin::new(source).poll_next(cx));
        match polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(error))) => self.ended = self.blame.classify(&error),
            Poll::Ready(None) => self.ended = Some(self.blame.cut(self.seen)),
        }
        Poll::Ready(())
    }
}

impl Stream for AnswerStream {
    type Item = Result<ChatDelta, ProviderError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(delta) = this.answer.next() {
                return Poll::Ready(Some(Ok(delta)));
            }
            if this.source.is_none() {
                return Poll::Ready(None);
            }
            if let Some(frame) = this.frames.pop() {
                if let Some(item) = this.read(&frame, cx) {
                    return Poll::Ready(Some(item));
                }
                continue;
            }
            if let Some(error) = this.ended.take() {
                let error = this.fail(error);
                return Poll::Ready(Some(Err(error)));
            }
            // Frames may have come although genai has nothing to say of them.
            if this.advance(cx).is_pending() && this.frames.is_empty() {
                return Poll::Pending;
            }
        }
    }
}
