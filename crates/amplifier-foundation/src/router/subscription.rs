//! The reader's side of the router.
//!
//! Guarantees: a subscription delivers each event once, in the order of the log, and says what it lost;
//! [`Events`] reads from the log what it lost, or what lies before it, and then goes on live without a gap
//! and without a repetition.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use amplifier_core::SessionEvent;
use amplifier_core::clock::BoxFuture;
use amplifier_store::{EventPage, Store, StoreError};
use futures_core::Stream;

use super::feed::Feed;
use super::ring::{Read, Reader};
use super::{Cursor, EventFilter, RouterError};

/// Events that are read from the log at once.
const PAGE: usize = 256;

/// What a subscription delivers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Delivery {
    /// An event.
    Event(Arc<SessionEvent>),
    /// The reader was too slow; this many events are missing here.
    Lagged {
        /// How many; ephemeral ones too, which are in no log. Where the store could not tell what was
        /// recorded, as many as there may have been.
        missed: u64,
        /// Where to read on in the log, so that nothing recorded is lost.
        resume_at: Cursor,
    },
}

type Asking = BoxFuture<'static, Result<Cursor, StoreError>>;

/// A stream of deliveries. Registered before `subscribe` returns; dropped, it is gone.
pub struct Subscription {
    feed: Arc<Feed>,
    /// A reader keeps no store open.
    store: Weak<dyn Store>,
    reader: Reader,
    /// A loss that cannot be told before the log is known.
    asking: Option<(u64, u64, Asking)>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("filter", &self.reader.ring.filter).finish_non_exhaustive()
    }
}

impl Subscription {
    pub(super) fn new(feed: Arc<Feed>, store: &Arc<dyn Store>, reader: Reader) -> Self {
        let store = Arc::downgrade(store);
        Self { feed, store, reader, asking: None }
    }

    /// The next delivery; `None` once the router is shut down and everything was read.
    pub async fn next(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Ephemeral events that were lost so far. They are in no log.
    pub fn lost(&self) -> u64 {
        self.reader.lost
    }

    /// A stream of events that fills gaps from the log by itself.
    pub fn events(self) -> Events {
        Events { subscription: self, from: None, reading: None, page: Vec::new().into_iter(), seen: 0 }
    }

    /// A stream of events that begins in the log.
    pub(super) fn events_from(self, cursor: Cursor) -> Events {
        Events { from: Some(cursor), seen: cursor.sequence, ..self.events() }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        if self.asking.is_none() {
            match ready!(self.reader.poll(cx)) {
                None => return Poll::Ready(None),
                Some(Read::Event(event)) => return Poll::Ready(Some(Delivery::Event(event))),
                Some(Read::Lagged { missed, from }) => {
                    let floor = if self.reader.floor == 0 { self.feed.first() } else { self.reader.floor };
                    let from = from.unwrap_or(floor);
                    if let Some(log) = self.feed.log.get() {
                        return Poll::Ready(Some(lagged(missed, *log, from)));
                    }
                    let store = self.store.upgrade().ok_or(StoreError::Closed);
                    self.asking = Some((missed, from, Box::pin(async move { store?.tail().await })));
                }
            }
        }
        let Some((missed, from, asking)) = &mut self.asking else { return Poll::Pending };
        let tail = ready!(asking.as_mut().poll(cx));
        // A store that cannot say which log it has: a cursor of none is refused with the place to read on.
        let log = tail.map_or(0, |tail| *self.feed.log.get_or_init(|| tail.log));
        let told = lagged(*missed, log, *from);
        self.asking = None;
        Poll::Ready(Some(told))
    }
}

fn lagged(missed: u64, log: u64, sequence: u64) -> Delivery {
    Delivery::Lagged { missed, resume_at: Cursor { log, sequence } }
}

impl Stream for Subscription {
    type Item = Delivery;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.poll(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feed.remove(&self.reader);
    }
}

type Reading = BoxFuture<'static, Result<EventPage, StoreError>>;

/// A stream of events without gaps. `Err` if what was missed is no longer in the log, after which it goes
/// on at the oldest event; or if the store cannot be read, after which the next call tries again.
pub struct Events {
    subscription: Subscription,
    /// Where to read on in the log; `None`: what comes live is next.
    from: Option<Cursor>,
    reading: Option<Reading>,
    page: std::vec::IntoIter<Arc<SessionEvent>>,
    /// Recorded events before this were delivered or passed over.
    seen: u64,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("subscription", &self.subscription).field("seen", &self.seen).finish()
    }
}

impl Events {
    /// The next event; `None` once the router is shut down and everything was read.
    pub async fn next(&mut self) -> Option<Result<Arc<SessionEvent>, RouterError>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Ephemeral events that were lost so far. They are in no log.
    pub fn lost(&self) -> u64 {
        self.subscription.lost()
    }

    pub(super) fn filter(&self) -> &EventFilter {
        &self.subscription.reader.ring.filter
    }

    /// The place behind the last recorded event that was delivered or passed over, if it is known.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Reads what lies in the log already; the first event that passes, or `None` at the end of the log.
    pub(super) async fn replay(&mut self) -> Option<Result<Arc<SessionEvent>, RouterError>> {
        std::future::poll_fn(|cx| self.poll_log(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Arc<SessionEvent>, RouterError>>> {
        loop {
            if let Some(found) = ready!(self.poll_log(cx)) {
                return Poll::Ready(Some(found));
            }
            match ready!(self.subscription.poll(cx)) {
                None => return Poll::Ready(None),
                Some(Delivery::Event(event)) => match event.sequence {
                    Some(sequence) if sequence < self.seen => {}
                    Some(sequence) => {
                        self.seen = sequence + 1;
                        return Poll::Ready(Some(Ok(event)));
                    }
                    None => return Poll::Ready(Some(Ok(event))),
                },
                Some(Delivery::Lagged { resume_at, .. }) => {
                    let sequence = self.seen.max(resume_at.sequence);
                    self.from = Some(Cursor { sequence, ..resume_at });
                }
            }
        }
    }

    /// The next event from the log, `None` where what comes live is next.
    fn poll_log(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Arc<SessionEvent>, RouterError>>> {
        loop {
            for event in self.page.by_ref() {
                self.seen = event.sequence.map_or(self.seen, |sequence| sequence + 1);
                if self.subscription.reader.ring.filter.matches(&event) {
                    return Poll::Ready(Some(Ok(event)));
                }
            }
            let Some(from) = self.from else { return Poll::Ready(None) };
            let store = &self.subscription.store;
            let reading = self.reading.get_or_insert_with(|| {
                let store = store.upgrade().ok_or(StoreError::Closed);
                Box::pin(async move { store?.events(from, PAGE).await })
            });
            let read = ready!(reading.as_mut().poll(cx));
            self.reading = None;
            match read {
                Ok(page) => {
                    self.seen = self.seen.max(from.sequence);
                    // What was recorded after the end of the log was read is in the ring.
                    self.from = (!page.events.is_empty()).then_some(page.next);
                    self.page = page.events.into_iter();
                }
                Err(error) => {
                    match &error {
                        StoreError::Gone { oldest } => {
                            // Where not even the log was known, nothing before what was seen comes again.
                            let known = if from.log == 0 { self.seen } else { 0 };
                            self.seen = oldest.sequence.max(known);
                            self.from = Some(Cursor { sequence: self.seen, ..*oldest });
                        }
                        StoreError::Closed => self.from = None,
                        _ => {}
                    }
                    return Poll::Ready(Some(Err(error.into())));
                }
            }
        }
    }
}

impl Stream for Events {
    type Item = Result<Arc<SessionEvent>, RouterError>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}
