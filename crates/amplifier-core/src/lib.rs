//! Kernel of Amplifier: types, traits and the session.

pub mod clock;
pub mod id;
pub mod message;
pub mod module;
pub mod payload;
pub mod transcript;

pub use clock::{Clock, Ids, MonoTime, Timestamp};
pub use id::{Activation, EventId, RunId, SessionId, TriggerId};
pub use message::{Content, ContentBlock, KnownBlock, Message, Role, ToolCall, Usage};
pub use module::ModuleSpec;
pub use payload::Payload;
