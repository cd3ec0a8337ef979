//! Who may object to the end of a turn.
//!
//! Guarantees: the loops ask before they give an answer back; an objection becomes a user message and the
//! loop goes on, at most [`MOST`] times a turn, within the session's limits.

use std::sync::{Arc, Mutex, PoisonError};

use amplifier_core::SessionEnv;
use amplifier_core::approval::{NoticeLevel, Shown};
use amplifier_core::message::Message;
use amplifier_core::turn::{Turn, TurnError};
use async_trait::async_trait;

/// Objections of one turn that count.
const MOST: u32 = 8;

/// Somebody who may object.
#[async_trait]
pub(crate) trait BeforeStop: Send + Sync + std::fmt::Debug {
    /// What is still to be done, for the model. `again`: the turn goes on because of an objection already.
    async fn objection(&self, answer: &str, again: bool) -> Option<String>;
}

/// All who may object in a session: a capability.
#[derive(Debug, Default)]
pub(crate) struct StopGates {
    // Held to copy or add; never across an await.
    all: Mutex<Vec<Arc<dyn BeforeStop>>>,
}

impl StopGates {
    /// Those of a session, made at the first call.
    pub(crate) fn of(env: &SessionEnv) -> Arc<Self> {
        env.coordinator.capability::<Self>().unwrap_or_else(|| {
            let gates = Arc::new(Self::default());
            env.coordinator.provide(Arc::clone(&gates));
            // Who may object knows the session; without this neither would ever be freed.
            let ending = Arc::clone(&gates);
            env.coordinator.on_clean_up("gates of turns", move || {
                Box::pin(async move {
                    ending.all.lock().unwrap_or_else(PoisonError::into_inner).clear();
                })
            });
            gates
        })
    }

    pub(crate) fn add(&self, gate: Arc<dyn BeforeStop>) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(gate);
    }
}

/// True if the turn goes on, because somebody objected to its end; `held` counts how often.
pub(super) async fn goes_on(turn: &Turn<'_>, answer: &str, held: &mut u32) -> Result<bool, TurnError> {
    let env = turn.env();
    let Some(gates) = env.coordinator.capability::<StopGates>() else { return Ok(false) };
    let all = gates.all.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut objections = Vec::new();
    for gate in all {
        objections.extend(gate.objection(answer, *held > 0).await);
    }
    if objections.is_empty() {
        return Ok(false);
    }
    if *held >= MOST {
        let text = format!("hooks have kept this turn from ending {MOST} times; it ends now");
        let shown = Shown::Notice { level: NoticeLevel::Warning, source: "hooks", text: &text };
        env.display.show(&env.origin(), shown);
        return Ok(false);
    }
    *held += 1;
    let mut message = Message::user(objections.join("\n"));
    message.metadata.insert("source".into(), "hook".into());
    turn.append([message]).await?;
    Ok(true)
}
