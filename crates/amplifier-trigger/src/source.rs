//! The port that every source of triggers implements, ours and anybody's.
//!
//! Guarantees: a source is a stream that ends when it is cancelled or has nothing more to say, and
//! an `Err` is its last word; who runs it decides about another try.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use amplifier_core::{CancelToken, Clock, Ids, Payload, Timestamp};
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;

use crate::config::TriggerKind;
use crate::event::{Cause, InvalidEventId, TriggerEvent, TriggerEventId};
use crate::row::{BackgroundName, TriggerRow};

/// The events of one trigger.
pub type TriggerStream = BoxStream<'static, Result<TriggerEvent, TriggerError>>;

/// Something that tells when.
///
/// The stream is polled by one task. An event that was handed out and not committed comes again, under the
/// same id, when the source is started again with the row that was kept. A source never awaits what its
/// events lead to; it may be dropped at any await.
pub trait TriggerSource: Send + fmt::Debug {
    /// Gets ready, so that what happens after it is not missed. Called once before it is started, while
    /// whoever starts it waits; it should take a moment alone, and does nothing unless a source says so.
    fn prepare(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// How many events it may be asked for before the first of them is taken in: those that it has ready become
    /// durable together. One, unless a source says otherwise: then each poll says that the event before was taken in.
    fn at_once(&self) -> usize {
        1
    }

    /// Starts it. It goes on where the row of the context is.
    fn watch(self: Box<Self>, context: TriggerContext) -> TriggerStream;
}

/// What a source is lent.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TriggerContext {
    /// The background session that it belongs to.
    pub background: BackgroundName,
    /// What was kept of it.
    pub resume: Arc<TriggerRow>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Entropy, for what has no identity of its own.
    pub ids: Arc<dyn Ids>,
    /// Names the start of the owner: `immediate` fires once for each.
    pub start: uuid::Uuid,
    /// Ends the stream at its graceful level.
    pub cancel: CancelToken,
}

impl TriggerContext {
    /// A context in an owner that has just started. Where a source is started again within one start, set
    /// `start` to what it was.
    pub fn new(
        background: BackgroundName,
        resume: impl Into<Arc<TriggerRow>>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        cancel: CancelToken,
    ) -> Self {
        let (start, resume) = (ids.v7(clock.now()), resume.into());
        Self { background, resume, clock, ids, start, cancel }
    }

    /// The id of the firing that `nominal` tells apart.
    pub fn event_id(&self, nominal: &str) -> Result<TriggerEventId, InvalidEventId> {
        TriggerEventId::new(&self.background, &self.resume.key, self.resume.generation, nominal)
    }

    /// A firing of a source of somebody's own of this type, due now, that `nominal` tells apart. Set its
    /// `cursor` to where the source goes on after it, if it can.
    pub fn event(
        &self,
        kind: &str,
        nominal: &str,
        payload: impl Into<Payload>,
    ) -> Result<TriggerEvent, TriggerError> {
        let (id, kind) = (self.event_id(nominal)?, TriggerKind::named(kind));
        Ok(TriggerEvent::new(id, kind, self.now(), Cause::Source, payload.into()))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Why a source cannot go on. Starting it again may help, unless [`TriggerError::is_final`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TriggerError {
    /// A directory cannot be read.
    #[error("the files below {} cannot be watched", root.display())]
    Files {
        /// The root of the watch.
        root: PathBuf,
        /// What the system said.
        #[source]
        source: amplifier_fs::read::ReadError,
    },
    /// More files match than are kept in memory.
    #[error("more than {max} files below {} match; narrow `paths` or add to `ignore`", root.display())]
    TooManyFiles {
        /// The root of the watch.
        root: PathBuf,
        /// The bound.
        max: usize,
    },
    /// A task of the source ended by a panic.
    #[error("the source stopped by a fault of its own: {reason}")]
    Panicked {
        /// What the panic said.
        reason: String,
    },
    /// An event has no valid id.
    #[error(transparent)]
    Id(#[from] InvalidEventId),
    /// What a source of somebody's own says.
    #[error("the source failed")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl TriggerError {
    /// True if another try with the same configuration fails in the same way.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Id(_))
    }
}
