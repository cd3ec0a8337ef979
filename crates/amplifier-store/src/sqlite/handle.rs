//! The threads of a store, and their end.
//!
//! Guarantees: the threads end when the last handle is dropped, and never keep it alive.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use super::fault::Fault;
use super::feed::Feed;
use super::pool::Pool;
use super::queue::Queue;
use super::{SqliteOptions, watch, writer};
use crate::StoreError;

/// How long the drop of the last handle waits for the writer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the threads and the handles share.
pub(super) struct Shared {
    pub(super) options: SqliteOptions,
    pub(super) queue: Queue,
    pub(super) pool: Pool,
    pub(super) feed: Feed,
    open: AtomicBool,
    /// Commits that nobody waited for and that are not there.
    refused_posts: AtomicU64,
    // Held to read or set it, and to wait for it.
    pub(super) closed: Mutex<bool>,
    pub(super) end: Condvar,
    ended: Mutex<bool>,
    gone: Condvar,
}

impl Shared {
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    pub(super) fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Release);
    }

    /// Notes that a commit is not there of which nobody else will hear.
    pub(super) fn refuse_post(&self, error: &StoreError) {
        self.refused_posts.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%error, "a commit that nobody waits for was refused");
    }

    pub(super) fn refused_posts(&self) -> u64 {
        self.refused_posts.load(Ordering::Relaxed)
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn close(&self) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.end.notify_all();
        self.queue.close();
    }
}

/// Runs when the writer ends, however it does.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.close();
        (0..self.0.queue.clear()).for_each(|_| self.0.refuse_post(&StoreError::Closed));
        self.0.pool.close();
        *self.0.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.gone.notify_all();
    }
}

/// Closes the store when it is dropped.
pub(super) struct Handle {
    shared: Arc<Shared>,
    writer: ThreadId,
}

impl Handle {
    pub(super) fn start(options: SqliteOptions) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared {
            queue: Queue::new(options.queue_bytes, options.post_limit),
            pool: Pool::new(options.readers),
            feed: Feed::default(),
            open: AtomicBool::new(false),
            refused_posts: AtomicU64::new(0),
            closed: Mutex::new(false),
            end: Condvar::new(),
            ended: Mutex::new(false),
            gone: Condvar::new(),
            options,
        });
        let end = End(Arc::clone(&shared));
        let writer = spawn("store-writer", move || writer::work(&end.0))?;
        Ok(Self { shared, writer: writer.thread().id() })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Starts the thread that looks at what others write. Without it those who listen are told at the
    /// next commit or look at the tail.
    pub(super) fn watch(&self) {
        let shared = Arc::clone(&self.shared);
        if let Err(error) = spawn("store-watcher", move || watch::watch(&shared)) {
            tracing::warn!(%error, "no thread looks for what other processes write");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
        // A listener may hold the last handle, and be called by the writer itself.
        if std::thread::current().id() == self.writer {
            return;
        }
        let ended = self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.gone.wait_timeout_while(ended, PATIENCE, |ended| !*ended);
        if !*waited.unwrap_or_else(PoisonError::into_inner).0 {
            tracing::error!("the store did not end in time; what it still holds may be lost");
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let thread = std::thread::Builder::new().name(name.into());
    thread.spawn(work).map_err(|error| Fault::io("start a thread", error).into())
}
