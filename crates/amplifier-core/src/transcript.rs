//! The conversation so far: how it grows, and how it is looked at.
//!
//! Guarantees: messages reach a conversation through [`Transcript::append`] alone,
//! and `Ok` means that they are durable in the session's storage and visible to
//! the context manager, in this order. A [`MessageView`] shares the messages: to
//! make one costs the same for ten messages as for ten thousand.

use std::sync::{Arc, RwLock};

use crate::clock::BoxFuture;
use crate::message::Message;

/// Where a session's messages go.
pub trait Transcript: Send + Sync + std::fmt::Debug {
    /// Appends messages in order. `Ok`: durable in the session's storage (for the
    /// memory storage: held), and part of the conversation. `Err`: none of them is
    /// part of the conversation; after a crash some may be found on disk.
    fn append<'a>(&'a self, messages: &'a [Arc<Message>]) -> BoxFuture<'a, Result<(), TranscriptError>>;
}

/// Why messages could not be appended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TranscriptError {
    /// The storage failed; the conversation up to the last `Ok` is kept.
    #[error("the transcript of session {session} could not be written")]
    Storage {
        /// The session.
        session: crate::id::SessionId,
        /// What the storage said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A newer activation has opened the session; this one may write no more.
    #[error("session {session} was opened again elsewhere; this activation may write no more")]
    Fenced {
        /// The session.
        session: crate::id::SessionId,
    },
}

/// An append-only list of messages, shared by its owner and the views of it.
#[derive(Debug, Clone, Default)]
pub struct MessageLog {
    // Appends hold it for a push, views for a copy of one range; never across an await.
    messages: Arc<RwLock<Vec<Arc<Message>>>>,
}

impl MessageLog {
    /// A log that begins with `messages`.
    pub fn new(messages: Vec<Arc<Message>>) -> Self {
        Self { messages: Arc::new(RwLock::new(messages)) }
    }

    /// Adds messages at the end.
    pub fn extend(&self, more: impl IntoIterator<Item = Arc<Message>>) {
        self.write().extend(more);
    }

    /// How many messages the log holds.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// True if the log holds no message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message at `index`.
    pub fn get(&self, index: usize) -> Option<Arc<Message>> {
        self.read().get(index).cloned()
    }

    /// All messages as a view.
    pub fn view(&self) -> MessageView {
        self.range(0, self.len())
    }

    /// The messages from `start` to before `end` as a view; both are cut to the log's length.
    pub fn range(&self, start: usize, end: usize) -> MessageView {
        let end = end.min(self.len());
        let segment = Segment::Range { log: self.clone(), start: start.min(end), end };
        MessageView { segments: vec![segment] }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Message>>> {
        self.messages.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Vec<Arc<Message>>> {
        self.messages.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[derive(Debug, Clone)]
enum Segment {
    Range { log: MessageLog, start: usize, end: usize },
    Own(Arc<[Arc<Message>]>),
}

/// Messages in order, as a request to a model carries them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct MessageView {
    segments: Vec<Segment>,
}

impl MessageView {
    /// A view of messages that belong to no log.
    pub fn of(messages: impl Into<Arc<[Arc<Message>]>>) -> Self {
        Self { segments: vec![Segment::Own(messages.into())] }
    }

    /// Adds the messages of another view behind those of this one.
    pub fn push(&mut self, other: MessageView) {
        self.segments.extend(other.segments);
    }

    /// How many messages the view holds.
    pub fn len(&self) -> usize {
        self.segments.iter().map(Segment::len).sum()
    }

    /// True if the view holds no message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last message.
    pub fn last(&self) -> Option<Arc<Message>> {
        self.segments.iter().rev().find_map(Segment::last)
    }

    /// The last message that is wanted; looks from the end, and no further than it must.
    pub fn find_last(&self, mut wanted: impl FnMut(&Arc<Message>) -> bool) -> Option<Arc<Message>> {
        let mut find = |messages: &[Arc<Message>]| messages.iter().rev().find(|one| wanted(one)).cloned();
        self.segments.iter().rev().find_map(|segment| segment.with(&mut find))
    }

    /// Calls `each` with every message in order.
    pub fn for_each(&self, mut each: impl FnMut(&Arc<Message>)) {
        for segment in &self.segments {
            segment.with(|messages| messages.iter().for_each(&mut each));
        }
    }

    /// The messages as a vector of shared pointers.
    pub fn to_vec(&self) -> Vec<Arc<Message>> {
        let mut all = Vec::with_capacity(self.len());
        self.for_each(|message| all.push(Arc::clone(message)));
        all
    }
}

impl Segment {
    fn len(&self) -> usize {
        match self {
            Self::Range { start, end, .. } => end - start,
            Self::Own(messages) => messages.len(),
        }
    }

    fn last(&self) -> Option<Arc<Message>> {
        match self {
            Self::Range { start, end, .. } if start == end => None,
            Self::Range { log, end, .. } => log.get(end - 1),
            Self::Own(messages) => messages.last().cloned(),
        }
    }

    fn with<T>(&self, f: impl FnOnce(&[Arc<Message>]) -> T) -> T {
        match self {
            Self::Range { log, start, end } => f(&log.read()[*start..*end]),
            Self::Own(messages) => f(messages),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_does_not_see_what_comes_later() {
        let log = MessageLog::default();
        log.extend([Arc::new(Message::user("a"))]);
        let view = log.view();
        log.extend([Arc::new(Message::user("b"))]);
        assert_eq!(view.len(), 1);
        assert_eq!(log.view().last().unwrap().text(), "b");
        let mut joined = MessageView::of(vec![Arc::new(Message::system("s"))]);
        joined.push(view);
        joined.push(MessageView::default());
        let texts: Vec<String> = joined.to_vec().iter().map(|m| m.text()).collect();
        assert_eq!(texts, ["s", "a"]);
        assert_eq!(joined.last().unwrap().text(), "a");
        let mut seen = 0;
        let found = joined.find_last(|message| {
            seen += 1;
            message.text() == "a"
        });
        assert_eq!((found.unwrap().text().as_str(), seen), ("a", 1));
        assert!(joined.find_last(|message| message.text() == "b").is_none());
    }
}
