//! From a handle to a stream: a bounded queue whose senders hear what became of what they sent.
//!
//! Guarantees: at most [`CAPACITY`] posts wait, one more is refused; each post is answered, or its
//! sender learns that nobody took it. A wait ends after [`PATIENCE`] once the stream was started.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::until::until;
use amplifier_core::{Clock, Timestamp};
use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::{mpsc, watch};

use crate::event::{Acceptance, Receipt, TriggerEvent, TriggerEventId};
use crate::source::{TriggerContext, TriggerError, TriggerStream};

/// How many posts wait at most for the stream to be polled.
pub(crate) const CAPACITY: usize = 64;

/// How long a post waits for its answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Makes an event of what was posted; it runs where the stream is polled.
pub(crate) type Compose =
    Box<dyn FnOnce(&TriggerContext, Timestamp) -> Result<TriggerEvent, TriggerError> + Send>;

struct Posted {
    compose: Compose,
    receipt: Receipt,
    named: tokio::sync::oneshot::Sender<TriggerEventId>,
}

/// Where posts go in. Clones lead to the same stream.
#[derive(Debug, Clone)]
pub(crate) struct Inlet {
    posts: mpsc::Sender<Posted>,
    clock: watch::Receiver<Option<Arc<dyn Clock>>>,
}

/// Where they come out.
#[derive(Debug)]
pub(crate) struct Outlet {
    posts: mpsc::Receiver<Posted>,
    clock: watch::Sender<Option<Arc<dyn Clock>>>,
    end_time: Option<Timestamp>,
}

impl std::fmt::Debug for Posted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Posted")
    }
}

/// Why a post was not taken in, or is not known to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PostError {
    /// The queue is full.
    Full,
    /// The trigger has ended, or nobody took the post.
    Closed,
    /// No answer in time; the post may still be taken in.
    InDoubt,
}

/// A queue.
pub(crate) fn mailbox(end_time: Option<Timestamp>) -> (Inlet, Outlet) {
    let (sender, posts) = mpsc::channel(CAPACITY);
    let (told, clock) = watch::channel(None);
    (Inlet { posts: sender, clock }, Outlet { posts, clock: told, end_time })
}

impl Inlet {
    /// False once the stream has ended.
    pub(crate) fn is_open(&self) -> bool {
        !self.posts.is_closed()
    }

    /// Posts and waits for the answer. A future that is dropped takes nothing back.
    pub(crate) async fn post(&self, compose: Compose) -> Result<(TriggerEventId, Acceptance), PostError> {
        let (receipt, answer) = Receipt::new();
        let (named, id) = tokio::sync::oneshot::channel();
        self.posts.try_send(Posted { compose, receipt, named }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PostError::Full,
            mpsc::error::TrySendError::Closed(_) => PostError::Closed,
        })?;
        let answered = async {
            let id = id.await.map_err(|_| PostError::Closed)?;
            let acceptance = answer.await.map_err(|_| PostError::Closed)?;
            Ok((id, acceptance))
        };
        until(Box::pin(answered), Box::pin(self.patience())).await.unwrap_or(Err(PostError::InDoubt))
    }

    /// Resolves after [`PATIENCE`], counted from when the stream has started.
    async fn patience(&self) {
        let mut started = self.clock.clone();
        let clock = started.wait_for(Option::is_some).await.ok().and_then(|clock| clock.clone());
        match clock {
            Some(clock) => clock.sleep(PATIENCE).await,
            // Without a stream the queue is closed, which the answer tells.
            None => std::future::pending().await,
        }
    }
}

impl Outlet {
    /// The stream of what is posted.
    pub(crate) fn watch(self, context: TriggerContext) -> TriggerStream {
        self.clock.send_replace(Some(Arc::clone(&context.clock)));
        stream::unfold(Some((self, context)), |state| async {
            let (mut outlet, context) = state?;
            loop {
                let cancel = context.cancel.clone();
                let posted = until(Box::pin(outlet.posts.recv()), Box::pin(cancel.cancelled())).await??;
                let now = context.now();
                if outlet.end_time.is_some_and(|end| now > end) {
                    return None;
                }
                match (posted.compose)(&context, now) {
                    Ok(mut event) => {
                        event.receipt = posted.receipt;
                        // Who asked may have gone; what was posted stands.
                        let _ = posted.named.send(event.id.clone());
                        return Some((Ok(event), Some((outlet, context))));
                    }
                    Err(error) => {
                        let reason = amplifier_core::causes::chain(&error);
                        tracing::warn!("a trigger event was refused: {reason}");
                    }
                }
            }
        })
        .boxed()
    }
}
