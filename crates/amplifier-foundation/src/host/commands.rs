//! What other processes ask of this one.
//!
//! Guarantees: a command to this host is carried out once, and taken away; one that makes no sense is
//! taken away with a warning. A store that fails is asked again, a second later, and at the next command.
//! Never here: who may ask. Whoever can write to the project's store is the same user.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as Lock, OnceLock, PoisonError, Weak};
use std::time::Duration;

use amplifier_core::payload::PayloadError;
use amplifier_core::{CancelLevel, Payload, SessionEvent, SessionId};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};

use super::{Host, HostInner};
use amplifier_store::{Command, CommandName, Commit, Cursor, LogListener, OwnerId, StoreError, Write};

/// Commands that are read at once.
const PAGE: usize = 64;
/// How long the store is left alone once it has failed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often it is asked then, at most.
const LOOKS: usize = 60;
/// The command that stops a session.
const CANCEL: &str = "cancel";

/// What `cancel` carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Cancel {
    session: SessionId,
    level: CancelLevel,
}

/// A command that cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwritable {
    #[error(transparent)]
    Name(#[from] amplifier_core::id::InvalidId),
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

/// The commit that asks an owner to stop a session.
pub(super) fn cancel(to: OwnerId, session: SessionId, level: CancelLevel) -> Result<Commit, Unwritable> {
    let payload = Payload::encode(&Cancel { session, level })?;
    Ok(Write::Send { to, name: CommandName::new(CANCEL)?, payload }.into())
}

/// The ear of a host: told by the store that somebody was sent a command. No task runs until then.
#[derive(Debug)]
struct Ear {
    host: Weak<HostInner>,
    runtime: Handle,
    /// A task is about to look.
    looks: AtomicBool,
    // The last place that was carried out. Held while commands are carried out, so that one task does.
    done: Mutex<u64>,
}

impl LogListener for Ear {
    fn recorded(&self, _events: &[Arc<SessionEvent>]) {}

    fn missed(&self, _resume: Cursor) {}

    fn commanded(&self) {
        if self.looks.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Some(ear) = self.host.upgrade().and_then(|host| host.commands.ear.get().cloned()) {
            self.runtime.spawn(async move { ear.obey_all().await });
        }
    }
}

impl Ear {
    async fn obey_all(&self) {
        let mut done = self.done.lock().await;
        for _ in 0..LOOKS {
            self.looks.store(false, Ordering::SeqCst);
            let Some(host) = self.host.upgrade() else { return };
            let Err(error) = carry_out(&host, &mut done).await else { return };
            tracing::warn!(%error, "commands of other processes cannot be read");
            let pause = host.clock.sleep(LOOK_AGAIN);
            drop(host);
            pause.await;
        }
    }
}

/// The listening of a host.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    ear: OnceLock<Arc<Ear>>,
    /// Who carries out what is no `cancel`, by name.
    // Held for a look-up or an insert; never across an await.
    takers: Lock<HashMap<CommandName, mpsc::Sender<Payload>>>,
}

impl Host {
    /// Commands of this name that others send to this host from now on, in their order. What comes while
    /// 64 wait to be read is dropped with a warning, so that whoever asks must be told by an answer. The
    /// last one who calls this for a name gets them; `cancel` is the host's own.
    pub fn commands(&self, name: &CommandName) -> mpsc::Receiver<Payload> {
        let (sender, receiver) = mpsc::channel(PAGE);
        let mut takers = self.0.commands.takers.lock().unwrap_or_else(PoisonError::into_inner);
        takers.retain(|_, taker| !taker.is_closed());
        takers.insert(name.clone(), sender);
        drop(takers);
        listen(self);
        receiver
    }
}

/// Begins to listen, at the first session that runs here or the first taker of commands.
pub(crate) fn listen(host: &Host) {
    let mut fresh = false;
    let ear = host.0.commands.ear.get_or_init(|| {
        fresh = true;
        let (looks, done) = (AtomicBool::new(false), Mutex::new(0));
        Arc::new(Ear { host: Arc::downgrade(&host.0), runtime: Handle::current(), looks, done })
    });
    if fresh {
        let listener: Weak<dyn LogListener> = Arc::downgrade(&(Arc::clone(ear) as Arc<dyn LogListener>));
        host.store().listen(listener);
    }
}

/// Carries out what there is. One behind `done` that could not be taken away is not carried out again.
async fn carry_out(host: &HostInner, done: &mut u64) -> Result<(), StoreError> {
    loop {
        let commands = host.store.commands(&host.owner, PAGE).await?;
        if commands.is_empty() {
            return Ok(());
        }
        for command in commands {
            if command.place > *done {
                *done = command.place;
                obey(host, &command);
            }
            match host.store.commit(Write::TakeCommand { place: command.place }.into()).await {
                Ok(_) | Err(StoreError::NoCommand { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn obey(host: &HostInner, command: &Command) {
    let takers = host.commands.takers.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(taker) = takers.get(&command.name) {
        if taker.try_send(command.payload.clone()).is_err() {
            tracing::warn!(name = %command.name, place = command.place, "nobody takes a command");
        }
        return;
    }
    match (command.name.as_str(), command.payload.decode::<Cancel>()) {
        (CANCEL, Ok(Cancel { session, level })) => {
            // One that has ended meanwhile needs no stop.
            host.sessions.cancel(&session, level);
        }
        (name, _) => tracing::warn!(name, place = command.place, "a command makes no sense here"),
    }
}
