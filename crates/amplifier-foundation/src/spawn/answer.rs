//! Answers that somebody checks before they count.
//!
//! Guarantees: an answer that is refused is told to the model with the reason, as a user message, and the loop of the
//! session goes on from there: its model calls are turns as any other. After the last attempt the turn fails; an answer
//! that was refused is never the session's.

use std::fmt::Debug;
use std::sync::Arc;

use amplifier_core::message::Message;
use amplifier_core::module::orchestrator::Orchestrator;
use amplifier_core::turn::{Turn, TurnError};
use async_trait::async_trait;

/// Says whether an answer is one.
pub trait AnswerCheck: Debug + Send + Sync {
    /// What it checks, for errors: `output schema`.
    fn name(&self) -> &str;

    /// The answer as it shall be told; `Err`: what is wrong with it, for the model and for a person.
    fn check(&self, answer: &str) -> Result<String, String>;

    /// What the model is told of an answer that was refused, with what is wrong with it.
    fn again(&self, wrong: &str) -> String;

    /// How often the model is asked again.
    fn attempts(&self) -> u32;
}

/// A loop whose answers are checked.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) inner: Arc<dyn Orchestrator>,
    pub(super) check: Arc<dyn AnswerCheck>,
}

#[async_trait]
impl Orchestrator for Checked {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn run(&self, turn: &mut Turn<'_>) -> Result<String, TurnError> {
        let mut left = self.check.attempts();
        loop {
            let answer = self.inner.run(turn).await?;
            let wrong = match self.check.check(&answer) {
                Ok(answer) => return Ok(answer),
                Err(wrong) => wrong,
            };
            if left == 0 {
                let message = format!("no answer fits it: {wrong}");
                return Err(TurnError::Module { module: self.check.name().to_owned(), message });
            }
            left -= 1;
            turn.append([Message::user(self.check.again(&wrong))]).await?;
        }
    }
}
