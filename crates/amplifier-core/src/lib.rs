//! Kernel of Amplifier: types, traits and the session.
//!
//! Guarantees: no files, no network, no clock and no randomness of its own, no
//! task of its own; all of these are ports that a host fills. What a module can
//! do to a session, it does through the types here.

#![warn(missing_docs)]

pub mod activity;
pub mod approval;
pub mod budget;
pub mod cancel;
pub mod causes;
pub mod clock;
pub mod coordinator;
pub mod env;
pub mod event;
#[cfg(test)]
mod fuzz;
pub mod governor;
pub mod hook;
pub mod id;
pub mod limits;
pub mod message;
pub mod module;
pub mod outcome;
pub mod panic;
pub mod pattern;
pub mod payload;
pub mod permission;
pub mod price;
pub mod session;
pub mod transcript;
pub mod turn;
pub mod until;

pub use activity::Activity;
pub use cancel::{CancelLevel, CancelReason, CancelToken};
pub use clock::{Clock, Ids, MonoTime, Timestamp};
pub use env::SessionEnv;
pub use event::{Cause, CustomName, Event, EventType, NewEvent, SessionEvent};
pub use id::{Activation, EventId, IssueId, RunId, SessionId, TriggerId};
pub use limits::Limits;
pub use message::{Content, ContentBlock, ImageSource, KnownBlock, Message, Role, ToolCall, Usage};
pub use module::ModuleSpec;
pub use outcome::{OutcomeKind, SessionOutcome, SessionStatus};
pub use pattern::EventPattern;
pub use payload::Payload;
pub use permission::Permissions;
pub use price::Price;
pub use session::{AmplifierSession, SystemPrompt};
