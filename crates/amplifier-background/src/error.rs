//! Why a background session does not start, is not fired or is not known.

use crate::control::OwnerInfo;
use amplifier_foundation::bundle::BundleError;
use amplifier_store::StoreError;
use amplifier_trigger::{BackgroundName, BuildError, ConfigError, TriggerKey};

/// Why something was not done to a background session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackgroundError {
    /// The declaration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The bundle of its sessions cannot be resolved.
    #[error("the bundle of background session {name} cannot be used")]
    Bundle {
        /// The background session.
        name: BackgroundName,
        /// Why.
        #[source]
        source: BundleError,
    },
    /// A trigger cannot be made.
    #[error("trigger {trigger} of background session {name} cannot be made")]
    Trigger {
        /// The background session.
        name: BackgroundName,
        /// The trigger.
        trigger: TriggerKey,
        /// Why.
        #[source]
        source: BuildError,
    },
    /// Two webhooks of the project have one path.
    #[error(transparent)]
    Path(#[from] amplifier_trigger::webhook::PathTaken),
    /// One of that name runs here.
    #[error("background session {name} runs already; stop it first")]
    Running {
        /// Its name.
        name: BackgroundName,
    },
    /// It has a trigger of that name already.
    #[error("background session {name} has a trigger {trigger} already; choose another name")]
    TriggerRuns {
        /// The background session.
        name: BackgroundName,
        /// The trigger.
        trigger: TriggerKey,
    },
    /// There is none of that name here.
    #[error("there is no background session {name} here; start it")]
    Unknown {
        /// The name.
        name: BackgroundName,
    },
    /// Somebody else owns the triggers of the project.
    #[error(
        "the background sessions of this project are owned by {owner}; stop that one first: `amplifier background stop`, or `foreman stop`"
    )]
    Owned {
        /// Who.
        owner: OwnerInfo,
    },
    /// The queue is full.
    #[error("the queue of background session {name} is full; try again later")]
    Full {
        /// Its name.
        name: BackgroundName,
    },
    /// The firing was refused.
    #[error("the firing was rejected: {reason}")]
    Rejected {
        /// Why.
        reason: String,
    },
    /// An id cannot be made.
    #[error(transparent)]
    Id(#[from] amplifier_trigger::InvalidEventId),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The manager is shut down.
    #[error("the manager is shut down")]
    ShutDown,
}
