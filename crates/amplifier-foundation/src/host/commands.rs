//! What other processes ask of this one.
//!
//! Guarantees: a command to this host is carried out once, and taken away; one that makes no sense is
//! taken away with a warning. A store that fails loses none: it is asked again a second later.
//! Never here: who may ask. Whoever can write to the project's store is the same user.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use amplifier_core::payload::PayloadError;
use amplifier_core::until::until;
use amplifier_core::{CancelLevel, Payload, SessionEvent, SessionId};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{Host, HostInner};
use amplifier_store::{Command, CommandName, Commit, Cursor, LogListener, OwnerId, StoreError, Write};

/// Commands that are read at once.
const PAGE: usize = 64;
/// How long the store is left alone once it has failed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
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

/// The bell of a host: rung when somebody was sent a command.
#[derive(Debug, Default)]
struct Bell(Notify);

impl LogListener for Bell {
    fn recorded(&self, _events: &[Arc<SessionEvent>]) {}

    fn missed(&self, _resume: Cursor) {}

    fn commanded(&self) {
        self.0.notify_one();
    }
}

/// The listening of a host. Its task ends with the host.
#[derive(Debug, Default)]
pub(crate) struct Commands(OnceLock<Arc<Bell>>);

impl Drop for Commands {
    fn drop(&mut self) {
        if let Some(bell) = self.0.get() {
            bell.0.notify_one();
        }
    }
}

/// Begins to listen, at the first session that runs here.
pub(crate) fn listen(host: &Host) {
    let mut fresh = None;
    host.0.commands.0.get_or_init(|| Arc::clone(fresh.insert(Arc::new(Bell::default()))));
    let Some(bell) = fresh else { return };
    let listener: Weak<dyn LogListener> = Arc::downgrade(&(Arc::clone(&bell) as Arc<dyn LogListener>));
    host.store().listen(listener);
    tokio::spawn(serve(Arc::downgrade(&host.0), bell));
}

async fn serve(host: Weak<HostInner>, bell: Arc<Bell>) {
    let mut done = 0;
    loop {
        let Some(inner) = host.upgrade() else { return };
        let clock = Arc::clone(&inner.clock);
        let carried_out = carry_out(&inner, &mut done).await;
        drop(inner);
        match carried_out {
            Ok(()) => bell.0.notified().await,
            Err(error) => {
                tracing::warn!(%error, "commands of other processes cannot be read");
                until(bell.0.notified(), clock.sleep(LOOK_AGAIN)).await;
            }
        }
    }
}

/// Carries out what there is. `done` is the last place that was carried out, so that one that could not
/// be taken away is not carried out again.
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
    match (command.name.as_str(), command.payload.decode::<Cancel>()) {
        (CANCEL, Ok(Cancel { session, level })) => {
            // One that has ended meanwhile needs no stop.
            host.sessions.cancel(&session, level);
        }
        (name, _) => tracing::warn!(name, place = command.place, "a command makes no sense here"),
    }
}
