//! An orchestrator that takes one step: it lists the tools of its session, or calls one of them.
//!
//! Guarantees: the call goes through the session's own gate, as one that a model asked for, and stands in the
//! transcript as such; no model is asked.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use amplifier_core::message::{Message, ToolCall};
use amplifier_core::module::orchestrator::Orchestrator;
use amplifier_core::module::provider::{
    ChatRequest, ChatStream, ModelInfo, Provider, ProviderError, ProviderErrorKind, ProviderInfo,
};
use amplifier_core::module::tool::Repeat;
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError};
use amplifier_core::turn::{Turn, TurnError};
use amplifier_foundation::bundle::{ModuleEntry, Origin, Position, PreparedBundle};
use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{Arguments, Listed, Recorded};

const STEP: &str = "loop-one-step";
const NO_PROVIDER: &str = "provider-none";

/// What shall be done.
#[derive(Debug, Clone)]
pub(super) enum Job {
    List,
    Call { name: String, arguments: Arguments, recorded: Recorded },
}

/// What was done.
#[derive(Debug)]
pub(super) enum Did {
    Listed(Vec<Listed>),
    Ended {
        text: String,
        is_error: bool,
    },
    /// Nothing: there is no such tool.
    Unknown {
        known: Vec<String>,
    },
    /// Nothing: the arguments are none.
    Refused(String),
    /// Nothing: the tool may change something, and this session leaves no trace.
    ToBeRecorded,
}

/// The module, and the orchestrator that it mounts.
#[derive(Debug, Clone)]
pub(super) struct Step(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    job: Job,
    // Held to put what was done, or to take it; never across an await.
    did: Mutex<Option<Did>>,
}

impl Step {
    pub(super) fn new(job: Job) -> Self {
        Self(Arc::new(Inner { job, did: Mutex::default() }))
    }

    /// What was done, once.
    pub(super) fn did(&self) -> Option<Did> {
        self.0.did.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn take(&self, turn: &Turn<'_>) -> Result<Did, TurnError> {
        match &self.0.job {
            Job::List => {
                let one = |tool: &Arc<dyn amplifier_core::module::tool::Tool>| Listed {
                    schema: tool.schema().clone(),
                    pure: tool.repeat() == Repeat::Pure,
                };
                Ok(Did::Listed(turn.tools().iter().map(one).collect()))
            }
            Job::Call { name, arguments, recorded } => call(turn, name, arguments, *recorded).await,
        }
    }
}

async fn call(
    turn: &Turn<'_>,
    name: &str,
    arguments: &Arguments,
    recorded: Recorded,
) -> Result<Did, TurnError> {
    let Some(tool) = turn.tools().get(name) else {
        let known = turn.tools().iter().map(|tool| tool.schema().name.clone()).collect();
        return Ok(Did::Unknown { known });
    };
    if tool.repeat() != Repeat::Pure && recorded == Recorded::No {
        return Ok(Did::ToBeRecorded);
    }
    let arguments = match arguments {
        Arguments::Json(value) => value.clone(),
        Arguments::Pairs(pairs) => match typed(pairs, &tool.schema().input_schema) {
            Ok(value) => value,
            Err(why) => return Ok(Did::Refused(why)),
        },
    };
    let call = ToolCall::new(format!("call_{}", turn.env().ids.v4().simple()), name, arguments);
    let mut message = Message::assistant("");
    message.tool_calls.push(call.clone());
    turn.append([message]).await?;
    let result = turn.run_tool(&call).await;
    let did = Did::Ended { text: result.text(), is_error: result.is_error() };
    turn.append([result]).await?;
    Ok(did)
}

/// What was typed as the schema wants it.
fn typed(pairs: &[(String, String)], schema: &Value) -> Result<Value, String> {
    let mut map = Map::new();
    for (name, text) in pairs {
        let wanted = schema.pointer(&format!("/properties/{name}/type"));
        let is = |kind: &str| match wanted {
            Some(Value::String(one)) => one == kind,
            Some(Value::Array(several)) => several.iter().any(|one| one == kind),
            _ => false,
        };
        let read = serde_json::from_str::<Value>(text);
        let value = match read {
            _ if is("string") || wanted.is_none() && !text.starts_with(['{', '[']) => {
                Value::String(text.clone())
            }
            Ok(value) => value,
            Err(error) => return Err(format!("`{name}` cannot be `{text}`: {error}")),
        };
        if map.insert(name.clone(), value).is_some() {
            return Err(format!("`{name}` is given twice"));
        }
    }
    Ok(Value::Object(map))
}

#[async_trait]
impl Orchestrator for Step {
    fn name(&self) -> &str {
        STEP
    }

    async fn run(&self, turn: &mut Turn<'_>) -> Result<String, TurnError> {
        let did = self.take(turn).await?;
        let text = match &did {
            Did::Ended { text, .. } => text.clone(),
            _ => String::new(),
        };
        *self.0.did.lock().unwrap_or_else(PoisonError::into_inner) = Some(did);
        Ok(text)
    }
}

#[async_trait]
impl Module for Step {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: STEP,
            aliases: &[],
            kind: ModuleKind::Orchestrator,
            summary: "one step of a command, without a model",
            config_keys: &[],
        }
    }

    async fn mount(&self, _spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        mount.orchestrator(Arc::new(self.clone()));
        Ok(())
    }
}

/// The bundle with the step for its loop. Without a record it needs no provider either.
pub(super) fn with_step(prepared: &PreparedBundle, recorded: Recorded) -> PreparedBundle {
    let entry = |module: &str| {
        ModuleEntry::new(
            ModuleSpec::new(module),
            Origin::new("", Path::new("the command line"), Position::START),
        )
    };
    let mut bundle = prepared.clone();
    let session = &mut bundle.plan.session;
    session.orchestrator = Some(entry(STEP));
    session.context.get_or_insert_with(|| entry("context-simple"));
    if recorded == Recorded::No {
        bundle.plan.providers = vec![ModuleSpec::new(NO_PROVIDER)];
    }
    bundle
}

/// A provider where no model is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoProvider;

#[async_trait]
impl Module for NoProvider {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: NO_PROVIDER,
            aliases: &[],
            kind: ModuleKind::Provider,
            summary: "no model",
            config_keys: &[],
        }
    }

    async fn mount(&self, _spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        mount.provider(Arc::new(Nobody(ProviderInfo::new("none", NO_PROVIDER, "none"))));
        Ok(())
    }
}

#[derive(Debug)]
struct Nobody(ProviderInfo);

#[async_trait]
impl Provider for Nobody {
    fn info(&self) -> &ProviderInfo {
        &self.0
    }

    async fn models(&self) -> Result<Vec<ModelInfo>, ProviderError> {
        Ok(Vec::new())
    }

    async fn stream(&self, _request: ChatRequest) -> Result<ChatStream, ProviderError> {
        Err(ProviderError::new(
            "none",
            ProviderErrorKind::Config,
            "no provider is configured; `amplifier init` sets one up",
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_schema_says_what_a_typed_value_means() {
        let schema = json!({"properties": {
            "path": {"type": "string"}, "limit": {"type": "integer"}, "deep": {"type": ["boolean", "null"]}, "any": {},
        }});
        let check = |typed_in: &[(&str, &str)], expect: Result<Value, &str>| {
            let pairs: Vec<_> = typed_in.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            match (typed(&pairs, &schema), expect) {
                (Ok(value), Ok(expect)) => assert_eq!(value, expect),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (got, _) => panic!("{typed_in:?} gave {got:?}"),
            }
        };
        check(&[("path", "12"), ("limit", "12")], Ok(json!({"path": "12", "limit": 12})));
        check(&[("deep", "true"), ("any", "x y")], Ok(json!({"deep": true, "any": "x y"})));
        check(&[("any", "[1]")], Ok(json!({"any": [1]})));
        check(&[("limit", "many")], Err("`limit` cannot be `many`"));
        check(&[("path", "a"), ("path", "b")], Err("given twice"));
    }
}
