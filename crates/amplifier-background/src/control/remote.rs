//! Asking the owner of a project's background sessions, from any process.
//!
//! Guarantees: an ask ends with an answer, or with one error that says whether nobody owns them, the owner
//! is gone, or it does not answer. Nothing is asked twice.
//! Never here: acting in the owner's place.

use std::time::Duration;

use amplifier_core::Payload;
use amplifier_core::until::until;
use amplifier_foundation::Host;
use amplifier_store::{OwnerId, StoreError};
use amplifier_trigger::BackgroundName;
use tokio::sync::mpsc::Receiver;

use super::keys::OwnerInfo;
use super::wire::{Answer, Ask, Envelope, Reload, Reply, StopHow, ask_name, reply_name, send};

/// How long an owner may take until it says that it has heard.
const HEARD_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether the owner lives.
const LOOK: Duration = Duration::from_millis(200);

/// Why the owner did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Nobody runs the background sessions.
    #[error("no process runs the background sessions of this project; `amplifier background start` does")]
    NoOwner,
    /// The owner has ended before it answered.
    #[error(
        "{owner} ran the background sessions and has ended before it answered; `amplifier background status` tells how they stand"
    )]
    Gone {
        /// Who.
        owner: OwnerInfo,
    },
    /// The owner lives and does not answer.
    #[error(
        "{owner} runs the background sessions and does not answer; it may be stopped or at its limit, look at it or end it"
    )]
    Silent {
        /// Who.
        owner: OwnerInfo,
    },
    /// The owner refused.
    #[error("{why}")]
    Refused {
        /// Why.
        why: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The owner of a project's background sessions, as others reach it. Cheap.
#[derive(Debug, Clone)]
pub struct Remote {
    host: Host,
}

/// What is known of an ask under way.
struct Under {
    owner: OwnerInfo,
    id: OwnerId,
    replies: Receiver<Payload>,
    /// The owner is to end: that it is gone is the answer.
    ends: bool,
}

impl Remote {
    /// Reaches the owner of the host's project.
    pub fn new(host: &Host) -> Self {
        Self { host: host.clone() }
    }

    /// Who owns them, if somebody does.
    pub async fn owner(&self) -> Result<Option<OwnerInfo>, StoreError> {
        OwnerInfo::read(&self.host).await
    }

    /// Stops a background session, or with `None` all of them and the owner. `Ok`: that has ended.
    pub async fn stop(&self, name: Option<&BackgroundName>, how: StopHow) -> Result<(), ControlError> {
        self.ask(Ask::Stop { name: name.cloned(), how }).await.map(drop)
    }

    /// Has the owner read what is declared. `Ok`: what is new was started, or is among those that failed.
    pub async fn reload(&self) -> Result<Reload, ControlError> {
        match self.ask(Ask::Reload).await? {
            Answer::Reloaded(reload) => Ok(reload),
            _ => Ok(Reload::default()),
        }
    }

    /// Has the owner act on a pause that was set or taken away; one that it has stopped it starts again if there
    /// is no pause. `Ok`: it has; false if it did so before.
    pub async fn pause(&self, name: &BackgroundName) -> Result<bool, ControlError> {
        let answer = self.ask(Ask::Pause { name: name.clone() }).await?;
        Ok(answer == Answer::Acted(true))
    }

    /// Tells the owner that something waits in a queue. Waits for nothing; without an owner nothing happens.
    pub async fn look(&self, name: &BackgroundName) -> Result<(), StoreError> {
        let Some(owner) = self.owner().await?.and_then(|owner| owner.id()) else { return Ok(()) };
        let envelope = Envelope { id: String::new(), from: None, ask: Ask::Look { name: name.clone() } };
        let commit = send(&owner, ask_name()?, &envelope)?;
        self.host.store().commit(commit).await.map(drop)
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, ControlError> {
        let owner = self.owner().await?.ok_or(ControlError::NoOwner)?;
        let id = owner.id().ok_or(ControlError::NoOwner)?;
        let ends = matches!(ask, Ask::Stop { name: None, .. });
        let number = self.host.ids().v4().to_string();
        let replies = self.host.commands(&reply_name(&number)?);
        let envelope = Envelope { id: number, from: Some(self.host.owner().to_string()), ask };
        let commit = send(&id, ask_name()?, &envelope)?;
        let _sent = self.host.store().commit(commit).await?;
        let answer = self.answer(Under { owner, id: id.clone(), replies, ends }).await?;
        if ends {
            self.gone(&id).await;
        }
        Ok(answer)
    }

    /// Waits until a process that has done its work is gone.
    async fn gone(&self, id: &OwnerId) {
        let clock = self.host.clock();
        let began = clock.monotonic();
        while self.host.lives(id) && clock.monotonic().saturating_since(began) < HEARD_WITHIN {
            clock.sleep(LOOK / 10).await;
        }
    }

    async fn answer(&self, mut under: Under) -> Result<Answer, ControlError> {
        let clock = self.host.clock();
        let (began, mut heard) = (clock.monotonic(), false);
        loop {
            let Some(reply) = until(under.replies.recv(), clock.sleep(LOOK)).await else {
                if !self.host.lives(&under.id) {
                    return under.gone(heard);
                }
                if !heard && clock.monotonic().saturating_since(began) >= HEARD_WITHIN {
                    return Err(ControlError::Silent { owner: under.owner });
                }
                continue;
            };
            match reply.and_then(|reply| reply.decode::<Reply>().ok()) {
                Some(Reply::Taken) => heard = true,
                Some(Reply::Done(answer)) => return Ok(answer),
                Some(Reply::Refused { why }) => return Err(ControlError::Refused { why }),
                None => return Err(ControlError::Silent { owner: under.owner }),
            }
        }
    }
}

impl Under {
    fn gone(mut self, heard: bool) -> Result<Answer, ControlError> {
        // It may have answered with its last breath.
        while let Ok(reply) = self.replies.try_recv() {
            match reply.decode::<Reply>() {
                Ok(Reply::Done(answer)) => return Ok(answer),
                Ok(Reply::Refused { why }) => return Err(ControlError::Refused { why }),
                _ => {}
            }
        }
        match self.ends && heard {
            true => Ok(Answer::Nothing),
            false => Err(ControlError::Gone { owner: self.owner }),
        }
    }
}
