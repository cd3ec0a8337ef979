//! `context-simple`: everything, until it is too much; then the first prompt, the
//! instructions, and the newest messages.
//!
//! Guarantees: nothing is forgotten: a shortened view is a view only. Once shortened,
//! a view keeps its beginning until it is too long again, which also keeps a
//! provider's prompt cache warm. What a provider called too long is not sent again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amplifier_core::message::Message;
use amplifier_core::module::context::{ContextManager, ContextView, ViewBudget};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError, parse_config};
use amplifier_core::transcript::MessageView;
use async_trait::async_trait;
use serde::Deserialize;

use super::history::History;

/// The module `context-simple`.
#[derive(Debug, Clone, Copy)]
pub struct ContextSimple;

#[async_trait]
impl Module for ContextSimple {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: "context-simple",
            aliases: &[],
            kind: ModuleKind::Context,
            summary: "Keeps the whole conversation, and shows its newest part when it gets too long",
            config_keys: &["max_tokens", "compact_threshold", "target_usage", "auto_compact"],
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let settings: Settings = parse_config(spec)?;
        settings.check().map_err(|message| MountError::config(spec, message))?;
        mount.context(Arc::new(Simple { settings, state: Mutex::default() }));
        Ok(())
    }
}

/// The settings, as bundles of the reference system write them.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
struct Settings {
    /// Tokens of a whole request.
    max_tokens: u64,
    /// Part of `max_tokens` at which a view is shortened.
    compact_threshold: f64,
    /// Part of `max_tokens` that a shortened view takes.
    target_usage: f64,
    /// False: a view is never shortened.
    auto_compact: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_tokens: 200_000, compact_threshold: 0.8, target_usage: 0.5, auto_compact: true }
    }
}

impl Settings {
    fn check(&self) -> Result<(), String> {
        if self.max_tokens == 0 {
            return Err("config: max_tokens is 0; give the size of a request in tokens".into());
        }
        for (key, value) in
            [("compact_threshold", self.compact_threshold), ("target_usage", self.target_usage)]
        {
            if !(value > 0.0 && value <= 1.0) {
                return Err(format!("config: {key} is {value}; give a part between 0 and 1, such as 0.8"));
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Simple {
    settings: Settings,
    // Held for an append or a view; never across an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    history: History,
    /// Tokens of a whole request that a provider called too long.
    refused: Option<u64>,
    /// Tokens of the messages of the last view.
    shown: u64,
}

impl Simple {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ContextManager for Simple {
    fn append(&self, messages: &[Arc<Message>]) {
        self.state().history.extend(messages);
    }

    fn replace(&self, messages: Vec<Arc<Message>>) {
        let mut state = State::default();
        state.history.extend(&messages);
        *self.state() = state;
    }

    fn messages(&self) -> MessageView {
        self.state().history.all()
    }

    async fn view(&self, budget: ViewBudget) -> ContextView {
        let mut state = self.state();
        let view = state.view(&self.settings, budget);
        state.shown = view.tokens;
        view
    }
}

impl State {
    fn view(&mut self, settings: &Settings, budget: ViewBudget) -> ContextView {
        if !settings.auto_compact {
            return self.history.whole();
        }
        let reserved = budget.reserved_tokens;
        if budget.squeeze {
            let refused = reserved.saturating_add(self.shown);
            self.refused = Some(self.refused.map_or(refused, |before| before.min(refused)));
        }
        let limits = [Some(settings.max_tokens), budget.window_tokens, self.refused];
        let limit = limits.into_iter().flatten().min().unwrap_or(settings.max_tokens);
        let fits = |view: &ContextView| reserved + view.tokens <= part(limit, settings.compact_threshold);
        if !budget.squeeze {
            let whole = self.history.whole();
            if fits(&whole) {
                return whole;
            }
            if let Some(view) = self.history.shortened().filter(fits) {
                return view;
            }
        }
        let target = part(limit, settings.target_usage) / if budget.squeeze { 2 } else { 1 };
        self.history.shorten(target.saturating_sub(reserved));
        self.history.shortened().unwrap_or_else(|| self.history.whole())
    }
}

/// A part between 0 and 1 of a number of tokens.
fn part(tokens: u64, part: f64) -> u64 {
    // Tokens stay far below 2^52, so nothing is lost on the way through a float.
    (tokens as f64 * part) as u64
}

#[cfg(test)]
mod tests;
