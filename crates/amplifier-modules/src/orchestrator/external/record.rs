//! What an agent tells becomes the session's: messages, display, usage.
//!
//! Guarantees: each message is durable before the next event is taken; a call that the agent made is marked, so that
//! it is never run here; what was charged by the way and what the end says add up to the end. An agent that
//! ends without telling its cost leaves the cost unknown, not zero.

use std::collections::HashMap;

use amplifier_core::activity::ActivityGuard;
use amplifier_core::approval::{NoticeLevel, Shown};
use amplifier_core::message::{Content, ContentBlock, EXTERNAL, Message, Role, ToolCall, Usage};
use amplifier_core::turn::{Piece, Turn, TurnError};
use amplifier_core::{MonoTime, Price};
use amplifier_sandbox::Capture;
use serde::{Deserialize, Serialize};

use super::config::Kind;
use super::event::{End, Event, Said, Spent};

/// What a message of an agent has under [`EXTERNAL`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Whose command line.
    pub(super) agent: String,
    /// The agent's own session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) session_id: Option<String>,
    /// The session of ours that it said this in.
    #[serde(default)]
    pub(super) session: String,
    /// What the agent's session had used by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) usage_total: Option<Usage>,
}

impl Mark {
    /// That of a message.
    pub(super) fn of(message: &Message) -> Option<Self> {
        serde_json::from_value(message.metadata.get(EXTERNAL)?.clone()).ok()
    }
}

/// Takes events of one run.
#[derive(Debug)]
pub(super) struct Recorder<'a, 't> {
    turn: &'a Turn<'t>,
    kind: Kind,
    price: Option<Price>,
    mark: Mark,
    model: Option<String>,
    /// What model calls have used, as far as was told.
    rounds: HashMap<String, Usage>,
    charged: Usage,
    /// Nobody has said yet what it costs.
    owes: bool,
    streamed: bool,
    said: bool,
    last_text: String,
    /// Calls without a result, since when they run.
    running: HashMap<String, (ToolCall, MonoTime, ActivityGuard)>,
}

impl<'a, 't> Recorder<'a, 't> {
    /// Of an agent that goes on where `before` was told, or begins.
    pub(super) fn new(
        turn: &'a Turn<'t>,
        (kind, model): (Kind, Option<&str>),
        price: Option<Price>,
        before: Option<&Mark>,
    ) -> Self {
        let mark = Mark {
            agent: kind.name().to_owned(),
            session_id: before.and_then(|mark| mark.session_id.clone()),
            session: turn.session().to_string(),
            usage_total: before.and_then(|mark| mark.usage_total),
        };
        Self {
            turn,
            kind,
            price,
            mark,
            model: model.map(str::to_owned),
            rounds: HashMap::new(),
            charged: Usage::default(),
            owes: true,
            streamed: false,
            said: false,
            last_text: String::new(),
            running: HashMap::new(),
        }
    }

    /// Takes an event; the end is given back. `Err` ends the run.
    pub(super) async fn take(&mut self, event: Event) -> Result<Option<End>, TurnError> {
        match event {
            Event::Session { id, model } => {
                self.mark.session_id = Some(id);
                self.model = model.or(self.model.take());
            }
            Event::Round { id, model, usage } => {
                self.model = model.or(self.model.take());
                self.round(id, usage)?;
            }
            Event::Text(text) => {
                self.streamed = true;
                self.turn.piece(Piece::Text(&text));
            }
            Event::Thinking(text) => {
                self.streamed = true;
                self.turn.piece(Piece::Thinking(&text));
            }
            Event::Said(said) => self.message(said).await?,
            Event::Result { call, text, is_error } => self.result(&call, &text, is_error).await?,
            Event::Notice(text) => self.notice(&text),
            Event::Ended(end) => {
                if !self.said
                    && let Some(text) = end.text.clone().filter(|text| !text.is_empty())
                {
                    self.message(Said { text, ..Said::default() }).await?;
                }
                return Ok(Some(*end));
            }
        }
        Ok(None)
    }

    /// The text of the last message that had one.
    pub(super) fn last_text(&self) -> &str {
        &self.last_text
    }

    /// Model calls that were told, those of sub-agents too.
    pub(super) fn calls(&self) -> u64 {
        self.rounds.len() as u64
    }

    /// True if the agent has said something.
    pub(super) fn has_said(&self) -> bool {
        self.said
    }

    /// Tells a person.
    pub(super) fn notice(&self, text: &str) {
        let env = self.turn.env();
        let shown = Shown::Notice { level: NoticeLevel::Warning, source: self.kind.name(), text };
        env.display.show(&env.origin(), shown);
    }

    fn round(&mut self, id: String, usage: Option<Usage>) -> Result<(), TurnError> {
        let known = self.rounds.get(&id).copied();
        if known.is_none() {
            self.turn.called_elsewhere()?;
        }
        let before = known.unwrap_or_default();
        let now = larger(before, usage.unwrap_or_default());
        self.rounds.insert(id, now);
        let more = beyond(now, before);
        if more.total() == 0 {
            return Ok(());
        }
        self.charged += more;
        // What it costs is told at the end.
        self.turn.spent_elsewhere(more, Some(0))
    }

    /// Charges what the end says beyond what was charged by the way.
    pub(super) fn settle(&mut self, end: &End) -> Result<(), TurnError> {
        let used = match end.usage {
            Some(Spent::Turn(usage)) => beyond(usage, self.charged),
            Some(Spent::Total(total)) => {
                let before = self.mark.usage_total.unwrap_or_default();
                let fits = beyond(before, total).total() == 0;
                if fits { beyond(total, before) } else { total }
            }
            None => Usage::default(),
        };
        let mut all = self.charged;
        all += used;
        let cost = end.cost_micro_usd.or_else(|| self.price.map(|price| price.cost(&all)));
        let unknown = end.usage.is_none() && end.cost_micro_usd.is_none();
        self.owes = false;
        self.turn.spent_elsewhere(used, cost.filter(|_| !unknown))
    }

    async fn message(&mut self, said: Said) -> Result<(), TurnError> {
        let Said { thinking, text, calls, total } = said;
        if !std::mem::take(&mut self.streamed) {
            thinking.iter().for_each(|(thinking, _)| self.turn.piece(Piece::Thinking(thinking)));
            if !text.is_empty() {
                self.turn.piece(Piece::Text(&text));
            }
        }
        let mut message = Message::assistant(text.clone());
        if !thinking.is_empty() {
            let thinking = thinking.into_iter().map(|(text, proof)| ContentBlock::thinking(text, proof));
            let text = (!text.is_empty()).then(|| ContentBlock::text(text.clone()));
            message.content = Content::Blocks(thinking.chain(text).collect());
        }
        let mark = Mark { usage_total: total.or(self.mark.usage_total), ..self.mark.clone() };
        message.metadata.insert(EXTERNAL.into(), serde_json::to_value(mark).unwrap_or_default());
        message.tool_calls.clone_from(&calls);
        for call in &mut message.tool_calls {
            call.extra.insert(EXTERNAL.into(), self.kind.name().into());
        }
        let calls = message.tool_calls.clone();
        self.turn.append([message]).await?;
        let model = self.model.as_deref().unwrap_or("default");
        self.turn.said_elsewhere(&format!("{}/{model}", self.kind.name()), text.clone());
        self.said = true;
        if !text.is_empty() {
            self.last_text = text;
        }
        let env = self.turn.env();
        for call in calls {
            env.display.show(&env.origin(), Shown::ToolStarted(&call));
            let since = env.clock.monotonic();
            self.running.insert(call.id.clone(), (call, since, env.activity.tool()));
        }
        Ok(())
    }

    async fn result(&mut self, id: &str, text: &str, is_error: bool) -> Result<(), TurnError> {
        let Some((call, since, _running)) = self.running.remove(id) else {
            tracing::debug!(call = id, "an agent gave a result for a call that it had not told");
            return Ok(());
        };
        let mut kept = Capture::default();
        kept.push(text.as_bytes());
        let text = kept.into_text();
        let env = self.turn.env();
        let took = env.clock.monotonic().saturating_since(since);
        let summary = text.lines().next().unwrap_or_default();
        let shown = Shown::ToolEnded { call: &call, summary, is_error, took };
        env.display.show(&env.origin(), shown);
        let mut message = Message::tool_result(&call, text, is_error);
        debug_assert_eq!(message.role, Role::Tool);
        message.metadata.insert(EXTERNAL.into(), serde_json::to_value(&self.mark).unwrap_or_default());
        self.turn.append([message]).await
    }
}

impl Drop for Recorder<'_, '_> {
    fn drop(&mut self) {
        if self.owes {
            let _ = self.turn.spent_elsewhere(Usage::default(), None);
        }
    }
}

/// Field by field the larger.
fn larger(a: Usage, b: Usage) -> Usage {
    each(a, b, u64::max)
}

/// Field by field what the first has more.
fn beyond(a: Usage, b: Usage) -> Usage {
    each(a, b, u64::saturating_sub)
}

fn each(a: Usage, b: Usage, f: fn(u64, u64) -> u64) -> Usage {
    Usage {
        input_tokens: f(a.input_tokens, b.input_tokens),
        output_tokens: f(a.output_tokens, b.output_tokens),
        cache_read_tokens: f(a.cache_read_tokens, b.cache_read_tokens),
        cache_write_tokens: f(a.cache_write_tokens, b.cache_write_tokens),
        reasoning_tokens: f(a.reasoning_tokens, b.reasoning_tokens),
    }
}
