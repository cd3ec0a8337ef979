//! Hooks: who watches and who may object.
//!
//! Guarantees: handlers run one after the other by priority, low first. The
//! strongest verdict counts: deny > ask > inject > modify > continue; a denial
//! ends the round at once. Modified data reaches the handlers behind. A handler
//! that fails or panics denies where an objection could have stopped something
//! ([`is_gate`]), and is reported and skipped elsewhere. Data is built only if
//! somebody listens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::event::EventType;
use crate::id::SessionId;
use crate::message::Role;
use crate::panic::caught;
use crate::pattern::EventPattern;

/// A hook.
#[async_trait]
pub trait Hook: Send + Sync + std::fmt::Debug {
    /// Its name, for messages.
    fn name(&self) -> &str;

    /// The events that it wants; `*` is all of them, really.
    fn events(&self) -> &[EventPattern];

    /// Lower runs earlier. 100 where nothing speaks for another place.
    fn priority(&self) -> i32 {
        100
    }

    /// Says what it thinks of an event. The data always holds `session_id` and `timestamp`.
    async fn handle(&self, event: &HookEvent<'_>) -> Result<Verdict, HookError>;
}

/// An event as a hook sees it.
#[derive(Debug)]
#[non_exhaustive]
pub struct HookEvent<'a> {
    /// What happened.
    pub event: &'a EventType,
    /// The session.
    pub session: &'a SessionId,
    /// The data, an object.
    pub data: &'a Value,
}

/// What a hook thinks.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing to say.
    #[default]
    Continue,
    /// Go on with this data.
    Modify(Value),
    /// Tell the model something.
    Inject(Injection),
    /// Ask a person.
    Ask(Question),
    /// Do not do it.
    Deny {
        /// Why, for the model and the log.
        reason: String,
    },
    /// Tell the user something; nothing else changes.
    Notify {
        /// The text.
        text: String,
    },
}

/// Something to tell the model.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Injection {
    /// The text.
    pub text: String,
    /// As whom.
    pub role: Role,
    /// True: part of the next request only. False: part of the transcript.
    pub ephemeral: bool,
}

impl Injection {
    /// A text for the next request only, in the user's role.
    pub fn ephemeral(text: impl Into<String>) -> Self {
        Self { text: text.into(), role: Role::User, ephemeral: true }
    }
}

/// Something to ask a person.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Question {
    /// One sentence.
    pub prompt: String,
    /// What an answer for the session covers: each later question of the hook about the same. The prompt, unless it is cut.
    pub about: String,
    /// How long an answer is waited for; then it is a denial.
    pub timeout: Duration,
}

impl Question {
    /// A question that waits five minutes, as the reference system does.
    pub fn new(prompt: impl Into<String>) -> Self {
        let prompt = prompt.into();
        Self { about: prompt.clone(), prompt, timeout: Duration::from_secs(300) }
    }
}

/// Why a hook gave no verdict.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct HookError {
    /// One clause.
    pub message: String,
}

impl HookError {
    /// An error.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// What all hooks together think.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Round {
    /// The data, if a hook changed it.
    pub modified: Option<Value>,
    /// What to tell the model, in order.
    pub injections: Vec<Injection>,
    /// The first question, with the name of the hook that asks.
    pub question: Option<(String, Question)>,
    /// The denial, with the name of the hook that denies.
    pub denied: Option<(String, String)>,
    /// What to tell the user, with the name of the hook.
    pub notices: Vec<(String, String)>,
    /// Hooks that failed, with what they said.
    pub failures: Vec<(String, String)>,
}

/// True for events at which an objection stops something: a hook that fails there denies.
pub fn is_gate(event: &EventType) -> bool {
    matches!(
        event,
        EventType::PromptSubmit | EventType::ProviderRequest | EventType::LlmRequest | EventType::ToolPre
    )
}

#[derive(Debug, Clone, Default)]
struct Table {
    hooks: Arc<[Arc<dyn Hook>]>,
    /// One bit for each kernel event that somebody wants; custom events are looked up.
    wanted: u64,
}

/// The hooks of a session.
#[derive(Debug, Default)]
pub struct HookRegistry {
    // Held to copy or replace the table; never across an await.
    table: RwLock<Table>,
    /// The table's bits, for who only asks whether anybody listens.
    wanted: AtomicU64,
}

impl HookRegistry {
    /// A registry without hooks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a hook behind those of the same priority.
    pub fn add(&self, hook: Arc<dyn Hook>) {
        let mut table = self.table.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut hooks: Vec<Arc<dyn Hook>> = table.hooks.to_vec();
        hooks.push(hook);
        hooks.sort_by_key(|hook| hook.priority());
        let wanted = wanted(&hooks);
        self.wanted.store(wanted, Ordering::Release);
        table.wanted = wanted;
        table.hooks = hooks.into();
    }

    /// True if a hook wants this event.
    pub fn listens(&self, event: &EventType) -> bool {
        match event.index() {
            Some(index) => self.wanted.load(Ordering::Acquire) & (1 << index) != 0,
            None => self.snapshot().hooks.iter().any(|hook| wants(hook.as_ref(), event)),
        }
    }

    /// Asks all hooks that want the event, in order. `data` is called only if there are any.
    pub async fn ask(&self, event: &EventType, session: &SessionId, data: impl FnOnce() -> Value) -> Round {
        let mut round = Round::default();
        let table = self.snapshot();
        let listens = event.index().is_none_or(|index| table.wanted & (1 << index) != 0);
        if !listens {
            return round;
        }
        let mut current = data();
        for hook in table.hooks.iter().filter(|hook| wants(hook.as_ref(), event)) {
            let seen = HookEvent { event, session, data: &current };
            let verdict = match caught(hook.handle(&seen)).await {
                Ok(Ok(verdict)) => verdict,
                Ok(Err(error)) => round.failed(event, hook.name(), error.to_string()),
                Err(panic) => round.failed(event, hook.name(), format!("panicked: {panic}")),
            };
            match verdict {
                Verdict::Continue => {}
                Verdict::Modify(data) => {
                    current = data.clone();
                    round.modified = Some(data);
                }
                Verdict::Inject(injection) => round.injections.push(injection),
                Verdict::Ask(question) => {
                    round.question.get_or_insert((hook.name().to_owned(), question));
                }
                Verdict::Notify { text } => round.notices.push((hook.name().to_owned(), text)),
                Verdict::Deny { reason } => {
                    round.denied = Some((hook.name().to_owned(), reason));
                    return round;
                }
            }
        }
        round
    }

    fn snapshot(&self) -> Table {
        self.table.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Round {
    /// True if there is nothing to pass on beside the verdict.
    pub(crate) fn is_silent(&self) -> bool {
        self.injections.is_empty() && self.notices.is_empty() && self.failures.is_empty()
    }

    fn failed(&mut self, event: &EventType, hook: &str, message: String) -> Verdict {
        self.failures.push((hook.to_owned(), message.clone()));
        match is_gate(event) {
            true => Verdict::Deny { reason: format!("hook {hook} failed: {message}") },
            false => Verdict::Continue,
        }
    }
}

fn wants(hook: &dyn Hook, event: &EventType) -> bool {
    hook.events().iter().any(|pattern| pattern.matches(event))
}

fn wanted(hooks: &[Arc<dyn Hook>]) -> u64 {
    crate::event::KERNEL_EVENTS
        .iter()
        .filter_map(|row| EventType::kernel(row.name))
        .filter(|event| hooks.iter().any(|hook| wants(hook.as_ref(), event)))
        .filter_map(|event| event.index())
        .fold(0, |bits, index| bits | (1 << index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug)]
    struct Fixed {
        name: &'static str,
        priority: i32,
        events: Vec<EventPattern>,
        verdict: Option<Verdict>,
        seen: std::sync::Mutex<Vec<Value>>,
    }

    fn hook(name: &'static str, priority: i32, events: &[&str], verdict: Verdict) -> Arc<Fixed> {
        let events = events.iter().map(|text| EventPattern::new(text).unwrap()).collect();
        Arc::new(Fixed { name, priority, events, verdict: Some(verdict), seen: Default::default() })
    }

    #[async_trait]
    impl Hook for Fixed {
        fn name(&self) -> &str {
            self.name
        }
        fn events(&self) -> &[EventPattern] {
            &self.events
        }
        fn priority(&self) -> i32 {
            self.priority
        }
        async fn handle(&self, event: &HookEvent<'_>) -> Result<Verdict, HookError> {
            self.seen.lock().unwrap().push(event.data.clone());
            match self.name {
                "panics" => panic!("boom"),
                "fails" => Err(HookError::new("no luck")),
                _ => Ok(self.verdict.clone().unwrap()),
            }
        }
    }

    async fn ask(hooks: &[&Arc<Fixed>], event: EventType) -> Round {
        let registry = HookRegistry::new();
        hooks.iter().for_each(|hook| registry.add(Arc::clone(hook) as Arc<dyn Hook>));
        registry.ask(&event, &SessionId::new("s").unwrap(), || json!({"n": 1})).await
    }

    #[tokio::test]
    async fn a_denial_ends_the_round_and_modified_data_goes_on() {
        let first = hook("first", 1, &["tool:pre"], Verdict::Modify(json!({"n": 2})));
        let second = hook("second", 2, &["tool:*"], Verdict::Deny { reason: "no".into() });
        let third = hook("third", 3, &["*"], Verdict::Continue);
        let round = ask(&[&third, &second, &first], EventType::ToolPre).await;
        assert_eq!(round.denied, Some(("second".into(), "no".into())));
        assert_eq!(*second.seen.lock().unwrap(), [json!({"n": 2})]);
        assert!(third.seen.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn the_first_question_is_kept_beside_injections() {
        let a = hook("a", 1, &["*"], Verdict::Inject(Injection::ephemeral("x")));
        let b = hook("b", 2, &["*"], Verdict::Ask(Question::new("first?")));
        let c = hook("c", 3, &["*"], Verdict::Ask(Question::new("second?")));
        let round = ask(&[&a, &b, &c], EventType::ToolPost).await;
        assert_eq!(round.question.unwrap().1.prompt, "first?");
        assert_eq!(round.injections.len(), 1);
    }

    #[tokio::test]
    async fn a_wildcard_really_fires_for_every_event() {
        let all = hook("all", 1, &["*"], Verdict::Continue);
        for row in crate::event::KERNEL_EVENTS {
            ask(&[&all], EventType::kernel(row.name).unwrap()).await;
        }
        let custom = EventType::Custom(crate::event::CustomName::new("work:done").unwrap());
        ask(&[&all], custom).await;
        assert_eq!(all.seen.lock().unwrap().len(), crate::event::KERNEL_EVENTS.len() + 1);
    }

    #[tokio::test]
    async fn a_broken_hook_denies_at_a_gate_and_is_skipped_elsewhere() {
        for name in ["panics", "fails"] {
            let broken = hook(name, 1, &["*"], Verdict::Continue);
            let gate = ask(&[&broken], EventType::ToolPre).await;
            assert!(gate.denied.is_some_and(|(_, reason)| reason.contains(name)), "{name}");
            let after = ask(&[&broken], EventType::ToolPost).await;
            assert!(after.denied.is_none());
            assert_eq!(after.failures.len(), 1);
        }
    }

    #[tokio::test]
    async fn data_is_built_only_for_a_listener() {
        let registry = HookRegistry::new();
        registry.add(hook("one", 1, &["tool:pre"], Verdict::Continue));
        assert!(registry.listens(&EventType::ToolPre));
        assert!(!registry.listens(&EventType::ToolPost));
        let id = SessionId::new("s").unwrap();
        registry.ask(&EventType::ToolPost, &id, || unreachable!("nobody listens")).await;
    }
}
