//! Background sessions reached from other processes: who runs them, how they stand, what they are asked.
//!
//! An [`Owner`] runs what is declared until it is asked to stop; a [`Remote`] asks it; [`Standing`] is what
//! anybody sees, whether somebody runs them or not; [`fire`] needs nobody.
//!
//! Guarantees: one owner per project, known by its lease and believed only while its process lives; what is
//! asked has an answer or one clear error; a pause is durable before anybody acts on it.
//! Never here: arguments and output.

mod fire;
mod keys;
mod logs;
mod owner;
mod pause;
mod progress;
mod publish;
mod remote;
mod standing;
mod tidying;
mod wire;

pub use fire::{Fired, RunEnd, fire, wait_for_run};
pub use keys::OwnerInfo;
pub use logs::{LogError, LogLine, SessionLog};
pub use owner::{Owner, OwnerOptions, StartError};
pub use pause::{Paused, paused, set_paused};
pub use progress::{Change, Progress};
pub use publish::Published;
pub(crate) use publish::{EVERY as PUBLISH_EVERY, Publisher};
pub use remote::{ControlError, Remote};
pub use standing::{Standing, TriggerStanding, next_firing, queued, standings};
pub use wire::{Reload, StopHow};

pub use crate::run::queue_of;
pub(crate) use keys::{lease_key, owner_write};
