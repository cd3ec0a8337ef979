//! Sessions that nobody sits at.
//!
//! A [`BackgroundSessionManager`] starts the sessions of a [`BackgroundConfig`] when its triggers say so.
//!
//! Guarantees: every session of it is started by `spawn_bundle`, is owned by the host and has one outcome. Each
//! firing is a run in the store, or a number that says why not. Never here: a second way to start a session,
//! a second queue of runs, a clock or a file of its own.

#![warn(missing_docs)]

mod config;
pub mod control;
pub mod declared;
mod error;
mod intake;
mod keeper;
mod lease;
mod manager;
mod manual;
pub mod notify;
mod pool;
pub mod report;
mod run;
mod session_event;
mod sources;
mod status;
pub mod work;

pub use amplifier_trigger as trigger;
pub use config::{
    BACKGROUND_KEYS, BackgroundConfig, DEFAULT_ATTEMPTS, DEFAULT_QUEUE, DEFAULT_RESTARTS, FIRST_BACKOFF,
    MAX_BACKOFF, MAX_POOL, MAX_QUEUE, QueueConfig,
};
pub use error::BackgroundError;
pub use manager::BackgroundSessionManager;
pub use run::{firing_of, queue_of, why};
pub use session_event::SessionEventTrigger;
pub use status::{BackgroundState, BackgroundStatus, Counts, TriggerState, TriggerStatus};
