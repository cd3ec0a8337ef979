//! The commands that wait for a session: few, in order, and no memory while there are none.
//!
//! Guarantees: at most [`CAPACITY`] wait, a further sender waits for a place; each is received once, in the
//! order of the sends. Nothing is taken after the end, and what still waits then is dropped, which tells
//! its senders. A channel of tokio would hold a block of 32 places for every session that idles.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Command;

/// Commands that may wait for a session.
const CAPACITY: usize = 8;

#[derive(Debug, Default)]
struct Mailbox {
    // Held to push, pop or count; commands are dropped and wakers called outside.
    state: Mutex<State>,
    arrived: Notify,
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Command>,
    senders: usize,
    closed: bool,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A side that sends, for each handle of a session.
#[derive(Debug)]
pub(super) struct Sender(Arc<Mailbox>);

/// The side that receives.
#[derive(Debug)]
pub(super) struct Receiver(Arc<Mailbox>);

/// The session takes no command any more.
#[derive(Debug)]
pub(super) struct Closed;

/// A mailbox without commands.
pub(super) fn mailbox() -> (Sender, Receiver) {
    let mailbox = Arc::<Mailbox>::default();
    mailbox.lock().senders = 1;
    (Sender(Arc::clone(&mailbox)), Receiver(mailbox))
}

impl Sender {
    /// Sends a command once there is a place for it.
    pub(super) async fn send(&self, command: Command) -> Result<(), Closed> {
        let mailbox = &self.0;
        loop {
            // Before the look, so that a place that becomes free after it is not missed.
            let room = mailbox.room.notified();
            {
                let mut state = mailbox.lock();
                if state.closed {
                    return Err(Closed);
                }
                if state.waiting.len() < CAPACITY {
                    state.waiting.push_back(command);
                    drop(state);
                    mailbox.arrived.notify_one();
                    return Ok(());
                }
            }
            room.await;
        }
    }
}

impl Clone for Sender {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.senders -= 1;
        let last = state.senders == 0;
        drop(state);
        if last {
            self.0.arrived.notify_one();
        }
    }
}

impl Receiver {
    /// The next command; `None` once there is none and no sender is left.
    pub(super) async fn recv(&mut self) -> Option<Command> {
        loop {
            let arrived = self.0.arrived.notified();
            {
                let mut state = self.0.lock();
                if let Some(command) = state.waiting.pop_front() {
                    drop(state);
                    self.0.room.notify_one();
                    return Some(command);
                }
                if state.senders == 0 || state.closed {
                    return None;
                }
            }
            arrived.await;
        }
    }

    /// Takes no command from now on.
    pub(super) fn close(&mut self) {
        self.0.lock().closed = true;
        self.0.room.notify_waiters();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.close();
        let left = std::mem::take(&mut self.0.lock().waiting);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::until::until;

    fn command(text: &str) -> (Command, tokio::sync::oneshot::Receiver<super::super::driver::Reply>) {
        let (reply, answer) = tokio::sync::oneshot::channel();
        (Command::Execute { text: text.to_owned(), reply }, answer)
    }

    fn text(command: Option<Command>) -> Option<String> {
        match command {
            Some(Command::Execute { text, .. }) => Some(text),
            _ => None,
        }
    }

    #[tokio::test]
    async fn commands_come_in_order_and_a_further_one_waits_for_a_place() {
        let (sender, mut receiver) = mailbox();
        for number in 0..CAPACITY {
            sender.send(command(&number.to_string()).0).await.unwrap();
        }
        let blocked = tokio::spawn({
            let sender = sender.clone();
            async move { sender.send(command("last").0).await }
        });
        tokio::task::yield_now().await;
        assert!(!blocked.is_finished());
        for number in 0..CAPACITY {
            assert_eq!(text(receiver.recv().await), Some(number.to_string()));
        }
        assert_eq!(text(receiver.recv().await).as_deref(), Some("last"));
        blocked.await.unwrap().unwrap();
        let none = until(receiver.recv(), tokio::task::yield_now()).await;
        assert!(none.is_none(), "a command came twice");
    }

    #[tokio::test]
    async fn the_last_sender_ends_the_wait() {
        let (sender, mut receiver) = mailbox();
        let other = sender.clone();
        let waiting = tokio::spawn(async move { receiver.recv().await.is_none() });
        drop(sender);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(other);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn the_end_refuses_who_waits_and_drops_what_waits() {
        let (sender, mut receiver) = mailbox();
        let (first, answer) = command("first");
        sender.send(first).await.unwrap();
        for _ in 1..CAPACITY {
            sender.send(Command::End).await.unwrap();
        }
        let blocked = tokio::spawn({
            let sender = sender.clone();
            async move { sender.send(Command::End).await.is_err() }
        });
        tokio::task::yield_now().await;
        receiver.close();
        assert!(blocked.await.unwrap());
        assert!(sender.send(Command::End).await.is_err());
        drop(receiver);
        assert!(answer.await.is_err());
    }

    #[test]
    fn many_threads_lose_and_double_nothing() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
        let mut all = runtime.block_on(async {
            let (sender, mut receiver) = mailbox();
            for thread in 0..8 {
                let sender = sender.clone();
                tokio::spawn(async move {
                    for number in 0..500 {
                        sender.send(command(&format!("{thread}-{number}")).0).await.unwrap();
                    }
                });
            }
            drop(sender);
            let mut all = Vec::new();
            while let Some(text) = text(receiver.recv().await) {
                all.push(text);
            }
            all
        });
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 8 * 500);
    }
}
