//! The reader's side of the router.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use amplifier_core::SessionEvent;
use futures_core::Stream;

use super::state::{Reader, Shared};
use super::{Cursor, RouterError};

/// What a subscription delivers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Delivery {
    /// An event.
    Event(Arc<SessionEvent>),
    /// The reader was too slow; this many events are missing here.
    Lagged {
        /// How many.
        missed: u64,
        /// Where to read on in the log, so that nothing recorded is lost.
        resume_at: Cursor,
    },
}

/// A stream of deliveries. Registered before `subscribe` returns; dropped, it is gone.
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    reader: Arc<Reader>,
}

impl Subscription {
    pub(super) fn new(shared: Arc<Shared>, reader: Arc<Reader>) -> Self {
        Self { shared, reader }
    }

    /// The next delivery; `None` once the router is shut down and everything was read.
    pub async fn next(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|cx| self.reader.poll(cx)).await
    }

    /// A stream of events that fills gaps from the log by itself.
    pub fn events(self) -> Events {
        Events { subscription: self, gap: Vec::new() }
    }
}

impl Stream for Subscription {
    type Item = Delivery;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.reader.poll(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.remove(&self.reader);
    }
}

/// A stream of events without gaps. `Err` only if what was missed is no longer in the log.
#[derive(Debug)]
pub struct Events {
    subscription: Subscription,
    /// Events that were read from the log to fill a gap, the next one last.
    gap: Vec<Arc<SessionEvent>>,
}

impl Events {
    /// The next event; `None` once the router is shut down and everything was read.
    pub async fn next(&mut self) -> Option<Result<Arc<SessionEvent>, RouterError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Events {
    type Item = Result<Arc<SessionEvent>, RouterError>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.gap.pop() {
                return Poll::Ready(Some(Ok(event)));
            }
            match self.subscription.reader.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Delivery::Event(event))) => return Poll::Ready(Some(Ok(event))),
                Poll::Ready(Some(Delivery::Lagged { resume_at, .. })) => {
                    let Subscription { shared, reader } = &self.subscription;
                    match shared.refill(reader, resume_at) {
                        Ok(mut missed) => {
                            missed.reverse();
                            self.gap = missed;
                        }
                        Err(gone) => return Poll::Ready(Some(Err(gone))),
                    }
                }
            }
        }
    }
}
