//! A tool of a server, as a tool of the session.
//!
//! Guarantees: permissions judge each call by server and tool; what the server says of its tool's harmlessness
//! widens nothing. A failure names the server.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::approval::{NoticeLevel, Shown};
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Tool, ToolContext, ToolError, ToolOutput};
use amplifier_core::permission::Access;
use amplifier_core::{MonoTime, SessionEnv};
use async_trait::async_trait;
use serde_json::{Map, Value};

use super::result::{Keep, output};
use super::server::Server;

/// How often a person is shown progress.
const SHOW_AGAIN: Duration = Duration::from_secs(1);

/// One tool of one server.
#[derive(Debug)]
pub(super) struct McpTool {
    schema: ToolSchema,
    /// Its name at the server.
    remote: String,
    server: Arc<Server>,
}

impl McpTool {
    pub(super) fn new(schema: ToolSchema, remote: String, server: Arc<Server>) -> Self {
        Self { schema, remote, server }
    }
}

#[async_trait]
impl Tool for McpTool {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    fn access(&self, _arguments: &Value, _env: &SessionEnv) -> Result<Vec<Access>, ToolError> {
        Ok(vec![Access::Mcp(format!("{}/{}", self.server.spec.name, self.remote))])
    }

    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        let arguments = match arguments {
            Value::Object(map) => map,
            Value::Null => Map::new(),
            _ => return Err(ToolError::Arguments("the arguments are no object".to_owned())),
        };
        let env = cx.env;
        let mut shown: Option<MonoTime> = None;
        let step = |text: &str| {
            let now = env.clock.monotonic();
            if shown.is_none_or(|last| now.saturating_since(last) >= SHOW_AGAIN) {
                shown = Some(now);
                let text = format!("{}: {text}", self.schema.name);
                tell(env, NoticeLevel::Info, &text);
            }
        };
        let called = self.server.call(&self.remote, arguments, step).await;
        if self.server.take_changed().await {
            let text = format!(
                "MCP server `{}` has changed its tools; sessions that begin or are resumed from now on have the new ones",
                self.server.spec.name
            );
            tell(env, NoticeLevel::Info, &text);
        }
        let result = called.map_err(|reason| {
            ToolError::Refused(format!("MCP server `{}` {reason}", self.server.spec.name))
        })?;
        let (folder, call) = (env.folder.clone(), cx.call.id.clone());
        let writing = tokio::task::spawn_blocking(move || {
            output(result, &Keep { folder: folder.as_deref(), call: &call })
        });
        writing.await.map_err(|error| ToolError::failed("reading the result", error))
    }
}

/// Tells a person.
pub(super) fn tell(env: &SessionEnv, level: NoticeLevel, text: &str) {
    env.display.show(&env.origin(), Shown::Notice { level, source: "tool-mcp", text });
}
