//! Events: the kernel's own, and names that others choose.
//!
//! Guarantees: [`EventType`] comes from one table, so each kernel event has one
//! snake_case name, one spelling of the reference system, and a sentence of
//! documentation. Nobody can make a kernel event out of a text: a [`CustomName`]
//! refuses kernel names and their namespaces in both spellings.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{EventId, SessionId};
use crate::payload::Payload;

macro_rules! kernel_events {
    ($($variant:ident, $snake:literal, $reference:literal, $doc:literal;)*) => {
        /// The kind of an event.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EventType {
            $(#[doc = $doc] $variant,)*
            /// An event that a session, a program or a person named.
            Custom(CustomName),
        }

        /// One row of the table of kernel events.
        #[derive(Debug, Clone, Copy)]
        pub struct KernelEvent {
            /// The name in the router, in CloudEvents and in filters: `tool_pre`.
            pub name: &'static str,
            /// The name in `events.jsonl` and in bundles of the reference system: `tool:pre`.
            pub reference: &'static str,
            /// What it says.
            pub doc: &'static str,
        }

        /// All kernel events, in the order of the table.
        pub const KERNEL_EVENTS: &[KernelEvent] = &[
            $(KernelEvent { name: $snake, reference: $reference, doc: $doc },)*
        ];

        impl EventType {
            /// The kernel event of this name, in either spelling.
            pub fn kernel(name: &str) -> Option<Self> {
                match name {
                    $($snake | $reference => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Place in [`KERNEL_EVENTS`]; `None` for a custom event.
            pub fn index(&self) -> Option<usize> {
                let mut next = 0..;
                $(if matches!(self, Self::$variant) { return next.next(); } else { next.next(); })*
                None
            }
        }
    };
}

kernel_events! {
    SessionStart, "session_start", "session:start", "A session begins its first turn.";
    SessionEnd, "session_end", "session:end", "A session has ended; goes to hooks and `events.jsonl` only.";
    SessionFork, "session_fork", "session:fork", "A session was made as a child or copy of another.";
    SessionResume, "session_resume", "session:resume", "A session was opened again.";
    PromptSubmit, "prompt_submit", "prompt:submit", "A user message is about to be added.";
    PromptComplete, "prompt_complete", "prompt:complete", "The answer to a user message is complete.";
    PlanStart, "plan_start", "plan:start", "An orchestrator begins to plan.";
    PlanEnd, "plan_end", "plan:end", "An orchestrator has planned.";
    ProviderRequest, "provider_request", "provider:request", "A model call is about to be made.";
    ProviderResponse, "provider_response", "provider:response", "A model call was answered.";
    ProviderRetry, "provider_retry", "provider:retry", "A model call failed and will be tried again.";
    ProviderError, "provider_error", "provider:error", "A model call failed for good.";
    ProviderThrottle, "provider_throttle", "provider:throttle", "A provider asked to wait.";
    ProviderToolSequenceRepaired, "provider_tool_sequence_repaired", "provider:tool_sequence_repaired", "Tool calls that were cut off were given results: they ran again, or are marked interrupted.";
    ProviderResolve, "provider_resolve", "provider:resolve", "A provider and model were chosen.";
    LlmRequest, "llm_request", "llm:request", "The request as it is sent.";
    LlmResponse, "llm_response", "llm:response", "The answer with its usage.";
    ContentBlockStart, "content_block_start", "content_block:start", "A block of an answer begins.";
    ContentBlockDelta, "content_block_delta", "content_block:delta", "A piece of a block.";
    ContentBlockEnd, "content_block_end", "content_block:end", "A block of an answer is whole.";
    ThinkingDelta, "thinking_delta", "thinking:delta", "A piece of reasoning.";
    ThinkingFinal, "thinking_final", "thinking:final", "The reasoning is whole.";
    ToolPre, "tool_pre", "tool:pre", "A tool is about to run.";
    ToolPost, "tool_post", "tool:post", "A tool has run.";
    ToolError, "tool_error", "tool:error", "A tool failed, was refused, or panicked.";
    ContextPreCompact, "context_pre_compact", "context:pre_compact", "The view of a conversation will be shortened.";
    ContextPostCompact, "context_post_compact", "context:post_compact", "The view of a conversation was shortened.";
    ContextCompaction, "context_compaction", "context:compaction", "What a compaction left out.";
    ContextInclude, "context_include", "context:include", "A file became part of the context.";
    OrchestratorComplete, "orchestrator_complete", "orchestrator:complete", "An orchestrator has finished a turn.";
    ExecutionStart, "execution_start", "execution:start", "An orchestrator begins; always the first of a turn.";
    ExecutionEnd, "execution_end", "execution:end", "An orchestrator has ended, on every path.";
    UserNotification, "user_notification", "user:notification", "Something to tell the user.";
    ArtifactWrite, "artifact_write", "artifact:write", "A tool wrote a file.";
    ArtifactRead, "artifact_read", "artifact:read", "A tool read a file.";
    PolicyViolation, "policy_violation", "policy:violation", "Permissions refused an access, or a limit an event.";
    ApprovalRequired, "approval_required", "approval:required", "Somebody is asked for approval.";
    ApprovalGranted, "approval_granted", "approval:granted", "Approval was given.";
    ApprovalDenied, "approval_denied", "approval:denied", "Approval was refused, or nobody answered.";
    CancelRequested, "cancel_requested", "cancel:requested", "A session was asked to stop.";
    CancelCompleted, "cancel_completed", "cancel:completed", "A session has stopped because it was asked to.";
    ModuleOnSessionReadyFailed, "module_on_session_ready_failed", "module:on_session_ready_failed", "A module could not finish its start.";
    SessionCompleted, "session_completed", "session:completed", "Terminal: the session ended with outcome completed.";
    SessionError, "session_error", "session:error", "Terminal: the session ended with any other outcome.";
    BackgroundSpawnCompleted, "background_spawn_completed", "background:spawn:completed", "A session that a trigger started has completed.";
    BackgroundSpawnError, "background_spawn_error", "background:spawn:error", "A session that a trigger started has not completed, or could not be started.";
    BackgroundError, "background_error", "background:error", "A trigger of a background session has failed.";
    RunDead, "run_dead", "run:dead", "A run has failed for good.";
    RunDropped, "run_dropped", "run:dropped", "Somebody took a run off its queue, or had its session stopped.";
    RunRetried, "run_retried", "run:retried", "Somebody had a run made anew that was dead or cancelled.";
    IssueOpened, "issue_opened", "issue:opened", "An issue was added to the queue.";
    IssueUpdated, "issue_updated", "issue:updated", "Something about an issue was changed, or it waits for a worker anew.";
    IssueCommented, "issue_commented", "issue:commented", "Somebody wrote a comment on an issue.";
    IssueStarted, "issue_started", "issue:started", "A worker has begun with an issue.";
    IssueBlocked, "issue_blocked", "issue:blocked", "Something stands in the way of an issue.";
    IssueUnblocked, "issue_unblocked", "issue:unblocked", "Nothing stands in the way of an issue any more.";
    IssueQuestion, "issue_question", "issue:question", "A worker asks something about its issue, and waits for the answer.";
    IssueAnswered, "issue_answered", "issue:answered", "The question of a worker was answered.";
    IssueCompleted, "issue_completed", "issue:completed", "An issue is done.";
    IssueFailed, "issue_failed", "issue:failed", "All attempts at an issue are used up.";
    IssueRetried, "issue_retried", "issue:retried", "An issue waits for another attempt.";
    IssueEscalated, "issue_escalated", "issue:escalated", "An issue that failed goes to another pool.";
    IssueClosed, "issue_closed", "issue:closed", "Somebody closed an issue.";
    IssueReopened, "issue_reopened", "issue:reopened", "An issue that was at its end waits for a worker anew.";
}

/// Namespaces that custom names may not use, as `ns:…` or `ns_…`.
pub const RESERVED_NAMESPACES: &[&str] = &[
    "session",
    "tool",
    "provider",
    "llm",
    "prompt",
    "plan",
    "context",
    "execution",
    "approval",
    "cancel",
    "module",
    "thinking",
    "content_block",
    "orchestrator",
    "user",
    "artifact",
    "policy",
    "run",
    "trigger",
    "background",
    "issue",
];

impl EventType {
    /// The snake_case name, or the custom name as written.
    pub fn name(&self) -> &str {
        match self {
            Self::Custom(name) => name.as_str(),
            kernel => kernel.row().map_or("", |row| row.name),
        }
    }

    /// The reference system's spelling, or the custom name as written.
    pub fn reference_name(&self) -> &str {
        match self {
            Self::Custom(name) => name.as_str(),
            kernel => kernel.row().map_or("", |row| row.reference),
        }
    }

    /// True for the two events that end a session.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::SessionCompleted | Self::SessionError)
    }

    /// Every name under which a filter may ask for this event. The terminal
    /// events answer to `session:end` too, so filters of the reference system fire.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        let end = self.is_terminal().then_some(["session:end", "session_end"]);
        [self.name(), self.reference_name()].into_iter().chain(end.into_iter().flatten())
    }

    fn row(&self) -> Option<&'static KernelEvent> {
        self.index().and_then(|index| KERNEL_EVENTS.get(index))
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for EventType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for EventType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        match Self::kernel(&name) {
            Some(kernel) => Ok(kernel),
            None => CustomName::new(name.as_ref()).map(Self::Custom).map_err(serde::de::Error::custom),
        }
    }
}

/// Why a text is no event name or pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// Empty, or too long.
    #[error("event name `{name}` must have 1 to {max} bytes")]
    Length {
        /// The name's beginning, control characters escaped.
        name: String,
        /// The bound in bytes.
        max: usize,
    },
    /// A character outside the alphabet.
    #[error("event name `{name}` holds {found:?}; use a-z, 0-9 and `.`, `:`, `_`, `-` between them")]
    Character {
        /// The name, control characters escaped.
        name: String,
        /// The character.
        found: char,
    },
    /// Begins or ends with a separator.
    #[error("event name `{name}` must begin and end with a letter or digit")]
    Ends {
        /// The name.
        name: String,
    },
    /// A kernel event, or a namespace of the kernel.
    #[error("event name `{name}` belongs to the kernel (`{namespace}`); choose another first word")]
    Reserved {
        /// The name.
        name: String,
        /// The reserved namespace.
        namespace: &'static str,
    },
}

/// Longest custom name in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// The name of an event that is not the kernel's: `[a-z0-9]` with `.`, `:`, `_`, `-` between.
#[derive(Clone, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::derived_hash_with_manual_eq, reason = "equal texts have one hash, in one place or in two")]
pub struct CustomName(Arc<str>);

impl PartialEq for CustomName {
    fn eq(&self, other: &Self) -> bool {
        // Mostly one is a copy of the other.
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl CustomName {
    /// Checks a name.
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidName> {
        let name = name.as_ref();
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            let name = name.escape_debug().take(40).collect();
            return Err(InvalidName::Length { name, max: MAX_NAME_BYTES });
        }
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if let Some(found) = name.chars().find(|c| !word(*c) && !matches!(c, '.' | ':' | '_' | '-')) {
            return Err(InvalidName::Character { name: name.escape_debug().to_string(), found });
        }
        if !name.starts_with(word) || !name.ends_with(word) {
            return Err(InvalidName::Ends { name: name.to_owned() });
        }
        match reserved_namespace(name) {
            Some(namespace) => Err(InvalidName::Reserved { name: name.to_owned(), namespace }),
            None => Ok(Self(Arc::from(name))),
        }
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn reserved_namespace(name: &str) -> Option<&'static str> {
    RESERVED_NAMESPACES.iter().copied().find(|namespace| {
        name.strip_prefix(namespace).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '_']))
    })
}

impl fmt::Display for CustomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CustomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CustomName({})", self.0)
    }
}

impl TryFrom<&str> for CustomName {
    type Error = InvalidName;
    fn try_from(name: &str) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

impl TryFrom<String> for CustomName {
    type Error = InvalidName;
    fn try_from(name: String) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

impl TryFrom<&String> for CustomName {
    type Error = InvalidName;
    fn try_from(name: &String) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

/// An event that is to be emitted.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewEvent {
    /// What happened.
    pub event_type: EventType,
    /// The session that says so; `None` for a program or person.
    pub source: Option<SessionId>,
    /// The root of that session's tree, where it is known.
    pub root: Option<SessionId>,
    /// The data.
    pub payload: Payload,
    /// The event that caused this one.
    pub causation: Option<EventId>,
    /// The first event of the chain.
    pub correlation: Option<EventId>,
    /// How many events lie between the first of the chain and this one.
    pub hops: u32,
}

impl NewEvent {
    /// A custom event without source or cause.
    pub fn custom(name: CustomName, payload: impl Into<Payload>) -> Self {
        Self::of(EventType::Custom(name), payload.into())
    }

    /// An event of any type. What may be emitted to a router is the router's decision:
    /// it takes kernel events from sessions' owners alone.
    pub fn of(event_type: EventType, payload: Payload) -> Self {
        Self { event_type, source: None, root: None, payload, causation: None, correlation: None, hops: 0 }
    }

    /// Names the session that emits.
    #[must_use]
    pub fn from_session(mut self, source: SessionId) -> Self {
        self.source = Some(source);
        self
    }

    /// Names the root of the emitting session's tree.
    #[must_use]
    pub fn below(mut self, root: SessionId) -> Self {
        self.root = Some(root);
        self
    }

    /// Puts the event behind what caused it, one hop further. Without a cause it begins a chain.
    #[must_use]
    pub fn caused_by(mut self, cause: Option<Cause>) -> Self {
        if let Some(cause) = cause {
            self.causation = Some(cause.event);
            self.correlation = Some(cause.correlation);
            self.hops = cause.hops.saturating_add(1);
        }
        self
    }
}

/// What caused a session or an event: an event, and its place in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cause {
    /// The event.
    pub event: EventId,
    /// The first event of its chain; itself if nothing caused it.
    pub correlation: EventId,
    /// How many events lie between the first of the chain and this one.
    pub hops: u32,
}

impl Cause {
    /// An event as a cause.
    pub fn of(event: &SessionEvent) -> Self {
        let correlation = event.correlation.unwrap_or(event.id);
        Self { event: event.id, correlation, hops: event.hops }
    }
}

/// An event as subscribers see it. Maps onto CloudEvents 1.0 at every border.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionEvent {
    /// Unique; a UUIDv7.
    pub id: EventId,
    /// Place in the log; `None` for an ephemeral event, which is in no log.
    pub sequence: Option<u64>,
    /// What happened.
    pub event_type: EventType,
    /// The session that said so.
    pub source: Option<SessionId>,
    /// The root of that session's tree, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<SessionId>,
    /// The project.
    pub scope: Arc<str>,
    /// When it was emitted.
    pub at: Timestamp,
    /// The data.
    pub payload: Payload,
    /// The event that caused this one.
    pub causation: Option<EventId>,
    /// The first event of the chain.
    pub correlation: Option<EventId>,
    /// How many events lie between the first of the chain and this one.
    pub hops: u32,
}

impl SessionEvent {
    /// Completes a new event with what its router knows.
    pub fn seal(event: NewEvent, id: EventId, sequence: Option<u64>, scope: Arc<str>, at: Timestamp) -> Self {
        Self {
            id,
            sequence,
            event_type: event.event_type,
            source: event.source,
            root: event.root,
            scope,
            at,
            payload: event.payload,
            causation: event.causation,
            correlation: event.correlation,
            hops: event.hops,
        }
    }
}

/// A serde type with a fixed event name.
pub trait Event: Serialize + serde::de::DeserializeOwned {
    /// The custom name; checked when it is first used.
    const NAME: &'static str;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_name_that_is_too_long_shows_no_control_character() {
        let long = "\u{1b}[31m".repeat(MAX_NAME_BYTES);
        let errors = [CustomName::new(&long).unwrap_err(), crate::EventPattern::new(&long).unwrap_err()];
        for error in errors {
            let shown = error.to_string();
            assert!(shown.contains("\\u{1b}") && !shown.contains(char::is_control), "{shown}");
        }
    }

    #[test]
    fn the_table_has_the_reference_taxonomy_and_two_terminal_events() {
        assert_eq!(KERNEL_EVENTS.len(), 42 + 22);
        for (index, row) in KERNEL_EVENTS.iter().enumerate() {
            let event = EventType::kernel(row.name).unwrap();
            assert_eq!(EventType::kernel(row.reference), Some(event.clone()), "{}", row.reference);
            assert_eq!(event.index(), Some(index));
            assert_eq!((event.name(), event.reference_name()), (row.name, row.reference));
            assert_eq!(row.reference.replace(':', "_"), row.name);
            assert!(CustomName::new(row.name).is_err(), "{} must be reserved", row.name);
            assert!(CustomName::new(row.reference).is_err(), "{} must be reserved", row.reference);
        }
    }

    #[test]
    fn custom_names_keep_out_of_the_kernels_namespaces() {
        for good in ["analysis_complete", "work:done", "a", "0.x-y", "sessions_done", "runner", "planet:x"] {
            assert!(CustomName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "A",
            "x y",
            ":x",
            "x:",
            "-x",
            "session",
            "session:x",
            "session_x",
            "tool_anything",
            "content_block:x",
            "issue_opened",
            "run",
            "background:spawn:completed",
            "x/y",
        ] {
            assert!(CustomName::new(bad).is_err(), "{bad:?}");
        }
        assert!(CustomName::new("x".repeat(MAX_NAME_BYTES + 1)).is_err());
    }

    #[test]
    fn a_deserialized_type_cannot_be_a_made_up_kernel_event() {
        assert_eq!(serde_json::from_str::<EventType>("\"tool:pre\"").unwrap(), EventType::ToolPre);
        assert!(serde_json::from_str::<EventType>("\"tool:made_up\"").is_err());
        let custom: EventType = serde_json::from_str("\"work:done\"").unwrap();
        assert_eq!(custom.index(), None);
        assert_eq!(custom.to_string(), "work:done");
    }
}
