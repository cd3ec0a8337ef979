//! What a model asks for when it delegates.
//!
//! Guarantees: a model chooses among what the settings leave it: providers and models by name, never
//! their settings; turns of the conversation up to the bound.

use amplifier_core::SessionId;
use amplifier_core::module::tool::{ToolError, parse_arguments};
use amplifier_foundation::bundle::ProviderPreference;
use amplifier_foundation::spawn::{ContextDepth, ContextForm, ContextRequest, ContextScope};
use serde::Deserialize;
use serde_json::Value;

use super::super::whole;
use super::settings::Settings;

/// Turns of the conversation that a child is told of, where the model does not say.
const DEFAULT_TURNS: u64 = 5;

/// The arguments of one call.
#[derive(Debug, Deserialize)]
pub(super) struct Arguments {
    #[serde(default, alias = "agent_name", alias = "subagent_type")]
    agent: Option<String>,
    #[serde(alias = "prompt", alias = "task")]
    pub(super) instruction: String,
    #[serde(default)]
    session_id: Option<String>,
    #[serde(default)]
    context_depth: Option<Depth>,
    #[serde(default, deserialize_with = "whole")]
    context_turns: Option<u64>,
    #[serde(default)]
    context_scope: Option<ContextScope>,
    #[serde(default)]
    provider_preferences: Option<Vec<Preference>>,
    #[serde(default)]
    model_role: Option<ModelRole>,
    #[serde(default)]
    background: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Depth {
    None,
    #[default]
    Recent,
    All,
}

/// By name alone: a model sets nothing of a provider.
#[derive(Debug, Deserialize)]
struct Preference {
    provider: String,
    #[serde(default)]
    model: Option<String>,
}

/// One role, or several, the best first.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ModelRole {
    One(String),
    Several(Vec<String>),
}

/// Who is given the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whom {
    /// A new session of an agent.
    Agent(String),
    /// A session that there is already.
    Session(SessionId),
}

impl Arguments {
    /// Reads the arguments of a call.
    pub(super) fn parse(given: &Value) -> Result<Self, ToolError> {
        let arguments: Self = parse_arguments(given)?;
        match arguments.instruction.trim() {
            "" => Err(ToolError::Arguments("`instruction` is empty; say what is to be done".to_owned())),
            _ => Ok(arguments),
        }
    }

    /// An id beats an agent, as in the reference system. Empty text counts as left out.
    pub(super) fn whom(&self, settings: &Settings) -> Result<Whom, ToolError> {
        let said = |text: &Option<String>| {
            text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        match (said(&self.session_id), said(&self.agent)) {
            (Some(_), _) if !settings.resume => Err(ToolError::Refused(
                "going on with a session is switched off here; leave `session_id` out and name an `agent`"
                    .to_owned(),
            )),
            (Some(id), _) => SessionId::new(id)
                .map(Whom::Session)
                .map_err(|error| ToolError::Arguments(format!("`session_id`: {error}"))),
            (None, Some(agent)) => Ok(Whom::Agent(agent)),
            (None, None) => Err(ToolError::Arguments(
                "name an `agent` for a new session, or give the `session_id` of one to go on with".to_owned(),
            )),
        }
    }

    /// What a new child is told of the conversation.
    pub(super) fn context(&self, settings: &Settings) -> ContextRequest {
        let turns = self.context_turns.unwrap_or(DEFAULT_TURNS).min(settings.max_turns);
        let depth = match self.context_depth.unwrap_or_default() {
            _ if !settings.context => ContextDepth::None,
            Depth::None => ContextDepth::None,
            Depth::Recent => ContextDepth::Recent(u32::try_from(turns).unwrap_or(u32::MAX)),
            Depth::All => ContextDepth::All,
        };
        let scope = self.context_scope.unwrap_or_default();
        match settings.context_form {
            ContextForm::Fork => ContextRequest::fork(depth, scope),
            _ => ContextRequest::quoted(depth, scope),
        }
    }

    /// Providers and models that the model would rather have: those that it names, else what its role means.
    pub(super) fn preferences(
        &self,
        settings: &Settings,
        meaning: impl FnOnce(&[String]) -> Option<Vec<ProviderPreference>>,
    ) -> Vec<ProviderPreference> {
        let given = self.provider_preferences.iter().flatten().filter(|_| settings.preferences);
        let given: Vec<_> =
            given.map(|one| ProviderPreference::new(one.provider.as_str(), one.model.clone())).collect();
        match given.is_empty() && settings.preferences {
            true => meaning(&self.roles()).unwrap_or_default(),
            false => given,
        }
    }

    fn roles(&self) -> Vec<String> {
        match &self.model_role {
            None => Vec::new(),
            Some(ModelRole::One(role)) => vec![role.clone()],
            Some(ModelRole::Several(roles)) => roles.clone(),
        }
    }

    /// True if the model does not want to wait for the answer.
    pub(super) fn background(&self) -> bool {
        self.background.unwrap_or(false)
    }

    /// What of the arguments did not count, for the model. `means` tells whether a role means something here.
    pub(super) fn note(
        &self,
        settings: &Settings,
        means: impl FnOnce(&[String]) -> bool,
    ) -> Option<&'static str> {
        let chosen = self.provider_preferences.as_ref().is_some_and(|all| !all.is_empty());
        let roles = self.roles();
        match (roles.is_empty(), chosen) {
            (_, true) | (false, _) if !settings.preferences => {
                Some("provider_preferences and model_role are switched off here and were ignored")
            }
            (false, false) if !means(&roles) => {
                Some("model_role names no role with a provider that is here and was ignored")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amplifier_core::ModuleSpec;
    use serde_json::json;

    fn settings(config: Value) -> Settings {
        let mut spec = ModuleSpec::new("tool-delegate");
        spec.config = config.as_object().cloned().unwrap_or_default();
        Settings::parse(&spec).unwrap()
    }

    fn parse(given: Value) -> Arguments {
        Arguments::parse(&given).unwrap()
    }

    #[test]
    fn an_id_beats_an_agent_and_one_of_them_is_needed() {
        let settings = settings(json!({}));
        let whom = |given: Value| parse(given).whom(&settings).map_err(|error| error.to_string());
        let id = SessionId::new("a-b_c").unwrap();
        assert_eq!(
            whom(json!({"instruction": "x", "agent": " explorer "})),
            Ok(Whom::Agent("explorer".into()))
        );
        let both = json!({"prompt": "x", "agent": "explorer", "session_id": "a-b_c"});
        assert_eq!(whom(both), Ok(Whom::Session(id)));
        let empty = json!({"instruction": "x", "subagent_type": "self", "session_id": ""});
        assert_eq!(whom(empty), Ok(Whom::Agent("self".into())));
        assert!(whom(json!({"instruction": "x", "agent": ""})).is_err_and(|error| error.contains("`agent`")));
        assert!(
            whom(json!({"instruction": "x", "session_id": "../x"})).is_err_and(|e| e.contains("session_id"))
        );
        for missing in [json!({"agent": "self"}), json!({"agent": "self", "instruction": " "}), json!(null)] {
            assert!(Arguments::parse(&missing).is_err_and(|error| error.to_string().contains("instruction")));
        }
    }

    #[test]
    fn the_conversation_is_told_as_asked_and_bounded() {
        let check = |given: Value, config: Value, expect: ContextRequest| {
            let mut given = given;
            given["instruction"] = json!("x");
            assert_eq!(parse(given.clone()).context(&settings(config)), expect, "{given}");
        };
        use ContextDepth::{All, None, Recent};
        use ContextScope::{Agents, Conversation, Full};
        let quoted = ContextRequest::quoted;
        check(json!({}), json!({}), quoted(Recent(5), Conversation));
        check(json!({"context_depth": "none"}), json!({}), quoted(None, Conversation));
        check(json!({"context_depth": "all", "context_scope": "full"}), json!({}), quoted(All, Full));
        check(
            json!({"context_turns": "99", "context_scope": "agents"}),
            json!({}),
            quoted(Recent(10), Agents),
        );
        let fewer = json!({"features": {"context_inheritance": {"max_turns": 2}}});
        check(json!({"context_turns": 7.0}), fewer, quoted(Recent(2), Conversation));
        let off = json!({"features": {"context_inheritance": {"enabled": false}}});
        check(json!({"context_depth": "all"}), off, quoted(None, Conversation));
        let fork = json!({"settings": {"context_form": "fork"}});
        check(json!({"context_depth": "all"}), fork, ContextRequest::fork(All, Conversation));
    }

    #[test]
    fn a_model_chooses_providers_by_name_alone() {
        let given = json!({"instruction": "x", "provider_preferences": [
            {"provider": "anthropic", "model": "claude-*", "config": {"temperature": 2}}, {"provider": "openai"},
        ]});
        let names = |all: Vec<ProviderPreference>| {
            all.into_iter().map(|one| (one.provider, one.model, one.config.is_empty())).collect::<Vec<_>>()
        };
        let on = settings(json!({}));
        let expected =
            [("anthropic".to_owned(), Some("claude-*".to_owned()), true), ("openai".to_owned(), None, true)];
        assert_eq!(names(parse(given.clone()).preferences(&on, |_| None)), expected);
        assert_eq!(parse(given.clone()).note(&on, |_| true), None);
        let off = settings(json!({"features": {"provider_selection": {"enabled": false}}}));
        assert_eq!(
            (
                parse(given.clone()).preferences(&off, |_| None).len(),
                parse(given).note(&off, |_| true).is_some()
            ),
            (0, true)
        );
        let role = |given: Value| parse(json!({"instruction": "x", "model_role": given}));
        let meant =
            |roles: &[String]| (roles == ["fast"]).then(|| vec![ProviderPreference::new("ollama", None)]);
        assert_eq!(role(json!("fast")).preferences(&on, meant).len(), 1);
        assert_eq!(role(json!(["fast"])).preferences(&off, meant).len(), 0);
        assert!(
            role(json!("odd"))
                .note(&on, |roles| roles == ["fast"])
                .is_some_and(|note| note.contains("model_role"))
        );
        assert_eq!(role(json!("fast")).note(&on, |roles| roles == ["fast"]), None);
    }
}
