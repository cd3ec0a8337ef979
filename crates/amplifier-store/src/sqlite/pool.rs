//! Threads that read.
//!
//! Guarantees: at most as many as are wanted, started when there is something to read; each with a
//! connection of its own that cannot write. A read that panics ends alone.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

use super::event::Names;
use super::fault::{Done, Fault};
use super::{Reader, Shared, open};
use crate::StoreError;

/// Reads that wait at most; further ones wait for room.
const WAITING: usize = 256;

type Read = Box<dyn FnOnce(Result<&mut Reader<'_>, Fault>) + Send>;

pub(super) struct Pool {
    // Held to put a read in, or to take one out.
    state: Mutex<State>,
    wake: Condvar,
    room: Semaphore,
    wanted: usize,
}

#[derive(Default)]
struct State {
    reads: VecDeque<Read>,
    idle: usize,
    threads: Vec<JoinHandle<()>>,
    closed: bool,
}

impl Pool {
    pub(super) fn new(wanted: usize) -> Self {
        let room = Semaphore::new(WAITING);
        Self { state: Mutex::default(), wake: Condvar::new(), room, wanted: wanted.max(1) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads on one of the threads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        shared: &Arc<Shared>,
        read: impl FnOnce(&mut Reader<'_>) -> Done<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _room = self.room.acquire().await.map_err(|_| StoreError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let job = Box::new(move |reader: Result<&mut Reader<'_>, Fault>| {
            let found = reader.map_err(Into::into).and_then(read);
            // Whoever asked may have gone.
            let _ = reply.send(found.map_err(StoreError::from));
        });
        self.put(shared, job)?;
        answer.await.unwrap_or_else(|_| Err(Fault::because("read", "the thread that read has ended").into()))
    }

    fn put(&self, shared: &Arc<Shared>, read: Read) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        state.reads.push_back(read);
        if state.idle == 0 && state.threads.len() < self.wanted {
            let shared = Arc::clone(shared);
            let thread = std::thread::Builder::new().name("store-reader".into());
            match thread.spawn(move || shared.pool.run(&shared.options.path)) {
                Ok(thread) => state.threads.push(thread),
                Err(error) if state.threads.is_empty() => {
                    state.reads.pop_back();
                    return Err(Fault::io("start a thread", error).into());
                }
                // The others do it.
                Err(_) => {}
            }
        }
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    fn take(&self) -> Option<Read> {
        let mut state = self.lock();
        loop {
            if let Some(read) = state.reads.pop_front() {
                return Some(read);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn run(&self, path: &Path) {
        let mut conn: Option<Connection> = None;
        let mut names = Names::default();
        while let Some(read) = self.take() {
            let done = catch_unwind(AssertUnwindSafe(|| {
                if conn.is_none() {
                    match open::reader(path) {
                        Ok(opened) => conn = Some(opened),
                        Err(fault) => return read(Err(fault)),
                    }
                }
                if let Some(conn) = &conn {
                    read(Ok(&mut Reader { conn, names: &mut names }));
                }
            }));
            if done.is_err() {
                tracing::error!("a read of the store panicked");
                conn = None;
            }
        }
    }

    /// Ends the threads, after what they have to read.
    pub(super) fn close(&self) {
        let threads = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.threads)
        };
        self.room.close();
        self.wake.notify_all();
        for thread in threads {
            let _ = thread.join();
        }
    }
}
