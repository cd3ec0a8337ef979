//! Tools: what a model may have done for it.
//!
//! Contract: a tool says before it runs what it will touch ([`Tool::access`]);
//! the kernel judges that, asks where it must, and only then calls it. A failure
//! is a result that the model sees, never the end of the session.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::cancel::CancelToken;
use crate::env::SessionEnv;
use crate::message::{ImageSource, ToolCall};
use crate::module::provider::ToolSchema;
use crate::permission::{Access, Permissions, ResolvedPath};

/// One tool.
#[async_trait]
pub trait Tool: Send + Sync + std::fmt::Debug {
    /// Name, description and arguments as the model sees them. Each byte is paid for in every request.
    fn schema(&self) -> &ToolSchema;

    /// What a call with these arguments will touch. `Err` if the arguments make no sense.
    fn access(&self, arguments: &Value, env: &SessionEnv) -> Result<Vec<Access>, ToolError> {
        let _ = (arguments, env);
        Ok(Vec::new())
    }

    /// Whether a call that was cut off is made again when its session goes on. It then passes the same
    /// gates as any call, however much later; one that is not made again is marked interrupted.
    fn repeat(&self) -> Repeat {
        Repeat::Never
    }

    /// Runs the tool. Cancelled at the immediate level by dropping the future; long tools watch
    /// [`ToolContext::cancel`] themselves.
    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError>;
}

/// Whether a call that was cut off may be made again without harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repeat {
    /// It may have changed something; its result is marked interrupted.
    Never,
    /// The second call has no further effect, also when others have made changes meanwhile.
    Idempotent,
    /// It changes nothing.
    Pure,
}

/// What a running tool knows of its session.
#[derive(Debug)]
#[non_exhaustive]
pub struct ToolContext<'a> {
    /// The session's surroundings.
    pub env: &'a SessionEnv,
    /// The call.
    pub call: &'a ToolCall,
    /// What [`Tool::access`] said and the permissions allowed. A path outside of it was not judged:
    /// a link may have changed since, so a tool that resolves again compares.
    pub accesses: &'a [Access],
    /// The session's permissions, for a tool that builds a sandbox from them.
    pub permissions: &'a Permissions,
    /// True if the call was allowed inside the sandbox only.
    pub sandboxed: bool,
    /// The session's cancellation.
    pub cancel: &'a CancelToken,
}

impl<'a> ToolContext<'a> {
    /// A context for a call whose accesses are allowed without a sandbox.
    pub fn new(
        env: &'a SessionEnv,
        call: &'a ToolCall,
        permissions: &'a Permissions,
        accesses: &'a [Access],
    ) -> Self {
        Self { env, call, accesses, permissions, sandboxed: false, cancel: &env.cancel }
    }

    /// The path, if this access was judged. `Err` says that something has changed since.
    pub fn judged(
        &self,
        access: fn(ResolvedPath) -> Access,
        path: ResolvedPath,
    ) -> Result<ResolvedPath, ToolError> {
        let access = access(path.clone());
        match self.accesses.contains(&access) {
            true => Ok(path),
            false => Err(ToolError::Refused(format!(
                "refused to {access}: it is not what was permitted; a link in the path has changed since"
            ))),
        }
    }
}

/// What a tool gives back.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ToolOutput {
    /// For the model.
    pub text: String,
    /// True for a result that reports a failure of what was asked for, such as a command's exit code.
    pub is_error: bool,
    /// Images for a model that can see. They stay in the transcript, so the tool bounds their number and size;
    /// the text says what a model that cannot see has to know of them.
    pub images: Vec<ImageSource>,
}

impl ToolOutput {
    /// A result.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_error: false, images: Vec::new() }
    }

    /// A result that reports a failure.
    pub fn failure(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_error: true, images: Vec::new() }
    }

    /// The same with images beside its text.
    #[must_use]
    pub fn with_images(self, images: Vec<ImageSource>) -> Self {
        Self { images, ..self }
    }
}

impl From<String> for ToolOutput {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

/// Why a tool gave no result. The text goes to the model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// The arguments do not fit the schema.
    #[error("invalid arguments: {0}")]
    Arguments(String),
    /// The tool refused for a reason of its own.
    #[error("{0}")]
    Refused(String),
    /// Something that the tool needs failed.
    #[error("{action} failed: {source}")]
    Failed {
        /// What was tried.
        action: String,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The tool's own deadline passed.
    #[error("timed out after {after_ms} ms; what it printed so far: {partial}")]
    TimedOut {
        /// The deadline in milliseconds.
        after_ms: u64,
        /// What there was of a result.
        partial: String,
    },
}

impl ToolError {
    /// Something that the tool needs failed.
    pub fn failed(
        action: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Failed { action: action.into(), source: source.into() }
    }
}

/// Reads arguments as a type; the error names the field.
pub fn parse_arguments<T: serde::de::DeserializeOwned>(arguments: &Value) -> Result<T, ToolError> {
    match arguments {
        // Models send nothing where a tool has no required argument.
        Value::Null => T::deserialize(Value::Object(serde_json::Map::new())),
        given => T::deserialize(given),
    }
    .map_err(|error| ToolError::Arguments(error.to_string()))
}

/// The tools of a session in the order in which they were mounted.
#[derive(Debug, Clone, Default)]
pub struct ToolSet {
    tools: Arc<[Arc<dyn Tool>]>,
    schemas: Arc<[ToolSchema]>,
}

impl ToolSet {
    /// A set; of two tools with one name the later wins, in the earlier's place.
    pub fn new(tools: impl IntoIterator<Item = Arc<dyn Tool>>) -> Self {
        let mut unique: Vec<Arc<dyn Tool>> = Vec::new();
        for tool in tools {
            match unique.iter_mut().find(|other| other.schema().name == tool.schema().name) {
                Some(other) => *other = tool,
                None => unique.push(tool),
            }
        }
        let schemas = unique.iter().map(|tool| tool.schema().clone()).collect();
        Self { tools: unique.into(), schemas }
    }

    /// The tool of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.tools.iter().find(|tool| tool.schema().name == name)
    }

    /// What the model is told of the tools.
    pub fn schemas(&self) -> &Arc<[ToolSchema]> {
        &self.schemas
    }

    /// All tools.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Tool>> {
        self.tools.iter()
    }
}
