//! Which provider and model a session asks, and who is asked next when one fails for good.
//!
//! Guarantees: the choices are gone through in their order, never back within an activation; what
//! only the provider understands that said it (reasoning with its proofs, data beside a tool call)
//! is left out of a request to another one, and stays in the transcript.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::TurnError;
use crate::approval::{NoticeLevel, Shown};
use crate::event::EventType;
use crate::message::{Content, ContentBlock, KnownBlock, Message, PROVIDER, Role};
use crate::module::provider::{Provider, ProviderError, ProviderErrorKind};
use crate::price::Price;
use crate::session::Core;
use crate::transcript::MessageView;

/// A provider and the model that it is asked for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Choice {
    /// The provider.
    pub provider: Arc<dyn Provider>,
    /// The model; the provider's default where `None`.
    pub model: Option<String>,
}

impl Choice {
    /// A provider with its default model.
    pub fn new(provider: Arc<dyn Provider>) -> Self {
        Self { provider, model: None }
    }

    /// The same provider with this model.
    #[must_use]
    pub fn with_model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// The provider's name.
    pub fn name(&self) -> &str {
        &self.provider.info().name
    }

    /// The name of the model that is asked for.
    pub fn model(&self) -> &str {
        self.model.as_deref().unwrap_or(&self.provider.info().default_model)
    }

    /// What the model costs; `None` where it is not known. A script costs nothing unless it says so.
    pub(super) fn price(&self) -> Option<Price> {
        let known = self.provider.price(self.model());
        known.or_else(|| self.provider.info().scripted.then_some(Price::FREE))
    }
}

impl Core {
    /// Who is asked now.
    pub(super) fn choice(&self) -> Result<Choice, TurnError> {
        let place = self.ledger().choice;
        self.choices.get(place).cloned().ok_or_else(|| {
            let message =
                "no provider is configured; name one in the bundle or set a key such as ANTHROPIC_API_KEY";
            ProviderError::new("none", ProviderErrorKind::Config, message).into()
        })
    }

    /// Who is asked next after this error of a call; `None` if it is no matter of the provider, or nobody is left.
    fn successor(&self, error: &TurnError) -> Option<Choice> {
        let TurnError::Provider(error) = error else { return None };
        let stays = error.kind == ProviderErrorKind::ContextTooLong || self.env.cancel.is_cancelled();
        let next = self.ledger().choice + 1;
        self.choices.get(next).filter(|_| !stays).cloned()
    }

    /// Goes on with the next choice for the rest of the activation, if there is one for this error.
    pub(super) fn fall_back(&self, error: &TurnError) -> Option<Choice> {
        let next = self.successor(error)?;
        let mut ledger = self.ledger();
        ledger.choice += 1;
        ledger.mixed = true;
        Some(next)
    }

    /// Tells that a call of a choice failed for good, and who is asked next.
    pub(super) async fn tell_failure(&self, choice: &Choice, error: &TurnError) {
        let next = self.successor(error);
        if let Some(next) = &next {
            let reason = error.to_string();
            self.void_partial(&reason);
            let text = format!("{reason}; going on with {}/{}", next.name(), next.model());
            let shown = Shown::Notice { level: NoticeLevel::Warning, source: choice.name(), text: &text };
            self.env.display.show(&self.env.origin(), shown);
        }
        let data = || {
            json!({
                "provider": choice.name(), "model": choice.model(), "error": error.to_string(),
                "next_provider": next.as_ref().map(Choice::name), "next_model": next.as_ref().map(Choice::model),
            })
        };
        self.notify(&EventType::ProviderError, data).await;
    }

    /// Notes who said a message, where that is not the session's first choice.
    pub(super) fn sign(&self, choice: &Choice, message: &mut Message) {
        if self.ledger().choice > 0 {
            message.metadata.insert(PROVIDER.into(), choice.name().into());
        }
    }

    /// The messages as this choice can be shown them.
    pub(super) fn readable(&self, choice: &Choice, messages: MessageView) -> MessageView {
        let (mixed, first) = {
            let ledger = self.ledger();
            (ledger.mixed, ledger.choice == 0)
        };
        if !mixed {
            return messages;
        }
        let own = |message: &Message| match signature(message) {
            Some(name) => name == choice.name(),
            None => first,
        };
        let all = messages.to_vec().into_iter().map(|message| match message.role {
            Role::Assistant if !own(&message) => Arc::new(plain(&message)),
            _ => message,
        });
        MessageView::of(all.collect::<Vec<_>>())
    }
}

/// Who said a message, where that was not the first choice of its activation.
pub(crate) fn signature(message: &Message) -> Option<&str> {
    message.metadata.get(PROVIDER).and_then(Value::as_str)
}

/// A message without what only its own provider understands.
fn plain(message: &Message) -> Message {
    let mut plain = message.clone();
    if let Content::Blocks(blocks) = &mut plain.content {
        blocks.retain(|block| match block {
            ContentBlock::Known(KnownBlock::Thinking { .. }) => false,
            ContentBlock::Known(_) => true,
            ContentBlock::Other(map) => map.get("text").is_some_and(Value::is_string),
        });
    }
    plain.tool_calls.iter_mut().for_each(|call| call.extra = Map::new());
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ToolCall;

    #[test]
    fn a_plain_message_keeps_what_everybody_understands() {
        let mut message = Message::assistant("");
        let opaque = json!({"type": "redacted_thinking", "data": "x"}).as_object().cloned().unwrap();
        let told = json!({"type": "refusal", "text": "no"}).as_object().cloned().unwrap();
        message.content = Content::Blocks(vec![
            ContentBlock::thinking("hm", Some("proof".into())),
            ContentBlock::Other(opaque),
            ContentBlock::text("yes"),
            ContentBlock::Other(told),
        ]);
        message.tool_calls.push(ToolCall::new("c1", "t", json!({"a": 1})));
        let known = message.clone();
        message.tool_calls[0].extra.insert("thought_signature".into(), "proof".into());
        let plain = plain(&message);
        assert_eq!((plain.text().as_str(), &plain.tool_calls), ("yesno", &known.tool_calls));
        assert!(!serde_json::to_string(&plain).unwrap().contains("proof"));
        assert_eq!(
            plain.content,
            Content::Blocks(match known.content {
                Content::Blocks(blocks) => blocks[2..].to_vec(),
                other => panic!("{other:?}"),
            })
        );
    }
}
