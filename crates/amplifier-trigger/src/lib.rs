//! Decides *when* something starts: timers, changes of files, webhooks, calls from code.
//!
//! A [`TriggerSource`] is a stream of [`TriggerEvent`]s; [`parse_triggers`] reads what files say of them,
//! a [`TriggerRegistry`] makes sources of it, [`simulate`] tells what a timer would do. What
//! happens then is the caller's: sessions, the store and the router lie above.
//!
//! Guarantees: the id of an event follows from what it is about, so the same firing has the same id in
//! every process and after every crash; time comes from the [`Clock`](amplifier_core::Clock) alone.
//! Never here: a session, a store, an HTTP server, YAML.

#![warn(missing_docs)]

pub mod config;
mod event;
#[cfg(feature = "watch")]
pub mod file_change;
mod jitter;
mod mailbox;
pub mod manual;
mod matching;
mod policy;
mod registry;
mod row;
mod source;
pub mod template;
pub mod timer;
pub mod webhook;

pub use config::{ConfigError, ConfigFault, TriggerConfig, TriggerKind, TriggerSpec, parse_triggers};
pub use event::{Acceptance, Cause, InvalidEventId, Passed, Receipt, TriggerEvent, TriggerEventId};
#[cfg(feature = "watch")]
pub use file_change::FileChangeTrigger;
pub use manual::{FireError, ManualHandle, ManualTrigger};
pub use matching::PayloadMatch;
pub use policy::{DEFAULT_MAX_AGE, Misfire, Overlap, PolicyError, TriggerPolicy};
pub use registry::{
    BuildError, BuiltTrigger, InvalidType, SourceEnv, SourceError, TriggerHandle, TriggerRegistry, Variables,
};
pub use row::{BackgroundName, Generation, InvalidName, TriggerKey, TriggerRow};
pub use source::{TriggerContext, TriggerError, TriggerSource, TriggerStream};
pub use template::Template;
pub use timer::{TimerTrigger, simulate};
pub use webhook::{Hooks, WebhookHandle, WebhookTrigger};
