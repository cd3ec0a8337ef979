//! What the tests of providers share: mounting one, asking it, looking at the answer.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use amplifier_core::approval::{NoDisplay, NobodyToAsk};
use amplifier_core::clock::BoxFuture;
use amplifier_core::coordinator::Coordinator;
use amplifier_core::env::{EmitError, EventSink, SessionEnv, SessionEnvInner, Variables};
use amplifier_core::module::provider::{
    ChatDelta, ChatRequest, ChatResponse, Provider, ProviderError, ToolSchema,
};
use amplifier_core::module::{Mount, MountError, Parts};
use amplifier_core::transcript::MessageView;
use amplifier_core::{
    Activation, Activity, CancelToken, Clock, EventId, Message, ModuleSpec, MonoTime, NewEvent, SessionId,
    Timestamp,
};
use amplifier_foundation::fs::paths::SystemPaths;
use amplifier_foundation::host::RandomIds;
use amplifier_modules::provider::providers;
use serde_json::{Value, json};

use super::provider_server::Server;

/// The key of every test; no message may show it.
pub const KEY: &str = "sk-very-secret-0123456789";

#[derive(Debug)]
struct Given(HashMap<String, String>);

impl Variables for Given {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
}

#[derive(Debug)]
struct NoSink;

impl EventSink for NoSink {
    fn emit<'a>(&'a self, _: NewEvent) -> BoxFuture<'a, Result<EventId, EmitError>> {
        Box::pin(async { Err(EmitError::Closed) })
    }
}

/// A clock that always shows 2026-11-22T10:00:00Z.
#[derive(Debug)]
struct Standing;

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        "2026-11-22T10:00:00Z".parse().unwrap()
    }
    fn monotonic(&self) -> MonoTime {
        MonoTime::default()
    }
    fn sleep_until(&self, _: MonoTime) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

fn env(variables: &[(&str, &str)]) -> SessionEnv {
    let session = SessionId::new("s").unwrap();
    let given = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    SessionEnv::new(SessionEnvInner {
        root: session.clone(),
        session,
        parent: None,
        depth: 0,
        activation: Activation::FIRST,
        cwd: PathBuf::from("/"),
        folder: None,
        clock: Arc::new(Standing),
        ids: Arc::new(RandomIds::default()),
        paths: Arc::new(SystemPaths::default()),
        variables: Arc::new(Given(given)),
        cancel: CancelToken::new(),
        activity: Activity::new(Arc::new(Standing)),
        approver: Arc::new(NobodyToAsk),
        display: Arc::new(NoDisplay),
        events: Arc::new(NoSink),
        coordinator: Coordinator::new(),
    })
}

/// Mounts a module.
pub async fn try_mount(
    module: &str,
    config: Value,
    variables: &[(&str, &str)],
) -> Result<Arc<dyn Provider>, MountError> {
    let mut spec = ModuleSpec::new(module);
    spec.config = config.as_object().cloned().unwrap();
    mount_spec(&spec, variables).await
}

/// Mounts an entry of a bundle.
pub async fn mount_spec(
    spec: &ModuleSpec,
    variables: &[(&str, &str)],
) -> Result<Arc<dyn Provider>, MountError> {
    let found = providers().into_iter().find(|one| one.info().id == spec.module).unwrap();
    let (env, mut parts) = (env(variables), Parts::default());
    found.mount(spec, &mut Mount::new(&env, &mut parts)).await?;
    Ok(parts.providers.remove(0))
}

/// Mounts a module whose configuration is right.
pub async fn mount(module: &str, config: Value) -> Arc<dyn Provider> {
    try_mount(module, config, &[]).await.unwrap()
}

/// A protocol, and how a provider is made to speak it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Chat,
    Responses,
    Azure,
    Compatible,
    Anthropic,
    Gemini,
    Ollama,
}

pub const FORMATS: [Format; 7] = [
    Format::Chat,
    Format::Responses,
    Format::Azure,
    Format::Compatible,
    Format::Anthropic,
    Format::Gemini,
    Format::Ollama,
];

impl Format {
    pub fn module(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses => "provider-openai",
            Self::Azure => "provider-azure-openai",
            Self::Compatible => "provider-openai-compatible",
            Self::Anthropic => "provider-anthropic",
            Self::Gemini => "provider-gemini",
            Self::Ollama => "provider-ollama",
        }
    }

    /// The path behind the host that this service's own tools take.
    pub fn base(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses => "/v1",
            Self::Compatible => "/v1/",
            Self::Azure | Self::Anthropic | Self::Ollama => "",
            Self::Gemini => "/v1beta",
        }
    }

    pub fn config(self, url: String) -> Value {
        let mut config = json!({"base_url": url, "api_key": KEY, "default_model": "m-1"});
        if self == Self::Responses {
            config["api"] = "responses".into();
        }
        config
    }

    /// A provider that asks `server`; `more` is laid over its configuration.
    pub async fn provider(self, server: &Server, more: Value) -> Arc<dyn Provider> {
        let mut config = self.config(server.url(self.base()));
        for (name, value) in more.as_object().unwrap() {
            config[name] = value.clone();
        }
        mount(self.module(), config).await
    }
}

/// A request that says hi.
pub fn hi() -> ChatRequest {
    conversation(vec![Message::user("hi")])
}

pub fn conversation(messages: Vec<Message>) -> ChatRequest {
    let mut request = ChatRequest::default();
    request.messages = MessageView::of(messages.into_iter().map(Arc::new).collect::<Vec<_>>());
    request
}

pub fn tools(count: usize) -> Arc<[ToolSchema]> {
    let tool = |number: usize| ToolSchema {
        name: format!("tool_{number}"),
        description: "does one thing".into(),
        input_schema: json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}),
    };
    (0..count).map(tool).collect()
}

/// What came before the end, and the end.
#[derive(Debug)]
pub struct Heard {
    pub text: String,
    pub thinking: String,
    pub starts: Vec<String>,
    pub end: Result<ChatResponse, ProviderError>,
}

impl Heard {
    pub fn done(self) -> ChatResponse {
        self.end.unwrap()
    }

    /// The error, after a look that it shows no key.
    pub fn error(self) -> ProviderError {
        let error = self.end.expect_err("there is an answer");
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains(KEY) && !shown.contains("very-secret"), "{shown}");
        }
        assert!(error.message.chars().count() < 460 && !error.message.contains('\n'), "{}", error.message);
        error
    }
}

/// Asks and listens to the end. Checks that the end is the end.
pub async fn ask(provider: &Arc<dyn Provider>, request: ChatRequest) -> Heard {
    let mut heard = Heard {
        text: String::new(),
        thinking: String::new(),
        starts: Vec::new(),
        end: Err(ProviderError::new(
            "test",
            amplifier_core::module::provider::ProviderErrorKind::Other,
            "no end",
        )),
    };
    let mut stream = match provider.stream(request).await {
        Ok(stream) => stream,
        Err(error) => {
            heard.end = Err(error);
            return heard;
        }
    };
    let mut ended = false;
    while let Some(item) = std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
        assert!(!ended, "an item behind the end: {item:?}");
        match item {
            Ok(ChatDelta::Text(more)) => heard.text.push_str(&more),
            Ok(ChatDelta::Thinking(more)) => heard.thinking.push_str(&more),
            Ok(ChatDelta::ToolCallStart { id, name }) => heard.starts.push(format!("{id}:{name}")),
            Ok(ChatDelta::Done(response)) => (heard.end, ended) = (Ok(*response), true),
            Ok(other) => panic!("{other:?}"),
            Err(error) => (heard.end, ended) = (Err(error), true),
        }
    }
    assert!(ended, "the stream ended without an answer or an error");
    heard
}
